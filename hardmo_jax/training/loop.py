"""The training loop: batches in, steps of an optimiser, an average of the weights, checkpoints, resume.

One loop for every network: what is trained is a loss of parameters and a batch.
"""

import concurrent.futures
import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from hardmo_jax.array_types import Array, Float
from hardmo_jax.training.interrupts import interrupts_held
from hardmo_jax.whole_files import replacing


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopOptions:
    """How long and how fast."""

    steps: int = 14_000
    batch: int = 1024
    """People a step."""
    learning_rate: float = 1.2e-3
    """Highest; rises over `warmup_steps` and falls to zero as a cosine."""
    warmup_steps: int = 400
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    average_decay: float = 0.9995
    """Of the average of the weights, which is what is kept."""
    report_every: int = 100
    checkpoint_every: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "report_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.average_decay < 1:
            raise ValueError(f"`average_decay` must be in [0, 1), got {self.average_decay}")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainState:
    """Everything that a step changes."""

    params: Any
    average: Any
    """Exponential average of the parameters."""
    optimizer: Any
    step: Any


class TrainingError(ValueError):
    """Training cannot go on; the message says why and what was kept."""


Loss = Callable[[Any, Any], tuple[Float[Array, ""], dict[str, Float[Array, ""]]]]


def check_same_run(path: pathlib.Path, identity: str) -> None:
    """Refuse to go on with checkpoints of another network, other samples or another schedule.

    Args:
        path: File beside the checkpoints that says whose they are; written if there is none.
        identity: What the checkpoints depend on.

    Raises:
        TrainingError: If the folder holds the run of other options.
    """
    if path.is_file() and path.read_text(encoding="utf-8") != identity:
        raise TrainingError(
            f"{path.parent} holds a run with other options or other poses; give another --output_dir, or delete it"
        )
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as scratch:
            scratch.write_text(identity, encoding="utf-8")


def make_optimizer(options: LoopOptions) -> optax.GradientTransformation:
    """AdamW with a warm-up and a cosine, gradients cut at a norm; only matrices decay."""
    schedule = optax.warmup_cosine_decay_schedule(
        0.0, options.learning_rate, min(options.warmup_steps, options.steps - 1), options.steps
    )
    return optax.chain(
        optax.clip_by_global_norm(options.clip_norm),
        optax.adamw(
            schedule,
            b2=0.99,
            weight_decay=options.weight_decay,
            mask=lambda params: jax.tree.map(lambda leaf: leaf.ndim > 1, params),
        ),
    )


def train(
    params: Any,
    loss: Loss,
    batch_of: Callable[[int], Any],
    options: LoopOptions,
    folder: pathlib.Path,
    *,
    on_report: Callable[[int, dict[str, float], Any], None],
) -> TrainState:
    """Train from scratch, or go on from the last checkpoint in a folder.

    Args:
        params: Initial parameters, a pytree of arrays.
        loss: Mean loss of a batch and what to report of it.
        batch_of: Batch by number; called from another thread while a step runs.
        options: How.
        folder: Checkpoints are kept here.
        on_report: Told the step, means of what was reported since, and the averaged parameters.

    Returns:
        The last state.

    Raises:
        KeyboardInterrupt: If it was interrupted: what was learnt up to the end of the present step is in the folder.
        TrainingError: If the loss is no longer a number: the state before stays in the folder.
    """
    import orbax.checkpoint as ocp

    optimizer = make_optimizer(options)

    @jax.jit
    def step_once(state: TrainState, batch: Any) -> tuple[TrainState, dict[str, Array]]:
        (value, parts), gradient = jax.value_and_grad(loss, has_aux=True)(state.params, batch)
        updates, optimizer_state = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        # The average starts as a plain mean: the first weights should not linger in it.
        decay = jnp.minimum(options.average_decay, (state.step + 1.0) / (state.step + 10.0))
        average = jax.tree.map(lambda kept, new: kept * decay + new * (1 - decay), state.average, params)
        state = TrainState(params=params, average=average, optimizer=optimizer_state, step=state.step + 1)
        return state, {"loss": value, "gradient_norm": optax.global_norm(gradient), **parts}

    params = jax.tree.map(jnp.asarray, params)
    state = TrainState(params=params, average=params, optimizer=optimizer.init(params), step=jnp.zeros((), jnp.int32))
    manager = ocp.CheckpointManager(
        folder.resolve(), options=ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
    )
    with manager, concurrent.futures.ThreadPoolExecutor(1) as pool, interrupts_held() as is_interrupted:
        last = manager.latest_step()
        if last is not None:
            restored: Any = manager.restore(last, args=ocp.args.StandardRestore(state))  # pyright: ignore[reportCallIssue]
            state = restored
        first = int(state.step)
        waiting = pool.submit(batch_of, first)
        reports: list[dict[str, Array]] = []
        for step in range(first, options.steps):
            batch = waiting.result()
            waiting = pool.submit(batch_of, step + 1)
            state, found = step_once(state, batch)
            reports.append(found)
            is_last, is_stopped = step + 1 == options.steps, is_interrupted()
            is_report = (step + 1) % options.report_every == 0 or is_last
            is_checkpoint = (step + 1) % options.checkpoint_every == 0 or is_last or is_stopped
            if not (is_report or is_checkpoint):
                continue
            means = {name: float(np.mean([float(part[name]) for part in reports])) for name in reports[0]}
            # The gradient too: it spoils the weights a step before the loss shows it, and they would be kept.
            if not np.isfinite([means["loss"], means["gradient_norm"]]).all():
                raise TrainingError(
                    f"the loss of steps up to {step + 1} is {means['loss']}, the norm of its gradient "
                    f"{means['gradient_norm']}; {folder} holds the last good state: lower `learning_rate` and run the "
                    "same command again"
                )
            if is_report:
                reports = []
                on_report(step + 1, means, state.average)
            if is_checkpoint:
                manager.save(step + 1, args=ocp.args.StandardSave(state))
            if is_stopped:
                raise KeyboardInterrupt
        if is_interrupted():
            raise KeyboardInterrupt
    return state
