"""What each platform accepts, as data: text, images, videos and what may go together (spec platform-rules.md 1 to 6).

Every number is written once, here. Units: `*_bytes` are bytes, `*_seconds` seconds, `*_pixels` pixels; a ratio is
width by height. All limits are inclusive; None means no limit, or that the limit does not apply.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

JPEG, PNG, GIF, WEBP, BMP, TIFF = ("image/jpeg", "image/png", "image/gif", "image/webp", "image/bmp", "image/tiff")
MP4, MOV, AVI, MKV, WEBM = ("video/mp4", "video/quicktime", "video/x-msvideo", "video/x-matroska", "video/webm")

MIME_ALIASES: Mapping[str, str] = {
    "image/jpg": JPEG,
    "image/pjpeg": JPEG,
    "image/x-ms-bmp": BMP,
    "video/avi": AVI,
    "video/msvideo": AVI,
    "video/vnd.avi": AVI,
}
"""Other names of the same type (spec platform-rules.md 4)."""


class Unit(StrEnum):
    """How a platform counts its text (spec platform-rules.md 3.3)."""

    X = "x"
    THREADS = "threads"
    GRAPHEMES = "graphemes"
    MASTODON = "mastodon"
    UTF8 = "utf8"
    UTF16 = "utf16"
    TELEGRAM = "telegram"


@dataclass(frozen=True, slots=True)
class TextLimits:
    """Limits of a post's text, counted in `unit` where no other unit is named.

    `marker_reserve` is kept free for the ` (k/N)` of a thread's part; `link_weight` is what a link counts;
    `title_max` counts code points; `caption_max` holds beside media, where longer text follows as a reply.
    """

    max: int
    unit: Unit
    max_bytes: int | None = None
    link_weight: int | None = None
    marker_reserve: int | None = None
    max_links: int | None = None
    max_hashtags: int | None = None
    max_mentions: int | None = None
    title_max: int | None = None
    caption_max: int | None = None


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """Limits of the images of one post, checked on the upload, before any conversion."""

    max_count: int
    max_bytes: int
    types: tuple[str, ...]
    converted_to_jpeg: tuple[str, ...] = ()
    max_width_pixels: int | None = None
    max_height_pixels: int | None = None
    min_ratio: float | None = None
    max_ratio: float | None = None
    ratio_severity: str = "warning"


@dataclass(frozen=True, slots=True)
class VideoBounds:
    """Bounds of one video where they differ from the platform's ordinary ones; None keeps the ordinary one."""

    max_bytes: int | None = None
    max_seconds: int | None = None
    min_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class VideoLimits:
    """Limits of the videos of one post.

    `carousel` holds for several videos together (only where `max_count_carousel` allows them), `stories` for a single
    one published as a story. `max_bytes_short` holds below `short_seconds`. `advised_fps` is the rate that we advise.
    """

    max_count: int
    max_bytes: int
    types: tuple[str, ...]
    min_seconds: int | None = None
    max_seconds: int | None = None
    min_fps: float | None = None
    advised_fps: int | None = None
    min_ratio: float | None = None
    max_ratio: float | None = None
    max_count_carousel: int | None = None
    carousel: VideoBounds | None = None
    stories: VideoBounds | None = None
    short_seconds: int | None = None
    max_bytes_short: int | None = None


@dataclass(frozen=True, slots=True)
class PlatformLimits:
    """One platform's rules. `fetches_media`: it loads media from a public address instead of taking an upload.

    `chains_need_approval`: posts of several parts stay blocked until the operator enables reply chains.
    """

    key: str
    name: str
    supported: bool = True
    text_only: bool = True
    requires_media: bool = False
    requires_video: bool = False
    threading: bool = False
    chains_need_approval: bool = False
    fetches_media: bool = False
    text: TextLimits | None = None
    image: ImageLimits | None = None
    video: VideoLimits | None = None


