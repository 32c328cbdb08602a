"""The text of a post: what is published of it on each platform, and how each platform counts it."""

import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import chain

import regex

from postpost.platforms.limits import LIMITS, TextLimits, Unit
from postpost.platforms.telegram_markup import parse_markup, utf16_length
from postpost.posts.links import Link, find_links

MENTION = regex.compile(r"@\{(urn:li:(?:person|organization):[A-Za-z0-9_-]++)\|([^{}|\n]++)\}")
"""A LinkedIn mention, `@{urn:li:person:ID|Name}` (spec linkedin.md 9)."""

REFUSED_BY_X = dict.fromkeys((0xFEFF, 0xFFFE, 0xFFFF))
"""X refuses a text that holds one of these (spec platform-rules.md 3.2)."""

REFUSED_BY_YOUTUBE = str.maketrans("<>", "‹›")
"""YouTube refuses angle brackets in titles and descriptions (spec platform-rules.md 7.6)."""

MAX_CLUSTER_CHARACTERS = 512
"""A longer grapheme cluster is taken in pieces of this size, so that a hostile text cannot cost quadratic time. It is
longer than any budget of a thread's part, and fifty times as long as any real emoji."""

MAX_DOMAIN_CHARACTERS = len("https://") + 253
"""How far behind a place a scheme and a domain that begin before it can reach: DNS has no longer names."""

_CLUSTER = regex.compile(r"\X")
_SPACE = regex.compile(r"\s")
_EMOJI = regex.compile(
    r"\p{Emoji_Presentation}(?!\uFE0E)|\p{Emoji}\uFE0F|\u20E3|\p{Regional_Indicator}{2}", flags=regex.V0
)
_NARROW_FOR_X = ((0x0000, 0x10FF), (0x2000, 0x200D), (0x2010, 0x201F), (0x2032, 0x2037))
_REMOTE_MENTION = regex.compile(
    r"(?<![=/\w])@([a-z0-9_]++(?:[.-]++[a-z0-9_]++)*+)@\w++(?:[.-]++\w++)*+", flags=regex.IGNORECASE
)
_HASHTAG = regex.compile(r"(?<![\w&/#])#\w++")
_MENTION_OF_ACCOUNT = regex.compile(r"(?<![\w/@])@[\w.]++")


def prepare(content: str, platform_key: str) -> str:
    """Return the text that is counted and published (spec platform-rules.md 3.2 and 7.6).

    LinkedIn's mentions keep their token form for `linkedin` and become the bare name elsewhere. Preparing a prepared
    text changes nothing.
    """
    text = content.replace("\r\n", "\n").replace("\r", "\n")
    if platform_key != "linkedin":
        text = MENTION.sub(r"\2", text)
    if platform_key == "twitter":
        text = text.translate(REFUSED_BY_X)
    elif platform_key == "youtube":
        text = text.translate(REFUSED_BY_YOUTUBE)
    return text.strip()


def count(text: str, platform_key: str, *, spoiler: str = "", link_weight: int | None = None) -> int:
    """Return how long a prepared text is in the platform's own unit (spec platform-rules.md 3.3).

    `spoiler` is a content warning that counts together with the text, and `link_weight` what a link counts on this
    account's instance (both on mastodon only). Raises KeyError for a platform that cannot be published to.
    """
    limits = text_limits(platform_key)
    match limits.unit:
        case Unit.X:
            return count_for_x(text)
        case Unit.THREADS:
            return len(text) if text.isascii() else sum(map(weight_on_threads, clusters(text)))
        case Unit.GRAPHEMES:
            return count_graphemes(text)
        case Unit.MASTODON:
            weight = limits.link_weight if link_weight is None else link_weight
            # The network rewrites the links of the status only, not those of the warning.
            return count_graphemes(spoiler) + count_for_mastodon(text, weight or 0)
        case Unit.UTF8:
            return count_bytes(text)
        case Unit.UTF16:
            # Only LinkedIn's prepared text still holds mentions; they count as they are shown.
            return utf16_length(MENTION.sub(r"@\2", text))
        case Unit.TELEGRAM:
            return utf16_length(parse_markup(text).text)


def text_limits(platform_key: str) -> TextLimits:
    """Return a platform's limits of text. Raises KeyError for a platform that cannot be published to."""
    limits = LIMITS[platform_key].text
    if limits is None:
        raise KeyError(platform_key)
    return limits


def count_bytes(text: str) -> int:
    """Return the length of the UTF-8 form in bytes."""
    return len(text.encode("utf-8", "surrogatepass"))


def count_graphemes(text: str) -> int:
    """Return the number of extended grapheme clusters (Unicode UAX 29)."""
    return len(text) if text.isascii() and "\r" not in text else sum(1 for _ in _CLUSTER.finditer(text))


def count_for_mastodon(text: str, link_weight: int) -> int:
    """Count grapheme clusters; addresses count `link_weight`, remote mentions without their host."""
    links = [link for link in find_links(text) if link.has_scheme]
    rest = "".join(_between(text, links))
    return count_graphemes(_REMOTE_MENTION.sub(r"@\1", rest)) + len(links) * (link_weight - 1)


def _between(text: str, links: list[Link]) -> Iterator[str]:
    """Yield the text with one line feed, which joins no cluster, in place of each link."""
    at = 0
    for link in links:
        yield text[at : link.start]
        yield "\n"
        at = link.end
    yield text[at:]


