import pytest

from tests.posts.validating import MP4, messages, validate

SETTINGS = {
    "tiktok-viewer-empty": (
        "tiktok",
        {"viewerSetting": ""},
        [("PLATFORM_SETTING_REQUIRED", "requiredSetting", "TikTok requires selecting who can view your post", None)],
    ),
    "tiktok-viewer-null": (
        "tiktok",
        {"viewerSetting": None},
        [("PLATFORM_SETTING_REQUIRED", "requiredSetting", "TikTok requires selecting who can view your post", None)],
    ),
    "tiktok-viewer-wrong": (
        "tiktok",
        {"viewerSetting": "ALL"},
        [("PLATFORM_SETTING_INVALID", "allowedValues", 'TikTok setting "viewerSetting" has an invalid value', "ALL")],
    ),
    "tiktok-commercial-alone": (
        "tiktok",
        {"commercialContent": True},
        [
            (
                "PLATFORM_SETTING_REQUIRED",
                "requiredSetting",
                "TikTok commercial content requires brandOrganic or brandedContent",
                None,
            )
        ],
    ),
    "tiktok-commercial-organic": ("tiktok", {"commercialContent": True, "brandOrganic": True}, []),
    "tiktok-branded-alone": ("tiktok", {"brandedContent": True}, []),
    "tiktok-branded-private": (
        "tiktok",
        {"brandedContent": True, "viewerSetting": "SELF_ONLY"},
        [("PLATFORM_SETTING_INVALID", "allowedValues", "TikTok branded content cannot be private", "SELF_ONLY")],
    ),
    "tiktok-boolean-as-text": (
        "tiktok",
        {"allowDuet": "yes"},
        [("PLATFORM_SETTING_INVALID", "allowedValues", 'TikTok setting "allowDuet" has an invalid value', "yes")],
    ),
    "youtube-title-101": (
        "youtube",
        {"title": "a" * 101},
        [("PLATFORM_SETTING_INVALID", "maxLength", 'YouTube setting "title" has an invalid value', 101)],
    ),
    "youtube-title-100": ("youtube", {"title": "\U0001f600" * 100}, []),
    "youtube-privacy": (
        "youtube",
        {"privacy": "secret"},
        [("PLATFORM_SETTING_INVALID", "allowedValues", 'YouTube setting "privacy" has an invalid value', "secret")],
    ),
}


@pytest.mark.parametrize(("key", "values", "expected"), SETTINGS.values(), ids=SETTINGS)
def test_check_when_video_platform_settings_then_the_items_of_the_spec(key, values, expected):
    found = validate(key, media=[MP4], settings={key: values})
    keys = ("code", "constraint", "message", "currentValue")
    assert [tuple(item.get(name) for name in keys) for item in found["errors"]] == expected


@pytest.mark.parametrize(
    ("key", "values", "valid"),
    [
        pytest.param("threads", {"replyControl": "everyone"}, True, id="threads"),
        pytest.param("threads", {"replyControl": "nobody"}, False, id="threads-wrong"),
        pytest.param("telegram", {"protectContent": 1}, False, id="telegram-number"),
        pytest.param("mastodon", {"visibility": "direct", "language": "de"}, True, id="mastodon"),
        pytest.param("mastodon", {"language": None}, True, id="mastodon-no-language"),
        pytest.param("mastodon", {"language": "German"}, False, id="mastodon-language"),
        pytest.param("bluesky", {"langs": ["en", "pt-BR"]}, True, id="bluesky"),
        pytest.param("bluesky", {"langs": ["en"] * 4}, False, id="bluesky-four"),
        pytest.param("bluesky", {"langs": "en"}, False, id="bluesky-no-list"),
        pytest.param("bluesky", {"langs": [5]}, False, id="bluesky-no-tag"),
    ],
)
def test_check_when_text_platform_settings_then_judged(key, values, valid):
    assert validate(key, content="x", settings={key: values})["valid"] is valid


def test_check_when_tiktok_creator_offers_other_options_then_error():
    found = validate("tiktok", media=[MP4], facts={"privacy_level_options": ["SELF_ONLY"]})
    assert messages(found) == ['TikTok setting "viewerSetting" has an invalid value']


def test_check_when_settings_belong_to_another_platform_then_not_looked_at():
    assert validate("twitter", content="x", settings={"tiktok": {"viewerSetting": ""}})["valid"]
