from rich.console import Console

from postpost.cli.output import cell, plain, table


def test_plain_when_text_would_steer_the_terminal_then_it_cannot():
    assert plain("a\x1b[2Jb\x07c\u202ed") == "a\ufffd[2Jb\ufffdc\ufffdd"


def test_cell_when_markup_is_in_the_text_then_it_is_shown_as_it_is():
    console = Console(width=60)
    with console.capture() as shown:
        console.print(table(("a",), [("[red]x[/red]",)]))

    assert "[red]x[/red]" in shown.get()


def test_cell_when_there_is_no_value_then_a_dash():
    assert cell(None).plain == cell("").plain == "-"


def test_cell_when_text_has_several_lines_then_one():
    assert cell("a\n  b").plain == "a b"
