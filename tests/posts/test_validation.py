import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from postpost.platforms.limits import PLATFORMS
from postpost.posts.validation import CHAINS_BLOCKED, Invalid, Ready, Target, check, render
from postpost.posts.validation_items import Code
from postpost.posts.validation_media import MediaFacts
from tests.posts.validating import JPEG, MP4, image, messages, validate, video

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"


def test_check_when_text_goes_to_three_platforms_then_the_worked_object_5_1():
    assert validate("twitter", "instagram", "tiktok", content="a" * 300) == {
        "valid": False,
        "errors": [
            {
                "platform": "instagram",
                "code": "MEDIA_REQUIRED",
                "message": "Instagram posts require media",
                "field": "media",
                "severity": "error",
            },
            {
                "platform": "tiktok",
                "code": "VIDEO_REQUIRED",
                "message": "TikTok posts require a video",
                "field": "video",
                "severity": "error",
                "constraint": "requiredType",
            },
        ],
        "warnings": [
            {
                "platform": "twitter",
                "code": "CONTENT_TOO_LONG",
                "message": "Content exceeds Twitter/X's 280 character limit (currently 300)",
                "field": "content",
                "severity": "warning",
                "constraint": "maxLength",
                "currentValue": 300,
                "maxValue": 280,
            }
        ],
        "summary": {"affectedPlatforms": ["instagram", "tiktok", "twitter"], "errorCount": 2, "warningCount": 1},
    }


def test_check_when_one_png_goes_to_three_platforms_then_the_worked_object_5_2():
    media = [image(mime_type="image/png", size=2621440, width=1600, height=1600)]
    assert validate("instagram", "bluesky", "youtube", media=media) == {
        "valid": False,
        "errors": [
            {
                "platform": "instagram",
                "code": "MEDIA_TYPE_NOT_SUPPORTED",
                "message": 'Image format "image/png" is not supported on Instagram',
                "field": "imageFormat",
                "severity": "error",
                "constraint": "allowedTypes",
                "currentValue": "image/png",
            },
            {
                "platform": "bluesky",
                "code": "MEDIA_SIZE_EXCEEDED",
                "message": "Image (2.5MB) exceeds Bluesky's 1.0MB limit",
                "field": "imageSize",
                "severity": "error",
                "constraint": "maxSize",
                "currentValue": 2621440,
                "maxValue": 999997,
            },
            {
                "platform": "youtube",
                "code": "VIDEO_REQUIRED",
                "message": "YouTube posts require a video",
                "field": "video",
                "severity": "error",
                "constraint": "requiredType",
            },
        ],
        "warnings": [],
        "summary": {"affectedPlatforms": ["instagram", "bluesky", "youtube"], "errorCount": 3, "warningCount": 0},
    }


def test_check_when_long_and_slow_video_then_the_worked_object_5_3():
    media = [video(mime_type="video/mp4", duration=125.3, frame_rate=20.0)]
    assert validate("twitter", "tiktok", media=media) == {
        "valid": False,
        "errors": [
            {
                "platform": "twitter",
                "code": "VIDEO_DURATION_EXCEEDED",
                "message": "Video duration (2m 6s) exceeds Twitter/X's 2m 0s limit",
                "field": "videoDuration",
                "severity": "error",
                "constraint": "maxDuration",
                "currentValue": 125.3,
                "maxValue": 120,
            },
            {
                "platform": "tiktok",
                "code": "VIDEO_FPS_TOO_LOW",
                "message": "Video FPS is below minimum requirement",
                "field": "videoFps",
                "severity": "error",
                "constraint": "minFps",
                "currentValue": 20,
                "minValue": 23,
                "suggestions": ["Re-encode the video with at least 24 FPS"],
            },
        ],
        "warnings": [],
        "summary": {"affectedPlatforms": ["twitter", "tiktok"], "errorCount": 2, "warningCount": 0},
    }


