"""Whatever is logged becomes one line, without values of people and not too often."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engagement_server.errors import ConfigurationError, EventNotFoundError, StoreUnavailableError
from engagement_server.telemetry.config import LogLineConfig
from engagement_server.telemetry.correlation import Correlation, correlation
from engagement_server.telemetry.exceptions import exception_text
from engagement_server.telemetry.flood import MAX_ALIKE, MAX_LINES
from engagement_server.telemetry.lines import FIELDS, Fields
from engagement_server.telemetry.setup import LineHandler, report_of_loop, write_lines
from tests.support.waiting import wait_until

SECRET = "zq-secret-4711"
texts = st.text(st.characters(), max_size=40)  # with controls and halves of surrogate pairs
NASTY = "a\nb\r\x1b[31m\x7f\x85\u2028\u202e\ud800\0end"


class Unshowable:
    """Neither its text nor its representation can be made."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def handler(stream: io.StringIO, *, worker: int | None = None, **settings: Any) -> LineHandler:
    """A handler that writes to the stream; settings are of several types."""
    return LineHandler(LogLineConfig(**settings), worker=worker, stream=stream)


def record(
    message: object, *arguments: object, level: int = logging.INFO, fields: Fields | None = None, **more: Any
) -> logging.LogRecord:
    """A record as a logger makes it, of one moment."""
    made = logging.LogRecord("some.logger", level, __file__, 1, message, arguments, None)
    made.__dict__.update({"created": 1_700_000_000.25, FIELDS: fields or {}, **more})
    return made


def lines(records: Sequence[logging.LogRecord], **settings: Any) -> list[str]:
    """What a handler writes for records, until it is closed."""
    stream = io.StringIO()
    writing = handler(stream, **settings)
    for each in records:
        writing.handle(each)
    writing.close()
    written = stream.getvalue()
    assert written.isascii() or settings.get("log_format") != "json"
    return written.removesuffix("\n").split("\n") if written else []


def raised(error: BaseException, cause: BaseException | None = None) -> dict[str, Any]:
    """`exc_info` of an exception that was raised and caught."""
    try:
        raise error from cause
    except BaseException as caught:
        return {"exc_info": (type(caught), caught, caught.__traceback__)}


@given(
    message=texts | st.just(Unshowable()) | st.binary(),
    arguments=st.lists(texts | st.integers() | st.just(Unshowable()), max_size=3),
    error=st.none()
    | st.builds(
        lambda kind, text: kind(text), st.sampled_from([OSError, RuntimeError, KeyError, SystemExit]), texts
    )
    | st.builds(lambda: RuntimeError(Unshowable())),
    value=texts,
)
def test_anything_is_one_line_of_json(
    message: object, arguments: list[object], error: BaseException | None, value: str
) -> None:
    more = {} if error is None else raised(error, cause=ValueError(value))
    (line,) = lines([record(message, *arguments, fields={"field": value}, **more)], log_format="json")
    assert line.isprintable()
    parsed = json.loads(line)
    assert parsed["field"] == value.encode("utf-8", "backslashreplace").decode()
    assert ("exception" in parsed) == (error is not None)
    assert parsed["time"] == "2023-11-14T22:13:20.250Z"


@given(message=texts, value=texts)
def test_anything_is_one_line_of_text(message: str, value: str) -> None:
    (line,) = lines([record("%s", message, fields={"field": value})])
    assert line.isprintable()


def test_lines_have_time_level_worker_logger_message_and_fields() -> None:
    made = record("%d events", 3, level=logging.WARNING, fields={"method": "A/B", "seconds": 0.25})
    (line,) = lines([made], log_format="json", worker=2)
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.250Z",
        "level": "warning",
        "logger": "some.logger",
        "message": "3 events",
        "worker": 2,
        "method": "A/B",
        "seconds": 0.25,
    }
    (line,) = lines([made], worker=2)
    assert line == ("2023-11-14T22:13:20.250Z WARNING worker 2 some.logger: 3 events method=A/B seconds=0.25")


