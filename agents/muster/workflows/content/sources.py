"""The texts that come with Python: what a run of the template reads when it is given none.

Modules are parsed and never imported, so nothing of them runs.
"""

import ast
import inspect
import re
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Final

TOPIC_WORDS_MIN: Final = 200
_DOCUMENTED = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True, slots=True)
class Text:
    """A text to write about, as it was found. `origin` says where, for people."""

    title: str
    origin: str
    text: str


def python_texts(count: int, is_enough: Callable[[Text], bool]) -> list[Text]:
    """So many texts that are enough to write about: reference articles of `TOPIC_WORDS_MIN` words
    first, then the modules with the most documentation. Sorted by title, and the same for one
    version of Python."""
    topics = sorted(_topics(), key=lambda text: text.title.lower())
    modules = sorted(_modules(), key=lambda text: (-len(text.text), text.title))
    chosen = islice(filter(is_enough, chain(topics, modules)), count)
    return sorted(chosen, key=lambda text: text.title.lower())


def _topics() -> Iterator[Text]:
    from pydoc_data.topics import topics

    for name, article in topics.items():
        if len(article.split()) >= TOPIC_WORDS_MIN:
            yield Text(_title(article) or name, "The Python Language Reference", article)


def _title(article: str) -> str:
    """The first line that is underlined."""
    found = re.search(r"^(\S.*)\n[*=~-]{3,}$", article, re.MULTILINE)
    return found[1].strip() if found else ""


def _modules() -> Iterator[Text]:
    library = Path(sysconfig.get_path("stdlib"))
    places = [*library.glob("*.py"), *library.glob("*/__init__.py")]
    for place in sorted(places):
        name = place.stem if place.parent == library else place.parent.name
        if name.isidentifier() and not name.startswith("_"):
            text = _documentation(place)
            if text:
                yield Text(f"Module {name}", f"The Python Standard Library, {name}", text)


def _documentation(place: Path) -> str:
    """A module's docstring and those of its public classes and functions, one after the other."""
    try:
        module = ast.parse(place.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, UnicodeDecodeError):
        return ""
    public = (
        ast.get_docstring(node)
        for node in module.body
        if isinstance(node, _DOCUMENTED) and not node.name.startswith("_")
    )
    found = [ast.get_docstring(module), *public]
    return "\n\n".join(inspect.cleandoc(text) for text in found if text)
