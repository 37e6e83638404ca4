"""A worker process: runs one sync capability at a time for its host.

The main thread computes. Another one reads what the host says, so that a cancel is noticed while
code computes; when the host is gone the process ends with it, in whatever it does. The pipes to the
host are the process's first stdin and stdout; what the code prints goes to stderr.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import queue
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any, BinaryIO

from muster.agent.capability import WORKER_CAPABILITIES, Capability
from muster.agent.context import Facts
from muster.agent.failures import AGENT_ERROR, AttemptCancelled, Failed
from muster.agent.performing import failed_of, perform_sync
from muster.agent.values import Content, content_of
from muster.agent.workers import pipe
from muster.agent.workers.sync_port import Channel, SyncAttemptPort
from muster.telemetry import tracing

MAIN_ALIAS = "__muster_main__"  # what a script is called here, so that its __main__ part stays out


class Worker(Channel):
    """The process's end of the pipes."""

    def __init__(self, source: BinaryIO, sink: BinaryIO) -> None:
        self._source = source
        self._sink = sink
        self._writing = threading.Lock()
        self._runs: queue.SimpleQueue[pipe.Message] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[pipe.Message | None] = queue.SimpleQueue()
        self._cancel_code: str | None = None

    # --- what the capability's context uses -------------------------------------------------------

    @property
    def cancel_code(self) -> str | None:
        return self._cancel_code

    def tell(self, op: str, *args: Any) -> None:
        self._write({"say": "tell", "op": op, "args": args})

    def ask(self, op: str, *args: Any, contents: Sequence[Content] = ()) -> pipe.Message:
        if self._cancel_code is None:
            self._write({"say": "ask", "op": op, "args": args}, contents)
            answer = self._answers.get()
            if answer is not None:
                return answer
        raise AttemptCancelled(self._cancel_code or "CANCELLED")

    # --- the process ------------------------------------------------------------------------------

    def serve(self) -> None:
        """Runs what comes, until the host closes its end."""
        threading.Thread(target=self._listen, name="host", daemon=True).start()
        while True:
            self._run(self._runs.get())

    def _run(self, message: pipe.Message) -> None:
        try:
            capability = find_capability(message.said)
            facts = Facts(**message.said["facts"])
            port = SyncAttemptPort(self, capability)
            self._write({"say": "begun"})
            content = perform_sync(capability, message.contents[0], facts, port)
            self._write({"say": "done"}, [content])
        except BaseException as error:  # noqa: BLE001 - the host is told, and goes on with it
            failed = failed_of(error)
            said = {
                "say": "failed",
                "code": failed.code,
                "message": failed.message,
                "permanent": failed.permanent,
                "retry_after": failed.retry_after,
            }
            self._write(said, _details(failed))

    def _listen(self) -> None:
        while (message := self._read()) is not None:
            match message.said["do"]:
                case "run":
                    # The pipe has an order: an answer or a cancel that comes later is this run's.
                    self._cancel_code = None
                    self._answers = queue.SimpleQueue()
                    self._runs.put(message)
                case "cancel":
                    self._cancel_code = message.said["code"]
                    self._answers.put(None)
                case "answer":
                    self._answers.put(message)
        tracing.end()
        os._exit(0)

    def _read(self) -> pipe.Message | None:
        prefix = self._source.read(pipe.PREFIX_BYTES)
        if len(prefix) < pipe.PREFIX_BYTES:
            return None
        text, rest = pipe.lengths(prefix)
        return pipe.decode(self._source.read(text), self._source.read(rest))

    def _write(self, said: dict[str, Any], contents: Sequence[Content] = ()) -> None:
        with self._writing:
            self._sink.write(pipe.encode(said, contents))
            self._sink.flush()


def _details(failed: Failed) -> list[Content]:
    if failed.details is None:
        return []
    try:
        return [content_of(failed.details)]
    except ValueError:
        return []


def find_capability(said: dict[str, Any]) -> Capability:
    """Loads the module that defines a capability, and the capability with it."""
    module, file = said["module"], said["file"]
    name = MAIN_ALIAS if module == "__main__" else module
    if name not in sys.modules:
        sys.path[:] = said["path"]
        _load(name, file)
    key = (name, said["function"], said["name"], said["version"])
    if key not in WORKER_CAPABILITIES:
        message = f"{said['function']} does not offer {said['name']} when its module is imported"
        raise Failed(AGENT_ERROR, message)
    return WORKER_CAPABILITIES[key]


def _load(name: str, file: str | None) -> None:
    if name != MAIN_ALIAS and importlib.util.find_spec(name) is not None:
        importlib.import_module(name)
        return
    spec = importlib.util.spec_from_file_location(name, file) if file else None
    if spec is None or spec.loader is None:
        message = f"the module {name} cannot be loaded in a worker process"
        raise Failed(AGENT_ERROR, message)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise


def main() -> None:
    """Takes the pipes for itself, and serves."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    # Ctrl-C is for the host, which ends its workers in good order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Worker(source, sink).serve()


if __name__ == "__main__":
    main()
