import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twitter_text import parse_tweet

from postpost.platforms.limits import PLATFORMS
from postpost.posts.text import (
    clusters,
    count,
    count_different_links,
    count_hashtags,
    count_mentions,
    fit,
    prepare,
)

KEYS = [limits.key for limits in PLATFORMS if limits.supported]
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
LONG_ADDRESS = "https://example.com/" + "a" * 30
TEXTS = st.text(alphabet=st.one_of(st.characters(), st.sampled_from("ab. \n/漢\u0301\ufe0f\u200d😀🏽🇫1")))


@pytest.mark.parametrize(
    ("text", "twitter", "threads", "bluesky", "mastodon", "utf16"),
    [
        pytest.param("Hello", 5, 5, 5, 5, 5, id="hello"),
        pytest.param("\U0001f44b", 2, 4, 1, 1, 2, id="waving-hand"),
        pytest.param("\U0001f44d\U0001f3fd", 2, 8, 1, 1, 4, id="skin-tone"),
        pytest.param(FAMILY, 2, 25, 1, 1, 11, id="family"),
        pytest.param("\U0001f1eb\U0001f1f7", 2, 8, 1, 1, 4, id="flag"),
        pytest.param("1\ufe0f\u20e3", 2, 7, 1, 1, 3, id="keycap"),
        pytest.param("\u00a9", 1, 1, 1, 1, 1, id="copyright"),
        pytest.param("\u00a9\ufe0f", 2, 5, 1, 1, 2, id="copyright-emoji"),
        pytest.param("e\u0301", 1, 2, 1, 1, 2, id="combining-acute"),
        pytest.param("\u6f22", 2, 1, 1, 1, 1, id="han"),
        pytest.param("\ud55c", 2, 1, 1, 1, 1, id="hangul"),
        pytest.param("\u20ac", 2, 1, 1, 1, 1, id="euro"),
        pytest.param("\u2026", 2, 1, 1, 1, 1, id="ellipsis"),
        pytest.param("\u2014", 1, 1, 1, 1, 1, id="em-dash"),
        pytest.param("\u0e01", 1, 1, 1, 1, 1, id="thai"),
        pytest.param("a.co", 23, 4, 4, 4, 4, id="short-link"),
        pytest.param("https://t.co/a", 23, 14, 14, 23, 14, id="t.co"),
        pytest.param(LONG_ADDRESS, 50, 50, 50, 23, 50, id="long-link"),
    ],
)
def test_count_when_worked_case_then_as_the_platform_rules_say(text, twitter, threads, bluesky, mastodon, utf16):
    assert count(text, "twitter") == twitter
    assert count(text, "threads") == threads
    assert count(text, "bluesky") == bluesky
    assert count(text, "mastodon") == mastodon
    assert {count(text, key) for key in ("linkedin", "instagram", "tiktok", "facebook", "telegram")} == {utf16}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("localhost foo.js 10.0.0.1", 25, id="no-links"),
        pytest.param("readme.md", 23, id="bare-domain"),
        pytest.param("\u6f22 https://t.co/a", 26, id="link-after-wide"),
        pytest.param("a.co" + "\u20e3", 25, id="mark-behind-a-link"),
        pytest.param("cafe\u0301.com/e\u0301", 23, id="decomposed-link"),
    ],
)
def test_count_when_twitter_links_then_the_larger_count(text, expected):
    assert count(text, "twitter") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("hi @ann@example.social", 7, id="remote-mention"),
        pytest.param("hi @ann", 7, id="local-mention"),
        pytest.param("me@example.social", 17, id="mail-address"),
        pytest.param("a.co", 4, id="no-scheme"),
        pytest.param("see https://a.co.", 28, id="final-stop-is-text"),
    ],
)
def test_count_when_mastodon_then_mentions_without_host_and_links_reserved(text, expected):
    assert count(text, "mastodon") == expected


def test_count_when_mastodon_spoiler_and_own_weight_then_both_used():
    assert count("https://example.com", "mastodon", spoiler="abc", link_weight=30) == 33


