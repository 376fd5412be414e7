"""A run of training a regressor: batches in, steps, checkpoints that it goes on from to the last bit, scalars out."""

import concurrent.futures
import contextlib
import dataclasses
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from hardmo_jax.data.training_records import TrainingDataError
from hardmo_jax.networks.regressors import Regressor
from hardmo_jax.training import regressor_objective, regressor_step
from hardmo_jax.training.interrupts import interrupts_held
from hardmo_jax.training.loop import TrainingError
from hardmo_jax.training.regressor_objective import ComparedBody, ObjectiveOptions
from hardmo_jax.training.regressor_step import RealBodies, RegressorState, Step, StepOptions

#: Folder of checkpoints, and file of a batch that spoilt a step, within the run's folder.
CHECKPOINTS, BAD_BATCH = "checkpoints", "bad_batch.npz"


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How long, and how often what."""

    steps: int = 100_000
    batch_size: int = 48
    """Crops a step, of all devices together."""
    report_every: int = 100
    validate_every: int = 5_000
    """Steps; 0 never validates."""
    checkpoint_every: int = 1_000
    keep: int = 3
    """Checkpoints that are kept."""
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "report_every", "checkpoint_every", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")
        if self.validate_every < 0:
            raise ValueError(f"`validate_every` must not be negative, got {self.validate_every}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Report:
    """What is told of some steps."""

    step: int
    means: dict[str, float]
    """Of the loss, its terms, and the norm of the gradient."""
    crops_per_second: float
    input_wait_share: float
    """Share of the time in which the device waited for batches."""
    peak_memory_bytes: int | None
    """Of the device; None where it does not tell."""


class Batches:
    """Batches made one ahead of the step, each with where the loader stands after it."""

    def __init__(self, loader: Any, place: Callable[[Any], Any]) -> None:
        """Begin to load.

        Args:
            loader: Iterator with `get_state` and `set_state`.
            place: Puts a batch on devices.
        """
        self._loader, self._place = loader, place
        self._pool = concurrent.futures.ThreadPoolExecutor(1, "batches")
        self._waiting = self._pool.submit(self._make)

    def next(self) -> tuple[dict[str, np.ndarray], Any, Any]:
        """The samples of a batch, the same on devices, and the state of the loader after it."""
        made = self._waiting.result()
        self._waiting = self._pool.submit(self._make)
        return made

    def close(self) -> None:
        """Stop loading."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _make(self) -> tuple[dict[str, np.ndarray], Any, Any]:
        try:
            sample = next(self._loader)
        except TrainingDataError as error:
            # Grain adds lines about itself.
            raise TrainingDataError(str(error).split("\n")[0]) from None
        state = self._loader.get_state()
        return sample, self._place(regressor_objective.batch_of(sample)), state


