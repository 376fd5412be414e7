"""A motion lifter trained in small, on motion that is made up: what it records, what it is told, and going on."""

import dataclasses

import numpy as np
import pytest

from hardmo_jax.data import splits
from hardmo_jax.data.motion_pool import MotionPool
from hardmo_jax.data.motion_samples import MotionSampleOptions, MotionSampler
from hardmo_jax.labels import provenance
from hardmo_jax.networks import lifter_file
from hardmo_jax.networks.motion_lifter import MotionLifterOptions
from hardmo_jax.networks.motion_lifter_file import read_motion_lifter
from hardmo_jax.pipelines import train_motion, training_poses
from hardmo_jax.training.loop import LoopOptions, TrainingError

TINY = train_motion.TrainMotionOptions(
    network=MotionLifterOptions(width=16, hidden=16, gaps=(1,)),
    samples=MotionSampleOptions(frames=6),
    loop=LoopOptions(
        steps=6, batch=8, learning_rate=1e-3, warmup_steps=2, average_decay=0.5, report_every=3, checkpoint_every=3
    ),
    calibration_clips=16,
)


@pytest.fixture(scope="module", autouse=True)
def pool(tmp_path_factory):
    """Motion of three takes."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("pool") / "motion.npz"
    swing = np.sin(np.arange(90)[:, None, None] / 7 + rng.uniform(0, 6, (1, 22, 3)))
    found = MotionPool(
        body_pose=0.3 * swing * rng.normal(size=(1, 22, 3)), pelvis=np.zeros((90, 3)),
        run_lengths=np.array([30, 30, 30]), take_of=np.array([0, 1, 2]), styles=("martial", "indian", "deepmimic"),
        takes=("03", "04", "run"), frames_per_second=30.0,
    )  # fmt: skip
    found.save(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_poses, "collect_motion", lambda mocap, cache, **settings: (found, path))
        yield found, path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder, told, drawn = tmp_path_factory.mktemp("motion"), [], []
    draw = MotionSampler.draw

    def spied(sampler, batch, count):
        drawn.append(batch)
        return draw(sampler, batch, count)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MotionSampler, "draw", spied)
        summary = train_motion.train_motion(
            TINY, folder, mocap=folder, on_report=lambda step, means: told.append((step, dict(means)))
        )
    return summary, told, drawn


def test_a_motion_lifter_is_written_with_where_it_comes_from(trained, pool):
    summary, told, _ = trained
    assert summary.sha256 == provenance.file_sha256(summary.path)
    found, record = read_motion_lifter(summary.path.read_bytes(), source="motion_lifter.npz")
    assert found.options == TINY.network
    assert record["takes"] == ["martial/03", "indian/04", "deepmimic/run"]
    assert record["held_out"] == {
        split: [f"{style}/{take}" for style in splits.STYLES for take in splits.held_out_takes(split, style)]
        for split in ("test", "validation")
    }
    assert record["motion_sha256"] == provenance.file_sha256(pool[1])
    assert record["lifter_weights_sha256"] == lifter_file.packaged_lifter().weights_sha256
    assert found.lifter_weights_sha256 == record["lifter_weights_sha256"]
    assert record["clips"] == summary.drawn == 6 * 8
    assert record["last"] == summary.last == told[-1][1]


def test_losses_are_told(trained):
    _, told, _ = trained
    assert [step for step, _ in told] == [3, 6]
    assert {"loss", "joints_mm", "velocity_mm", "travel_mm", "contact", "shape", "surprise"} <= set(told[0][1])
    assert all(np.isfinite(list(means.values())).all() for _, means in told)


def test_the_error_is_measured_on_clips_that_were_never_trained_on(trained):
    _, _, drawn = trained
    training = [number for number in drawn if number < 10_000_000]
    assert sorted(training) == list(range(7)), "the last one was only made ready"
    assert sorted(set(drawn) - set(training)) == [10_000_000, 10_000_001]


def test_a_folder_of_another_run_is_not_gone_on_with(trained):
    summary, _, _ = trained
    other = dataclasses.replace(TINY, loop=dataclasses.replace(TINY.loop, learning_rate=2e-3))
    with pytest.raises(TrainingError, match="other options"):
        train_motion.train_motion(other, summary.path.parent, mocap=summary.path.parent)


def test_a_run_that_was_done_comes_back_at_once(trained):
    summary, _, _ = trained
    again = train_motion.train_motion(TINY, summary.path.parent, mocap=summary.path.parent)
    first, second = (read_motion_lifter(path.read_bytes(), source="x")[0] for path in (summary.path, again.path))
    np.testing.assert_array_equal(first.error_precision, second.error_precision)
