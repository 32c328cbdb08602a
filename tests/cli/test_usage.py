def test_show_when_one_account_and_nothing_is_counted_then_zero(program):
    program.json("accounts", "create", "--email", "ann@example.com", "--plan", "starter")

    shown = program.json("usage", "show")

    assert (shown["used"], shown["pending"], shown["platforms"]) == (0, 0, [])
    assert (shown["planName"], shown["monthlyPosts"], shown["monthlyPostsScope"]) == ("Starter", 15, "account")


def test_set_when_set_twice_then_the_last_one_counts(program):
    for used in ("5", "14"):
        program.json("usage", "set", "--platform-id", "mastodon-1", "--used", used)

    shown = program.json("usage", "show")

    assert shown["platforms"] == [{"platformId": "mastodon-1", "used": 14, "pending": 0}]
    assert "mastodon-1" in program.run("usage", "show").stdout


def test_set_when_for_a_managed_user_then_it_counts_on_the_parent(program):
    program.json("accounts", "create", "--email", "managed@example.com", "--parent", "ann@example.com")

    words = ["--platform-id", "bluesky-did:plc:a", "--used", "3", "--account", "managed@example.com"]
    answer = program.json("usage", "set", *words)

    parent = program.json("accounts", "show", "ann@example.com")["accountId"]
    platforms = program.json("usage", "show", "--account", "ann@example.com")["platforms"]
    assert answer["billingAccountId"] == parent
    assert {"platformId": "bluesky-did:plc:a", "used": 3, "pending": 0} in platforms


def test_set_when_values_cannot_be_used_then_wrong_usage(program):
    assert "is no platform id" in program.refused("usage", "set", "--platform-id", "x", "--used", "1", exit_code=2)
    program.refused("usage", "set", "--platform-id", "mastodon-1", "--used", "-1", exit_code=2)
