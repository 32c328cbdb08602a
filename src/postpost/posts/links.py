"""The links that X finds in a text, as its `twitter-text` rules define them, found in linear time.

The character classes, the list of top-level domains and the rules of paths come from the `twitter_text` package. Its
own search tries every label of a dotted name from every start, which takes hours on a hostile text of a mebibyte
and seconds on Chinese prose; so the search for domains is written here. `tests/posts/test_links.py` compares the two.
"""

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import regex
from twitter_text.extract_urls import is_valid_url
from twitter_text.regexp.latin_accent_chars import latin_accent_chars
from twitter_text.regexp.valid_cctld import valid_cctld
from twitter_text.regexp.valid_domain_chars import valid_domain_chars
from twitter_text.regexp.valid_general_url_path_chars import valid_general_url_path_chars
from twitter_text.regexp.valid_gtld import valid_gtld
from twitter_text.regexp.valid_tco_url import valid_tco_url
from twitter_text.regexp.valid_url_balanced_parens import valid_url_balanced_parens
from twitter_text.regexp.valid_url_path_ending_chars import valid_url_path_ending_chars
from twitter_text.regexp.valid_url_preceding_chars import valid_url_preceding_chars
from twitter_text.regexp.valid_url_query_chars import valid_url_query_chars
from twitter_text.regexp.valid_url_query_ending_chars import valid_url_query_ending_chars

MAX_LINK_CHARACTERS = 4096
"""A longer address is no link to X."""
MAX_SLUG_CHARACTERS = 40
"""A t.co address with a longer slug is no link to X."""
MAX_LABEL_CHARACTERS = 63
"""A longer label of a domain cannot be written in IDNA."""


@dataclass(frozen=True, slots=True)
class Link:
    """A link at `text[start:end]`; `has_scheme` when it begins with `http://` or `https://`."""

    start: int
    end: int
    has_scheme: bool


def _words(pattern: re.Pattern[str]) -> frozenset[str]:
    """Return the alternatives of one of the package's lists of top-level domains."""
    return frozenset(re.findall(r"[^()|?:]+", pattern.pattern.split("(?=")[0]))


_TOP_LEVEL_DOMAINS = _words(valid_gtld) | _words(valid_cctld)
_LONGEST_TOP_LEVEL_DOMAIN = max(map(len, _TOP_LEVEL_DOMAINS))

_CHARACTER = valid_domain_chars.pattern
# Labels joined by single dots; a label begins and ends with a domain character and may hold `_` and `-` inside.
_LABEL = rf"{_CHARACTER}++(?:[_-]++{_CHARACTER}++)*+"
_RUN = regex.compile(rf"{_LABEL}(?:\.{_LABEL})*+", regex.V0)
_LATIN_LABELS = regex.compile(rf"(?:[-a-zA-Z0-9{latin_accent_chars.pattern}]++\.)++", regex.V0)
_SCHEME = re.compile(r"https?://\Z", re.IGNORECASE)
# Without the alternative that stands for the start of the text.
_PRECEDING = re.compile(valid_url_preceding_chars.pattern.replace("|^", ""))
_NEVER_BEFORE_BARE_DOMAIN = "-_./"
_PATH_CHARACTER = valid_general_url_path_chars.pattern
_PATH_END = valid_url_path_ending_chars.pattern.split("|")[0]
_PARENTHESES = valid_url_balanced_parens.pattern
# The package's pattern of a path takes quadratic time on many parentheses; this one matches the same.
_PATH = rf"/(?:(?:(?!{_PATH_END}){_PATH_CHARACTER}|{_PARENTHESES})*+{_PATH_END})*+(?:{_PARENTHESES})*+"
_TAIL = re.compile(
    rf"(?::[0-9]+)?(?P<path>{_PATH})?"
    rf"(?:\?{valid_url_query_chars.pattern}*{valid_url_query_ending_chars.pattern})?",
    re.IGNORECASE,
)
_PUNYCODE = re.compile(r"xn--[-0-9a-z]+", re.IGNORECASE)
_ASCII_WORD = re.compile(r"[0-9a-zA-Z]+")


def find_links(text: str) -> Iterator[Link]:
    """Yield the links of a text in order (spec platform-rules.md 3.3). `text` is in Unicode's NFC form."""
    resume = 0
    for run in _RUN.finditer(text):
        if run.end() <= resume or "." not in run.group():
            continue
        resume = yield from _links_of_run(text, max(run.start(), resume), run.end(), resume)


