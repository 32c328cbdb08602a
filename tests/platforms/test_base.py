import pytest

from postpost.platforms.base import Response


@pytest.mark.parametrize("body", [b"<html>", b'{"id": "1\\u0000"}', b"\xff", b"", b'{"a": NaN}'])
def test_json_when_the_answer_is_none_or_holds_what_nobody_can_store_then_none(body):
    assert Response(200, {}, body).json() is None


def test_text_when_it_holds_nul_or_is_no_utf8_then_replaced():
    assert Response(400, {}, b"no\0way \xff").text() == "no\ufffdway \ufffd"
