"""Where down is and where the floor, from people before a camera that does not move.

Feet that stand lie on the floor: wherever they stand, the plane through them is it. If they all stand in one place or
on one line a plane is not told, so that people say the rest: on the average they hold themselves upright. Both are
weighed by what they are worth, and how sure the result is comes with it.
"""

import dataclasses

import jax
import numpy as np

from hardmo_jax.array_types import AnyArray, Float
from hardmo_jax.body import landmarks
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import in_pieces, move_in_pieces
from hardmo_jax.skeleton import layouts
from hardmo_jax.skeleton.layouts import KeypointLayout

_LAYOUT = KeypointLayout(
    name="stance", points=(*layouts.CONTACT_POINTS, "left_hip", "right_hip", "left_shoulder", "right_shoulder")
)
_NUM_CONTACTS = len(layouts.CONTACT_POINTS)
#: Probability from which a point is taken to stand.
_STANDS = 0.25
#: Standard deviations: height of a standing point over the floor (metres: soles, and errors of depth), lean of the
#: trunk of somebody who stands (radians), lean of a camera's picture if nothing else is known.
_HEIGHT_SPREAD, _LEAN_SPREAD, _CAMERA_SPREAD = 0.05, 0.35, 0.5
#: Frames within this many of each other say the same.
_FRAMES_ALIKE = 15
_ITERATIONS = 10


class GroundError(ValueError):
    """There is no floor to be found; the message says why."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ground:
    """The floor in the camera's frame."""

    up: Float[np.ndarray, "3"]
    """Unit vector away from the floor."""
    camera_height: float
    """Distance of the camera from the floor, metres."""
    up_spread_degrees: float
    """Standard deviation of the direction, the worse of both ways that it can lean."""
    num_stances: int
    """Standing points that were used."""
    height_residual: float
    """Root mean square distance of these from the floor, metres."""

    @property
    def rotation(self) -> Float[np.ndarray, "3 3"]:
        """From camera axes to those of the world: x to the camera's right, y away from it, z up."""
        forward = np.array([0.0, 0.0, 1.0])
        if abs(self.up @ forward) > 0.99:  # a camera that looks straight down: the top of the picture is ahead
            forward = np.array([0.0, -1.0, 0.0])
        right = np.cross(forward, self.up)
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(self.up, right), self.up])

    @property
    def translation(self) -> Float[np.ndarray, "3"]:
        """Added after the rotation: the origin is the point of the floor below the camera."""
        return np.array([0.0, 0.0, self.camera_height])


def estimate_ground(body: BodyModel, params: BodyParams, stands: Float[AnyArray, "T 4"]) -> Ground:
    """Find the floor.

    Args:
        body: Of the parameters; it needs toes and heels.
        params: Frames of one or more people, one after the other; camera frame.
        stands: Probability that each of `layouts.CONTACT_POINTS` stands, see `recover_motion`.

    Raises:
        GroundError: If no point stands in any frame, or the body lacks a point.
    """
    model, is_supported = landmarks.point_model(body, _LAYOUT)
    if not is_supported.all():
        missing = [point for point, has in zip(_LAYOUT.points, is_supported, strict=True) if not has]
        raise GroundError(f"{body.name} has no {', '.join(missing)}, by which a floor is found")
    points = np.asarray(in_pieces(model, jax.tree.map(np.asarray, params)), np.float64)
    standing = np.asarray(stands, np.float64)
    is_finite = np.asarray(np.isfinite(points).all((-1, -2)))
    weight = np.where((standing >= _STANDS) & is_finite[:, None], standing, 0)
    if not weight.any():
        raise GroundError(
            f"no foot stands in any of {len(points)} frames: the floor is told by standing feet before a fixed camera"
        )
    feet, weight = points[:, :_NUM_CONTACTS].reshape(-1, 3), weight.reshape(-1)
    feet, weight = feet[weight > 0], weight[weight > 0] / (_FRAMES_ALIKE * _HEIGHT_SPREAD**2)
    hips, shoulders = points[:, _NUM_CONTACTS : _NUM_CONTACTS + 2], points[:, _NUM_CONTACTS + 2 :]
    trunk = (shoulders.mean(1) - hips.mean(1))[(standing >= _STANDS).any(-1) & is_finite]
    trunk /= np.maximum(np.linalg.norm(trunk, axis=-1, keepdims=True), 1e-9)
    return _fitted(feet, weight, trunk)


def _fitted(feet: Float[np.ndarray, "N 3"], weight: Float[np.ndarray, "N"], trunk: Float[np.ndarray, "M 3"]) -> Ground:
    """Plane by Gauss-Newton over two turns of its normal and its height, feet far from it weighing less."""
    up = np.array([0.0, -1.0, 0.0])
    lean = 1 / (_FRAMES_ALIKE * _LEAN_SPREAD**2)
    height = float(np.average(feet @ up, weights=weight))
    information = np.eye(3)
    for _ in range(_ITERATIONS):
        side = np.cross(up, [0.0, 0.0, 1.0] if abs(up[2]) < 0.9 else [1.0, 0.0, 0.0])
        side /= np.linalg.norm(side)
        basis = np.stack([side, np.cross(up, side)])
        apart = feet @ up - height
        robust = weight / np.square(1 + np.square(apart / (3 * _HEIGHT_SPREAD)))
        rows = np.concatenate([feet @ basis.T, -np.ones((len(feet), 1))], 1)
        matrix, pull = rows.T @ (rows * robust[:, None]), rows.T @ (apart * robust)
        # Trunks: their part across the normal should vanish, all but for those who bend far down.
        across = trunk @ basis.T
        share = lean / np.square(1 + np.square(across).sum(-1) / 0.5) * (trunk @ up > 0)
        matrix[:2, :2] += np.eye(2) * share.sum()
        pull[:2] -= (across * share[:, None]).sum(0)
        level = basis @ np.array([0.0, -1.0, 0.0])
        matrix[:2, :2] += np.eye(2) / _CAMERA_SPREAD**2
        pull[:2] -= level / _CAMERA_SPREAD**2
        step = -np.linalg.solve(matrix, pull)
        up = up + np.clip(step[:2], -0.3, 0.3) @ basis
        up /= np.linalg.norm(up)
        height += step[2]
        information = matrix
    apart = feet @ up - height
    # Feet that lie worse on the plane than they should make all of it less sure.
    worse = max(1.0, float(np.average(np.square(apart), weights=weight)) / _HEIGHT_SPREAD**2)
    spread = np.sqrt(worse * np.linalg.eigvalsh(np.linalg.inv(information)[:2, :2])[-1])
    return Ground(
        up=up,
        camera_height=float(-height),
        up_spread_degrees=float(np.degrees(spread)),
        num_stances=len(feet),
        height_residual=float(np.sqrt(np.average(np.square(apart), weights=weight))),
    )


def in_world(body: BodyModel, params: BodyParams, ground: Ground) -> BodyParams:
    """Parameters of the same bodies in the world: z up, the floor at zero, the origin below the camera.

    Args:
        body: Of the parameters.
        params: Of people along one batch axis.
        ground: Of the camera's frame.
    """
    return move_in_pieces(body, params, ground.rotation, ground.translation)
