"""Licence hints: SPDX tags, the licences' own texts, and sentences that mention one.

A hint is evidence, not advice: it says what the file says, and how clearly.
"""

import re
from typing import Final, Literal

from muster.audit.languages import TEXT, is_licence_file, is_prose, language_of
from muster.audit.lexing import COMMENT, INSIDE, STRING, masked_lines
from muster.audit.limits import (
    COPYRIGHT_CHARS_MAX,
    COPYRIGHTS_PER_FILE_MAX,
    HEADER_LINES_MAX,
    LICENCES_PER_FILE_MAX,
    LINE_CHARS_MAX,
)
from muster.audit.shapes import LicenceHint

# The tag is only taken where a comment or a line starts with it: code that handles such tags, like
# this module, mentions them inside strings.
_SPDX: Final = re.compile(
    r"^[^\w\n]*SPDX-License-Identifier:\s*([A-Za-z0-9][\w.+() -]*?)\s*(?:\*/|-->)?\s*$",
    re.MULTILINE,
)
_COPYRIGHT: Final = re.compile(
    r"^[^\w\n]*(?:copyright|\(c\))[ \t]*(?:\(c\)|©|:)?[ \t]*[\w(,-].*\d{4}.*$",
    re.IGNORECASE | re.MULTILINE,
)


def _phrase(words: str) -> re.Pattern[str]:
    """The words in any layout: texts are wrapped differently and stand in comments."""
    return re.compile(r"[\s#*/;!-]+".join(re.escape(w) for w in words.split()), re.IGNORECASE)


# One sentence of each licence that the others do not have, searched in whole licence files.
_TEXTS: Final = [
    ("MIT", _phrase("Permission is hereby granted, free of charge, to any person obtaining")),
    ("Apache-2.0", _phrase("Apache License Version 2.0, January 2004")),
    ("BSD-3-Clause", _phrase("may be used to endorse or promote products derived from")),
    ("BSD-2-Clause", _phrase("Redistribution and use in source and binary forms")),
    ("AGPL-3.0", _phrase("GNU AFFERO GENERAL PUBLIC LICENSE Version 3")),
    ("LGPL-3.0", _phrase("GNU LESSER GENERAL PUBLIC LICENSE Version 3")),
    ("LGPL-2.1", _phrase("GNU LESSER GENERAL PUBLIC LICENSE Version 2.1")),
    ("GPL-3.0", _phrase("GNU GENERAL PUBLIC LICENSE Version 3")),
    ("GPL-2.0", _phrase("GNU GENERAL PUBLIC LICENSE Version 2")),
    ("MPL-2.0", _phrase("Mozilla Public License Version 2.0")),
    ("PSF-2.0", _phrase("PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2")),
    ("ISC", _phrase("for any purpose with or without fee is hereby granted, provided that")),
    ("0BSD", _phrase("for any purpose with or without fee is hereby granted. THE SOFTWARE")),
    (
        "Unlicense",
        _phrase("This is free and unencumbered software released into the public domain"),
    ),
    ("CC0-1.0", _phrase("CC0 1.0 Universal")),
    ("Zlib", _phrase("This software is provided 'as-is', without any express or implied")),
]
# What a source file's header says about its licence.
_NOTICES: Final = [
    ("Apache-2.0", _phrase("Licensed under the Apache License, Version 2.0")),
    ("PSF-2.0", _phrase("Licensed to PSF under a Contributor Agreement")),
    ("PSF-2.0", _phrase("Python Software Foundation License")),
    ("MIT", _phrase("Permission is hereby granted, free of charge")),
    ("MIT", _phrase("MIT license")),
    ("BSD-3-Clause", _phrase("may be used to endorse or promote products derived from")),
    ("BSD-2-Clause", _phrase("Redistribution and use in source and binary forms")),
    ("LGPL", _phrase("GNU Lesser General Public License")),
    ("AGPL", _phrase("GNU Affero General Public License")),
    ("GPL", _phrase("GNU General Public License")),
    ("MPL-2.0", _phrase("Mozilla Public License, v. 2.0")),
    ("Public domain", _phrase("in the public domain")),
    ("HPND", _phrase("Permission to use, copy, modify, and distribute this software and its")),
]
# All that is left, when masked, of a line without code.
_SAID: Final = f"{COMMENT}{INSIDE}{STRING} \t"
# A text that contains another's sentence: the narrower one is named.
_COVERED_BY: Final = {"BSD-2-Clause": "BSD-3-Clause"}


def licence_hints(path: str, text: str) -> list[LicenceHint]:
    """What `text` says about its licence, by line; one hint per licence and way of saying it."""
    is_licence = is_licence_file(path)
    head = text if is_licence else _head(text)
    said = head if is_licence else _without_code(path, head)
    hints = [_hint(m.group(1), "spdx", head, m.start(1)) for m in _SPDX.finditer(head)]
    for name, phrase in _TEXTS if is_licence else _NOTICES:
        match = phrase.search(said)
        if match:
            hints.append(_hint(name, "text" if is_licence else "notice", said, match.start()))
    found = {hint["id"] for hint in hints}
    hints = [hint for hint in hints if _COVERED_BY.get(hint["id"]) not in found]
    unique = {(hint["id"], hint["how"]): hint for hint in reversed(hints)}
    ranked = sorted(unique.values(), key=lambda hint: (hint["line"], hint["id"], hint["how"]))
    return ranked[:LICENCES_PER_FILE_MAX]


def copyrights(text: str) -> list[str]:
    """The copyright lines of a file's header, each without its comment signs, in order."""
    lines = (m.group().strip(" \t#*/;!-.") for m in _COPYRIGHT.finditer(_head(text)))
    unique = dict.fromkeys(line[:COPYRIGHT_CHARS_MAX] for line in lines)
    return list(unique)[:COPYRIGHTS_PER_FILE_MAX]


def _head(text: str) -> str:
    lines = text.split("\n", HEADER_LINES_MAX)[:HEADER_LINES_MAX]
    return "\n".join(line[:LINE_CHARS_MAX] for line in lines)


def _without_code(path: str, head: str) -> str:
    """The lines that are comments or inside longer strings; the others are left blank.

    A program that deals with licences, like this one, names them without being under them.
    """
    language = language_of(path) or TEXT
    if is_prose(language):
        return head
    pairs = zip(head.split("\n"), masked_lines(head, language), strict=True)
    return "\n".join(line if masked and not masked.strip(_SAID) else "" for line, masked in pairs)


def _hint(name: str, how: Literal["spdx", "text", "notice"], text: str, offset: int) -> LicenceHint:
    return {"id": name, "how": how, "line": text.count("\n", 0, offset) + 1}
