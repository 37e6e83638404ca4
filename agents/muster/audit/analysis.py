"""Complexity, security smells, bug risks and missing docs, by ruff. Run by analysis agents.

Ruff gets the batch in one call: each source is written to a folder of its own in a temporary
directory, under its own base name (some rules ask whether a module is private or a package), so
that no file's findings depend on its neighbours or on where the audited tree lies. No
configuration, cache or environment of the machine reaches it.
"""

import importlib
import json
import re
import subprocess
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final

from muster.audit.limits import (
    COMPLEXITY_MAX,
    FINDINGS_PER_FILE_MAX,
    LINT_TIMEOUT_SECONDS,
    MESSAGE_CHARS_MAX,
)
from muster.audit.rules import (
    COMPLEXITY_RULE,
    CRASH_RULE,
    IGNORED,
    SELECTED,
    SYNTAX_RULE,
    category_of,
    complexity_in,
    severity_of,
    with_complexity_limit,
)
from muster.audit.shapes import Batch, Complexity, FileLint, Finding, LintResult, RuleInfo
from muster.audit.sources import Text, read

_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_]+\.pyi?")
_OPTIONS: Final = (
    "check",
    "--isolated",
    "--no-cache",
    "--no-respect-gitignore",
    "--no-force-exclude",
    "--quiet",
    "--exit-zero",
    "--output-format=json",
    "--target-version=py314",
    f"--select={','.join(SELECTED)}",
    f"--ignore={','.join(IGNORED)}",
    # Above 0, so for every function: the report's totals need them all.
    "--config=lint.mccabe.max-complexity=0",
    "--config=exclude=[]",
)
# One thread: the mesh runs as many of these as there are cores.
_ENVIRONMENT: Final = {"RAYON_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}

RawFinding = dict[str, Any]
_CRASH: Final[RawFinding] = {
    "code": CRASH_RULE,
    "message": "Nested too deeply for the linter: this file has no other findings",
    "location": {"row": 1, "column": 1},
}


class LintError(Exception):
    """Ruff could not be run, or did not answer as it should."""


class LintCrash(LintError):
    """Ruff died by a signal: one of the sources was too much for it."""


def lint(batch: Batch) -> LintResult:
    """A FileLint for every source of the batch, in the batch's order; empty for other languages.

    Raises LintError; a source that does not parse is a finding, not an error.
    """
    files = [read(source) for source in batch["sources"]]
    found = _lint_files([file for file in files if file.is_python])
    rules: dict[str, RuleInfo] = {}
    for raw in (raw for group in found.values() for raw in group):
        rules.setdefault(_rule(raw), _rule_info(raw))
    return {
        "files": [_file_lint(file.path, found.get(file.path, [])) for file in files],
        "rules": dict(sorted(rules.items())),
        "tool": _ruff_version(),
    }


def _lint_files(files: list[Text]) -> dict[str, list[RawFinding]]:
    """Ruff's own findings by path. A file that crashes it costs only its own findings: the batch is
    halved until the culprit is alone."""
    if not files:
        return {}
    try:
        return _run_ruff(files)
    except LintCrash:
        if len(files) == 1:
            return {files[0].path: [_CRASH]}
        half = len(files) // 2
        return {**_lint_files(files[:half]), **_lint_files(files[half:])}


def _run_ruff(files: list[Text]) -> dict[str, list[RawFinding]]:
    with tempfile.TemporaryDirectory(prefix="muster-audit-") as folder:
        root = Path(folder).resolve()
        paths = {_write(root, number, file): file.path for number, file in enumerate(files)}
        output = _call([*_OPTIONS, "."], root)
    found: dict[str, list[RawFinding]] = {path: [] for path in paths.values()}
    for raw in json.loads(output):
        found[paths[Path(raw["filename"]).parent.name]].append(raw)
    return found


def _write(root: Path, number: int, file: Text) -> str:
    name = file.path.rsplit("/", 1)[-1]
    folder = root / str(number)
    folder.mkdir()
    target = folder / (name if _PLAIN_NAME.fullmatch(name) else "module.py")
    target.write_text(file.text, encoding="utf-8", newline="")
    return folder.name


def _call(arguments: list[str], folder: Path | None = None) -> str:
    try:
        done = subprocess.run(
            [_ruff_path(), *arguments],
            cwd=folder,
            env=_ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LINT_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LintError(f"ruff could not be run: {type(error).__name__}") from error
    if done.returncode < 0:
        raise LintCrash(f"ruff died by signal {-done.returncode}")
    if done.returncode != 0:
        raise LintError(f"ruff failed with {done.returncode}: {done.stderr[-500:]!r}")
    return done.stdout.decode("utf-8")


@cache
def _ruff_path() -> str:
    # Imported when first needed: every other step works where ruff is not installed.
    try:
        return str(importlib.import_module("ruff").find_ruff_bin())
    except (ImportError, FileNotFoundError) as error:
        raise LintError("ruff is not installed: pip install 'muster-mesh[audit]'") from error


@cache
def _ruff_version() -> str:
    return _call(["--version"]).strip()


def _rule(raw: RawFinding) -> str:
    return str(raw["code"] or SYNTAX_RULE)


def _rule_info(raw: RawFinding) -> RuleInfo:
    return {"name": str(raw.get("name") or _rule(raw)), "url": str(raw.get("url") or "")}


def _file_lint(path: str, raws: list[RawFinding]) -> FileLint:
    complexities = [complexity_in(raw["message"]) for raw in raws if _rule(raw) == COMPLEXITY_RULE]
    findings = sorted(_findings(raws), key=lambda f: (f["line"], f["column"], f["rule"]))
    return {
        "path": path,
        "findings": findings[:FINDINGS_PER_FILE_MAX],
        "dropped": max(len(findings) - FINDINGS_PER_FILE_MAX, 0),
        "complexity": _complexity(complexities),
    }


def _complexity(values: list[int]) -> Complexity:
    return {
        "functions": len(values),
        "sum": sum(values),
        "max": max(values, default=0),
        "excess": sum(max(value - COMPLEXITY_MAX, 0) for value in values),
    }


def _findings(raws: Iterable[RawFinding]) -> list[Finding]:
    """The findings worth reporting; of syntax errors the first, as the rest follow from it."""
    kept: list[Finding] = []
    first_error: Finding | None = None
    for raw in raws:
        finding = _finding(raw)
        if finding["rule"] == SYNTAX_RULE:
            if first_error is None or finding["line"] < first_error["line"]:
                first_error = finding
        elif finding["rule"] != COMPLEXITY_RULE or complexity_in(raw["message"]) > COMPLEXITY_MAX:
            kept.append(finding)
    return [first_error, *kept] if first_error else kept


def _finding(raw: RawFinding) -> Finding:
    rule, message = _rule(raw), str(raw["message"])
    if rule == COMPLEXITY_RULE:
        message = with_complexity_limit(message)
    return {
        "rule": rule,
        "category": category_of(rule),
        "severity": severity_of(rule, message),
        "line": raw["location"]["row"],
        "column": raw["location"]["column"],
        "message": message[:MESSAGE_CHARS_MAX],
    }
