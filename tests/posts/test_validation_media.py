import pytest

from tests.posts.validating import JPEG, MIB, MP4, image, messages, validate, video

MEDIA = {
    "x-5-images": ("twitter", [JPEG] * 5, ["Too many images for Twitter/X (5 attached, maximum 4)"]),
    "x-2-videos": ("twitter", [MP4] * 2, ["Too many videos for Twitter/X (2 attached, maximum 1)"]),
    "facebook-mixed": ("facebook", [JPEG, MP4], ["Facebook posts cannot mix images and videos"]),
    "instagram-mixed": ("instagram", [JPEG, MP4], ["Instagram posts cannot mix images and videos"]),
    "tiktok-mixed": ("tiktok", [MP4, JPEG], ["TikTok does not support images"]),
    "tiktok-images": ("tiktok", [JPEG, JPEG], ["TikTok posts require a video"]),
    "tiktok-2s": ("tiktok", [video(duration=2)], ["Video duration (2s) is below TikTok's 3s minimum"]),
    "tiktok-3s": ("tiktok", [video(duration=3, frame_rate=23)], []),
    "tiktok-23.976": ("tiktok", [video(frame_rate=23.976)], []),
    "tiktok-22.9": ("tiktok", [video(frame_rate=22.9)], ["Video FPS is below minimum requirement"]),
    "tiktok-all-at-once": (
        "tiktok",
        [video(mime_type="video/avi", size=4096 * MIB + 1, duration=601, frame_rate=10)],
        [
            'Video format "video/x-msvideo" is not supported on TikTok',
            "Video (4096.0MB) exceeds TikTok's 4096.0MB limit",
            "Video duration (10m 1s) exceeds TikTok's 10m 0s limit",
            "Video FPS is below minimum requirement",
        ],
    ),
    "instagram-webp": ("instagram", [image(mime_type="image/webp")], []),
    "instagram-same-png-thrice": (
        "instagram",
        [image(mime_type="image/png")] * 3,
        ['Image format "image/png" is not supported on Instagram'],
    ),
    "instagram-wide": (
        "instagram",
        [image(width=3000, height=1000)],
        ["Image aspect ratio (3.00) is outside Instagram's 0.80 to 1.91 range"],
    ),
    "instagram-4:5": ("instagram", [image(width=1080, height=1350)], []),
    "instagram-1.91": ("instagram", [image(width=1910, height=1000)], []),
    "instagram-thin-video": (
        "instagram",
        [video(width=1, height=101)],
        ["Video aspect ratio is outside the supported range"],
    ),
    "instagram-10-videos": ("instagram", [MP4] * 10, []),
    "instagram-11-images": ("instagram", [JPEG] * 11, ["Too many images for Instagram (11 attached, maximum 10)"]),
    "instagram-15min": ("instagram", [video(duration=900)], []),
    "instagram-over-15min": (
        "instagram",
        [video(duration=900.5)],
        ["Video duration (15m 1s) exceeds Instagram's 15m 0s limit"],
    ),
    "bluesky-2001": (
        "bluesky",
        [image(width=2001, height=100)],
        ["Image dimensions (2001x100) exceed Bluesky's 2000x2000 limit"],
    ),
    "bluesky-2000": ("bluesky", [image(width=2000, height=2000, size=999997)], []),
    "bluesky-59s": (
        "bluesky",
        [video(duration=59, size=60 * MIB)],
        ["Video (60.0MB) exceeds Bluesky's 50.0MB limit"],
    ),
    "bluesky-60s": ("bluesky", [video(duration=60, size=60 * MIB)], []),
    "bluesky-unknown-duration": ("bluesky", [video(size=60 * MIB)], []),
    "youtube-12h": (
        "youtube",
        [video(duration=43201)],
        ["Video duration (12h 0m 1s) exceeds YouTube's 12h 0m 0s limit"],
    ),
    "nothing-known": ("twitter", [video()], []),
    "facebook-webm": (
        "facebook",
        [video(mime_type="video/webm")],
        ['Video format "video/webm" is not supported on Facebook'],
    ),
    "alias": ("instagram", [image(mime_type="IMAGE/JPG")], []),
}


@pytest.mark.parametrize(("key", "media", "expected"), MEDIA.values(), ids=MEDIA)
def test_check_when_media_then_the_messages_of_the_spec(key, media, expected):
    assert messages(validate(key, media=media)) == expected


def test_check_when_instagram_image_ratio_is_outside_then_a_warning_with_values():
    found = validate("instagram", media=[image(width=3000, height=1000)])
    assert found["valid"]
    (item,) = found["warnings"]
    assert (item["currentValue"], item["minValue"], item["maxValue"]) == ("3.00", "0.80", "1.91")


@pytest.mark.parametrize(
    ("media", "message"),
    [
        pytest.param(video(duration=61), "Video duration (1m 1s) exceeds Instagram's 1m 0s limit", id="duration"),
        pytest.param(video(size=100 * MIB + 1), "Video (100.0MB) exceeds Instagram's 100.0MB limit", id="size"),
        pytest.param(video(width=9, height=91), "Video aspect ratio is outside the supported range", id="ratio"),
    ],
)
def test_check_when_instagram_story_then_its_own_bounds(media, message):
    assert validate("instagram", media=[media])["valid"]
    found = validate("instagram", media=[media], settings={"instagram": {"videoType": "STORIES"}})
    assert messages(found) == [message]


@pytest.mark.parametrize("key", ["instagram", "threads"])
def test_check_when_platform_fetches_media_and_none_is_public_then_error(key):
    name = {"instagram": "Instagram", "threads": "Threads"}[key]
    found = validate(key, media=[JPEG], public=False)
    assert messages(found) == [f"{name} fetches media from a public address; PUBLIC_MEDIA_URL is not set"]


def test_check_when_no_media_is_public_but_there_is_none_then_not_mentioned():
    assert validate("threads", content="x", public=False)["valid"]


@pytest.mark.parametrize(
    ("key", "facts", "media", "message"),
    [
        pytest.param(
            "mastodon",
            {"video_size_limit": 40 * MIB},
            video(size=41 * MIB),
            "Video (41.0MB) exceeds Mastodon's 40.0MB limit",
            id="mastodon-video",
        ),
        pytest.param(
            "mastodon",
            {"image_size_limit": 10 * MIB},
            image(size=11 * MIB),
            "Image (11.0MB) exceeds Mastodon's 10.0MB limit",
            id="mastodon-image",
        ),
        pytest.param(
            "tiktok",
            {"max_video_post_duration_sec": 300},
            video(duration=301),
            "Video duration (5m 1s) exceeds TikTok's 5m 0s limit",
            id="tiktok-creator",
        ),
    ],
)
def test_check_when_account_has_its_own_limits_then_they_hold(key, facts, media, message):
    assert messages(validate(key, media=[media], facts=facts)) == [message]


def test_check_when_telegram_has_a_local_server_then_its_larger_limit():
    assert validate("telegram", media=[video(size=2000 * MIB)], facts={"video_size_limit": 2000 * MIB})["valid"]
