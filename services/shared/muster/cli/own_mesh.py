"""A mesh that a command starts for itself where none runs, and stops when it is done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from muster.cli.fleet_files import read_fleet
from muster.cli.place import Place

if TYPE_CHECKING:
    from muster.supervisor.mesh import Mesh
    from muster.supervisor.plan import Plan


def plan_of_mesh(place: Place, fleet_file: Path, pool: str = "subprocess") -> Plan:
    """A mesh on the usual ports, or on any that are free where those are taken."""
    from muster.cli.up import UpOptions, plan_of
    from muster.supervisor.plan import Refused, services_of
    from muster.supervisor.ports import choose_ports

    plan = plan_of(UpOptions(fleet=fleet_file, data_dir=place.data_dir, pool=pool))
    try:
        choose_ports(services_of(plan))
    except Refused:
        return replace(plan, port=0)
    return plan


def own_mesh(plan: Plan, note: Callable[[str], None]) -> Mesh:
    """A mesh with the plan's fleet, which starts when it is entered; SIGINT and SIGTERM ask it to
    stop. Raises `Trouble` where the fleet's file is wrong."""
    from muster.supervisor.__main__ import stop_on_signals
    from muster.supervisor.mesh import Mesh

    assert plan.fleet_file is not None
    mesh = Mesh(plan, read_fleet(plan.fleet_file), note)
    stop_on_signals(mesh)
    return mesh
