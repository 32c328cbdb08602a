import pytest


@pytest.fixture(scope="module")
def sandbox(program):
    program.json("accounts", "create", "--email", "ann@example.com", "--plan", "pro")
    running = program.start("sandbox", "--port", "0")
    program.environ["POSTPOST_SANDBOX_URL"] = running.ready["sandboxUrl"]
    yield running
    exit_code, _, errors = running.stop()
    assert exit_code == 0, errors


def test_add_when_in_the_sandbox_then_listed_and_tested(program, sandbox):
    words = ["--platform", "mastodon", "--id", "demo", "--sandbox", "--token-expires-at", "2931-01-01"]
    made = program.json("connections", "add", *words)

    tested = program.json("connections", "test", "mastodon-demo")

    assert (made["platformId"], made["sandbox"]) == ("mastodon-demo", True)
    assert made["accessTokenExpiresAt"] == "2931-01-01T00:00:00.000Z"
    assert (tested["status"], tested["message"]) == ("ok", f"Connected as {tested['username']}")
    assert "mastodon-demo" in program.run("connections", "list").stdout


def test_add_when_credentials_come_from_standard_input_then_the_platform_is_asked_whose_they_are(program, sandbox):
    made = program.json(
        *("connections", "add", "--platform", "mastodon", "--credential", "access_token=-"),
        *("--base-url", f"{sandbox.ready['sandboxUrl']}/mastodon"),
        stdin="sandbox-ann\n",
    )

    assert made["platformId"].startswith("mastodon-ann")
    assert made["sandbox"] is False


def test_add_when_the_platform_refuses_then_its_words_and_no_connection(program, sandbox):
    before = program.json("connections", "list")

    said = program.refused(
        *("connections", "add", "--platform", "mastodon", "--credential", "access_token=wrong"),
        *("--base-url", f"{sandbox.ready['sandboxUrl']}/mastodon"),
    )

    assert said.startswith("Error: The platform says:")
    assert "wrong" not in said
    assert program.json("connections", "list") == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--platform", "myspace", "--id", "1", "--sandbox"], "known are twitter, linkedin, bluesky, mastodon"),
        (["--platform", "mastodon", "--sandbox"], "needs an --id"),
        (["--platform", "mastodon", "--id", "a b", "--sandbox"], "cannot be an account's id"),
        (["--platform", "bluesky"], "--credential identifier=..., --credential app_password=..."),
        (["--platform", "mastodon", "--credential", "access_token"], "KEY=VALUE is expected"),
        (["--platform", "mastodon", "--credential", "access_token=-"], "standard input has no line"),
        (["--platform", "mastodon", "--credential", "access_token=x", "--base-url", "ftp://a"], "is no address"),
        (["--platform", "mastodon", "--id", "1", "--sandbox", "--base-url", "https://a"], "takes neither"),
    ],
)
def test_add_when_a_value_cannot_be_used_then_wrong_usage(program, words, said):
    assert said in program.refused("connections", "add", *words, stdin="", exit_code=2)


def test_test_when_the_credentials_do_not_work_then_exit_code_1(program, sandbox):
    program.json("connections", "add", "--platform", "linkedin", "--id", "lin", "--sandbox")

    result = program.run("connections", "test", "linkedin-lin", environ={"POSTPOST_SANDBOX_URL": "http://127.0.0.1:1"})

    assert result.exit_code == 1
    assert "could not be reached" in result.stdout


def test_test_when_not_connected_then_refused(program, sandbox):
    assert "Connection not found" in program.refused("connections", "test", "mastodon-nobody")


def test_remove_when_connected_then_gone(program, sandbox):
    program.json("connections", "add", "--platform", "bluesky", "--id", "did:plc:x", "--sandbox")

    program.json("connections", "remove", "--platform", "bluesky", "--id", "did:plc:x")

    assert "bluesky" not in str(program.json("connections", "list"))
    assert "has no connection" in program.refused("connections", "remove", "bluesky-did:plc:x")
