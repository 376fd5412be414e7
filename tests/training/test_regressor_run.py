"""A run that was killed goes on to the last bit, and one that is spoilt says by which batch."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.data.training_records import TrainingDataError
from hardmo_jax.networks import regressors
from hardmo_jax.networks.regressors import named_weights
from hardmo_jax.training import regressor_objective
from hardmo_jax.training.loop import TrainingError
from hardmo_jax.training.regressor_objective import ObjectiveOptions
from hardmo_jax.training.regressor_run import BAD_BATCH, RunOptions, run_training
from hardmo_jax.training.regressor_step import StepOptions
from tests.networks.test_regressors import TINY
from tests.tools.command_line import ROOT
from tests.training.training_samples import MadeLoader

STEPS = 9


def run(
    folder, *, loader=None, steps=STEPS, report_every=1, on_report=lambda report: None,
    progress=lambda stage, done, total: None, **options,
):  # fmt: skip
    body = regressor_objective.compared_body(hm.open_body(view="smpl"))
    regressor = regressor_objective.with_usual_start(regressors.untrained("hmr", TINY["hmr"], seed=2))
    return run_training(
        regressor, body, loader or MadeLoader(2), folder,
        options=RunOptions(steps=steps, batch_size=2, report_every=report_every, checkpoint_every=2, validate_every=0),
        step_options=StepOptions(**{"learning_rate": 1e-4, "schedule": "constant", **options}),
        objective=ObjectiveOptions(), on_report=on_report, progress=progress,
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Reports of a run that nobody stopped, its weights, and its folder."""
    folder, told = tmp_path_factory.mktemp("whole"), []
    return told, named_weights(run(folder, on_report=told.append).weights), folder


def test_reports_tell_throughput_and_waiting(whole):
    told = whole[0]
    assert [report.step for report in told] == list(range(1, STEPS + 1))
    assert all(report.crops_per_second > 0 and 0 <= report.input_wait_share <= 1 for report in told)


_KILLED = """
import json, pathlib, sys, time
from tests.training.test_regressor_run import run
folder = pathlib.Path(sys.argv[1])
def tell(told):
    with (folder / "losses.jsonl").open("a") as file:
        file.write(json.dumps([told.step, told.means["loss"]]) + "\\n")
    time.sleep(0.2)
run(folder, on_report=tell)
"""


@pytest.mark.parametrize("last", [3, pytest.param(6, marks=pytest.mark.slow)])
def test_a_run_that_was_killed_goes_on_with_the_same_losses(last, whole, tmp_path):
    reports, weights, _ = whole
    losses = {report.step: report.means["loss"] for report in reports}
    told = tmp_path / "losses.jsonl"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(tmp_path)], cwd=ROOT, env=environment, stderr=subprocess.PIPE
    )
    until = time.monotonic() + 240
    while process.poll() is None and time.monotonic() < until:
        if told.is_file() and len(told.read_text().splitlines()) >= last:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.05)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    before = [json.loads(line) for line in told.read_text().splitlines()]
    assert len(before) < STEPS
    after = []
    trained = run(tmp_path, on_report=lambda report: after.append((report.step, report.means["loss"])))
    # From its last checkpoint, of which there is one every second step.
    assert 1 <= after[0][0] <= before[-1][0] + 1
    for step, loss in (*before, *after):
        assert loss == losses[step]
    for name, value in named_weights(trained.weights).items():
        np.testing.assert_array_equal(value, weights[name])


def test_ctrl_c_keeps_the_step_that_was_done_and_what_was_not_yet_reported(whole, tmp_path):
    losses = {report.step: report.means["loss"] for report in whole[0]}

    def press(stage, done, total):
        if done == 6:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, report_every=4, progress=press)
    after, steps = [], []
    trained = run(
        tmp_path, report_every=4, on_report=after.append, progress=lambda stage, done, total: steps.append(done)
    )
    assert steps[0] == 7, "told behind the look at it of the sixth step, and no other is kept between two checkpoints"
    means = [np.mean([losses[step] for step in range(5, 9)]), losses[9]]
    assert [(report.step, report.means["loss"]) for report in after] == list(zip((8, 9), means, strict=True))
    for name, value in named_weights(trained.weights).items():
        np.testing.assert_array_equal(value, whole[1][name])


def test_a_batch_that_spoils_a_step_is_kept_and_so_are_the_weights_of_before(tmp_path):
    with pytest.raises(TrainingError, match=r"step 6: .*bad_batch"):
        run(tmp_path, loader=MadeLoader(2, bad=5))
    with np.load(tmp_path / BAD_BATCH) as file:
        assert np.isinf(file["keypoints_2d"][0, 0]).all()
    assert (pathlib.Path(tmp_path) / "checkpoints" / "4").is_dir()


def test_checkpoints_of_another_network_are_refused(whole, tmp_path):
    shutil.copytree(whole[2], tmp_path, dirs_exist_ok=True)
    body = regressor_objective.compared_body(hm.open_body(view="smpl"))
    other = regressor_objective.with_usual_start(regressors.untrained("prohmr", TINY["prohmr"]))
    with pytest.raises(TrainingError, match="another network"):
        run_training(
            other, body, MadeLoader(2), tmp_path, options=RunOptions(steps=STEPS + 1, batch_size=2),
            step_options=StepOptions(), objective=ObjectiveOptions(),
        )  # fmt: skip


def test_errors_of_a_loader_and_uneven_batches_are_told(tmp_path):
    class Broken(MadeLoader):
        def __next__(self):
            raise TrainingDataError("65 of 65 samples cannot be used\nand more")

    with pytest.raises(TrainingDataError, match=r"cannot be used$"):
        run(tmp_path / "a", loader=Broken(2))
    with pytest.raises(ValueError, match="multiple"):
        run(tmp_path / "b", accumulate=3)
