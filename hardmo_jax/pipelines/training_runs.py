"""What trainings have in common: the run of a network, the measuring of its errors, and the record of a file."""

import dataclasses
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from hardmo_jax.data.motion_pool import MotionPool
from hardmo_jax.data.pose_pool import PosePool
from hardmo_jax.pipelines import training_poses
from hardmo_jax.pipelines.training_poses import Progress
from hardmo_jax.training import calibration, loop
from hardmo_jax.training.loop import LoopOptions

OnReport = Callable[[int, dict[str, float]], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainedSummary:
    """What came of a training."""

    path: pathlib.Path
    sha256: str
    minutes: float
    drawn: int
    """People or clips that were drawn."""
    last: dict[str, float]


def train_network(
    initial: Any,
    loss: loop.Loss,
    batch_of: Callable[[int], Any],
    options: LoopOptions,
    folder: pathlib.Path,
    *,
    identity: str,
    progress: Progress | None,
    on_report: OnReport | None,
) -> tuple[Any, dict[str, float]]:
    """Train a network, or go on from the last checkpoint in a folder.

    Args:
        initial: First weights.
        loss: As of `loop.train`.
        batch_of: Batch by number.
        options: How.
        folder: For checkpoints.
        identity: What the checkpoints depend on.
        progress: Told the stage, what is done, and of how much.
        on_report: Told the step and the means of losses.

    Returns:
        Averaged weights, and the last means of losses.

    Raises:
        hardmo_jax.training.loop.TrainingError: If the loss is no number any more, or the folder holds another run.
    """
    loop.check_same_run(folder / "run.txt", identity)
    last: dict[str, float] = {}

    def tell(step: int, means: dict[str, float], average: Any) -> None:
        del average
        last.clear()
        last.update(means)
        if progress is not None:
            progress("train", step, options.steps)
        if on_report is not None:
            on_report(step, means)

    state = loop.train(initial, loss, batch_of, options, folder / "checkpoints", on_report=tell)
    return state.average, last


def measured_precision(
    errors: Callable[[Any], Any], batch_of: Callable[[int], Any], count: int, shrinkage: float, *, batch: int
) -> np.ndarray:
    """How errors hang together, of what is drawn anew from the takes that were trained on.

    Args:
        errors: Error vectors of a batch, in predicted spreads.
        batch_of: Batch by number.
        count: People or clips; rounded up to whole batches.
        shrinkage: Of the covariance, see `calibration.error_precision`.
        batch: People or clips of a batch.
    """
    numbers = calibration.FIRST_BATCH + np.arange(-(-count // batch))
    rows = [np.asarray(errors(batch_of(int(number))), np.float64) for number in numbers]
    return calibration.error_precision(rows, shrinkage)


def record_of(options: Any, pool: PosePool | MotionPool, **own: Any) -> dict[str, Any]:
    """Plain values that say where a file comes from.

    Args:
        options: Of the training.
        pool: What was learnt from.
        **own: What only this training has to say.
    """
    return {
        "command": ["python", "-m", "tools.train", *sys.argv[1:]],
        "config": dataclasses.asdict(options),
        "takes": [f"{style}/{take}" for style, take in zip(pool.styles, pool.takes, strict=True)],
        "held_out": training_poses.held_out_names(),
        **own,
    }
