"""No task is started in the server without someone who handles its failure."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import engagement_server

ROOT = Path(engagement_server.__file__).parent
STARTERS = {"create_task", "ensure_future"}
HANDLED = {
    "app.py:_be_lame_duck": "cannot fail",
    "app.py:_serve": "waits for all of them",
    "http/encrypting.py:EncryptedListener._accept": "ends the connection; a broken one is logged by the loop",
    "jobs/erasures.py:Erasures._run_of": "logs its failures; `resume` tries again",
    "jobs/erasures.py:Erasures._purge": "its callers wait for it",
    "log/committer.py:Committer.__init__": "answers every failure to the callers of the commit",
    "log/nats/jetstream_log.py:JetStreamLog.__init__": "puts every failure into `failure`",
    "log/nats/jetstream_log.py:JetStreamLog._replicate": "puts every failure into `failure`",
    "log/nats/racing.py:until_first": "waits for all of them",
    "log/writer_thread.py:_in_thread": "waits for it",
    "streams/tails.py:Tail.hand_over": "logs what fails, and lets followers read the store",
    "streams/feed.py:Feed._begin": "its callers wait for it",
    "streams/upload.py:UploadSession.run": "ends the stream with its failure",
    "streams/upload.py:UploadSession._with_heartbeats": "waits for it",
    "supervision.py:run_in_background": "logs its failure",
    "workers/parent.py:Parent.fail": "waits for it",
    "workers/pool.py:WorkerPool.start": "`fail` waits for them",
    "workers/process.py:WorkerProcess.__init__": "`end` is awaited; failures of the others kill the worker",
    "workers/remote_log.py:RemoteLog.__init__": "puts every failure into `failure`",
    "workers/remote_log.py:RemoteLog._handle": "puts every failure into `failure`",
    "workers/remote_log_server.py:RemoteLogServer.__init__": "only sends",
    "workers/remote_log_server.py:RemoteLogServer.serve": "answers every failure to the worker",
    "workers/worker.py:_run": "exits the process",
}
"""Who handles the failure of a task that is not supervised."""


def _starts(node: ast.AST, scope: str) -> Iterator[str]:
    """The functions that start tasks, but for those that supervise what they start."""
    for child in ast.iter_child_nodes(node):
        inner = scope
        if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            inner = f"{scope}.{child.name}".lstrip(".")
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute | ast.Name):
            name = child.func.attr if isinstance(child.func, ast.Attribute) else child.func.id
            if name in STARTERS and not ast.unparse(child.args[0]).startswith("supervise("):
                yield scope
        yield from _starts(child, inner)


def test_every_task_is_supervised_or_its_failure_is_handled() -> None:
    started = {
        f"{path.relative_to(ROOT).as_posix()}:{scope}"
        for path in ROOT.rglob("*.py")
        for scope in _starts(ast.parse(path.read_text()), "")
    }
    assert started == set(HANDLED)
