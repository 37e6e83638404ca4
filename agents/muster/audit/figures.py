"""How figures read, on the page and in the terminal alike."""

from typing import Final

ABSENT: Final = "–"
_KIB: Final = 1024


def count(value: int | None) -> str:
    """1234567 → "1,234,567"."""
    return ABSENT if value is None else f"{value:,}"


def plural(value: int, noun: str) -> str:
    """1 → "1 file", 2 → "2 files"."""
    return f"{value:,} {noun}" if value == 1 else f"{value:,} {noun}s"


def share(part: float | None, whole: float | None = 1.0) -> str:
    """0.5357 → "54 %"; what is not quite nothing, or not quite all, says so."""
    if part is None or whole is None or not whole:
        return ABSENT
    percent = 100 * part / whole
    if 0 < percent < 1:
        return "< 1 %"
    return "> 99 %" if 99 < percent < 100 else f"{percent:.0f} %"


def duration(ms: float | None) -> str:
    """0.84 → "0.8 ms", 1240 → "1.2 s", 95000 → "1 min 35 s"."""
    if ms is None:
        return ABSENT
    if ms < 9.95:  # below, a tenth of a millisecond is worth a digit
        return f"{ms:.1f} ms"
    if ms < 999.5:  # the largest that rounds to less than a second
        return f"{ms:.0f} ms"
    seconds = ms / 1000
    if seconds < 59.95:  # the largest that rounds to less than a minute
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60} s"


def size(value: int) -> str:
    """11568075 → "11.0 MiB"."""
    if value < _KIB:
        return plural(value, "byte")
    if value < _KIB * _KIB:
        return f"{value / _KIB:.0f} KiB"
    return f"{value / _KIB / _KIB:.1f} MiB"
