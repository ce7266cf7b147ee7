"""The networks that addresses count for."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from canvas_collab.limits.addresses import MAX_TEXT_LENGTH, network_of

ports = st.integers(0, 65535)


@given(st.ip_addresses(v=4), ports)
def test_an_ipv4_address_counts_for_itself_whatever_the_port(address: ipaddress.IPv4Address, port: int) -> None:
    for text in (f"{address}", f" {address} ", f"{address}:{port}", f"::ffff:{address}", f"[::ffff:{address}]:{port}"):
        assert network_of(text) == str(address)


@given(st.ip_addresses(v=6), st.integers(0, 2**64 - 1), ports)
def test_ipv6_addresses_of_one_64_count_together_and_others_do_not(
    address: ipaddress.IPv6Address, host: int, port: int
) -> None:
    if address.ipv4_mapped is not None:
        return
    network = network_of(f"[{address}]:{port}")
    neighbour = ipaddress.IPv6Address(int(address) >> 64 << 64 | host)
    if neighbour.ipv4_mapped is None:
        assert network_of(str(neighbour)) == network
    other = ipaddress.IPv6Address(int(address) ^ 1 << 64)
    assert network_of(str(other)) != network
    assert address in ipaddress.ip_network(network)


def test_an_address_with_a_zone_counts_like_one_without() -> None:
    assert network_of("fe80::1%eth0") == "fe80::/64"


@pytest.mark.parametrize("text", ["unknown", "", "1.2.3", "a:b", "[::1", "300.1.1.1:80"])
def test_what_is_no_address_counts_for_itself(text: str) -> None:
    assert network_of(text) in (text, "::/64")


@given(st.text())
def test_any_text_has_a_short_network(text: str) -> None:
    assert len(network_of(text)) <= MAX_TEXT_LENGTH
