"""Finds the pages of a site, and the files and folders that they link to.

Nothing outside the folder is read, wherever a link may point.
"""

import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from muster.workflows.files import slug_of
from muster.workflows.site.rendering import links_of, title_of
from muster.workflows.site.shapes import EntryKind

PAGES_MAX: Final = 2_000
PAGE_BYTES_MAX: Final = 1024 * 1024
LISTING_BYTES_MAX: Final = 256 * 1024
ASSET_BYTES_MAX: Final = 8 * 1024 * 1024
FOLDER_FILES_MAX: Final = 200
INSTALLED_MAX: Final = 40
MARKDOWN: Final = (".md", ".markdown")
IMAGES: Final = (".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".avif", ".ico")
# Nobody's documentation.
_SKIPPED: Final = frozenset("node_modules build dist venv target vendor __pycache__".split())


@dataclass(frozen=True, slots=True)
class Found:
    """Something to build; `path` and `url` as in `Entry`."""

    kind: EntryKind
    path: str
    url: str
    title: str
    content: bytes


class FolderError(ValueError):
    """There is nothing to build; the message tells a person what to change."""


def of_folder(root: Path) -> list[Found]:
    """The Markdown below a folder and what it links to, pages first. Raises `FolderError`."""
    if not root.is_dir():
        raise FolderError(f"there is no folder {root}")
    root = root.resolve()
    pages = [_page(root, path) for path in sorted(_markdown(root))[:PAGES_MAX]]
    if not pages:
        raise FolderError(f"there is no Markdown in {root}")
    return [*pages, *_linked(root, pages)]


def _markdown(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        hidden = path.name.startswith(".") or path.is_symlink()
        if path.is_dir() and not hidden and path.name not in _SKIPPED:
            yield from _markdown(path)
        elif path.suffix.lower() in MARKDOWN and not hidden and _is_page(path):
            yield path


def _is_page(path: Path) -> bool:
    return path.is_file() and path.stat().st_size <= PAGE_BYTES_MAX


def _page(root: Path, path: Path) -> Found:
    relative = path.relative_to(root).as_posix()
    content = path.read_bytes()
    title = title_of(content.decode("utf-8", "replace")) or relative
    return Found("page", relative, f"{relative.rpartition('.')[0]}.html", title, content)


def _linked(root: Path, pages: list[Found]) -> Iterator[Found]:
    known = {page.path for page in pages}
    for page in pages:
        for link in links_of(page.content.decode("utf-8", "replace")):
            path = target_of(page.path, link)
            if path is None or path in known:
                continue
            known.add(path)
            found = _entry(root, path, {page.path for page in pages})
            if found is None:
                continue
            yield found
            if found.kind == "folder":
                yield from _files_in(root, path, known)


def _files_in(root: Path, folder: str, known: set[str]) -> Iterator[Found]:
    """The files right in a folder that a page links to, for its listing to link to."""
    for place in _visible(root / folder)[:FOLDER_FILES_MAX]:
        path = posixpath.normpath(posixpath.join(folder, place.name))
        if path not in known and place.is_file():
            found = _entry(root, path, set())
            if found is not None:
                known.add(path)
                yield found


def target_of(page: str, link: str) -> str | None:
    """The path, from the root, that a link of a page names; None for what is no path within it."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc or not parts.path:
        return None
    named = unquote(parts.path)
    joined = posixpath.join(posixpath.dirname(page), named)
    path = posixpath.normpath(named.lstrip("/") if named.startswith("/") else joined)
    return None if path.startswith("..") or "\0" in path else path


def _entry(root: Path, path: str, pages: set[str]) -> Found | None:
    place = root / path
    if not place.resolve().is_relative_to(root):
        return None
    if place.is_dir():
        names = [f"{each.name}/" if each.is_dir() else each.name for each in _visible(place)]
        readme = next((name for name in ("README.md", "index.md") if f"{path}/{name}" in pages), "")
        content = "\n".join([readme, *names]).encode()
        title = "." if path == "." else f"{path}/"
        return Found("folder", path, posixpath.join(path, "folder.html"), title, content)
    if not place.is_file():
        return None
    size = place.stat().st_size
    if place.suffix.lower() in IMAGES:
        too_large = size > ASSET_BYTES_MAX
        return None if too_large else Found("asset", path, path, place.name, place.read_bytes())
    if size > LISTING_BYTES_MAX or b"\0" in (content := place.read_bytes()):
        return None
    return Found("listing", path, f"{path}.html", path, content)


def _visible(folder: Path) -> list[Path]:
    return [each for each in sorted(folder.iterdir()) if not each.name.startswith((".", "__"))]


def of_installed() -> list[Found]:
    """What installed packages say about themselves in Markdown, by name."""
    found: dict[str, Found] = {}
    for distribution in metadata.distributions():
        about = distribution.metadata.json
        markdown = str(about.get("description_content_type", "")).startswith("text/markdown")
        name, text = str(about["name"]), str(about.get("description", ""))
        if markdown and text and len(text) <= PAGE_BYTES_MAX and name not in found:
            path = f"{slug_of(name)}.md"
            title = f"{name} {about['version']}"
            found[name] = Found("page", path, path.replace(".md", ".html"), title, text.encode())
    if not found:
        raise FolderError("no installed package describes itself in Markdown: name a folder")
    return [found[name] for name in sorted(found, key=str.lower)[:INSTALLED_MAX]]