def test_lines_carry_the_ids_of_the_call_that_writes_them() -> None:
    token = correlation.set(Correlation(request_id="r-1", trace_id="t" * 32))
    try:
        (line,) = lines([record("hello")], log_format="json")
        (text,) = lines([record("hello")])
    finally:
        correlation.reset(token)
    parsed = json.loads(line)
    assert (parsed["request_id"], parsed["trace_id"], "span_id" in parsed) == ("r-1", "t" * 32, False)
    assert text.endswith(f"hello request_id=r-1 trace_id={'t' * 32}")


def test_a_value_in_text_cannot_be_taken_for_other_fields() -> None:
    (line,) = lines([record("hello", fields={"reason": 'x" code=OK', "code": "NOT_FOUND"})])
    assert line.endswith(r'hello reason="x\" code=OK" code=NOT_FOUND')


def test_a_trace_in_text_cannot_be_taken_for_other_lines() -> None:
    forged = "gone\n2023-11-14T22:13:20.250Z ERROR some.logger: forged"
    first, *trace = lines([record(NASTY, **raised(RuntimeError(forged), cause=OSError(NASTY)))])
    assert first.endswith(r"a\nb\r\x1b[31m\x7f\x85\u2028\u202e\ud800\x00end")
    assert all(line.startswith("    | ") and line.isprintable() for line in trace)
    assert "    | Traceback (most recent call last):" in trace
    assert "direct cause" in "\n".join(trace)


def test_a_message_and_a_trace_have_a_bounded_length() -> None:
    long = "x" * 1_000_000
    (line,) = lines([record(long, **raised(RuntimeError(long)))], log_format="json")
    assert len(line) < 20_000
    assert "characters" in json.loads(line)["message"]


def endless() -> None:
    endless()


def test_a_trace_of_a_deep_recursion_or_a_long_chain_is_short() -> None:
    with pytest.raises(RecursionError) as caught:
        endless()
    assert exception_text(caught.value).count("in endless") <= 40
    error: Exception = OSError("first")
    for number in range(100):
        error = raised(RuntimeError(f"number {number}"), cause=error)["exc_info"][1]
    assert exception_text(error).count("RuntimeError: number") == 8
    one, other = RuntimeError("one"), RuntimeError("other")
    one.__cause__, other.__cause__ = other, one
    assert exception_text(one).splitlines()[0] == "RuntimeError: other"


@pytest.mark.parametrize(
    "error",
    [
        KeyError(SECRET),
        ValueError(f"invalid literal for int() with base 10: {SECRET!r}"),
        EventNotFoundError(eventId=SECRET),
    ],
    ids=lambda error: type(error).__name__,
)
def test_texts_that_may_quote_a_value_are_left_out_of_traces(error: Exception) -> None:
    wrapped = raised(RuntimeError("outer"), cause=error)
    group = raised(ExceptionGroup("some", [error]))
    written = "\n".join(lines([record("failed", **wrapped), record("failed too", **group)]))
    assert SECRET not in written
    assert written.count(type(error).__name__) == 2


def test_texts_that_say_what_is_wrong_with_the_machine_stay() -> None:
    written = "\n".join(lines([record("failed", **raised(OSError(28, "No space left on device")))]))
    assert "OSError: [Errno 28] No space left on device" in written


def test_a_fault_names_no_id_but_says_what_the_store_has() -> None:
    assert EventNotFoundError(eventId=SECRET).fault == "EVENT_NOT_FOUND"
    assert StoreUnavailableError("disk full").fault == "the store is not available (disk full)"


def test_a_flood_of_equal_lines_is_summed() -> None:
    def call(account: str) -> logging.LogRecord:
        fields: Fields = {"method": "A/B", "code": "NOT_FOUND", "account": account, "seconds": 0.5}
        return record("call failed", fields=fields)

    written = lines([call("acme")] * 5_000 + [call("other")], log_format="json")
    parsed = [json.loads(line) for line in written]
    assert len(written) == MAX_ALIKE + 2
    assert parsed[MAX_ALIKE]["account"] == "other"
    assert parsed[-1]["message"] == "and 4,990 more alike: call failed"
    assert (parsed[-1]["more"], parsed[-1]["account"], parsed[-1]["method"]) == (4990, "acme", "A/B")


