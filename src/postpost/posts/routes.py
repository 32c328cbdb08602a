"""HTTP in and out of posts: the eight routes of `/api/v1` that create, read and change post groups."""

from typing import Annotated, Any, Literal

import msgspec
from litestar import Request, delete, get, post, put
from litestar.params import FromPath
from litestar.types import ASGIApp

from postpost import errors
from postpost.http.bodies import (
    DEFAULT_PAGE_SIZE,
    MAX_PAGE,
    MAX_PAGE_SIZE,
    first_values,
    page_number,
    page_size,
    read_object,
)
from postpost.http.openapi import FORM_MEDIA_TYPES, JSON_MEDIA_TYPE, Parameter, RouteDoc
from postpost.http.transport import json_response
from postpost.posts import requests
from postpost.posts.rules import GroupStatus
from postpost.posts.validation_items import Validation
from postpost.posts.views import EntryView, GroupView, LogView, UpdatedGroup
from postpost.services import actor_of, identify, services_of

AnyRequest = Request[Any, Any, Any]

_ID_SCHEMA = {"type": "string", "pattern": "^[0-9a-fA-F]{24}$"}
GROUP_ID = Parameter("postGroupId", "path", "Id of a post group.", _ID_SCHEMA, required=True)

# What clients should send, for the description alone: the routes read bodies by `requests`, and more leniently.
Content = Annotated[str, msgspec.Meta(pattern=r"\S")]
PlatformIds = Annotated[
    list[Annotated[str, msgspec.Meta(pattern=f"^{requests.PLATFORM_ID.pattern}$")]], msgspec.Meta(min_length=1)
]
Time = Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


class CreateBody(msgspec.Struct, rename="camel", omit_defaults=True):
    """An order for one or more connected accounts."""

    content: Content
    platforms: PlatformIds
    scheduled_time: Time | None = None
    platform_settings: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    status: Literal["draft"] | None = None


class Created(msgspec.Struct, rename="camel", frozen=True):
    """The order was taken down."""

    success: Literal[True]
    post_group_id: str


@post("/create-post", status_code=200, opt={"unexpected": errors.C14})
async def create_post(request: AnyRequest) -> ASGIApp:
    """Take down a post group."""
    caller = await identify(request)
    body = await read_object(request, forms=True)
    key = request.headers.get("idempotency-key")
    group_id = await services_of(request).posts.create(actor_of(caller), body, key)
    return json_response(Created(True, group_id))


class GroupEntries(msgspec.Struct, rename="camel", frozen=True):
    """What became of a post group: exactly these three fields."""

    success: Literal[True]
    post_group_id: str
    posts: list[EntryView]


@get("/get-post/{group_id:str}", opt={"unexpected": errors.G2})
async def get_post(request: AnyRequest, group_id: FromPath[str]) -> ASGIApp:
    """Show the entries of a group."""
    caller = await identify(request)
    entries = await services_of(request).posts.fetch(caller.account_id, group_id)
    return json_response(GroupEntries(True, group_id.lower(), entries))


class UpdateBody(msgspec.Struct, rename="camel", omit_defaults=True):
    """The new state of a group; at least one of the two."""

    status: Literal["draft", "scheduled"] | None = None
    scheduled_time: Time | None = None


class Updated(msgspec.Struct, rename="camel", frozen=True):
    """The group as it is now."""

    success: Literal[True]
    message: str
    post_group: UpdatedGroup


@put("/update-post/{group_id:str}", opt={"unexpected": errors.U7})
async def update_post(request: AnyRequest, group_id: FromPath[str]) -> ASGIApp:
    """Change status or time of a group."""
    caller = await identify(request)
    body = await read_object(request, forms=False)
    updated = await services_of(request).posts.update(actor_of(caller), group_id, body)
    return json_response(Updated(True, "Post updated successfully", updated))


class Done(msgspec.Struct, frozen=True):
    """It is done."""

    success: Literal[True]


@delete("/delete-post/{group_id:str}", status_code=200, opt={"unexpected": errors.D2})
async def delete_post(request: AnyRequest, group_id: FromPath[str]) -> ASGIApp:
    """Delete a group."""
    caller = await identify(request)
    await services_of(request).posts.delete(caller.account_id, group_id)
    return json_response(Done(True))


