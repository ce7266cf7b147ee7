"""The network that an address counts for: an IPv4 address by itself, an IPv6 address with its /64."""

from __future__ import annotations

import ipaddress

#: How many bits of an IPv6 address name a network: one customer is given at least that much.
IPV6_PREFIX = 64

#: The longest text that is kept of an address that cannot be read.
MAX_TEXT_LENGTH = 64


def network_of(address: str) -> str:
    """Return the network that a client's address counts for, as text.

    :param address: an IP address, with or without a port, as it is in a log event or in ``X-Forwarded-For``.  One that
        cannot be read counts for itself.
    """
    host = address.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        parsed = ipaddress.ip_address(host)
    except ValueError:
        return address.strip()[:MAX_TEXT_LENGTH]
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        if mapped is None:
            shift = 128 - IPV6_PREFIX
            return f"{ipaddress.IPv6Address(int(parsed) >> shift << shift)}/{IPV6_PREFIX}"
        parsed = mapped
    return str(parsed)
