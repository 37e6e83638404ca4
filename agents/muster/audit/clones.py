"""Duplicated code: fingerprints of one file, and the match of all files' fingerprints.

`fingerprint` is winnowing (Schleimer, Wilkerson, Aiken: "Winnowing: Local Algorithms for Document
Fingerprinting", 2003) over significant lines instead of characters: every run of GRAM lines is
hashed, and of each WINDOW runs the smallest hash is kept. Two files that share GRAM + WINDOW - 1
lines therefore share a fingerprint, whatever surrounds the copy.

`match` finds the repeats in the sequence of all fingerprints with a suffix array, so that code that
stands in seventy files is one group of seventy places and not 2,415 pairs. Groups are taken
greedily by the lines they would save; a place that belongs to a group is not counted again.
"""

import hashlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from muster.audit.languages import is_prose
from muster.audit.lexing import masked_lines, significant_lines
from muster.audit.limits import (
    CLONE_DISTINCT_LINES_MIN,
    CLONE_GRAM_LINES,
    CLONE_GROUPS_MAX,
    CLONE_LOCATIONS_MAX,
    CLONE_PRINTS_PER_FILE_MAX,
    CLONE_WINDOW_GRAMS,
)
from muster.audit.repeats import Repeat, maximal_repeats
from muster.audit.shapes import (
    Batch,
    CloneGroup,
    CloneLocation,
    Clones,
    FilePrints,
    PrintsResult,
)
from muster.audit.sources import Text, read

_HASH_BITS = 52  # what JSON's numbers hold exactly


def fingerprint(batch: Batch) -> PrintsResult:
    """FilePrints for every source of the batch, in the batch's order; none for prose."""
    return {"files": [_fingerprint_file(read(source)) for source in batch["sources"]]}


def _fingerprint_file(file: Text) -> FilePrints:
    if is_prose(file.language):
        return {"path": file.path, "significant_lines": 0, "prints": []}
    lines = significant_lines(masked_lines(file.text, file.language))
    grams = _gram_hashes([normal for _, normal in lines])
    last = CLONE_GRAM_LINES - 1
    prints = [[grams[i], i, lines[i][0], lines[i + last][0]] for i in _winnow(grams)]
    return {
        "path": file.path,
        "significant_lines": len(lines),
        "prints": prints[:CLONE_PRINTS_PER_FILE_MAX],
    }


def _gram_hashes(lines: list[str]) -> list[int]:
    """One hash per run of lines; 0 for a run that repeats itself, such as a table."""
    hashes = []
    for start in range(len(lines) - CLONE_GRAM_LINES + 1):
        run = lines[start : start + CLONE_GRAM_LINES]
        if len(set(run)) < CLONE_DISTINCT_LINES_MIN:
            hashes.append(0)
            continue
        digest = hashlib.blake2b("\n".join(run).encode("utf-8", "replace"), digest_size=8).digest()
        hashes.append(int.from_bytes(digest) >> (64 - _HASH_BITS) or 1)
    return hashes


def _winnow(hashes: list[int]) -> list[int]:
    """Indexes of the smallest hash of each window, the rightmost of equals; 0 is never chosen."""
    chosen: list[int] = []
    for end in range(1, len(hashes) + 1):
        window = range(max(end - CLONE_WINDOW_GRAMS, 0), end)
        if end < min(CLONE_WINDOW_GRAMS, len(hashes)):
            continue
        candidates = [i for i in window if hashes[i]]
        if candidates:
            smallest = min(candidates, key=lambda i: (hashes[i], -i))
            if not chosen or chosen[-1] != smallest:
                chosen.append(smallest)
    return chosen


@dataclass(frozen=True, slots=True)
class _Sequence:
    """All files' fingerprints, one after the other, as symbols; a break is a symbol of its own."""

    symbols: list[int]
    prints: list[list[int]]
    starts: list[int]
    files: list[FilePrints]

    def path_at(self, position: int) -> str:
        return self.files[bisect_right(self.starts, position) - 1]["path"]


def match(request: PrintsResult) -> Clones:
    """The clone groups of all files together, ranked by the lines they would save.

    The order of the files does not matter; a file given twice counts once.
    """
    files = sorted({f["path"]: f for f in request["files"]}.values(), key=lambda f: f["path"])
    groups, singles = _like_files(files)
    sequence = _sequence(singles)
    groups += _greedy_groups(sequence, maximal_repeats(sequence.symbols))
    groups.sort(key=_rank)
    return {
        "files": len(files),
        "group_count": len(groups),
        "groups": [_shortened(group) for group in groups[:CLONE_GROUPS_MAX]],
        "by_file": _duplicated_lines(groups),
    }


