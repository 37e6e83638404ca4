"""Reads CSV: other people's as text, our own as columns of a kind."""

import csv
import io
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Final

import pandas as pd

from muster.workflows.analysis.shapes import Column

BYTES_MAX: Final = 64 * 1024 * 1024
ROWS_MAX: Final = 1_000_000
COLUMNS_MAX: Final = 200
PENGUINS: Final = "Penguins of Palmer Station"
PENGUINS_ORIGIN: Final = (
    "Gorman, Williams and Fraser (2014): Ecological sexual dimorphism and environmental "
    "variability within a community of Antarctic penguins. PLoS ONE 9(3). From the palmerpenguins "
    "library."
)
_SNIFFED: Final = 64 * 1024
_COMMENTS: Final = re.compile(r"\A(?:#.*(?:\r?\n|\Z))+")


class TableError(ValueError):
    """A table cannot be read; the message tells a person what to change."""


def penguins() -> bytes:
    """The measurements of 344 penguins, as they were taken down."""
    return files("palmerpenguins").joinpath("data/penguins-raw.csv").read_bytes()


def read_file(path: Path) -> bytes:
    """A file's content. Raises `TableError`."""
    try:
        size = path.stat().st_size
        if size > BYTES_MAX:
            raise TableError(f"{path.name} has {size:,} bytes, and at most {BYTES_MAX:,} are read")
        return path.read_bytes()
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror}") from None


def parse(data: bytes) -> pd.DataFrame:
    """Other people's CSV as a table of text, "" for nothing. The delimiter is guessed, and lines
    before the header that begin with # are passed over.

    Raises `TableError` for what is no table.
    """
    text = _COMMENTS.sub("", _decoded(data))
    if not text.strip():
        raise TableError("the file is empty: a header and a row are the least")
    try:
        frame = pd.read_csv(
            io.StringIO(text),
            sep=_delimiter(text),
            dtype=str,
            keep_default_na=False,
            skipinitialspace=True,
            nrows=ROWS_MAX + 1,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error, ValueError) as error:
        raise TableError(f"it is no CSV: {' '.join(str(error).split())}") from None
    if frame.empty:
        raise TableError("it has a header and no rows")
    if len(frame) > ROWS_MAX or len(frame.columns) > COLUMNS_MAX:
        raise TableError(f"more than {ROWS_MAX:,} rows or {COLUMNS_MAX} columns are too many")
    frame.columns = pd.Index(_names(frame.columns))
    return frame.fillna("")


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def _delimiter(text: str) -> str:
    try:
        return csv.Sniffer().sniff(text[:_SNIFFED].rpartition("\n")[0] or text, ",;\t|").delimiter
    except csv.Error:
        return ","


def _names(names: Sequence[str]) -> list[str]:
    """Every column has a name, and no two the same."""
    found: list[str] = []
    for number, name in enumerate(names, 1):
        plain = " ".join(str(name).split())
        wanted = f"column {number}" if not plain or plain.startswith("Unnamed:") else plain
        unique, count = wanted, 1
        while unique in found:
            count += 1
            unique = f"{wanted} ({count})"
        found.append(unique)
    return found


def to_csv(frame: pd.DataFrame) -> bytes:
    """A table as CSV, the same bytes for the same table."""
    text: str = frame.to_csv(index=False, lineterminator="\n", date_format="%Y-%m-%d")
    return text.encode()


def from_csv(data: bytes, columns: Sequence[Column]) -> pd.DataFrame:
    """A cleaned table, each column as its kind says."""
    frame = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False).replace("", None)
    for column in columns:
        values = frame[column.name]
        if column.kind == "number":
            frame[column.name] = pd.to_numeric(values)
        elif column.kind == "date":
            frame[column.name] = pd.to_datetime(values, format="ISO8601")
    return frame
