"""What is tried, and what is left alone."""

import pytest

pytest.importorskip("cosmic_ray", reason="needs the extra `mutation`")
pytest.importorskip("coverage", reason="needs the extra `mutation`")

from tests.mutation import run_mutation
from tests.mutation.groups import GROUPS
from tests.mutation.mutants import mutants_of

SOURCE = '''\
"""A module."""

LIMIT = 3  # of all


def spend(items: list[int] | None, count: int = 2) -> int | None:
    """Take some."""
    if count >= LIMIT and items:
        raise ValueError(f"more than {LIMIT}")
    items.pop()
    count += 1
    return count * 2


def keep() -> None:
    """Nothing."""
'''


def labels():
    return [mutant.label.removeprefix("a.py:") for mutant in mutants_of("a.py", SOURCE)]


def test_slips_of_the_pen_are_made_where_they_can_be():
    found = labels()
    for wanted in (
        "3 NumberReplacer: LIMIT = 3  # of all -> LIMIT = 4  # of all",
        "8 ReplaceComparisonOperator_GtE_Gt: if count >= LIMIT and items: -> if count > LIMIT and items:",
        "8 ReplaceAndWithOr: if count >= LIMIT and items: -> if count >= LIMIT or items:",
        '9 StatementRemover: raise ValueError(f"more than {LIMIT}") -> pass',
        "10 StatementRemover: items.pop() -> pass",
        "11 StatementRemover: count += 1 -> pass",
        "12 ReplaceBinaryOperator_Mul_Div: return count * 2 -> return count / 2",
    ):
        assert wanted in found
    assert len(found) == len(set(found))


def test_each_is_one_change_in_a_file_that_is_else_the_same():
    for mutant in mutants_of("a.py", SOURCE):
        differ = [
            (one, other)
            for one, other in zip(SOURCE.splitlines(), mutant.source.splitlines(), strict=True)
            if one != other
        ]
        assert [(one.strip(), other.strip()) for one, other in differ] == [(mutant.removed, mutant.added)]
        assert SOURCE.splitlines()[mutant.line - 1].strip() == mutant.removed


def test_annotations_and_words_are_left_alone():
    assert not [label for label in labels() if "None" in label.split(" -> ")[0] and "BitOr" in label]
    assert not [label for label in labels() if label.startswith(("1 ", "7 ", "15 ", "16 "))]


@pytest.mark.parametrize(
    ("line", "found"),
    [(3, (False, 3, 3)), (6, (False, 6, 6)), (8, (True, 8, 8)), (9, (True, 9, 9)), (12, (True, 12, 12))],
)
def test_what_runs_at_import_is_tried_by_every_test(line, found):
    assert run_mutation.statement_at(SOURCE, line) == found


def test_the_interval_is_that_of_wilson():
    """The example of Newcombe, "Two-sided confidence intervals for the single proportion", 1998: 81 of 263."""
    assert run_mutation.interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    low, high = run_mutation.interval(20, 20)
    assert 0.8 < low < high <= 1


def test_survivors_that_are_tried_again_keep_what_was_counted():
    rows = [{"mutant": name, "ended": ended} for name, ended in (("a", "killed"), ("b", "timeout"), ("c", "survived"))]
    first = run_mutation.summary([*rows, {"mutant": "d", "ended": "survived"}], 10)
    assert (first["tried"], first["killed"], first["timeout"], first["score"]) == (4, 1, 1, 0.5)
    assert first["survivors"] == ["c", "d"]
    again = run_mutation.summary([{"mutant": "c", "ended": "killed"}, {"mutant": "d", "ended": "survived"}], 10, first)
    assert (again["tried"], again["killed"], again["survived"], again["survivors"]) == (4, 2, 1, ["d"])
    assert first["interval_95"][0] < first["score"] < first["interval_95"][1]
    # An interval is that of the first score alone: tests were made for what is tried again.
    assert "interval_95" not in again
    assert (again["score"], again["first"]) == (0.75, {"score": 0.5, "interval_95": first["interval_95"]})
    assert run_mutation.summary(rows, 3)["sample"] == "whole"
    assert run_mutation.summary([], 4, again)["first"] == again["first"]


def test_every_group_has_sources_and_tests():
    for group in GROUPS.values():
        assert run_mutation.tests_of_group(group)
        assert [path for pattern in group.sources for path in run_mutation.ROOT.glob(pattern)]