def test_check_when_instagram_carousel_of_videos_then_the_worked_item_5_4():
    found = validate("instagram", media=[video(duration=30), video(duration=180)])
    assert messages(found) == ["Video duration (3m 0s) exceeds Instagram's 60s carousel limit"]
    assert (found["errors"][0]["currentValue"], found["errors"][0]["maxValue"]) == (180, 60)
    assert validate("instagram", media=[video(duration=180)])["valid"]


def test_check_when_telegram_caption_is_long_then_the_worked_object_5_5():
    assert validate("telegram", content="a" * 1500, media=[JPEG]) == {
        "valid": True,
        "errors": [],
        "warnings": [
            {
                "platform": "telegram",
                "code": "CONTENT_TOO_LONG",
                "message": "Content exceeds Telegram's 1024 character limit (currently 1500)",
                "field": "content",
                "severity": "warning",
                "constraint": "maxLength",
                "currentValue": 1500,
                "maxValue": 1024,
            }
        ],
        "summary": {"affectedPlatforms": ["telegram"], "errorCount": 0, "warningCount": 1},
    }


TEXTS = {
    "threads-blocked-long": ("threads", "a" * 501, [("CONTENT_TOO_LONG", CHAINS_BLOCKED, 501, 500)]),
    "threads-blocked": ("threads", "One\n---\nTwo", [("INVALID_PLATFORM_CONTENT", CHAINS_BLOCKED, None, None)]),
    "threads-500": ("threads", "a" * 500, []),
    "x-separators": ("twitter", "One\n---\nTwo", []),
    "x-three-parts": ("twitter", "\n---\n".join(["a" * 200] * 3), []),
    "x-explicit-long": (
        "twitter",
        "a" * 300 + " [1/2]\nB [2/2]",
        [
            (
                "THREAD_PART_TOO_LONG",
                "Thread part 1 exceeds Twitter/X's 280 character limit (currently 306)",
                306,
                280,
            )
        ],
    ),
    "x-han": (
        "twitter",
        "\u6f22" * 141,
        [("CONTENT_TOO_LONG", "Content exceeds Twitter/X's 280 character limit (currently 282)", 282, 280)],
    ),
    "bluesky-301": (
        "bluesky",
        "a" * 301,
        [("CONTENT_TOO_LONG", "Content exceeds Bluesky's 300 character limit (currently 301)", 301, 300)],
    ),
    "bluesky-bytes": (
        "bluesky",
        FAMILY * 300,
        [("CONTENT_TOO_LONG", "Content exceeds Bluesky's 3000 character limit (currently 7500)", 7500, 3000)],
    ),
    "telegram-4097": (
        "telegram",
        "a" * 4097,
        [("CONTENT_TOO_LONG", "Content exceeds Telegram's 4096 character limit (currently 4097)", 4097, 4096)],
    ),
    "x-empty": (
        "twitter",
        " ",
        [("CONTENT_OR_MEDIA_REQUIRED", "Twitter/X posts require text or media", None, None)],
    ),
    "x-case-23": (
        "twitter",
        "---",
        [("CONTENT_OR_MEDIA_REQUIRED", "Twitter/X posts require text or media", None, None)],
    ),
    "facebook-empty": (
        "facebook",
        "",
        [("CONTENT_OR_MEDIA_REQUIRED", "Facebook posts require text or media", None, None)],
    ),
    "pinterest": (
        "pinterest",
        "x",
        [("PLATFORM_NOT_SUPPORTED", 'Platform "pinterest" is not supported', "pinterest", None)],
    ),
    "unknown": ("myspace", "x", [("PLATFORM_NOT_SUPPORTED", 'Platform "myspace" is not supported', "myspace", None)]),
    "threads-links": (
        "threads",
        " ".join(f"https://a.co/{n}" for n in range(6)),
        [("INVALID_PLATFORM_CONTENT", "Threads posts allow at most 5 links (currently 6)", 6, 5)],
    ),
}


