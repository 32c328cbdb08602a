"""Pure decisions about post groups: states, transitions, roll-up, and what an update may do."""

from collections.abc import Iterable, Mapping
from enum import StrEnum


class GroupStatus(StrEnum):
    """Status of a post group as the API shows it (spec errors.md 7)."""

    DRAFT = "draft"
    SCHEDULED = "scheduled"
    PUBLISHED = "published"
    FAILED = "failed"
    PARTIALLY_PUBLISHED = "partially_published"


class PostStatus(StrEnum):
    """Status of a platform post, or of one part of a thread (spec errors.md 7)."""

    DRAFT = "draft"
    SCHEDULED = "scheduled"
    PENDING = "pending"
    PROCESSING = "processing"
    PUBLISHED = "published"
    FAILED = "failed"


class ProcessingStatus(StrEnum):
    """Where a group stands in the engine; shown in no `/api/v1` answer."""

    PENDING = "pending"
    PROCESSING = "processing"
    FINISHED = "finished"


START = PostStatus.DRAFT

TRANSITIONS: Mapping[PostStatus, frozenset[PostStatus]] = {
    PostStatus.DRAFT: frozenset({PostStatus.SCHEDULED}),
    PostStatus.SCHEDULED: frozenset({PostStatus.DRAFT, PostStatus.PENDING}),
    # Back to pending: waiting for a retry, for the platform's processing, or for the platform's rate limit.
    PostStatus.PENDING: frozenset({PostStatus.PROCESSING}),
    PostStatus.PROCESSING: frozenset({PostStatus.PENDING, PostStatus.PUBLISHED, PostStatus.FAILED}),
    PostStatus.PUBLISHED: frozenset(),
    # Only retry-post leads out of failed.
    PostStatus.FAILED: frozenset({PostStatus.SCHEDULED}),
}
"""Every allowed step in a platform post's life; the store's UPDATEs name the status they start from."""

OPEN_STATUSES = (PostStatus.SCHEDULED, PostStatus.PENDING, PostStatus.PROCESSING)
"""Statuses that count as pending posts in plan limits (spec plans.md 3.2)."""


def _check_transitions() -> None:
    reached = {START}
    while missing := {after for status in reached for after in TRANSITIONS[status]} - reached:
        reached |= missing
    assert reached == set(PostStatus), f"unreachable: {set(PostStatus) - reached}"


_check_transitions()


def roll_up(entries: Iterable[PostStatus]) -> GroupStatus:
    """Return the group status that follows from its entries, thread parts counted one by one (spec errors.md 7)."""
    seen = set(entries)
    if seen & set(OPEN_STATUSES):
        return GroupStatus.SCHEDULED
    if seen == {PostStatus.PUBLISHED}:
        return GroupStatus.PUBLISHED
    if seen == {PostStatus.FAILED}:
        return GroupStatus.FAILED
    if PostStatus.DRAFT in seen:
        return GroupStatus.DRAFT
    return GroupStatus.PARTIALLY_PUBLISHED


def locked_status(status: GroupStatus, processing: ProcessingStatus, *, any_published: bool) -> str | None:
    """Return the status that forbids an update, as U6 names it, or None when the group can be changed."""
    if processing is ProcessingStatus.PROCESSING:
        return "processing"
    if status not in (GroupStatus.DRAFT, GroupStatus.SCHEDULED):
        return status
    if any_published:  # a group under retry whose other part is already on a platform
        return GroupStatus.PARTIALLY_PUBLISHED
    return None


ADVANCEMENT = {status: rank for rank, status in enumerate(PostStatus)}


def whole_status(parts: Iterable[PostStatus]) -> PostStatus:
    """Return the status of a platform post whose thread parts have these (spec rest-api.md 3.5)."""
    seen = list(parts)
    if PostStatus.FAILED in seen:
        return PostStatus.FAILED
    return min(seen, key=ADVANCEMENT.__getitem__)
