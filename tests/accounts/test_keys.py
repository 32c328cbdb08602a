import hashlib
import re

import pytest

from postpost.accounts import keys

FORM = re.compile(r"sk_[0-9a-z]+_[0-9a-f]{16}\.[0-9a-f]{40}")


def test_new_key_when_made_then_it_has_the_documented_form():
    key, _, _ = keys.new_key(1_773_133_200_000)

    assert FORM.fullmatch(key)


@pytest.mark.parametrize(("now_ms", "text"), [(0, "0"), (35, "z"), (36, "10"), (1_773_133_200_000, "mmkdq5c0")])
def test_new_key_when_made_then_its_time_is_in_base_36(now_ms: int, text: str):
    key, _, _ = keys.new_key(now_ms)

    assert key.split("_")[1] == text
    assert int(text, 36) == now_ms


def test_new_key_when_made_then_prefix_and_digest_belong_to_it():
    key, prefix, digest = keys.new_key(1)

    assert keys.split(key) == prefix == key.partition(".")[0]
    assert digest == hashlib.sha256(key.encode()).digest()


def test_new_key_when_made_twice_then_the_keys_differ():
    assert keys.new_key(1)[0] != keys.new_key(1)[0]


@pytest.mark.parametrize("text", ["", "sk_abc", ".secret", ".", "sk_\0.secret", "sk_é.secret", "sk_\ud800.secret"])
def test_split_when_it_can_be_no_key_then_none(text: str):
    assert keys.split(text) is None


def test_split_when_the_form_is_not_ours_then_still_what_stands_before_the_first_dot():
    assert keys.split("anything.with.dots") == "anything"


def test_verify_when_it_is_the_key_then_true():
    key, _, digest = keys.new_key(1)

    assert keys.verify(key, digest)


def test_verify_when_another_secret_has_the_same_prefix_then_false():
    key, prefix, digest = keys.new_key(1)

    assert not keys.verify(f"{prefix}.{'0' * 40}", digest)
    assert not keys.verify(key + "0", digest)


def test_verify_when_the_key_is_no_unicode_text_then_false():
    assert not keys.verify("sk_a_b.\ud800", keys.new_key(1)[2])
