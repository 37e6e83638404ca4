"""What the steps hand to each other; `agents` makes JSON Schemas of it."""

from dataclasses import dataclass
from typing import Literal

from muster.agent.blob import Blob

EntryKind = Literal["page", "listing", "folder", "asset"]


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that becomes a file of the site.

    `path` is where it was found, `url` where it will be; both are relative to their roots, with
    "/". `source` is its content: Markdown, code, an image, or for a folder the names in it.
    """

    kind: EntryKind
    path: str
    url: str
    title: str
    source: Blob


@dataclass(frozen=True, slots=True)
class Site:
    """All that is to be built. `home` is the url of the page that leads to the others, `plan` holds
    what each page has to know of them."""

    title: str
    home: str
    entries: list[Entry]
    plan: Blob


@dataclass(frozen=True, slots=True)
class Built:
    """A file that was written. `facts` holds its links, ids and sections."""

    kind: EntryKind
    path: str
    url: str
    title: str
    words: int
    facts: Blob


@dataclass(frozen=True, slots=True)
class Broken:
    """A link that leads nowhere."""

    page: str
    link: str
    why: str


@dataclass(frozen=True, slots=True)
class External:
    """An address outside the site, and the pages that name it."""

    address: str
    pages: list[str]


@dataclass(frozen=True, slots=True)
class Check:
    """The links of all pages: how many lead within the site, and which lead nowhere."""

    internal: int
    broken: list[Broken]
    external: list[External]


@dataclass(frozen=True, slots=True)
class Search:
    """The search index: how many sections it knows, and its size in bytes."""

    sections: int
    size: int


@dataclass(frozen=True, slots=True)
class SiteIndex:
    """The page that a person opens: `index` is its path."""

    index: str
    pages: int
    broken: int
