import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twitter_text import extract_urls_with_indices

from postpost.posts.links import find_links

PIECES = [*'ab.@#$ /?()!:_-+=&漢éд。"', ".co", ".com", "t.co/", "http://", "https://", "中国", "xn--", "(a)", "(a(b))"]
TANGLES = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)
MEBIBYTE = 1 << 20


def places(text: str) -> list[tuple[int, int]]:
    return [(link.start, link.end) for link in find_links(text)]


@pytest.mark.parametrize(
    ("text", "links"),
    [
        pytest.param("see a.co now", ["a.co"], id="bare"),
        pytest.param("readme.md", ["readme.md"], id="real-top-level-domain"),
        pytest.param("https://example.com/x?y=1.", ["https://example.com/x?y=1"], id="final-stop"),
        pytest.param("访问example.com/a查看", ["example.com/a"], id="chinese"),
        pytest.param("http://localhost/ 10.0.0.1 foo.js me@a.co @a.co", [], id="no-links"),
        pytest.param("https://t.co/abc-def", ["https://t.co/abc"], id="t.co"),
    ],
)
def test_find_links_when_text_holds_addresses_then_as_x_sees_them(text, links):
    assert [text[start:end] for start, end in places(text)] == links


@given(TANGLES)
@settings(max_examples=500)
def test_find_links_when_any_tangle_then_the_same_as_twitter_text(text):
    assert places(text) == [tuple(url["indices"]) for url in extract_urls_with_indices(text)]


@given(st.text())
def test_find_links_when_any_text_then_the_same_as_twitter_text(text):
    assert places(text) == [tuple(url["indices"]) for url in extract_urls_with_indices(text)]


def test_find_links_when_scheme_is_written_then_said_so():
    assert [link.has_scheme for link in find_links("a.co HTTP://a.co")] == [False, True]


@pytest.mark.parametrize(
    "piece", ["a.", "a.co/", "a-", "漢", "a.co漢", "a_b.", "a.co_", "@a.co", "http://", "xn--.", "(a)", "漢_."]
)
def test_find_links_when_hostile_mebibyte_then_within_seconds(piece):
    text = "a.co/" + piece * (MEBIBYTE // len(piece.encode())) + ".co"
    began = time.monotonic()
    list(find_links(text))
    assert time.monotonic() - began < 10
