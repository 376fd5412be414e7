"""No memory, no answer, and a clock that jumps: the job ends, and says what it could not do."""

import datetime
import random
import time
import types
from unittest import mock

import jax
import numpy as np
import pytest

from hardmo_jax.pipelines.fit_pieces import FitMemoryError, fit_in_pieces
from hardmo_jax.pipelines.runners import job_progress
from hardmo_jax.pipelines.runners.manifest import read_item_states
from tests.pipelines.runners.scripted_jobs import expected_of, run_scripts, write_scripts
from tests.pipelines.runners.scripted_jobs import labels_of as scripted_labels_of
from tests.survive.recorded_jobs import Recorded, RunOf, bytes_of, in_one_process, run_recorded


def _exhausted():
    return jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes.")


@pytest.mark.parametrize("error", [_exhausted(), MemoryError()])
@pytest.mark.parametrize(("count", "most", "room"), [(10, 8, 8), (10, 8, 3), (100, 64, 7), (5, 100, 1), (1, 1, 1)])
def test_batches_are_halved_until_there_is_memory_for_them(count, most, room, error):
    tried, done = [], []

    def fit_some(first, end):
        tried.append(end - first)
        if end - first > room:
            raise error
        return {"pose": jax.numpy.arange(first, end), "frames": np.arange(first, end)[:, None]}

    result = fit_in_pieces(count, most, fit_some, done.append)
    np.testing.assert_array_equal(result["pose"], np.arange(count))
    assert result["frames"].shape == (count, 1)
    assert done == sorted(set(done))
    assert done[-1] == count
    # What was too much is not tried again.
    assert sum(size > room for size in tried) <= 7


def test_one_person_who_does_not_fit_is_told_of():
    def fit_some(first, end):
        raise _exhausted()

    with pytest.raises(FitMemoryError, match="not enough memory to fit one person; end other"):
        fit_in_pieces(9, 4, fit_some)


def test_other_errors_of_the_device_are_not_taken_for_it():
    def fit_some(first, end):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")

    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"):
        fit_in_pieces(9, 4, fit_some)


def test_a_clock_that_jumps_changes_no_label(tmp_path, promise, one_thread):
    recorded = Recorded.make(tmp_path / "inputs", [[1, 1], [2]])
    assert recorded.packed
    drawn = random.Random(0)

    class Jumping(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(drawn.uniform(0, 4e9), tz)

    with promise("a clock that jumps to and fro") as row:
        stores = []
        for clock in (lambda: 0.0, lambda: drawn.uniform(-1e9, 1e10), time.monotonic):
            output = tmp_path / f"job_{len(stores)}"
            with (
                in_one_process(recorded, RunOf()),
                mock.patch.object(time, "time", clock),
                mock.patch.object(job_progress, "datetime", types.SimpleNamespace(datetime=Jumping, UTC=datetime.UTC)),
            ):
                outcome = run_recorded(recorded, output)
            row.tried(None if outcome.num_left == 0 and outcome.failures == () else "the job did not end well")
            row.tried(None if 0 <= outcome.progress.elapsed_seconds < 600 else "time ran backwards")
            stores.append(bytes_of(output))
        row.tried(None if stores[0] == stores[1] == stores[2] else "labels depend on the clock")


@pytest.mark.slow
@pytest.mark.survive
def test_processes_that_hang_die_and_run_out_of_memory(tmp_path, promise):
    paths = write_scripts(
        tmp_path / "clips",
        {"hang_at": 1, "once": str(tmp_path / "hung")}, {"hang_at": 0}, {"die_at": 1, "once": str(tmp_path / "died")},
        {"die_at": 0}, {"label": "die"}, {"label": "die", "once": str(tmp_path / "label_died")}, {"label": "fail"},
        {"fail_at": 1}, {}, {"takes": [3, 1, 2]},
    )  # fmt: skip
    with promise("processes that hang, die or fail") as row:
        start = time.monotonic()
        # A process that has said nothing yet may load what it needs, on a machine that is busy with something else.
        outcome = run_scripts(paths, tmp_path / "job", stall_seconds=5.0)
        row.tried(None if time.monotonic() - start < 300 else "it took minutes")
        row.tried(None if outcome.num_left == 0 else f"{outcome.num_left} are left")
        causes = {
            "clip_001.mp4": "nothing said for 5 s", "clip_003.mp4": "ended with status 9",
            "clip_004.mp4": "ended with status 3", "clip_006.mp4": "nobody can be fitted",
            "clip_007.mp4": "no video at all",
        }  # fmt: skip
        told = dict(outcome.failures)
        row.tried(None if told.keys() == causes.keys() else f"failures are {sorted(told)}")
        for name, cause in causes.items():
            row.tried(None if cause in told.get(name, "") else f"{name}: {told.get(name)}")
        whole = [paths[number] for number in (0, 2, 5, 8, 9)]
        labels = [label for label in scripted_labels_of(tmp_path / "job") if label[0] not in causes]
        row.tried(None if labels == expected_of(whole) else "labels of others are missing")
        states = read_item_states(tmp_path / "job").values()
        stages = sorted(state.failure.stage for state in states if state.failure is not None)
        row.tried(None if stages == ["fit", "fit", "look", "look", "look"] else f"stages are {stages}")
