"""Stored labels as motion: tracks on an even grid of frames, without holes, in a world with z up.

Labels of a video come frame by frame, with frames missing where somebody was lost and times that need not be even.
Programs that play motion want one row a frame. Frames are put on the grid that is nearest in time; short holes are
interpolated and marked, long ones end a piece of the track.
"""

import dataclasses
import math
from collections import Counter
from collections.abc import Sequence

import jax
import numpy as np
from scipy.spatial.transform import Rotation, Slerp

from hardmo_jax.array_types import AnyArray, Bool, Float, Int
from hardmo_jax.body import placement
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.export.motion.scene_motion import Y_UP_FROM_Z_UP, FloorSource, SceneCamera, SceneMotion, TrackMotion
from hardmo_jax.export.source_names import ExportError, published_source
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.pipelines.label_rows import check_body_of_labels, name_of_body, params_of_labels

#: Fields of `BodyParams` that are no rotations.
_NOT_ROTATIONS = ("betas", "transl", "expression")
#: A camera that is held still: the transforms of its labels to the world differ by rounding only.
_STILL_DEGREES, _STILL_METRES = 0.05, 0.005
#: From camera axes (x right, y down, z forward) of a level camera to a world with z up: the inverse turns z up to y up,
#: whose y and z point against the camera's.
_LEVEL = Y_UP_FROM_Z_UP.T @ np.diag([1.0, -1.0, -1.0])
#: Share of frames that may reach below a floor that is laid under them, so that one bad frame does not lift the rest.
_BELOW_FLOOR = 0.02


