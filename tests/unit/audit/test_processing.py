from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.audit.processing import measure
from muster.audit.shapes import FileMeasures
from tests.unit.audit.samples import BROKEN, source


def measure_one(text: str, path: str = "a.py") -> FileMeasures:
    return measure({"sources": [source(path, dedent(text))]})["files"][0]


def test_lines_add_up_and_docstrings_are_apart():
    found = measure_one(
        '''\
        """Module.

        More.
        """
        # comment

        def f():
            """Doc."""
            return """no
            doc"""

        class C: "Doc on a line of code."
        '''
    )
    assert found["lines"] == {"total": 12, "code": 4, "doc": 4, "comment": 1, "blank": 3}


@given(st.text(st.sampled_from("def x():\n\t'\"#\\ =1")))
def test_line_counts_add_up_whatever_the_text(text: str):
    lines = measure_one(text)["lines"]
    assert lines["total"] == lines["code"] + lines["doc"] + lines["comment"] + lines["blank"]
    assert min(lines["code"], lines["doc"], lines["comment"], lines["blank"]) >= 0


def test_functions_have_their_full_names_sizes_and_arguments():
    found = measure_one(
        """\
        class Outer:
            class Inner:
                async def method(self, a, /, b, *rest, key=1, **more):
                    return lambda: 1

        def small(): pass
        """
    )
    assert (found["functions"], found["classes"]) == (2, 2)
    assert found["largest"] == [
        {"name": "Outer.Inner.method", "line": 3, "lines": 2, "arguments": 6, "nesting": 0},
        {"name": "small", "line": 6, "lines": 1, "arguments": 0, "nesting": 0},
    ]


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ("x = 1", 0),
        ("def f():\n    return 1", 0),
        ("if a:\n  pass", 1),
        ("if a:\n  pass\nelif b:\n  pass\nelif c:\n  pass\nelse:\n  pass", 1),
        ("if a:\n  pass\nelse:\n  if b:\n    pass\n  x = 1", 2),
        ("for a in b:\n  while c:\n    with d:\n      pass", 3),
        ("try:\n  pass\nexcept E:\n  if a:\n    pass", 2),
        ("match a:\n  case 1:\n    for b in c:\n      pass", 2),
        ("if a:\n  def f():\n    if b:\n      pass", 1),
        ("if a:\n  class C:\n    def f(self):\n      if b:\n        for c in d: pass", 2),
    ],
)
def test_nesting_is_the_deepest_block_within_one_function(text: str, depth: int):
    assert measure_one(text)["nesting_max"] == depth


def test_only_public_names_need_a_docstring():
    found = measure_one(
        '''\
        """Module."""
        def documented():
            """Doc."""
            def inner(): pass
        def undocumented(): pass
        def _private(): pass
        class Public:
            def __init__(self): pass
            @property
            def value(self):
                """Doc."""
            @value.setter
            def value(self, new): pass
            @overload
            def many(self): ...
        class _Private:
            def method(self): pass
        '''
    )
    assert found["docs"] == {"public": 5, "documented": 3}


def test_a_private_module_needs_no_docstring_and_a_package_does():
    assert measure_one("", "_a.py")["docs"]["public"] == 0
    assert measure_one("", "a/__init__.py")["docs"]["public"] == 1


@pytest.mark.parametrize("text", [BROKEN, "\0", "x = (" * 5_000])
def test_what_does_not_parse_still_has_lines(text: str):
    found = measure_one(text)
    assert not found["parses"]
    assert found["error"]
    assert found["functions"] == 0
    assert found["lines"]["total"] == max(text.count("\n"), 1)


def test_prose_has_lines_but_no_code():
    found = measure_one("# Shop\n\nSells things.", "README.md")
    assert found["lines"] == {"total": 3, "code": 0, "doc": 2, "comment": 0, "blank": 1}
    assert found["error"] is None


def test_an_empty_file_has_nothing():
    assert measure_one("")["lines"]["total"] == 0