def test_count_when_youtube_then_bytes():
    assert count("\u0430" * 2501, "youtube") == 5002


def test_count_when_linkedin_mention_then_as_shown():
    assert count("Hi @{urn:li:person:AbC|Ann Lee}!", "linkedin") == len("Hi @Ann Lee!")


def test_count_when_telegram_then_without_markup():
    assert count("*bold* [x](https://a.co)", "telegram") == len("bold x")


def test_count_when_platform_cannot_be_published_to_then_key_error():
    with pytest.raises(KeyError):
        count("x", "pinterest")
    with pytest.raises(KeyError):
        count("x", "myspace")


@given(TEXTS)
def test_count_when_any_text_then_no_error_and_no_less_than_nothing(text):
    assert all(count(prepare(text, key), key) >= 0 for key in KEYS)


@given(st.text(alphabet="ab. \n/漢é😀"))
def test_count_when_twitter_then_never_below_what_x_counts(text):
    assert count(text, "twitter") >= parse_tweet(text).weightedLength


@given(TEXTS, TEXTS)
def test_count_when_twitter_text_grows_by_words_then_count_grows(first, second):
    assert count(first, "twitter") <= count(first + " " + second, "twitter")


@pytest.mark.parametrize(
    ("content", "key", "expected"),
    [
        pytest.param("  a\r\nb\rc \n", "facebook", "a\nb\nc", id="line-ends-and-trim"),
        pytest.param("Hi @{urn:li:person:AbC|Ann}!", "twitter", "Hi Ann!", id="mention-elsewhere"),
        pytest.param("Hi @{urn:li:organization:1|Co}!", "linkedin", "Hi @{urn:li:organization:1|Co}!", id="linkedin"),
        pytest.param("@{urn:li:member:1|Ann}", "facebook", "@{urn:li:member:1|Ann}", id="no-mention"),
        pytest.param("a\ufeffb\ufffec\uffff", "twitter", "abc", id="refused-by-x"),
        pytest.param("a\ufeffb", "facebook", "a\ufeffb", id="only-x-refuses"),
        pytest.param("a < b > c", "youtube", "a ‹ b › c", id="youtube-angles"),
    ],
)
def test_prepare_when_platform_then_the_text_that_is_published(content, key, expected):
    assert prepare(content, key) == expected


@given(TEXTS, st.sampled_from(KEYS))
def test_prepare_when_done_twice_then_the_same(text, key):
    once = prepare(text, key)
    assert prepare(once, key) == once


@given(TEXTS)
def test_clusters_when_joined_then_the_text(text):
    assert "".join(clusters(text)) == text


@given(TEXTS, st.integers(1, 30), st.sampled_from(["twitter", "threads"]))
def test_fit_when_any_budget_then_a_prefix_of_whole_clusters_within_it(text, budget, key):
    end = fit(text, 0, budget, key)
    ends = {0}
    for cluster in clusters(text):
        ends.add(max(ends) + len(cluster))
    assert end in ends


def test_clusters_when_hostile_then_in_bounded_pieces():
    assert max(map(len, clusters("a" + "\u0301" * 5000))) == 512


def test_count_when_cluster_is_longer_than_any_emoji_then_counts_its_characters():
    text = "\u2764\ufe0f" + "\u0301" * 600
    assert count(text, "twitter") >= len(unicodedata.normalize("NFC", text)) // 2


@pytest.mark.parametrize(
    ("text", "hashtags", "mentions", "links"),
    [
        pytest.param("#a #b #a", 3, 0, 0, id="repeats-count"),
        pytest.param("a@b.co @c @d.e", 0, 2, 0, id="mail-is-no-mention"),
        pytest.param("https://a.co https://a.co http://b.co c.co", 0, 0, 2, id="different-links"),
        pytest.param("C# https://a.co/#x", 0, 0, 1, id="no-hashtags"),
    ],
)
def test_counters_when_text_holds_them_then_counted(text, hashtags, mentions, links):
    assert (count_hashtags(text), count_mentions(text), count_different_links(text)) == (hashtags, mentions, links)
