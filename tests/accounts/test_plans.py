from dataclasses import replace
from pathlib import Path

import pytest

from postpost.accounts.plans import (
    BUILT_IN,
    ENTITLEMENT_KEYS,
    PLATFORM_KEYS,
    ActivePlan,
    Entitlements,
    Scope,
    check_plan_key,
    load_plans,
    parse_override,
    resolve,
)
from postpost.config import ConfigError
from postpost.values import Json

NINE = ("linkedin", "instagram", "threads", "tiktok", "youtube", "facebook", "bluesky", "mastodon", "telegram")

AGENCY = """
[agency]
name = "Agency"
apiAccess = true
mcpAccess = false
monthlyPosts = "unlimited"
monthlyPostsScope = "account"
scheduledPosts = 0
scheduledPostsScope = "connection"
scheduleHorizonDays = 1.5
connections = "seats"
allowedPlatforms = ["mastodon", "linkedin"]
"""


def problems_of(path: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load_plans(path)
    return tuple(problem.removeprefix(f"{path}: ") for problem in caught.value.problems)


@pytest.fixture
def plans_file(tmp_path: Path) -> Path:
    return tmp_path / "plans.toml"


def active(
    plan_key: str | None, overrides: dict[str, Json] | None = None, seats: int | None = None, default: str | None = None
) -> ActivePlan | None:
    return resolve(plan_key, overrides or {}, seats, plans=BUILT_IN, default_plan=default)


def test_platform_keys_when_listed_then_the_ten_in_registry_order():
    assert ("twitter", *NINE) == PLATFORM_KEYS


def test_built_in_when_starter_then_as_documented():
    plan = BUILT_IN["starter"]

    assert (plan.key, plan.name) == ("starter", "Starter")
    assert plan.entitlements == Entitlements(
        api_access=False,
        mcp_access=False,
        monthly_posts=15,
        monthly_posts_scope=Scope.ACCOUNT,
        scheduled_posts=3,
        scheduled_posts_scope=Scope.ACCOUNT,
        schedule_horizon_days=7,
        connections=3,
        allowed_platforms=NINE,
    )


@pytest.mark.parametrize(("key", "name", "posts"), [("pro", "Pro", 100), ("premium", "Premium", 500)])
def test_built_in_when_paid_then_as_documented(key: str, name: str, posts: int):
    plan = BUILT_IN[key]

    assert (plan.key, plan.name) == (key, name)
    assert plan.entitlements == Entitlements(
        api_access=True,
        mcp_access=True,
        monthly_posts=posts,
        monthly_posts_scope=Scope.CONNECTION,
        scheduled_posts=posts,
        scheduled_posts_scope=Scope.CONNECTION,
        schedule_horizon_days=None,
        connections="seats",
        allowed_platforms=None,
    )


def test_load_plans_when_there_is_no_file_then_the_built_in_ones():
    assert load_plans(None) == BUILT_IN


def test_load_plans_when_a_plan_is_new_then_it_stands_beside_the_built_in_ones(plans_file: Path):
    plans_file.write_text(AGENCY)

    plans = load_plans(plans_file)

    assert set(plans) == {*BUILT_IN, "agency"}
    assert plans["agency"].name == "Agency"
    assert plans["agency"].entitlements == Entitlements(
        api_access=True,
        mcp_access=False,
        monthly_posts=None,
        monthly_posts_scope=Scope.ACCOUNT,
        scheduled_posts=0,
        scheduled_posts_scope=Scope.CONNECTION,
        schedule_horizon_days=1.5,
        connections="seats",
        allowed_platforms=("linkedin", "mastodon"),
    )


def test_load_plans_when_a_built_in_plan_is_named_then_only_what_is_given_changes(plans_file: Path):
    plans_file.write_text('[starter]\napiAccess = true\nscheduleHorizonDays = "none"\nallowedPlatforms = "all"\n')

    plans = load_plans(plans_file)

    starter = BUILT_IN["starter"]
    changed = replace(starter.entitlements, api_access=True, schedule_horizon_days=None, allowed_platforms=None)
    assert plans == {**BUILT_IN, "starter": replace(starter, entitlements=changed)}


def test_load_plans_when_a_whole_horizon_has_a_fraction_of_zero_then_it_is_whole(plans_file: Path):
    plans_file.write_text("[starter]\nscheduleHorizonDays = 14.0\n")

    assert repr(load_plans(plans_file)["starter"].entitlements.schedule_horizon_days) == "14"


@pytest.mark.parametrize(
    ("line", "accepted"),
    [
        ('apiAccess = "yes"', "true or false"),
        ("mcpAccess = 1", "true or false"),
        ("monthlyPosts = -1", 'a whole number from 0, or "unlimited"'),
        ("monthlyPosts = 1.5", 'a whole number from 0, or "unlimited"'),
        ("scheduledPosts = true", 'a whole number from 0, or "unlimited"'),
        ('monthlyPostsScope = "workspace"', '"account" or "connection"'),
        ("scheduledPostsScope = 1", '"account" or "connection"'),
        ("scheduleHorizonDays = -1", 'a number of days from 0 to 36500, or "none"'),
        ("scheduleHorizonDays = nan", 'a number of days from 0 to 36500, or "none"'),
        ("scheduleHorizonDays = 36501", 'a number of days from 0 to 36500, or "none"'),
        ('connections = "many"', 'a whole number from 0, "seats" or "unlimited"'),
        ('allowedPlatforms = ["myspace"]', f'a list of platforms ({", ".join(PLATFORM_KEYS)}), or "all"'),
        ('allowedPlatforms = "twitter"', f'a list of platforms ({", ".join(PLATFORM_KEYS)}), or "all"'),
        ("allowedPlatforms = [[]]", f'a list of platforms ({", ".join(PLATFORM_KEYS)}), or "all"'),
    ],
)
def test_load_plans_when_a_value_is_bad_then_the_error_says_what_is_accepted(
    plans_file: Path, line: str, accepted: str
):
    plans_file.write_text(f"[pro]\n{line}\n")

    [problem] = problems_of(plans_file)

    assert problem.startswith(f"plan pro: {line.partition(' ')[0]}: ")
    assert problem.endswith(f" cannot be used; accepted: {accepted}")


def test_load_plans_when_an_entitlement_is_unknown_then_the_error_lists_the_known_ones(plans_file: Path):
    plans_file.write_text("[pro]\nmonthlyPost = 5\n")

    expected = f"plan pro: monthlyPost: there is no such entitlement; known are {', '.join(ENTITLEMENT_KEYS)}"
    assert problems_of(plans_file) == (expected,)


def test_load_plans_when_a_new_plan_lacks_something_then_the_error_lists_it(plans_file: Path):
    plans_file.write_text(AGENCY.replace("apiAccess = true", "").replace('name = "Agency"', ""))

    assert problems_of(plans_file) == (
        "plan agency: name: expected a text that people can read",
        "plan agency: a new plan needs apiAccess too",
    )


def test_load_plans_when_several_plans_are_wrong_then_the_error_has_them_all(plans_file: Path):
    plans_file.write_text("pro = 5\n[starter]\nname = 5\n")

    assert problems_of(plans_file) == (
        "plan pro: expected a table, [pro]",
        "plan starter: name: expected a text that people can read",
    )


def test_load_plans_when_the_file_is_no_toml_then_the_error_names_the_line(plans_file: Path):
    plans_file.write_text("[pro\n")

    [problem] = problems_of(plans_file)

    assert problem.startswith("the plans file is no valid TOML: ")
    assert "line 1" in problem


def test_load_plans_when_the_file_is_missing_then_the_error_says_so(plans_file: Path):
    assert problems_of(plans_file) == ("the plans file cannot be read: No such file or directory",)


@pytest.mark.parametrize("key", [None, "pro"])
def test_check_plan_key_when_it_is_a_plan_or_none_then_nothing(key: str | None):
    check_plan_key(key, BUILT_IN)


def test_check_plan_key_when_it_is_no_plan_then_the_error_lists_the_plans():
    with pytest.raises(ConfigError, match="there is no plan 'gold'; the plans are starter, pro, premium"):
        check_plan_key("gold", BUILT_IN)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("apiAccess=true", ("apiAccess", True)),
        ("mcpAccess=false", ("mcpAccess", False)),
        (" monthlyPosts = 30 ", ("monthlyPosts", 30)),
        ("monthlyPosts=unlimited", ("monthlyPosts", "unlimited")),
        ("scheduleHorizonDays=1.5", ("scheduleHorizonDays", 1.5)),
        ("scheduleHorizonDays=none", ("scheduleHorizonDays", "none")),
        ("connections=seats", ("connections", "seats")),
        ("allowedPlatforms=twitter, bluesky", ("allowedPlatforms", ["twitter", "bluesky"])),
        ("allowedPlatforms=all", ("allowedPlatforms", "all")),
    ],
)
def test_parse_override_when_it_is_right_then_key_and_value(text: str, value: tuple[str, Json]):
    assert parse_override(text) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("apiAccess", "'apiAccess': expected KEY=VALUE"),
        ("apiAccess=maybe", "apiAccess: 'maybe' cannot be used; accepted: true or false"),
        ("monthlyPosts=-3", "monthlyPosts: '-3' cannot be used; accepted: a whole number from 0"),
        ("monthlyPosts=2.5", "monthlyPosts: 2.5 cannot be used"),
        ("allowedPlatforms=myspace", "accepted: a list of platforms"),
        ("posts=3", "posts: there is no such entitlement; known are apiAccess"),
    ],
)
def test_parse_override_when_it_is_wrong_then_the_error_says_why(text: str, message: str):
    with pytest.raises(ConfigError, match=message):
        parse_override(text)


