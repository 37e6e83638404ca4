"""All commands in the order in which people meet them.

Their options are in the `app_…` modules; what they do is elsewhere, and imported when it is done.
"""

from __future__ import annotations

from typing import Annotated

import typer

from muster.cli import (
    app_contracts,
    app_conversation,
    app_events,
    app_inbox,
    app_mesh,
    app_pool,
    app_schedule,
    app_work,
    app_workflow,
    exits,
)

_EPILOG = f"""\b
Begin with:
  muster up                                   start a mesh, and keep this terminal for it
  muster agent run my_agent.py                in another terminal: an agent
  muster call text.summarize text=hello       ask it for something

{exits.CODES_FOR_PEOPLE}"""

app = typer.Typer(
    name="muster",
    help="A service mesh for software agents: durable contracts over gRPC.",
    epilog=_EPILOG,
    no_args_is_help=True,
    # Its prettier help costs 200 ms.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
contracts_app = typer.Typer(help="What was asked, and what became of it.", no_args_is_help=True)
workflow_app = typer.Typer(
    help="Steps that depend on each other, and their runs.", no_args_is_help=True
)
inbox_app = typer.Typer(help="Questions that wait for a person, and their answers.")
schedule_app = typer.Typer(help="What the mesh starts by itself.", no_args_is_help=True)
events_app = typer.Typer(help="What is published on the bus.", no_args_is_help=True)
conversation_app = typer.Typer(
    help="Contracts that belong together, and the memory made of them.", no_args_is_help=True
)
state_app = typer.Typer(help="What agents keep for themselves.", no_args_is_help=True)
agent_app = typer.Typer(help="Run agents of your own.", no_args_is_help=True)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"muster {version('muster-mesh')}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """A service mesh for software agents: durable contracts over gRPC."""


app.command()(app_mesh.up)
app.command()(app_mesh.down)
app.command()(app_mesh.status)
app.command()(app_work.call)
app.command()(app_work.agents)
app.command()(app_work.capabilities)
app.command()(app_mesh.certs)
app.command()(app_mesh.serve)
app.command()(app_mesh.health)
contracts_app.command("list")(app_contracts.contracts_list)
contracts_app.command("show")(app_contracts.contracts_show)
contracts_app.command("watch")(app_contracts.contracts_watch)
contracts_app.command("cancel")(app_contracts.contracts_cancel)
app.add_typer(contracts_app, name="contracts")
workflow_app.command("run")(app_workflow.run_workflow)
workflow_app.command("show")(app_workflow.show)
workflow_app.command("runs")(app_workflow.runs)
workflow_app.command("watch")(app_workflow.watch)
workflow_app.command("signal")(app_workflow.signal)
workflow_app.command("cancel")(app_workflow.cancel)
workflow_app.command("pause")(app_workflow.pause)
workflow_app.command("resume")(app_workflow.resume)
workflow_app.command("retry")(app_workflow.retry)
workflow_app.command("fork")(app_workflow.fork)
workflow_app.command("register")(app_workflow.register)
workflow_app.command("check")(app_workflow.check)
workflow_app.command("list")(app_workflow.list_)
workflow_app.command("get")(app_workflow.get)
workflow_app.command("schema")(app_workflow.schema)
app.add_typer(workflow_app, name="workflow")
inbox_app.callback(invoke_without_command=True)(app_inbox.inbox)
inbox_app.command("show")(app_inbox.inbox_show)
inbox_app.command("answer")(app_inbox.answer)
app.add_typer(inbox_app, name="inbox")
app.command()(app_inbox.answer)
schedule_app.command("create")(app_schedule.schedule_create)
schedule_app.command("list")(app_schedule.schedule_list)
schedule_app.command("show")(app_schedule.schedule_show)
schedule_app.command("history")(app_schedule.schedule_history)
schedule_app.command("preview")(app_schedule.schedule_preview)
schedule_app.command("pause")(app_schedule.schedule_pause)
schedule_app.command("resume")(app_schedule.schedule_resume)
schedule_app.command("trigger")(app_schedule.schedule_trigger)
schedule_app.command("delete")(app_schedule.schedule_delete)
app.add_typer(schedule_app, name="schedule")
conversation_app.command("list")(app_conversation.conversation_list)
conversation_app.command("show")(app_conversation.conversation_show)
conversation_app.command("search")(app_conversation.conversation_search)
conversation_app.command("compress")(app_conversation.conversation_compress)
conversation_app.command("memory")(app_conversation.conversation_memory)
app.add_typer(conversation_app, name="conversation")
app.command()(app_conversation.trace)
state_app.command("list")(app_conversation.state_list)
state_app.command("get")(app_conversation.state_get)
app.add_typer(state_app, name="state")
events_app.command("tail")(app_events.events_tail)
events_app.command("replay")(app_events.events_replay)
app.add_typer(events_app, name="events")
agent_app.command("run")(app_work.agent_run)
agent_app.command("check")(app_work.agent_check)
app.add_typer(agent_app, name="agent")
app.command()(app_pool.pool)
app.command()(app_mesh.audit)