def test_a_flood_of_different_lines_is_bounded_and_none_goes_uncounted() -> None:
    written = lines([record(f"number {number}") for number in range(10_000)], log_format="json")
    parsed = [json.loads(line) for line in written]
    assert MAX_LINES < len(written) < 2 * MAX_LINES
    assert sum(each.get("more", 1) for each in parsed) == 10_000
    assert parsed[-1]["message"].endswith("more of other kinds")


def test_a_flood_of_one_logger_leaves_room_for_others() -> None:
    flood = [record(f"number {number}") for number in range(1000)]
    other = record("the disk is full", name="other.logger")
    assert any("the disk is full" in line for line in lines([*flood, other]))


def test_the_next_second_begins_anew_even_if_the_clock_goes_back() -> None:
    for later in (1_700_000_002.0, 1_600_000_000.0):
        written = lines([record("same")] * 100 + [record("same", created=later)] * 3)
        assert len(written) == MAX_ALIKE + 1 + 3


def test_the_sum_is_written_though_nothing_more_is_logged() -> None:
    stream = io.StringIO()
    writing = handler(stream)
    for _ in range(MAX_ALIKE + 5):
        writing.handle(record("same"))
    wait_until(lambda: "and 5 more alike: same" in stream.getvalue(), "the sum is written")
    writing.close()


def test_a_sum_does_not_carry_the_ids_of_another_call() -> None:
    token = correlation.set(Correlation(request_id="later"))
    try:
        written = lines([record("same")] * (MAX_ALIKE + 5))
    finally:
        correlation.reset(token)
    assert "request_id" not in written[-1]


def test_at_debug_level_every_line_is_written() -> None:
    assert len(lines([record("same")] * 1000, log_level="debug")) == 1000


class Full(io.StringIO):
    """A stream on a full disk."""

    def write(self, _: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_line_that_cannot_be_written_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    handler(Full()).handle(record("lost"))
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Sets this process up for lines of JSON; returns what was written, and undoes it."""
    root, own = logging.getLogger(), logging.getLogger("engagement_server")
    handlers, levels = list(root.handlers), (root.level, own.level)
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    for module, name in ((sys, "excepthook"), (sys, "unraisablehook"), (threading, "excepthook")):
        monkeypatch.setattr(module, name, getattr(module, name))
    write_lines(LogLineConfig(log_format="json", log_level="debug"))
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    own.setLevel(levels[1])


def test_warnings_threads_and_the_event_loop_write_lines_too(
    logged: Callable[[], list[dict[str, Any]]],
) -> None:
    def fail() -> None:
        raise KeyError(SECRET)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("a warning\nof two lines", stacklevel=1)
    failing = threading.Thread(target=fail, name="some-thread")
    failing.start()
    failing.join()
    error = KeyError(SECRET)
    report_of_loop(None, {"message": "Task exception was never retrieved", "exception": error})  # type: ignore[arg-type]  # it is not used
    sys.excepthook(KeyError, error, None)
    warned, thread, loop, uncaught = logged()
    assert "a warning\nof two lines" in warned["message"]
    assert "some-thread" in thread["message"]
    assert "in fail" in thread["exception"]
    assert loop["message"] == "the event loop reports: Task exception was never retrieved"
    assert uncaught["level"] == "critical"
    assert SECRET not in json.dumps(logged())


def test_debug_is_for_our_lines_and_not_for_those_of_libraries(
    logged: Callable[[], list[dict[str, Any]]],
) -> None:
    logging.getLogger("nats.aio.client").debug("received %s", SECRET)
    logging.getLogger("engagement_server.some").debug("ours")
    assert [each["message"] for each in logged()] == ["ours"]


@pytest.mark.parametrize(
    ("settings", "option"),
    [
        ({"log_format": "xml"}, "--log-format must be text or json"),
        ({"log_level": "loud"}, "--log-level must be debug, info, warning or error"),
        ({"slow_call_seconds": -1.0}, "--slow-call-seconds must be a number from 0"),
        ({"slow_call_seconds": float("nan")}, "--slow-call-seconds must be a number"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, Any], option: str) -> None:
    with pytest.raises(ConfigurationError, match=option):
        LogLineConfig(**settings)
