import io
import tokenize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.audit.collect import stdlib_path
from muster.audit.lexing import LineKinds, count_lines, masked_lines, significant_lines

LAYOUT = {
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def kinds_by_tokenize(text: str) -> LineKinds:
    code: set[int] = set()
    comments: set[int] = set()
    lines = text.split("\n")
    for token in tokenize.generate_tokens(io.StringIO(text, newline="").readline):
        if token.type == tokenize.COMMENT:
            comments.add(token.start[0])
        elif token.type not in LAYOUT:
            code.update(range(token.start[0], token.end[0] + 1))
    code = {number for number in code if lines[number - 1].strip()}
    total = len(lines) - (not lines[-1])
    only_comments = comments - code
    return LineKinds(len(code), len(only_comments), total - len(code) - len(only_comments))


@pytest.mark.parametrize(
    "module", ["tokenize.py", "re/_parser.py", "string.py", "inspect.py", "textwrap.py", "cgi.py"]
)
def test_lines_of_python_are_what_tokenize_says_they_are(module: str):
    path = stdlib_path() / module
    if not path.exists():
        pytest.skip("this Python does not have the module")
    text = path.read_text(encoding="utf-8")
    assert count_lines(masked_lines(text, "Python")) == kinds_by_tokenize(text)


@pytest.mark.parametrize(
    ("language", "text", "kinds"),
    [
        ("Python", "", (0, 0, 0)),
        ("Python", "\n", (0, 0, 1)),
        ("Python", "x = '#'  # real\n# only\n\n", (1, 1, 1)),
        ("Python", "x = '''a\n\n# inside\n'''\n", (3, 0, 1)),
        ("Python", "x = 'open\n# comment\n", (1, 1, 0)),
        ("Python", r"x = r'\'' # c" + "\n", (1, 0, 0)),
        ("C", "/* a\n b */ int x; // c\n// d\n", (1, 2, 0)),
        ("C", "char c = '\"'; /* open\n still", (1, 1, 0)),
        ("HTML", "<p>it's</p>\n<!-- a\nb -->\n", (1, 2, 0)),
        ("Shell", "#!/bin/sh\necho '#'\n", (1, 1, 0)),
        ("JavaScript", "const a = `// no\ncomment`;\n", (2, 0, 0)),
        ("JSON", '{"a": "# no"}\n', (1, 0, 0)),
    ],
)
def test_comments_strings_and_blanks_are_told_apart(language, text, kinds):
    assert count_lines(masked_lines(text, language)) == LineKinds(*kinds)


@given(st.text(st.sampled_from("ab1 \t\n'\"#/*\\`<!->{}\0\1\2")), st.sampled_from(["Python", "C"]))
def test_every_line_is_counted_once_whatever_the_text(text: str, language: str):
    masked = masked_lines(text, language)
    kinds = count_lines(masked)
    assert len(masked) == text.count("\n") + 1
    assert kinds.code + kinds.comment + kinds.blank == len(masked) - (not masked[-1])


def test_the_normal_form_forgets_layout_comments_and_literals():
    def normal(text: str) -> list[str]:
        return [line for _, line in significant_lines(masked_lines(text, "Python"))]

    assert normal("x  =  f( 1,'a' )   # why\n") == normal("x = f(2, 'bcd')\n") == ['x=f(0,")']
    assert normal("x = g(1)\n") != normal("x = f(1)\n")


def test_lines_without_a_name_say_nothing():
    text = 'import os\n"""Doc."""\n)\n1: 2,\n\'a\',\nx = [\n# c\n'
    assert significant_lines(masked_lines(text, "Python")) == [(6, "x=[")]


def test_a_huge_line_is_a_line_and_no_more():
    masked = masked_lines("x = '" + "a" * 1_000_000 + "'\ny = 1\n", "Python")
    assert count_lines(masked) == LineKinds(2, 0, 0)
    assert max(map(len, masked)) < 10_000
