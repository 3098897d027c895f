"""The files of access are watched: the newest good version counts, without a restart."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest

from engagement import v1
from engagement_server.access import watch as module
from engagement_server.access.config import AccessConfig
from engagement_server.access.last_uses import LastUses, name_of, uses_path
from engagement_server.access.watch import AccessWatch
from engagement_server.errors import ConfigurationError, TokenInvalidError
from engagement_server.metrics.measures import Measures
from engagement_server.node import Server
from engagement_server.oversight import measure_access
from engagement_server.supervision import Supervisor
from tests.support.known_callers import KnownCallers, principal, signed, signing_key
from tests.support.waiting import eventually


class Watched:
    """Files that are watched."""

    def __init__(self, callers: KnownCallers, watch: AccessWatch) -> None:
        self.callers = callers
        self.watch = watch

    def knows(self, token: str) -> bool:
        """Whether a call with this token would be let in."""
        try:
            self.watch.directory.identify_token(token)
        except TokenInvalidError:
            return False
        return True

    async def until_known(self, token: str, *, is_known: bool = True) -> None:
        await eventually(
            lambda: self.knows(token) == is_known, f"the token is {'' if is_known else 'un'}known"
        )

    async def until_broken(self) -> None:
        await eventually(lambda: bool(self.watch.problem), "the file is found to be broken")

    async def until_whole(self) -> None:
        await eventually(lambda: not self.watch.problem, "the file is found to be whole")


@pytest.fixture
async def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Watched]:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(module, "AGAIN_SECONDS", 0.01)
    callers = KnownCallers(tmp_path / "access")
    callers.publish()
    watch = AccessWatch(callers.config)
    async with AsyncExitStack() as ending:
        ending.callback(Supervisor().start("watch-access", watch.run).cancel)
        yield Watched(callers, watch)


async def test_a_token_is_known_once_it_is_made_and_granted(watched: Watched) -> None:
    token = watched.callers.token("crm")
    watched.callers.grant(principal("crm"))
    await watched.until_known(token)
    watched.callers.tokens.revoke("crm", is_old_only=False)
    await watched.until_known(token, is_known=False)


async def test_an_empty_file_means_nobody(watched: Watched) -> None:
    token = watched.callers.token("crm")
    watched.callers.grant(principal("crm"))
    await watched.until_known(token)
    watched.callers.grants_path.write_text("")
    await watched.until_known(token, is_known=False)
    assert not watched.watch.problem


async def test_keys_of_a_folder_are_replaced(watched: Watched) -> None:
    old, new = signing_key("old"), signing_key("new")
    subject = {"issuer": "https://id.example", "subject": "crm"}
    watched.callers.grant(principal("crm", jwts=[subject]))
    watched.callers.publish(old)
    await watched.until_known(signed(old))
    watched.callers.publish(new, name="second.json")
    await watched.until_known(signed(new))
    assert watched.knows(signed(old))
    (watched.callers.keys_path / "issuer.json").unlink()
    await watched.until_known(signed(old), is_known=False)
    assert watched.knows(signed(new))


async def test_a_broken_file_leaves_the_last_good_version(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    token = watched.callers.token("crm")
    watched.callers.grant(principal("crm"))
    await watched.until_known(token)
    measures = Measures()
    measure_access(measures, watched.watch)
    watched.callers.replace(watched.callers.grants_path, "[[principal]]\nname = 7")
    await watched.until_broken()
    assert watched.knows(token)
    assert "--grants" in watched.watch.problem
    assert [watched.watch.is_broken(kind) for kind in watched.watch.kinds] == [True, False, False]
    # It is the same in each look; the log says so once.
    watched.callers.replace(watched.callers.grants_path, "[[principal]]\nname = 8")
    other = watched.callers.token("other")
    watched.callers.publish(signing_key())
    await eventually(lambda: "other" in watched.watch.directory.known.secrets, "other files are read on")
    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(errors) == 1
    assert "the last good version still counts" in errors[0].getMessage()
    watched.callers.grant(principal("other"))
    await watched.until_known(other)
    await watched.until_whole()
    assert not watched.knows(token)


async def test_a_file_that_is_removed_leaves_the_last_good_version(watched: Watched) -> None:
    token = watched.callers.token("crm")
    watched.callers.grant(principal("crm"))
    await watched.until_known(token)
    text = watched.callers.grants_path.read_text()
    watched.callers.grants_path.unlink()
    await watched.until_broken()
    assert watched.knows(token)
    watched.callers.replace(watched.callers.grants_path, text)
    await watched.until_whole()
    assert watched.knows(token)


async def test_a_secret_mount_that_swaps_its_link_is_noticed(tmp_path: Path, watched: Watched) -> None:
    token = watched.callers.token("crm")
    folders = [tmp_path / name for name in ("v1", "v2")]
    for folder, text in zip(
        folders, ("", "[[principal]]\nname='crm'\ntokens=['crm']\nscopes=[]\n"), strict=True
    ):
        folder.mkdir()
        (folder / "grants.toml").write_text(text)
        os.utime(folder / "grants.toml", (1_000_000, 1_000_000))  # as old as a mount likes
    data = tmp_path / "..data"
    data.symlink_to(folders[0])
    watched.callers.grants_path.unlink()
    watched.callers.grants_path.symlink_to(data / "grants.toml")
    await watched.until_whole()
    assert not watched.knows(token)
    swapped = tmp_path / "..data_tmp"
    swapped.symlink_to(folders[1])
    os.replace(swapped, data)
    await watched.until_known(token)


async def test_a_change_within_a_tick_of_the_clock_is_noticed(watched: Watched) -> None:
    token = watched.callers.token("crm")
    known = "[[principal]]\nname='crm'\ntokens=['crm']\nscopes=[]\n"
    path = watched.callers.grants_path
    for _ in range(3):  # the same inode, size and times
        for text, is_known in ((known, True), (known.replace("'crm'", "'mrc'"), False)):
            state = path.stat()
            path.write_text(text)
            os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
            await watched.until_known(token, is_known=is_known)


async def test_a_jwt_by_an_unknown_key_makes_the_server_look(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 3600.0)
    first, key = signing_key("first"), signing_key()
    watched.callers.grant(principal("crm", jwts=[{"issuer": "https://id.example", "subject": "crm"}]))
    watched.callers.publish(first)
    watched.watch.look_now()
    await eventually(
        lambda: (keys := watched.watch.directory.known.keys) is not None and keys.knows(signed(first)),
        "the first key is known",
    )  # from here on looks do not come by themselves
    watched.callers.publish(first, key)
    await watched.until_known(signed(key))


async def test_versions_are_handed_on(watched: Watched) -> None:
    handed: list[str] = []
    watched.watch.subscribe(handed.extend)
    watched.callers.grant(principal("crm"))
    await eventually(lambda: handed == ["grants"], "the new version is handed on")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("grants_path", "name", "--grants .*grants.toml: it is not TOML"),
        ("grants_path", None, "--grants: cannot read .*No such file"),
        ("tokens_path", "{}x", "--tokens .*tokens.json: it is not a file of"),
        ("tokens_path", "/dev/null", "--tokens: .*tokens.json is no file"),
        ("tokens_path", None, "--tokens: cannot read .*No such file"),
    ],
)
def test_a_broken_file_keeps_a_server_from_starting(
    tmp_path: Path, name: str, text: str | None, message: str
) -> None:
    callers = KnownCallers(tmp_path)
    path: Path = getattr(callers, name)
    path.unlink()
    if text == os.devnull:
        path.symlink_to(text)
    elif text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError, match=message):
        AccessWatch(callers.config)


async def test_last_uses_are_kept_beside_the_tokens(tmp_path: Path) -> None:
    callers = KnownCallers(tmp_path)
    token = callers.token("crm")
    callers.token("idle")
    callers.grant(principal("crm"), principal("idle"))
    watch = AccessWatch(callers.config)
    watch.directory.identify_token(token)
    await watch.close()
    kept = LastUses.read(uses_path(callers.tokens_path))
    idle, used = sorted(callers.tokens.secrets(), key=lambda secret: secret.id == "crm")
    assert kept.last_ms(used) is not None
    assert kept.last_ms(idle) is None
    again = AccessWatch(callers.config)
    assert again.uses.last_ms(used) == kept.last_ms(used)
    callers.tokens.revoke("crm", is_old_only=False)
    assert name_of(used) in again.uses.of("").by_secret


async def test_a_start_without_grants_asks_nobody(server: Server) -> None:
    assert not AccessConfig().is_on
    async with grpc.aio.insecure_channel(server.address) as channel:
        stub = v1.ServerServiceStub(channel)
        identity = await stub.GetIdentity(v1.GetIdentityRequest())
        assert (identity.principal, list(identity.accounts)) == ("", ["*"])
        assert not (await stub.GetServerInfo(v1.GetServerInfoRequest())).identity_required
