import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from postpost.posts.splitting import Blocked, LongPart, Nothing, Parts, TooLong, split
from postpost.posts.text import clusters, count, prepare

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"
GRIN = "\U0001f600"
FLAG = "\U0001f1eb\U0001f1f7"
ACUTE = "e\u0301"
HAN = "\u6f22"
MEBIBYTE = 1 << 20


def letters(n: int) -> str:
    return "a" * n


def sentence(n: int) -> str:
    return letters(n - 1) + "."


def words(k: int) -> str:
    return " ".join(["word"] * k)


def numbered(*parts: str) -> list[str]:
    return [f"{part} ({number}/{len(parts)})" for number, part in enumerate(parts, 1)]


FENCED = "Config:\n```\na: 1\n---\nb: 2\n```"
HOOK = "Hook [1/3]\n\nBody [2/3]\n\nEnd [3/3]"
THREE = "One\n\n---\n\nTwo\n\n---\n\nThree"

WORKED = {
    "1": ("Hello", ["Hello"]),
    "2": (letters(280), [letters(280)]),
    "3": (letters(275), [letters(275)]),
    "4": (letters(281), numbered(letters(270), letters(11))),
    "5": ("  \n" + letters(280) + "\n\n", [letters(280)]),
    "6": (f"{letters(200)}\n\n{letters(200)}", numbered(letters(200), letters(200))),
    "7": ("\n\n".join([letters(100)] * 3), numbered(f"{letters(100)}\n\n{letters(100)}", letters(100))),
    "8": (f"{letters(200)}\n \t\n{letters(200)}", numbered(letters(200), letters(200))),
    "9": (
        f"{sentence(150)} {sentence(150)} {sentence(100)}",
        numbered(sentence(150), f"{sentence(150)} {sentence(100)}"),
    ),
    "10": (f"{sentence(200)}\n{sentence(200)}", numbered(sentence(200), sentence(200))),
    "11": (words(100), numbered(words(54), words(46))),
    "12": (f"{sentence(40)} {words(60)}", numbered(sentence(40), words(54), words(6))),
    "13": (f"{letters(50)}\n\n{words(60)}", numbered(letters(50), words(54), words(6))),
    "14": (
        f"{letters(140)}\n\n{sentence(120)} {sentence(120)}\n\n{letters(60)}",
        numbered(letters(140), f"{sentence(120)} {sentence(120)}", letters(60)),
    ),
    "15": (THREE, numbered("One", "Two", "Three")),
    "16": ("One\n---\nTwo", numbered("One", "Two")),
    "17": ("One\r\n---\r\nTwo", numbered("One", "Two")),
    "18": ("One\n  ---\t\nTwo", numbered("One", "Two")),
    "19": ("One --- two", ["One --- two"]),
    "20": ("One\n----\nTwo", ["One\n----\nTwo"]),
    "21": ("---\nOne\n---\n---\nTwo\n---", numbered("One", "Two")),
    "22": ("Hello\n\n---\n", ["Hello"]),
    "24": (f"{FENCED}\n---\nDone", numbered(FENCED, "Done")),
    "25": ("```\nOne\n---\nTwo", numbered("```\nOne", "Two")),
    "26": (f"Short\n---\n{words(100)}", numbered("Short", words(54), words(46))),
    "27": (f"Hi\n---\n{letters(275)}", numbered("Hi", letters(270), letters(5))),
    "28": (HOOK, ["Hook [1/3]", "Body [2/3]", "End [3/3]"]),
    "29": ("A [1/2] B [2/2] bye", ["A [1/2]", "B [2/2] bye"]),
    "30": ("[1/2] One\n\n[2/2] Two", ["[1/2] One", "[2/2] Two"]),
    "31": ("See [1/3] and [3/3]", ["See [1/3] and [3/3]"]),
    "32": ("[2/2] A [1/2]", ["[2/2] A [1/2]"]),
    "33": ("One (1/2)\n\nTwo (2/2)", ["One (1/2)\n\nTwo (2/2)"]),
    "34": ("A [1/2]\n---\nB [2/2]", ["A [1/2]", "B [2/2]"]),
    "36": ("```\n[1/2]\n```\nx [1/2]", ["```\n[1/2]\n```\nx [1/2]"]),
    "37": ("\n\n".join([letters(200)] * 12), numbered(*[letters(200)] * 12)),
    "38": ("\n\n".join([letters(270)] * 120), numbered(*[letters(270)] * 120)),
    "39": ("\n\n".join([letters(268)] * 1000), numbered(*[letters(268)] * 1000)),
    "40": (GRIN * 140, [GRIN * 140]),
    "41": (GRIN * 141, numbered(GRIN * 135, GRIN * 6)),
    "42": (FAMILY * 141, numbered(FAMILY * 135, FAMILY * 6)),
    "43": (FLAG * 140, [FLAG * 140]),
    "44": (ACUTE * 280, [ACUTE * 280]),
    "45": (ACUTE * 281, numbered(ACUTE * 270, ACUTE * 11)),
    "46": (HAN * 141, numbered(HAN * 135, HAN * 6)),
    "47": (letters(250) + " https://example.com/abcdefghi", [letters(250) + " https://example.com/abcdefghi"]),
    "47a": (letters(256) + " https://t.co/a", [letters(256) + " https://t.co/a"]),
    "47b": (letters(257) + " https://t.co/a", numbered(letters(257), "https://t.co/a")),
    "48": (
        "See https://example.com/" + letters(280),
        numbered("See", "https://example.com/" + letters(250), letters(30)),
    ),
    "49": (f"{letters(150)}\u00a0{letters(150)}", numbered(f"{letters(150)}\u00a0{letters(119)}", letters(31))),
    "56": (letters(400), numbered(letters(270), letters(130))),
}


