"""The table of import directions, which `test_tidy` holds the tree to."""

from dataclasses import dataclass

# --- the table of import directions ---------------------------------------------------------------

SERVICES = ("muster.registry", "muster.scheduler", "muster.executor")

# Modules that decide and do nothing else: `now` comes in, effects go out.
PURE_PARTS = {
    "muster.registry": ("core*",),
    "muster.scheduler": (
        "core*",
        "admission",
        "catalogue",
        "compatibility",
        *(f"conversations.{name}" for name in ("excerpts", "matching", "summary")),
        "effects",
        "fleet",
        "ownership",
        "placing",
        "queue",
        "records",
        "timers",
        "unpublished",
    ),
    "muster.executor": ("core*", "window*"),
    "muster.workflow": ("facts", "machine", "plan", "steps"),
}
PURE_BY_SERVICE = {
    service: tuple(f"{service}.{part}" for part in parts) for service, parts in PURE_PARTS.items()
}
PURE = ("muster.model", *(name for names in PURE_BY_SERVICE.values() for name in names))

# Of the standard library, what waits, acts, reads a clock or rolls dice.
IMPURE_STDLIB = frozenset(
    "asyncio concurrent http logging multiprocessing os pathlib random secrets select selectors "
    "shutil signal socket sqlite3 ssl subprocess tempfile threading time urllib uuid".split()
)

# The protocols of the backends, which everybody may know.
PROTOCOLS = (
    "muster.backends.base",
    "muster.backends.bus_base",
    "muster.backends.directory_base",
    "muster.backends.ledger_base",
    "muster.backends.pool_base",
)

# All that the base install brings.
BASE_INSTALL = ("grpc", "google.protobuf", "google.rpc")

# Those who choose which backend runs.
WIRING = (
    *(f"{service}.__main__" for service in SERVICES),
    "muster.allinone*",
    "muster.runtime.buses",
    "muster.runtime.directories",
    "muster.cli",
    "muster.supervisor",
)

ANYTHING = ("*",)


@dataclass(frozen=True)
class Layer:
    """Modules, and what they may import: of muster, of other people, and only behind a guard.

    `{own}` stands for the first two parts of the importing module's name, `{branch}` for three.
    """

    modules: tuple[str, ...]
    of_muster: tuple[str, ...]
    of_others: tuple[str, ...] = ANYTHING
    guarded: tuple[str, ...] = ()


FAILPOINTS = "muster.failpoints"
TELEMETRY = "muster.telemetry"
SHELL = (
    "{own}",
    FAILPOINTS,
    TELEMETRY,
    "muster.model",
    "muster.wire",
    "muster.runtime",
    "muster.v1",
    "muster.keda",
    *PROTOCOLS,
)

# The first layer that holds a module counts. The last one holds the agents that ship with Muster.
LAYERS = (
    Layer(("muster.model",), ("muster.model",), of_others=()),
    Layer((FAILPOINTS,), (FAILPOINTS,), of_others=()),
    # Only imported where traces are on.
    Layer(
        tuple(f"muster.telemetry.{name}" for name in ("exporting", "finished", "roots")),
        (TELEMETRY, "muster.model"),
        of_others=("opentelemetry",),
    ),
    Layer((TELEMETRY,), (TELEMETRY, "muster.model"), BASE_INSTALL, guarded=("opentelemetry",)),
    *(Layer(pure, ("muster.model", *pure), of_others=()) for pure in PURE_BY_SERVICE.values()),
    Layer(WIRING, ("muster",)),
    # Runs of workflows are the scheduler's; what their definitions mean is everybody's.
    Layer(
        ("muster.scheduler.workflows", "muster.scheduler.schedules.run_starting"),
        (*SHELL, "muster.workflow"),
    ),
    Layer(SERVICES, SHELL),
    Layer(("muster.wire",), ("{own}", TELEMETRY, "muster.v1", "muster.model"), BASE_INSTALL),
    Layer(
        ("muster.agent", "muster.client"),
        (
            "muster.agent",
            "muster.client",
            FAILPOINTS,
            TELEMETRY,
            "muster.wire",
            "muster.v1",
            "muster.model",
        ),
        BASE_INSTALL,
        guarded=("opentelemetry", "pydantic"),
    ),
    Layer(
        PROTOCOLS,
        ("{branch}", "muster.v1", "muster.model"),
        of_others=("google.protobuf",),
    ),
    # Its driver, and the hosts in its actors, are kept running as processes are.
    Layer(
        ("muster.backends.pool_ray",),
        ("{branch}", *PROTOCOLS, "muster.backends.pool_subprocess", "muster.model"),
    ),
    Layer(
        ("muster.backends",),
        ("{branch}", *PROTOCOLS, "muster.backends.sql", FAILPOINTS, "muster.v1", "muster.model"),
    ),
    # What definitions mean. Both engines run it, and so does whoever checks one: no service.
    Layer(
        ("muster.workflow",),
        ("{own}", "muster.wire", "muster.v1", "muster.model", "buf.validate"),
        of_others=("google.protobuf", "cel", "yaml", "jsonschema_rs"),
    ),
    # What Temporal runs: it meets the scheduler on the wire.
    Layer(
        ("muster.engine",),
        ("{own}", "muster.workflow", "muster.runtime", "muster.wire", "muster.v1", "muster.model"),
        of_others=("temporalio", "grpc", "prometheus_client", "google.protobuf"),
    ),
    Layer(("muster.runtime",), SHELL),
    # What the workflows that come with Muster compute knows nothing of a mesh.
    Layer(
        tuple(f"muster.workflows.{part}" for part in ("*.agents", "files", "monitoring.probing")),
        ("{own}", "muster.agent", "muster.wire", "muster.model"),
    ),
    Layer(("muster.workflows",), ("{own}", "muster.agent.blob")),
    # Agents in YAML need more than the base install, so they stand outside the SDK; and outside the
    # services, which know agents only by what they say of themselves.
    Layer(
        ("muster.declared",),
        ("{own}", "muster.agent", "muster.workflow", "muster.wire", "muster.v1", "muster.model"),
        of_others=(),
        guarded=("cronsim",),
    ),
    Layer(("muster.hosting",), ("{own}", "muster.agent", "muster.declared", "muster.model")),
    # Other people's servers: no more of Muster than the limits.
    Layer(("muster.servers",), ("{own}", "muster.model"), of_others=BASE_INSTALL),
    Layer(("muster",), ("{own}", "muster.agent", "muster.wire", "muster.v1", "muster.model")),
)
