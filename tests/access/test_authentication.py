"""Finding the token of a request, and checking its signature.  Sessions are tested with a real database elsewhere."""

from __future__ import annotations

import base64
from urllib.parse import quote

import pytest

from canvas_collab.access.authentication import (
    Credential,
    Source,
    Unauthenticated,
    find_credential,
    sign,
    verified_token,
)

TOKEN = "8DlB8BvStPXnRf83eanEC8g26OQXyKzg"
SECRET = "a secret that is long enough for it"
SIGNED = f"{TOKEN}.{sign(TOKEN, SECRET)}"
COOKIE = quote(SIGNED, safe="")


def find(headers: dict[str, str], **query: str) -> Credential | None:
    return find_credential(headers, {name: [value] for name, value in query.items()}, "better-auth")


def test_a_token_is_found_in_the_cookie_the_header_and_the_query() -> None:
    assert find({"cookie": f"a=b; better-auth.session_token={COOKIE}; c=d"}) == Credential(COOKIE, Source.COOKIE)
    assert find({"authorization": f"Bearer  {SIGNED}"}) == Credential(SIGNED, Source.AUTHORIZATION)
    assert find({"authorization": f"bearer {TOKEN}"}) == Credential(TOKEN, Source.AUTHORIZATION)
    assert find({}, token=TOKEN) == Credential(TOKEN, Source.QUERY)


def test_without_a_token_there_is_none() -> None:
    for headers in ({}, {"cookie": "better-auth.session_token=; x"}, {"authorization": "Basic abc"}):
        assert find(headers) is None
    assert find({}, token="") is None


def test_an_explicit_token_takes_precedence_over_the_cookie() -> None:
    headers = {"cookie": f"better-auth.session_token={COOKIE}"}
    credential = find(headers, token="other")
    assert credential is not None
    assert credential.source is Source.QUERY
    credential = find({**headers, "authorization": "Bearer other"}, token="third")
    assert credential == Credential("other", Source.AUTHORIZATION)


def test_the_secure_cookie_takes_precedence_and_of_two_with_one_name_the_first() -> None:
    cookies = "better-auth.session_token=a.b; better-auth.session_token=c.d; __Secure-better-auth.session_token=e.f"
    credential = find({"cookie": cookies})
    assert credential == Credential("e.f", Source.COOKIE)
    credential = find({"cookie": cookies.rpartition(";")[0]})
    assert credential == Credential("a.b", Source.COOKIE)


def test_the_prefix_of_the_cookie_can_be_configured() -> None:
    headers = {"cookie": "drawings.session_token=a.b"}
    assert find(headers) is None
    assert find_credential(headers, {}, "drawings") == Credential("a.b", Source.COOKIE)


@pytest.mark.parametrize("source", list(Source))
@pytest.mark.parametrize("text", [SIGNED, COOKIE, SIGNED.replace("+", " ")])
def test_a_valid_signature_is_accepted_however_it_is_encoded(text: str, source: Source) -> None:
    assert verified_token(Credential(text, source), SECRET) == TOKEN


def test_the_signature_is_hmac_sha256_in_base64() -> None:
    # Test case 2 of RFC 4231.
    digest = bytes.fromhex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
    assert sign("what do ya want for nothing?", "Jefe") == base64.b64encode(digest).decode()


@pytest.mark.parametrize("position", range(0, len(SIGNED), 7))
def test_a_token_with_one_altered_byte_is_refused(position: int) -> None:
    other = "A" if SIGNED[position] != "A" else "B"
    altered = SIGNED[:position] + other + SIGNED[position + 1 :]
    with pytest.raises(Unauthenticated):
        verified_token(Credential(altered, Source.COOKIE), SECRET)


@pytest.mark.parametrize(
    ("text", "source", "reason"),
    [
        (TOKEN, Source.COOKIE, "unsigned cookie"),
        (f"{TOKEN}.", Source.QUERY, "bad signature"),
        (f".{sign('', SECRET)}x", Source.QUERY, "bad signature"),
        ("é", Source.QUERY, "malformed token"),
        ("a%00b", Source.QUERY, "malformed token"),
        ("a" * 513, Source.QUERY, "malformed token"),
    ],
)
def test_an_invalid_token_is_refused_with_a_reason(text: str, source: Source, reason: str) -> None:
    with pytest.raises(Unauthenticated, match=reason):
        verified_token(Credential(text, source), SECRET)


def test_a_bare_token_is_accepted_except_in_a_cookie() -> None:
    for source in (Source.AUTHORIZATION, Source.QUERY, Source.MESSAGE):
        assert verified_token(Credential(TOKEN, source), SECRET) == TOKEN


def test_without_a_secret_no_signature_is_valid() -> None:
    with pytest.raises(Unauthenticated, match="bad signature"):
        verified_token(Credential(f"{TOKEN}.{sign(TOKEN, '')}", Source.QUERY), "")


def test_a_credential_does_not_show_its_token() -> None:
    assert TOKEN not in repr(Credential(TOKEN, Source.QUERY))
