"""The checks of a post's media: what is required, what may go together, and each image and video by itself."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from postpost.platforms.limits import ImageLimits, PlatformLimits, VideoBounds, VideoLimits, normalize_mime_type
from postpost.posts.validation_items import (
    Code,
    Item,
    Severity,
    format_duration,
    format_megabytes,
    format_ratio,
    make_item,
)
from postpost.values import Json

MIN_CAROUSEL_ITEMS = 2

FPS_TOO_LOW = "Video FPS is below minimum requirement"
VIDEO_RATIO_OUTSIDE = "Video aspect ratio is outside the supported range"


class MediaFacts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is known of one file; None is unknown, and skips the checks that need it.

    `size` in bytes, `width` and `height` in pixels as shown, `duration` in seconds, `frame_rate` in frames a second.
    """

    type: Literal["image", "video"]
    mime_type: str | None = None
    size: int | None = None
    width: int | None = None
    height: int | None = None
    duration: float | None = None
    frame_rate: float | None = None


def check_media(
    limits: PlatformLimits,
    media: Sequence[MediaFacts],
    settings: Mapping[str, Json],
    facts: Mapping[str, Json],
    *,
    public_media: bool,
) -> Iterator[Item]:
    """Yield the findings about the media in the order of spec validation.md 4, steps 3 to 6.

    `settings` are the platform's own; `facts` are the account's. `public_media` says whether platforms can reach
    the stored files.
    """
    images = [file for file in media if file.type == "image"]
    videos = [file for file in media if file.type == "video"]
    name = limits.name
    if limits.requires_video and not videos:
        yield make_item(
            limits, Code.VIDEO_REQUIRED, "video", f"{name} posts require a video", constraint="requiredType"
        )
        return
    if limits.requires_media and not media:
        yield make_item(limits, Code.MEDIA_REQUIRED, "media", f"{name} posts require media")
    yield from _check_kinds(limits, images, videos)
    if limits.fetches_media and media and not public_media:
        message = f"{name} fetches media from a public address; PUBLIC_MEDIA_URL is not set"
        yield make_item(limits, Code.MEDIA_NOT_REACHABLE, "media", message)
    if limits.image is not None:
        yield from _check_count(limits, "images", len(images), limits.image.max_count)
    if limits.video is not None:
        yield from _check_count(
            limits, "videos", len(videos), limits.video.max_count_carousel or limits.video.max_count
        )
    bounds = _video_bounds(limits.video, media, settings)
    for file in media:
        if file.type == "image" and limits.image is not None:
            yield from _check_image(limits, limits.image, file, facts)
        elif file.type == "video" and limits.video is not None:
            yield from _check_video(limits, limits.video, bounds, file, facts)


def known_number(facts: Mapping[str, Json], name: str, default: int | None = None) -> int | None:
    """Return a number that the account's own facts give, else the default."""
    value = facts.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else default


def _check_kinds(limits: PlatformLimits, images: Sequence[MediaFacts], videos: Sequence[MediaFacts]) -> Iterator[Item]:
    if not (images and videos):
        return
    if limits.requires_video:
        message = f"{limits.name} does not support images"
        yield make_item(
            limits, Code.IMAGES_NOT_SUPPORTED, "media", message, constraint="requiredType", current=len(images)
        )
    else:
        message = f"{limits.name} posts cannot mix images and videos"
        yield make_item(limits, Code.MEDIA_TYPE_NOT_SUPPORTED, "media", message, constraint="mixedMedia")


def _check_count(limits: PlatformLimits, kind: str, number: int, maximum: int) -> Iterator[Item]:
    if number > maximum:
        yield make_item(
            limits,
            Code.MEDIA_COUNT_EXCEEDED,
            "media",
            f"Too many {kind} for {limits.name} ({number} attached, maximum {maximum})",
            constraint="maxCount",
            current=number,
            max_value=maximum,
        )


def _video_bounds(
    limits: VideoLimits | None, media: Sequence[MediaFacts], settings: Mapping[str, Json]
) -> VideoBounds | None:
    """Return the bounds of a story or of a carousel, where the platform has such and the post is one."""
    if limits is None:
        return None
    if len(media) >= MIN_CAROUSEL_ITEMS:
        return limits.carousel
    return limits.stories if settings.get("videoType") == "STORIES" else None


def _check_type(limits: PlatformLimits, kind: str, file: MediaFacts, types: Sequence[str]) -> Iterator[Item]:
    if file.mime_type is None:
        return
    mime_type = normalize_mime_type(file.mime_type)
    if mime_type not in types:
        yield make_item(
            limits,
            Code.MEDIA_TYPE_NOT_SUPPORTED,
            f"{kind.lower()}Format",
            f'{kind} format "{mime_type}" is not supported on {limits.name}',
            constraint="allowedTypes",
            current=mime_type,
        )


def _check_size(limits: PlatformLimits, kind: str, file: MediaFacts, maximum: int) -> Iterator[Item]:
    if file.size is not None and file.size > maximum:
        yield make_item(
            limits,
            Code.MEDIA_SIZE_EXCEEDED,
            f"{kind.lower()}Size",
            f"{kind} ({format_megabytes(file.size)}) exceeds {limits.name}'s {format_megabytes(maximum)} limit",
            constraint="maxSize",
            current=file.size,
            max_value=maximum,
        )


