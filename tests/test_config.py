import dataclasses
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from postpost.config import (
    SETTINGS,
    ConfigError,
    LogFormat,
    LogLevel,
    PastSchedule,
    Settings,
    unknown_variables,
    variable_name,
)
from postpost.platforms.base import App

KEY = Fernet.generate_key().decode()


def test_load_when_nothing_is_set_then_the_defaults():
    settings = Settings.load({})

    assert settings == Settings()
    assert (settings.host, settings.port, settings.default_plan) == ("127.0.0.1", 8080, "starter")
    assert settings.past_schedule is PastSchedule.REJECT
    assert settings.database_url is None


def test_load_when_no_mapping_is_given_then_the_process_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("POSTPOST_PORT", "9001")

    assert Settings.load().port == 9001


def test_load_when_values_are_set_then_they_are_read_as_their_kind():
    settings = Settings.load(
        {
            "POSTPOST_HOME": "/data",
            "POSTPOST_DATABASE_URL": "postgresql://me:hush@db/postpost",
            "POSTPOST_SECRET_KEY": KEY,
            "POSTPOST_DEFAULT_PLAN": "none",
            "POSTPOST_THREADS_REPLY_CHAINS": "yes",
            "POSTPOST_PLATFORM_TIMEOUT_SECONDS": "7.5",
            "POSTPOST_LOG_FORMAT": "json",
            "POSTPOST_LOG_LEVEL": "DEBUG",
        }
    )

    assert settings.home == Path("/data")
    assert settings.database_url == "postgresql://me:hush@db/postpost"
    assert settings.secret_key == (KEY,)
    assert settings.default_plan is None
    assert settings.threads_reply_chains is True
    assert settings.platform_timeout_seconds == 7.5
    assert (settings.log_format, settings.log_level) == (LogFormat.JSON, LogLevel.DEBUG)


def test_load_when_a_value_is_blank_then_the_default():
    assert Settings.load({"POSTPOST_PORT": "  ", "POSTPOST_SECRET_KEY": ""}) == Settings()


def test_load_when_a_value_has_blanks_around_it_then_they_are_cut():
    assert Settings.load({"POSTPOST_PORT": " 9001\n"}).port == 9001


def test_load_when_a_value_is_bad_then_the_error_names_variable_value_and_what_is_accepted():
    with pytest.raises(ConfigError) as caught:
        Settings.load({"POSTPOST_PORT": "http"})

    assert str(caught.value) == "POSTPOST_PORT: 'http' cannot be used; accepted: a whole number from 1 to 65535"


def test_load_when_several_values_are_bad_then_the_error_has_them_all():
    with pytest.raises(ConfigError) as caught:
        Settings.load({"POSTPOST_PORT": "http", "POSTPOST_METRICS": "maybe", "POSTPOST_HOST": "::1"})

    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["POSTPOST_PORT", "POSTPOST_METRICS"]


def test_load_when_a_secret_is_bad_then_the_error_does_not_show_it():
    with pytest.raises(ConfigError) as caught:
        Settings.load({"POSTPOST_SECRET_KEY": "canary", "POSTPOST_DATABASE_URL": "mysql://me:canary@db/x"})

    assert "POSTPOST_SECRET_KEY: the value cannot be used" in str(caught.value)
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("name", ["PAST_SCHEDULE", "POSTPOST_PAST_SCHEDULE"])
def test_load_when_a_setting_has_two_names_then_both_are_read(name: str):
    assert Settings.load({name: "now"}).past_schedule is PastSchedule.NOW


def test_load_when_both_names_are_set_then_the_prefixed_one_holds():
    settings = Settings.load({"PAST_SCHEDULE": "now", "POSTPOST_PAST_SCHEDULE": "reject"})

    assert settings.past_schedule is PastSchedule.REJECT


def test_load_when_the_bare_name_has_a_bad_value_then_the_error_names_it():
    with pytest.raises(ConfigError, match=r"^PAST_SCHEDULE: 'later'"):
        Settings.load({"PAST_SCHEDULE": "later"})


def test_sandbox_when_not_set_then_it_follows_the_port():
    settings = Settings.load({"POSTPOST_PORT": "9001"})

    assert (settings.sandbox_port, settings.sandbox_url) == (9002, "http://127.0.0.1:9002")


def test_sandbox_when_the_port_is_the_last_one_then_it_takes_the_one_before():
    assert Settings.load({"POSTPOST_PORT": "65535"}).sandbox_port == 65534


def test_sandbox_when_it_is_elsewhere_then_its_address_is_kept():
    assert Settings.load({"POSTPOST_SANDBOX_URL": "http://sandbox:9000/"}).sandbox_url == "http://sandbox:9000"


def test_app_when_registered_then_its_id_and_secret():
    settings = Settings.load({"POSTPOST_TWITTER_CLIENT_ID": "me", "POSTPOST_TWITTER_CLIENT_SECRET": "hush"})

    assert settings.app("twitter") == App("me", "hush")


@pytest.mark.parametrize("platform", ["linkedin", "bluesky", "nonsense"])
def test_app_when_not_registered_then_empty(platform: str):
    assert Settings().app(platform) == App()


def test_repr_when_secrets_are_set_then_none_of_them_shows():
    secrets = {name: "canary" for name, setting in SETTINGS.items() if setting.secret}

    settings = Settings(**{**secrets, "secret_key": ("canary",)})

    assert "canary" not in repr(settings)


def test_settings_when_declared_then_every_field_has_a_description_that_is_a_sentence():
    assert list(SETTINGS) == [field.name for field in dataclasses.fields(Settings)]
    assert [name for name, setting in SETTINGS.items() if not setting.about.endswith(".")] == []


def test_settings_when_changed_then_refused():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]


def test_unknown_variables_when_misspelt_then_the_nearest_name_is_suggested():
    assert unknown_variables({"POSTPOST_PROT": "1"}) == {"POSTPOST_PROT": "POSTPOST_PORT"}


def test_unknown_variables_when_like_nothing_then_no_suggestion():
    assert unknown_variables({"POSTPOST_QQQQQQ": "1"}) == {"POSTPOST_QQQQQQ": None}


def test_unknown_variables_when_known_foreign_or_a_clients_then_none():
    known = {variable_name(name): "x" for name in SETTINGS}

    assert unknown_variables({**known, "PATH": "/bin", "PAST_SCHEDULE": "now", "POSTPOST_API_KEY": "sk"}) == {}
