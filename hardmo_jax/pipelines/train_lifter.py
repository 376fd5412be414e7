"""Training of the lifter, from motion capture to the file that ships."""

import dataclasses
import functools
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hardmo_jax.body import load
from hardmo_jax.data.lifter_samples import LifterSampler, LifterSamples, SampleOptions
from hardmo_jax.labels import provenance
from hardmo_jax.networks import lifter_file, lifter_input
from hardmo_jax.networks.lifter import LifterOptions
from hardmo_jax.networks.lifter_file import TrainedLifter
from hardmo_jax.pipelines import training_poses, training_runs
from hardmo_jax.pipelines.training_poses import Progress
from hardmo_jax.pipelines.training_runs import OnReport, TrainedSummary
from hardmo_jax.training import lifter_loss
from hardmo_jax.training.lifter_loss import LossOptions, Skeleton
from hardmo_jax.training.loop import LoopOptions


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainLifterOptions:
    """The network, what it is shown, and for how long."""

    network: LifterOptions = LifterOptions()
    samples: SampleOptions = SampleOptions()
    loss: LossOptions = LossOptions()
    loop: LoopOptions = LoopOptions()
    frames_per_second: float = 30.0
    """Rate that captures are thinned to."""
    calibration_people: int = 30_000
    """People by whom the error is measured in the end."""
    shrinkage: float = 0.03
    """Share of the error's covariance that is taken for independent."""


def train_lifter(
    options: TrainLifterOptions,
    output_dir: pathlib.Path,
    *,
    mocap: pathlib.Path,
    progress: Progress | None = None,
    on_report: OnReport | None = None,
) -> TrainedSummary:
    """Train a lifter and write it to `lifter.npz`.

    A run that was stopped goes on from its last checkpoint.

    Args:
        options: What to train.
        output_dir: Folder for checkpoints and the lifter.
        mocap: Folder of motion capture.
        progress: Told the stage, what is done, and of how much.
        on_report: Told the step and the means of losses.

    Raises:
        PrepareError: If there is no motion capture.
        hardmo_jax.training.loop.TrainingError: If the loss is no number any more.
    """
    begun = time.monotonic()
    pool, pool_path = training_poses.collect_poses(
        mocap, output_dir, frames_per_second=options.frames_per_second, progress=progress
    )
    body = load.open_body(view="smplh")
    seed = options.loop.seed
    sampler = LifterSampler(body, pool, options.samples, seed=seed)
    skeleton = Skeleton.of(body)
    blank = np.eye(lifter_file.lifter.NUM_SPREAD, dtype=np.float32)

    def with_weights(weights: Any) -> TrainedLifter:
        return TrainedLifter(weights=weights, error_precision=blank, options=options.network)

    def loss(weights: Any, batch: LifterSamples) -> Any:
        seen = lifter_input.encode(batch.keypoints_2d, batch.confidence, batch.camera)
        target = lifter_loss.make_target(skeleton, batch.params, seen.rotation, seen.size)
        return lifter_loss.lifter_loss(skeleton, with_weights(weights)(seen.features), target, options.loss)

    same = dataclasses.replace(options, calibration_people=0, shrinkage=0.0)
    weights, last = training_runs.train_network(
        lifter_file.initial_weights(options.network, seed),
        loss,
        lambda number: sampler.draw(number, options.loop.batch),
        options.loop,
        output_dir,
        identity=f"{same}\nposes {provenance.file_sha256(pool_path)}\n",
        progress=progress,
        on_report=on_report,
    )
    trained = calibrated(with_weights(weights), sampler, skeleton, options)
    minutes, people = (time.monotonic() - begun) / 60, options.loop.steps * options.loop.batch
    record = training_runs.record_of(
        options,
        pool,
        seed=seed,
        minutes_of_last_run=round(minutes, 1),
        people=people,
        poses_sha256=provenance.file_sha256(pool_path),
        body_sha256=body.checksum,
        last=last,
    )
    path = output_dir / "lifter.npz"
    digest = lifter_file.save_lifter(path, trained, record)
    return TrainedSummary(path=path, sha256=digest, minutes=minutes, drawn=people, last=last)


def calibrated(
    trained: TrainedLifter, sampler: LifterSampler, skeleton: Skeleton, options: TrainLifterOptions
) -> TrainedLifter:
    """The lifter with the covariance of its errors: people drawn anew, from the takes that it was trained on.

    Measured on single answers; with the mirror image errors are some percent smaller.
    """

    @jax.jit
    def errors(trained: TrainedLifter, batch: LifterSamples) -> Any:
        seen = lifter_input.encode(batch.keypoints_2d, batch.confidence, batch.camera)
        found = trained(seen.features)
        error = lifter_loss.error_vector(
            found, lifter_loss.make_target(skeleton, batch.params, seen.rotation, seen.size)
        )
        return error * jnp.exp(-found.log_spread)

    precision = training_runs.measured_precision(
        functools.partial(errors, trained),
        lambda number: sampler.draw(number, options.loop.batch),
        options.calibration_people,
        options.shrinkage,
        batch=options.loop.batch,
    )
    return dataclasses.replace(trained, error_precision=precision)
