"""An agent on nothing but stubs asks a person, and does not do it well at first."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from muster.agent import connect
from muster.v1 import session_pb2 as session
from muster.v1.agent_pb2 import AgentSpec
from muster.v1.capability_pb2 import Capability, Schema
from muster.v1.executor_service_pb2 import ConnectRequest
from muster.v1.executor_service_pb2_grpc import ExecutorServiceStub
from muster.v1.payload_pb2 import Payload
from muster.v1.question_pb2 import Question
from muster.wire.channel import open_channel
from tests.support.meshes import Mesh
from tests.support.processes import until

CAPABILITY = Capability(name="bare.ask", version="1.0.0")
SPEC = AgentSpec(name="bare", max_in_flight=4, capabilities=[CAPABILITY])
ONE, TWO, LONG = (Payload(json=json.dumps(each)) for each in (1, 2, "x" * 40_000))
REMOTE = Schema(json_schema='{"$ref": "https://a.b"}')
WRONG = (
    (Question(id="q", text=""), "text"),
    (Question(id="a b", text="?"), "id"),
    (Question(id="q", text="?", choices=[Payload(json="nope")]), "choices[0]"),
    (Question(id="q", text="?", choices=[ONE], default_answer=TWO), "default_answer"),
    (Question(id="q", text="?", answer=Schema(json_schema="{")), "type of the answer"),
    (Question(id="q", text="?", answer=REMOTE), "type of the answer"),
    (Question(id="q", text="?", choices=[LONG, LONG]), "bytes"),
)


class Bare:
    """A host that sends what it is told to, and keeps what it hears."""

    def __init__(self) -> None:
        self.assignments: list[session.Assignment] = []
        self.acks: list[session.ReportAck] = []
        self._frames: asyncio.Queue[ConnectRequest] = asyncio.Queue()
        hello = session.Hello(protocol_version=1, host="bare", agents=[SPEC])
        self._frames.put_nowait(ConnectRequest(hello=hello))

    async def speak(self, mesh: Mesh) -> None:
        async with open_channel(mesh.executor, retries=False) as channel:
            call: Any = ExecutorServiceStub(channel).Connect(self._said())
            async for frame in call:
                self.assignments += frame.assignments
                self.acks += frame.report_acks

    async def _said(self) -> AsyncIterator[ConnectRequest]:
        while True:
            yield await self._frames.get()

    async def report(self, **outcome: Any) -> session.ReportAck:
        """Reports on the newest assignment; the verdict."""
        known = len(self.acks)
        report = session.Report(key=self.assignments[-1].key, **outcome)
        self._frames.put_nowait(ConnectRequest(reports=[report]))
        await until(lambda: len(self.acks) > known, 10, "the report is acknowledged")
        return self.acks[-1]

    async def assigned(self, number: int) -> session.Assignment:
        await until(lambda: len(self.assignments) == number, 10, f"assignment {number} is there")
        return self.assignments[-1]


@asynccontextmanager
async def bare_host(mesh: Mesh) -> AsyncIterator[Bare]:
    bare = Bare()
    async with asyncio.TaskGroup() as tasks:
        speaking = tasks.create_task(bare.speak(mesh))
        try:
            yield bare
        finally:
            speaking.cancel()


async def test_a_bare_agent_asks_and_goes_on_with_the_answer(mesh: Mesh) -> None:
    async with bare_host(mesh) as bare, connect() as client:

        async def offered() -> bool:
            return [each.spec.name async for each in client.agents()] == ["bare"]

        await until(offered, 10, "the agent is there")
        handle = await client.submit("bare.ask", {})
        number = await handle.accepted()
        first = await bare.assigned(1)
        assert not first.answers
        for wrong, why in WRONG:
            refusal = await bare.report(question=wrong)
            assert (refusal.verdict, refusal.error.code) == (session.REPORT_VERDICT_REFUSED, 3)
            assert why in refusal.error.message
        good = Question(id="q", text="How many?", answer=Schema(json_schema='{"type": "integer"}'))
        assert (await bare.report(question=good)).verdict == session.REPORT_VERDICT_ACCEPTED
        duplicate = (await bare.report(question=good)).verdict
        assert duplicate == session.REPORT_VERDICT_ACCEPTED_DUPLICATE
        await client.inbox.answer(number, "q", 7)
        second = await bare.assigned(2)
        assert [(each.question_id, each.value.json) for each in second.answers] == [("q", "7")]
        assert second.attempt == 2
        refusal = await bare.report(question=good)
        assert "was answered" in refusal.error.message
        done = await bare.report(payload=second.answers[0].value)
        assert done.verdict == session.REPORT_VERDICT_ACCEPTED
        assert await handle.result() == 7
