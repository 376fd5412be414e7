"""Scoring methods, files of predictions and stored labels on people whose truth is known.

What is scored is always laid beside the truth by sample id: what is missing counts as missing, what is NaN as NaN, and
both stand in the table. Errors of single samples are kept, so that two methods are compared pair by pair.
"""

import collections
import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence

import jax
import numpy as np

from hardmo_jax.body import load
from hardmo_jax.body.model import BodyModel
from hardmo_jax.data import predictions as prediction_files
from hardmo_jax.data.hard_set import HardSet, HardSetError, body_name, load_hard_set
from hardmo_jax.data.predictions import Predictions
from hardmo_jax.fitting.fit_motion import MotionOptions
from hardmo_jax.fitting.result import FitResult, FitStatus
from hardmo_jax.fitting.stages import FitOptions
from hardmo_jax.labels import provenance
from hardmo_jax.metrics import protocols
from hardmo_jax.pipelines import label_predictions, prepare
from hardmo_jax.pipelines.prepare import PrepareOptions
from hardmo_jax.pipelines.scoring import protocol_for, score
from hardmo_jax.pipelines.set_scores import SetScore
from hardmo_jax.recovery.lift_and_fit import FROM_LIFTER, check_stages, lift_and_fit
from hardmo_jax.recovery.recover_motion import FROM_MOTION, recover_motion
from hardmo_jax.recovery.starts import StartOptions

Progress = Callable[[str, int, int | None], None]

