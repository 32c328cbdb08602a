"""The validator: which rules of the platforms a post breaks, and what of it would be published.

Pure: it reads no clock, no environment and no database. The dashboard, validate-post and the publisher share it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from postpost.platforms.limits import LIMITS, PlatformLimits, TextLimits, Unit, find_supported
from postpost.posts.settings import Settings, merge_settings
from postpost.posts.splitting import Blocked, Nothing, Parts, Split, TooLong, split
from postpost.posts.text import (
    count,
    count_bytes,
    count_different_links,
    count_hashtags,
    count_mentions,
    prepare,
    text_limits,
)
from postpost.posts.validation_items import Code, Item, Severity, Validation, assemble, make_item
from postpost.posts.validation_media import MediaFacts, check_media, known_number
from postpost.posts.validation_settings import check_settings
from postpost.values import Json

CHAINS_BLOCKED = (
    "Multi-part threads (nested replies) are temporarily blocked while we wait for Meta to approve additional "
    "permissions for our app."
)
SYSTEM_ERROR = "Validation could not be completed"


@dataclass(frozen=True, slots=True)
class Target:
    """One account that a post goes to: its platform key, and what is known of its own limits.

    Facts that are read: `max_characters`, `characters_reserved_per_url`, `image_size_limit` and `video_size_limit` in
    bytes, `max_video_post_duration_sec`, `privacy_level_options`. Others, and values of a wrong type, are ignored.
    """

    platform: str
    facts: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Abilities:
    """What the operator's installation allows.

    `threads_reply_chains`: posts of several parts on platforms that want an approval for them. `public_media`:
    platforms can fetch the stored media from a public address.
    """

    threads_reply_chains: bool = False
    public_media: bool = False


@dataclass(frozen=True, slots=True)
class Ready:
    """A platform post that breaks no rule: the text of each part; one empty string for media without text."""

    parts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Invalid:
    """A platform post that may not be sent: the first error's message, and all findings (spec validation.md 6)."""

    message: str
    validation: Validation


def check(
    targets: Sequence[Target],
    content: str,
    settings: Mapping[str, Json] | None,
    media: Sequence[MediaFacts],
    *,
    threads_reply_chains: bool = False,
    public_media: bool = False,
    report_failure: Callable[[str, Exception], None] = lambda _platform, _error: None,
) -> Validation:
    """Check a post for all its targets, in the order of spec validation.md 4. Never raises.

    `settings` are platformSettings by platform, merged or not. A fault of our own on one platform becomes its
    VALIDATION_SYSTEM_ERROR and is handed to `report_failure` with the platform's key, to be logged.
    """
    abilities = Abilities(threads_reply_chains, public_media)
    items: list[Item] = []
    for platform in dict.fromkeys(target.platform for target in targets):
        own_targets = [target for target in targets if target.platform == platform]
        try:
            merged = merge_settings(settings, (platform,))
            found = [
                item for target in own_targets for item in _check_target(target, content, merged, media, abilities)
            ]
        except Exception as error:  # noqa: BLE001 - one platform's fault must not hide what the others find
            report_failure(platform, error)
            limits = LIMITS.get(platform) or PlatformLimits(key=platform, name=platform, supported=False)
            found = [make_item(limits, Code.VALIDATION_SYSTEM_ERROR, "system", SYSTEM_ERROR)]
        items += found
    return assemble(items)


def render(
    target: Target,
    content: str,
    settings: Mapping[str, Json] | None,
    media: Sequence[MediaFacts],
    *,
    threads_reply_chains: bool = False,
    public_media: bool = False,
) -> Ready | Invalid:
    """Check one platform post just before it is published, and return its text as it will be sent.

    Unlike `check` it lets our own faults raise: the publisher retries them like any internal error.
    """
    abilities = Abilities(threads_reply_chains, public_media)
    validation = assemble(
        _check_target(target, content, merge_settings(settings, (target.platform,)), media, abilities)
    )
    if validation.errors:
        return Invalid(validation.errors[0].message, validation)
    outcome = split(content, target.platform, reply_chains=threads_reply_chains)
    return Ready(outcome.parts if isinstance(outcome, Parts) else ("",))


def _check_target(
    target: Target, content: str, settings: Settings, media: Sequence[MediaFacts], abilities: Abilities
) -> Iterator[Item]:
    limits = find_supported(target.platform)
    if limits is None:
        yield _not_supported(target.platform)
        return
    own_settings = settings.get(limits.key, {})
    yield from _check_text(limits, target, content, own_settings, bool(media), abilities)
    yield from check_media(limits, media, own_settings, target.facts, public_media=abilities.public_media)
    yield from check_settings(limits, own_settings, target.facts)


