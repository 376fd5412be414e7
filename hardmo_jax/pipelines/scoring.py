"""Predictions laid beside the truth of a set, person by person, and scored under a protocol.

What is missing counts as missing, what is not a number as that, and both stand in the result. Errors of single samples
are kept, so that two methods can be compared pair by pair.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.body import landmarks
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.data import predictions as prediction_files
from hardmo_jax.data.hard_set import HardSet
from hardmo_jax.data.predictions import PredictionError, Predictions
from hardmo_jax.geometry import cameras, rotations
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.metrics import clips, keypoints, pose, protocols, scores
from hardmo_jax.metrics.protocols import Protocol
from hardmo_jax.metrics.sample_errors import SampleErrors
from hardmo_jax.pipelines.set_scores import (
    CURVE,
    JOINTS,
    ScoreError,
    SetScore,
    joint_errors,
    mean_error,
    pck_curves,
    world_rotations,
)
from hardmo_jax.skeleton import layouts, mapping, regressors

_MESHES_AT_ONCE = 256
#: Heading errors beyond this count as a person who was turned round.
_TURNED_ROUND_DEGREES = 90.0


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
    known_ids: tuple[str, ...] | None = None,
) -> SetScore:
    """Compare predictions with the truth of a set.

    Args:
        found: Set of the truth.
        body: Its body.
        protocol: What is compared and how.
        predicted: Predictions of some of its samples; others count as missing.
        method: Name for tables.
        status_counts: How fits ended.
        known_ids: Samples that may be predicted although they are not in the set, when it is a part of a larger one.

    Raises:
        hardmo_jax.data.predictions.PredictionError: If ids do not fit, units differ, or the root is not predicted.
        HardSetError: If the body is not that of the truth.
    """
    found.check_body(body)
    if predicted.params is not None:
        predicted = predicted.check_body(found.body, num_betas=body.num_betas)
    rows = predicted.rows_for(found.ids, known=known_ids)
    truth = _posed(body, protocol, found.params, found.camera)
    ours = _predicted_people(found, body, protocol, predicted, rows)
    covered = _covered(protocol, ours.has_point, predicted.source)
    is_valid = np.broadcast_to(ours.has_point, truth.points.shape[:2])
    prediction_files.check_units(ours.points, truth.points, is_valid, predicted.source)
    if ours.params is not None:
        depth = [posed.points[:, protocol.layout.indices(protocol.root)].mean(1)[:, 2] for posed in (ours, truth)]
        prediction_files.check_depth(depth[0], depth[1], predicted.source)
    is_seen = _inside(truth.pixels, found.border) & is_valid
    has_pixels = ours.pixels is not None
    result = scores.score_samples(
        covered,
        predicted_3d=ours.points,
        true_3d=truth.points,
        is_valid_3d=np.ascontiguousarray(is_valid),
        predicted_2d=ours.pixels,
        true_2d=truth.pixels if has_pixels else None,
        confidence=is_seen.astype(np.float64) if has_pixels else None,
        box_sides=_box_sides(truth.pixels, covered) if has_pixels else None,
        predicted_rotations=ours.rotations,
        true_rotations=truth.rotations if ours.rotations is not None else None,
        rotation_joints=JOINTS,
    )
    errors = {name: error.values for name, error in result.errors.items()}
    if ours.params is not None:
        errors[f"vertex_error/mesh_{body.num_vertices}"] = _vertex_errors(body, covered, found.params, ours, truth)
    if ours.rotations is not None and truth.rotations is not None:
        angles = pose.joint_angle_error(ours.rotations, truth.rotations).values
        errors["orientation_degrees/pelvis"] = angles[:, 0]
        local = [_relative(body, posed.rotations) for posed in (ours, truth)]
        angles = pose.joint_angle_error(*local).values
        errors |= {f"joint_angle_degrees/{joint}": angles[:, column] for column, joint in enumerate(JOINTS) if column}
    shares, left_out = {}, {}
    if found.windows.max(initial=-1) >= 0:
        of_clips, shares, left_out = _over_time(found, covered, ours, truth)
        errors |= of_clips
    means = {name: mean_error(values) for name, values in errors.items()} | shares
    if "orientation_degrees/pelvis" in errors:
        heading = errors["orientation_degrees/pelvis"]
        means["turned_round_share/pelvis"] = mean_error(
            np.where(np.isfinite(heading), heading > _TURNED_ROUND_DEGREES, np.nan).astype(np.float64)
        )
    curves = {}
    if ours.pixels is not None and truth.pixels is not None:
        curves = pck_curves(
            covered, ours.pixels, truth.pixels, is_seen.astype(np.float64), _box_sides(truth.pixels, covered)
        )
    return SetScore(
        method=method,
        set_name=found.name,
        protocol=covered,
        num_samples=len(found),
        num_missing=int((rows < 0).sum()),
        num_nonfinite=result.num_nonfinite - int((rows < 0).sum()),
        status_counts=status_counts or {},
        means=means,
        pck={name.partition("/")[2]: tuple(hits.mean.tolist()) for name, hits in result.pck.items()},
        curves=curves,
        auc={label: keypoints.pck_auc(CURVE, np.array(curve)) for label, curve in curves.items()},
        joint_errors=joint_errors(covered, ours.points, truth.points, np.ascontiguousarray(is_valid)),
        errors=errors,
        ids=found.ids,
        groups=found.groups,
        styles=found.styles,
        left_out=left_out,
        notes=_notes(method, predicted),
    )


def _notes(method: str, predicted: Predictions) -> tuple[str, ...]:
    if predicted.params is None or "left_hand_pose" in predicted.params:
        return ()
    return (f"{method} gives no finger rotations: fingers are at rest, and errors of hands say so",)


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
        rotations=world_rotations(np.asarray(jax.jit(rotations.axis_angle_to_matrix)(params.full_pose()), np.float64)),
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
        params = params_of(body, {name: ordered(array) for name, array in predicted.params.items()}, predicted.source)
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
    """Where each point of the protocol stands in another layout, by name; -1 where it is not.

    A joint regressor's point is centimetres from the joint of the same place, so neither stands for the other.
    """
    place = {point: index for index, point in enumerate(layout.points)}
    columns = []
    for point in protocol.layout.points:
        names = [point]
        if regressors.place_of(point) == point:
            names += [way[0][1] for way in mapping.body_points(point) if len(way) == 1]
        columns.append(next((place[name] for name in names if name in place), -1))
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


def params_of(body: BodyModel, arrays: dict[str, np.ndarray], source: str) -> BodyParams:
    """Parameters of a body from arrays of a file; fingers that it lacks are at rest.

    Raises:
        PredictionError: If an array is of another shape.
    """
    count, dtype = len(arrays["transl"]), body.joint_template.dtype
    given = {}
    for field in dataclasses.fields(BodyParams):
        rest = getattr(BodyParams.rest(body, batch=(count,)), field.name)
        if rest is None:
            continue
        array = arrays.get(field.name)
        if array is None:
            given[field.name] = rest
        elif array.shape != rest.shape:
            raise PredictionError(
                f"{source}: `{field.name}` of {body.name} must be {tuple(rest.shape)}, got {array.shape}"
            )
        else:
            given[field.name] = jnp.asarray(array, dtype)
    return BodyParams(**given)


def _relative(body: BodyModel, turned: Float[np.ndarray, "N J 3 3"] | None) -> Float[np.ndarray, "N J 3 3"]:
    """Rotation of each joint relative to its parent, from world rotations."""
    if turned is None:
        raise ScoreError("rotations are missing")
    local = turned.copy()
    for joint, parent in enumerate(body.parents[1 : len(JOINTS)], start=1):
        local[:, joint] = np.swapaxes(turned[:, parent], -1, -2) @ turned[:, joint]
    return local


def _inside(pixels: Float[np.ndarray, "N K 2"] | None, border: Float[np.ndarray, "N 4"]) -> Bool[np.ndarray, "N K"]:
    """Whether a point lies in the picture that was seen."""
    if pixels is None:
        raise ScoreError("the truth has no image points")
    return np.all((pixels >= border[:, None, :2]) & (pixels <= border[:, None, 2:]), axis=-1)


def _box_sides(pixels: Float[np.ndarray, "N K 2"] | None, protocol: Protocol) -> Float[np.ndarray, "N"]:
    """Longest side of each person's box as the protocol wants it: tight, or scaled already."""
    if pixels is None:
        raise ScoreError("the truth has no image points")
    side = np.ptp(pixels, axis=1).max(-1)
    return side * protocol.box.scale if protocol.box.is_scaled else side


