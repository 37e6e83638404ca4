"""Workflows that are made to be disturbed: each has something that a kill could break."""

from __future__ import annotations

STEPS = 10
CHILDREN = 50
FIRST_OF = 40

_CHAIN_STEP = """
  - name: s{n}
    depends_on: [s{before}]
    capability: flow.work
    input: {{text: "{n} ${{steps.s{before}.output.read}}", ms: "${{input.ms}}"}}"""


def chain(name: str, steps: int) -> str:
    """One step after the other."""
    more = "".join(_CHAIN_STEP.format(n=n, before=n - 1) for n in range(2, steps + 1))
    return f"""
name: {name}
input: {{type: object}}
steps:
  - name: s1
    capability: flow.work
    input: {{text: "${{input.text}}", ms: "${{input.ms}}"}}{more}
output: {{read: "${{steps.s{steps}.output.read}}"}}
"""


LEAF = """
name: flow_leaf
steps:
  - name: a
    capability: flow.work
    input: {text: "a ${input.text}", ms: 20}
  - name: b
    depends_on: [a]
    capability: flow.work
    input: {text: "b ${steps.a.output.read}", ms: 20}
output: "${steps.b.output.read}"
"""

# Child runs, of which so many are under way at a time.
FAN = """
name: flow_fan
steps:
  - name: children
    for_each: "${input.texts}"
    concurrency: 20
    workflow: flow_leaf
    input: {text: "${item}"}
  - name: all
    depends_on: [children]
    capability: flow.work
    input: {text: "${steps.children.output[0]} of ${size(steps.children.output)}", ms: 10}
output: {each: "${steps.children.output}", all: "${steps.all.output.read}"}
"""

# Half of the items are enough: the others are cancelled, whatever has become of them.
FIRST = """
name: flow_first
steps:
  - name: race
    for_each: "${input.texts}"
    concurrency: 40
    fan_in: {first: 20}
    capability: flow.work
    input: {text: "${item}", ms: "${200 + 10 * index}"}
  - name: after
    depends_on: [race]
    capability: flow.work
    input: {text: "${size(steps.race.output) >= 20 ? 'enough' : 'too few'}", ms: 10}
output: "${steps.after.output.read}"
"""

# One of two branches fails: the other is stopped, and what was done is undone, the last first.
SAGA = """
name: flow_saga
steps:
  - name: reserve
    capability: flow.work
    input: {text: reserve, ms: 80}
    compensate: {capability: flow.undo, input: {text: "${steps.reserve.output.read}", ms: 60}}
  - name: items
    depends_on: [reserve]
    for_each: "['x', 'y', 'z']"
    capability: flow.work
    input: {text: "${item}", ms: 60}
    compensate: {capability: flow.undo, input: {text: items, ms: 60}}
  - name: pay
    depends_on: [items]
    capability: flow.work
    input: {text: pay, ms: 80}
    compensate: {capability: flow.undo, input: {text: "${steps.pay.output.read}", ms: 60}}
  - name: notify
    depends_on: [reserve]
    capability: flow.work
    input: {text: notify, ms: 60000}
  - name: ship
    depends_on: [pay]
    capability: flow.needs
    input: {path: "${input.missing}", ms: 60}
"""

GATE = """
name: flow_gate
steps:
  - name: draft
    capability: flow.work
    input: {text: draft, ms: 100}
  - name: approve
    depends_on: [draft]
    gate:
      question: "Publish ${steps.draft.output.read}?"
      choices: ["yes", "no"]
  - name: publish
    depends_on: [approve]
    capability: flow.work
    input: {text: "${steps.approve.output}", ms: 100}
output: {approved: "${steps.approve.output}", published: "${steps.publish.output.read}"}
"""

TIMES = """
name: flow_times
steps:
  - name: before
    capability: flow.work
    input: {text: before, ms: 50}
  - name: pause
    depends_on: [before]
    wait: 1.5s
  - name: go
    depends_on: [before]
    wait: {signal: go}
  - name: after
    depends_on: [pause, go]
    capability: flow.work
    input: {text: "${steps.go.output}", ms: 50}
output: {told: "${steps.go.output}", after: "${steps.after.output.read}"}
"""

# One step that its contract tries again, and one for which the run is.
RETRY = """
name: flow_retry
steps:
  - name: shaky
    capability: flow.shaky
    input: {text: shaky}
    retry: {maximum_attempts: 5, initial_interval: 0.1s}
  - name: several
    depends_on: [shaky]
    for_each: "['x', 'y', 'z']"
    capability: flow.work
    input: {text: "${item}", ms: 50}
  - name: needs
    depends_on: [several]
    capability: flow.needs
    input: {path: "${input.path}", ms: 50}
  - name: last
    depends_on: [needs]
    capability: flow.work
    input: {text: "${steps.needs.output.read}", ms: 50}
output: "${steps.last.output.read}"
"""