def run_training(
    regressor: Regressor,
    body: ComparedBody,
    loader: Any,
    folder: pathlib.Path,
    *,
    options: RunOptions,
    step_options: StepOptions,
    objective: ObjectiveOptions,
    real: Callable[[int], RealBodies] | None = None,
    mesh: Any = None,
    on_report: Callable[[Report], None] = lambda report: None,
    on_validate: Callable[[int, Regressor, dict[str, np.ndarray]], None] = lambda step, regressor, sample: None,
    progress: Callable[[str, int, int | None], None] = lambda stage, done, total: None,
) -> Regressor:
    """Train, or go on from the last checkpoint in the folder.

    Args:
        regressor: Where training begins.
        body: Of the comparison.
        loader: Endless batches, see `data.training_batches.batches`.
        folder: Of the run: checkpoints, and a batch that spoilt a step.
        options: How long.
        step_options: The optimiser.
        objective: Weights of terms.
        real: Bodies of motion capture for the discriminator by number of the step; None trains without one.
        mesh: Devices; None takes all of them.
        on_report: Told of steps.
        on_validate: Given the step, the network with its averaged weights, and samples of the last batch.
        progress: Told the stage, steps done, and of how many.

    Returns:
        The network with its averaged weights.

    Raises:
        KeyboardInterrupt: If it was interrupted: what was learnt up to the end of the present step is in the folder. Of
            several processes, what the last checkpoint has.
        TrainingError: If a loss or a gradient is no number: the batch lies in the folder, and the weights of before in
            its last checkpoint.
        ValueError: If the batch cannot be cut into equal parts for devices and accumulation.
    """
    import orbax.checkpoint as ocp

    mesh = regressor_step.data_mesh() if mesh is None else mesh
    parts = mesh.size * step_options.accumulate
    if options.batch_size % parts:
        raise ValueError(
            f"`batch_size` {options.batch_size} must be a multiple of {mesh.size} devices times "
            f"{step_options.accumulate} parts (`accumulate`)"
        )
    state = regressor_step.start_state(
        regressor, step_options, steps=options.steps, seed=options.seed, has_judge=real is not None
    )
    step_once = jax.jit(
        Step(
            blank=dataclasses.replace(regressor, weights=None), options=step_options, objective=objective,
            steps=options.steps,
        ),
        donate_argnums=0,
    )  # fmt: skip
    manager = ocp.CheckpointManager(
        (folder / CHECKPOINTS).resolve(),
        options=ocp.CheckpointManagerOptions(max_to_keep=options.keep, enable_async_checkpointing=True),
    )
    with manager:
        state, first, loader_state, values = _restored(manager, state)
        if loader_state is not None:
            loader.set_state(loader_state)
        batches = Batches(loader, lambda batch: regressor_step.on_mesh(batch, mesh, over_data=True))
        try:
            state = regressor_step.on_mesh(state, mesh, over_data=False)
            body = regressor_step.on_mesh(body, mesh, over_data=False)
            # Processes that save together would wait for those that nobody interrupted.
            held = interrupts_held() if jax.process_count() == 1 else contextlib.nullcontext(lambda: False)
            with held as is_interrupted:
                trained = _steps(
                    state, first, values, step_once, body, batches, real, manager, folder, mesh, regressor, options,
                    is_interrupted, on_report, on_validate, progress,
                )  # fmt: skip
            manager.wait_until_finished()
        finally:
            batches.close()
    return trained


def _steps(
    state: RegressorState,
    first: int,
    values: list[dict[str, float]],
    step_once: Any,
    body: ComparedBody,
    batches: Batches,
    real: Callable[[int], RealBodies] | None,
    manager: Any,
    folder: pathlib.Path,
    mesh: Any,
    regressor: Regressor,
    options: RunOptions,
    is_interrupted: Callable[[], bool],
    on_report: Callable[[Report], None],
    on_validate: Callable[[int, Regressor, dict[str, np.ndarray]], None],
    progress: Callable[[str, int, int | None], None],
) -> Regressor:
    waited, began = 0.0, time.perf_counter()
    unread: list[tuple[dict[str, np.ndarray], dict[str, Any]]] = []
    # Steps of before a stop count for the mean of the next report, and not for the time that it took.
    num_earlier = len(values)
    progress("train", min(first, options.steps), options.steps)
    for step in range(first, options.steps):
        asked = time.perf_counter()
        sample, batch, loader_state = batches.next()
        waited += time.perf_counter() - asked
        bodies = None if real is None else regressor_step.on_mesh(real(step), mesh, over_data=False)
        state, reported = step_once(state, body, batch, bodies)
        # Read a step late, so that the device is never idle while the host looks.
        unread.append((sample, reported))
        done = step + 1
        is_last, is_stopped = done == options.steps, is_interrupted()
        is_report = done % options.report_every == 0 or is_last
        is_checkpoint = done % options.checkpoint_every == 0 or is_last or is_stopped
        is_validation = bool(options.validate_every) and (done % options.validate_every == 0 or is_last)
        keep = 0 if is_report or is_checkpoint or is_validation else 1
        while len(unread) > keep:
            values.append(_checked(*unread.pop(0), done - len(unread), folder))
        progress("train", done, options.steps)
        if is_report:
            seconds = time.perf_counter() - began
            means = {name: float(np.mean([one[name] for one in values])) for name in values[0]}
            on_report(
                Report(
                    step=done, means=means,
                    crops_per_second=(len(values) - num_earlier) * options.batch_size / seconds,
                    input_wait_share=waited / seconds, peak_memory_bytes=_peak_memory(),
                )
            )  # fmt: skip
            values, num_earlier, waited, began = [], 0, 0.0, time.perf_counter()
        if is_checkpoint:
            _save(manager, done, state, loader_state, values)
        if is_validation:
            paused = time.perf_counter()
            on_validate(done, _here(regressor_step.trained_regressor(regressor, state)), sample)
            began += time.perf_counter() - paused
        if is_stopped:
            manager.wait_until_finished()
            raise KeyboardInterrupt
    if is_interrupted():
        raise KeyboardInterrupt
    return _here(regressor_step.trained_regressor(regressor, state))


