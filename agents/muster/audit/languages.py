"""Which language a file is in, by its name, and how that language writes comments and strings."""

import posixpath
import re
from dataclasses import dataclass
from typing import Final

PYTHON: Final = "Python"
TEXT: Final = "Text"


@dataclass(frozen=True, slots=True)
class Syntax:
    """How to tell code from comments: line comment starts, block comment pairs, quotes."""

    line: tuple[str, ...] = ()
    block: tuple[tuple[str, str], ...] = ()
    quotes: tuple[str, ...] = ()
    prose: bool = False


_C = Syntax(line=("//",), block=(("/*", "*/"),), quotes=('"', "'"))
_SCRIPT = Syntax(line=("//",), block=(("/*", "*/"),), quotes=('"', "'", "`"))
_HASH = Syntax(line=("#",), quotes=('"', "'"))
_DASH = Syntax(line=("--",), block=(("/*", "*/"),), quotes=("'", '"'))
_MARKUP = Syntax(block=(("<!--", "-->"),))
_PROSE = Syntax(prose=True)

_LANGUAGES: Final[dict[str, tuple[Syntax, str]]] = {
    PYTHON: (Syntax(line=("#",), quotes=('"""', "'''", '"', "'")), "py pyi pyw"),
    "C": (_C, "c h"),
    "C++": (_C, "cc cpp cxx hh hpp hxx"),
    "C#": (_C, "cs"),
    "Go": (_SCRIPT, "go"),
    "Java": (_C, "java"),
    "Kotlin": (_C, "kt kts"),
    "Scala": (_C, "scala"),
    "Swift": (_C, "swift"),
    "Rust": (Syntax(line=("//",), block=(("/*", "*/"),), quotes=('"',)), "rs"),
    "JavaScript": (_SCRIPT, "js jsx mjs cjs"),
    "TypeScript": (_SCRIPT, "ts tsx mts"),
    "PHP": (Syntax(line=("//", "#"), block=(("/*", "*/"),), quotes=('"', "'")), "php"),
    "Protocol Buffers": (_C, "proto"),
    "CSS": (Syntax(block=(("/*", "*/"),), quotes=('"', "'")), "css scss less"),
    "HTML": (_MARKUP, "html htm xhtml"),
    "XML": (_MARKUP, "xml xsd xsl svg"),
    "Shell": (_HASH, "sh bash zsh ksh csh fish"),
    "Ruby": (_HASH, "rb"),
    "Perl": (_HASH, "pl pm"),
    "R": (_HASH, "r"),
    "Tcl": (_HASH, "tcl"),
    "PowerShell": (Syntax(line=("#",), block=(("<#", "#>"),), quotes=('"', "'")), "ps1"),
    "Batch": (Syntax(line=("::", "REM ", "rem ")), "bat cmd"),
    "Make": (Syntax(line=("#",)), "mk"),
    "Dockerfile": (Syntax(line=("#",)), "dockerfile"),
    "SQL": (_DASH, "sql"),
    "Lua": (Syntax(line=("--",), quotes=('"', "'")), "lua"),
    "Haskell": (Syntax(line=("--",), block=(("{-", "-}"),), quotes=('"',)), "hs"),
    "YAML": (_HASH, "yaml yml"),
    "TOML": (_HASH, "toml"),
    "INI": (Syntax(line=("#", ";")), "ini cfg conf"),
    "JSON": (Syntax(), "json"),
    "Markdown": (_PROSE, "md markdown"),
    "reStructuredText": (_PROSE, "rst"),
    TEXT: (_PROSE, "txt"),
}
_BY_EXTENSION: Final = {
    extension: language
    for language, (_, extensions) in _LANGUAGES.items()
    for extension in extensions.split()
}
_BY_NAME: Final = {
    "makefile": "Make",
    "gnumakefile": "Make",
    "dockerfile": "Dockerfile",
    "containerfile": "Dockerfile",
    "readme": TEXT,
    "authors": TEXT,
    "notice": TEXT,
}
_LICENCE_FILE: Final = re.compile(r"(licen[cs]e|copying|unlicense|notice)([.-].*)?", re.IGNORECASE)


def is_licence_file(path: str) -> bool:
    """Whether the file's name says that it holds a licence."""
    return _LICENCE_FILE.fullmatch(posixpath.basename(path)) is not None


def language_of(path: str) -> str | None:
    """The language by file name; None for a file the audit does not look at."""
    name = posixpath.basename(path).lower()
    stem, dot, extension = name.rpartition(".")
    if dot and stem and extension in _BY_EXTENSION:
        return _BY_EXTENSION[extension]
    if name in _BY_NAME:
        return _BY_NAME[name]
    return TEXT if is_licence_file(path) else None


def syntax_of(language: str) -> Syntax:
    """How the language writes comments and strings; an unknown one is prose."""
    return _LANGUAGES[language][0] if language in _LANGUAGES else _PROSE


def is_prose(language: str) -> bool:
    """Prose has lines, but neither code nor comments, and is not looked at for clones."""
    return syntax_of(language).prose
