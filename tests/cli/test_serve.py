import json
import socket
import time

import pytest

from postpost.database.migrate import head_revision
from tests.cli.program import call


def test_up_when_started_twice_then_the_owner_is_made_once_and_the_first_key_works(fresh):
    first = fresh.start("up", "--port", "0", "--sandbox")
    try:
        assert set(first.ready) == {"url", "sandboxUrl", "pid", "accountId", "apiKey"}
        assert first.ready["pid"] == first.process.pid
        status, answer = first.call("GET", "/api/v1/list-posts", key=first.ready["apiKey"])
        assert (status, answer["posts"]) == (200, [])
        assert first.call("GET", "/health/ready")[0] == 200
    finally:
        exit_code, output, errors = first.stop()
    assert (exit_code, output) == (0, "")
    assert all(json.loads(line) for line in errors.splitlines())

    second = fresh.start("up", "--port", "0")
    try:
        assert set(second.ready) == {"url", "pid"}
        assert second.call("GET", "/api/v1/list-posts", key=first.ready["apiKey"])[0] == 200
    finally:
        assert second.stop()[0] == 0


def test_up_when_its_port_is_taken_then_refused_before_anything_is_made(fresh):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        said = fresh.refused("up", "--port", str(port))

    assert f"cannot listen on 127.0.0.1:{port}" in said
    assert "--port" in said
    assert fresh.json("doctor")["ok"]


def test_serve_and_work_when_apart_then_a_post_is_published(program):
    program.json("accounts", "create", "--email", "ann@example.com", "--plan", "pro")
    program.json("connections", "add", "--platform", "mastodon", "--id", "1", "--sandbox")
    key = program.json("keys", "create")["apiKey"]
    running = [program.start("sandbox", "--port", "0")]
    program.environ["POSTPOST_SANDBOX_URL"] = running[0].ready["sandboxUrl"]
    try:
        running += [program.start("serve", "--port", "0"), program.start("work")]
        due = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        body = {"content": "Hello", "platforms": ["mastodon-1"], "scheduledTime": due}
        status, made = running[1].call("POST", "/api/v1/create-post", key=key, body=body)
        assert status == 200, made
        deadline = time.monotonic() + 15
        while program.json("posts", "explain", made["postGroupId"])["status"] != "published":
            assert time.monotonic() < deadline
        posts = call("GET", f"{running[0].ready['sandboxUrl']}/_sandbox/mastodon/1/posts")[1]
        assert [post["text"] for post in posts] == ["Hello"]
    finally:
        ended = [one.stop()[0] for one in running]
    assert ended == [0, 0, 0]


@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["work"], ["accounts", "list"]])
def test_commands_when_the_database_is_not_migrated_then_point_to_migrate(program, command):
    empty = program.environ["POSTPOST_DATABASE_URL"].replace("/postpost?", "/postgres?", 1)

    said = program.refused(*command, environ={"POSTPOST_DATABASE_URL": empty})

    assert said.endswith("The database is empty, this version needs 0001. Next step: run `postpost migrate`.")


def test_migrate_when_run_again_then_nothing_changes(program):
    assert program.json("migrate") == {"from": head_revision(), "to": head_revision()}
    assert "already" in program.run("migrate").stdout


def test_commands_when_the_database_is_away_then_one_sentence_without_its_password(fresh):
    away = {"POSTPOST_DATABASE_URL": "postgresql://ann:canary@127.0.0.1:1/postpost"}

    said = fresh.refused("accounts", "list", environ=away)

    assert said.startswith("Error: The database cannot be reached:")
    assert "canary" not in said


def test_commands_when_a_setting_cannot_be_used_then_says_which(fresh):
    said = fresh.refused("accounts", "list", environ={"POSTPOST_PORT": "abc"})

    assert "POSTPOST_PORT: 'abc' cannot be used" in said


def test_version_when_asked_then_printed(fresh):
    assert fresh.run("--version").stdout.startswith("postpost ")


def test_commands_when_unknown_then_wrong_usage(fresh):
    assert "No such command 'fly'" in fresh.refused("fly", exit_code=2)
