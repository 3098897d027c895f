"""The grants file: any text is either read or refused with one sentence that says where."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement_server.access.grants import NO_GRANTS, JwtSubject, read_grants
from engagement_server.access.principals import Accounts, Principal
from engagement_server.access.quotas import Quotas
from engagement_server.access.scopes import SCOPES
from engagement_server.errors import ConfigurationError
from tests.support.known_callers import toml_value

CRM = """
[[principal]]
name = "crm"
tokens = ["crm-2026", "crm-2027"]
jwts = [{ issuer = "https://id.example", subject = "crm-import" }]
certificates = ["dns:crm.internal", "uri:spiffe://example/crm"]
accounts = ["acme", "brand-*"]
scopes = ["ingest", "read"]
sources = ["crm"]
authenticated = false
"""
PAGE = """
[[principal]]
name = "page"
accounts = ["acme"]
scopes = ["ingest"]
sources = ["web"]
publishable = true
events_per_second = 100
"""
_KEYS = ["name", "tokens", "jwts", "certificates", "accounts", "scopes", "authenticated", "sources",
         "publishable", "events_per_second", "concurrent_streams", "stored_bytes", "max_new_accounts",
         "unknown"]  # fmt: skip
_TEXTS = st.sampled_from(["crm", "acme", "*", "a*b", "", "dns:x", "uri:", "read", "none", "\x00", "ü" * 70])
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats() | _TEXTS | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["issuer", "subject", "x"]), inner)
    ),
    max_leaves=6,
)


def test_a_principal_is_found_by_each_of_its_credentials() -> None:
    grants = read_grants(CRM)
    (crm,) = grants.principals
    assert grants.by_token == {"crm-2026": crm, "crm-2027": crm}
    assert grants.by_jwt == {JwtSubject("https://id.example", "crm-import"): crm}
    assert grants.by_certificate == {"dns:crm.internal": crm, "uri:spiffe://example/crm": crm}
    assert crm.scopes == {SCOPES["ingest"], SCOPES["read"]}
    assert (set(crm.sources), crm.may_authenticate, crm.quotas) == ({"crm"}, False, None)
    assert not crm.sees_persons


@pytest.mark.parametrize("text", ["", "# nobody\n", "principal = []"])
def test_no_principals_are_valid_and_mean_nobody(text: str) -> None:
    grants = read_grants(text)
    assert (list(grants.principals), grants.by_token) == ([], {})
    assert not NO_GRANTS.principals


def test_accounts_are_exact_or_begin_so() -> None:
    accounts = Accounts(["acme", "brand-*"])
    assert all(account in accounts for account in ("acme", "brand-", "brand-1"))
    assert not any(account in accounts for account in ("acme2", "acm", "brand", "", "ACME", "brand*", "*"))
    assert "anything" in Accounts(["*"])
    assert "anything" not in Accounts([])


def test_principals_with_the_same_rights_are_equal() -> None:
    assert read_grants(CRM).by_token == read_grants(CRM).by_token
    changed = CRM.replace('"brand-*"', '"brand2-*"')
    assert read_grants(CRM).by_token["crm-2026"] != read_grants(changed).by_token["crm-2026"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "crm"', "", "principal 1: name must be"),
        ('name = "crm"', 'name = "c r m"', "principal 1: name must be"),
        ("tokens =", "token =", r"principal 'crm': 'token' is none of"),
        ('"crm-2026"', "7", "principal 'crm': tokens must be a list of texts"),
        ('"dns:crm.internal"', '"crm.internal"', "principal 'crm': certificates has 'crm.internal'"),
        ('"dns:crm.internal"', '"cn:crm"', "principal 'crm': certificates has 'cn:crm'"),
        ('accounts = ["acme", "brand-*"]', "", 'accounts is missing; "\\*" means all accounts'),
        ('"brand-*"', '"br*nd"', "principal 'crm': accounts has 'br\\*nd'"),
        ('"ingest"', '"write"', "principal 'crm': scopes has 'write', which is none of ingest"),
        ('subject = "crm-import"', "subject = 7", "principal 'crm': jwts must be a list such as"),
        ("authenticated = false", "authenticated = 0", "authenticated must be true or false"),
        ("authenticated = false", "publishable = true", "publishable needs"),
        ("authenticated = false", "events_per_second = 8", "must be at least 9, or a full batch would wait"),
        ("authenticated = false", "events_per_second = true", "must be at least 9"),
        ("authenticated = false", "concurrent_streams = 0", "must be a whole number from 1 to 100,000"),
        ("authenticated = false", "stored_bytes = 1.5", "stored_bytes must be a whole number from 1"),
        ("authenticated = false", "max_new_accounts = -1", "must be a whole number from 0 to 1,000,000"),
        ("authenticated = false", "max_new_accounts = true", "must be a whole number from 0 to 1,000,000"),
        ("[[principal]]", "[principal]", "begin with"),
        ("[[principal]]", "[[principals]]", "'principals' is none of principal"),
        ("[[principal]]", "[[", "it is not TOML"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(old: str, new: str, message: str) -> None:
    assert old in CRM
    with pytest.raises(ConfigurationError, match=message):
        read_grants(CRM.replace(old, new, 1))


@pytest.mark.parametrize("shared", ["name", "tokens", "jwts", "certificates"])
def test_a_credential_belongs_to_one_principal(shared: str) -> None:
    own = {
        "name": '"other"',
        "tokens": '["other"]',
        "jwts": '[{ issuer = "https://id.example", subject = "other" }]',
        "certificates": '["dns:other"]',
    }
    of_crm: dict[str, Any] = tomllib.loads(CRM)["principal"][0]
    own[shared] = toml_value(of_crm[shared])
    other = "".join(f"{key} = {value}\n" for key, value in own.items())
    with pytest.raises(ConfigurationError, match="another principal"):
        read_grants(f'{CRM}\n[[principal]]\n{other}accounts = ["acme"]\nscopes = ["read"]\n')


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    _read_or_refuse(text)


@given(st.lists(st.dictionaries(st.sampled_from(_KEYS), _VALUES, max_size=6), max_size=3))
def test_any_toml_is_read_or_refused(tables: list[dict[str, Any]]) -> None:
    _read_or_refuse(
        "".join(
            "[[principal]]\n" + "".join(f"{key} = {toml_value(value)}\n" for key, value in table.items())
            for table in tables
        )
    )


def test_deeply_nested_toml_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        read_grants("principal = " + "[" * 5_000)


def _read_or_refuse(text: str) -> None:
    try:
        grants = read_grants(text)
    except ConfigurationError as error:
        message = str(error)
    else:
        assert all(isinstance(principal, Principal) for principal in grants.principals)
        return
    assert len(message.splitlines()) == 1


def test_a_grant_may_have_quotas() -> None:
    text = (
        "events_per_second = 2.5e3\nconcurrent_streams = 2\nstored_bytes = 1073741824\nmax_new_accounts = 0\n"
    )
    (crm,) = read_grants(CRM + text).principals
    assert crm.quotas == (2500.0, 2, 1 << 30, 0)


def test_a_publishable_grant_has_a_rate_and_no_streams() -> None:
    (page,) = read_grants(PAGE).principals
    assert (page.is_publishable, page.may_authenticate) == (True, False)
    assert page.quotas == Quotas(events_per_second=100.0)
    (usual,) = read_grants(PAGE.replace("events_per_second = 100", "")).principals
    assert usual.quotas == Quotas(events_per_second=1_000.0)
    with pytest.raises(ConfigurationError, match="concurrent_streams is not for publishable grants"):
        read_grants(PAGE + "concurrent_streams = 1\n")
    for rate in ("0.1", "nan", "-1", "true", '"100"'):
        with pytest.raises(ConfigurationError, match="events_per_second must be at least 9, or a full batch"):
            read_grants(PAGE.replace("= 100", f"= {rate}"))
