"""`postpost up` on its embedded database, killed and started again."""

import shutil
import time
from datetime import UTC, datetime, timedelta

import pytest

from tests.cli.program import Program, call, new_home
from tests.factories import iso


@pytest.fixture
def program():
    home = new_home()
    yield Program(
        {
            "POSTPOST_HOME": str(home),
            "POSTPOST_LOG_LEVEL": "error",
            "POSTPOST_PLATFORM_TIMEOUT_SECONDS": "1",
        }
    )
    shutil.rmtree(home.parent, ignore_errors=True)


def until(check, *, within):
    """Wait for `check` to return something truthy: the program is another process, there is nothing to await."""
    deadline = time.monotonic() + within
    while not (found := check()):
        assert time.monotonic() < deadline, f"still {found!r} after {within} s"
    return found


def test_up_when_killed_and_started_again_then_scheduled_posts_go_out_once(program):
    sandbox = program.start("sandbox", "--port", "0")
    program.environ["POSTPOST_SANDBOX_URL"] = sandbox.ready["sandboxUrl"]
    first = program.start("up", "--port", "0")
    try:
        key = first.ready["apiKey"]
        program.json("connections", "add", "--platform", "mastodon", "--id", "5", "--sandbox")

        def create(content, seconds):
            at = iso(datetime.now(UTC) + timedelta(seconds=seconds))
            body = {"content": content, "platforms": ["mastodon-5"], "scheduledTime": at}
            status, answer = first.call("POST", "/api/v1/create-post", key=key, body=body)
            assert status == 200, answer
            return answer["postGroupId"]

        faults = f"{sandbox.ready['sandboxUrl']}/_sandbox/mastodon/5/faults"
        call("POST", faults, body={"kind": "slow_after_accept", "delay": 30})
        in_hand, later = create("In hand", 0), create("Later", 2)
        until(lambda: call("GET", faults) == (200, []), within=10)
        first.process.kill()
        first.process.communicate(timeout=10)
        first = program.start("up", "--port", "0")

        def statuses():
            answers = [first.call("GET", f"/api/v1/get-post/{group}", key=key)[1] for group in (in_hand, later)]
            return [entry["status"] for answer in answers for entry in answer["posts"]] == ["published"] * 2

        until(statuses, within=30)
        posts = call("GET", f"{sandbox.ready['sandboxUrl']}/_sandbox/mastodon/5/posts")[1]
        assert sorted(post["text"] for post in posts) == ["In hand", "Later"]
        assert first.stop()[0] == 0
    finally:
        for running in (first, sandbox):
            running.process.kill()
            running.process.communicate(timeout=10)
