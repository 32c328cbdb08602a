import time

import pytest

from tests.cli.program import call


@pytest.fixture(scope="module")
def running(program):
    running = program.start("up", "--port", "0", "--sandbox")
    program.environ["POSTPOST_SANDBOX_URL"] = running.ready["sandboxUrl"]
    for platform, external_id in (("mastodon", "good"), ("linkedin", "strict"), ("mastodon", "busy")):
        program.json("connections", "add", "--platform", platform, "--id", external_id, "--sandbox")
    yield running
    exit_code, _, errors = running.stop()
    assert exit_code == 0, errors


def fault(running, platform_id, **given):
    platform, _, account = platform_id.partition("-")
    status, _ = call("POST", f"{running.ready['sandboxUrl']}/_sandbox/{platform}/{account}/faults", body=given)
    assert status == 201


def create(running, *platform_ids, at=None):
    body = {"content": "Hello\nworld", "platforms": list(platform_ids), "scheduledTime": at}
    status, answer = running.call("POST", "/api/v1/create-post", key=running.ready["apiKey"], body=body)
    assert status == 200, answer
    return answer["postGroupId"]


def explained(program, group_id, until):
    """Return what `posts explain` says once `until` holds for it."""
    deadline = time.monotonic() + 15
    while True:
        found = program.json("posts", "explain", group_id)
        if until(found):
            return found
        assert time.monotonic() < deadline, found


def now():
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@pytest.fixture(scope="module")
def partial(program, running):
    """A group that one of two platforms has refused."""
    fault(running, "linkedin-strict", kind="reject")
    group_id = create(running, "mastodon-good", "linkedin-strict", at=now())
    explained(program, group_id, lambda found: found["status"] != "scheduled")
    return group_id


def test_show_when_partially_published_then_entries_as_in_get_post(program, running, partial):
    shown = program.json("posts", "show", partial)
    _, answer = running.call("GET", f"/api/v1/get-post/{partial}", key=running.ready["apiKey"])

    assert shown["status"] == "partially_published"
    assert shown["posts"] == answer["posts"]
    assert shown["accountId"] == running.ready["accountId"]


def test_explain_when_a_platform_refused_then_what_it_said(program, running, partial):
    good, strict = program.json("posts", "explain", partial)["posts"]

    assert good["sentences"][0].startswith(f"It is published as {good['postedId']}")
    assert strict["lastFailure"]["code"] == "INVALID_CONTENT"
    assert strict["lastFailure"]["status"] == 422
    assert strict["attempts"] == 1
    assert "has failed for good with INVALID_CONTENT" in strict["sentences"][0]


def test_explain_when_printed_for_people_then_sentences(program, running, partial):
    printed = program.run("posts", "explain", partial).stdout

    assert "linkedin-strict: failed" in printed
    assert "It has ended as partially_published." in printed


def test_explain_when_waiting_for_its_time_then_says_when(program, running):
    group_id = create(running, "mastodon-good", at="2931-05-04T08:30:00Z")

    found = program.json("posts", "explain", group_id)

    assert found["dueAt"] == "2931-05-04T08:30:00.000Z"
    assert found["sentences"][0].startswith("It waits for its time, 2931-05-04T08:30:00.000Z (in ")
    assert found["posts"][0]["sentences"] == ["It waits for its group."]


def test_explain_when_a_draft_then_says_so(program, running):
    assert "It is a draft" in program.json("posts", "explain", create(running, "mastodon-good"))["sentences"][0]


def test_explain_when_rate_limited_then_next_try_and_who_limits(program, running):
    fault(running, "mastodon-busy", kind="rate_limited", retryAfter=600)
    group_id = create(running, "mastodon-busy", at=now())

    [post] = explained(program, group_id, lambda found: found["posts"][0]["lastFailure"])["posts"]

    assert post["status"] == "pending"
    assert post["nextTry"] is not None
    assert post["lastFailure"]["code"] == "RATE_LIMITED"
    assert any("limits how much mastodon-busy may post" in sentence for sentence in post["sentences"])
    assert any(sentence.startswith("The next try is") for sentence in post["sentences"])


def test_retry_when_a_post_has_failed_then_it_is_published(program, running, partial):
    answer = program.json("posts", "retry", partial)

    assert answer["retried"] == ["linkedin-strict"]
    explained(program, partial, lambda found: found["status"] == "published")
    assert "no failed posts" in program.refused("posts", "retry", partial)


def test_list_when_filtered_then_only_those(program, running):
    group_id = create(running, "mastodon-good")

    listed = program.json("posts", "list", "--status", "draft")

    assert group_id in [post["postGroupId"] for post in listed["posts"]]
    assert {post["status"] for post in listed["posts"]} == {"draft"}
    assert "Hello world" in program.run("posts", "list").stdout


def test_list_when_status_is_unknown_then_wrong_usage(program):
    program.refused("posts", "list", "--status", "lost", exit_code=2)


@pytest.mark.parametrize("command", ["show", "explain", "retry"])
def test_group_commands_when_there_is_no_such_group_then_refused(program, running, command):
    assert "There is no post group" in program.refused("posts", command, "69f85a3a0c1d2e3f40516270")
    assert "is no id of a post group" in program.refused("posts", command, "abc")