@pytest.mark.parametrize(("key", "content", "expected"), TEXTS.values(), ids=TEXTS)
def test_check_when_text_then_the_items_of_the_spec(key, content, expected):
    found = validate(key, content=content)
    items = found["errors"] + found["warnings"]
    keys = ("code", "message", "currentValue", "maxValue")
    assert [tuple(item.get(name) for name in keys) for item in items] == expected


@pytest.mark.parametrize(
    ("content", "constraint", "message"),
    [
        pytest.param("#a " * 31, "maxHashtags", "Instagram posts allow at most 30 hashtags (currently 31)", id="tags"),
        pytest.param("@a " * 21, "maxMentions", "Instagram posts allow at most 20 mentions (currently 21)", id="names"),
    ],
)
def test_check_when_instagram_text_holds_too_many_then_error(content, constraint, message):
    found = validate("instagram", content=content, media=[JPEG])
    assert [(item["constraint"], item["message"]) for item in found["errors"]] == [(constraint, message)]


@pytest.mark.parametrize("content", ["#a " * 30, "@a " * 20])
def test_check_when_instagram_text_holds_as_many_as_allowed_then_valid(content):
    assert validate("instagram", content=content, media=[JPEG])["valid"]


def test_check_when_youtube_text_is_over_its_bytes_then_error():
    found = validate("youtube", content="\u0430" * 2501, media=[MP4])
    assert messages(found) == ["Content exceeds YouTube's 5000 character limit (currently 5002)"]


def test_check_when_threads_may_chain_then_long_text_is_a_warning():
    found = validate("threads", content="a" * 501, chains=True)
    assert found["valid"]
    assert messages(found) == ["Content exceeds Threads's 500 character limit (currently 501)"]


def test_check_when_nothing_to_publish_on_a_thread_platform_but_media_then_valid():
    assert validate("twitter", content="---", media=[JPEG])["valid"]


def test_check_when_mastodon_instance_allows_more_then_its_own_limit():
    assert validate("mastodon", content="a" * 3000, facts={"max_characters": 5000})["valid"]
    found = validate("mastodon", content="a" * 5001, facts={"max_characters": 5000})
    assert messages(found) == ["Content exceeds Mastodon's 5000 character limit (currently 5001)"]


def test_check_when_mastodon_warning_counts_too_then_error():
    found = validate("mastodon", content="a" * 499, settings={"mastodon": {"spoilerText": "cw"}})
    assert messages(found) == ["Content exceeds Mastodon's 500 character limit (currently 501)"]


def test_check_when_mastodon_facts_are_nonsense_then_ignored():
    facts = {"max_characters": "many", "image_size_limit": None, "video_size_limit": True}
    assert validate("mastodon", content="a" * 500, media=[JPEG], facts=facts)["valid"]


def test_check_when_platform_has_two_accounts_then_listed_once():
    assert len(validate("twitter", "twitter", content="a" * 300)["warnings"]) == 1


def test_check_when_accounts_of_a_platform_differ_then_each_is_checked():
    targets = [Target("mastodon", {"max_characters": 1000}), Target("twitter"), Target("mastodon")]
    found = check(targets, "a" * 600, None, [])
    assert [item.current_value for item in found.errors] == [600]
    assert found.summary.affected_platforms == ("mastodon", "twitter")


def test_check_when_our_own_fault_then_the_other_platforms_are_still_reported():
    failed = []
    media = [video(duration=float("inf"))]
    found = check(
        [Target("twitter"), Target("instagram")], "x", None, media, report_failure=lambda *f: failed.append(f)
    )
    assert [(item.platform, item.code) for item in found.errors] == [
        ("twitter", Code.VALIDATION_SYSTEM_ERROR),
        ("instagram", Code.VALIDATION_SYSTEM_ERROR),
    ]
    assert [platform for platform, _ in failed] == ["twitter", "instagram"]


