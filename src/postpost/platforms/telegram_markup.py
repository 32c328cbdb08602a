"""The markup of Telegram posts: plain text and entities from `*bold*`, `_italic_`, code, links and quotes.

Telegram gets the text with entities and no `parse_mode`, so nothing can fail to parse: a mark without a partner
stays as typed (spec platform-rules.md 7.7). Bold and italic end on the line on which they begin.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

FENCE = "```"
_LANGUAGE = re.compile(r"([A-Za-z0-9+#.-]{1,32})[ \t]*\n")
_TOKEN = re.compile(
    r"`(?P<code>[^`\n]+)`"
    r"|\[(?P<label>[^\[\]\n]+)\]\((?P<url>(?:https?|tg)://(?:[^\s()]|\([^\s()]*\))++)\)"
    r"|(?P<mark>[*_])"
)
_TYPES = {"*": "bold", "_": "italic"}


@dataclass(frozen=True, slots=True)
class Entity:
    """A Telegram MessageEntity; `offset` and `length` in UTF-16 code units of the plain text."""

    type: str
    offset: int
    length: int
    url: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Marked:
    """Text without its markup, and the entities that stand for the markup, outer ones first."""

    text: str
    entities: tuple[Entity, ...]


def utf16_length(text: str) -> int:
    """Return the length in UTF-16 code units, which is how Telegram and JavaScript count."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def parse_markup(text: str) -> Marked:
    """Take the markup out of a text (spec platform-rules.md 7.7). Linear in the length of the text."""
    writer = _Writer()
    for is_code, piece in _blocks(text):
        if is_code:
            language = _LANGUAGE.match(piece)
            body = piece[language.end() :] if language else piece
            start = writer.length
            writer.write(body.strip("\n"))
            writer.enclose("pre", start, language=language.group(1) if language else None)
        else:
            _write_prose(writer, piece)
    entities = sorted(writer.entities, key=lambda entity: (entity.offset, -entity.length))
    return Marked("".join(writer.pieces), tuple(entities))


class _Writer:
    """Collects plain text and keeps its length in UTF-16 code units."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.entities: list[Entity] = []
        self.length = 0

    def write(self, text: str) -> None:
        self.pieces.append(text)
        self.length += utf16_length(text)

    def enclose(self, type_: str, start: int, *, url: str | None = None, language: str | None = None) -> None:
        if self.length > start:
            self.entities.append(Entity(type_, start, self.length - start, url, language))


def _blocks(text: str) -> Iterator[tuple[bool, str]]:
    """Yield the text in pieces: whether it is the inside of a closed triple-backtick block, and the piece."""
    at = 0
    while (begin := text.find(FENCE, at)) >= 0:
        end = text.find(FENCE, begin + len(FENCE))
        if end < 0:
            break
        if not text[begin + len(FENCE) : end].strip():
            yield False, text[at : end + len(FENCE)]
        else:
            yield False, text[at:begin]
            yield True, text[begin + len(FENCE) : end]
        at = end + len(FENCE)
    yield False, text[at:]


def _write_prose(writer: _Writer, text: str) -> None:
    """Write text outside code blocks; neighbouring lines that begin with `>` make one quote."""
    lines = text.split("\n")
    numbered = list(enumerate(lines))
    # The first line of a piece goes on behind a code block, so it is at the start of a line only in the first piece.
    for is_quote, group in groupby(numbered, lambda line: line[1].startswith(">") and _at_line_start(writer, line[0])):
        start: int | None = None
        for number, line in group:
            if number:
                writer.write("\n")
            start = writer.length if start is None else start
            _write_line(writer, line[1:].removeprefix(" ") if is_quote else line)
        if is_quote and start is not None:
            writer.enclose("blockquote", start)


def _at_line_start(writer: _Writer, number: int) -> bool:
    return number > 0 or writer.length == 0


def _write_line(writer: _Writer, line: str) -> None:
    tokens = list(_TOKEN.finditer(line))
    closers = _pair(line, tokens)
    openers = set(closers.values())
    starts: dict[int, int] = {}
    at = 0
    for number, token in enumerate(tokens):
        writer.write(line[at : token.start()])
        at = token.end()
        start = writer.length
        if token["code"] is not None:
            writer.write(token["code"])
            writer.enclose("code", start)
        elif token["label"] is not None:
            writer.write(token["label"])
            writer.enclose("text_link", start, url=token["url"])
        elif number in openers:
            starts[number] = start
        elif number in closers:
            writer.enclose(_TYPES[token["mark"]], starts[closers[number]])
        else:
            writer.write(token["mark"])
    writer.write(line[at:])


def _pair(line: str, tokens: list[re.Match[str]]) -> dict[int, int]:
    """Map each closing mark of a line to its opening one, both as places in `tokens`. Pairs never overlap in part."""
    closers: dict[int, int] = {}
    open_marks: list[tuple[str, int]] = []
    for number, token in enumerate(tokens):
        mark = token["mark"]
        if mark is None:
            # Code may stand inside no other entity.
            if token["code"] is not None:
                open_marks.clear()
            continue
        before, after = line[max(token.start() - 1, 0) : token.start()], line[token.end() : token.end() + 1]
        if mark in (before, after):
            continue
        opener = next((place for place, known in enumerate(open_marks) if known[0] == mark), None)
        if opener is not None and not before.isspace() and not after.isalnum():
            closers[number] = open_marks[opener][1]
            del open_marks[opener:]
        elif opener is None and after and not after.isspace() and not before.isalnum():
            open_marks.append((mark, number))
    return closers