def _check_image(
    limits: PlatformLimits, image: ImageLimits, file: MediaFacts, facts: Mapping[str, Json]
) -> Iterator[Item]:
    yield from _check_type(limits, "Image", file, image.types)
    yield from _check_size(limits, "Image", file, known_number(facts, "image_size_limit") or image.max_bytes)
    if not file.width or not file.height:
        return
    max_width, max_height = image.max_width_pixels, image.max_height_pixels
    if max_width and max_height and (file.width > max_width or file.height > max_height):
        size, bound = f"{file.width}x{file.height}", f"{max_width}x{max_height}"
        yield make_item(
            limits,
            Code.MEDIA_DIMENSIONS_INVALID,
            "imageDimensions",
            f"Image dimensions ({size}) exceed {limits.name}'s {bound} limit",
            constraint="maxDimensions",
            current=size,
            max_value=bound,
        )
    ratio, low, high = file.width / file.height, image.min_ratio, image.max_ratio
    if low is not None and high is not None and not low <= ratio <= high:
        message = (
            f"Image aspect ratio ({format_ratio(ratio)}) is outside {limits.name}'s "
            f"{format_ratio(low)} to {format_ratio(high)} range"
        )
        yield _ratio_item(limits, "imageDimensions", message, Severity(image.ratio_severity), (ratio, low, high))


def _check_video(
    limits: PlatformLimits,
    video: VideoLimits,
    bounds: VideoBounds | None,
    file: MediaFacts,
    facts: Mapping[str, Json],
) -> Iterator[Item]:
    yield from _check_type(limits, "Video", file, video.types)
    yield from _check_size(limits, "Video", file, _max_video_bytes(video, bounds, file, facts))
    low = bounds.min_ratio if bounds is not None and bounds.min_ratio is not None else video.min_ratio
    if file.width and file.height and low is not None and video.max_ratio is not None:
        ratio = file.width / file.height
        if not low <= ratio <= video.max_ratio:
            values = (ratio, low, video.max_ratio)
            yield _ratio_item(limits, "videoDimensions", VIDEO_RATIO_OUTSIDE, Severity.ERROR, values)
    yield from _check_duration(limits, video, bounds, file, facts)
    if video.min_fps is not None and file.frame_rate is not None and file.frame_rate < video.min_fps:
        yield make_item(
            limits,
            Code.VIDEO_FPS_TOO_LOW,
            "videoFps",
            FPS_TOO_LOW,
            constraint="minFps",
            current=file.frame_rate,
            min_value=video.min_fps,
            suggestions=(f"Re-encode the video with at least {video.advised_fps} FPS",),
        )


def _max_video_bytes(
    video: VideoLimits, bounds: VideoBounds | None, file: MediaFacts, facts: Mapping[str, Json]
) -> int:
    if bounds is not None and bounds.max_bytes is not None:
        return bounds.max_bytes
    if video.short_seconds is not None and video.max_bytes_short is not None and file.duration is not None:
        return video.max_bytes_short if file.duration < video.short_seconds else video.max_bytes
    # An instance that takes no video at all says 0, and is believed.
    known = known_number(facts, "video_size_limit")
    return video.max_bytes if known is None else known


def _check_duration(
    limits: PlatformLimits,
    video: VideoLimits,
    bounds: VideoBounds | None,
    file: MediaFacts,
    facts: Mapping[str, Json],
) -> Iterator[Item]:
    if file.duration is None:
        return
    maximum = known_number(facts, "max_video_post_duration_sec") or video.max_seconds
    if bounds is not None and bounds.max_seconds is not None:
        maximum = bounds.max_seconds
    if maximum is not None and file.duration > maximum:
        # The reference fixes this wording of the carousel's bound (spec validation.md 3.4).
        is_carousel = bounds is not None and bounds is video.carousel
        bound = f"{maximum}s carousel" if is_carousel else format_duration(maximum)
        yield make_item(
            limits,
            Code.VIDEO_DURATION_EXCEEDED,
            "videoDuration",
            f"Video duration ({format_duration(file.duration)}) exceeds {limits.name}'s {bound} limit",
            constraint="maxDuration",
            current=file.duration,
            max_value=maximum,
        )
    if video.min_seconds is not None and file.duration < video.min_seconds:
        shown, bound = format_duration(file.duration), format_duration(video.min_seconds)
        yield make_item(
            limits,
            Code.VIDEO_DURATION_TOO_SHORT,
            "videoDuration",
            f"Video duration ({shown}) is below {limits.name}'s {bound} minimum",
            constraint="minDuration",
            current=file.duration,
            min_value=video.min_seconds,
        )


def _ratio_item(
    limits: PlatformLimits, field: str, message: str, severity: Severity, values: tuple[float, float, float]
) -> Item:
    """Build an item about a ratio; `values` are the found one, the least and the greatest."""
    current, low, high = map(format_ratio, values)
    return make_item(
        limits,
        Code.MEDIA_DIMENSIONS_INVALID,
        field,
        message,
        severity=severity,
        constraint="aspectRatio",
        current=current,
        max_value=high,
        min_value=low,
    )
