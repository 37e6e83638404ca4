"""How configuration names the servers that a process stands on, and what is refused there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NamedTuple
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError

FILE = "file:"


def _from_file(text: str) -> str:
    """What the file holds that `file:PATH` names, so that a password is in no environment."""
    if not text.startswith(FILE):
        return text
    try:
        return Path(text.removeprefix(FILE)).read_text(encoding="utf-8").strip()
    except OSError as error:
        why = {"why": error.strerror or "no reason is given"}
        raise PydanticCustomError("file", "names a file that cannot be read: {why}", why) from None
    except ValueError:
        raise PydanticCustomError("file", "names a file that holds no text") from None


EMBEDDED_LEDGER = "sqlite"


def _ledger(text: str) -> str:
    """Refuses with words that do not hold the URL: there is a password in it."""
    if text == EMBEDDED_LEDGER:
        return text
    try:
        url = urlsplit(text)
        # Several hosts, of which the driver takes the one that writes, have no port in common.
        well_formed = "," in url.netloc or (url.port or 1) > 0
    except ValueError:  # a port that is none, brackets that do not close
        well_formed = False
    if not well_formed or url.scheme not in ("postgresql", "postgres"):
        raise PydanticCustomError(
            "ledger",
            'is neither "sqlite" nor like postgresql://user:password@host:5432/database',
        )
    if not url.path.strip("/"):
        raise PydanticCustomError("ledger", "names no database: postgresql://host:5432/database")
    return text


EMBEDDED_BUS = ""


def _bus(text: str) -> str:
    """Refuses with words that do not hold the URLs: there may be passwords in them."""
    for each in text.split(",") if text != EMBEDDED_BUS else ():
        try:
            url = urlsplit(each.strip())
            well_formed = bool(url.hostname) and (url.port or 1) > 0
        except ValueError:
            well_formed = False
        if not well_formed or url.scheme not in ("nats", "tls"):
            raise PydanticCustomError(
                "bus", "is neither empty nor like nats://host:4222, several with commas between"
            )
    return text


BusUrls = Annotated[str, AfterValidator(_from_file), AfterValidator(_bus)]
LedgerUrl = Annotated[str, AfterValidator(_from_file), AfterValidator(_ledger)]

# What MUSTER_DIRECTORY begins with, and whether that means TLS.
DIRECTORY_SCHEMES = {"consul": False, "consuls": True, "consul+https": True}


def _directory(text: str) -> str:
    """Refuses with words that do not hold the URL: somebody may have put a token into it."""
    if not text:
        return text
    try:
        url = urlsplit(text)
        well_formed = bool(url.hostname) and (url.port or 1) > 0
    except ValueError:  # a port that is none, brackets that do not close
        well_formed = False
    if not well_formed or url.scheme not in DIRECTORY_SCHEMES or url.path.strip("/"):
        message = "is neither empty nor like consul://host:8500 or, with TLS, consuls://host:8501"
        raise PydanticCustomError("directory", message)
    if "@" in url.netloc:
        message = "is shown to people; put the token into MUSTER_DIRECTORY_TOKEN"
        raise PydanticCustomError("directory", message)
    return text


TEMPORAL_NAMESPACE = "default"

# What MUSTER_TEMPORAL may begin with, and whether that means TLS.
_TEMPORAL_SCHEMES = {"temporal": False, "temporals": True}


def _temporal(text: str) -> str:
    """Refuses what is no host:port[/namespace], with or without a scheme."""
    if not text:
        return text
    try:
        url = _temporal_url(text)
        well_formed = bool(url.hostname) and (url.port or 0) > 0 and "@" not in url.netloc
    except ValueError:  # a port that is none, brackets that do not close
        well_formed = False
    if not well_formed or url.scheme not in _TEMPORAL_SCHEMES or "/" in url.path.strip("/"):
        message = (
            "is neither empty nor like host:7233, host:7233/namespace or, with TLS, "
            "temporals://host:7233/namespace"
        )
        raise PydanticCustomError("temporal", message)
    return text.removeprefix("temporal://")


def _temporal_url(text: str) -> SplitResult:
    return urlsplit(text if "://" in text else f"temporal://{text}")


class TemporalAt(NamedTuple):
    """Where a Temporal is."""

    host: str
    address: str  # host:port
    namespace: str
    tls: bool


def temporal_at(place: str) -> TemporalAt:
    """What a place that is well-formed and not empty means."""
    url = _temporal_url(place)
    namespace = url.path.strip("/") or TEMPORAL_NAMESPACE
    return TemporalAt(url.hostname or "", url.netloc, namespace, _TEMPORAL_SCHEMES[url.scheme])


TemporalPlace = Annotated[str, AfterValidator(_temporal)]
DirectoryUrl = Annotated[str, AfterValidator(_directory)]
