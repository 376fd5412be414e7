"""Tables of numbers on terminals of any width, and in pipes."""

from collections.abc import Sequence

import rich.box
import rich.console
import rich.measure
import rich.table


def print_numbers(
    console: rich.console.Console, columns: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]]
) -> None:
    """Print a table of numbers of which none is ever cut.

    Where the output is no terminal lines are as wide as they need to be; in a terminal that is narrower, numbers beside
    each other (`0.56/1.43`) come below each other.

    Args:
        console: Where to.
        columns: Names of all columns but the first, which has the names of rows.
        rows: Name of each, and a cell for each column.
    """

    def table(separator: str) -> rich.table.Table:
        shown = rich.table.Table(box=rich.box.SIMPLE_HEAD, show_edge=False, pad_edge=False, collapse_padding=True)
        shown.add_column("", overflow="fold")
        for name in columns:
            # Names of rows and columns may be broken between words; numbers have no room to give.
            wide = max(
                (len(line) for _, cells in rows for line in _cells_of(columns, cells, name, separator)), default=1
            )
            shown.add_column(name, justify="right", overflow="fold", min_width=wide)
        for label, cells in rows:
            shown.add_row(label, *(cell.replace("/", separator) for cell in cells))
        return shown

    whole = table("/")
    needed = rich.measure.Measurement.get(console, console.options.update(max_width=10_000), whole).maximum
    if needed <= console.width:
        console.print(whole)
    elif console.is_terminal:
        console.print(table("/\n"))
    else:
        wide = rich.console.Console(file=console.file, width=needed, color_system=None, highlight=False, markup=False)
        wide.print(whole)


def _cells_of(columns: Sequence[str], cells: Sequence[str], name: str, separator: str) -> list[str]:
    """Lines of the cell of a column."""
    return cells[columns.index(name)].replace("/", separator).split("\n")
