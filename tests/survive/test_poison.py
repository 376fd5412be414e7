"""Some inputs of many are broken: all others are labelled, and of those it is said what, where and why."""

import json
import subprocess
import sys

import pytest

from hardmo_jax.pipelines.runners.job_status import job_status
from tests.pipelines.runners.scripted_jobs import labels_of as scripted_labels_of
from tests.pipelines.runners.scripted_jobs import run_scripts, write_scripts
from tests.survive.broken_files import break_files
from tests.survive.recorded_jobs import Recorded, labels_of
from tests.tools.command_line import ROOT, run_each

#: Exit status of a job of which some inputs could not be labelled.
PARTLY = 3


def _check(recorded, broken_files, output, row):
    words = [recorded.folder, len(recorded.paths), broken_files[0].parent, output]
    done = subprocess.run(
        [sys.executable, "-m", "tests.survive.poisoned_job", *map(str, words)],
        capture_output=True, text=True, cwd=ROOT, timeout=300, check=False,
    )  # fmt: skip
    row.tried(None if done.returncode == PARTLY else f"exit status {done.returncode}: {done.stderr[-400:]}")
    keys = [(label.source_path, label.frame_index, label.track_id) for label in labels_of(output)]
    row.tried(None if keys == recorded.keys else f"{len(keys)} labels of {len(recorded.keys)}", cases=len(keys))
    told = json.loads((output / "labels/run.json").read_text())["results"]["failures"]
    names = sorted(path.name for path in broken_files)
    row.tried(None if sorted(one["input"] for one in told) == names else f"run.json names {told}")
    found = {name: (stage, reason) for name, stage, reason in job_status(output).failures}
    (status,) = run_each("status", [[str(output)]])
    row.tried(None if status.returncode == PARTLY else f"tools.status ends with {status.returncode}")
    printed = status.stdout
    for one in told:
        stage, reason = found.get(one["item"], ("", ""))
        problem = None
        if (stage, reason) != (one["stage"], one["reason"]) or stage != "look" or len(reason) < 20:
            problem = f"{one['input']}: {stage!r}, {reason!r}"
        elif f"failed in {stage}: {one['item']}: {reason}" not in printed:
            problem = f"{one['input']} is not listed by tools.status"
        elif "Traceback" in reason or "\n" in reason:
            problem = f"{one['input']}: no reason that somebody can read: {reason}"
        row.tried(problem)


def test_ten_broken_inputs_of_thirty(tmp_path, promise):
    broken_files = break_files(tmp_path / "broken")
    assert len(broken_files) == 10
    recorded = Recorded.make(tmp_path / "inputs", [[1]] * 20)
    with promise("10 broken inputs of 30") as row:
        _check(recorded, broken_files, tmp_path / "job", row)


@pytest.mark.slow
@pytest.mark.survive
def test_one_of_a_hundred_of_a_thousand_is_broken(tmp_path, promise):
    broken_files = break_files(tmp_path / "broken")
    recorded = Recorded.make(tmp_path / "inputs", [[1]] * 990)
    with promise("poison: 10 broken inputs of 1,000") as row:
        _check(recorded, broken_files, tmp_path / "job", row)


@pytest.mark.slow
@pytest.mark.survive
def test_broken_inputs_cost_real_processes_nothing(tmp_path, promise):
    broken_files = break_files(tmp_path / "broken")
    paths = write_scripts(tmp_path / "clips", {}, {}, {})
    with promise("10 broken inputs, processes that look at files in truth") as row:
        outcome = run_scripts(
            [*paths, *broken_files], tmp_path / "job", worker_module="tests.survive.real_looker", workers=2
        )
        row.tried(None if outcome.num_done == 3 else f"{outcome.num_done} of 3 are labelled")
        row.tried(None if len(scripted_labels_of(tmp_path / "job")) == 9 else "labels are missing")
        names = {name for name, _ in outcome.failures}
        for path in broken_files:
            row.tried(None if path.name in names else f"{path.name} is no failure")