def steps_done(folder: pathlib.Path) -> int:
    """Steps of the last checkpoint of a run's folder; 0 where there is none."""
    return max((int(path.name) for path in (folder / CHECKPOINTS).glob("*") if path.name.isdigit()), default=0)


def _here(regressor: Regressor) -> Regressor:
    """The network for this process alone, where several have it together."""
    if jax.process_count() == 1:
        return regressor
    return jax.device_put(jax.tree.map(np.asarray, regressor), jax.local_devices()[0])


def _checked(
    sample: dict[str, np.ndarray], reported: dict[str, Any], step: int, folder: pathlib.Path
) -> dict[str, float]:
    """Values of a step.

    Raises:
        TrainingError: If they are no numbers; the batch is kept.
    """
    values = {name: float(value) for name, value in reported.items()}
    if not values.pop("is_finite"):
        path = folder / (BAD_BATCH if jax.process_index() == 0 else f"{jax.process_index()}_{BAD_BATCH}")
        np.savez(path, **sample)  # pyright: ignore[reportArgumentType]
        raise TrainingError(
            f"step {step}: the loss is {values['loss']}, the norm of its gradient {values['gradient_norm']}; the batch "
            f"is in {path}, and {folder / CHECKPOINTS} holds the weights of before: lower `step.learning_rate`, set "
            "`step.clip_norm`, or look at the batch, and run the same command again"
        )
    return values


def _peak_memory() -> int | None:
    told = jax.local_devices()[0].memory_stats()
    return None if not told else told.get("peak_bytes_in_use")


def _as_arrays(state: RegressorState) -> dict[str, Any]:
    """A state as names and arrays, whatever types it is made of."""
    return {f"{place:05d}": leaf for place, leaf in enumerate(jax.tree.leaves(state))}


def _save(manager: Any, step: int, state: RegressorState, loader_state: Any, values: list[dict[str, float]]) -> None:
    import orbax.checkpoint as ocp

    # Copies: the next step takes the arrays over while they are written.
    arrays = {name: np.asarray(leaf) for name, leaf in _as_arrays(state).items()}
    texts = _of_all_processes(loader_state.decode() if isinstance(loader_state, bytes) else json.dumps(loader_state))
    manager.save(
        step,
        args=ocp.args.Composite(
            state=ocp.args.StandardSave(arrays), loader=ocp.args.JsonSave({"states": texts, "values": values})
        ),  # pyright: ignore[reportCallIssue]
    )


def _of_all_processes(text: str) -> list[str]:
    """A text of each process: loaders stand at other places, as each leaves out its own broken samples."""
    if jax.process_count() == 1:
        return [text]
    from jax.experimental import multihost_utils

    data = np.frombuffer(text.encode(), np.uint8)
    longest = int(np.max(multihost_utils.process_allgather(np.array(len(data)))))
    padded = np.zeros(longest, np.uint8)
    padded[: len(data)] = data
    rows = np.asarray(multihost_utils.process_allgather(padded)).reshape(jax.process_count(), -1)
    return [bytes(row).rstrip(b"\0").decode() for row in rows]


def _restored(manager: Any, state: RegressorState) -> tuple[RegressorState, int, Any | None, list[dict[str, float]]]:
    """The last state that was kept, its step, that of the loader, and values that were not yet reported."""
    import orbax.checkpoint as ocp

    last = manager.latest_step()
    if last is None:
        return state, 0, None, []
    blank = {name: np.asarray(leaf) for name, leaf in _as_arrays(state).items()}
    try:
        found = manager.restore(
            last,
            args=ocp.args.Composite(state=ocp.args.StandardRestore(blank), loader=ocp.args.JsonRestore()),  # pyright: ignore[reportCallIssue]
        )
    except (ValueError, KeyError) as error:
        raise TrainingError(
            f"{manager.directory} holds checkpoints of another network or optimiser; give another --output_dir"
        ) from error
    leaves = [found.state[name] for name in sorted(found.state)]
    state = jax.tree.unflatten(jax.tree.structure(state), leaves)
    texts = found.loader["states"]
    if len(texts) != jax.process_count():
        raise TrainingError(
            f"{manager.directory} is of a run of {len(texts)} processes, this is one of {jax.process_count()}; go on "
            "with as many, or give another --output_dir"
        )
    return state, last, json.loads(texts[jax.process_index()]), list(found.loader.get("values", []))
