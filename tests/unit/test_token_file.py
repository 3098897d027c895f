"""The file of secrets: what is made, rotated and revoked, and that nothing is lost on the way."""

from __future__ import annotations

import stat
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement_server.access.secrets import (
    MAX_LIVE,
    digest_of,
    find_secret,
    is_mistyped,
    new_token,
    read_secrets,
    token_id_of,
)
from engagement_server.access.token_file import TokenFile, UnknownTokenError
from engagement_server.errors import ConfigurationError
from tests.support.waiting import DEADLINE_SECONDS

_IDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens.json"


@given(_IDS)
def test_a_token_names_its_id(token_id: str) -> None:
    token = new_token(token_id)
    assert token_id_of(token) == token_id
    assert token != new_token(token_id)


@given(st.integers(4, 200), st.characters(codec="ascii"))
def test_a_mistyped_token_is_noticed(place: int, character: str) -> None:
    token = new_token("crm")
    place %= len(token)
    mistyped = token[:place] + character + token[place + 1 :]
    assert is_mistyped(mistyped) == (mistyped != token)
    assert is_mistyped(token[:-1])
    assert is_mistyped(f"{token} ")


@given(st.text())
def test_any_text_is_no_token(text: str) -> None:
    assert is_mistyped(text)
    assert is_mistyped(f"eng_{text}")


def test_the_file_holds_digests_only_and_is_for_its_owner(path: Path) -> None:
    token = TokenFile(path).create("crm", expire_ms=None)
    assert token not in path.read_text()
    assert digest_of(token) in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (secret,) = read_secrets(path.read_bytes())["crm"]
    assert find_secret([secret], token) == secret
    assert find_secret([secret], new_token("crm")) is None


def test_an_id_is_made_once(path: Path) -> None:
    TokenFile(path).create("crm", expire_ms=None)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="engagement token rotate crm"):
        TokenFile(path).create("crm", expire_ms=None)
    assert path.read_bytes() == before


def test_a_rotated_token_has_two_secrets_until_the_old_one_is_revoked(path: Path) -> None:
    file = TokenFile(path)
    old, new = file.create("crm", expire_ms=None), file.rotate("crm", expire_ms=None)
    assert all(find_secret(file.secrets(), token) for token in (old, new))
    assert len({secret.create_ms for secret in file.secrets()}) == MAX_LIVE
    with pytest.raises(ConfigurationError, match="revoke crm --old"):
        file.rotate("crm", expire_ms=None)
    assert file.revoke("crm", is_old_only=True) == 1
    assert find_secret(file.secrets(), old) is None
    assert find_secret(file.secrets(), new)
    with pytest.raises(ConfigurationError, match="no older one"):
        file.revoke("crm", is_old_only=True)


def test_expired_secrets_make_room_for_new_ones(path: Path) -> None:
    file, past_ms = TokenFile(path), time.time_ns() // 1_000_000 - 1
    file.create("crm", expire_ms=past_ms)
    file.rotate("crm", expire_ms=past_ms)
    token = file.rotate("crm", expire_ms=None)
    assert [find_secret([secret], token) for secret in file.secrets()] == list(file.secrets())


def test_revoking_removes_all_secrets_of_an_id_and_no_others(path: Path) -> None:
    file = TokenFile(path)
    file.create("crm", expire_ms=None)
    file.rotate("crm", expire_ms=None)
    file.create("other", expire_ms=None)
    assert file.revoke("crm", is_old_only=False) == 2
    assert [secret.id for secret in file.secrets()] == ["other"]
    for change in (lambda: file.revoke("crm", is_old_only=False), lambda: file.rotate("crm", expire_ms=None)):
        with pytest.raises(UnknownTokenError, match="there is no token 'crm'"):
            change()


def test_tokens_that_are_made_at_once_are_all_kept(path: Path) -> None:
    names = [f"caller-{number}" for number in range(12)]
    ready = threading.Barrier(len(names))

    def create(name: str) -> None:
        ready.wait()
        TokenFile(path).create(name, expire_ms=None)

    threads = [threading.Thread(target=create, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_SECONDS)
    assert sorted(secret.id for secret in TokenFile(path).secrets()) == sorted(names)
    assert {each.name for each in path.parent.iterdir()} == {path.name, f"{path.name}.lock"}


def test_a_link_to_the_file_stays_a_link(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.json"
    link.symlink_to(path)
    TokenFile(link).create("crm", expire_ms=None)
    assert link.is_symlink()
    assert [secret.id for secret in TokenFile(path).secrets()] == ["crm"]


@pytest.mark.parametrize("token_id", ["", "a b", "-crm", "ü", "a" * 65, "a/b", "a\n"])
def test_an_id_is_a_plain_name(path: Path, token_id: str) -> None:
    with pytest.raises(ConfigurationError, match="1 to 64 letters"):
        TokenFile(path).create(token_id, expire_ms=None)
    assert not path.exists()


@pytest.mark.parametrize(
    "content",
    [b"tokens", b"{", b"[]", b'{"version": 2}', b'{"secrets": [{"id": "a"}]}', b"\xff", b"[" * 100_000,
     b'{"secrets": [{"id": "a", "digest": "\xc3\xbc", "create_ms": 1}]}'],
)  # fmt: skip
def test_another_file_is_refused_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"not a file of `engagement token`|a newer server"):
        TokenFile(path).create("crm", expire_ms=None)
    assert path.read_bytes() == content


def test_a_file_that_cannot_be_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file"):
        TokenFile(tmp_path / "nowhere" / "tokens.json").create("crm", expire_ms=None)
