"""The agents of a workflow that comes with Muster, in one host. Run it beside a mesh:

    python agents/examples/workflows.py content

The four are content, analysis, site and monitoring. They stand in agents/muster/workflows, each
with its definition, its agents and what they compute. `muster workflow run content` does all of it.
"""

import sys
from importlib import import_module

from muster.agent import Agent, Host
from muster.workflows import EXTRA, TEMPLATES, Template


def agents_of(template: Template) -> list[Agent]:
    module = import_module(template.agents)
    return [value for value in vars(module).values() if isinstance(value, Agent)]


if __name__ == "__main__":
    names = " | ".join(TEMPLATES)
    if len(sys.argv) != 2 or sys.argv[1] not in TEMPLATES:
        sys.exit(f"usage: {sys.argv[0]} {names}")
    chosen = TEMPLATES[sys.argv[1]]
    if missing := chosen.missing():
        sys.exit(f"{chosen.name} needs {', '.join(missing)}: pip install '{EXTRA}'")
    Host(agents_of(chosen)).run_forever()
