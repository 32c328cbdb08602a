"""`postpost doctor` names what is wrong, says the next step, and changes nothing."""

import socket
from pathlib import Path

import msgspec
from cryptography.fernet import Fernet


def checks(program, environ=None):
    """Return the checks by name, the last one of each, and the exit code."""
    result = program.run("doctor", "--json", environ=environ)
    found = msgspec.json.decode(result.stdout)["checks"]
    return {check["name"]: check for check in found}, result.exit_code


def test_doctor_when_nothing_is_there_yet_then_all_is_well_and_nothing_is_made(fresh):
    found, exit_code = checks(fresh)

    assert exit_code == 0
    assert "`postpost up` makes it" in found["database"]["detail"]
    assert "will be made" in found["home"]["detail"]
    assert not Path(fresh.environ["POSTPOST_HOME"]).exists()


def test_doctor_when_a_variable_is_misspelt_then_suggests_the_name(fresh):
    result = fresh.run("doctor", environ={"POSTPOST_PROT": "1"})

    assert result.exit_code == 1
    assert "did you mean POSTPOST_PORT?" in result.stdout


def test_doctor_when_a_setting_cannot_be_used_then_names_it(fresh):
    found, exit_code = checks(fresh, {"POSTPOST_WORKER_CONCURRENCY": "many"})

    assert exit_code == 1
    assert "POSTPOST_WORKER_CONCURRENCY" in found["settings"]["detail"]


def test_doctor_when_the_database_is_away_then_failed_with_a_next_step(fresh):
    found, exit_code = checks(fresh, {"POSTPOST_DATABASE_URL": "postgresql://ann:canary@127.0.0.1:1/x"})

    assert exit_code == 1
    assert (found["database"]["state"], found["database"]["nextStep"] is not None) == ("failed", True)
    assert "canary" not in str(found)


def test_doctor_when_the_plans_file_is_missing_then_failed(fresh):
    found, exit_code = checks(fresh, {"POSTPOST_PLANS_FILE": "/nowhere/plans.toml"})

    assert exit_code == 1
    assert "cannot be read" in found["plans"]["detail"]


def test_doctor_when_the_port_is_taken_by_another_program_then_failed(fresh):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        found, exit_code = checks(fresh, {"POSTPOST_PORT": str(taken.getsockname()[1])})

    assert exit_code == 1
    assert found["port"]["nextStep"] == "end what uses it, or set POSTPOST_PORT"


def test_doctor_when_connected_to_an_absent_sandbox_then_warns(program):
    program.json("accounts", "create", "--email", "ann@example.com")
    program.json("connections", "add", "--platform", "mastodon", "--id", "1", "--sandbox")

    found, exit_code = checks(program, {"POSTPOST_SANDBOX_URL": "http://127.0.0.1:1", "POSTPOST_DATABASE_URL": ""})

    assert exit_code == 0
    assert found["sandbox"]["state"] == "warning"
    assert found["stored credentials"]["detail"] == "1 opened with the secret key"
    assert "user" in found["embedded PostgreSQL"]["detail"]


def test_doctor_when_the_secret_key_is_another_then_failed(program):
    found, exit_code = checks(program, {"POSTPOST_SECRET_KEY": Fernet.generate_key().decode()})

    assert exit_code == 1
    assert found["stored credentials"]["state"] == "failed"
