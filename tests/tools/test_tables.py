"""Tables whose numbers are whole: in a pipe as wide as they are, in a narrow terminal below each other."""

import io

import pytest
import rich.console

from tools._tables import print_numbers

COLUMNS = ("round 1", "round 2", "after")
ROWS = (
    ("from keypoints, median % of box", ("0.56/1.43/1.88", "0.57/1.44/1.89", "-")),
    ("people new / replaced by better", ("33 / 0", "0 / 0", "12345 / 0")),
)
NUMBERS = ("0.56", "1.43", "1.88", "0.57", "1.44", "1.89", "33", "12345")


def printed(**console):
    file = io.StringIO()
    print_numbers(rich.console.Console(file=file, **console), COLUMNS, ROWS)
    return file.getvalue()


def test_a_pipe_gets_whole_lines():
    text = printed(width=40)
    assert "0.56/1.43/1.88" in text
    assert any(
        line.startswith(ROWS[1][0]) and line.endswith("12345 / 0") for line in map(str.rstrip, text.splitlines())
    )


@pytest.mark.parametrize("width", [80, 60, 48])
def test_no_number_is_cut_in_a_terminal(width):
    text = printed(width=width, force_terminal=True, color_system=None)
    assert all(number in text for number in NUMBERS)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
