"""Many inputs as one job, by the commands that users give: labels, what is told, what is refused."""

import itertools
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from hardmo_jax.labels import sharded_store, store
from tests.perception import made_videos
from tests.tools.command_line import ROOT, run_each
from tests.tools.test_annotate_videos import SMOKE, pictures  # noqa: F401 a fixture

USAGE_STATUS, PARTLY, STOPPED, LEFT = 2, 3, 75, 1


@pytest.fixture(scope="module")
def clips(pictures, tmp_path_factory):  # noqa: F811
    """Three videos of four frames, a text that is called a video, and two photos."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(3):
        frames = list(itertools.islice(itertools.cycle(pictures[number:] + pictures[:number]), 4))
        made_videos.write(folder / f"clip {number}.mp4", frames)
    (folder / "broken.mp4").write_text("no video")
    return folder


@pytest.fixture(scope="module")
def job(clips, perception_models, tmp_path_factory):
    """The job run in three ways: begun and left, gone on with, and by another number of processes."""
    folder = tmp_path_factory.mktemp("jobs")
    common = [*SMOKE, f"--input={clips}", f"--models={perception_models}", "--runner=local"]
    runs = run_each(
        "annotate",
        [
            [*common, f"--output_dir={folder / 'job'}", "--workers=2", "--limit_inputs=2"],
            [*common, f"--output_dir={folder / 'job'}", "--workers=2"],
            [*common, f"--output_dir={folder / 'other'}", "--workers=4", "--label_workers=2"],
            [*common, f"--output_dir={folder / 'job'}", "--shard=3/2"],
            [*common, f"--output_dir={folder / 'job'}", "--config.fit.keypoints_2d_spread=0.5"],
        ],
    )
    return folder, runs


def test_a_job_is_left_and_gone_on_with_and_failures_are_told(job, clips):
    folder, (first, second, *_) = job
    assert first.returncode == STOPPED, first.stderr
    assert "inputs are left; the same command goes on" in first.stdout
    assert second.returncode == PARTLY, second.stderr
    assert "broken.mp4" in second.stdout
    rows = store.read_labels(folder / "job/labels").rows
    assert {row.source_path for row in rows} == {f"clip {number}.mp4" for number in range(3)}
    assert sharded_store.verify_store(folder / "job/labels").is_complete
    record = json.loads((folder / "job/labels/run.json").read_text())
    assert [failure["stage"] for failure in record["results"]["failures"]] == ["look"]
    assert str(pathlib.Path.home()) not in (folder / "job/job.json").read_text()


def test_labels_are_the_same_by_another_number_of_processes(job):
    folder, (_, _, third, *_) = job
    assert third.returncode == PARTLY, third.stderr
    one, other = (store.read_labels(folder / name / "labels").rows for name in ("job", "other"))
    assert len(one) == len(other) > 0
    for left, right in zip(one, other, strict=True):
        assert (left.source_path, left.frame_index, left.track_id) == (
            right.source_path, right.frame_index, right.track_id,
        )  # fmt: skip
        for name in ("body_pose", "global_orient", "transl", "betas", "keypoints_2d"):
            np.testing.assert_array_equal(getattr(left, name), getattr(right, name))


def test_what_makes_no_sense_is_refused_and_nothing_is_touched(job):
    _, (_, _, _, shard, options) = job
    assert shard.returncode == options.returncode == USAGE_STATUS
    assert "--shard=3/2" in shard.stderr
    assert "other options" in options.stderr
    assert "keypoints_2d_spread" in options.stderr


def test_status_says_what_is_left(job, tmp_path):
    folder, _ = job
    done, none = run_each("status", [[f"--job={folder / 'job'}"], [f"--job={tmp_path}"]])
    assert done.returncode == PARTLY, done.stderr
    assert "3 of 4 inputs are labelled" in done.stdout
    assert "failed in look" in done.stdout
    assert "complete" in done.stdout
    assert none.returncode == USAGE_STATUS
    assert "holds no job" in none.stderr


def test_status_as_it_is_typed(job):
    folder, _ = job
    told = subprocess.run(
        [sys.executable, "-m", "tools.status", str(folder / "job"), "--noverify"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == PARTLY, told.stderr


def test_a_cluster_that_cannot_be_reached_is_told(clips, perception_models, tmp_path):
    pytest.importorskip("ray")
    (run,) = run_each(
        "annotate",
        [
            [
                *SMOKE, f"--input={clips}", f"--models={perception_models}", "--runner=ray",
                "--ray_address=127.0.0.1:1", f"--output_dir={tmp_path / 'job'}",
            ]
        ],
    )  # fmt: skip
    assert run.returncode == USAGE_STATUS, run.stderr
    assert "cannot be reached" in run.stderr
    assert not (tmp_path / "job/labels").exists()
