"""`muster call`: asks for work, shows what it says meanwhile, and prints the response."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from muster.agent.asking import RequestOptions, state_name
from muster.agent.contents import fetch
from muster.agent.values import Content
from muster.agent.watching import Change, Ended
from muster.cli import exits, text
from muster.cli.call_input import input_of, labels_of
from muster.cli.call_view import CallView
from muster.cli.exits import Trouble
from muster.cli.messages import message_json
from muster.cli.place import Place, connected
from muster.cli.terminal import complain, out, print_json, say
from muster.model import limits
from muster.model.errors import MusterError
from muster.wire.jsontext import json_value

if TYPE_CHECKING:
    from muster.agent.client import Client
    from muster.agent.handle import Handle
    from muster.v1.response_pb2 import Response

_PRIORITIES = ("low", "normal", "high", "critical")
# How long a contract may wait in silence before the person is told why it waits.
_EXPLAIN_AFTER_SECONDS = 2.0
# Past the deadline, for the mesh to say itself that it has passed, also after a restart.
_GRACE_SECONDS = 10.0


@dataclass(frozen=True)
class CallOptions:
    """What the command line says."""

    capability: str
    words: Sequence[str] = ()
    timeout: str = "10m"
    wait: bool = True
    version: str = ""
    priority: str = "normal"
    labels: Sequence[str] = ()
    conversation: str = ""
    request_id: str = ""
    quiet: bool = False
    whole: bool = False


async def call(place: Place, options: CallOptions) -> int:
    """Asks, and returns when there is a response, or, without waiting, when it is recorded."""
    value, asked = input_of(options.words), _request_options(options)
    seconds = asked["timeout"] or limits.CALL_SECONDS_DEFAULT
    async with connected(place) as client:
        handle = await client.submit(options.capability, value, **asked)
        contract_id = await _accepted(handle)
        if not options.wait:
            out().print(contract_id)
            return exits.OK
        try:
            async with asyncio.timeout(seconds + _GRACE_SECONDS):
                response, interrupted = await _follow(client, contract_id, options)
        except TimeoutError:
            message = f"contract {contract_id} should have ended by now, and nothing says so"
            hint = f"look at it: muster contracts show {contract_id}"
            raise Trouble(message, exits.TIMED_OUT, hint) from None
        code = await _answer(client, response, options)
        return exits.INTERRUPTED if interrupted else code


async def _accepted(handle: Handle) -> str:
    try:
        async with asyncio.timeout(limits.COMMAND_SECONDS):
            return await handle.accepted()
    except TimeoutError:
        message = "the mesh did not say in time whether it has recorded the request"
        hint = f"ask again for the same contract: muster call --request-id {handle.request_id} …"
        raise Trouble(message, exits.TIMED_OUT, hint) from None


def _request_options(options: CallOptions) -> RequestOptions:
    try:
        timeout = text.parse_duration(options.timeout)
    except ValueError as error:
        raise Trouble(f"--timeout: {error}", exits.USAGE) from None
    if not 0 < timeout <= limits.DEADLINE_MAX_SECONDS:
        message = "--timeout must be more than 0, and at most 30 days"
        raise Trouble(message, exits.USAGE)
    if options.priority not in _PRIORITIES:
        message = f"--priority is one of {', '.join(_PRIORITIES)}, unlike {options.priority!r}"
        raise Trouble(message, exits.USAGE)
    asked: RequestOptions = {"timeout": timeout}
    if options.version:
        asked["version"] = options.version
    if options.priority != "normal":
        asked["priority"] = options.priority  # type: ignore[typeddict-item]
    if options.labels:
        asked["labels"] = labels_of(options.labels)
    if options.conversation:
        asked["conversation_id"] = options.conversation
    if options.request_id:
        asked["request_id"] = options.request_id
    return asked


# --- while it goes on -----------------------------------------------------------------------------


async def _follow(client: Client, contract_id: str, options: CallOptions) -> tuple[Response, bool]:
    """The response, and whether the person interrupted it."""
    loop, interrupted = asyncio.get_running_loop(), asyncio.Event()
    response: list[Response] = []
    view = CallView(options.capability, contract_id, quiet=options.quiet)

    async def follow() -> None:
        async for update in client.follow(contract_id):
            if isinstance(update, Change):
                queued = update.state == "QUEUED"
                waits.set() if queued else waits.clear()
            if isinstance(update, Ended):
                response.append(update.response)
                return
            view.show(update)

    waits = asyncio.Event()
    loop.add_signal_handler(signal.SIGINT, interrupted.set)
    try:
        with view.progress:
            async with asyncio.TaskGroup() as tasks:
                following = tasks.create_task(follow())
                aside = [
                    tasks.create_task(_explain(client, contract_id, waits, view)),
                    tasks.create_task(_cancel(client, contract_id, interrupted, view)),
                ]
                await asyncio.wait([following])
                for task in aside:
                    task.cancel()
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None
    finally:
        loop.remove_signal_handler(signal.SIGINT)
    return response[0], interrupted.is_set()


async def _explain(client: Client, contract_id: str, waits: asyncio.Event, view: CallView) -> None:
    """Says why the contract waits, if it waits for long, and again when the reason changes."""
    said = ""
    while True:
        await waits.wait()
        await asyncio.sleep(_EXPLAIN_AFTER_SECONDS)
        if waits.is_set():
            with suppress(MusterError):
                summary = (await client.explain(contract_id)).summary
                if summary != said:
                    view.waits(summary)
                    said = summary


async def _cancel(
    client: Client, contract_id: str, interrupted: asyncio.Event, view: CallView
) -> None:
    """Cancels the contract when the person presses Ctrl-C; a second one does not wait for that."""
    await interrupted.wait()
    interrupted_again = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted_again.set)
    view.note("cancelling; Ctrl-C again leaves it to itself")
    async with asyncio.TaskGroup() as tasks:
        cancelling = tasks.create_task(_ask_to_cancel(client, contract_id))
        leaving = tasks.create_task(interrupted_again.wait())
        await asyncio.wait([leaving], timeout=limits.COMMAND_SECONDS)
        cancelling.cancel()
        leaving.cancel()
    message = f"contract {contract_id} may still go on"
    hint = f"look at it: muster contracts show {contract_id}"
    raise Trouble(message, exits.INTERRUPTED, hint)


async def _ask_to_cancel(client: Client, contract_id: str) -> None:
    # It may have just ended; then its response is on the way. So it is when the cancel succeeds.
    with suppress(MusterError):
        await client.cancel(contract_id, "interrupted at the terminal")


# --- when it has ended ----------------------------------------------------------------------------


async def _answer(client: Client, response: Response, options: CallOptions) -> int:
    succeeded = state_name(response.state) == "SUCCEEDED"
    if options.whole:
        print_json(message_json(response))
    elif succeeded:
        await _print_payload(client, response)
    if not succeeded:
        complain(
            failure_line(response),
            f"look closer: muster contracts show {response.contract_id}",
        )
    elif not options.quiet and sys.stderr.isatty():
        say(_summary(response), style="bright_black")
    return exits.OK if succeeded else exits.FAILED


def failure_line(response: Response) -> str:
    """Why there is no output, in a sentence."""
    state = state_name(response.state).lower().replace("_", " ")
    failure = response.failure
    message = text.printable(failure.message.strip())
    tries = f" after {text.counted(response.attempt, 'attempt')}" if response.attempt > 1 else ""
    return f"{state}{tries}: {failure.code}" + (f": {message}" if message else "")


def _summary(response: Response) -> str:
    from muster.wire.times import seconds_of_timestamp

    took = seconds_of_timestamp(response.end_time) - seconds_of_timestamp(response.accept_time)
    parts = [f"by {response.agent}" if response.agent else "", f"in {text.duration(took)}"]
    if response.attempt > 1:
        parts.append(f"attempt {response.attempt}")
    return f"{response.contract_id} · {' · '.join(part for part in parts if part)}"


async def _print_payload(client: Client, response: Response) -> None:
    content = await fetch(response.payload, client.blobs)
    if content.kind == "json":
        print_json(json_value(content.data))
    elif content.kind == "message":
        print_json(await _message_value(client, response, content))
    elif content.kind == "binary":
        _print_binary(content)


async def _message_value(client: Client, response: Response, content: Content) -> Any:
    """A message as JSON, by the type that the catalogue has of it."""
    from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

    capability = (await client.get(response.contract_id)).request.capability
    async for entry in client.capabilities(capability.name):
        kind = entry.capability.output.message
        if entry.capability.name == capability.name and kind.full_name == content.name:
            pool = descriptor_pool.DescriptorPool()
            files = descriptor_pb2.FileDescriptorSet.FromString(kind.file_descriptor_set)
            for file in files.file:
                pool.Add(file)
            found = message_factory.GetMessageClass(pool.FindMessageTypeByName(content.name))
            return json_format.MessageToDict(
                found.FromString(content.data), preserving_proto_field_name=True
            )
    message = f"the response is a {content.name}, which the catalogue does not describe"
    raise Trouble(message, exits.FAILED, "all of it: muster call … -o json")


def _print_binary(content: Content) -> None:
    if sys.stdout.isatty():
        kind = text.printable(content.name or "bytes")
        message = f"the response is {text.size(len(content.data))} of {kind}"
        say(f"{message}; send it somewhere: muster call … > FILE")
        return
    sys.stdout.buffer.write(content.data)
    sys.stdout.buffer.flush()
