"""Posts as the API shows them: entries, groups and log lines, made from rows."""

from typing import Any, Literal

import msgspec

from postpost.database.pool import Row
from postpost.posts.rules import PostStatus, whole_status
from postpost.times import format_time

GroupStatusName = Literal["draft", "scheduled", "published", "failed", "partially_published"]
EntryStatusName = Literal["draft", "scheduled", "pending", "processing", "published", "failed"]


class PostErrorView(msgspec.Struct, frozen=True, rename="camel"):
    """Why an entry failed (spec errors.md 5.1); all six fields are always present."""

    code: str
    message: str
    platform_status_code: int | None
    platform_error: str | None
    failed_at: str
    retryable: bool


class EntryView(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One entry of `posts` in get-post: a platform post, or one part of a thread (spec rest-api.md 3.2)."""

    id: str = msgspec.field(name="_id")
    platform: str
    platform_id: str
    content: str
    status: EntryStatusName
    posted_id: str | msgspec.UnsetType = msgspec.UNSET
    error: PostErrorView | msgspec.UnsetType = msgspec.UNSET


class TargetView(msgspec.Struct, frozen=True, rename="camel"):
    """One account of a group in list-posts; `platform_id` is the compound id."""

    platform_id: str
    platform: str
    status: EntryStatusName


class GroupView(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One group in list-posts (spec rest-api.md 3.5)."""

    post_group_id: str
    content: str
    status: GroupStatusName
    scheduled_time: str | msgspec.UnsetType = msgspec.UNSET
    created_at: str
    updated_at: str
    platforms: list[TargetView]
    media_urls: list[str]


class LogView(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """One line of post-logs (spec rest-api.md 3.6)."""

    id: str = msgspec.field(name="_id")
    post_group_id: str
    event: Literal[
        "scheduled", "processing", "publish_attempted", "publish_succeeded", "publish_failed", "status_changed"
    ]
    post_id: str | msgspec.UnsetType = msgspec.UNSET
    platform: str | msgspec.UnsetType = msgspec.UNSET
    error: str | msgspec.UnsetType = msgspec.UNSET
    http_status: int | msgspec.UnsetType = msgspec.UNSET
    retry_count: int | msgspec.UnsetType = msgspec.UNSET
    metadata: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET
    created_at: str
    updated_at: str


class UpdatedGroup(msgspec.Struct, frozen=True, rename="camel", kw_only=True):
    """A group after update-post (spec rest-api.md 3.3)."""

    id: str = msgspec.field(name="_id")
    status: Literal["draft", "scheduled"]
    scheduled_time: str | msgspec.UnsetType = msgspec.UNSET


def entry_views(row: Row) -> list[EntryView]:
    """Return the entries of one platform post: itself, or its parts once the publisher has split it."""
    _, _, account = row["platform_id"].partition("-")
    if not row["parts"]:
        return [
            EntryView(
                id=row["id"],
                platform=row["platform"],
                platform_id=account,
                content=row["content"],
                status=row["status"],
                posted_id=_unless_none(row["posted_id"] if row["status"] == PostStatus.PUBLISHED else None),
                error=_error(row["error"]) if row["status"] == PostStatus.FAILED else msgspec.UNSET,
            )
        ]
    return [
        EntryView(
            id=part["id"],
            platform=row["platform"],
            platform_id=account,
            content=part["content"],
            status=_part_status(part["status"], row["status"]),
            posted_id=_unless_none(part.get("postedId") if part["status"] == PostStatus.PUBLISHED else None),
            error=_error(part["error"]) if part["status"] == PostStatus.FAILED else msgspec.UNSET,
        )
        for part in row["parts"]
    ]


def _part_status(part: str, post: str) -> Any:
    """Return a part's status; one that waits, waits as its platform post does."""
    return post if part == PostStatus.SCHEDULED else part


def _target_status(post: str, parts: list[str] | None) -> Any:
    """Return the status of a platform post as a whole: of a thread that is under way, that of its slowest part."""
    return whole_status(PostStatus(_part_status(part, post)) for part in parts) if parts else post


def _error(stored: Any) -> PostErrorView:
    return msgspec.convert(stored, PostErrorView)


def _unless_none(value: Any) -> Any:
    return msgspec.UNSET if value is None else value


def group_view(row: Row) -> GroupView:
    """Return a group as list-posts shows it."""
    statuses = map(_target_status, row["statuses"], row["part_statuses"])
    targets = zip(row["platform_ids"], row["platforms"], statuses, strict=True)
    return GroupView(
        post_group_id=row["id"],
        content=row["content"],
        status=row["status"],
        scheduled_time=format_time(row["scheduled_at"]) if row["scheduled_at"] is not None else msgspec.UNSET,
        created_at=format_time(row["created_at"]),
        updated_at=format_time(row["updated_at"]),
        platforms=[TargetView(*target) for target in targets],
        media_urls=[],
    )


def log_view(group_id: str, row: Row) -> LogView:
    """Return one log line; its id is made of its time and its place, so it needs no column."""
    created_at = format_time(row["created_at"])
    return LogView(
        id=f"{int(row['created_at'].timestamp()):08x}{row['seq']:016x}",
        post_group_id=group_id,
        event=row["event"],
        post_id=_unless_none(row["post_id"]),
        platform=_unless_none(row["platform"]),
        error=_unless_none(row["error"]),
        http_status=_unless_none(row["http_status"]),
        retry_count=_unless_none(row["retry_count"]),
        metadata=_unless_none(row["metadata"]),
        created_at=created_at,
        updated_at=created_at,
    )
