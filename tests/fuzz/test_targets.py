"""Every parser of files by strangers takes its honest files, and of damaged ones makes a value or its own error."""

import numpy as np
import pytest

from tests.fuzz.mutations import mutated
from tests.fuzz.targets import TARGETS

#: Files a parser; Arrow takes longer for one.
TURNS, FEW_TURNS = 150, 30


@pytest.mark.parametrize("name", list(TARGETS))
def test_an_honest_file_is_taken(name):
    target = TARGETS[name]
    assert target.run(target.seeds()[0])


@pytest.mark.parametrize("name", list(TARGETS))
def test_damaged_files_give_a_value_or_an_error_of_the_parser(name, figure):
    target, taken = TARGETS[name], 0
    seeds, generator = target.seeds(), np.random.default_rng(0)
    turns = FEW_TURNS if name == "label_parquet" else TURNS
    for turn in range(turns):
        data = mutated(seeds, generator)
        try:
            taken += target.run(data)
        except Exception as error:  # what it is does not matter: it is not among those that are promised
            pytest.fail(f"file {turn} ({data[:200]!r}): {error!r}")
    figure(f"fuzz, {name}: {turns} damaged files, {taken} read and {turns - taken} refused")


#: Files that were findings once.
FOUND = {
    "loop_record": b'{"format_version": 1, "stages": {"round_1/fit": {"seconds": ' + b"9" * 400 + b'}}, "options": {}}',
    "deepmimic": b'{"Frames": [[' + b"9" * 5000 + b"]]}",
}


@pytest.mark.parametrize("name", list(FOUND))
def test_file_that_was_a_finding_is_refused(name):
    assert not TARGETS[name].run(FOUND[name])


def test_mutations_are_the_same_everywhere():
    first, second = (
        [mutated([b"honest file", b"other"], np.random.default_rng(seed)) for seed in range(50)] for _ in range(2)
    )
    assert first == second
    assert len(set(first)) > 40
