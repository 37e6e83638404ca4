"""Findings by rule, and the groups of duplicated code."""

from muster.audit.figures import count, plural
from muster.audit.limits import PAGE_CLONES_MAX, PAGE_RULES_MAX, PAGE_RULES_OPEN
from muster.audit.page.markup import Html, link, row, table, tag
from muster.audit.report_shapes import Findings, RuleTotal
from muster.audit.shapes import CloneGroup
from muster.audit.totals import CATEGORIES, SEVERITIES

_NUMBERS = frozenset({3, 5})
_LOCATIONS_SHOWN = 40


def findings_section(found: Findings) -> Html:
    """One row per rule, the gravest first."""
    return tag(
        "section",
        tag("h2", "Findings by rule", id="findings"),
        _categories(found),
        _rules(found["rules"]) if found["totals"]["findings"] is not None else _absent("Analysis"),
    )


def _absent(what: str) -> Html:
    return tag("p", f"{what} did not answer: this part is missing.", class_="muted")


def _categories(found: Findings) -> Html | None:
    categories = found["totals"]["categories"]
    if not categories:
        return None
    parts = [
        tag("span", tag("b", count(categories[name])), f" {name}", class_=f"category {name}")
        for name in CATEGORIES
    ]
    return tag("p", *parts, class_="categories")


def _rules(rules: list[RuleTotal]) -> Html:
    most = max((rule["count"] for rule in rules), default=0)
    rows = [_rule_row(rule, most) for rule in rules[:PAGE_RULES_MAX]]
    heads = ("rule", "category", "worst", "findings", "", "files", "for example")
    first = table(heads, rows[:PAGE_RULES_OPEN], _NUMBERS)
    if len(rows) <= PAGE_RULES_OPEN:
        return first
    rest = table(heads, rows[PAGE_RULES_OPEN:], _NUMBERS)
    title = plural(len(rows) - PAGE_RULES_OPEN, "more rule")
    return tag("div", first, tag("details", tag("summary", title), rest, class_="fold"))


def _rule_row(rule: RuleTotal, most: int) -> Html:
    return row(
        tag("span", link(rule["rule"], rule["url"]), " ", tag("small", rule["name"])),
        rule["category"],
        tag("span", rule["severity"], class_=f"chip {rule['severity']}"),
        count(rule["count"]),
        _severity_bar(rule, most),
        count(rule["files"]),
        tag("span", tag("code", rule["example"]), tag("br"), tag("small", rule["message"])),
        numbers=_NUMBERS,
    )


def _severity_bar(rule: RuleTotal, most: int) -> Html:
    parts = [
        tag("span", style=f"width:{100 * rule['severities'][name] / most:.1f}%", class_=name)
        for name in SEVERITIES
        if rule["severities"][name]
    ]
    return tag("span", *parts, class_="bar")


def duplicates_section(found: Findings) -> Html:
    """The groups that would save most lines, each with its places behind a fold."""
    clones = found["duplicates"]
    if clones is None:
        body = [_absent("The search for clones")]
    else:
        shown = clones["groups"][:PAGE_CLONES_MAX]
        note = (
            f"{plural(clones['group_count'], 'group')} of code that stands in several places, "
            "whatever its layout and comments; literals may differ. Ranked by the lines that one "
            "place instead of many would save."
        )
        body = [tag("p", note, class_="muted"), *(_group(group) for group in shown)]
    return tag("section", tag("h2", "Duplicates", id="duplicates"), *body)


def _group(group: CloneGroup) -> Html:
    first, second = group["locations"][:2]
    others = group["copies"] - 2
    twin = f"{second['path']}:{second['start']}–{second['end']}"
    places = [
        tag("li", tag("code", f"{p['path']}:{p['start']}–{p['end']}"))
        for p in group["locations"][:_LOCATIONS_SHOWN]
    ]
    hidden = group["copies"] - len(places)
    return tag(
        "details",
        tag(
            "summary",
            tag("span", f"{group['copies']} ×", class_="rank"),
            tag("span", f"{first['path']}:{first['start']}–{first['end']}", class_="path"),
            tag("span", twin, f" and {others} more" if others else None, class_="path other"),
            tag("span", plural(group["lines"], "line"), class_="muted"),
            tag("span", f"saves {count(group['saved'])}", class_="score"),
        ),
        tag("ul", *places, class_="inner"),
        tag("p", f"… and {plural(hidden, 'place')} more", class_="muted") if hidden else None,
        class_="clone",
    )
