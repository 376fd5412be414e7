"""The table of coverage adds up what its report says, and `make coverage` runs the tests of what it measures."""

import re

from tests import branch_coverage


def summary(statements, missed, branches, missed_branches):
    names = ("num_statements", "missing_lines", "num_branches", "missing_branches")
    return {"summary": dict(zip(names, (statements, missed, branches, missed_branches), strict=True))}


def test_files_of_a_room_are_added_up_and_per_cent_are_rounded_down():
    report = {
        "files": {
            "hardmo_jax/body/io.py": summary(600, 30, 200, 10),
            "hardmo_jax/body/deeper/model.py": summary(150, 10, 49, 0),
            "hardmo_jax/bodyless/io.py": summary(9, 9, 9, 9),
        }
    }
    (row,) = branch_coverage.room_rows(report, ["body"])
    assert (row["files"], row["statements"], row["missed_statements"]) == (2, 750, 40)
    assert (row["branches"], row["missed_branches"]) == (249, 10)
    assert row["per_cent"] == 94.99  # 949 of 999, which is 94.995
    assert row["per_cent_of_branches"] == 95.98


def test_a_room_without_files_is_not_covered():
    assert branch_coverage.room_rows({"files": {}}, ["absent"])[0]["per_cent"] == 0.0


def test_what_is_measured_is_there_and_its_tests_are_run():
    rooms = branch_coverage.rooms()
    assert all((branch_coverage.ROOT / part / room).is_dir() for part in ("hardmo_jax", "tests") for room in rooms)
    makefile = (branch_coverage.ROOT / "Makefile").read_text()
    assert re.findall(r"^COVERED := (.*)$", makefile, re.MULTILINE) == [" ".join(rooms)]
