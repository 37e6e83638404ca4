"""The shape of the report: `findings` from the sources alone, `run` from what the mesh did."""

from typing import NotRequired, TypedDict

from muster.audit.shapes import (
    Category,
    Clones,
    Complexity,
    DocCoverage,
    FileLint,
    FileMeasures,
    FunctionSize,
    ImportGraph,
    LicenceHint,
    LineCounts,
    LintResult,
    Manifest,
    MeasureResult,
    Severity,
    SurveyResult,
    Target,
)


class Parts(TypedDict):
    """Everything the steps answered, in any order; a result given twice counts once.

    An empty list or None is a part that nobody did.
    """

    manifest: Manifest
    survey: list[SurveyResult]
    measure: list[MeasureResult]
    lint: list[LintResult]
    clones: Clones | None
    imports: ImportGraph | None


class SurveyReport(TypedDict):
    encoding: str
    sha256: str
    licences: list[LicenceHint]
    copyrights: list[str]
    imports: int


class FileReport(TypedDict):
    """One file; a part is None where its step did not answer. `signals` add up to `score`."""

    path: str
    language: str
    bytes: int
    score: float
    signals: dict[str, float]
    survey: SurveyReport | None
    measures: FileMeasures | None
    lint: FileLint | None
    duplicated_lines: int | None


class Incomplete(TypedDict):
    """Files a step did not answer for; `paths` is cut at a limit and empty where not known."""

    files: int
    paths: list[str]


class Docs(DocCoverage):
    """`share` of public definitions that have a docstring, 0 to 1; 1 where there are none."""

    share: float


class Totals(TypedDict):
    files: int
    bytes: int
    lines: LineCounts | None
    functions: int | None
    classes: int | None
    docs: Docs | None
    unparsed: list[str]
    findings: int | None
    severities: dict[Severity, int] | None
    categories: dict[Category, int] | None
    complexity: Complexity | None
    duplicated_lines: int | None


class LanguageTotal(TypedDict):
    language: str
    files: int
    bytes: int
    lines: LineCounts | None


class LicenceTotal(TypedDict):
    id: str
    files: int
    how: dict[str, int]
    example: str


class RuleTotal(TypedDict):
    """`example` is "path:line" of the gravest finding; ranked by severity, then count."""

    rule: str
    name: str
    url: str
    category: Category
    severity: Severity
    count: int
    files: int
    severities: dict[Severity, int]
    example: str
    message: str


class LargeFunction(FunctionSize):
    path: str


class SignalInfo(TypedDict):
    name: str
    weight: int
    half: int
    counts: str


class Score(TypedDict):
    formula: str
    signals: list[SignalInfo]


class Findings(TypedDict):
    """Depends on the sources and the analysers' versions alone. `files` is ranked by score.

    `missing` are the kinds of agent no result came from, `missing_parts` the steps, `incomplete`
    the steps that answered for some files only.
    """

    target: Target
    tools: list[str]
    missing: list[str]
    missing_parts: list[str]
    incomplete: dict[str, Incomplete]
    skipped: dict[str, int]
    score: Score
    totals: Totals
    languages: list[LanguageTotal]
    licences: list[LicenceTotal]
    rules: list[RuleTotal]
    files: list[FileReport]
    largest_functions: list[LargeFunction]
    duplicates: Clones | None
    imports: ImportGraph | None


class Latency(TypedDict):
    """Milliseconds over `count` samples; percentiles by nearest rank."""

    count: int
    mean: float
    p50: float
    p90: float
    p99: float
    max: float


class Workload(TypedDict):
    """One capability, or all of one kind of agent (`capability` is then empty).

    `latency` is from submission to the end, `queue` to the first lease, `run` from the start of the
    last attempt to the end.
    """

    kind: str
    capability: str
    contracts: int
    attempts: int
    retries: int
    lost_attempts: int
    latency: Latency
    queue: Latency
    run: Latency


class Straggler(TypedDict):
    """`ratio` is how many times its capability's median the contract took."""

    contract_id: str
    kind: str
    capability: str
    attempts: int
    latency_ms: float
    ratio: float


class Throughput(TypedDict):
    """Contracts that ended in each bin of `bin_ms`, by kind; all lists have the same length."""

    bin_ms: float
    kinds: dict[str, list[int]]


class RunStatistics(TypedDict):
    contracts: int
    unfinished: int
    states: dict[str, int]
    attempts: int
    retries: int
    lost_attempts: int
    wall_ms: float
    latency: Latency
    kinds: list[Workload]
    capabilities: list[Workload]
    straggler_count: int
    stragglers: list[Straggler]
    throughput: Throughput


class Run(TypedDict):
    """What the mesh did. `statistics` is None where no monitoring agent watched.

    `facts` are further lines for the reader, such as where the ledger is: label → text.
    """

    fleet: NotRequired[dict[str, int]]
    wall_ms: NotRequired[float]
    facts: NotRequired[dict[str, str]]
    statistics: RunStatistics | None


class Report(TypedDict):
    """`findings_sha256` is the digest of the canonical JSON of `findings`."""

    muster_audit: int
    findings: Findings
    findings_sha256: str
    run: Run
