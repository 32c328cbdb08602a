"""One figure, and the table of all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """A measured value, what the bare loop reached in the same session, their ratio, and what was asked for."""

    name: str
    value: float
    unit: str
    bare: float | None = None
    ratio: float | None = None
    remark: str = ""
    target: str = ""
    met: bool | None = None


def show(figures: Sequence[Figure]) -> None:
    """Print the table."""
    table = Table(title="PostPost benchmarks", title_justify="left")
    for column, justify in (("what", "left"), ("measured", "right"), ("bare", "right"), ("ratio", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    table.add_column("target")
    table.add_column("remark")
    for figure in figures:
        met = "" if figure.met is None else ("[green]met[/] " if figure.met else "[red]missed[/] ")
        table.add_row(
            figure.name,
            f"{figure.value:,.1f} {figure.unit}" if figure.value < 100 else f"{figure.value:,.0f} {figure.unit}",
            "" if figure.bare is None else f"{figure.bare:,.0f}",
            "" if figure.ratio is None else f"{figure.ratio:.2f}",
            f"{met}{figure.target}",
            figure.remark,
        )
    Console(width=150).print(table)