def test_resolve_when_the_account_has_a_plan_then_that_one():
    plan = active("premium", default="starter")

    assert plan == ActivePlan("premium", "Premium", BUILT_IN["premium"].entitlements, None)


def test_resolve_when_the_account_has_no_plan_then_the_default():
    plan = active(None, default="starter")

    assert plan == ActivePlan("starter", "Starter", BUILT_IN["starter"].entitlements, 3)


def test_resolve_when_there_is_no_default_either_then_none():
    assert active(None) is None


def test_resolve_when_the_plan_is_no_longer_offered_then_the_default():
    plan = active("withdrawn", default="starter")

    assert plan is not None
    assert plan.key == "starter"


def test_resolve_when_the_account_has_overrides_then_they_stand_over_the_plan_and_its_name_stays():
    plan = active("starter", {"apiAccess": True, "monthlyPosts": None, "allowedPlatforms": ["twitter"]})

    assert plan is not None
    assert plan.name == "Starter"
    assert plan.entitlements == replace(
        BUILT_IN["starter"].entitlements, api_access=True, monthly_posts=None, allowed_platforms=("twitter",)
    )


@pytest.mark.parametrize("seats", [0, 4, None])
def test_resolve_when_the_plan_goes_by_seats_then_the_limit_is_their_number(seats: int | None):
    plan = active("pro", seats=seats)

    assert plan is not None
    assert plan.connection_limit == seats


def test_resolve_when_the_plan_has_a_number_then_seats_change_nothing():
    plan = active("starter", seats=50)

    assert plan is not None
    assert plan.connection_limit == 3


def test_resolve_when_an_override_goes_by_seats_then_the_limit_is_their_number():
    plan = active("starter", {"connections": "seats"}, seats=9)

    assert plan is not None
    assert plan.connection_limit == 9


def test_resolve_when_a_stored_override_cannot_be_used_then_an_error():
    with pytest.raises(ConfigError, match="monthlyPosts: 'lots' cannot be used"):
        active("pro", {"monthlyPosts": "lots"})
