"""What capabilities without code do: each action, made into a function once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from muster.agent.failures import Failed, RunFailed
from muster.agent.modes.autonomous import AT_ONCE_DEFAULT, RETRIES_DEFAULT, work_through
from muster.agent.modes.collaborative import collaborate
from muster.declared.durations import seconds_in
from muster.declared.making import Listed, Made, text_maker
from muster.declared.models import Prompt, Provider
from muster.declared.planning import DeclaredPlanner
from muster.declared.schema import ACTIONS
from muster.model.errors import MusterError

if TYPE_CHECKING:
    from muster.agent import Context
    from muster.agent.inquiry import AskOptions

Variables = dict[str, Any]
Act = Callable[["Context", Variables], Awaitable[Any]]

# After these nobody comes back for what was begun.
_GIVEN_UP = frozenset({"CANCELLED", "DEADLINE_EXCEEDED", "EXPIRED"})


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all of an agent's capabilities and subscriptions share."""

    configuration: Mapping[str, Any]
    kind: str
    provider: Provider | None
    system: str

    def everywhere(self, agent: str) -> Variables:
        """The variables that are there at every place."""
        return {
            "configuration": self.configuration,
            "agent": {"name": agent, "kind": self.kind},
        }

    def of_attempt(self, ctx: Context, given: Any) -> Variables:
        """The variables of a capability."""
        contract = {
            "id": ctx.contract_id,
            "attempt": ctx.attempt,
            "conversation_id": ctx.facts.conversation_id,
        }
        return {**self.everywhere(ctx.facts.agent), "input": given, "contract": contract}

    async def prompted(self, ctx: Context, text: str, variables: Variables) -> str:
        """What the model answers."""
        assert self.provider is not None, "it was checked that there is a model"
        reply = await self.provider.answer(Prompt(text, self.system, variables))
        ctx.use(
            input_tokens=reply.input_tokens,
            output_tokens=reply.output_tokens,
            cost_micros=reply.cost_micros,
            model=reply.model,
        )
        return reply.text


def act_of(capability: Mapping[str, Any], path: str, around: Surroundings) -> Act:
    """What a capability does, its output included."""
    action = next(name for name in ACTIONS if name in capability)
    spec, path = capability[action], f"{path}.{action}"
    match action:
        case "template":
            return _of_template(spec, path)
        case "plan":
            return _of_plan(spec, path)
        case "call":
            act = _of_call(spec, path)
        case "workflow":
            act = _of_workflow(spec, path)
        case "ask":
            act = _of_ask(spec, path)
        case "work":
            act = _of_work(spec, path)
        case _:
            act = of_prompt(spec, path, around)
    return _with_output(act, spec, path)


def _with_output(act: Act, spec: Mapping[str, Any], path: str) -> Act:
    if "output" not in spec:
        return act
    output = Made(spec["output"], f"{path}.output")

    async def act_and_tell(ctx: Context, variables: Variables) -> Any:
        result = await act(ctx, variables)
        return output.value({**variables, "result": result})

    return act_and_tell


def _input(spec: Mapping[str, Any], path: str) -> Made:
    return Made(spec.get("input", {}), f"{path}.input")


def _of_template(spec: Any, path: str) -> Act:
    made = Made(spec, path)

    async def act(_: Context, variables: Variables) -> Any:
        return made.value(variables)

    return act


def _of_call(spec: Any, path: str) -> Act:
    given = _input(spec, path)
    name, _, version = spec["capability"].partition("@")

    async def act(ctx: Context, variables: Variables) -> Any:
        return await ctx.call(
            name,
            given.value(variables),
            version=version,
            key="call",
            timeout=seconds_in(spec, "timeout"),
            schedule_to_start=seconds_in(spec, "schedule_to_start"),
            attempts=spec.get("attempts", 0),
        )

    return act


def _of_workflow(spec: Any, path: str) -> Act:
    given = _input(spec, path)
    name, _, version = spec["name"].partition("@")

    async def act(ctx: Context, variables: Variables) -> Any:
        run = await ctx.client.workflows.start(
            name,
            given.value(variables),
            version=int(version or 0),
            start_id=f"contract.{ctx.contract_id}",  # another attempt finds the same run
            conversation_id=ctx.facts.conversation_id,
        )
        try:
            with ctx.suspended():
                return await run.result()
        except RunFailed as error:
            text = f"run {run.id} of {name} failed: {error}"
            raise Failed("WORKFLOW_FAILED", text, permanent=True) from None
        except asyncio.CancelledError:
            if ctx.cancel_code in _GIVEN_UP:
                with suppress(MusterError):
                    await run.cancel(f"contract {ctx.contract_id} has ended")
            raise

    return act


def _of_ask(spec: Any, path: str) -> Act:
    text = text_maker(spec["text"], f"{path}.text")
    options: AskOptions = {"id": "ask", **ask_options(spec)}

    async def act(ctx: Context, variables: Variables) -> Any:
        return await ctx.ask(text(variables), **options)

    return act


def ask_options(spec: Mapping[str, Any]) -> AskOptions:
    """What is said of a question besides its text."""
    options: AskOptions = {}
    if "choices" in spec:
        options["choices"] = spec["choices"]
    if "answer" in spec:
        options["type"] = spec["answer"]
    if "default" in spec:
        options["default"] = spec["default"]
    deadline = seconds_in(dict(spec), "deadline")
    if deadline is not None:
        options["deadline"] = deadline
    return options


def _of_plan(spec: Any, path: str) -> Act:
    if "planner" in spec:

        async def delegate(ctx: Context, variables: Variables) -> Any:
            return await collaborate(ctx, spec["planner"], variables["input"])

        return delegate
    planner = DeclaredPlanner(spec, path)

    async def act(ctx: Context, variables: Variables) -> Any:
        return await collaborate(ctx, planner.bound(variables), variables["input"])

    return act


def _of_work(spec: Any, path: str) -> Act:
    tasks = Listed(spec["tasks"], f"{path}.tasks")

    async def act(ctx: Context, variables: Variables) -> Any:
        reports = await work_through(
            ctx,
            tasks.value(variables),
            spec["capabilities"],
            retries=spec.get("retries", RETRIES_DEFAULT),
            at_once=spec.get("at_once", AT_ONCE_DEFAULT),
            timeout=seconds_in(spec, "timeout"),
        )
        return [asdict(report) for report in reports]

    return act


def of_prompt(spec: Any, path: str, around: Surroundings) -> Act:
    """Asks the agent's model."""
    prompt = text_maker(spec["prompt"], f"{path}.prompt")

    async def act(ctx: Context, variables: Variables) -> Any:
        return await around.prompted(ctx, prompt(variables), variables)

    return act