def _rank(group: CloneGroup) -> tuple[int, int, str, int]:
    first = group["locations"][0]
    return (-group["saved"], -group["lines"], first["path"], first["start"])


def _shortened(group: CloneGroup) -> CloneGroup:
    return {**group, "locations": group["locations"][:CLONE_LOCATIONS_MAX]}


def _like_files(files: list[FilePrints]) -> tuple[list[CloneGroup], list[FilePrints]]:
    """Groups of files that are alike as a whole, and the files with one of each kept.

    The first of each group stays in the comparison: its parts may stand elsewhere as well. Without
    this a thousand copies of one file would be a thousand places for each of its lines.
    """
    same: dict[tuple[tuple[int, int], ...], list[FilePrints]] = defaultdict(list)
    for file in files:
        if file["prints"]:
            same[tuple((p[0], p[1]) for p in file["prints"])].append(file)
    groups = []
    for alike in same.values():
        if len(alike) > 1:
            locations = [
                CloneLocation(path=f["path"], start=f["prints"][0][2], end=f["prints"][-1][3])
                for f in alike
            ]
            prints = alike[0]["prints"]
            lines = prints[-1][1] - prints[0][1] + CLONE_GRAM_LINES
            groups.append(_group(lines, locations))
    return groups, [alike[0] for alike in same.values()]


def _sequence(files: list[FilePrints]) -> _Sequence:
    symbols: list[int] = []
    prints: list[list[int]] = []
    starts: list[int] = []
    for file in files:
        starts.append(len(symbols))
        previous: int | None = None
        for item in file["prints"]:
            if previous is not None and item[1] - previous > CLONE_GRAM_LINES:
                _append_break(symbols, prints)
            symbols.append(item[0])
            prints.append(item)
            previous = item[1]
        _append_break(symbols, prints)
    return _Sequence(symbols, prints, starts, files)


def _append_break(symbols: list[int], prints: list[list[int]]) -> None:
    # Hashes are positive; a negative number that occurs once can be in no repeat.
    symbols.append(-len(symbols) - 1)
    prints.append([])


def _greedy_groups(sequence: _Sequence, repeats: Iterable[Repeat]) -> list[CloneGroup]:
    claimed = bytearray(len(sequence.symbols))
    groups = []
    for lines, repeat in sorted(_with_lines(sequence, repeats), key=_saving_first):
        free = list(_free(sequence, repeat, claimed))
        if len(free) > 1:
            for start, _ in free:
                claimed[start : start + repeat.length] = b"\1" * repeat.length
            groups.append(_group(lines, [place for _, place in free]))
    return groups


def _with_lines(sequence: _Sequence, repeats: Iterable[Repeat]) -> Iterator[tuple[int, Repeat]]:
    for repeat in repeats:
        first = repeat.starts[0]
        last = first + repeat.length - 1
        lines = sequence.prints[last][1] - sequence.prints[first][1] + CLONE_GRAM_LINES
        yield lines, repeat


def _saving_first(item: tuple[int, Repeat]) -> tuple[int, int, int]:
    lines, repeat = item
    return (-lines * (len(repeat.starts) - 1), -lines, repeat.starts[0])


def _free(
    sequence: _Sequence, repeat: Repeat, claimed: bytearray
) -> Iterator[tuple[int, CloneLocation]]:
    """The places no better group has taken, and that share no line: code may repeat itself so soon
    that the next copy begins within the last one."""
    last = CloneLocation(path="", start=0, end=0)
    for start in repeat.starts:
        place = _location(sequence, start, repeat.length)
        overlaps = place["path"] == last["path"] and place["start"] <= last["end"]
        if not overlaps and claimed.find(1, start, start + repeat.length) < 0:
            last = place
            yield start, place


def _location(sequence: _Sequence, start: int, length: int) -> CloneLocation:
    return {
        "path": sequence.path_at(start),
        "start": sequence.prints[start][2],
        "end": sequence.prints[start + length - 1][3],
    }


def _group(lines: int, locations: list[CloneLocation]) -> CloneGroup:
    return {
        "lines": lines,
        "copies": len(locations),
        "saved": lines * (len(locations) - 1),
        "locations": sorted(locations, key=lambda place: (place["path"], place["start"])),
    }


def _duplicated_lines(groups: list[CloneGroup]) -> dict[str, int]:
    """Lines of each file that stand in some group, each line counted once."""
    ranges: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for group in groups:
        for place in group["locations"]:
            ranges[place["path"]].append((place["start"], place["end"]))
    return {path: _covered(sorted(ranges[path])) for path in sorted(ranges)}


def _covered(ranges: list[tuple[int, int]]) -> int:
    lines = last = 0
    for start, end in ranges:
        lines += max(end - max(start - 1, last), 0)
        last = max(last, end)
    return lines
