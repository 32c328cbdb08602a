import itertools

import pytest

from tests.cli.program import call

_numbers = itertools.count()


@pytest.fixture
def email():
    return f"user{next(_numbers)}@example.com"


def test_create_when_only_an_address_is_given_then_the_default_plan_holds(program, email):
    made = program.json("accounts", "create", "--email", email)

    assert made["displayName"] == email
    assert made["plan"] is None
    assert made["active"] is True
    assert program.json("accounts", "show", email)["activePlan"]["planKey"] == "starter"


def test_create_when_everything_is_given_then_it_is_stored(program, email):
    parent = program.json("accounts", "create", "--email", f"parent-{email}")["accountId"]

    made = program.json(
        *("accounts", "create", "--email", email, "--display-name", "Ann", "--plan", "Pro"),
        *("--entitlement", "monthlyPosts=7", "--entitlement", "allowedPlatforms=mastodon,bluesky"),
        *("--seats", "3", "--workspaces", "--admin", "--inactive", "--parent", f"parent-{email}"),
        *("--hold", "Invoice open", "--hold-until", "2931-05-04T08:30:00+02:00"),
    )

    del made["accountId"], made["createdAt"]
    assert made == {
        "email": email,
        "displayName": "Ann",
        "plan": "pro",
        "entitlements": {"monthlyPosts": 7, "allowedPlatforms": ["mastodon", "bluesky"]},
        "seats": 3,
        "workspaces": True,
        "admin": True,
        "active": False,
        "hold": {"reason": "Invoice open", "until": "2931-05-04T06:30:00.000Z"},
        "parentId": parent,
    }


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--plan", "gold"], "there is no plan 'gold'; the plans are starter, pro, premium"),
        (["--entitlement", "apiAcess=true"], "there is no such entitlement"),
        (["--entitlement", "apiAccess=perhaps"], "true or false"),
        (["--seats", "-1"], "no number of seats"),
        (["--seats", "many"], "no number of seats"),
        (["--hold-until", "soon"], "is no time"),
        (["--display-name", "  "], "can read"),
        (["--email", "nobody"], "is no e-mail address"),
    ],
)
def test_create_when_a_value_cannot_be_used_then_wrong_usage_and_nothing_is_made(program, email, words, said):
    assert said in program.refused("accounts", "create", "--email", email, *words, exit_code=2)
    assert email not in str(program.json("accounts", "list"))


def test_create_when_parent_is_unknown_then_refused(program, email):
    said = program.refused("accounts", "create", "--email", email, "--parent", "nobody@example.com")

    assert "There is no account 'nobody@example.com'. Next step:" in said


def test_set_when_single_values_are_given_then_the_rest_stays(program, email):
    program.json("accounts", "create", "--email", email, "--plan", "pro", "--entitlement", "mcpAccess=false")

    changed = program.json("accounts", "set", email, "--entitlement", "apiAccess=true", "--seats", "5")

    assert changed["plan"] == "pro"
    assert changed["seats"] == 5
    assert changed["entitlements"] == {"mcpAccess": False, "apiAccess": True}


def test_set_when_values_are_taken_away_then_they_are_null(program, email):
    program.json(
        "accounts", "create", "--email", email, "--plan", "pro", "--seats", "2", "--entitlement", "mcpAccess=true"
    )

    words = ["--plan", "none", "--seats", "none", "--no-entitlement", "mcpAccess"]
    changed = program.json("accounts", "set", "--account", email, *words)

    assert (changed["plan"], changed["seats"], changed["entitlements"]) == (None, None, {})


def test_set_when_hold_is_set_and_ended_then_shown_so(program, email):
    program.json("accounts", "create", "--email", email)

    held = program.json("accounts", "set", email, "--hold", "Check")
    freed = program.json("accounts", "set", email, "--no-hold")

    assert held["hold"] == {"reason": "Check", "until": None}
    assert freed["hold"] is None


def test_set_when_hold_is_over_then_it_counts_as_none(program, email):
    program.json("accounts", "create", "--email", email)

    assert program.json("accounts", "set", email, "--hold", "Check", "--hold-until", "2001-01-01")["hold"] is None


def test_set_when_only_an_end_is_given_without_a_hold_then_refused(program, email):
    program.json("accounts", "create", "--email", email)

    assert "is not on hold" in program.refused("accounts", "set", email, "--hold-until", "2931-01-01")


def test_set_when_nothing_is_to_be_changed_then_wrong_usage(program):
    assert "say what to change" in program.refused("accounts", "set", "x@example.com", exit_code=2)


def test_set_when_account_is_its_own_parent_then_refused(program, email):
    program.json("accounts", "create", "--email", email)

    assert "own parent" in program.refused("accounts", "set", email, "--parent", email)


def test_delete_when_confirmed_then_gone(program, email):
    account_id = program.json("accounts", "create", "--email", email)["accountId"]

    result = program.run("accounts", "delete", email, stdin="y\n")

    assert result.exit_code == 0
    assert account_id in result.stdout
    assert "There is no account" in program.refused("accounts", "show", account_id)


def test_delete_when_not_confirmed_then_kept(program, email):
    program.json("accounts", "create", "--email", email)

    assert program.run("accounts", "delete", email, stdin="n\n").exit_code == 1
    assert program.json("accounts", "show", email)["email"] == email


def test_delete_when_no_account_is_named_then_wrong_usage(program):
    assert "say which account" in program.refused("accounts", "delete", "--yes", exit_code=2)


def test_show_when_several_accounts_share_an_address_then_asks_for_an_id(program, email):
    ids = [program.json("accounts", "create", "--email", email)["accountId"] for _ in range(2)]

    said = program.refused("accounts", "show", email)

    assert all(account_id in said for account_id in ids)


def test_show_when_the_id_is_in_upper_case_then_found(program, email):
    account_id = program.json("accounts", "create", "--email", email)["accountId"]

    assert program.json("accounts", "show", account_id.upper())["accountId"] == account_id


def test_list_when_printed_for_people_then_a_table(program, email):
    program.json("accounts", "create", "--email", email, "--inactive")

    line = next(line for line in program.run("accounts", "list").stdout.splitlines() if email in line)

    assert "inactive" in line


def test_list_when_a_name_has_control_characters_then_they_do_not_reach_the_terminal(program, email):
    assert "can read" in program.refused(
        "accounts", "create", "--email", email, "--display-name", "a\x1b[2Jb", exit_code=2
    )


def test_inactive_when_posts_are_scheduled_then_they_become_drafts(fresh):
    running = fresh.start("up", "--port", "0")
    try:
        key = running.ready["apiKey"]
        fresh.json("connections", "add", "--platform", "mastodon", "--id", "1", "--sandbox")
        body = {"content": "Later", "platforms": ["mastodon-1"], "scheduledTime": "2931-05-04T08:30:00Z"}
        _, made = running.call("POST", "/api/v1/create-post", key=key, body=body)
        changed = fresh.json("accounts", "set", "--inactive")
        status, refusal = call("GET", f"{running.ready['url']}/api/v1/list-posts", key=key)
        explained = fresh.json("posts", "explain", made["postGroupId"])
    finally:
        exit_code, output, errors = running.stop()
    assert changed["movedToDraft"] == 1
    assert (status, refusal["error"]) == (403, "Account inactive")
    assert explained["status"] == "draft"
    assert explained["scheduledTime"] == "2931-05-04T08:30:00.000Z"
    assert (exit_code, output) == (0, ""), errors
