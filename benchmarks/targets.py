"""The rows of the table: every figure, what it is held against, and what is to be reached. Pure."""

from __future__ import annotations

from benchmarks.figures import Metric, Row


def _ratio(reach: float, aim: float, name: str = "ratio", digits: int = 1) -> Metric:
    return Metric(name, "x", reach, aim, digits=digits)


def _told(name: str, unit: str, digits: int = 2) -> Metric:
    return Metric(name, unit, digits=digits)


def _at_most(name: str, unit: str, reach: float, aim: float, digits: int = 1) -> Metric:
    return Metric(name, unit, reach, aim, more_is_better=False, digits=digits)


ROWS = (
    Row(
        "autogen",
        "durable contracts/s, 200 in flight",
        "AutoGen's gRPC runtime (in memory)",
        (_ratio(5, 10),),
    ),
    Row(
        "raw",
        "durable contracts/s, 1,000 in flight",
        "raw grpc.aio unary echo, 256 in flight",
        (_ratio(3, 6),),
    ),
    Row("dbos", "durable contracts/s, 200 in flight", "DBOS on SQLite", (_ratio(20, 50),)),
    Row("celery", "durable contracts/s, 200 in flight", "Celery + Redis", (_ratio(15, 30),)),
    Row(
        "alone",
        "one contract at a time, p50",
        "AutoGen's p50; commit p50",
        (
            _at_most("ratio", "x", 2.5, 1.5, digits=2),
            _at_most("beyond 2 commits", " ms", 1.8, 0.9, digits=2),
        ),
    ),
    Row(
        "assignment",
        "submit → agent holds the assignment, 620 in flight, handlers of 100 ms, p99",
        "",
        (_at_most("p99", " ms", 30, 10),),
    ),
    Row(
        "slow-commit",
        "the same, contracts/s with 5 ms added to every commit ÷ without",
        "itself without",
        (_ratio(0.8, 0.9, digits=2),),
    ),
    Row(
        "streams",
        "stream items delivered to 10 watchers",
        "",
        (
            Metric("deliveries", "/s", 50_000, 100_000, digits=0),
            _at_most("p99 at 10,000/s", " ms", 10, 5),
        ),
    ),
    Row(
        "registry",
        "lookup by capability with 10,000 agents, p99",
        "",
        (
            _at_most("in process", " ms", 0.1, 0.02, digits=4),
            _at_most("over gRPC", " ms", 1.0, 0.7, digits=2),
        ),
    ),
    Row(
        "memory",
        "620 agents connected and idle on 8 hosts: mesh and hosts",
        "",
        (
            _at_most("PSS", " MB", 320, 260, digits=0),
            _at_most("RSS", " MB", 500, 420, digits=0),
        ),
    ),
    Row(
        "idle-20",
        "10,000 agents idle on 20 sessions: mesh",
        "",
        (
            _at_most("memory per agent", " KB", 5, 2),
            _at_most("CPU", " %", 5, 1),
        ),
    ),
    Row(
        "idle-10000",
        "10,000 agents idle, a session each: mesh",
        "",
        (
            _at_most("memory per agent", " KB", 60, 25),
            _at_most("CPU", " %", 40, 20),
        ),
    ),
    Row(
        "ledger",
        "contracts/s with 1 M contracts in the ledger ÷ with none",
        "itself with none",
        (
            _ratio(0.9, 1.0, "SDK ids", digits=2),
            _ratio(0.65, 0.9, "random ids", digits=2),
        ),
    ),
    Row(
        "agents",
        "contracts/s with 10,000 agents ÷ with 620",
        "itself with 620",
        (_ratio(0.95, 1.0, digits=2),),
    ),
    Row(
        "up",
        "muster up to all services SERVING",
        "",
        (_at_most("seconds", " s", 2, 1, digits=2),),
    ),
    Row(
        "restart",
        "restart with 1 M contracts, 10,000 open, to dispatching",
        "",
        (_at_most("seconds", " s", 5, 2, digits=2),),
    ),
    Row(
        "audit",
        "the audit of Python's standard library by 620 agents",
        "the analysers in a plain process pool",
        (
            _at_most("wall", "x", 1.5, 1.2, digits=2),
            _at_most("mesh's share of the CPU", " %", 25, 10),
        ),
    ),
    Row(
        "workflows",
        "100 workflows of 10 steps at once: steps/s",
        "Temporal's one-activity workflows, 100 in flight",
        (_ratio(20, 40),),
    ),
    Row(
        "workflow-start",
        "100 workflows started at once, until each is durable, p99",
        "",
        (_at_most("p99", " ms", 20, 10),),
    ),
    Row(
        "workflows-temporal",
        "100 workflows of 10 steps at once, on Temporal's development server",
        "",
        (_told("steps/s", "", digits=0), _told("start p99", " ms", digits=0)),
    ),
    Row(
        "full",
        "durable contracts/s on PostgreSQL, NATS and Consul; one at a time, p50",
        "the embedded mesh, in one process",
        (
            _told("1 of each, 200 in flight", "x"),
            _told("1 of each, 1,000 in flight", "x"),
            _told("2 of each, 200 in flight", "x"),
            _told("2 of each, 1,000 in flight", "x"),
            _told("1 of each, one at a time, p50", " ms"),
            _told("2 of each, one at a time, p50", " ms"),
        ),
    ),
    Row(
        "scaling",
        "the same with two of each service, schedulers and executors on a fifth of a core each",
        "itself with one of each",
        (_told("ratio", "x"),),
    ),
)

BY_KEY = {row.key: row for row in ROWS}
