import itertools
import os
import threading

import pytest

from postpost.ids import IdMaker, is_id, new_id, normal_id

NOON_MS = 1_772_366_400_123  # 2026-03-01T12:00:00.123Z


def test_new_id_when_made_then_it_is_24_lower_case_hex_digits() -> None:
    made = new_id()
    assert is_id(made)
    assert made == made.lower()


def test_new_id_when_given_a_time_then_it_begins_with_its_seconds_and_milliseconds() -> None:
    made = int(IdMaker()(NOON_MS), 16)
    assert made >> 64 == NOON_MS // 1000
    assert made >> 54 & 0x3FF == NOON_MS % 1000


def test_new_id_when_many_are_made_then_they_rise_strictly() -> None:
    made = [new_id() for _ in range(50_000)]
    assert all(a < b for a, b in itertools.pairwise(made))


def test_new_id_when_the_clock_steps_back_then_ids_still_rise() -> None:
    make = IdMaker()
    assert make(NOON_MS) < make(NOON_MS - 60_000) < make(NOON_MS) < make(NOON_MS + 1)


def test_new_id_when_the_counter_is_used_up_then_the_next_millisecond_is_begun() -> None:
    make = IdMaker()
    first = make(NOON_MS)
    make._counter = (1 << 24) - 1
    made = make(NOON_MS)
    assert made > first
    assert int(made, 16) >> 54 & 0x3FF == (NOON_MS + 1) % 1000


def test_new_id_when_two_processes_share_a_millisecond_then_ids_differ() -> None:
    assert IdMaker()(NOON_MS)[10:18] != IdMaker()(NOON_MS)[10:18]


def test_new_id_when_made_by_threads_then_none_is_made_twice() -> None:
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.extend([new_id() for _ in range(5_000)])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 20_000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_new_id_when_the_process_forks_then_the_child_has_random_bits_of_its_own() -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, new_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    from_child = os.read(reader, 24).decode()
    os.close(reader)
    os.close(writer)
    random_bits = (1 << 54) - (1 << 24)
    assert int(from_child, 16) & random_bits != int(new_id(), 16) & random_bits


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("664f1a2b3c4d5e6f7a8b9c0d", "664f1a2b3c4d5e6f7a8b9c0d"),
        ("664F1A2B3C4D5E6F7A8B9C0D", "664f1a2b3c4d5e6f7a8b9c0d"),
        ("", None),
        ("664f1a2b3c4d5e6f7a8b9c0", None),
        ("664f1a2b3c4d5e6f7a8b9c0d0", None),
        ("664f1a2b3c4d5e6f7a8b9c0d\n", None),
        (" 664f1a2b3c4d5e6f7a8b9c0d", None),
        ("664f1a2b3c4d5e6f7a8b9c0g", None),
        ("٦٦٤f1a2b3c4d5e6f7a8b9c0d", None),
        ("0x4f1a2b3c4d5e6f7a8b9c0d", None),
        ("664f1a2b3c4d5e6f7a8b9c0\0", None),
    ],
)
def test_normal_id_when_given_a_text_then_only_24_hex_digits_pass(text: str, expected: str | None) -> None:
    assert normal_id(text) == expected
    assert is_id(text) == (expected is not None)
