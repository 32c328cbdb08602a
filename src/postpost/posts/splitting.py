"""How one text becomes the parts of a thread on the platforms that have threads (spec threading.md).

Everything takes time linear in the text, which may be a mebibyte long.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import regex

from postpost.platforms.limits import LIMITS
from postpost.posts.text import clusters, count, fit, prepare, text_limits

_FENCE = regex.compile(r"^[^\S\n]*+(?P<marks>`{3,}+|~{3,}+)(?P<rest>.*)$", flags=regex.MULTILINE)
_SEPARATOR = regex.compile(r"^[ \t]*+---[ \t]*+$", flags=regex.MULTILINE)
_MARKER = re.compile(r"\[([1-9][0-9]{0,3})/([1-9][0-9]{0,3})\]")
_BREAKING = r"[^\S\u00A0\u2007\u202F]"
_PARAGRAPH_BREAK = regex.compile(r"\n(?:[^\S\n]*+\n)++")
_SENTENCE_END = regex.compile(rf"[.!?](?={_BREAKING})")
_WORD_BOUNDARY = regex.compile(rf"{_BREAKING}++")


@dataclass(frozen=True, slots=True)
class Nothing:
    """There is no text to publish: with media the post goes out with empty text, without it cannot go out."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The rendered parts, at least one, in order.

    `longest` is the count of the longest piece before it was divided automatically, or of the whole text.
    """

    parts: tuple[str, ...]
    longest: int


@dataclass(frozen=True, slots=True)
class LongPart:
    """A part over the limit; `number` counts from 1."""

    number: int
    count: int


@dataclass(frozen=True, slots=True)
class TooLong:
    """Parts numbered by the author that exceed the limit: they are not divided, or their numbers would be wrong."""

    long_parts: tuple[LongPart, ...]


@dataclass(frozen=True, slots=True)
class Blocked:
    """The post would have several parts, and reply chains are not enabled; `count` is that of the whole text."""

    count: int


Split = Nothing | Parts | TooLong | Blocked


def split(content: str, platform_key: str, *, reply_chains: bool = False) -> Split:
    """Divide a post's content into the parts that a platform publishes (spec threading.md 2).

    `reply_chains` says whether the operator enabled threads where the platform wants an approval first (spec
    threading.md 9). A platform without threads gets one part whatever the length; checking that is validation's part.
    Raises KeyError for a platform that cannot be published to.
    """
    limits = LIMITS[platform_key]
    text = prepare(content, platform_key)
    if not limits.threading:
        return Parts((text,), count(text, platform_key)) if text else Nothing()
    outcome = _split_thread(text, platform_key)
    divided = isinstance(outcome, TooLong) or (isinstance(outcome, Parts) and len(outcome.parts) > 1)
    if divided and limits.chains_need_approval and not reply_chains:
        return Blocked(count(text, platform_key))
    return outcome


def _split_thread(text: str, platform_key: str) -> Split:
    segments, explicit = _segments(text)
    if not segments:
        return Nothing()
    limit = text_limits(platform_key).max
    counts = [count(segment, platform_key) for segment in segments]
    if explicit:
        long_parts = tuple(LongPart(number, n) for number, n in enumerate(counts, 1) if n > limit)
        return TooLong(long_parts) if long_parts else Parts(tuple(segments), max(counts))
    if len(segments) == 1 and counts[0] <= limit:
        return Parts(tuple(segments), counts[0])
    return Parts(_number(_divide_all(segments, counts, platform_key)), max(counts))


def _divide_all(segments: Sequence[str], counts: Sequence[int], platform_key: str) -> list[str]:
    """Divide the segments that leave no room for their number; ` (k/N)` grows with the digits of N."""
    limits = text_limits(platform_key)
    reserve = limits.marker_reserve or 0
    while True:
        budget = limits.max - reserve
        parts: list[str] = []
        for segment, length in zip(segments, counts, strict=True):
            parts += _divide(segment, budget, platform_key) if length > budget else [segment]
        needed = len(_marker(len(parts), len(parts)))
        if needed <= reserve:
            return parts
        reserve = needed


def _marker(number: int, total: int) -> str:
    return f" ({number}/{total})"


def _number(parts: Sequence[str]) -> tuple[str, ...]:
    if len(parts) == 1:
        return tuple(parts)
    return tuple(part + _marker(number, len(parts)) for number, part in enumerate(parts, 1))


def _segments(text: str) -> tuple[list[str], bool]:
    """Return the pieces that the author divided the text into, and whether the author numbered them."""
    visible = _hide_code(text)
    markers = _valid_markers(visible)
    separators = list(_SEPARATOR.finditer(visible))
    cuts: list[tuple[int, int]]
    if separators:
        cuts = [separator.span() for separator in separators]
    elif markers and not visible[: markers[0].start()].strip():
        cuts = [(marker.start(), marker.start()) for marker in markers[1:]]
    else:
        cuts = [(marker.end(), marker.end()) for marker in markers[:-1]]
    begins = [0, *(end for _, end in cuts)]
    ends = [*(begin for begin, _ in cuts), len(text)]
    pieces = (text[begin:end].strip() for begin, end in zip(begins, ends, strict=True))
    return [piece for piece in pieces if piece], bool(markers)


def _valid_markers(visible: str) -> list[re.Match[str]]:
    """Return the `[n/m]` markers if they run from 1 to m, at least 2, without a gap; else nothing."""
    markers = list(_MARKER.finditer(visible))
    expected = [(str(number), str(len(markers))) for number in range(1, len(markers) + 1)]
    is_valid = len(markers) > 1 and [marker.groups() for marker in markers] == expected
    return markers if is_valid else []


def _hide_code(text: str) -> str:
    """Return the text, equally long, with every closed fenced block made unreadable (spec threading.md 2)."""
    fences = list(_FENCE.finditer(text))
    closers = _closing_fences(fences)
    visible: list[str] = []
    at = place = 0
    while place < len(fences):
        closer = closers[place]
        if closer is not None:
            begin, end = fences[place].start(), fences[closer].end()
            visible += text[at:begin], "x" * (end - begin)
            at, place = end, closer
        place += 1
    visible.append(text[at:])
    return "".join(visible)


def _closing_fences(fences: Sequence["regex.Match[str]"]) -> list[int | None]:
    """Return, for each fence, the place of the next bare one of the same character that is at least as long."""
    closers: list[int | None] = [None] * len(fences)
    # For each character the bare fences to the right that no later and longer one hides, nearest last: the lengths
    # fall towards the end. They are kept negative, in the ascending order that bisect wants.
    lengths: dict[str, list[int]] = {"`": [], "~": []}
    places: dict[str, list[int]] = {"`": [], "~": []}
    for place in range(len(fences) - 1, -1, -1):
        marks = fences[place]["marks"]
        length, known, known_places = len(marks), lengths[marks[0]], places[marks[0]]
        found = bisect_right(known, -length)
        closers[place] = known_places[found - 1] if found else None
        if not fences[place]["rest"].strip():
            while known and -known[-1] <= length:
                known.pop()
                known_places.pop()
            known.append(-length)
            known_places.append(place)
    return closers


def _divide(segment: str, budget: int, platform_key: str) -> list[str]:
    """Divide a trimmed segment into parts that count at most `budget` (spec threading.md 5)."""
    cuts = _Cuts(segment)
    parts: list[str] = []
    start = 0
    while True:
        window = fit(segment, start, budget, platform_key)
        if window == len(segment):
            parts.append(segment[start:])
            return parts
        if window == start:
            alone = _count_alone(segment, start, budget)
            parts += segment[start : start + alone]
            start = cuts.skip_space(start + alone)
            continue
        end = cuts.find(start, window)
        if end is None:
            end = _hard_cut(segment, start, window, budget, platform_key)
        parts.append(segment[start:end].strip())
        start = cuts.skip_space(end)


def _count_alone(segment: str, start: int, budget: int) -> int:
    """Return how many code points of a cluster that is larger than the budget become parts of their own."""
    cluster = next(clusters(segment, start))
    # As long as the rest of the cluster has more code points than the budget, it cannot fit either.
    return max(len(cluster) - budget, 1)


def _hard_cut(segment: str, start: int, window: int, budget: int, platform_key: str) -> int:
    """Return the end of a part that ends inside a word."""
    end = window
    # The cut may leave something that X takes for a link, as `a.com` of `a.community`; then the part is too long.
    while count(segment[start:end], platform_key) > budget:
        end = start + max(fit(segment[start:end], 0, budget, platform_key), 1)
    return end


class _Cuts:
    """The places where a segment may be cut without breaking a word."""

    def __init__(self, segment: str) -> None:
        self.segment = segment
        self.paragraphs = [match.start() for match in _PARAGRAPH_BREAK.finditer(segment)]
        self.sentences = [match.end() for match in _SENTENCE_END.finditer(segment)]
        self.words = [match.start() for match in _WORD_BOUNDARY.finditer(segment)]

    def find(self, start: int, window: int) -> int | None:
        """Return the best place to end the part that begins at `start`, at or before `window`; None: a hard cut."""
        for places in (self.paragraphs, self.sentences, self.words):
            before = bisect_right(places, window)
            if before and places[before - 1] > start:
                return places[before - 1]
        return None

    def skip_space(self, start: int) -> int:
        """Return where the next part begins."""
        while self.segment[start].isspace():
            start += 1
        return start
