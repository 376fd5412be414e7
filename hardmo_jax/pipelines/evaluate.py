"""Scoring methods, files of predictions and stored labels on people whose truth is known.

What is scored is always laid beside the truth by sample id: what is missing counts as missing, what is NaN as NaN, and
both stand in the table. Errors of single samples are kept, so that two methods are compared pair by pair.
"""

import collections
import dataclasses
import pathlib
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.body import landmarks, load
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.data import predictions as prediction_files
from hardmo_jax.data.hard_set import HardSet, HardSetError, load_hard_set
from hardmo_jax.data.predictions import PredictionError, Predictions
from hardmo_jax.fitting.fit import fit
from hardmo_jax.fitting.result import FitStatus
from hardmo_jax.fitting.stages import FitOptions
from hardmo_jax.geometry import cameras, rotations
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.labels import provenance, store
from hardmo_jax.metrics import bootstrap, keypoints, pose, protocols, scores
from hardmo_jax.metrics.protocols import Protocol
from hardmo_jax.observations import Observations
from hardmo_jax.pipelines import prepare
from hardmo_jax.pipelines.prepare import PrepareOptions
from hardmo_jax.skeleton import layouts, mapping, regressors

Progress = Callable[[str, int, int | None], None]

#: Thresholds of PCK curves and of the area under them, shares of the box side.
CURVE = tuple(np.linspace(0.0, 0.1, 41).tolist())
#: Frames of a take nearer than this in time are resampled together when an interval is estimated, seconds.
_GROUP_SECONDS = 1.0
_PEOPLE_AT_ONCE = 500
_MESHES_AT_ONCE = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """A way to fit, by name."""

    name: str
    fit: FitOptions = FitOptions()


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
    last_method_sets: tuple[str, ...] = ()
    """Sets that the last method alone is scored on, such as `stress_swaps` or `video`."""
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
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"`limit` must be at least 1, got {self.limit}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SetScore:
    """One method on one set."""

    method: str
    set_name: str
    protocol: Protocol
    """What the numbers mean; without the point sets that the predictions do not cover."""
    num_samples: int
    num_missing: int
    """Samples without a prediction."""
    num_nonfinite: int
    """Samples, the missing ones among them, whose prediction is not a number somewhere: not in means, misses in PCK."""
    status_counts: dict[str, int]
    """How fits ended; empty for predictions from elsewhere."""
    means: dict[str, float]
    """Mean errors by name of the metric; metres and degrees."""
    pck: dict[str, tuple[float, ...]]
    """PCK at the thresholds of the protocol, by point set."""
    curves: dict[str, tuple[float, ...]]
    """PCK at the thresholds of `CURVE`, by point set."""
    joint_errors: dict[str, float]
    """Mean root-aligned error of each point, metres."""
    errors: dict[str, Float[np.ndarray, "N"]]
    """Errors of each sample; NaN where there is none."""
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    """Samples of one group depend on each other: frames of a take within a second."""


class EvaluateError(ValueError):
    """An evaluation that cannot be done; the message says what to do."""


# Benchmarks -----------------------------------------------------------------------------------------------


