"""What the steps hand to each other; `agents` makes JSON Schemas of it."""

from dataclasses import dataclass
from typing import Literal

from muster.agent.blob import Blob

Kind = Literal["number", "category", "date", "text", "identifier", "constant", "empty"]


@dataclass(frozen=True, slots=True)
class Table:
    """A table as it was found: `data` is CSV in UTF-8, with commas and a header."""

    name: str
    origin: str
    rows: int
    columns: list[str]
    data: Blob


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a cleaned table."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Action:
    """Something that was done to a table, or found in it; "" for a column means all of it."""

    what: str
    column: str
    count: int
    text: str


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A cleaned table: missing values are empty, numbers plain, dates as in ISO 8601."""

    name: str
    origin: str
    rows: int
    columns: list[Column]
    actions: list[Action]
    data: Blob


@dataclass(frozen=True, slots=True)
class Numbers:
    """Figures of a column of numbers; `outliers` lie beyond 1.5 interquartile ranges (Tukey)."""

    mean: float
    deviation: float
    least: float
    quarter: float
    median: float
    three_quarters: float
    most: float
    skew: float
    outliers: int


@dataclass(frozen=True, slots=True)
class Frequent:
    """A value and how often it occurs."""

    value: str
    count: int


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture: SVG without ids that could meet others in one page."""

    title: str
    note: str
    svg: Blob


@dataclass(frozen=True, slots=True)
class Profile:
    """What one column holds."""

    column: str
    kind: Kind
    present: int
    missing: int
    distinct: int
    note: str
    numbers: Numbers | None
    frequent: list[Frequent]
    chart: Chart | None


@dataclass(frozen=True, slots=True)
class Correlation:
    """How two columns of numbers go together, over the rows that have both.

    `low` and `high` bound Pearson's r with 95 % confidence (Fisher's z); `within` is r within the
    groups of `by`, which is opposed to it where the groups make the difference.
    """

    left: str
    right: str
    rows: int
    pearson: float
    low: float
    high: float
    spearman: float
    by: str
    within: float | None


@dataclass(frozen=True, slots=True)
class Group:
    """A group's share of a comparison."""

    name: str
    rows: int
    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a number differs between the groups of a category.

    `explained` is the share of its variance that groups explain (eta squared); `chance` how often
    shuffled groups explain as much, and `adjusted` the same for that many questions at once
    (Benjamini and Hochberg 1995).
    """

    category: str
    number: str
    groups: list[Group]
    explained: float
    chance: float
    adjusted: float


@dataclass(frozen=True, slots=True)
class Statistics:
    """What columns have to do with each other, the strongest first."""

    correlations: list[Correlation]
    comparisons: list[Comparison]
    charts: list[Chart]


@dataclass(frozen=True, slots=True)
class Report:
    """The page that a person opens, and the cleaned table beside it: their paths."""

    index: str
    table: str
    findings: list[str]