_PEOPLE_AT_ONCE = 500


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """A way to recover people, by name."""

    name: str
    start: StartOptions = StartOptions()
    fit: FitOptions = FROM_LIFTER
    is_over_time: bool = False
    """Frames of clips are recovered together (`recovery.recover_motion`); `start` and `fit` are for single frames. The
    methods of an evaluation that do so are scored on sets of clips alone: on others they are as any other."""
    fit_over_time: FitOptions = FROM_MOTION
    motion: MotionOptions = MotionOptions()

    def __post_init__(self) -> None:
        check_stages(self.start, self.fit)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """What is scored, on what, and how."""

    prepare: PrepareOptions = PrepareOptions()
    """How the benchmark is made where it is not stored yet."""
    protocol: str = "hardmo"
    """Name in `metrics.protocols`."""
    methods: tuple[MethodOptions, ...] = (MethodOptions(name="default"),)
    """Rows of the tables; the last one is what users get."""
    sets: tuple[str, ...] = ("test", "hand_p1", "hand_p2", "foot_p1", "foot_p2")
    """Sets that every method is scored on."""
    last_methods: int = 1
    """How many of the last methods are scored on further sets."""
    last_method_sets: tuple[str, ...] = ()
    """Those sets, such as `stress_swaps` or `video`."""
    limit: int | None = None
    """Samples of each set at most, evenly spaced; None takes all."""
    num_resamples: int = 10_000
    """Of the bootstrap."""

    def __post_init__(self) -> None:
        names = [method.name for method in self.methods]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"`methods` must be there, each with a name of its own; got {names}")
        try:
            protocols.get_protocol(self.protocol)
        except KeyError as error:
            raise ValueError(error.args[0]) from error
        if not 1 <= self.last_methods <= len(self.methods):
            raise ValueError(f"`last_methods` must be 1 to {len(self.methods)}, got {self.last_methods}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"`limit` must be at least 1, got {self.limit}")


class EvaluateError(ValueError):
    """An evaluation that cannot be done; the message says what to do."""


def ensure_benchmark(
    options: PrepareOptions, root: pathlib.Path, *, mocap: pathlib.Path | None, progress: Progress | None = None
) -> pathlib.Path:
    """Make the benchmark of these options unless it is stored already.

    Returns:
        Its folder, below the root.

    Raises:
        hardmo_jax.pipelines.benchmark_motion.PrepareError: If it has to be made and there is no motion capture.
    """
    folder = prepare.benchmark_folder(root, options)
    if not prepare.read_benchmark(folder):
        prepare.prepare_benchmark(options, folder, mocap=mocap, progress=progress)
    return folder


def load_set(folder: pathlib.Path, name: str, *, limit: int | None = None) -> HardSet:
    """One set of a stored benchmark, compared with its checksum.

    Raises:
        EvaluateError: If there is no such set.
        HardSetError: If the file is not the one that was prepared.
    """
    checksums = {key.partition("/")[2]: digest for key, digest in prepare.read_benchmark(folder).items()}
    if name not in checksums:
        raise EvaluateError(f"{folder} has no set {name!r}; it has {', '.join(checksums) or 'none'}")
    path = folder / f"{name}.npz"
    if provenance.file_sha256(path) != checksums[name]:
        raise HardSetError(f"{path} is not the file that was prepared (its checksum differs); prepare it again")
    found = load_hard_set(path)
    if limit is None or limit >= len(found):
        return found
    if found.windows.max(initial=-1) >= 0:
        windows = np.unique(found.windows)
        length = len(found) // len(windows)
        kept = windows[np.linspace(0, len(windows) - 1, max(1, limit // length)).round().astype(int)]
        return found.select(np.flatnonzero(np.isin(found.windows, kept)))
    return found.select(np.linspace(0, len(found) - 1, limit).round().astype(int))


def predict(
    found: HardSet, body: BodyModel, method: MethodOptions, *, progress: Callable[[int, int], None] | None = None
) -> tuple[Predictions, dict[str, int]]:
    """Fit everybody of a set from what the detector saw.

    Returns:
        Parameters, and how many fits ended how. Failed fits are scored like all others.
    """
    pieces, status, done = [], collections.Counter(), 0
    for some in _pieces(found, method):
        result = _recovered(some, body, method)
        pieces.append(jax.tree.map(np.asarray, result.params))
        status.update(FitStatus(int(code)).name for code in np.asarray(result.status))
        done += len(some)
        if progress is not None:
            progress(done, len(found))
    params = jax.tree.map(lambda *leaves: np.concatenate(leaves), *pieces)
    arrays = {
        field.name: getattr(params, field.name).astype(np.float64)
        for field in dataclasses.fields(params)
        if getattr(params, field.name) is not None
    }
    predicted = Predictions(source="fit", ids=found.ids, params=arrays, body=body_name(body))
    return predicted, dict(sorted(status.items()))


def _pieces(found: HardSet, method: MethodOptions) -> Iterator[HardSet]:
    """The set clip by clip for methods that look over time, else some hundred people at a time."""
    is_clips = method.is_over_time and found.windows.max(initial=-1) >= 0
    size = int((found.windows == found.windows[0]).sum()) if is_clips else _PEOPLE_AT_ONCE
    for first in range(0, len(found), size):
        yield found.select(np.arange(first, min(first + size, len(found))))


def _recovered(some: HardSet, body: BodyModel, method: MethodOptions) -> FitResult:
    observations = some.observations()
    if method.is_over_time and some.windows.max(initial=-1) >= 0:
        recovered = recover_motion(
            body,
            observations,
            frames_per_second=some.frames_per_second,
            options=method.fit_over_time,
            motion_options=method.motion,
        )
        return jax.block_until_ready(recovered.result)
    return jax.block_until_ready(lift_and_fit(body, observations, start=method.start, options=method.fit).result)


def evaluate_methods(
    options: EvaluateOptions, folder: pathlib.Path, *, progress: Progress | None = None
) -> list[SetScore]:
    """Fit and score the methods of the options on the sets of a stored benchmark.

    Args:
        options: Methods, sets, protocol.
        folder: Folder of the benchmark.
        progress: Told the stage, what is done, and of how much.

    Raises:
        EvaluateError: If a set is not there, or the methods are for clips alone and there are none.
    """
    report = progress or (lambda stage, done, total: None)
    body = load.open_body(view="smplh")
    protocol = protocol_for(body, options.protocol)
    jobs = [(method, name) for method in options.methods for name in options.sets]
    jobs += [(method, name) for name in options.last_method_sets for method in options.methods[-options.last_methods :]]
    sets = {name: load_set(folder, name, limit=options.limit) for _, name in jobs}
    jobs = [
        (method, name) for method, name in jobs if not method.is_over_time or sets[name].windows.max(initial=-1) >= 0
    ]
    if not jobs:
        raise EvaluateError(f"{', '.join(sets)} hold no clips, which is what methods over time are scored on")
    total, done = sum(len(sets[name]) for _, name in jobs), 0
    results = []
    report("fit", 0, total)
    for method, name in jobs:
        found = sets[name]

        def tell(finished: int, _: int, before: int = done) -> None:
            report("fit", before + finished, total)

        predicted, status = predict(found, body, method, progress=tell)
        done += len(found)
        results.append(score(found, body, protocol, predicted, method=method.name, status_counts=status))
    return results


def evaluate_named(
    options: EvaluateOptions,
    folder: pathlib.Path,
    names: Sequence[str],
    *,
    labels: Sequence[str] = (),
    set_name: str = "test",
    progress: Progress | None = None,
) -> list[SetScore]:
    """Score, on one set, what names stand for: a method of the options, a file of predictions, or stored labels.

    Args:
        options: Methods, protocol, limit.
        folder: Folder of the benchmark.
        names: Methods, files of predictions, or folders of labels.
        labels: Files or folders of labels.
        set_name: Set to score on.
        progress: Told the stage, what is done, and of how much.

    Raises:
        EvaluateError: If a name is neither a method nor a file.
        hardmo_jax.data.predictions.PredictionError: If a file of predictions is damaged or does not fit.
        hardmo_jax.pipelines.label_predictions.LabelPredictionError: If labels do not belong to the set.
    """
    report = progress or (lambda stage, done, total: None)
    body = load.open_body(view="smplh")
    protocol = protocol_for(body, options.protocol)
    whole = load_set(folder, set_name)
    found = load_set(folder, set_name, limit=options.limit)
    methods = {method.name: method for method in options.methods}
    # Two files of one name in two folders are told apart by their folders.
    short = collections.Counter(pathlib.Path(name).name for name in (*names, *labels))
    results = []
    for name in (*names, *labels):
        path = pathlib.Path(name)
        label = path.name if short[path.name] == 1 else name
        if name in methods and name not in labels:
            report(name, 0, len(found))
            predicted, status = predict(
                found, body, methods[name], progress=lambda done, total, stage=name: report(stage, done, total)
            )
        elif not path.exists():
            raise EvaluateError(f"{name!r} is neither a file nor one of the methods {', '.join(methods)}")
        elif path.is_dir() or name in labels:
            predicted, status = label_predictions.predictions_from_labels(path, found)
        else:
            predicted, status = prediction_files.read_predictions(path), {}
        results.append(score(found, body, protocol, predicted, method=label, status_counts=status, known_ids=whole.ids))
    return results
