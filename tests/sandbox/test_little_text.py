import pytest
from hypothesis import given
from hypothesis import strategies as st

from postpost.sandbox.little_text import read_little_text

RESERVED = r"\|{}@[]()<>#*_~"


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("", ""),
        ("plain, with & and %", "plain, with & and %"),
        (r"Hi @[Ann \(Lee\)](urn:li:person:AbC)!", "Hi Ann (Lee)!"),
        (r"C\# & #dev, mail me \@ a\_b\@x.io", "C# & #dev, mail me @ a_b@x.io"),
        (r"50% \(approx\) \{a\|b\} \~ok", "50% (approx) {a|b} ~ok"),
        (r"{hashtag|\#|word} on", "#word on"),
        ("{hashtag|#|word} on", "#word on"),
        ("#größe und #1", "#größe und #1"),
        ("two\n\nlines", "two\n\nlines"),
    ],
)
def test_little_text_when_it_parses_then_all_of_it_is_shown(source, shown):
    text = read_little_text(source)
    assert (text.plain, text.end) == (shown, len(source))


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("a (b)", "a "),
        ("a_b", "a"),
        ("x # y", "x "),
        ("x#y", "x"),
        ("a @ b", "a "),
        ("@[Ann](https://a.test) x", ""),
        ("@[Ann (Lee)](urn:li:person:AbC)", ""),
        ("back\\slash", "back"),
        ("end\\", "end"),
        ("{hashtag|word}", ""),
        ("#snake_case", "#snake"),
    ],
)
def test_little_text_when_a_reserved_character_is_bare_then_it_is_cut_there(source, shown):
    assert read_little_text(source).plain == shown


@given(st.text())
def test_little_text_when_every_reserved_character_is_escaped_then_nothing_is_lost(text):
    escaped = "".join(f"\\{character}" if character in RESERVED else character for character in text)
    assert read_little_text(escaped).plain == text
