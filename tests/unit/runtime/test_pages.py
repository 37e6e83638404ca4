import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.model import limits
from muster.model.errors import InvalidArgument
from muster.runtime.pages import make_page_token, page_size, read_page_token

SCOPE = ("ListThings", "acme", b"\x0a\x01x")


@given(st.text(min_size=1, max_size=128))
def test_a_token_gives_back_its_position(position: str):
    assert read_page_token(make_page_token(position, *SCOPE), *SCOPE) == position


def test_no_token_is_the_first_page():
    assert read_page_token("", *SCOPE) == ""


@pytest.mark.parametrize(
    "scope",
    [
        ("OtherCall", "acme", b"\x0a\x01x"),
        ("ListThings", "other", b"\x0a\x01x"),
        ("ListThings", "acme", b"\x0a\x01y"),
        ("ListThings", "acm", b"e\x0a\x01x"),
    ],
)
def test_a_token_of_another_call_tenant_or_filter_is_refused(scope: tuple[str | bytes, ...]):
    with pytest.raises(InvalidArgument) as caught:
        read_page_token(make_page_token("here", *SCOPE), *scope)
    assert caught.value.reason == "PAGE_TOKEN"
    assert caught.value.violations[0].field == "page_token"


@given(st.text(max_size=100))
def test_a_token_that_was_made_up_is_refused(token: str):
    if token:
        with pytest.raises(InvalidArgument):
            read_page_token(token, *SCOPE)


@given(st.integers(0, 33), st.sampled_from("abcXYZ019-_="))
def test_a_token_with_one_letter_changed_is_refused(at: int, letter: str):
    token = make_page_token("a position", *SCOPE)
    at %= len(token)
    changed = token[:at] + letter + token[at + 1 :]
    if changed != token:
        with pytest.raises(InvalidArgument):
            read_page_token(changed, *SCOPE)


def test_tokens_of_the_longest_names_fit_their_fields():
    assert len(make_page_token("n" * 128 + "@9999.9999.9999", *SCOPE)) <= 256


def test_page_sizes_have_a_default_and_a_maximum():
    assert page_size(0) == limits.PAGE_SIZE_DEFAULT
    assert page_size(7) == 7
    assert page_size(10**9) == limits.PAGE_SIZE_MAX
