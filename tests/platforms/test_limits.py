from dataclasses import asdict

import pytest

from postpost.platforms.limits import LIMITS, PLATFORMS, Unit, find_supported, normalize_mime_type

ORDER = [
    "twitter",
    "linkedin",
    "instagram",
    "threads",
    "tiktok",
    "youtube",
    "facebook",
    "bluesky",
    "mastodon",
    "telegram",
    "pinterest",
]


def test_platforms_when_listed_then_in_the_order_of_the_api():
    assert [limits.key for limits in PLATFORMS] == ORDER
    assert list(LIMITS) == ORDER


@pytest.mark.parametrize(
    ("key", "maximum", "unit"),
    [
        ("twitter", 280, Unit.X),
        ("linkedin", 3000, Unit.UTF16),
        ("instagram", 2200, Unit.UTF16),
        ("threads", 500, Unit.THREADS),
        ("tiktok", 2200, Unit.UTF16),
        ("youtube", 5000, Unit.UTF8),
        ("facebook", 63206, Unit.UTF16),
        ("bluesky", 300, Unit.GRAPHEMES),
        ("mastodon", 500, Unit.MASTODON),
        ("telegram", 4096, Unit.TELEGRAM),
    ],
)
def test_text_limits_when_read_then_as_the_platform_rules_say(key, maximum, unit):
    assert (LIMITS[key].text.max, LIMITS[key].text.unit) == (maximum, unit)


@pytest.mark.parametrize(
    ("key", "count", "size"),
    [
        ("twitter", 4, 5242880),
        ("linkedin", 10, 5242880),
        ("instagram", 10, 8388608),
        ("threads", 10, 8388608),
        ("facebook", 10, 10485760),
        ("bluesky", 4, 999997),
        ("mastodon", 4, 16777216),
        ("telegram", 10, 10485760),
    ],
)
def test_image_limits_when_read_then_as_the_platform_rules_say(key, count, size):
    assert (LIMITS[key].image.max_count, LIMITS[key].image.max_bytes) == (count, size)


@pytest.mark.parametrize(
    ("key", "size", "shortest", "longest"),
    [
        ("twitter", 536870912, None, 120),
        ("linkedin", 524288000, None, 1800),
        ("instagram", 314572800, 3, 900),
        ("threads", 524288000, None, 300),
        ("tiktok", 4294967296, 3, 600),
        ("youtube", 274877906944, None, 43200),
        ("facebook", 2147483648, None, 2700),
        ("bluesky", 104857600, None, 180),
        ("mastodon", 103809024, None, None),
        ("telegram", 52428800, None, None),
    ],
)
def test_video_limits_when_read_then_as_the_platform_rules_say(key, size, shortest, longest):
    video = LIMITS[key].video
    assert (video.max_count, video.max_bytes, video.min_seconds, video.max_seconds) == (1, size, shortest, longest)


@pytest.mark.parametrize("key", ["tiktok", "youtube"])
def test_image_limits_when_platform_takes_only_videos_then_none(key):
    assert LIMITS[key].image is None
    assert LIMITS[key].requires_video


def test_converted_types_when_listed_then_also_accepted():
    for limits in PLATFORMS:
        if limits.image is not None:
            assert set(limits.image.converted_to_jpeg) <= set(limits.image.types)


def test_media_rules_when_video_is_required_then_media_is_too():
    for limits in PLATFORMS:
        assert limits.requires_media or not limits.requires_video
        assert limits.text_only is not limits.requires_media


def test_find_supported_when_platform_has_no_connector_then_none():
    assert find_supported("pinterest") is None
    assert find_supported("myspace") is None
    assert find_supported("twitter") is LIMITS["twitter"]


def test_limits_when_read_then_frozen_and_plain():
    assert asdict(LIMITS["bluesky"])["image"]["max_width_pixels"] == 2000
    with pytest.raises(AttributeError):
        LIMITS["bluesky"].image.max_count = 5


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("image/jpg", "image/jpeg"),
        ("IMAGE/PJPEG", "image/jpeg"),
        ("image/x-ms-bmp", "image/bmp"),
        ("video/avi", "video/x-msvideo"),
        ("video/vnd.avi", "video/x-msvideo"),
        ("video/mp4; codecs=avc1", "video/mp4"),
        ("", ""),
    ],
)
def test_normalize_mime_type_when_alias_or_parameters_then_usual_name(given, expected):
    assert normalize_mime_type(given) == expected
