"""The audit log of a server as processes: workers, kills, signals, full disks, and no value of a person."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass

from engagement import v1
from engagement_server.access.audit_subjects import subject_hash
from engagement_server.access.scopes import SCOPES
from tests.support.audit_lines import KEY, AuditFiles
from tests.support.cli_process import Cli
from tests.support.connection import ACCOUNT, Connection, connect
from tests.support.contract import methods
from tests.support.events import customer_events
from tests.support.filled_messages import fill
from tests.support.known_callers import KnownCallers, principal, shown
from tests.support.management import ask
from tests.support.personal_events import OPEN, SECRET, personal_events
from tests.support.raw_subscription import subscribing
from tests.support.refused_call import expect_refused
from tests.support.server_process import ServerProcess
from tests.support.waiting import deadline, eventually, wait_until

ERASE = v1.EraseConsumerRequest(
    account_id=ACCOUNT, request_id="ticket", subjects=[v1.Subject(consumer_id="ada")]
)
BOTH = pytest.mark.parametrize("workers", ["1", "2"], ids=["one-process", "workers"])


@pytest.fixture
def files(tmp_path: Path) -> AuditFiles:
    return AuditFiles(tmp_path / "kept")


@pytest.fixture
def callers(tmp_path: Path) -> KnownCallers:
    callers = KnownCallers(tmp_path / "access")
    callers.grant(principal("dpo", scopes=sorted(SCOPES)), principal("crm"))
    return callers


@pytest.fixture
def server(tmp_path: Path, files: AuditFiles, callers: KnownCallers, workers: str) -> Iterator[ServerProcess]:
    options = (*callers.options, *files.options(), "--workers", workers, "--http", "127.0.0.1:0")
    with ServerProcess(tmp_path / "data", options=options).start() as process:
        yield process


async def erase(connection: Connection, token: str) -> v1.Erasure:
    request = v1.RecordEventsRequest(account_id=ACCOUNT, events=customer_events(3))
    await connection.ingest.RecordEvents(request, metadata=shown(token, ACCOUNT))
    privacy = v1.PrivacyServiceStub(connection.channel)
    return (await privacy.EraseConsumer(ERASE, metadata=shown(token, ACCOUNT))).erasure


@BOTH
async def test_the_line_of_an_acknowledged_erasure_outlives_a_kill(
    server: ServerProcess, files: AuditFiles, callers: KnownCallers
) -> None:
    token = callers.token("dpo")
    os.kill(server.pid, signal.SIGHUP)  # the token is new
    await eventually(lambda: bool(files.lines("access", event="tokens-added")), "the token is known")
    async with connect(server.address) as connection:
        assert (await erase(connection, token)).erased_events == 3
        server.kill()
    (begin,) = files.lines("erasures", event="begin")
    hashed = subject_hash(KEY, account_id=ACCOUNT, subject_id="ada")
    assert (begin["principal"], begin["subjects"]) == ("dpo", [hashed])
    with (files.folder / "erasures.jsonl").open("a") as file:
        file.write('{"time":"2026-11-30T')
    server.start()
    async with connect(server.address) as connection:
        await erase(connection, token)
    assert len(files.lines("erasures", event="begin", principal="dpo")) == 2


@BOTH
async def test_nothing_is_erased_while_the_folder_is_gone(
    server: ServerProcess, files: AuditFiles, callers: KnownCallers
) -> None:
    token = callers.token("dpo")
    os.kill(server.pid, signal.SIGHUP)
    await eventually(lambda: bool(files.lines("access", event="tokens-added")), "the token is known")
    shutil.rmtree(files.folder)
    async with connect(server.address) as connection:
        refused = await expect_refused(erase(connection, token))
        assert (refused.reason, "audit log" in refused.message) == ("STORE_UNAVAILABLE", True)
        listed = v1.ListEventsRequest(account_id=ACCOUNT)
        found = await connection.events.ListEvents(listed, metadata=shown(token, ACCOUNT))
        assert len(found.events) == 3
        operations = v1.ServerServiceStub(connection.channel)

        async def says(problem: str) -> bool:
            request = v1.GetServerStatsRequest()
            stats = await operations.GetServerStats(request, metadata=shown(token))
            (check,) = [each for each in stats.checks if each.name == "audit log"]
            return problem in check.problem if problem else not check.problem

        await eventually(lambda: says("No such file or directory"), "the check says so")
        files.folder.mkdir()
        assert (await erase(connection, token)).erased_events == 3
        await eventually(lambda: says(""), "all is well again")
    (line,) = files.lines("exports")  # it has waited
    assert (line["method"].endswith("/ListEvents"), line["events"]) == (True, 3)


@BOTH
async def test_lines_of_all_processes_are_there_after_a_stop(
    server: ServerProcess, files: AuditFiles, callers: KnownCallers
) -> None:
    token = callers.token("dpo")
    os.kill(server.pid, signal.SIGHUP)
    await eventually(lambda: bool(files.lines("access", event="tokens-added")), "the token is known")
    get = v1.GetEventRequest(account_id=ACCOUNT, event_id="event-000001")
    for _ in range(8):  # each connection may be that of another worker
        async with connect(server.address) as connection:
            with suppress(grpc.aio.AioRpcError):
                await connection.events.GetEvent(get, metadata=shown(token, ACCOUNT))
            await expect_refused(connection.events.GetEvent(get))
    assert ask(server.http_address, "/metrics").status == 401
    assert server.stop() == 0
    (visitor,) = files.lines("denials", method="http")
    assert visitor["address"] == "127.0.0.1"
    failed = files.lines("reads", event="failed", principal="dpo")
    denied = files.lines("denials", outcome="TOKEN_MISSING")
    assert [sum(each.get("count", 1) for each in found) for found in (failed, denied)] == [8, 8]
    assert files.lines("access")[-1]["event"] == "stop"


@BOTH
async def test_no_value_of_a_person_is_in_any_line(
    server: ServerProcess, files: AuditFiles, callers: KnownCallers
) -> None:
    token = callers.token("dpo")
    os.kill(server.pid, signal.SIGHUP)
    await eventually(lambda: bool(files.lines("access", event="tokens-added")), "the token is known")
    events = [*personal_events().values()]
    async with connect(server.address) as connection:
        stub = v1.IngestServiceStub(connection.channel)
        await stub.RecordEvents(
            v1.RecordEventsRequest(account_id=ACCOUNT, events=events), metadata=shown(token, ACCOUNT)
        )
        for method in methods():
            for text in (SECRET, f"{SECRET}\n{{}}\u2028", SECRET * 2_000):
                request = GetMessageClass(method.input_type)()
                fill(request, text, account=ACCOUNT)
                if isinstance(request, v1.SubscribeEventsRequest):
                    request = subscribing(stop_at_tail=True, wanted=v1.EventFilter(consumer_ids=[text]))
                elif isinstance(request, v1.EraseConsumerRequest):
                    request = v1.EraseConsumerRequest(
                        account_id=ACCOUNT, request_id=text[:99], subjects=[v1.Subject(consumer_id=text)]
                    )
                call = connection.channel.stream_stream(
                    f"/{method.containing_service.full_name}/{method.name}",
                    request_serializer=type(request).SerializeToString,
                    response_deserializer=GetMessageClass(method.output_type).FromString,
                )
                for metadata in (shown(token, ACCOUNT), shown(SECRET, SECRET), shown(None, SECRET)):
                    with suppress(grpc.aio.AioRpcError):
                        async with deadline(f"{method.name} ended"):
                            async for _ in call(iter([request]), metadata=metadata):
                                pass
    assert server.stop() == 0
    for marker in (SECRET, OPEN, token):
        assert marker not in files.text
    said = {each["method"].rpartition("/")[2] for kind in ("reads", "exports") for each in files.lines(kind)}
    assert len(files.lines("erasures", event="end", outcome="OK")) == 3
    assert {"GetEvent", "GetProfile", "GetPerson", "ListEvents", "SubscribeEvents"} <= said
    assert files.lines("denials")


@pytest.mark.parametrize("workers", ["2"])
def test_moved_files_are_opened_again_on_sighup(server: ServerProcess, files: AuditFiles) -> None:
    path = files.folder / "access.jsonl"
    wait_until(lambda: bool(path.read_text()), "the start is written")
    path.rename(files.folder / "moved")
    os.kill(server.pid, signal.SIGHUP)
    assert server.stop() == 0
    assert [each["event"] for each in files.lines("access")] == ["stop"]


@pytest.mark.parametrize("workers", ["1"])
def test_a_second_server_with_the_same_folder_does_not_start(
    server: ServerProcess, files: AuditFiles, tmp_path: Path
) -> None:
    second = ServerProcess(tmp_path / "other", options=files.options())
    with second:
        second.launch()
        assert second.wait() == 2
    assert "in use by another server" in second.last_messages
    assert not (tmp_path / "other" / "engagement.db").exists()


def test_the_command_names_a_person_as_the_log_does(files: AuditFiles, tmp_path: Path) -> None:
    cli = Cli(tmp_path, settings={"ENGAGEMENT_AUDIT_KEY": str(files.key_path)})
    hashed = subject_hash(KEY, account_id="acme", subject_id="ada")
    assert cli.run("audit", "subject", "ada").stdout == f"{hashed}\n"
    files.key_path.write_bytes(b"short")
    failed = cli.run("audit", "subject", "ada")
    assert (failed.status, "openssl rand -hex 32" in failed.stderr) == (2, True)
