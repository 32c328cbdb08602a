import pytest


@pytest.fixture
def email(program, request):
    """An account of the test's own."""
    address = f"{abs(hash(request.node.name))}@example.com"
    program.json("accounts", "create", "--email", address, "--plan", "pro")
    return address


def test_create_when_made_then_the_key_is_listed_without_its_secret(program, email):
    made = program.json("keys", "create", "--account", email, "--name", "Backup")

    [listed] = program.json("keys", "list", "--account", email)["apiKeys"]

    assert made["apiKey"].startswith(f"{made['keyPrefix']}.")
    assert (listed["name"], listed["keyPrefix"], listed["lastUsedAt"]) == ("Backup", made["keyPrefix"], None)
    assert made["apiKey"].partition(".")[2] not in str(listed)


def test_create_when_printed_for_people_then_the_key_stands_alone_on_standard_output(program, email):
    result = program.run("keys", "create", "--account", email)

    assert result.stdout.startswith("sk_")
    assert len(result.stdout.splitlines()) == 1
    assert "only time" in result.stderr


def test_create_when_the_plan_has_no_api_access_then_says_so(program, email):
    program.json("accounts", "set", email, "--plan", "starter")

    assert "no API access" in program.run("keys", "create", "--account", email).stderr


def test_create_when_there_are_ten_then_refused(program, email):
    for _ in range(10):
        program.json("keys", "create", "--account", email)

    assert "ten active keys" in program.refused("keys", "create", "--account", email)


@pytest.mark.parametrize("named_by", ["keyPrefix", "apiKey"])
def test_revoke_when_named_then_no_longer_listed(program, email, named_by):
    made = program.json("keys", "create", "--account", email)

    program.json("keys", "revoke", made[named_by], "--account", email)

    assert program.json("keys", "list", "--account", email)["apiKeys"] == []


def test_revoke_when_of_another_account_then_refused(program, email):
    made = program.json("keys", "create", "--account", email)
    program.json("accounts", "create", "--email", f"other-{email}")

    said = program.refused("keys", "revoke", made["keyPrefix"], "--account", f"other-{email}")

    assert "has no active key" in said
    assert len(program.json("keys", "list", "--account", email)["apiKeys"]) == 1


def test_list_when_there_are_several_accounts_and_none_is_named_then_refused(program, email):
    program.json("accounts", "create", "--email", f"another-{email}")

    assert "There are several accounts. Next step: say which one with --account" in program.refused("keys", "list")
