"""Where the cameras of labels stand in the world, and where the floor is: as labels say, or as it is laid.

`annotate` finds one floor for each shot of a video, or none. Nobody is followed across a cut, so that a label without a
world may take it from its own track, or from others in the same picture, and from nobody else.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from hardmo_jax.array_types import Bool, Float, Int
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.export.motion.scene_motion import Y_UP_FROM_Z_UP, FloorSource
from hardmo_jax.labels.schema import LabelRow

#: A camera that is held still: the transforms of its labels to the world differ by rounding only.
_STILL_DEGREES, _STILL_METRES = 0.05, 0.005
#: From camera axes (x right, y down, z forward) of a level camera to a world with z up: the inverse turns z up to y up,
#: whose y and z point against the camera's.
_LEVEL = Y_UP_FROM_Z_UP.T @ np.diag([1.0, -1.0, -1.0])
#: Share of frames that may reach below a floor that is laid under them, so that one bad frame does not lift the rest.
_BELOW_FLOOR = 0.02


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelWorlds:
    """The camera of each label in the world."""

    rotation: Float[np.ndarray, "N 3 3"]
    """From camera axes to those of the world with z up."""
    position: Float[np.ndarray, "N 3"]
    """Metres."""
    laid: tuple[Int[np.ndarray, "_"], ...]
    """Labels whose world nothing tells, by stretch of the video: the camera is level at the origin, and a floor is to
    be laid under each stretch."""

    @property
    def floor(self) -> FloorSource:
        """Where the floor comes from."""
        if not self.laid:
            return "labels"
        return "lowest_point" if sum(map(len, self.laid)) == len(self.rotation) else "mixed"


def worlds_of_labels(rows: Sequence[LabelRow], places: Float[np.ndarray, "N"], body: BodyModel) -> LabelWorlds:
    """The camera of each label: its own, of its track, of its picture, or level.

    Args:
        rows: Of one video or photo.
        places: Of each in time, in frames.
        body: Theirs.
    """
    own = np.array([row.world_transl is not None for row in rows])
    rotation = np.broadcast_to(_LEVEL, (len(rows), 3, 3)).copy()
    position = np.zeros((len(rows), 3))
    if own.any():
        known = np.flatnonzero(own)
        rotation[known], position[known] = camera_poses([rows[int(at)] for at in known], body)
        by_track = _nearest_by(np.array([row.track_id for row in rows]), places, own)
        by_frame = _nearest_by(np.array([row.frame_index for row in rows]), places, own)
        taken = np.where(own, np.arange(len(rows)), np.where(by_track >= 0, by_track, by_frame))
        has = taken >= 0
        rotation[has], position[has] = rotation[taken[has]], position[taken[has]]
        own = has
    return LabelWorlds(rotation=rotation, position=position, laid=tuple(_stretches(rows, places, ~own)))


def _nearest_by(
    keys: Int[np.ndarray, "N"], places: Float[np.ndarray, "N"], is_known: Bool[np.ndarray, "N"]
) -> Int[np.ndarray, "N"]:
    """For each label that known one of the same key which is nearest in time; -1 where there is none."""
    found = np.full(len(keys), -1)
    for key in np.unique(keys[~is_known]):
        known, wanted = np.flatnonzero(is_known & (keys == key)), np.flatnonzero(~is_known & (keys == key))
        if len(known):
            found[wanted] = known[nearest_places(places[known], places[wanted])]
    return found


def nearest_places(places: Float[np.ndarray, "N"], wanted: Float[np.ndarray, "M"]) -> Int[np.ndarray, "M"]:
    """For each wanted place the index of the one that is nearest; of two the earlier."""
    order = np.argsort(places, kind="stable")
    after = np.clip(np.searchsorted(places[order], wanted), 0, len(places) - 1)
    before = np.maximum(after - 1, 0)
    is_before = np.abs(places[order][before] - wanted) <= np.abs(places[order][after] - wanted)
    return order[np.where(is_before, before, after)]


def _stretches(
    rows: Sequence[LabelRow], places: Float[np.ndarray, "N"], wanted: Bool[np.ndarray, "N"]
) -> list[Int[np.ndarray, "_"]]:
    """Labels in groups: tracks that are there at one time are of one shot."""
    tracks = np.array([row.track_id for row in rows])
    spans = [
        (places[own].min(), places[own].max(), own)
        for track in np.unique(tracks[wanted])
        for own in [np.flatnonzero(wanted & (tracks == track))]
    ]
    groups: list[tuple[float, list[np.ndarray]]] = []
    for start, end, own in sorted(spans, key=lambda span: span[:2]):
        if groups and start <= groups[-1][0]:
            groups[-1] = max(groups[-1][0], end), [*groups[-1][1], own]
        else:
            groups.append((end, [own]))
    return [np.concatenate(parts) for _, parts in groups]


def camera_poses(
    rows: Sequence[LabelRow], body: BodyModel
) -> tuple[Float[np.ndarray, "N 3 3"], Float[np.ndarray, "N 3"]]:
    """What turns and moves the camera's frame to the world, by where labels put the same root in both.

    The root joint lies at `transl` plus its place at rest, in either frame.

    Args:
        rows: Labels with columns of the world, one at least.
        body: Theirs.
    """
    in_camera = Rotation.from_rotvec([row.global_orient for row in rows])
    in_world = Rotation.from_rotvec([row.world_global_orient for row in rows])
    rotation = (in_world * in_camera.inv()).as_matrix()
    root = root_at_rest(body, np.stack([row.betas for row in rows])[:, : body.num_betas])
    seen = np.stack([row.transl for row in rows]) + root
    stood = np.array([row.world_transl for row in rows], np.float32) + root
    return rotation, stood - np.einsum("nij,nj->ni", rotation, seen)


def root_at_rest(body: BodyModel, betas: Float[np.ndarray, "N S"]) -> Float[np.ndarray, "N 3"]:
    """Joint 0 of shaped bodies at rest, metres.

    Args:
        body: The model.
        betas: Shapes.
    """
    basis = np.asarray(body.joint_shape_basis)[: betas.shape[1], 0]
    return np.asarray(body.joint_template)[0] + betas @ basis


def held_still(
    rotation: Float[np.ndarray, "N 3 3"], position: Float[np.ndarray, "N 3"]
) -> tuple[Float[np.ndarray, "N 3 3"], Float[np.ndarray, "N 3"]]:
    """The same camera in every frame, where poses differ by rounding only; else what was given."""
    mean, middle = Rotation.from_matrix(rotation).mean(), np.median(position, axis=0)
    turned = np.degrees((Rotation.from_matrix(rotation) * mean.inv()).magnitude())
    if turned.max() < _STILL_DEGREES and np.linalg.norm(position - middle, axis=-1).max() < _STILL_METRES:
        return np.broadcast_to(mean.as_matrix(), rotation.shape), np.broadcast_to(middle, position.shape)
    return rotation, position


def floor_height(body: BodyModel, params: BodyParams) -> float:
    """Height of the floor that is laid under people: that of the lowest named point, but for a few frames.

    Args:
        body: The model.
        params: Of people in a world with z up, along one axis.
    """
    points = body.subset([vertex for _, vertex in body.landmarks]) if body.landmarks else body
    posed = in_pieces(points, params)
    heights = np.concatenate([posed.vertices[..., 2], posed.joints[..., 2]], axis=-1).min(axis=-1)
    return float(np.quantile(heights, _BELOW_FLOOR, method="lower"))
