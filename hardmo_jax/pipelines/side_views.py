"""From where the side of the people of a video is looked at, frame by frame: steady, and with all of them in view."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np
from scipy.spatial.transform import Rotation

from hardmo_jax.array_types import Array, Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.pipelines.label_rows import params_of_labels
from hardmo_jax.viz.side_by_side import SideView

#: The view follows people as slowly as this, seconds (a standard deviation), and holds so much of where they are.
_FOLLOWS, _HELD = 0.7, 97
#: Metres around the points of people: head, hands and feet reach beyond them. And the least that is seen.
_AROUND, _LEAST_EXTENT = 0.35, 1.6
#: Half of the size of somebody whose points are not known, metres.
_HALF = 0.9
#: Part of the lowest points that lie below a floor that nobody knows.
_BELOW_FLOOR = 5
_CAMERA_UP = np.array([0.0, -1.0, 0.0])


@jax.jit
def _root(body: BodyModel, params: BodyParams) -> Float[Array, "N 3"]:
    return body(params).joints[:, 0]


def side_views(
    rows_of_frames: Mapping[int, Sequence[LabelRow]], body: BodyModel, *, frames_per_second: float
) -> dict[int, SideView]:
    """From where each frame is looked at.

    Shots have views of their own: nobody is followed across a cut, so one ends where no track goes on.

    Args:
        rows_of_frames: Usable labels of the body, by frame.
        body: Theirs.
        frames_per_second: Of the video.

    Returns:
        By frame, also for frames without people between those that have some.
    """
    views: dict[int, SideView] = {}
    shot: list[int] = []
    tracks: set[int] = set()
    for frame in sorted(frame for frame, rows in rows_of_frames.items() if rows):
        own = {row.track_id for row in rows_of_frames[frame]}
        if shot and not own & tracks:
            views |= _of_shot(shot, rows_of_frames, body, frames_per_second)
            shot, tracks = [], set()
        shot.append(frame)
        tracks |= own
    if shot:
        views |= _of_shot(shot, rows_of_frames, body, frames_per_second)
    return views


def _of_shot(
    shot: Sequence[int],
    rows_of_frames: Mapping[int, Sequence[LabelRow]],
    body: BodyModel,
    frames_per_second: float,
) -> dict[int, SideView]:
    points = [np.concatenate([_points(row) for row in rows_of_frames[frame]]) for frame in shot]
    rows = [row for frame in shot for row in rows_of_frames[frame]]
    up, floor = _floor(rows, body, np.concatenate(points))
    middles = np.stack([(own.min(axis=0) + own.max(axis=0)) / 2 for own in points])
    frames = np.arange(shot[0], shot[-1] + 1)
    every = np.stack([np.interp(frames, shot, middles[:, axis]) for axis in range(3)], axis=1)
    centers = _smoothed(every, _FOLLOWS * frames_per_second)
    # People who stand side by side are one behind the other here: that takes no room in the picture.
    axes = SideView(up=up, floor=floor, center=centers[0], extent=1.0).axes()
    off = [(own - centers[frame - frames[0]]) @ axes.T for frame, own in zip(shot, points, strict=True)]
    held = float(np.percentile([np.abs(own[:, :2]).max() for own in off], _HELD))
    reach = float(np.percentile([-own[:, 2].min() for own in off], _HELD))
    extent = max(2 * (held + _AROUND), _LEAST_EXTENT)
    return {
        int(frame): SideView(up=up, floor=floor, center=center, extent=extent, reach=max(reach + _AROUND, 0.0))
        for frame, center in zip(frames, centers, strict=True)
    }


def _points(row: LabelRow) -> Float[np.ndarray, "N 3"]:
    """Where somebody is, frame of the camera, metres."""
    if row.keypoints_3d is not None:
        finite = row.keypoints_3d[np.isfinite(row.keypoints_3d).all(axis=1)]
        if len(finite):
            return finite.astype(np.float64)
    return np.asarray(row.transl, np.float64) + np.array([[0, -_HALF, 0], [0, _HALF, 0]])


def _floor(
    rows: Sequence[LabelRow], body: BodyModel, points: Float[np.ndarray, "N 3"]
) -> tuple[Float[np.ndarray, "3"], float]:
    """Away from the floor, and its height: as labels say it, else by the camera and the lowest points."""
    known = next((row for row in rows if row.world_transl is not None and row.world_global_orient is not None), None)
    if known is None or known.world_global_orient is None or known.world_transl is None:
        return _CAMERA_UP, float(np.percentile(points @ _CAMERA_UP, _BELOW_FLOOR))
    params = params_of_labels([known], body)
    root = np.asarray(_root(body, params), np.float64)[0]
    inside = root - known.transl  # where the root is in a body that is not moved: the same in both frames
    in_camera, in_world = (
        Rotation.from_rotvec(np.asarray(turn, np.float64)).as_matrix()
        for turn in (known.global_orient, known.world_global_orient)
    )
    # World = turn @ camera + shift, with z up and the floor at 0.
    turn = in_world @ in_camera.T
    shift = known.world_transl + inside - turn @ root
    return turn[2], -float(shift[2])


def _smoothed(values: Float[np.ndarray, "T 3"], width: float) -> Float[np.ndarray, "T 3"]:
    """Weighted means over neighbouring frames; the ends are held."""
    reach = max(int(3 * width), 1)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(width, 1e-6)) ** 2)
    padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
    return np.stack([np.convolve(padded[:, axis], weights / weights.sum(), "valid") for axis in range(3)], axis=1)
