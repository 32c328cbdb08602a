from html.parser import HTMLParser
from typing import Any, Literal

import msgspec
import pytest
import schemathesis

from postpost.errors import A5, LimitExceeded
from postpost.http.openapi import FORM_MEDIA_TYPES, JSON_MEDIA_TYPE, Parameter, RouteDoc, build, docs_page


class Order(msgspec.Struct, rename="camel", omit_defaults=True):
    """What is to be published, and where."""

    content: str
    platforms: list[str] | str
    scheduled_time: str | None = None
    status: Literal["draft"] | None = None


class Created(msgspec.Struct, rename="camel"):
    """The order was taken down."""

    success: Literal[True]
    post_group_id: str


class Deleted(msgspec.Struct):
    """It is gone."""

    success: Literal[True]


GROUP_ID = Parameter("postGroupId", "path", "The group's `id`.", {"type": "string"}, example="664f1a2b3c4d5e6f7a8b9c0d")
ROUTES = [
    RouteDoc(
        "POST",
        "/create-post",
        "Create a post",
        Created,
        errors=("C1", "C6", "C14", "E1", "E2"),
        description="Takes `content` down.\n\nPublishes <later>.",
        body=Order,
        body_media_types=(JSON_MEDIA_TYPE, *FORM_MEDIA_TYPES),
        body_example={"content": "It's here", "platforms": ["twitter-1"]},
        response_example={"success": True, "postGroupId": "664f1a2b3c4d5e6f7a8b9c0d"},
    ),
    RouteDoc(
        "DELETE", "/delete-post/{postGroupId}", "Delete a post", Deleted, errors=("D1", "D2"), parameters=[GROUP_ID]
    ),
    RouteDoc("GET", "/health", "See whether it lives", Deleted, needs_key=False, tag="Operation"),
]
DOCUMENT = build(ROUTES, version="1.2.3", server="/api/v1")


def operation(path: str, method: str) -> Any:
    return DOCUMENT["paths"][path][method]


def resolved(schema: Any) -> Any:
    return DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]]


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if "$ref" in value else set()
        return own.union(*map(references, value.values()))
    return set().union(*map(references, value)) if isinstance(value, list | tuple) else set()


def test_build_when_loaded_by_a_reader_of_openapi_then_it_finds_every_operation() -> None:
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    found = [found.ok().label for found in schema.get_all_operations()]
    assert found == ["POST /create-post", "DELETE /delete-post/{postGroupId}", "GET /health"]


def test_build_when_a_schema_is_referred_to_then_it_is_there() -> None:
    for reference in references(DOCUMENT):
        at: Any = DOCUMENT
        for name in reference.removeprefix("#/").split("/"):
            at = at[name]


def test_build_when_a_route_has_errors_then_every_status_it_can_answer_is_listed() -> None:
    assert list(operation("/create-post", "post")["responses"]) == [
        *("200", "400", "401", "403", "413", "415", "429", "500", "503")
    ]
    assert list(operation("/delete-post/{postGroupId}", "delete")["responses"]) == [
        *("200", "400", "401", "403", "404", "429", "500", "503")
    ]
    assert list(operation("/health", "get")["responses"]) == ["200", "400", "429", "503"]


def test_build_when_errors_share_a_status_then_each_has_its_line_and_its_example() -> None:
    answer = operation("/create-post", "post")["responses"]["400"]
    assert [row["id"] for row in answer["x-errors"]] == ["C1", "C6", "A8", "T4", "T4-form", "T8"]
    examples = answer["content"][JSON_MEDIA_TYPE]["examples"]
    assert examples["C1"]["value"] == {"error": "Content is required"}


def test_build_when_an_error_has_a_message_then_its_example_has_it_too() -> None:
    examples = operation("/create-post", "post")["responses"]["403"]["content"][JSON_MEDIA_TYPE]["examples"]
    assert examples["A5"]["value"] == {"error": A5.error, "message": A5.message}


def test_build_when_a_route_meets_limits_then_their_answer_fits_the_schema() -> None:
    schema = operation("/create-post", "post")["responses"]["403"]["content"][JSON_MEDIA_TYPE]["schema"]
    limit = resolved(schema["anyOf"][0])
    body = LimitExceeded.connections("Starter", limit=3, used=5).body()
    assert limit["title"] == "LimitExceeded"
    assert set(limit["required"]) <= set(body) <= set(limit["properties"])
    assert len(limit["required"]) == 11


@pytest.mark.parametrize("status", ["429", "503"])
def test_build_when_waiting_helps_then_retry_after_is_announced(status: str) -> None:
    assert set(operation("/health", "get")["responses"][status]["headers"]) == {"x-request-id", "Retry-After"}


def test_build_when_a_body_is_read_as_a_form_too_then_every_media_type_is_listed() -> None:
    content = operation("/create-post", "post")["requestBody"]["content"]
    assert list(content) == [JSON_MEDIA_TYPE, *FORM_MEDIA_TYPES]
    assert resolved(content[JSON_MEDIA_TYPE]["schema"])["required"] == ["content", "platforms"]


def test_build_when_a_route_needs_no_key_then_it_says_so() -> None:
    assert operation("/health", "get")["security"] == []
    assert operation("/create-post", "post")["security"] == [{"apiKey": []}]


def test_build_when_an_error_id_is_unknown_then_it_fails() -> None:
    with pytest.raises(KeyError, match="Q99"):
        build([RouteDoc("GET", "/x", "X", Deleted, errors=("Q99",))], version="1")


def test_build_when_encoded_then_it_is_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(DOCUMENT)) == msgspec.to_builtins(DOCUMENT)


class Page(HTMLParser):
    """Notes what a page links to, loads, and leaves open."""

    VOID = frozenset({"meta", "link", "br", "img", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        if "id" in given:
            self.ids.add(given["id"])
        self.links.update(given[name] for name in ("href", "src") if name in given)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_docs_page_when_rendered_then_every_tag_is_closed_and_every_link_leads_somewhere() -> None:
    page = Page(docs_page(DOCUMENT))
    assert page.open == []
    assert {link.removeprefix("#") for link in page.links} <= page.ids


def test_docs_page_when_rendered_then_it_loads_nothing_and_runs_nothing() -> None:
    page = Page(docs_page(DOCUMENT))
    assert all(link.startswith("#") for link in page.links)
    assert {"script", "img", "link", "iframe"}.isdisjoint(page.tags)


def test_docs_page_when_rendered_then_text_is_escaped_and_code_is_marked() -> None:
    text = docs_page(DOCUMENT)
    assert "Publishes &lt;later&gt;." in text
    assert "Takes <code>content</code> down." in text


@pytest.mark.parametrize(
    "shown",
    [
        "curl -X DELETE &#39;http://localhost:8080/api/v1/delete-post/664f1a2b3c4d5e6f7a8b9c0d&#39;",
        "-H &#34;x-api-key: $POSTPOST_API_KEY&#34;",
        "It&#39;\\&#39;&#39;s here",
        "Content is required",
        "POST_LIMIT_REACHED",
        "array of string or string",
    ],
)
def test_docs_page_when_rendered_then_it_shows(shown: str) -> None:
    assert shown in docs_page(DOCUMENT)