@pytest.mark.parametrize(("content", "expected"), WORKED.values(), ids=[f"case-{case}" for case in WORKED])
def test_split_when_worked_case_on_twitter_then_the_parts_of_the_spec(content, expected):
    outcome = split(content, "twitter")
    assert isinstance(outcome, Parts)
    assert list(outcome.parts) == expected


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(letters(500), [letters(500)], id="case-50"),
        pytest.param(letters(501), numbered(letters(490), letters(11)), id="case-51"),
        pytest.param(GRIN * 125, [GRIN * 125], id="case-51a-fits"),
        pytest.param(GRIN * 126, numbered(GRIN * 122, GRIN * 4), id="case-51a-divided"),
        pytest.param(letters(400), [letters(400)], id="case-56"),
    ],
)
def test_split_when_threads_with_reply_chains_then_the_parts_of_the_spec(content, expected):
    assert list(split(content, "threads", reply_chains=True).parts) == expected


@pytest.mark.parametrize(
    ("content", "length"),
    [
        pytest.param(letters(501), 501, id="case-52-long"),
        pytest.param(THREE, len(THREE), id="case-52-separators"),
        pytest.param(HOOK, len(HOOK), id="case-52-markers"),
        pytest.param(f"{letters(600)} [1/2]\nB [2/2]", 614, id="long-explicit-part"),
    ],
)
def test_split_when_threads_without_reply_chains_then_blocked(content, length):
    assert split(content, "threads") == Blocked(length)


@pytest.mark.parametrize("content", ["Hello\n\n---\n", letters(500)], ids=["case-53", "case-50"])
def test_split_when_threads_without_reply_chains_and_one_part_then_published(content):
    assert isinstance(split(content, "threads"), Parts)


@pytest.mark.parametrize("content", ["", " \n", "---", "---\n---"])
def test_split_when_no_text_is_left_then_nothing(content):
    assert split(content, "twitter") == Nothing()


def test_split_when_explicit_part_is_too_long_then_not_divided():
    assert split(f"{letters(300)} [1/2]\nB [2/2]", "twitter") == TooLong((LongPart(1, 306),))


@pytest.mark.parametrize("content", [THREE, HOOK, letters(4000)])
@pytest.mark.parametrize("key", ["linkedin", "bluesky"])
def test_split_when_platform_has_no_threads_then_one_part_unchanged(key, content):
    assert split(content, key).parts == (content,)


