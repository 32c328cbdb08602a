from pathlib import Path

from postpost.cli import app
from postpost.cli.reference import commands, with_commands

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_page_when_compared_with_the_program_then_its_table_is_the_generated_one():
    page = PAGE.read_text("utf-8")

    assert page == with_commands(page, app)


def test_commands_when_asked_for_help_then_each_has_a_sentence_examples_and_json():
    for name, command in commands(app):
        assert command.help, name
        assert "postpost" in (command.epilog or ""), name
        assert any("--json" in each.opts for each in command.params), name