JSON = st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.lists(st.integers(), max_size=2)
FACTS = st.builds(
    MediaFacts,
    type=st.sampled_from(["image", "video"]),
    mime_type=st.none() | st.sampled_from(["image/png", "video/mp4", "x"]),
    size=st.none() | st.integers(0, 1 << 40),
    width=st.none() | st.integers(0, 5000),
    height=st.none() | st.integers(0, 5000),
    duration=st.none() | st.floats(0, 1e6),
    frame_rate=st.none() | st.floats(0, 240),
)
FIELDS = ["viewerSetting", "videoType", "title", "langs", "spoilerText", "language", "commercialContent"]
SETTINGS_OF_ANY_KIND = st.dictionaries(
    st.sampled_from([limits.key for limits in PLATFORMS]), JSON | st.dictionaries(st.sampled_from(FIELDS), JSON)
)


@given(
    st.lists(st.sampled_from([*(limits.key for limits in PLATFORMS), "myspace"]), max_size=4),
    st.text(max_size=600),
    SETTINGS_OF_ANY_KIND,
    st.lists(FACTS, max_size=5),
    st.dictionaries(st.sampled_from(["max_characters", "privacy_level_options", "video_size_limit"]), JSON),
)
def test_check_when_anything_then_a_consistent_object_without_system_error(keys, content, settings, media, facts):
    found = check([Target(key, facts) for key in keys], content, settings, media)
    assert found.valid is not bool(found.errors)
    assert (found.summary.error_count, found.summary.warning_count) == (len(found.errors), len(found.warnings))
    assert len(set(found.errors)) == len(found.errors)
    assert Code.VALIDATION_SYSTEM_ERROR not in {item.code for item in found.errors}
    assert msgspec.json.decode(msgspec.json.encode(found), type=type(found)) == found


PUBLISHED = {
    "fps": ("tiktok", "x", [video(frame_rate=20)], "Video FPS is below minimum requirement"),
    "media": ("instagram", "x", [], "Instagram posts require media"),
    "video": ("youtube", "x", [], "YouTube posts require a video"),
    "threads": ("threads", "One\n---\nTwo", [], CHAINS_BLOCKED),
    "part": (
        "twitter",
        "a" * 300 + " [1/2]\nB [2/2]",
        [],
        "Thread part 1 exceeds Twitter/X's 280 character limit (currently 306)",
    ),
    "length": ("bluesky", "a" * 301, [], "Content exceeds Bluesky's 300 character limit (currently 301)"),
    "pinterest": ("pinterest", "x", [], 'Platform "pinterest" is not supported'),
}


@pytest.mark.parametrize(("key", "content", "media", "message"), PUBLISHED.values(), ids=PUBLISHED)
def test_render_when_a_rule_is_broken_then_the_first_message_and_all_items(key, content, media, message):
    outcome = render(Target(key), content, None, media)
    assert isinstance(outcome, Invalid)
    assert outcome.message == message == outcome.validation.errors[0].message


@pytest.mark.parametrize(
    ("key", "content", "media", "parts"),
    [
        pytest.param("twitter", "One\n---\nTwo", [], ("One (1/2)", "Two (2/2)"), id="thread"),
        pytest.param("twitter", "a" * 281, [], ("a" * 270 + " (1/2)", "a" * 11 + " (2/2)"), id="warning-only"),
        pytest.param("facebook", " One\r\n---\r\nTwo ", [], ("One\n---\nTwo",), id="no-threads"),
        pytest.param("twitter", "---", [JPEG], ("",), id="case-23-with-media"),
        pytest.param("tiktok", "", [MP4], ("",), id="media-alone"),
    ],
)
def test_render_when_valid_then_the_parts_that_are_sent(key, content, media, parts):
    assert render(Target(key), content, None, media) == Ready(parts)


def test_render_when_our_own_fault_then_it_raises():
    with pytest.raises(OverflowError):
        render(Target("twitter"), "x", None, [video(duration=float("inf"))])