def ensure_benchmark(
    options: PrepareOptions, root: pathlib.Path, *, mocap: pathlib.Path | None, progress: Progress | None = None
) -> pathlib.Path:
    """Make the benchmark of these options unless it is stored already.

    Returns:
        Its folder, below the root.

    Raises:
        hardmo_jax.pipelines.prepare.PrepareError: If it has to be made and there is no motion capture.
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


# Predictions ----------------------------------------------------------------------------------------------


def predict(
    found: HardSet, body: BodyModel, options: FitOptions, *, progress: Callable[[int, int], None] | None = None
) -> tuple[Predictions, dict[str, int]]:
    """Fit everybody of a set from what the detector saw.

    Returns:
        Parameters, and how many fits ended how. Failed fits are scored like all others.
    """
    pieces, status = [], collections.Counter()
    for first in range(0, len(found), _PEOPLE_AT_ONCE):
        some = found.select(np.arange(first, min(first + _PEOPLE_AT_ONCE, len(found))))
        observations = Observations(
            keypoints_2d=some.keypoints_2d, confidence=some.confidence, camera=some.assumed_camera, layout=some.layout
        )
        result = jax.block_until_ready(fit(body, observations, options=options))
        pieces.append(jax.tree.map(np.asarray, result.params))
        status.update(FitStatus(int(code)).name for code in np.asarray(result.status))
        if progress is not None:
            progress(first + len(some), len(found))
    params = jax.tree.map(lambda *leaves: np.concatenate(leaves), *pieces)
    arrays = {
        field.name: getattr(params, field.name).astype(np.float64)
        for field in dataclasses.fields(params)
        if getattr(params, field.name) is not None
    }
    return Predictions(source="fit", ids=found.ids, params=arrays), dict(sorted(status.items()))


def predictions_from_labels(path: pathlib.Path, found: HardSet) -> tuple[Predictions, dict[str, int]]:
    """Stored labels as predictions: a label belongs to the sample that its picture is named after.

    Raises:
        EvaluateError: If no label belongs to a sample of the set, or one was made with another body.
    """
    labels = store.read_labels(path)
    known = set(found.ids)
    rows = [(pathlib.PurePosixPath(row.source_path).with_suffix("").as_posix(), row) for row in labels]
    rows = [(sample, row) for sample, row in rows if sample in known]
    if not rows:
        raise EvaluateError(
            f"{path}: none of {len(labels)} labels is of a sample of {found.name}; pictures are named after samples, "
            f"such as {found.ids[0]}.png"
        )
    latest = {}
    for sample, row in rows:
        if row.body_model_sha256 != found.body_checksum:
            raise EvaluateError(
                f"{path}: the label of {sample} is of the body {row.body_model}, the truth of {found.body}; label "
                "with the body of the truth, or score points by --predictions"
            )
        if sample not in latest or row.label_version > latest[sample].label_version:
            latest[sample] = row
    chosen = list(latest.values())
    names = ("betas", "global_orient", "body_pose", "transl", "left_hand_pose", "right_hand_pose")
    params = {}
    for name in names:
        values = [getattr(row, name) for row in chosen]
        if all(value is not None for value in values):
            params[name] = np.stack(values).astype(np.float64)
    camera = Camera(
        focal_length=np.stack([row.focal_length for row in chosen]),
        principal_point=np.stack([row.principal_point for row in chosen]),
    )
    status = dict(sorted(collections.Counter(row.status for row in chosen).items()))
    return Predictions(source=str(path), ids=tuple(latest), params=params, camera=camera), status


# Scores ---------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Posed:
    """People as a protocol looks at them; NaN where there is nobody."""

    points: Float[np.ndarray, "N K 3"]
    pixels: Float[np.ndarray, "N K 2"] | None
    has_point: Bool[np.ndarray, "K"]
    params: BodyParams | None
    rotations: Float[np.ndarray, "N J 3 3"] | None


def protocol_for(body: BodyModel, name: str) -> Protocol:
    """The protocol as far as a body has its points: the original, or the one with plain joints, which says so."""
    protocol = protocols.get_protocol(name)
    _, is_supported = landmarks.point_model(body, protocol.layout)
    return protocol if is_supported.all() else protocol.substituted()


def score(
    found: HardSet,
    body: BodyModel,
    protocol: Protocol,
    predicted: Predictions,
    *,
    method: str,
    status_counts: dict[str, int] | None = None,
) -> SetScore:
    """Compare predictions with the truth of a set.

    Args:
        found: Set of the truth.
        body: Its body.
        protocol: What is compared and how.
        predicted: Predictions of some of its samples; others count as missing.
        method: Name for tables.
        status_counts: How fits ended.

    Raises:
        hardmo_jax.data.predictions.PredictionError: If ids do not fit, units differ, or the root is not predicted.
        HardSetError: If the body is not that of the truth.
    """
    found.check_body(body)
    rows = predicted.rows_for(found.ids)
    truth = _posed(body, protocol, found.params, found.camera)
    ours = _predicted_people(found, body, protocol, predicted, rows)
    covered = _covered(protocol, ours.has_point, predicted.source)
    is_valid = np.broadcast_to(ours.has_point, truth.points.shape[:2])
    prediction_files.check_units(ours.points, truth.points, is_valid, predicted.source)
    inside = _inside(truth.pixels, found.image_size)
    has_pixels = ours.pixels is not None
    result = scores.score_samples(
        covered,
        predicted_3d=ours.points,
        true_3d=truth.points,
        is_valid_3d=np.ascontiguousarray(is_valid),
        predicted_2d=ours.pixels,
        true_2d=truth.pixels if has_pixels else None,
        confidence=(inside & is_valid).astype(np.float64) if has_pixels else None,
        box_sides=_box_sides(truth.pixels, covered) if has_pixels else None,
        predicted_rotations=ours.rotations,
        true_rotations=truth.rotations if ours.rotations is not None else None,
        rotation_joints=layouts.SMPL_JOINTS[:22],
    )
    errors = {name: error.values for name, error in result.errors.items()}
    means = {name: accumulator.mean for name, accumulator in result.means().items()}
    if ours.params is not None:
        errors["vertex_error/mesh"] = _vertex_errors(body, covered, found.params, ours, truth)
        means["vertex_error/mesh"] = _mean(errors["vertex_error/mesh"])
    if found.windows.max(initial=-1) >= 0:
        means |= _acceleration(found, covered, ours.points, truth.points)
    curves = _curves(covered, ours, truth, inside, is_valid) if has_pixels else {}
    return SetScore(
        method=method,
        set_name=found.name,
        protocol=covered,
        num_samples=len(found),
        num_missing=int((rows < 0).sum()),
        num_nonfinite=result.num_nonfinite,
        status_counts=status_counts or {},
        means=means,
        pck={name.partition("/")[2]: tuple(hits.mean.tolist()) for name, hits in result.pck.items()},
        curves=curves,
        joint_errors=_joint_errors(covered, ours, truth),
        errors=errors,
        ids=found.ids,
        groups=tuple(
            f"{style}-{take}-{int(frame / max(found.frames_per_second * _GROUP_SECONDS, 1))}"
            for style, take, frame in zip(found.styles, found.takes, found.frames, strict=True)
        ),
    )


def compare(first: SetScore, second: SetScore, *, num_resamples: int = 10_000) -> dict[str, bootstrap.PairedDifference]:
    """Paired differences (first minus second) of every error that both have, with 95 % intervals.

    Raises:
        EvaluateError: If the two were not scored on the same samples, or nothing is common.
    """
    if first.ids != second.ids:
        raise EvaluateError(
            f"{first.method} and {second.method} were scored on different samples of {first.set_name} and "
            f"{second.set_name}; score both on one set"
        )
    groups = np.array(first.groups)
    differences = {}
    for name in first.errors:
        if name not in second.errors:
            continue
        both = np.isfinite(first.errors[name]) & np.isfinite(second.errors[name])
        if len(set(groups[both])) < 2:
            continue
        differences[name] = bootstrap.paired_difference(
            np.where(both, first.errors[name], 0.0),
            np.where(both, second.errors[name], 0.0),
            groups=groups,
            is_valid=both,
            num_resamples=num_resamples,
        )
    if not differences:
        raise EvaluateError(f"{first.method} and {second.method} have no error in common on two groups of samples")
    return differences


def _posed(body: BodyModel, protocol: Protocol, params: BodyParams, camera: Camera) -> _Posed:
    """People of parameters."""
    model, is_supported = landmarks.point_model(body, protocol.layout)
    points = np.asarray(in_pieces(model, params), np.float64)
    pixels = np.asarray(cameras.project_points(camera, points.astype(np.float32)), np.float64)
    return _Posed(
        points=points,
        pixels=pixels,
        has_point=is_supported,
        params=params,
        rotations=_world_rotations(body, params)[:, :22],
    )


def _predicted_people(
    found: HardSet, body: BodyModel, protocol: Protocol, predicted: Predictions, rows: np.ndarray
) -> _Posed:
    """Predictions in the order of the set; those that are missing are NaN."""
    is_there = rows >= 0

    def ordered(array: np.ndarray) -> np.ndarray:
        picked = np.asarray(array, np.float64)[np.maximum(rows, 0)]
        return np.where(is_there.reshape(-1, *[1] * (picked.ndim - 1)), picked, np.nan)

    if predicted.params is not None:
        params = _params_of(body, {name: ordered(array) for name, array in predicted.params.items()}, predicted.source)
        camera = found.assumed_camera
        if predicted.camera is not None:
            camera = jax.tree.map(ordered, predicted.camera)
        return _posed(body, protocol, params, camera)
    layout, points = layouts.get_layout(predicted.layout or ""), predicted.keypoints_3d
    if points is None:
        raise PredictionError(f"{predicted.source}: neither points nor parameters")
    columns = _columns(protocol, layout)
    has_point = columns >= 0

    def of_protocol(array: np.ndarray) -> np.ndarray:
        return np.where(has_point[:, None], ordered(array)[:, np.maximum(columns, 0)], np.nan)

    pixels = predicted.keypoints_2d
    return _Posed(
        points=of_protocol(points),
        pixels=None if pixels is None else of_protocol(pixels),
        has_point=has_point,
        params=None,
        rotations=None,
    )


def _columns(protocol: Protocol, layout: layouts.KeypointLayout) -> np.ndarray:
    """Where each point of the protocol stands in another layout, by name, else by place; -1 where it is not."""
    place = {regressors.place_of(point): index for index, point in reversed(list(enumerate(layout.points)))}
    place |= {point: index for index, point in enumerate(layout.points)}
    columns = []
    for point in protocol.layout.points:
        alike = [way[0][1] for way in mapping.body_points(regressors.place_of(point)) if len(way) == 1]
        columns.append(next((place[name] for name in (point, *alike) if name in place), -1))
    return np.array(columns, np.int64)


def _covered(protocol: Protocol, has_point: Bool[np.ndarray, "K"], source: str) -> Protocol:
    """The protocol without the sets that lack a point: a mean over fewer points would be another number."""
    there = {point for point, has in zip(protocol.layout.points, has_point, strict=True) if has}
    lacking = [point for point in protocol.root if point not in there]
    body = protocol.point_set(protocol.body_set)
    lacking += [point for point in body.points if point not in there]
    if lacking:
        raise PredictionError(
            f"{source}: protocol {protocol.name} needs {', '.join(lacking)}, which the predictions do not have; give "
            "points of a layout that has them, or SMPL parameters"
        )
    return dataclasses.replace(
        protocol,
        point_sets=tuple(points for points in protocol.point_sets if set(points.points) <= there),
        rigid_parts=tuple(part for part in protocol.rigid_parts if {*part.points, part.base} <= there),
        arms=tuple(arm for arm in protocol.arms if set(arm.points) <= there),
    )


def _params_of(body: BodyModel, arrays: dict[str, np.ndarray], source: str) -> BodyParams:
    """Parameters of the body from arrays of a file; what it lacks is at rest."""
    count, dtype = len(arrays["transl"]), body.joint_template.dtype
    given = {}
    for field in dataclasses.fields(BodyParams):
        rest = getattr(BodyParams.rest(body, batch=(count,)), field.name)
        if rest is None:
            continue
        array = arrays.get(field.name)
        if array is None:
            given[field.name] = rest
        elif field.name == "betas" and array.shape[1] != rest.shape[1]:
            padded = np.zeros((count, rest.shape[1]))
            shared = min(array.shape[1], rest.shape[1])
            padded[:, :shared] = array[:, :shared]
            given[field.name] = jnp.asarray(padded, dtype)
        elif array.shape != rest.shape:
            raise PredictionError(
                f"{source}: `{field.name}` of {body.name} must be {tuple(rest.shape)}, got {array.shape}"
            )
        else:
            given[field.name] = jnp.asarray(array, dtype)
    return BodyParams(**given)


def _world_rotations(body: BodyModel, params: BodyParams) -> Float[np.ndarray, "N J 3 3"]:
    turned = np.asarray(jax.jit(rotations.axis_angle_to_matrix)(params.full_pose()), np.float64)
    for joint, parent in enumerate(body.parents[1:], start=1):
        turned[:, joint] = turned[:, parent] @ turned[:, joint]
    return turned


def _inside(pixels: Float[np.ndarray, "N K 2"] | None, image_size: tuple[int, int]) -> Bool[np.ndarray, "N K"]:
    if pixels is None:
        raise EvaluateError("the truth has no image points")
    return np.all((pixels >= 0) & (pixels <= np.array(image_size) - 1), axis=-1)


def _box_sides(pixels: Float[np.ndarray, "N K 2"] | None, protocol: Protocol) -> Float[np.ndarray, "N"]:
    """Longest side of each person's box as the protocol wants it: tight, or scaled already."""
    if pixels is None:
        raise EvaluateError("the truth has no image points")
    side = np.ptp(pixels, axis=1).max(-1)
    return side * protocol.box.scale if protocol.box.is_scaled else side


