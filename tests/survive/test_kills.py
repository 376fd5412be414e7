"""Jobs that are killed at random moments: labels in the end are those of a job that nobody killed, row for row."""

import pathlib

import pytest

from hardmo_jax.pipelines.runners import manifest
from tests.survive.fault_tries import change_scenario, job_scenario
from tests.survive.killed_jobs import kill_at_random
from tests.survive.recorded_jobs import Recorded, RunOf, bytes_of, in_one_process, run_recorded

pytestmark = pytest.mark.usefixtures("one_thread")


def _kill_jobs(tmp_path, kills, seed):
    recorded = Recorded.make(tmp_path / "inputs", [[1, 1], [1], [1]])
    assert recorded.packed
    with in_one_process(recorded, RunOf(), rows_per_shard=1):
        run_recorded(recorded, tmp_path / "expected")
    scenario = job_scenario(recorded, bytes_of(tmp_path / "expected"))

    def check(folder: pathlib.Path):
        if not folder.exists():
            return None
        # What its manifest says is what the job that was killed had committed.
        states = manifest.read_item_states(folder)
        said = [(name, number) for name, state in states.items() for number in range(len(state.parts))]
        return scenario.check(folder, RunOf(committed=said))

    return kill_at_random(
        lambda folder: scenario.act(folder, RunOf()),
        check,
        lambda folder: scenario.check_end(folder, RunOf(), RunOf()),
        tmp_path / "jobs",
        kills=kills,
        seed=seed,
    )


def test_jobs_that_are_killed_end_as_those_that_are_not(tmp_path, promise):
    with promise("kill -9 at random moments: a sample") as row:
        for problem in _kill_jobs(tmp_path, 20, seed=20261128):
            row.tried(problem)


@pytest.mark.slow
@pytest.mark.survive
def test_jobs_that_are_killed_200_times_end_as_those_that_are_not(tmp_path, promise):
    with promise("kill -9 of the runner and store, recorded fit") as row:
        for problem in _kill_jobs(tmp_path, 200, seed=200):
            row.tried(problem)


@pytest.mark.slow
@pytest.mark.survive
def test_changes_of_a_store_that_are_killed_leave_the_former_or_the_new(tmp_path, promise):
    recorded = Recorded.make(tmp_path / "inputs", [[1], [1], [1]])
    scenario = change_scenario(recorded)

    def work(folder: pathlib.Path):
        if not (folder / "labels/manifest.json").exists():
            scenario.prepare(folder)
        scenario.act(folder, RunOf())

    with promise("kill -9 while a label is changed") as row:
        for number, problem in enumerate(
            kill_at_random(
                work,
                lambda folder: scenario.check(folder, RunOf()) if (folder / "labels/manifest.json").exists() else None,
                lambda folder: scenario.check_end(folder, RunOf(), RunOf()),
                tmp_path / "jobs",
                kills=30,
                seed=30,
            )
        ):
            row.tried(problem and f"kill {number}: {problem}")
