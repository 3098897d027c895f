"""JWTs: what is accepted, and everything else that somebody might send."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwk

from engagement_server.access.grants import JwtSubject
from engagement_server.access.jwts import LEEWAY_SECONDS, JwtChecker
from engagement_server.errors import ConfigurationError, TokenExpiredError, TokenInvalidError
from tests.support.known_callers import AUDIENCE, ISSUER, key_set, signed, signing_key

KEY = signing_key()
OTHER = signing_key("k2")
FOREIGN = signing_key()
"""Of somebody else, with the same id."""
CHECKER = JwtChecker([key_set(KEY), key_set(OTHER)], issuers=[ISSUER, "https://b"], audiences=[AUDIENCE, "b"])
NOW = time.time()


def refused(token: str) -> str:
    with pytest.raises(TokenInvalidError) as error:
        CHECKER.check(token, now=NOW)
    return error.value.cause


def forged(header: dict[str, Any], claims: dict[str, Any], *, secret: bytes | None = None) -> str:
    """A JWT with any header, without a signature or with one by a shared secret."""
    said = ".".join(_encoded(json.dumps(part).encode()) for part in (header, claims))
    return f"{said}.{'' if secret is None else _encoded(hmac.digest(secret, said.encode(), hashlib.sha256))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "sub": "crm", "exp": int(NOW) + 300}


@pytest.mark.parametrize("key", [KEY, OTHER], ids=["k1", "k2"])
@pytest.mark.parametrize("claims", [{}, {"aud": ["x", "b"]}, {"iss": "https://b"}, {"nbf": int(NOW) - 5}])
def test_a_jwt_by_a_loaded_key_names_its_subject(key: jwk.ECKey, claims: dict[str, Any]) -> None:
    found = CHECKER.check(signed(key, **claims), now=NOW)
    assert found.subject == JwtSubject(claims.get("iss", ISSUER), "crm")
    assert found.expires_at >= NOW + 300
    assert CHECKER.has(found.key)


def test_clocks_may_differ_by_the_leeway() -> None:
    token = signed(KEY, exp=int(NOW))
    CHECKER.check(token, now=int(NOW) + LEEWAY_SECONDS - 1)
    with pytest.raises(TokenExpiredError):
        CHECKER.check(token, now=int(NOW) + LEEWAY_SECONDS)
    CHECKER.check(signed(KEY, nbf=int(NOW) + 20), now=NOW)


def test_an_algorithm_without_a_signature_is_refused() -> None:
    for name in ("none", "None", "NONE"):
        assert "algorithm" in refused(forged({"alg": name, "kid": "k1"}, CLAIMS))


def test_a_public_key_is_no_shared_secret() -> None:
    for form in (KEY.as_pem(private=False), key_set(KEY), KEY.as_der(private=False)):
        assert "algorithm" in refused(forged({"alg": "HS256", "kid": "k1"}, CLAIMS, secret=form))


@pytest.mark.parametrize(
    "header",
    [
        {"kid": "unknown"}, {"kid": "../../etc/passwd"}, {"kid": ""}, {"kid": None}, {"kid": 7},
        {"crit": ["exp"]}, {"crit": "exp"}, {"b64": False}, {"jku": "https://attacker.example/keys"},
        {"x5u": "https://attacker.example/cert"}, {"jwk": {"kty": "EC"}}, {"x5c": ["MII"]},
        {"alg": "ES512"}, {"alg": "RS256"}, {"alg": None}, {"zip": "DEF"},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_a_header_may_not_choose_the_rules(header: dict[str, Any]) -> None:
    good = signed(KEY)
    _, claims, signature = good.split(".")
    whole = {"alg": "ES256", "kid": "k1"} | header
    refused(f"{_encoded(json.dumps(whole).encode())}.{claims}.{signature}")


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://other"}, {"iss": None}, {"iss": ["https://id.example"]}, {"iss": ISSUER + "/"},
        {"aud": "other"}, {"aud": None}, {"aud": []}, {"aud": [["engagement"]]}, {"aud": {"engagement": 1}},
        {"sub": None}, {"sub": ""}, {"sub": 7}, {"exp": None}, {"exp": "later"}, {"exp": True},
        {"exp": 1e300}, {"exp": 10**400}, {"exp": float("nan")}, {"exp": -5},
        {"nbf": int(NOW) + 3600}, {"nbf": "x"},
    ],
    # No ids: those of times differ from process to process.
)  # fmt: skip
def test_claims_must_be_there_and_fit(claims: dict[str, Any]) -> None:
    refused(signed(KEY, **claims))


def test_an_expired_jwt_says_so() -> None:
    with pytest.raises(TokenExpiredError):
        CHECKER.check(signed(KEY, exp=int(NOW) - 3600), now=NOW)


def test_a_key_of_somebody_else_is_refused_under_the_same_id() -> None:
    assert "signature" in refused(signed(FOREIGN))
    assert "signature" in refused(signed(KEY, header={"kid": "k2"}))


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_bit_of_a_jwt_may_change(place: int, change: int) -> None:
    token = bytearray(signed(KEY), "ascii")
    place %= len(token)
    token[place] ^= change
    text = token.decode("latin-1")
    try:
        claims = CHECKER.check(text, now=NOW)
    except (TokenInvalidError, TokenExpiredError):
        return
    # The last character of a part has bits that mean nothing.
    assert claims.subject == JwtSubject(ISSUER, "crm")
    assert text[place].isalnum() or text[place] in "-_"


@given(st.text() | st.lists(st.text(alphabet='eyJ{}[]"0.:,_-='), min_size=3, max_size=3).map(".".join))
def test_any_text_is_refused(text: str) -> None:
    refused(text)


@given(st.dictionaries(st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "iat", "x"]),
                       st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
                       | st.lists(st.text(max_size=5), max_size=3)))  # fmt: skip
def test_any_claims_are_accepted_or_refused(claims: dict[str, Any]) -> None:
    try:
        found = CHECKER.check(signed(KEY, **claims), now=NOW)
    except (TokenInvalidError, TokenExpiredError):
        return
    assert found.subject.issuer in (ISSUER, "https://b")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a JWK set"),
        (b"{}", "not a JWK set"),
        (b"[" * 100_000, "not a JWK set"),
        (b'{"keys": [{"kty": "oct", "k": "AAAA", "kid": "s"}]}', "symmetric"),
        (json.dumps({"keys": [signing_key().as_dict(private=True)]}).encode(), "private key"),
        (json.dumps({"keys": [KEY.as_dict(private=False) | {"kid": None}]}).encode(), "kid|JWK set"),
        (json.dumps({"keys": [KEY.as_dict(private=False)] * 2}).encode(), "two keys"),
    ],
    ids=["nothing", "no keys", "deep", "symmetric", "private", "nameless", "twice"],
)
def test_a_key_set_has_public_keys_with_names(content: bytes, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        JwtChecker([content], issuers=[ISSUER], audiences=[AUDIENCE])


@pytest.mark.filterwarnings("ignore:Key size should be")
def test_a_short_key_is_refused() -> None:
    short = jwk.RSAKey.generate_key(1024, {"kid": "r"})
    with pytest.raises(ConfigurationError, match="2048 to 8192 bits"):
        JwtChecker([key_set(short)], issuers=[ISSUER], audiences=[AUDIENCE])


def test_no_keys_are_valid_and_accept_nothing() -> None:
    empty = JwtChecker([b'{"keys": []}'], issuers=[ISSUER], audiences=[AUDIENCE])
    with pytest.raises(TokenInvalidError):
        empty.check(signed(KEY), now=NOW)