class Pagination(msgspec.Struct, rename="camel", frozen=True):
    """Where a page stands among all that match."""

    page: int
    limit: int
    total_items: int
    total_pages: int
    has_next_page: bool
    has_prev_page: bool


class GroupPage(msgspec.Struct, rename="camel", frozen=True):
    """One page of groups."""

    success: Literal[True]
    posts: list[GroupView]
    pagination: Pagination


@get("/list-posts", opt={"unexpected": errors.L5})
async def list_posts(request: AnyRequest) -> ASGIApp:
    """List groups, filtered, sorted and by pages."""
    caller = await identify(request)
    query = first_values(request.scope["query_string"])
    wanted = requests.read_list(query)
    page, limit = page_number(query.get("page")), page_size(query.get("limit"))
    groups, total = await services_of(request).posts.fetch_page(caller.account_id, wanted, page=page, limit=limit)
    pages = -(-total // limit)
    return json_response(GroupPage(True, groups, Pagination(page, limit, total, pages, page < pages, page > 1)))


class GroupLogs(msgspec.Struct, frozen=True):
    """The log of a group, oldest first."""

    success: Literal[True]
    logs: list[LogView]


@get("/post-logs/{group_id:str}", opt={"unexpected": errors.P2})
async def post_logs(request: AnyRequest, group_id: FromPath[str]) -> ASGIApp:
    """Show what happened to a group."""
    caller = await identify(request)
    return json_response(GroupLogs(True, await services_of(request).posts.logs(caller.account_id, group_id)))


class MediaFact(msgspec.Struct, rename="camel", omit_defaults=True):
    """What is known of a file; only the type is required, unknown facts skip their checks."""

    type: Literal["image", "video"]
    mime_type: str | None = None
    size: float | None = None
    width: float | None = None
    height: float | None = None
    duration: float | None = None
    frame_rate: float | None = None


class ValidateBody(msgspec.Struct, rename="camel", omit_defaults=True):
    """A group by its id, or the content and targets of a post that is not created."""

    post_group_id: str | None = None
    content: str | msgspec.UnsetType = msgspec.UNSET
    platforms: PlatformIds | msgspec.UnsetType = msgspec.UNSET
    platform_settings: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    media: Annotated[list[MediaFact], msgspec.Meta(max_length=requests.MAX_MEDIA)] | None = None


class Validated(msgspec.Struct, frozen=True):
    """The verdict of the platforms' rules; 200 whether valid or not."""

    success: Literal[True]
    validation: Validation


@post("/validate-post", status_code=200, opt={"unexpected": errors.V3})
async def validate_post(request: AnyRequest) -> ASGIApp:
    """Check a post against the rules of its platforms; nothing is stored."""
    caller = await identify(request)
    body = await read_object(request, forms=True)
    return json_response(Validated(True, await services_of(request).posts.validate(caller.account_id, body)))


class RetryBody(msgspec.Struct, rename="camel", omit_defaults=True):
    """Whether posts that may be live already are sent again, too."""

    include_unknown_outcome: bool = False


class Retried(msgspec.Struct, rename="camel", frozen=True):
    """The platform posts that were queued again, by compound id."""

    success: Literal[True]
    post_group_id: str
    retried: list[str]


@post("/retry-post/{group_id:str}", status_code=200, opt={"unexpected": errors.R3})
async def retry_post(request: AnyRequest, group_id: FromPath[str]) -> ASGIApp:
    """Queue the failed posts of a group again."""
    caller = await identify(request)
    body = await read_object(request, forms=False)
    retried = await services_of(request).posts.retry(
        actor_of(caller), group_id, include_unknown_outcome=body.get("includeUnknownOutcome") is True
    )
    return json_response(Retried(True, group_id.lower(), retried))


ROUTES = (create_post, get_post, update_post, delete_post, list_posts, post_logs, validate_post, retry_post)

_TEXT: dict[str, Any] = {"type": "string"}
_DATE: dict[str, Any] = {"type": "string", "format": "date"}


def _number(least: int, most: int, default: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": least, "maximum": most, "default": default}


def _choice(*names: str, default: str | None = None) -> dict[str, Any]:
    return {"type": "string", "enum": list(names), **({} if default is None else {"default": default})}


_KEY = Parameter(
    "Idempotency-Key",
    "header",
    "The same key with the same body gets the first answer again for 24 hours. At most 255 characters.",
    {"type": "string", "maxLength": 255},
    example="order-4711",
)
_CREATE_EXAMPLE = {
    "content": "Hello from PostPost!",
    "platforms": ["twitter-123456", "bluesky-did:plc:abc"],
    "scheduledTime": "2030-03-15T14:00:00.000Z",
}

DOCS = (
    RouteDoc(
        "POST",
        "/create-post",
        "Create a post group",
        Created,
        errors=[f"C{n}" for n in range(1, 15)] + [f"E{n}" for n in range(1, 8)],
        description=(
            "Schedules one content for one or more connected accounts. Without `scheduledTime` the group stays a "
            "draft; a time up to five minutes ago means now. What becomes of it stands on the entries of `get-post`."
        ),
        parameters=[_KEY],
        body=CreateBody,
        body_media_types=(JSON_MEDIA_TYPE, *FORM_MEDIA_TYPES),
        body_example=_CREATE_EXAMPLE,
    ),
    RouteDoc(
        "GET",
        "/get-post/{postGroupId}",
        "Show what became of a post group",
        GroupEntries,
        errors=["G1", "G2"],
        description="One entry for each platform post, or for each part of a thread.",
        parameters=[GROUP_ID],
    ),
    RouteDoc(
        "PUT",
        "/update-post/{postGroupId}",
        "Reschedule, pause or resume a post group",
        Updated,
        errors=[f"U{n}" for n in range(1, 8)] + [f"E{n}" for n in range(1, 8)],
        description="Possible until the dispatcher takes the group at its time.",
        parameters=[GROUP_ID],
        body=UpdateBody,
        body_example={"scheduledTime": "2030-03-15T14:00:00.000Z"},
    ),
    RouteDoc(
        "DELETE",
        "/delete-post/{postGroupId}",
        "Delete a post group",
        Done,
        errors=["D1", "D2"],
        description="What is already on a platform stays there; what is not yet sent is not sent.",
        parameters=[GROUP_ID],
    ),
    RouteDoc(
        "GET",
        "/list-posts",
        "List post groups",
        GroupPage,
        errors=["L1", "L2", "L3", "L4", "L5"],
        parameters=[
            Parameter("page", "query", "Page, from 1.", _number(1, MAX_PAGE, 1), example="1"),
            Parameter(
                "limit", "query", "Groups on a page.", _number(1, MAX_PAGE_SIZE, DEFAULT_PAGE_SIZE), example="20"
            ),
            Parameter("status", "query", "Groups with this status.", _choice(*GroupStatus)),
            Parameter("platform", "query", "Groups with a post for this platform.", _TEXT, example="twitter"),
            Parameter("sortBy", "query", "What to sort by.", _choice(*requests.SORT_FIELDS, default="createdAt")),
            Parameter("sortOrder", "query", "Everything but asc means desc.", _choice("asc", "desc", default="desc")),
            Parameter("fromDate", "query", "Scheduled at or after.", _DATE, example="2030-01-01"),
            Parameter("toDate", "query", "Scheduled at or before.", _DATE, example="2030-12-31"),
        ],
    ),
    RouteDoc(
        "GET",
        "/post-logs/{postGroupId}",
        "Show what happened to a post group",
        GroupLogs,
        errors=["P1", "P2"],
        description="At most the first 100 events, oldest first.",
        parameters=[GROUP_ID],
    ),
    RouteDoc(
        "POST",
        "/validate-post",
        "Check a post against the platforms' rules",
        Validated,
        errors=["V1", "V2", "V3", "C1", "C2", "C3", "C4", "C5", "C6", "C9", "C10", "C11"],
        description="Takes a `postGroupId`, or `content`, `platforms` and facts about media. Nothing is stored.",
        body=ValidateBody,
        body_media_types=(JSON_MEDIA_TYPE, *FORM_MEDIA_TYPES),
        body_example={"content": "Hello", "platforms": ["twitter-123456"]},
    ),
    RouteDoc(
        "POST",
        "/retry-post/{postGroupId}",
        "Queue the failed posts of a group again",
        Retried,
        errors=["R1", "R2", "R3", "E6", "E7"],
        parameters=[GROUP_ID],
        body=RetryBody,
        body_required=False,
        body_example={"includeUnknownOutcome": False},
    ),
)