def count_for_x(text: str) -> int:
    """Return the larger of the literal weight and X's own, in which every link weighs the same."""
    if text.isascii():
        return max(len(text), len(text) + sum(_link_weight() - (link.end - link.start) for link in find_links(text)))
    literal = shortened = 0
    normalized = unicodedata.normalize("NFC", text)
    for _, cluster_literal, cluster_shortened in _weights_on_x(text, normalized, find_links(normalized)):
        literal += cluster_literal
        shortened += cluster_shortened
    return max(literal, shortened)


def _link_weight() -> int:
    return text_limits("twitter").link_weight or 0


def _weights_on_x(text: str, normalized: str, links: Iterator[Link]) -> Iterator[tuple[int, int, int]]:
    """Yield, for each grapheme cluster, its end, its literal weight and its weight in X's own count.

    X looks for links in the NFC form, so places in that form, where the links are, are kept beside those in the text.
    """
    is_same = normalized == text
    link = next(links, None)
    end = at = 0
    for cluster in clusters(text):
        end += len(cluster)
        literal = weight_on_x(cluster)
        begin, at = at, end if is_same else at + len(unicodedata.normalize("NFC", cluster))
        while link is not None and link.end <= begin:
            link = next(links, None)
        if link is None or link.start >= at:
            yield end, literal, literal
            continue
        # All of a link's weight is charged where it begins, so that both counts only grow with the text.
        weight = _link_weight() if link.start >= begin else 0
        outside = normalized[begin : max(link.start, begin)] + normalized[link.end : at]
        yield end, literal, weight + (weight_on_x(outside) if outside else 0)


@lru_cache(maxsize=8192)
def weight_on_x(cluster: str) -> int:
    """Return the literal weight of one grapheme cluster on X: 2 for an emoji, else 1 or 2 for each code point."""
    if is_emoji(cluster):
        return 2
    return sum(
        1 if any(low <= ord(character) <= high for low, high in _NARROW_FOR_X) else 2
        for character in unicodedata.normalize("NFC", cluster)
    )


@lru_cache(maxsize=8192)
def weight_on_threads(cluster: str) -> int:
    """Return what one grapheme cluster counts on Threads: the bytes of an emoji, else its code points."""
    return count_bytes(cluster) if is_emoji(cluster) else len(cluster)


def is_emoji(cluster: str) -> bool:
    """Tell whether a grapheme cluster is an emoji (spec platform-rules.md 3.3)."""
    return len(cluster) < MAX_CLUSTER_CHARACTERS and _EMOJI.search(cluster) is not None


def clusters(text: str, start: int = 0) -> Iterator[str]:
    """Yield the grapheme clusters from `start` on; one longer than MAX_CLUSTER_CHARACTERS comes in pieces."""
    while start < len(text):
        if text[start] < "\u0300" and text[start + 1 : start + 2] < "\u0300" and text[start] != "\r":
            # Nothing below the combining marks joins with its neighbours, but CR with LF. This is most of most texts.
            end = start + 1
        else:
            cluster = _CLUSTER.match(text, start, start + MAX_CLUSTER_CHARACTERS)
            end = cluster.end() if cluster else start + 1
        yield text[start:end]
        start = end


def fit(text: str, start: int, budget: int, platform_key: str) -> int:
    """Return the end of the longest prefix of `text[start:]` of whole grapheme clusters that counts at most `budget`.

    Links are looked for in the whole of `text[start:]` (spec threading.md 5). Only for platforms with threads; looks
    at a bounded stretch of the text. Returns `start` when not even one cluster fits.
    """
    if text_limits(platform_key).unit is Unit.X:
        return _fit_for_x(text, start, budget)
    return _fit_weights(text, start, budget, weight_on_threads)


def _fit_weights(text: str, start: int, budget: int, weigh: Callable[[str], int]) -> int:
    if text[start : start + budget + 1].isascii():
        # Each character is a cluster of its own that counts 1, and the next one does not join the last.
        return min(start + budget, len(text))
    for cluster in clusters(text, start):
        budget -= weigh(cluster)
        if budget < 0:
            break
        start += len(cluster)
    return start


def _fit_for_x(text: str, start: int, budget: int) -> int:
    literal_end = _fit_weights(text, start, budget, weight_on_x)
    if literal_end == start:
        return start
    # A link that begins before this end may be seen as one only behind it: at the end of its domain.
    ahead = literal_end + MAX_DOMAIN_CHARACTERS
    space = _SPACE.search(text, literal_end, ahead)
    stretch = text[start : space.start() if space else ahead]
    if "." not in stretch:
        return literal_end
    normalized = unicodedata.normalize("NFC", stretch)
    links = find_links(normalized)
    first = next(links, None)
    if first is None:
        return literal_end
    end = start
    for cluster_end, _, shortened in _weights_on_x(stretch, normalized, chain((first,), links)):
        budget -= shortened
        if budget < 0:
            break
        end = start + cluster_end
    return min(end, literal_end)


def count_hashtags(text: str) -> int:
    """Return the number of hashtags, repeats included."""
    return sum(1 for _ in _HASHTAG.finditer(text))


def count_mentions(text: str) -> int:
    """Return the number of `@` mentions, repeats included."""
    return sum(1 for _ in _MENTION_OF_ACCOUNT.finditer(text))


def count_different_links(text: str) -> int:
    """Return the number of different addresses that begin with `http://` or `https://`."""
    return len({text[link.start : link.end] for link in find_links(text) if link.has_scheme})
