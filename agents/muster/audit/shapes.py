"""The JSON shapes that travel between the steps.

All of them are plain dicts of str, int, float, bool, None, lists and dicts; paths are relative to
the audited root, with forward slashes; lines are counted from 1; sizes are in bytes, times in
milliseconds.
"""

from typing import Literal, NotRequired, TypedDict

Kind = Literal["research", "processing", "analysis", "monitoring", "coordination"]
Category = Literal["security", "bugs", "complexity", "docs"]
Severity = Literal["high", "medium", "low"]


class Source(TypedDict):
    """One file: `text` where its bytes are UTF-8 (lossless, a byte order mark included)."""

    path: str
    text: NotRequired[str]
    base64: NotRequired[str]


class Batch(TypedDict):
    """What a per-file step is given; the order of the sources does not matter."""

    sources: list[Source]


class Target(TypedDict):
    """What is audited, by name: never a machine's path."""

    name: str
    form: Literal["stdlib", "folder", "file"]


class FileSize(TypedDict):
    path: str
    bytes: int


class Manifest(TypedDict):
    """What was collected: `files` by path, `skipped` counts what was left out, by rule."""

    target: Target
    files: list[FileSize]
    skipped: dict[str, int]


class Collection(TypedDict):
    target: Target
    sources: list[Source]
    skipped: dict[str, int]


class PlanRequest(TypedDict):
    files: list[FileSize]
    batch_bytes_max: NotRequired[int]
    batch_files_max: NotRequired[int]


class PlannedBatch(TypedDict):
    paths: list[str]
    bytes: int


class Plan(TypedDict):
    """Batches, largest first, so that the longest work starts first."""

    batches: list[PlannedBatch]


class LicenceHint(TypedDict):
    """`id` is an SPDX identifier or expression; `how` says how sure it is: a tag, a licence's own
    text, or a sentence that mentions it."""

    id: str
    how: Literal["spdx", "text", "notice"]
    line: int


class Import(TypedDict):
    """`from ..pkg import a, b` is module "pkg", names [a, b], level 2. `deferred`: inside a
    function, or under TYPE_CHECKING or a check for `__main__`, so it closes no cycle on import."""

    module: str
    names: list[str]
    level: int
    line: int
    deferred: bool


class FileSurvey(TypedDict):
    path: str
    language: str
    encoding: str
    bytes: int
    sha256: str
    parses: bool
    licences: list[LicenceHint]
    copyrights: list[str]
    imports: list[Import]


class SurveyResult(TypedDict):
    files: list[FileSurvey]


class LineCounts(TypedDict):
    """total = code + doc + comment + blank; `doc` are the lines of docstrings."""

    total: int
    code: int
    doc: int
    comment: int
    blank: int


class FunctionSize(TypedDict):
    name: str
    line: int
    lines: int
    arguments: int
    nesting: int


class DocCoverage(TypedDict):
    """Public modules, classes, functions and methods, and how many have a docstring."""

    public: int
    documented: int


class FileMeasures(TypedDict):
    path: str
    language: str
    lines: LineCounts
    parses: bool
    error: str | None
    functions: int
    classes: int
    nesting_max: int
    function_lines_max: int
    largest: list[FunctionSize]
    docs: DocCoverage


class MeasureResult(TypedDict):
    files: list[FileMeasures]


class Finding(TypedDict):
    rule: str
    category: Category
    severity: Severity
    line: int
    column: int
    message: str


class Complexity(TypedDict):
    """Cyclomatic complexity over a file's functions; `excess` sums what is above the limit."""

    functions: int
    sum: int
    max: int
    excess: int


class FileLint(TypedDict):
    """`dropped` counts findings beyond the limit per file."""

    path: str
    findings: list[Finding]
    dropped: int
    complexity: Complexity


class RuleInfo(TypedDict):
    name: str
    url: str


class LintResult(TypedDict):
    files: list[FileLint]
    rules: dict[str, RuleInfo]
    tool: str


class FilePrints(TypedDict):
    """`prints` are [hash, index, first line, last line]: the hash (52 bits) of a run of significant
    lines, the index of its first one among the file's significant lines, and where it stands."""

    path: str
    significant_lines: int
    prints: list[list[int]]


class PrintsResult(TypedDict):
    files: list[FilePrints]


class CloneLocation(TypedDict):
    path: str
    start: int
    end: int


class CloneGroup(TypedDict):
    """`lines` significant lines that stand in every location; `saved` = lines × (copies − 1)."""

    lines: int
    copies: int
    saved: int
    locations: list[CloneLocation]


class Clones(TypedDict):
    """`groups` are ranked and cut at the limit; `group_count` and `by_file` (path → duplicated
    lines) cover all of them. `files` is how many files were compared."""

    files: int
    group_count: int
    groups: list[CloneGroup]
    by_file: dict[str, int]


class FileImports(TypedDict):
    path: str
    imports: list[Import]


class GraphRequest(TypedDict):
    """`package` is the root folder's name where that is itself a package."""

    package: NotRequired[str]
    files: list[FileImports]


class Cycle(TypedDict):
    """Modules that all reach each other by imports at load time; `example` is a shortest loop,
    its first module repeated at the end."""

    size: int
    modules: list[str]
    example: list[str]


class DependedOn(TypedDict):
    """`origin` of a module outside the audited tree says whether Python brings it."""

    module: str
    path: str | None
    importers: int
    origin: Literal["internal", "stdlib", "external"]


class ImportGraph(TypedDict):
    files: int
    modules: int
    edges: int
    cycle_count: int
    cycles: list[Cycle]
    depended_on: list[DependedOn]
    external: list[DependedOn]
