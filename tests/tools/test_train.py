"""`python -m tools.train` as a user runs it, in small, on short pieces of real motion capture where there is some."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from hardmo_jax.data import splits
from hardmo_jax.fitting import pose_mixture
from hardmo_jax.labels import provenance
from hardmo_jax.networks.lifter_file import read_lifter
from hardmo_jax.networks.ranker import read_ranker
from hardmo_jax.recovery.starts import START_NAMES
from tests.pipelines.test_prepare import cut
from tests.tools.command_line import ROOT, run_each

TAKES = {"martial": ("03", "05"), "indian": ("04",), "salsa": ("01", "16")}


def run(*arguments, cwd, data):
    """Run the tool in a folder of its own; `data` is what HARDMO_DATA says."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HARDMO_DATA": str(data)}
    return subprocess.run(
        [sys.executable, "-m", "tools.train", *arguments],
        cwd=cwd, env=environment, capture_output=True, text=True, timeout=900,
    )  # fmt: skip


def config(kind, variant="smoke"):
    return f"--config={ROOT / 'configs' / f'train_{kind}.py'}:{variant}"


@pytest.fixture(scope="module")
def user(reference_data, tmp_path_factory):
    """A user's folder with short takes; takes that are held out are there, and cannot be read."""
    folder = tmp_path_factory.mktemp("user")
    mocap = folder / "data" / "mocap" / "cmu_bvh_30fps"
    for style, takes in TAKES.items():
        for take in takes:
            cut(reference_data / "mocap" / "cmu_bvh_30fps" / style / f"{take}.bvh", mocap / style / f"{take}.bvh")
    for split in ("test", "validation"):
        for style in splits.STYLES:
            for take in splits.held_out_takes(split, style):
                (mocap / style / f"{take}.bvh").write_text("held out")
    return folder


@pytest.fixture(scope="module")
def lifter(user):
    """What was printed, and the lifter."""
    short = ("--config.loop.steps=24", "--config.loop.report_every=8", "--config.calibration_people=128")
    done = run(config("lifter"), *short, cwd=user, data=user / "data")
    return done, user / "out" / "train_lifter" / "lifter.npz"


def assert_done(done, path):
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert f"sha256 {provenance.file_sha256(path)}" in done.stdout


def test_a_lifter_is_trained_and_says_what_it_has_seen(lifter):
    done, path = lifter
    assert_done(done, path)
    assert "3072 people in" in done.stdout
    _, record = read_lifter(path.read_bytes(), source=path.name)
    assert sorted(record["takes"]) == sorted(f"{style}/{take}" for style, takes in TAKES.items() for take in takes)
    losses = [float(line.partition("loss ")[2].partition(",")[0]) for line in done.stderr.splitlines()
              if line.startswith("step ")]  # fmt: skip
    assert len(losses) == 3
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_a_prior_is_trained_from_the_poses_of_the_lifter(lifter, user):
    folder = lifter[1].parent
    stored = [path.stat().st_mtime_ns for path in folder.glob("poses-*.npz")]
    done = run(config("prior"), "--config.people=300", f"--output_dir={folder}", cwd=user, data=user / "data")
    path = folder / "pose_prior.npz"
    assert [path.stat().st_mtime_ns for path in folder.glob("poses-*.npz")] == stored
    assert_done(done, path)
    assert tuple(pose_mixture.read_mixtures(path.read_bytes(), source=path.name)) == tuple(pose_mixture.PARTS)
    for part in pose_mixture.PARTS:
        assert f"{part}: one Gaussian" in done.stdout
    with np.load(path) as file:
        takes = json.loads(str(file["record"]))["takes"]
    assert len(takes) == 5


@pytest.mark.slow
def test_a_ranker_is_trained_on_fits_of_a_lifter_of_ones_own(lifter, user):
    folder = lifter[1].parent
    done = run(
        config("ranker"), "--config.people=32", "--config.batch=32", f"--lifter={lifter[1]}",
        f"--mocap={user / 'data'}", f"--output_dir={folder}", cwd=user, data=user,
    )  # fmt: skip
    path = folder / "ranker.npz"
    assert_done(done, path)
    assert read_ranker(path.read_bytes(), source=path.name).hypotheses == START_NAMES
    errors = dict(line.removesuffix(" mm").rsplit(" ", 1) for line in done.stdout.splitlines() if line.endswith(" mm"))
    assert set(errors) == {"first_guess", "least_image_error", "ranker", "best"}
    assert all(float(errors["best"]) <= float(error) + 0.1 for error in errors.values())


def test_mistakes_end_in_one_line(tmp_path):
    mistakes = {
        (config("prior"), "--mocap=nowhere"): (
            "training needs motion capture in folders martial, indian, salsa: nowhere"
        ),
        (f"--config={ROOT / 'configs' / 'eval.py'}:smoke",): (
            "config.kind must be one of lifter, motion_lifter, pose_prior, ranker"
        ),
        (config("lifter"), "--config.loop.step=3"): "did you mean --config.loop.steps",
        (config("ranker"), f"--lifter={ROOT / 'pyproject.toml'}"): "not a lifter",
    }
    ends = run_each("train", list(mistakes), cwd=tmp_path, environment={"HARDMO_DATA": str(tmp_path)})
    for done, words in zip(ends, mistakes.values(), strict=True):
        assert done.returncode == 2, done.stdout + done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