def _mean(values: Float[np.ndarray, "N"]) -> float:
    kept = values[np.isfinite(values)]
    return float(kept.mean()) if kept.size else float("nan")


def _vertex_errors(
    body: BodyModel, protocol: Protocol, true_params: BodyParams, ours: _Posed, truth: _Posed
) -> Float[np.ndarray, "N"]:
    """Mean distance of vertices after the roots are laid upon each other; whole meshes some people at a time."""
    root = list(protocol.layout.indices(protocol.root))
    pieces = []
    for first in range(0, len(truth.points), _MESHES_AT_ONCE):
        rows = slice(first, first + _MESHES_AT_ONCE)
        predicted, true = (
            in_pieces(body, jax.tree.map(lambda leaf, at=rows: np.asarray(leaf)[at], params)).vertices
            for params in (ours.params, true_params)
        )
        offset = (ours.points[rows][:, root].mean(1) - truth.points[rows][:, root].mean(1)).astype(predicted.dtype)
        pieces.append(np.linalg.norm(predicted - true - offset[:, None], axis=-1).mean(-1).astype(np.float64))
    return np.concatenate(pieces)


def _acceleration(found: HardSet, protocol: Protocol, predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Acceleration errors of root-aligned points within each window, m/s^2."""
    length = int((found.windows == found.windows[0]).sum())
    root = list(protocol.layout.indices(protocol.root))

    def of_windows(points: np.ndarray) -> np.ndarray:
        return (points - points[:, root].mean(1, keepdims=True)).reshape(-1, length, *points.shape[1:])

    means = {}
    for points in protocol.point_sets:
        error = pose.acceleration_error(
            of_windows(predicted),
            of_windows(truth),
            frames_per_second=found.frames_per_second,
            points=protocol.layout.indices(points.points),
        )
        means[f"acceleration_error/{points.label}"] = _mean(error.values.ravel())
    return means


def _curves(
    protocol: Protocol, ours: _Posed, truth: _Posed, inside: np.ndarray, is_valid: np.ndarray
) -> dict[str, tuple[float, ...]]:
    curves = {}
    if ours.pixels is None or truth.pixels is None:
        return curves
    normaliser = protocol.box.normaliser(_box_sides(truth.pixels, protocol))
    for points in protocol.point_sets:
        if points.has_pck:
            columns = list(protocol.layout.indices(points.points))
            curve = keypoints.pck_curve(
                ours.pixels[:, columns],
                truth.pixels[:, columns],
                (inside & is_valid)[:, columns].astype(np.float64),
                normaliser,
                CURVE,
                min_confidence=protocol.min_confidence,
            )
            curves[points.label] = tuple(curve.tolist())
    return curves


def _joint_errors(protocol: Protocol, ours: _Posed, truth: _Posed) -> dict[str, float]:
    root = list(protocol.layout.indices(protocol.root))
    apart = ours.points - ours.points[:, root].mean(1, keepdims=True)
    apart = apart - (truth.points - truth.points[:, root].mean(1, keepdims=True))
    distance = np.linalg.norm(apart, axis=-1)
    wanted = {point for points in protocol.point_sets for point in points.points}
    return {
        point: _mean(distance[:, column])
        for column, point in enumerate(protocol.layout.points)
        if ours.has_point[column] and point in wanted
    }


# The whole job --------------------------------------------------------------------------------------------


def evaluate_methods(
    options: EvaluateOptions, folder: pathlib.Path, *, progress: Progress | None = None
) -> list[SetScore]:
    """Fit and score the methods of the options on the sets of a stored benchmark.

    Args:
        options: Methods, sets, protocol.
        folder: Folder of the benchmark.
        progress: Told the stage, what is done, and of how much.
    """
    report = progress or (lambda stage, done, total: None)
    body = load.open_body(view="smplh")
    protocol = protocol_for(body, options.protocol)
    jobs = [(method, name) for method in options.methods for name in options.sets]
    jobs += [(options.methods[-1], name) for name in options.last_method_sets]
    sets = {name: load_set(folder, name, limit=options.limit) for _, name in jobs}
    total, done = sum(len(sets[name]) for _, name in jobs), 0
    results = []
    report("fit", 0, total)
    for method, name in jobs:
        found = sets[name]

        def tell(finished: int, _: int, before: int = done) -> None:
            report("fit", before + finished, total)

        predicted, status = predict(found, body, method.fit, progress=tell)
        done += len(found)
        results.append(score(found, body, protocol, predicted, method=method.name, status_counts=status))
    return results


def evaluate_named(
    options: EvaluateOptions,
    folder: pathlib.Path,
    names: Sequence[str],
    *,
    set_name: str = "test",
    progress: Progress | None = None,
) -> list[SetScore]:
    """Score, on one set, what names stand for: a method of the options, a file of predictions, or stored labels.

    Raises:
        EvaluateError: If a name is neither a method nor a file, or labels do not belong to the set.
        hardmo_jax.data.predictions.PredictionError: If a file of predictions is damaged or does not fit.
    """
    report = progress or (lambda stage, done, total: None)
    body = load.open_body(view="smplh")
    protocol = protocol_for(body, options.protocol)
    found = load_set(folder, set_name, limit=options.limit)
    methods = {method.name: method for method in options.methods}
    results = []
    for name in names:
        path = pathlib.Path(name)
        if name in methods:
            report(name, 0, len(found))
            predicted, status = predict(
                found, body, methods[name].fit, progress=lambda done, total, stage=name: report(stage, done, total)
            )
        elif path.is_dir() or _is_label_file(path):
            predicted, status = predictions_from_labels(path, found)
        elif path.exists():
            predicted, status = prediction_files.read_predictions(path), {}
        else:
            raise EvaluateError(f"{name!r} is neither a file nor one of the methods {', '.join(methods)}")
        label = name if name in methods else path.name
        results.append(score(found, body, protocol, predicted, method=label, status_counts=status))
    return results


def _is_label_file(path: pathlib.Path) -> bool:
    """Whether a Parquet file holds labels of this package."""
    return path.suffix == ".parquet" and path.name.startswith("labels")