@pytest.mark.parametrize(
    ("content", "longest"),
    [
        pytest.param(letters(300), 300, id="no-separators"),
        pytest.param(f"{letters(200)}\n---\n{letters(250)}", 250, id="longest-segment"),
    ],
)
def test_split_when_divided_then_says_how_long_the_longest_piece_was(content, longest):
    assert split(content, "twitter").longest == longest


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param("~~~\n---\n~~~\n---\nb", numbered("~~~\n---\n~~~", "b"), id="tildes"),
        pytest.param("````\n```\n---\n````\nb", ["````\n```\n---\n````\nb"], id="closer-as-long"),
        pytest.param("```\n~~~\n---\n```", ["```\n~~~\n---\n```"], id="other-character-inside"),
        pytest.param("  ```py\n---\n  ````", ["```py\n---\n  ````"], id="indented"),
        pytest.param("```a\n---\n~~~\n---\n~~~", numbered("```a", "~~~\n---\n~~~"), id="unclosed-then-closed"),
    ],
)
def test_split_when_fenced_code_then_protected_only_if_closed(content, expected):
    assert list(split(content, "twitter").parts) == expected


def test_split_when_hard_cut_would_make_a_link_then_part_still_fits():
    content = "x" * 200 + "/" + "y" * 62 + "!ab.community" + "z" * 300
    assert all(count(part, "twitter") <= 280 for part in split(content, "twitter").parts)


def test_split_when_one_cluster_is_over_the_budget_then_code_points_go_alone():
    parts = split("a" + "\u0301" * 300, "twitter").parts
    assert parts[0] == "a (1/32)"
    assert all(count(part, "twitter") <= 280 for part in parts)


PIECES = [
    "a",
    "word",
    "word ",
    "Stop. ",
    "\n",
    "\n\n",
    "\n---\n",
    " ",
    HAN,
    GRIN,
    FLAG,
    FAMILY,
    ACUTE,
    "\u00a0",
    "a.co",
]
PIECES += ["https://t.co/a ", "a.community", ".", "!", "[1/2]", "[2/2]", "```\n", "w" * 60, "é" * 40, HAN * 70, "/"]
TANGLES = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)
LIMITS = {"twitter": 280, "threads": 500}


def automatic(content: str, key: str) -> Parts | None:
    outcome = split(content, key, reply_chains=True)
    return outcome if isinstance(outcome, Parts) else None


@given(TANGLES | st.text(max_size=1500), st.sampled_from(["twitter", "threads"]))
def test_split_when_anything_then_no_part_over_the_limit(content, key):
    outcome = automatic(content, key)
    assert outcome is None or all(count(part, key) <= LIMITS[key] for part in outcome.parts)


@given(TANGLES.filter(lambda text: "---" not in text), st.sampled_from(["twitter", "threads"]))
def test_split_when_divided_then_only_white_space_is_lost(content, key):
    outcome = automatic(content, key)
    if outcome is None:
        return
    parts = list(outcome.parts)
    if len(parts) > 1 and parts[0].endswith(f" (1/{len(parts)})"):
        parts = [part.removesuffix(f" ({number}/{len(parts)})") for number, part in enumerate(parts, 1)]
    assert "".join("".join(parts).split()) == "".join(prepare(content, key).split())


@given(st.lists(st.sampled_from([FAMILY, FLAG, ACUTE, GRIN, "a" + "\u0323\u0301" * 9]), min_size=60, max_size=400))
def test_split_when_hard_cuts_then_no_cluster_is_broken(pieces):
    whole = set(pieces)
    for part in split("".join(pieces), "twitter").parts:
        body = part.rpartition(" (")[0] or part
        assert set(clusters(body)) <= whole


@given(st.text(max_size=400), st.sampled_from(["twitter", "threads"]))
def test_split_when_one_part_then_splitting_it_again_changes_nothing(content, key):
    outcome = automatic(content, key)
    if outcome is not None and len(outcome.parts) == 1:
        assert split(outcome.parts[0], key, reply_chains=True) == outcome


HOSTILE = {
    "prose": "Lorem ipsum dolor sit amet, consectetur. ",
    "no-break": "a",
    "paragraphs": "a\n\n",
    "han": HAN,
    "emoji": FAMILY,
    "dots": "a.",
    "links": "https://t.co/a ",
    "separators": "a\n---\n",
    "open-fences": "```x\n",
    "fences": "```\n",
    "accents": "\u0301",
    "blank": "a" + " " * 50 + "\n" + " " * 50,
    "markers": "[1/2]",
}


@pytest.mark.parametrize("key", ["twitter", "threads"])
@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE)
def test_split_when_a_mebibyte_then_within_seconds(piece, key):
    content = "x" + piece * (MEBIBYTE // len(piece.encode()))
    began = time.monotonic()
    split(content, key, reply_chains=True)
    assert time.monotonic() - began < 20
