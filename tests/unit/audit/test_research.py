import hashlib
from textwrap import dedent

import pytest

from muster.audit.research import survey
from muster.audit.shapes import FileSurvey
from tests.unit.audit.samples import BROKEN, source


def survey_one(path: str, text: str) -> FileSurvey:
    return survey({"sources": [source(path, text)]})["files"][0]


def test_a_survey_says_what_a_file_is():
    text = (
        "# Copyright (c) 2020 Somebody\n# SPDX-License-Identifier: MIT OR Apache-2.0\nimport os\n"
    )
    found = survey_one("shop/a.py", text)
    assert found == {
        "path": "shop/a.py",
        "language": "Python",
        "encoding": "utf-8",
        "bytes": len(text),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "parses": True,
        "licences": [{"id": "MIT OR Apache-2.0", "how": "spdx", "line": 2}],
        "copyrights": ["Copyright (c) 2020 Somebody"],
        "imports": [{"module": "os", "names": [], "level": 0, "line": 3, "deferred": False}],
    }


def test_imports_are_found_wherever_they_stand():
    text = dedent(
        """
        import os.path, sys
        from . import sibling
        from ..pkg import a as b, c
        try:
            import fast
        except ImportError:
            fast = None
        if TYPE_CHECKING:
            import types_only
        if __name__ == "__main__":
            import scripts_only
        class Late:
            import in_class
            def method(self):
                import in_method
        match 1:
            case 1:
                import in_case
        """
    )
    found = survey_one("a.py", text)["imports"]
    assert [(i["module"], i["names"], i["level"], i["deferred"]) for i in found] == [
        ("os.path", [], 0, False),
        ("sys", [], 0, False),
        ("", ["sibling"], 1, False),
        ("pkg", ["a", "c"], 2, False),
        ("fast", [], 0, False),
        ("types_only", [], 0, True),
        ("scripts_only", [], 0, True),
        ("in_class", [], 0, False),
        ("in_method", [], 0, True),
        ("in_case", [], 0, False),
    ]


@pytest.mark.parametrize(
    "text",
    [
        BROKEN,
        "x = (" * 5_000,
        "-" * 100_000 + "1",
        "\0",
        "x" * 100_000 + "(",
        "if True:\n" * 3,
        "é = \ud800",
    ],
)
def test_what_does_not_parse_is_still_surveyed(text: str):
    found = survey_one("a.py", text)
    assert not found["parses"]
    assert found["imports"] == []
    assert found["bytes"] == len(text.encode("utf-8", "replace"))


def test_a_thousand_elifs_do_not_exhaust_the_stack():
    chain = "if x == 0:\n    pass\n" + "".join(
        f"elif x == {n}:\n    import m{n}\n" for n in range(1, 900)
    )
    found = survey_one("a.py", chain)
    assert not found["parses"] or len(found["imports"]) == 899


def test_warnings_about_audited_code_are_not_ours(recwarn: pytest.WarningsRecorder):
    survey_one("a.py", "x = '\\d'\nassert (x, 'always true')\n")
    assert not recwarn.list


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("LICENSE", "Apache License\n   Version 2.0, January 2004", [("Apache-2.0", "text", 1)]),
        (
            "LICENSE.txt",
            "Redistribution and use in source and binary forms\nmay be used to endorse or "
            "promote products derived from",
            [("BSD-3-Clause", "text", 2)],
        ),
        (
            "COPYING",
            "Redistribution and use in source and binary forms",
            [("BSD-2-Clause", "text", 1)],
        ),
        (
            "a.py",
            "#!/usr/bin/python\n# Licensed under the Apache License,\n#   Version 2.0",
            [("Apache-2.0", "notice", 2)],
        ),
        ("a.py", '"""Doc.\n\nReleased under the MIT license.\n"""', [("MIT", "notice", 3)]),
        ("a.c", "/* SPDX-License-Identifier: GPL-2.0-only */", [("GPL-2.0-only", "spdx", 1)]),
        ("a.py", 'PHRASE = "Licensed under the Apache License, Version 2.0"', []),
        ("a.py", 'TAG = "SPDX-License-Identifier: MIT"', []),
        ("a.py", "\n" * 100 + "# SPDX-License-Identifier: MIT", []),
        ("README.md", "Published under the MIT license", [("MIT", "notice", 1)]),
    ],
)
def test_licence_hints_are_what_a_file_says_about_itself(path, text, expected):
    found = survey_one(path, text)["licences"]
    assert [(hint["id"], hint["how"], hint["line"]) for hint in found] == expected


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("a.py", "Python"),
        ("a.PYI", "Python"),
        ("Makefile", "Make"),
        ("deploy/Dockerfile", "Dockerfile"),
        ("a.proto", "Protocol Buffers"),
        ("LICENSE", "Text"),
        ("licence-mit", "Text"),
        ("unknown.xyz", "Text"),
    ],
)
def test_the_language_follows_from_the_name(path: str, language: str):
    assert survey_one(path, "")["language"] == language