@dataclasses.dataclass(frozen=True, kw_only=True)
class MotionOptions:
    """How labels become motion."""

    frames_per_second: float | None = None
    """Rate of labels that state none; those that do keep theirs."""
    max_gap_seconds: float = 1.0
    """Frames without a label are interpolated over at most so long; a longer hole ends a piece of the track."""

    def __post_init__(self) -> None:
        rate = self.frames_per_second
        if rate is not None and not 0 < rate < math.inf:
            raise ExportError(f"a frame rate must be positive, got {rate:g}; give for example --fps=30")
        if not 0 <= self.max_gap_seconds < math.inf:
            raise ExportError(f"`max_gap_seconds` must not be negative, got {self.max_gap_seconds}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelMotions:
    """Motion of labels, and what became of them."""

    scenes: tuple[SceneMotion, ...]
    """One a video or photo, by name."""
    num_failed: int
    """Labels without a usable pose, left out."""
    num_rejected: int
    """Labels that a person rejected, left out."""
    num_interpolated: int
    """Frames of people that have no label of their own."""
    num_off_grid: int
    """Labels of videos with uneven times that share their place on the grid with one that is nearer, left out."""
    num_shapes: int
    """Tracks whose labels are of more than one shape, which was averaged."""


def scenes_of_labels(rows: Sequence[LabelRow], body: BodyModel, options: MotionOptions) -> LabelMotions:
    """Motion of everybody in labels of one body.

    Args:
        rows: Newest version of each.
        body: Of all of them.
        options: Rates and holes.

    Raises:
        ExportError: If no label has a usable pose.
        hardmo_jax.pipelines.label_rows.LabelBodyError: If they are of another body.
    """
    check_body_of_labels(rows, body, source="the labels")
    failed = [row for row in rows if not row.is_usable]
    rejected = [row for row in rows if row.is_usable and row.review == "rejected"]
    kept = [row for row in rows if row.is_usable and row.review != "rejected"]
    if not kept:
        raise ExportError(
            f"none of {len(rows)} labels can be exported: {len(failed)} have no usable pose, {len(rejected)} were "
            "rejected"
        )
    sources: dict[tuple[str, str], list[LabelRow]] = {}
    for row in kept:
        sources.setdefault((row.source_path, row.source_sha256), []).append(row)
    names = _scene_names(list(sources))
    found = [_scene(names[source], own, body, options) for source, own in sources.items()]
    return LabelMotions(
        scenes=tuple(one.scene for one in sorted(found, key=lambda one: one.scene.name)),
        num_failed=len(failed),
        num_rejected=len(rejected),
        num_interpolated=sum(int((~track.is_labelled).sum()) for one in found for track in one.scene.tracks),
        num_off_grid=sum(one.num_off_grid for one in found),
        num_shapes=sum(one.num_shapes for one in found),
    )


def _scene_names(sources: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """A relative path without suffix for each source, told apart by suffix and checksum only where they must be."""
    plain = {source: str(published_source(source[0]).with_suffix("")) for source in sources}
    taken = Counter(name.casefold() for name in plain.values())
    return {
        source: name if taken[name.casefold()] == 1 else f"{name}_{source[1][:8]}" for source, name in plain.items()
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Found:
    """A scene, and what its labels lost on the way."""

    scene: SceneMotion
    num_off_grid: int
    num_shapes: int


def _scene(name: str, rows: list[LabelRow], body: BodyModel, options: MotionOptions) -> _Found:
    rates = sorted(row.fps for row in rows if row.fps is not None)
    rate = rates[len(rates) // 2] if rates else options.frames_per_second
    places = _on_grid(rows, rate if rates else None)
    nearest: dict[tuple[int, int], tuple[float, int]] = {}
    for index, (row, place) in enumerate(zip(rows, places, strict=True)):
        key, apart = (row.track_id, round(place)), abs(place - round(place))
        if key not in nearest or apart < nearest[key][0]:
            nearest[key] = apart, index
    chosen = sorted((track, place, index) for (track, place), (_, index) in nearest.items())
    own = [rows[index] for _, _, index in chosen]
    first = min(place for _, place, _ in chosen)
    frames = np.array([place - first for _, place, _ in chosen])
    num_frames = int(frames.max()) + 1
    if num_frames > 1 and rate is None:
        raise ExportError(
            f"{name}: labels of {num_frames} frames without a frame rate; give it as --fps, for example --fps=30"
        )
    camera, floor = _camera(own, frames, num_frames, body)
    params = _in_world(body, params_of_labels(own, body), camera, frames)
    if floor == "lowest_point":
        depth = _lowest(body, params)
        params.transl[:, 2] -= depth
        camera = dataclasses.replace(camera, position=camera.position - np.array([0, 0, depth], np.float32))
    tracks: list[TrackMotion] = []
    num_shapes = 0
    longest = 1 if rate is None else max(1, round(options.max_gap_seconds * rate))
    for track_id in sorted({track for track, _, _ in chosen}):
        at = np.array([track == track_id for track, _, _ in chosen])
        pieces = np.split(np.flatnonzero(at), np.flatnonzero(np.diff(frames[at]) > longest) + 1)
        for number, piece in enumerate(pieces, start=1):
            mine = jax.tree.map(lambda leaf, rows=piece: leaf[rows], params)
            shaped, is_averaged = _of_one_shape(body, mine)
            num_shapes += is_averaged
            part = "" if number == 1 else f"_part_{number}"
            filled, is_labelled = _without_holes(shaped, frames[piece])
            tracks.append(
                TrackMotion(
                    name=f"person_{track_id:02d}{part}",
                    track_id=track_id,
                    first_frame=int(frames[piece[0]]),
                    params=filled,
                    is_labelled=is_labelled,
                )
            )
    scene = SceneMotion(
        name=name,
        source_name=published_source(own[0].source_path).name,
        body=body,
        body_name=name_of_body(body),
        frames_per_second=rate,
        num_frames=num_frames,
        first_source_frame=min(row.frame_index for row, frame in zip(own, frames, strict=True) if frame == 0),
        tracks=tuple(tracks),
        camera=camera,
        floor=floor,
    )
    return _Found(scene=scene, num_off_grid=len(rows) - len(own), num_shapes=num_shapes)


def _on_grid(rows: Sequence[LabelRow], rate: float | None) -> list[float]:
    """Where labels lie on a grid of frames: by their times where they have any, else by their frames."""
    if rate is None or any(row.time_seconds is None for row in rows):
        return [float(row.frame_index) for row in rows]
    return [row.time_seconds * rate for row in rows if row.time_seconds is not None]


def _camera(
    rows: Sequence[LabelRow], frames: Int[np.ndarray, "N"], num_frames: int, body: BodyModel
) -> tuple[SceneCamera, FloorSource]:
    """The camera of each frame of a scene, of frames without labels as in the nearest that has some."""
    with_world = [index for index, row in enumerate(rows) if row.world_transl is not None]
    if with_world:
        rotation, position = camera_poses([rows[index] for index in with_world], body)
        at = _nearest(frames[with_world], num_frames)
        rotation, position, floor = rotation[at], position[at], "labels"
    else:
        rotation = np.broadcast_to(_LEVEL, (num_frames, 3, 3))
        position, floor = np.zeros((num_frames, 3)), "lowest_point"
    at = _nearest(frames, num_frames)
    camera = SceneCamera(
        rotation=rotation.astype(np.float32),
        position=position.astype(np.float32),
        focal_length=np.stack([row.focal_length for row in rows])[at],
        principal_point=np.stack([row.principal_point for row in rows])[at],
        image_size=(rows[0].image_width, rows[0].image_height),
    )
    return camera, floor


def camera_poses(
    rows: Sequence[LabelRow], body: BodyModel
) -> tuple[Float[np.ndarray, "N 3 3"], Float[np.ndarray, "N 3"]]:
    """What turns and moves the camera's frame to the world, by where labels put the same root in both.

    The root joint lies at `transl` plus its place at rest, in either frame. A camera that hardly moves does not.

    Args:
        rows: Labels with columns of the world, one at least.
        body: Theirs.
    """
    in_camera = Rotation.from_rotvec([row.global_orient for row in rows])
    in_world = Rotation.from_rotvec([row.world_global_orient for row in rows])
    rotation = (in_world * in_camera.inv()).as_matrix()
    root = _root_at_rest(body, np.stack([row.betas for row in rows])[:, : body.num_betas])
    seen = np.stack([row.transl for row in rows]) + root
    stood = np.array([row.world_transl for row in rows], np.float32) + root
    position = stood - np.einsum("nij,nj->ni", rotation, seen)
    mean = Rotation.from_matrix(rotation).mean()
    middle = np.median(position, axis=0)
    turned = np.degrees((Rotation.from_matrix(rotation) * mean.inv()).magnitude())
    if turned.max() < _STILL_DEGREES and np.linalg.norm(position - middle, axis=-1).max() < _STILL_METRES:
        rotation = np.broadcast_to(mean.as_matrix(), rotation.shape)
        position = np.broadcast_to(middle, position.shape)
    return rotation, position


def _root_at_rest(body: BodyModel, betas: Float[np.ndarray, "N S"]) -> Float[np.ndarray, "N 3"]:
    """Joint 0 of shaped bodies at rest, metres."""
    basis = np.asarray(body.joint_shape_basis)[: betas.shape[1], 0]
    return np.asarray(body.joint_template)[0] + betas @ basis


def _nearest(frames: Int[np.ndarray, "N"], num_frames: int) -> Int[np.ndarray, "T"]:
    """For each frame of a scene the place of the label that is nearest in time."""
    order = np.argsort(frames, kind="stable")
    sorted_frames = frames[order]
    wanted = np.arange(num_frames)
    after = np.clip(np.searchsorted(sorted_frames, wanted), 0, len(frames) - 1)
    before = np.maximum(after - 1, 0)
    is_before = np.abs(sorted_frames[before] - wanted) <= np.abs(sorted_frames[after] - wanted)
    return order[np.where(is_before, before, after)]


def _in_world(body: BodyModel, params: BodyParams, camera: SceneCamera, frames: Int[np.ndarray, "N"]) -> BodyParams:
    motion = (params, camera.rotation[frames], camera.position[frames])
    return jax.tree.map(np.array, in_pieces(jax.tree_util.Partial(_moved, body), motion))


def _moved(body: BodyModel, motion: tuple[BodyParams, Float[AnyArray, "N 3 3"], Float[AnyArray, "N 3"]]) -> BodyParams:
    return placement.moved(body, *motion)


def _lowest(body: BodyModel, params: BodyParams) -> float:
    """Height of the floor that is laid under people: that of the lowest named point, but for a few frames."""
    points = body.subset([vertex for _, vertex in body.landmarks]) if body.landmarks else body
    posed = in_pieces(points, params)
    heights = np.concatenate([posed.vertices[..., 2], posed.joints[..., 2]], axis=-1).min(axis=-1)
    return float(np.quantile(heights, _BELOW_FLOOR, method="lower"))


def _of_one_shape(body: BodyModel, params: BodyParams) -> tuple[BodyParams, bool]:
    """The same with the mean shape in all frames, the pelvis where it was; and whether that changed anything."""
    betas = np.asarray(params.betas)
    mean = betas.mean(axis=0, dtype=np.float64).astype(np.float32)
    if (betas == betas[0]).all():
        return params, False
    shift = _root_at_rest(body, betas) - _root_at_rest(body, mean[None])
    repeated = np.broadcast_to(mean, betas.shape).copy()
    moved = (params.transl + shift).astype(np.float32)
    return dataclasses.replace(params, betas=repeated, transl=moved), True


def _without_holes(params: BodyParams, frames: Int[np.ndarray, "N"]) -> tuple[BodyParams, Bool[np.ndarray, "T"]]:
    """One row a frame from the first to the last; rotations between labels along the shortest way."""
    num_frames = int(frames[-1] - frames[0]) + 1
    is_labelled = np.zeros(num_frames, bool)
    is_labelled[frames - frames[0]] = True
    if is_labelled.all():
        return params, is_labelled
    wanted = np.flatnonzero(~is_labelled) + frames[0]
    filled = {}
    for field in dataclasses.fields(params):
        value = getattr(params, field.name)
        if value is None:
            continue
        whole = np.zeros((num_frames, *value.shape[1:]), np.float32)
        whole[is_labelled] = value
        whole[~is_labelled] = (_lerp if field.name in _NOT_ROTATIONS else _slerp)(np.asarray(value), frames, wanted)
        filled[field.name] = whole
    return dataclasses.replace(params, **filled), is_labelled


def _lerp(
    values: Float[np.ndarray, "N *shape"], frames: Int[np.ndarray, "N"], wanted: Int[np.ndarray, "M"]
) -> Float[np.ndarray, "M *shape"]:
    after = np.searchsorted(frames, wanted)
    share = (wanted - frames[after - 1]) / (frames[after] - frames[after - 1])
    share = share.reshape(-1, *(1,) * (values.ndim - 1))
    return values[after - 1] * (1 - share) + values[after] * share


def _slerp(
    values: Float[np.ndarray, "N *shape"], frames: Int[np.ndarray, "N"], wanted: Int[np.ndarray, "M"]
) -> Float[np.ndarray, "M *shape"]:
    joints = values.reshape(len(values), -1, 3)
    turned = [
        Slerp(frames, Rotation.from_rotvec(joints[:, joint]))(wanted).as_rotvec() for joint in range(joints.shape[1])
    ]
    return np.stack(turned, axis=1).reshape(len(wanted), *values.shape[1:])
