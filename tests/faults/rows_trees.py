"""Rows about trees of delegated contracts."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict

from tests.faults.driving import judge, under_load
from tests.faults.load import TREE, Order, task_ms
from tests.faults.stage import stage
from tests.faults.table import Row, Trial
from tests.support.history import PART, History

TREES = 40
CANCELLED_SECONDS_MAX = 10.0
KILLS = 3
WALKERS = 24
STEPS = 6
STEP_MS = 700


async def cancel_roots(trial: Trial) -> None:
    """Roots of trees are cancelled, each at a moment of its own; the whole tree settles."""
    async with stage(trial.folder) as on:
        dice = random.Random(trial.seed)
        roots: list[Order] = []
        async with under_load(on, trial) as drive:
            await drive.warm()
            trial.say(f"{TREES} trees of 3 levels, each cancelled at its root within 3 s")
            async with asyncio.TaskGroup() as tasks:
                for number in range(TREES):
                    values = {"text": f"tree{number}", "ms": task_ms(dice)}
                    values |= {"children": 3, "levels": 3}
                    moment = dice.random() * 3.0
                    order = Order(1_000_000 + number, 0.0, TREE, values, True, None, moment)
                    roots.append(order)
                    tasks.create_task(on.clients.ask(order))
        history = await judge(on, trial)
        ids = {each.request_id: each.contract_id for each in history.acknowledgements}
        cancelled = {c.contract_id: c.at for c in history.cancellations if c.outcome == "OK"}
        of_ours = {ids[r.request_id] for r in roots} & cancelled.keys()
        orphans, slowest, members = settled(history, cancelled, of_ours)
        trial.figure("roots cancelled", len(of_ours))
        trial.figure("contracts below them", members)
        trial.exactly("orphans", orphans, 0)
        trial.most("a whole tree has ended after", slowest, CANCELLED_SECONDS_MAX)


def settled(
    history: History, cancelled: dict[str, float], roots: set[str]
) -> tuple[int, float, int]:
    """How many contracts below cancelled roots went on, how long it took until the last had ended,
    and how many there were."""
    parents = {each.contract_id: each.parent_id for each in history.listings}
    ended = {each.contract_id: each.at for each in history.changes if each.type == "ENDED"}
    orphans, slowest, members = 0, 0.0, 0
    for contract_id in parents:
        root = contract_id
        while parents.get(root):
            root = parents[root]
        if root not in roots or root == contract_id:
            continue
        members += 1
        if contract_id in ended:
            slowest = max(slowest, ended[contract_id] - cancelled[root])
    began = Counter[str]()
    for each in history.executions:
        root = each.contract_id
        while parents.get(root):
            root = parents[root]
        if root in roots and each.at > cancelled[root] + 1.0:
            began[each.contract_id] += 1
    orphans = len(began)
    return orphans, slowest, members


async def kill_coordinators(trial: Trial) -> None:
    """Hosts whose agents coordinate die in the middle; later attempts find the same children."""
    async with stage(trial.folder) as on:
        dice = random.Random(trial.seed)
        async with under_load(on, trial) as drive:
            await drive.warm()
            async with asyncio.TaskGroup() as tasks:
                for number in range(WALKERS):
                    values = {"text": f"walk{number}", "ms": STEP_MS, "steps": STEPS}
                    order = Order(1_000_000 + number, 0.0, "fault.walk", values, True)
                    tasks.create_task(on.clients.ask(order))
                for victim in dice.sample(on.host_names, KILLS):
                    await asyncio.sleep(1.0)
                    trial.say(f"kill -9 {victim}")
                    with on.fault("kill", victim, PART):
                        await on.kill_hosts(victim)
                        await on.start_hosts(victim)
                        await on.agents_ready()
        history = await judge(on, trial)
        walkers, twice, missing = children_by_key(history)
        trial.figure("coordinators that ran again", walkers)
        trial.exactly("children made twice", twice, 0)
        trial.exactly("children missing", missing, 0)


def children_by_key(history: History) -> tuple[int, int, int]:
    """How many coordinators were executed more than once, how many of their children exist twice,
    and how many are missing."""
    walks = {each.contract_id for each in history.shown if each.capability == "fault.walk"}
    runs = Counter(each.contract_id for each in history.executions if each.contract_id in walks)
    children: dict[str, list[str]] = defaultdict(list)
    for each in history.listings:
        if each.parent_id in walks:
            children[each.parent_id].append(each.request_id)
    twice = sum(len(keys) - len(set(keys)) for keys in children.values())
    missing = sum(STEPS - len(set(children[walk])) for walk in walks)
    return sum(count > 1 for count in runs.values()), twice, missing


ROWS = (
    Row("tree-cancelled", "a tree of delegated contracts, its root cancelled", cancel_roots),
    Row("tree-killed", "a tree of delegated contracts, its coordinator killed", kill_coordinators),
)