def _vertex_errors(
    body: BodyModel, protocol: Protocol, true_params: BodyParams, ours: _Posed, truth: _Posed
) -> Float[np.ndarray, "N"]:
    """`pose.vertex_error` of whole meshes, some people at a time."""
    root = list(protocol.layout.indices(protocol.root))
    pieces = []
    for first in range(0, len(truth.points), _MESHES_AT_ONCE):
        rows = slice(first, first + _MESHES_AT_ONCE)
        predicted, true = (
            in_pieces(body, jax.tree.map(lambda leaf, at=rows: np.asarray(leaf)[at], params)).vertices.astype(
                np.float64
            )
            for params in (ours.params, true_params)
        )
        roots = [posed.points[rows][:, root].mean(1) for posed in (ours, truth)]
        pieces.append(pose.vertex_error(predicted, true, *roots).values)
    return np.concatenate(pieces)


def _over_time(
    found: HardSet, protocol: Protocol, ours: _Posed, truth: _Posed
) -> tuple[dict[str, Float[np.ndarray, "N"]], dict[str, float], dict[str, tuple[int, int]]]:
    """Errors that only clips show, by frame, numbers of all clips, and what each leaves out, of how many."""
    length = int((found.windows == found.windows[0]).sum())
    layout, rate = protocol.layout, found.frames_per_second
    root = list(layout.indices(protocol.root))

    def of_windows(points: np.ndarray) -> np.ndarray:
        return points.reshape(-1, length, *points.shape[1:])

    def of_frames(values: np.ndarray, first: int) -> np.ndarray:
        """One value a frame, NaN for those at the ends of clips that have none."""
        result = np.full((len(found) // length, length), np.nan)
        result[:, first : first + values.shape[1]] = values
        return result.ravel()

    # Accelerations of points from the root, so that a wrong distance of the whole person does not count everywhere.
    posed = [of_windows(points - points[:, root].mean(1, keepdims=True)) for points in (ours.points, truth.points)]
    errors, shares, left_out = {}, {}, {}

    def keep(name: str, error: SampleErrors, first: int) -> None:
        errors[name] = of_frames(np.where(error.is_valid, error.values, np.nan), first)
        left_out[name] = (int(error.is_nonfinite.sum()), int(error.is_valid.sum()))

    for points in protocol.point_sets:
        found_error = pose.acceleration_error(*posed, frames_per_second=rate, points=layout.indices(points.points))
        keep(f"acceleration_error/{points.label}", found_error, 1)
    body = protocol.point_set(protocol.body_set)
    rows = list(layout.indices(body.points))
    moving = [points[:, :, rows] for points in posed]
    of_all = {
        f"acceleration_share/{body.label}": clips.acceleration_share(*moving),
        f"peak_speed_share/{body.label}": clips.peak_speed_share(*moving, frames_per_second=rate),
    }
    if set(layouts.CONTACT_POINTS) <= {point for point, has in zip(layout.points, ours.has_point, strict=True) if has}:
        feet = list(layout.indices(layouts.CONTACT_POINTS))
        slide = clips.foot_slide(
            of_windows(ours.points[:, feet]), of_windows(truth.points[:, feet]), frames_per_second=rate
        )
        keep(f"foot_slide/contact_{len(feet)}", slide, 0)
    if ours.params is not None:
        of_all["shape_spread/betas"] = clips.shape_spread(of_windows(np.asarray(ours.params.betas, np.float64)))
    for name, share in of_all.items():
        shares[name] = share.value
        left_out[name] = (share.num_left_out, share.num_counted + share.num_left_out)
    return errors, shares, left_out
