"""Training of the motion lifter, from motion capture to the file that ships."""

import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from hardmo_jax.body import load
from hardmo_jax.data.motion_samples import MotionSampleOptions, MotionSampler
from hardmo_jax.labels import provenance
from hardmo_jax.networks import lifter, lifter_file, motion_input, motion_lifter_file
from hardmo_jax.networks.lifter_file import TrainedLifter
from hardmo_jax.networks.motion_input import MotionInput
from hardmo_jax.networks.motion_lifter import MotionLifterOptions
from hardmo_jax.networks.motion_lifter_file import TrainedMotionLifter
from hardmo_jax.pipelines import training_poses, training_runs
from hardmo_jax.pipelines.training_poses import Progress
from hardmo_jax.pipelines.training_runs import OnReport, TrainedSummary
from hardmo_jax.training import motion_loss
from hardmo_jax.training.lifter_loss import Skeleton
from hardmo_jax.training.loop import LoopOptions
from hardmo_jax.training.motion_loss import MotionLossOptions, MotionTarget


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainMotionOptions:
    """The network, what it is shown, and for how long."""

    network: MotionLifterOptions = MotionLifterOptions()
    samples: MotionSampleOptions = MotionSampleOptions()
    loss: MotionLossOptions = MotionLossOptions()
    loop: LoopOptions = LoopOptions(steps=6000, batch=24)
    frames_per_second: float = 30.0
    """Rate that captures are thinned to."""
    calibration_clips: int = 768
    """Clips by which the error is measured in the end."""
    shrinkage: float = 0.03
    """Share of the error's covariance that is taken for independent."""


def train_motion(
    options: TrainMotionOptions,
    output_dir: pathlib.Path,
    *,
    mocap: pathlib.Path,
    trained: TrainedLifter | None = None,
    progress: Progress | None = None,
    on_report: OnReport | None = None,
) -> TrainedSummary:
    """Train a motion lifter on what a lifter says of clips, and write it to `motion_lifter.npz`.

    A run that was stopped goes on from its last checkpoint.

    Args:
        options: What to train.
        output_dir: Folder for checkpoints and the motion lifter.
        mocap: Folder of motion capture.
        trained: The lifter, which is not changed; None takes that of the package.
        progress: Told the stage, what is done, and of how much.
        on_report: Told the step and the means of losses.

    Raises:
        PrepareError: If there is no motion capture.
        hardmo_jax.training.loop.TrainingError: If the loss is no number any more, or the folder holds another run.
    """
    trained = trained or lifter_file.packaged_lifter()
    begun = time.monotonic()
    pool, pool_path = training_poses.collect_motion(
        mocap, output_dir, frames_per_second=options.frames_per_second, progress=progress
    )
    body = load.open_body(view="smplh")
    seed = options.loop.seed
    sampler = MotionSampler(body, pool, options.samples, seed=seed)
    skeleton = Skeleton.of(body)
    encode = jax.jit(motion_input.encode_clip)
    blank = np.eye(lifter.NUM_SPREAD, dtype=np.float32)

    def with_weights(weights: Any) -> TrainedMotionLifter:
        return TrainedMotionLifter(
            weights=weights,
            error_precision=blank,
            options=options.network,
            lifter_weights_sha256=trained.weights_sha256,
        )

    def batch_of(number: int) -> tuple[MotionInput, MotionTarget]:
        found = sampler.draw(number, options.loop.batch)
        camera = jax.tree.map(lambda leaf: leaf[:, None], found.camera)
        clip = encode(trained, found.keypoints_2d, found.confidence, camera)
        return clip, MotionTarget(params=found.params, stands=found.stands)

    def loss(weights: Any, batch: tuple[MotionInput, MotionTarget]) -> Any:
        clip, target = batch
        return motion_loss.motion_loss(skeleton, clip, with_weights(weights)(clip), target, options.loss)

    same = dataclasses.replace(options, calibration_clips=0, shrinkage=0.0)
    weights, last = training_runs.train_network(
        motion_lifter_file.initial_motion_weights(options.network, seed),
        loss,
        batch_of,
        options.loop,
        output_dir,
        identity=f"{same}\nmotion {provenance.file_sha256(pool_path)}\nlifter {trained.weights_sha256}\n",
        progress=progress,
        on_report=on_report,
    )
    result = _calibrated(with_weights(weights), batch_of, skeleton, options)
    minutes, clips = (time.monotonic() - begun) / 60, options.loop.steps * options.loop.batch
    record = training_runs.record_of(
        options,
        pool,
        seed=seed,
        minutes_of_last_run=round(minutes, 1),
        clips=clips,
        motion_sha256=provenance.file_sha256(pool_path),
        body_sha256=body.checksum,
        last=last,
    )
    path = output_dir / "motion_lifter.npz"
    digest = motion_lifter_file.save_motion_lifter(path, result, record)
    return TrainedSummary(path=path, sha256=digest, minutes=minutes, drawn=clips, last=last)


def _calibrated(
    trained: TrainedMotionLifter,
    batch_of: Callable[[int], tuple[MotionInput, MotionTarget]],
    skeleton: Skeleton,
    options: TrainMotionOptions,
) -> TrainedMotionLifter:
    """The motion lifter with the covariance of its errors: clips drawn anew, from the takes that it was trained on."""

    @jax.jit
    def errors(trained: TrainedMotionLifter, batch: tuple[MotionInput, MotionTarget]) -> Any:
        clip, target = batch
        return motion_loss.error_vectors(skeleton, clip, trained(clip), target)

    precision = training_runs.measured_precision(
        functools.partial(errors, trained),
        batch_of,
        options.calibration_clips,
        options.shrinkage,
        batch=options.loop.batch,
    )
    return dataclasses.replace(trained, error_precision=precision)
