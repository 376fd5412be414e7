"""The record of a loop as strangers may write it."""

import json
import re

import pytest

from hardmo_jax.pipelines.loop_options import LoopError
from hardmo_jax.pipelines.loop_record import LoopRecord, LoopStage

STAGE = LoopStage(number=1, name="train")


def record(depth):
    """Text of a record in which lists lie in each other, below four objects."""
    stages = f'{{"{STAGE.key}": {{"before": {{"a": {"[" * depth}{"]" * depth}}}}}}}'
    return f'{{"format_version": 1, "stages": {stages}, "options": {{"--config.rounds": 1}}}}'


@pytest.mark.parametrize("depth", [40, 400, 900, 100_000])
def test_a_record_that_is_deeper_than_any_that_is_written_is_refused(tmp_path, depth):
    """Python would read many of them, and then fail to compare or write what it read."""
    (tmp_path / "loop.json").write_text(record(depth))
    with pytest.raises(LoopError, match=re.escape("no record of a loop, or damaged")):
        LoopRecord(tmp_path / "loop.json")


def test_a_record_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "loop.json"
    written = LoopRecord(path)
    written.begin(STAGE, {"labels": {"hand": [1, 2]}})
    path.write_text(json.dumps({**json.loads(path.read_text()), "options": {"--config.rounds": 1}}))
    assert LoopRecord(path).begin(STAGE, {}) == {"labels": {"hand": [1, 2]}}
    path.write_text(record(3))
    assert LoopRecord(path).begin(STAGE, {}) == {"a": [[[]]]}
