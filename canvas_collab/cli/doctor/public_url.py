"""Checks of the way from a browser to the daemon, through the reverse proxy."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import SplitResult, quote, urlsplit

from canvas_collab.cli.doctor.finding import Finding, ok, problem, warning
from canvas_collab.cli.doctor.probe import Answer, Unreachable, UntrustedCertificate, handshake
from canvas_collab.config.application import RoutingSettings

CHECK = "public URL"

#: What the daemon answers to handshakes that a proxy has passed on without the headers of an upgrade, or in HTTP/1.0.
NO_UPGRADE = (426, 505)

_PASS_UPGRADE = (
    "nginx: proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "
    "$connection_upgrade; as deploy/nginx.conf has them."
)
_BOTH = (
    "Use `location ~ ^{prefix}(/|$)` in nginx, as deploy/nginx.conf has it: with a slash at its end it has no {prefix}."
)


def check_public_url(
    url: str, routing: RoutingSettings, trusted_proxies: int, room: str = "", token: str = ""
) -> list[Finding]:
    """Check that clients of both protocols reach the daemon under a URL: ``wss://app.example.com/collab``.

    :param room: a room to open with the session of `token`; either may be empty.
    """
    parts = urlsplit(url.rstrip("/"))
    try:
        is_valid = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_valid = False
    if not is_valid:
        return [problem(CHECK, f"{url} is no WebSocket URL.", "Give the URL of the clients: wss://HOST/PATH.")]
    findings: list[Finding] = []
    verify = True
    try:
        findings += _check(parts, routing, trusted_proxies, verify)
        findings += _open_room(parts, room, token)
    except UntrustedCertificate as error:
        verify = False
        findings.append(
            problem(
                CHECK,
                f"Browsers do not accept the certificate of {parts.hostname}: {error}.",
                "Get one for this name, with its intermediate certificates; for a test, set SSL_CERT_FILE.",
            )
        )
    except Unreachable as error:
        return [_unreachable(parts, str(error))]
    if not verify:
        try:
            findings += _check(parts, routing, trusted_proxies, verify)
        except Unreachable as error:
            findings.append(_unreachable(parts, str(error)))
    return findings


def _unreachable(parts: SplitResult, reason: str) -> Finding:
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    remedy = f"Check the name in the DNS, the firewall, and that the reverse proxy listens on port {port}."
    return problem(CHECK, f"{parts.hostname} port {port} cannot be reached: {reason}.", remedy)


def _check(parts: SplitResult, routing: RoutingSettings, trusted_proxies: int, verify: bool) -> Iterator[Finding]:
    prefix = parts.path
    room = handshake(parts, f"{prefix}/{routing.room_prefix}canvas-collab-doctor", verify=verify)
    hocuspocus_path = prefix + routing.hocuspocus_path.rstrip("/") or "/"
    hocuspocus = handshake(parts, hocuspocus_path, ping=True, verify=verify)
    if found := _not_our_answer(parts, room, f"{prefix}/ROOM"):
        yield found
        return
    yield ok(CHECK, f"{prefix}/ROOM leads to the daemon, which asks for a session.")
    if hocuspocus.answers_ping:
        yield ok(CHECK, f"{hocuspocus_path} leads to the daemon, in the protocol of Hocuspocus.")
    elif hocuspocus.status == 101:
        yield problem(
            CHECK,
            f"The handshake of {hocuspocus_path} is accepted, and no message is answered: a proxy holds messages back, "
            "or it is another WebSocket server.",
            "Turn buffering off in each proxy (nginx: proxy_buffering off), and check where the path leads.",
        )
    elif hocuspocus.status == 401:
        yield _wrong_path(parts, routing, verify)
    elif found := _not_our_answer(parts, hocuspocus, hocuspocus_path):
        yield (
            found
            if hocuspocus.status in NO_UPGRADE or hocuspocus.status >= 500
            else problem(
                CHECK,
                f"{prefix}/ROOM leads to the daemon, and {hocuspocus_path} does not ({hocuspocus.status}): "
                "HocuspocusProvider cannot connect.",
                _BOTH.format(prefix=prefix),
            )
        )
    if not trusted_proxies and not _is_local(parts):
        yield warning(
            CHECK,
            "TRUSTED_PROXIES is 0: behind a reverse proxy, the log has the address of the proxy for every client.",
            "Set TRUSTED_PROXIES to the number of proxies that append to X-Forwarded-For; ignore this without a proxy.",
        )


def _open_room(parts: SplitResult, room: str, token: str) -> list[Finding]:
    """Open a room with a session, unless one of them is missing: a path that is changed may name no room."""
    if not room or not token:
        return []
    path = f"{parts.path}/{quote(room, safe='')}"
    answer = handshake(parts, path, token=token)
    if answer.status == 101:
        return [ok(CHECK, f"The session opens {room}.")]
    if answer.status == 403:
        return [
            problem(
                CHECK,
                f"The session does not open {path} (403).",
                "If its user has a role in the room, the reverse proxy changes the path, or WS_PATH_PREFIX is wrong.",
            )
        ]
    if answer.status == 401:
        remedy = "Let the proxy pass Authorization on, and restart the daemon with this environment."
        return [problem(CHECK, f"The daemon does not accept the session at {path} (401).", remedy)]
    # Whatever else it is has been found without the session as well.
    return []


def _wrong_path(parts: SplitResult, routing: RoutingSettings, verify: bool) -> Finding:
    """Tell a proxy that strips the path from a daemon with another ``WS_PATH_PREFIX``."""
    prefix, expected = parts.path, routing.ws_path_prefix
    expected_path = expected + routing.hocuspocus_path.rstrip("/")
    # A proxy that takes the prefix away once makes of one of these what the daemon expects; which one depends on
    # whether it replaces the prefix by nothing or by a slash.
    doubled = (prefix + expected_path, prefix + expected_path.removeprefix("/"))
    if prefix and expected and any(handshake(parts, path, ping=True, verify=verify).answers_ping for path in doubled):
        return problem(
            CHECK,
            f"The reverse proxy takes {prefix} away from the path, and WS_PATH_PREFIX={expected} expects it.",
            "nginx: proxy_pass without a path or slash after the address; or set WS_PATH_PREFIX= (empty).",
        )
    if prefix != expected:
        return problem(
            CHECK,
            f"Clients ask for the path {prefix or '/'}, and the daemon expects WS_PATH_PREFIX={expected or '(empty)'}.",
            f"Set WS_PATH_PREFIX={prefix}, and restart the daemon.",
        )
    return problem(
        CHECK,
        f"The daemon does not take {prefix or '/'} for the path of Hocuspocus: the proxy changes it, or the daemon has "
        "other settings.",
        "Restart the daemon with this environment, and let the proxy pass the path on unchanged.",
    )


def _not_our_answer(parts: SplitResult, answer: Answer, path: str) -> Finding | None:
    """Return what an answer other than the daemon's says, or None."""
    status = f"{answer.status} {answer.reason}".strip()
    if answer.status == 401 or (answer.status == 101 and "sec-websocket-accept" in answer.headers):
        return None
    if answer.status in NO_UPGRADE or "upgrade" in answer.reason.lower():
        return problem(CHECK, f"The reverse proxy does not pass the upgrade of {path} on ({status}).", _PASS_UPGRADE)
    if answer.status in (502, 504):
        return problem(
            CHECK,
            f"The reverse proxy does not reach the daemon ({status}).",
            "Start the daemon, and let the proxy connect to WS_HOST and WS_PORT; with SELinux, allow it.",
        )
    if answer.status == 503:
        return problem(CHECK, f"The daemon or the proxy is overloaded ({status}).", "Read the log of both.")
    if 300 <= answer.status < 400:
        target = answer.headers.get("location", "elsewhere")
        return problem(
            CHECK,
            f"{path} is redirected to {target}, and WebSocket clients do not follow.",
            "Use wss:// and the final host in the clients' URL."
            if parts.scheme == "ws" and target.startswith("https")
            else _BOTH.format(prefix=parts.path),
        )
    if answer.status == 400 and parts.scheme == "ws":
        return problem(CHECK, f"The port speaks TLS, or refuses the request ({status}).", "Use wss:// in the URL.")
    if answer.status == 403:
        return problem(
            CHECK, f"Something in front of the daemon forbids it ({status}).", "Check the CDN and its firewall."
        )
    return problem(
        CHECK,
        f"{path} leads to another program than the daemon ({status}).",
        "Add the location of deploy/nginx.conf before the application's, and reload the proxy.",
    )


def _is_local(parts: SplitResult) -> bool:
    return parts.hostname in ("localhost", "127.0.0.1", "::1")
