import pytest
from hypothesis import given
from hypothesis import strategies as st

from postpost.platforms.telegram_markup import Entity, parse_markup, utf16_length

MARKUP = st.text(alphabet="ab *_`[]()>\n😀/:http", max_size=80)


@pytest.mark.parametrize(
    ("source", "text", "entities"),
    [
        pytest.param("plain", "plain", [], id="plain"),
        pytest.param("*bold*", "bold", [Entity("bold", 0, 4)], id="bold"),
        pytest.param("_it_", "it", [Entity("italic", 0, 2)], id="italic"),
        pytest.param("a `x*y*` b", "a x*y* b", [Entity("code", 2, 4)], id="code"),
        pytest.param("```\na\nb\n```", "a\nb", [Entity("pre", 0, 3)], id="block"),
        pytest.param("```python\nx = 1\n```", "x = 1", [Entity("pre", 0, 5, None, "python")], id="block-language"),
        pytest.param("```x```", "x", [Entity("pre", 0, 1)], id="block-on-one-line"),
        pytest.param("[site](https://a.co/x)", "site", [Entity("text_link", 0, 4, "https://a.co/x")], id="link"),
        pytest.param(
            "[w](https://a.co/x_(y))", "w", [Entity("text_link", 0, 1, "https://a.co/x_(y)")], id="link-parentheses"
        ),
        pytest.param("> one\n> two\nthree", "one\ntwo\nthree", [Entity("blockquote", 0, 7)], id="quote"),
        pytest.param("😀 *b*", "😀 b", [Entity("bold", 3, 1)], id="utf16-offset"),
        pytest.param("*a _b_ c*", "a b c", [Entity("bold", 0, 5), Entity("italic", 2, 1)], id="nested"),
        pytest.param("*a _b* c_", "a _b c_", [Entity("bold", 0, 4)], id="overlap"),
        pytest.param("**bold**", "**bold**", [], id="double-star"),
        pytest.param("5 * 3 * 2", "5 * 3 * 2", [], id="arithmetic"),
        pytest.param("snake_case_name", "snake_case_name", [], id="snake-case"),
        pytest.param("*open", "*open", [], id="no-partner"),
        pytest.param("`open", "`open", [], id="code-no-partner"),
        pytest.param("```open", "```open", [], id="block-no-partner"),
        pytest.param("[a](b)", "[a](b)", [], id="link-without-address"),
        pytest.param("a > b", "a > b", [], id="greater-than"),
        pytest.param("*a `b` c*", "*a b c*", [Entity("code", 3, 1)], id="code-in-bold"),
    ],
)
def test_parse_markup_when_marks_have_partners_then_entities(source, text, entities):
    marked = parse_markup(source)
    assert marked.text == text
    assert list(marked.entities) == entities


@given(MARKUP)
def test_parse_markup_when_anything_then_entities_lie_inside_the_text(source):
    marked = parse_markup(source)
    total = utf16_length(marked.text)
    assert all(entity.length > 0 and 0 <= entity.offset <= total - entity.length for entity in marked.entities)


@given(MARKUP)
def test_parse_markup_when_anything_then_entities_never_overlap_in_part(source):
    entities = parse_markup(source).entities
    for first in entities:
        for second in entities:
            if first.offset < second.offset < first.offset + first.length:
                assert second.offset + second.length <= first.offset + first.length


@given(st.text(alphabet="abc .,!?\n", max_size=80))
def test_parse_markup_when_no_marks_then_text_as_it_is(source):
    assert parse_markup(source).text == source
