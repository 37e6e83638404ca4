"""Page tokens: a position in a list, sealed with what it is a position of.

A token must work after a restart and at another replica, so it holds no secret of a process. It is
no secret at all: it says where to go on in a list that the caller may read anyway. The seal makes a
token that was made up, cut, or made for another call, tenant or filter an error rather than a wrong
page.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from hmac import compare_digest

from muster.model import limits
from muster.model.errors import InvalidArgument, Violation

_SEAL_BYTES = 12
_DOMAIN = b"muster.page.v1"


def page_size(asked: int) -> int:
    """How many to return; 0 means the default. The proto's rules bound what is asked."""
    return min(asked, limits.PAGE_SIZE_MAX) if asked > 0 else limits.PAGE_SIZE_DEFAULT


def make_page_token(position: str, *scope: str | bytes) -> str:
    """A token for `position`, the last thing on the page. `scope`: call, tenant, filter.

    It has 4/3 of the position's length and 16 characters more.
    """
    raw = position.encode()
    return _encode(_seal(raw, scope) + raw)


def read_page_token(token: str, *scope: str | bytes) -> str:
    """The position that `make_page_token` was given with the same scope; "" for an empty token.

    Raises `InvalidArgument` (PAGE_TOKEN) for anything else.
    """
    if not token:
        return ""
    try:
        sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        seal, raw = sealed[:_SEAL_BYTES], sealed[_SEAL_BYTES:]
        # base64 has several spellings of the same bytes; only the one that was made counts.
        if raw and compare_digest(seal, _seal(raw, scope)) and token == _encode(sealed):
            return raw.decode()
    except (binascii.Error, ValueError):
        pass
    description = "is not the next_page_token of this call with this filter"
    raise InvalidArgument(
        f"page_token {description}",
        reason="PAGE_TOKEN",
        violations=[Violation("page_token", description)],
    )


def _encode(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def _seal(raw: bytes, scope: tuple[str | bytes, ...]) -> bytes:
    digest = hashlib.blake2b(raw, digest_size=_SEAL_BYTES, person=_DOMAIN)
    for part in scope:
        encoded = part.encode() if isinstance(part, str) else part
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.digest()
