"""Some inputs of many are broken: all others are labelled, and of those it is said what, where and why."""

import json
from unittest import mock

import pytest
from absl.testing import flagsaver

from hardmo_jax.pipelines.annotate_options import AnnotateOptions
from hardmo_jax.pipelines.runners.job_status import job_status
from hardmo_jax.pipelines.runners.local import LocalOptions
from tests.pipelines.runners.scripted_jobs import labels_of as scripted_labels_of
from tests.pipelines.runners.scripted_jobs import run_scripts, write_scripts
from tests.survive.broken_files import break_files
from tests.survive.recorded_jobs import Recorded, RunOf, in_one_process, labels_of
from tools import _cli, annotate, status

#: Exit status of a job of which some inputs could not be labelled.
PARTLY = 3


def _exit_status(recorded, broken_files, output):
    """What the command says in the end."""
    with (
        in_one_process(recorded, RunOf(), rows_per_shard=200),
        mock.patch("os.fsync"),
        mock.patch.object(_cli, "stop_in_order"),
        mock.patch.object(annotate.local, "LocalOptions", return_value=LocalOptions(workers=1)),
        flagsaver.flagsaver((annotate._OUTPUT_DIR, str(output)), (annotate._RUNNER, "local")),
    ):
        sources = [str(path) for path in sorted([*recorded.paths, *broken_files])]
        return annotate._label_job(sources, AnnotateOptions(), recorded.folder)


def _check(recorded, broken_files, output, row, capsys):
    code = _exit_status(recorded, broken_files, output)
    row.tried(None if code == PARTLY else f"exit status {code}")
    keys = [(label.source_path, label.frame_index, label.track_id) for label in labels_of(output)]
    row.tried(None if keys == recorded.keys else f"{len(keys)} labels of {len(recorded.keys)}", cases=len(keys))
    told = json.loads((output / "labels/run.json").read_text())["results"]["failures"]
    names = sorted(path.name for path in broken_files)
    row.tried(None if sorted(one["input"] for one in told) == names else f"run.json names {told}")
    found = {name: (stage, reason) for name, stage, reason in job_status(output).failures}
    capsys.readouterr()
    with flagsaver.flagsaver((status._JOB, str(output))):
        code = status.main([])
    row.tried(None if code == PARTLY else f"tools.status ends with {code}")
    printed = capsys.readouterr().out
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


def test_ten_broken_inputs_of_thirty(tmp_path, promise, capsys):
    broken_files = break_files(tmp_path / "broken")
    assert len(broken_files) == 10
    recorded = Recorded.make(tmp_path / "inputs", [[1]] * 20)
    with promise("10 broken inputs of 30") as row:
        _check(recorded, broken_files, tmp_path / "job", row, capsys)


@pytest.mark.slow
@pytest.mark.survive
def test_one_of_a_hundred_of_a_thousand_is_broken(tmp_path, promise, capsys):
    broken_files = break_files(tmp_path / "broken")
    recorded = Recorded.make(tmp_path / "inputs", [[1]] * 990)
    with promise("poison: 10 broken inputs of 1,000") as row:
        _check(recorded, broken_files, tmp_path / "job", row, capsys)


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