def _not_supported(key: str) -> Item:
    limits = LIMITS.get(key) or PlatformLimits(key=key, name=key, supported=False)
    return make_item(limits, Code.PLATFORM_NOT_SUPPORTED, "platform", f'Platform "{key}" is not supported', current=key)


def _check_text(
    limits: PlatformLimits,
    target: Target,
    content: str,
    settings: Mapping[str, Json],
    has_media: bool,
    abilities: Abilities,
) -> Iterator[Item]:
    text = prepare(content, limits.key)
    if limits.threading:
        outcome = split(content, limits.key, reply_chains=abilities.threads_reply_chains)
        yield from _check_thread(limits, outcome, has_media)
        if isinstance(outcome, Blocked):
            return
    elif not text and limits.text_only and not has_media:
        yield _nothing_to_publish(limits)
    else:
        yield from _check_length(limits, target, text, settings, has_media)
    yield from _check_contents(limits, text_limits(limits.key), text)


def _nothing_to_publish(limits: PlatformLimits) -> Item:
    return make_item(limits, Code.CONTENT_OR_MEDIA_REQUIRED, "content", f"{limits.name} posts require text or media")


def _check_thread(limits: PlatformLimits, outcome: Split, has_media: bool) -> Iterator[Item]:
    """Yield the findings about the parts of a thread (spec threading.md 9 and 10)."""
    limit = text_limits(limits.key).max
    match outcome:
        case Nothing():
            if not has_media:
                yield _nothing_to_publish(limits)
        case Blocked(count=length) if length > limit:
            yield _too_long(limits, length, limit, message=CHAINS_BLOCKED)
        case Blocked():
            yield make_item(limits, Code.INVALID_PLATFORM_CONTENT, "content", CHAINS_BLOCKED)
        case TooLong(long_parts=long_parts):
            for part in long_parts:
                message = (
                    f"Thread part {part.number} exceeds {limits.name}'s {limit} character limit "
                    f"(currently {part.count})"
                )
                yield _too_long(limits, part.count, limit, message=message, code=Code.THREAD_PART_TOO_LONG)
        case Parts(longest=longest):
            if longest > limit:
                yield _too_long(limits, longest, limit, severity=Severity.WARNING)


def _check_length(
    limits: PlatformLimits, target: Target, text: str, settings: Mapping[str, Json], has_media: bool
) -> Iterator[Item]:
    """Yield the findings about the length where the text is never divided."""
    rules = text_limits(limits.key)
    limit = rules.max
    spoiler, link_weight = "", None
    if rules.unit is Unit.MASTODON:
        limit = known_number(target.facts, "max_characters") or limit
        link_weight = known_number(target.facts, "characters_reserved_per_url")
        given = settings.get("spoilerText")
        spoiler = given if isinstance(given, str) else ""
    length = count(text, limits.key, spoiler=spoiler, link_weight=link_weight)
    if length > limit:
        yield _too_long(limits, length, limit)
    elif rules.max_bytes is not None and (size := count_bytes(text)) > rules.max_bytes:
        yield _too_long(limits, size, rules.max_bytes)
    elif rules.caption_max is not None and has_media and length > rules.caption_max:
        yield _too_long(limits, length, rules.caption_max, severity=Severity.WARNING)


def _too_long(
    limits: PlatformLimits,
    length: int,
    limit: int,
    *,
    message: str | None = None,
    code: Code = Code.CONTENT_TOO_LONG,
    severity: Severity = Severity.ERROR,
) -> Item:
    return make_item(
        limits,
        code,
        "content",
        message or f"Content exceeds {limits.name}'s {limit} character limit (currently {length})",
        severity=severity,
        constraint="maxLength",
        current=length,
        max_value=limit,
    )


def _check_contents(limits: PlatformLimits, rules: TextLimits, text: str) -> Iterator[Item]:
    """Yield the findings about how many links, hashtags and mentions a text holds."""
    counters = (
        ("maxLinks", "links", rules.max_links, count_different_links),
        ("maxHashtags", "hashtags", rules.max_hashtags, count_hashtags),
        ("maxMentions", "mentions", rules.max_mentions, count_mentions),
    )
    for constraint, what, limit, counter in counters:
        if limit is None or (number := counter(text)) <= limit:
            continue
        yield make_item(
            limits,
            Code.INVALID_PLATFORM_CONTENT,
            "content",
            f"{limits.name} posts allow at most {limit} {what} (currently {number})",
            constraint=constraint,
            current=number,
            max_value=limit,
        )
