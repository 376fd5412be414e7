"""`python -m tools.eval` and `tools.prepare` as a user runs them, on real motion capture where there is some."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from hardmo_jax.data import hard_set
from tests.tools.command_line import ROOT, run_each

CONFIG = f"--config={ROOT / 'configs' / 'eval.py'}:smoke"


def run(tool, *arguments, cwd, data):
    """Run a tool in a folder of its own; `data` is what HARDMO_DATA says."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HARDMO_DATA": str(data)}
    return subprocess.run(
        [sys.executable, "-m", f"tools.{tool}", *arguments],
        cwd=cwd, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    """A folder in which SynthHard was evaluated by a user without motion capture, and what was printed."""
    cwd = tmp_path_factory.mktemp("user")
    (done,) = run_each("eval", [(CONFIG,)], cwd=cwd, environment={"HARDMO_DATA": str(cwd / "nothing")})
    return cwd, done


def benchmark_of(cwd):
    return next((cwd / "out" / "benchmarks").iterdir())


def truth_file(cwd, name, *, noise=0.0, scale=1.0, rows=slice(None)):
    """Predictions of a user: the true keypoints in another order, with an error."""
    found = hard_set.load_hard_set(benchmark_of(cwd) / "test.npz")
    rng = np.random.default_rng(0)
    joints = scale * (np.asarray(found.joints, np.float64) + rng.normal(scale=noise or 1e-12, size=found.joints.shape))
    order = rng.permutation(len(found))[rows]
    ids = np.array(found.ids)[order]
    np.savez(cwd / name, ids=ids, layout="smplh52", keypoints_3d=joints[order])
    return cwd / name


def test_without_motion_capture_synth_hard_is_scored_and_named(synthetic):
    cwd, done = synthetic
    assert done.returncode == 0, done.stderr
    for words in (
        "synth_hard: all",
        "This is SynthHard",
        "free for all uses",
        "zero_start",
        "P1 second_look",
        "Protocol",
    ):
        assert words in done.stdout, words
    for ending in ("json", "md", "png"):
        assert (cwd / "out" / "eval" / f"evaluation.{ending}").stat().st_size > 1000


@pytest.mark.slow
def test_a_second_run_gives_the_same_numbers_to_the_last_digit(synthetic):
    cwd, first = synthetic
    before = {path.name: path.read_bytes() for path in (cwd / "out" / "eval").glob("evaluation.*")}
    (again,) = run_each("eval", [(CONFIG,)], cwd=cwd, environment={"HARDMO_DATA": str(cwd / "nothing")})
    assert again.returncode == 0, again.stderr
    assert again.stdout == first.stdout
    assert {path.name: path.read_bytes() for path in (cwd / "out" / "eval").glob("evaluation.*")} == before


MISTAKES = {
    ("--config.protocol=smpl24", "--predictions=metres.npz"): "millimetres",
    ("--config.protocol=smpl24", "--predictions=nobody.npz"): "there are no predictions",
    ("--compare=default",): "two names or more",
    ("--predictions=absent.npz",): "no such file",
    ("--benchmark=nowhere",): "holds no finished benchmark",
    ("--labels=hmr2_npz:absent.npz", "--predictions=spin_npz:absent.npz"): "absent.npz",
    ("--labels=hmr2_npz:absent.npz",): "--predictions",
    ("--labels=hmr2_npz:absent.npz", "--compare"): "--compare is for prepared sets",
    ("--config.protocol=hardmoo",): "did you mean 'hardmo'",
    ("--config.protcol=smpl24",): "did you mean --config.protocol",
}


@pytest.fixture(scope="module")
def ended(synthetic):
    """How runs ended on what a user predicts: scored, compared, and those of the mistakes."""
    cwd, _ = synthetic
    good, bad = truth_file(cwd, "good.npz", noise=0.005), truth_file(cwd, "bad.npz", noise=0.05)
    truth_file(cwd, "metres.npz", scale=1000.0)
    truth_file(cwd, "nobody.npz", rows=slice(0, 0))
    lines = [
        (CONFIG, "--config.protocol=smpl24", f"--{what}={good},{bad}", f"--output_dir={cwd / what}")
        for what in ("predictions", "compare")
    ]
    lines += [(CONFIG, *arguments) for arguments in MISTAKES]
    return run_each("eval", lines, cwd=cwd, environment={"HARDMO_DATA": str(cwd)})


def test_predictions_are_scored_and_compared(synthetic, ended):
    cwd, _ = synthetic
    scored, compared, *_ = ended
    assert scored.returncode == 0, scored.stderr
    results = json.loads((cwd / "predictions" / "evaluation.json").read_text())["results"]
    errors = {entry["method"]: entry["metrics"]["mpjpe/joints_24"] for entry in results}
    assert errors["good.npz"] < 0.02 < errors["bad.npz"]
    assert compared.returncode == 0, compared.stderr
    assert "good.npz is better" in compared.stdout


def test_bad_predictions_and_wrong_arguments_end_in_one_line(ended):
    for done, (arguments, words) in zip(ended[2:], MISTAKES.items(), strict=True):
        assert done.returncode == 2, arguments
        assert words in done.stderr, done.stderr
        assert "Traceback" not in done.stderr


def test_published_labels_are_scored_on(tmp_path, rng):
    points = np.concatenate([rng.normal(100, 40, (3, 44, 2)), np.ones((3, 44, 1))], -1)
    truth = {"imgname": np.array(["a.jpg", "b.jpg", "b.jpg"]), "center": np.full((3, 2), 100.0),
             "scale": np.full((3, 2), 200.0)}  # fmt: skip
    for name, noise in (("truth", 0.0), ("theirs", 4.0)):
        moved = points + noise * np.array([1.0, 0.0, 0.0])
        np.savez(tmp_path / f"{name}.npz", body_keypoints_2d=moved[:, :25], extra_keypoints_2d=moved[:, 25:], **truth)
    done = run("eval", "--labels=hmr2_npz:truth.npz", "--predictions=hmr2_npz:theirs.npz", cwd=tmp_path, data=tmp_path)
    assert done.returncode == 0, done.stderr
    for words in ("truth: all", "hand in the picture is without", "Protocol hardmo"):
        assert words in done.stdout, words
    (result,) = json.loads((tmp_path / "out" / "eval" / "evaluation.json").read_text())["results"]
    # Everybody is 4 pixels from the truth, 2 % of the box.
    assert result["pck"]["body_17"] == [0.0, 1.0]
    assert (tmp_path / "out" / "eval" / "evaluation.png").is_file()


@pytest.mark.slow
def test_motion_capture_is_prepared_and_scored(tmp_path, reference_data):
    done = run("eval", CONFIG, "--config.sets=('test',)", cwd=tmp_path, data=reference_data.resolve())
    assert done.returncode == 0, done.stderr
    assert "mocap_hard: all" in done.stdout
    assert "NSF EIA-0196217" in done.stdout
    results = json.loads((tmp_path / "out" / "eval" / "evaluation.json").read_text())["results"]
    default = next(entry for entry in results if entry["method"] == "second_look")
    # 24 people of one frame each: a fit that lost its way altogether would be far beyond this.
    assert default["metrics"]["pa_mpjpe/body_17"] < 0.16
    assert default["pck"]["body_17"][1] > 0.8


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder, and how the tool ended that prepared sets in it, with and without what it needs."""
    cwd = tmp_path_factory.mktemp("prepared")
    config = f"--config={ROOT / 'configs' / 'mocap_hard.py'}"
    lines = [(f"{config}:synth_smoke", f"--output_dir={cwd / 'b'}"), (f"{config}:smoke",)]
    return cwd, *run_each("prepare", lines, cwd=cwd, environment={"HARDMO_DATA": str(cwd)})


def test_prepare_prints_sizes_and_checksums(prepared):
    folder, done, _ = prepared
    assert done.returncode == 0, done.stderr
    entries = json.loads((folder / "b" / "benchmark.json").read_text())["results"]["sets"]
    assert len(entries) == 13
    for entry in entries:
        assert entry["sha256"] in done.stdout
        assert (folder / "b" / f"{entry['name'].partition('/')[2]}.npz").stat().st_size == entry["num_bytes"]


def test_prepare_without_motion_capture_ends_in_one_line(prepared):
    done = prepared[2]
    assert done.returncode == 2
    assert "mocap_hard needs motion capture" in done.stderr
    assert "Traceback" not in done.stderr
