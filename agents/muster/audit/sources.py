"""Sources as they travel: bytes in a JSON-able dict, and the text an analyser reads."""

import base64
import codecs
import io
import tokenize
from dataclasses import dataclass

from muster.audit.languages import PYTHON, TEXT, language_of
from muster.audit.shapes import Source

# A wrong guess never fails: every byte is a Latin-1 character.
_FALLBACK = "iso8859-1"


@dataclass(frozen=True, slots=True)
class Text:
    """One source, decoded. `text` has no byte order mark and ends its lines with "\\n" alone."""

    path: str
    language: str
    data: bytes
    text: str
    encoding: str

    @property
    def is_python(self) -> bool:
        return self.language == PYTHON


def pack(path: str, data: bytes) -> Source:
    """The source as a JSON-able dict; as text where the bytes are UTF-8, else as base64."""
    try:
        return {"path": path, "text": data.decode("utf-8")}
    except UnicodeDecodeError:
        return {"path": path, "base64": base64.b64encode(data).decode("ascii")}


def data_of(source: Source) -> bytes:
    """The file's bytes, exactly as they were packed.

    Text that is not valid Unicode (a lone surrogate in JSON) is kept readable rather than refused.
    """
    if "base64" in source:
        return base64.b64decode(source["base64"])
    return source.get("text", "").encode("utf-8", "replace")


def read(source: Source) -> Text:
    """Decodes a source by its byte order mark, its declared encoding, UTF-8, or else Latin-1."""
    data = data_of(source)
    language = language_of(source["path"]) or TEXT
    encoding = _encoding_of(data, language == PYTHON)
    text = data.decode(encoding, "replace")
    text = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    return Text(source["path"], language, data, text, encoding)


def _encoding_of(data: bytes, is_python: bool) -> str:
    if data.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    for encoding in (_declared_encoding(data) if is_python else None, "utf-8"):
        if encoding and _decodes(data, encoding):
            return encoding
    return _FALLBACK


def _declared_encoding(data: bytes) -> str | None:
    try:
        name, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        # Codecs such as rot13 turn text into text, or are aliases: only real ones, by one name.
        return codecs.lookup(name).name if "".encode(name) == b"" else None
    except (SyntaxError, LookupError, UnicodeError):
        return None


def _decodes(data: bytes, encoding: str) -> bool:
    try:
        data.decode(encoding)
    except (UnicodeError, LookupError):
        return False
    return True