PLATFORMS: tuple[PlatformLimits, ...] = (
    PlatformLimits(
        key="twitter",
        name="Twitter/X",
        threading=True,
        # 280 for every account, Premium included; every link weighs 23 in X's own count (spec platform-rules.md 3).
        text=TextLimits(max=280, unit=Unit.X, link_weight=23, marker_reserve=10),
        image=ImageLimits(max_count=4, max_bytes=5 * MIB, types=(JPEG, PNG, GIF, WEBP)),
        video=VideoLimits(max_count=1, max_bytes=512 * MIB, types=(MP4, MOV), max_seconds=120),
    ),
    PlatformLimits(
        key="linkedin",
        name="LinkedIn",
        text=TextLimits(max=3000, unit=Unit.UTF16),
        image=ImageLimits(max_count=10, max_bytes=5 * MIB, types=(JPEG, PNG, GIF, WEBP), converted_to_jpeg=(WEBP,)),
        video=VideoLimits(max_count=1, max_bytes=500 * MIB, types=(MP4,), max_seconds=30 * 60),
    ),
    PlatformLimits(
        key="instagram",
        name="Instagram",
        text_only=False,
        requires_media=True,
        fetches_media=True,
        # 30 hashtags and 20 mentions are Instagram's own rule (spec platform-rules.md 3.1).
        text=TextLimits(max=2200, unit=Unit.UTF16, max_hashtags=30, max_mentions=20),
        # 4:5 to 1.91:1; outside it a carousel is cropped and a single image may be refused.
        image=ImageLimits(
            max_count=10,
            max_bytes=8 * MIB,
            types=(JPEG, WEBP),
            converted_to_jpeg=(WEBP,),
            min_ratio=0.8,
            max_ratio=1.91,
        ),
        # Reels of 3 s to 15 min; several videos together, and stories, at most 60 s (spec platform-rules.md 5).
        video=VideoLimits(
            max_count=1,
            max_bytes=300 * MIB,
            types=(MP4, MOV),
            min_seconds=3,
            max_seconds=15 * 60,
            min_ratio=0.01,
            max_ratio=10,
            max_count_carousel=10,
            carousel=VideoBounds(max_seconds=60),
            stories=VideoBounds(max_bytes=100 * MIB, max_seconds=60, min_ratio=0.1),
        ),
    ),
    PlatformLimits(
        key="threads",
        name="Threads",
        threading=True,
        chains_need_approval=True,
        fetches_media=True,
        # Five different links (spec platform-rules.md 3.1).
        text=TextLimits(max=500, unit=Unit.THREADS, max_links=5, marker_reserve=10),
        image=ImageLimits(max_count=10, max_bytes=8 * MIB, types=(JPEG, PNG, WEBP), converted_to_jpeg=(WEBP,)),
        video=VideoLimits(max_count=1, max_bytes=500 * MIB, types=(MP4, MOV), max_seconds=5 * 60),
    ),
    PlatformLimits(
        key="tiktok",
        name="TikTok",
        text_only=False,
        requires_media=True,
        requires_video=True,
        text=TextLimits(max=2200, unit=Unit.UTF16),
        # 10 min unless the creator's own maximum is known. 23.976 frames a second must pass; the advice is 24.
        video=VideoLimits(
            max_count=1,
            max_bytes=4 * GIB,
            types=(MP4, MOV, WEBM),
            min_seconds=3,
            max_seconds=10 * 60,
            min_fps=23,
            advised_fps=24,
        ),
    ),
    PlatformLimits(
        key="youtube",
        name="YouTube",
        text_only=False,
        requires_media=True,
        requires_video=True,
        text=TextLimits(max=5000, unit=Unit.UTF8, title_max=100),
        video=VideoLimits(max_count=1, max_bytes=256 * GIB, types=(MP4, MOV, AVI, WEBM), max_seconds=12 * 3600),
    ),
    PlatformLimits(
        key="facebook",
        name="Facebook",
        text=TextLimits(max=63206, unit=Unit.UTF16),
        image=ImageLimits(
            max_count=10, max_bytes=10 * MIB, types=(JPEG, PNG, GIF, BMP, TIFF, WEBP), converted_to_jpeg=(WEBP,)
        ),
        video=VideoLimits(max_count=1, max_bytes=2 * GIB, types=(MP4, MOV, AVI, MKV), max_seconds=45 * 60),
    ),
    PlatformLimits(
        key="bluesky",
        name="Bluesky",
        text=TextLimits(max=300, unit=Unit.GRAPHEMES, max_bytes=3000),
        # 976.56 KB, rounded down; every image becomes a JPEG (spec platform-rules.md 4 and 7.3).
        image=ImageLimits(
            max_count=4,
            max_bytes=999_997,
            types=(JPEG, PNG, WEBP, GIF, BMP, TIFF),
            converted_to_jpeg=(JPEG, PNG, WEBP, GIF, BMP, TIFF),
            max_width_pixels=2000,
            max_height_pixels=2000,
        ),
        video=VideoLimits(
            max_count=1,
            max_bytes=100 * MIB,
            types=(MP4,),
            max_seconds=3 * 60,
            short_seconds=60,
            max_bytes_short=50 * MIB,
        ),
    ),
    PlatformLimits(
        key="mastodon",
        name="Mastodon",
        # mastodon.social's figures; an instance's own, where known, replace them (spec platform-rules.md 3 to 5).
        text=TextLimits(max=500, unit=Unit.MASTODON, link_weight=23),
        image=ImageLimits(max_count=4, max_bytes=16 * MIB, types=(JPEG, PNG, GIF, WEBP)),
        video=VideoLimits(max_count=1, max_bytes=99 * MIB, types=(MP4, MOV, WEBM)),
    ),
    PlatformLimits(
        key="telegram",
        name="Telegram",
        text=TextLimits(max=4096, unit=Unit.TELEGRAM, caption_max=1024),
        image=ImageLimits(
            max_count=10, max_bytes=10 * MIB, types=(JPEG, PNG, GIF, BMP, WEBP), converted_to_jpeg=(WEBP,)
        ),
        # 50 MB through the public Bot API; a local Bot API server takes 2 000 MB (the connection's facts say so).
        video=VideoLimits(max_count=1, max_bytes=50 * MIB, types=(MP4, MOV, AVI, MKV, WEBM)),
    ),
    PlatformLimits(key="pinterest", name="Pinterest", supported=False, text_only=False, requires_media=True),
)
"""All known platforms, in the order in which lists show them."""

LIMITS: Mapping[str, PlatformLimits] = {limits.key: limits for limits in PLATFORMS}
"""The same by platform key."""


def find_supported(key: str) -> PlatformLimits | None:
    """Return the limits of a platform that can be published to; None for `pinterest` and for unknown keys."""
    limits = LIMITS.get(key)
    return limits if limits is not None and limits.supported else None


def normalize_mime_type(mime_type: str) -> str:
    """Return a MIME type in lower case, without parameters, under its usual name (spec platform-rules.md 4)."""
    bare = mime_type.partition(";")[0].strip().lower()
    return MIME_ALIASES.get(bare, bare)