def _links_of_run(text: str, begin: int, end: int, resume: int) -> Generator[Link, None, int]:
    """Yield the links that begin in one dotted run; return where X's search would go on."""
    top_levels = _top_level_domains(text, begin, end)
    scheme = _SCHEME.search(text, max(begin - len("https://"), resume), begin)
    if scheme is not None and _may_follow(text, scheme.start(), resume):
        starts, bare = [begin], False
    else:
        starts, bare = _bare_starts(text, begin, end, resume), True
    start, domain_end = next(
        ((at, found) for at in starts if (found := _domain_end(text, at, top_levels)) is not None), (end, end)
    )
    if start == end:
        return _skip_refused(text, top_levels, begin, resume)
    url_start = start if bare or scheme is None else scheme.start()
    tail = _TAIL.match(text, domain_end)
    url_end = tail.end() if tail else domain_end
    domain = text[start:domain_end]
    url = text[url_start:url_end]
    if not _is_valid(url, domain):
        return url_end
    if not bare:
        slug = valid_tco_url.search(url)
        if slug is None:
            yield Link(url_start, url_end, has_scheme=True)
        elif len(slug.group(1)) <= MAX_SLUG_CHARACTERS:
            yield Link(url_start, url_start + slug.end(), has_scheme=True)
    elif start == 0 or text[start - 1] not in _NEVER_BEFORE_BARE_DOMAIN:
        has_path = bool(tail and tail.group("path"))
        yield from _bare_links(text, start, domain_end, top_levels, url_end if has_path else None)
    return _skip_refused(text, top_levels, domain_end, url_end)


def _skip_refused(text: str, top_levels: dict[int, int], begin: int, resume: int) -> int:
    """Return where the search goes on: behind the domain that X matches after a `_`, only to refuse it, if any."""
    last_dot = next(reversed(top_levels), -1)
    tail = _TAIL.match(text, top_levels[last_dot]) if "_" in text[begin : max(last_dot, begin)] else None
    return tail.end() if tail else resume


def _may_follow(text: str, start: int, resume: int) -> bool:
    """Tell whether a link may begin at `start`: at the start of the text, or after an unused, harmless character."""
    return start == 0 or (start > resume and _PRECEDING.match(text[start - 1]) is not None)


def _bare_starts(text: str, begin: int, end: int, resume: int) -> list[int]:
    """Return where a domain without scheme may begin in a run, in the order of X's search."""
    places = (at for at in range(max(begin, 1), end) if text[at] not in "._-" and _may_follow(text, at, resume))
    first = next(places, None)
    if begin > 0:
        return [] if first is None else [first]
    # X's search prefers to take the first character of a text as the one before a link.
    return [1, 0] if first == 1 else [0]


def _top_level_domains(text: str, start: int, end: int) -> dict[int, int]:
    """Map each dot in `text[start:end]` that a top-level domain follows to the end of that domain."""
    found: dict[int, int] = {}
    dot = text.find(".", start, end)
    while dot >= 0:
        top_level_end = _top_level_domain_end(text, dot + 1)
        if top_level_end is not None:
            found[dot] = top_level_end
        dot = text.find(".", dot + 1, end)
    return found


def _top_level_domain_end(text: str, start: int) -> int | None:
    word = _ASCII_WORD.match(text, start)
    if word is not None and _ends_domain(text, word.end()) and word.group().lower() in _TOP_LEVEL_DOMAINS:
        return word.end()
    if word is None:
        for end in range(min(start + _LONGEST_TOP_LEVEL_DOMAIN, len(text)), start, -1):
            if text[start:end] in _TOP_LEVEL_DOMAINS and _ends_domain(text, end):
                return end
    punycode = _PUNYCODE.match(text, start)
    return punycode.end() if punycode else None


def _ends_domain(text: str, end: int) -> bool:
    following = text[end : end + 1]
    return not (following in ("@", "+", "-") or (following.isascii() and following.isalnum()))


def _domain_end(text: str, start: int, top_levels: dict[int, int]) -> int | None:
    """Return the end of the longest domain at `start`: its last label before the top level holds no `_`."""
    for dot in reversed(top_levels):
        label_start = max(text.rfind(".", start, dot) + 1, start)
        if dot > start and "_" not in text[label_start:dot]:
            return top_levels[dot]
    return None


def _is_valid(url: str, domain: str) -> bool:
    # The cheap bounds come first: IDNA is slow on labels that it is going to refuse.
    if len(url) > MAX_LINK_CHARACTERS or any(len(label) > MAX_LABEL_CHARACTERS for label in domain.split(".")):
        return False
    scheme = "" if url.lower().startswith(("http://", "https://")) else "https://"
    return bool(is_valid_url(url, scheme, domain))


def _bare_links(text: str, start: int, end: int, top_levels: dict[int, int], path_end: int | None) -> Iterator[Link]:
    """Yield the Latin domains inside a domain that was written without scheme; a path belongs to the last one."""
    links: list[Link] = []
    at = start
    while (labels := _LATIN_LABELS.search(text, at, end)) is not None:
        at = labels.end()
        for dot in (dot for dot in range(labels.end() - 1, labels.start(), -1) if text[dot] == "."):
            if top_levels.get(dot, end + 1) <= end:
                links.append(Link(labels.start(), top_levels[dot], has_scheme=False))
                at = max(at, top_levels[dot])
                break
    if links and path_end is not None:
        links[-1] = Link(links[-1].start, path_end, has_scheme=False)
    yield from links
