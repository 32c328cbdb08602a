import pytest
from hypothesis import given
from hypothesis import strategies as st

from postpost.posts.settings import default_settings, merge_settings

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)

DEFAULTS = {
    "tiktok": {
        "viewerSetting": "PUBLIC_TO_EVERYONE",
        "allowComments": True,
        "allowDuet": False,
        "allowStitch": False,
        "commercialContent": False,
        "brandOrganic": False,
        "brandedContent": False,
    },
    "instagram": {"videoType": "REELS"},
    "youtube": {"privacy": "public", "title": ""},
    "threads": {"replyControl": ""},
    "telegram": {
        "disableWebPagePreview": False,
        "disableNotification": False,
        "showCaptionAboveMedia": False,
        "protectContent": False,
    },
    "mastodon": {"visibility": "public", "spoilerText": "", "sensitive": False},
    "bluesky": {"langs": []},
}


@pytest.mark.parametrize("given_settings", [None, {}])
def test_merge_settings_when_nothing_given_then_defaults(given_settings):
    assert merge_settings(given_settings) == DEFAULTS


def test_merge_settings_when_fields_given_then_laid_over_the_defaults():
    merged = merge_settings({"tiktok": {"viewerSetting": "", "allowDuet": True}, "mastodon": {"language": "de"}})
    assert merged["tiktok"] == DEFAULTS["tiktok"] | {"viewerSetting": "", "allowDuet": True}
    assert merged["mastodon"] == DEFAULTS["mastodon"] | {"language": "de"}


@pytest.mark.parametrize(
    "given_settings",
    [
        pytest.param({"pinterest": {"board": 1}}, id="platform-without-settings"),
        pytest.param({"twitter": {"x": 1}}, id="platform-with-none"),
        pytest.param({"tiktok": [1]}, id="no-object"),
        pytest.param({"tiktok": None}, id="null"),
        pytest.param({"tiktok": {"disableDuet": True}, "telegram": {"parseMode": "HTML"}}, id="unknown-fields"),
    ],
)
def test_merge_settings_when_unknown_or_no_object_then_dropped(given_settings):
    assert merge_settings(given_settings) == DEFAULTS


def test_merge_settings_when_value_is_wrong_then_kept_for_validation():
    assert merge_settings({"youtube": {"privacy": 5}})["youtube"]["privacy"] == 5


def test_merge_settings_when_result_is_changed_then_defaults_stay():
    merge_settings({})["bluesky"]["langs"].append("en")
    assert default_settings() == DEFAULTS


def test_merge_settings_when_given_is_changed_later_then_result_stays():
    given_settings = {"bluesky": {"langs": ["en"]}}
    merged = merge_settings(given_settings)
    given_settings["bluesky"]["langs"].append("de")
    assert merged["bluesky"]["langs"] == ["en"]


@given(st.dictionaries(st.sampled_from([*DEFAULTS, "twitter", "x"]), JSON))
def test_merge_settings_when_done_twice_then_the_same(given_settings):
    once = merge_settings(given_settings)
    assert merge_settings(once) == once
