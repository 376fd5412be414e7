"""Where a fit starts: heading, roll and distance of a person, from the keypoints alone. One person; callers `vmap`."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from hardmo_jax.array_types import Array, Bool, Float
from hardmo_jax.fitting.evidence import Evidence
from hardmo_jax.geometry import alignment, rotations
from hardmo_jax.skeleton import layouts

_TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
#: Pairs of keypoints with a rigid bone between them, long enough to tell a distance by.
_BONES = (
    ("left_shoulder", "right_shoulder"),
    *(
        (f"{side}_{upper}", f"{side}_{lower}")
        for side in layouts.SIDES
        for upper, lower in (
            ("shoulder", "hip"), ("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist")
        )
    ),
)  # fmt: skip
#: Quantile of the distances told by the bones: a bone that points at the camera looks short and tells too much.
_DISTANCE_QUANTILE = 0.2
_DEFAULT_DISTANCE = 4.0
_LEAST_DISTANCE, _MOST_DISTANCE = 0.3, 200.0


def start_from_heading(
    rest: tuple[Float[Array, "K 3"], Float[Array, "3"]],
    evidence: Evidence,
    mean: Float[Array, "P"],
    layout: layouts.KeypointLayout,
    heading: Float[Array, ""],
) -> tuple[Float[Array, "P"], Float[Array, "3 3"]]:
    """Start from 2D keypoints and an assumed heading.

    The roll is that of the torso in the picture; the distance is what the bones tell that look longest for
    their length; the translation puts the torso onto its keypoints.

    Args:
        rest: Keypoints of the mean pose and shape in the body's own axes, relative to the root, and the root's place;
            the same for everybody, since a start only turns and moves them.
        evidence: Measurements of one person, with 2D keypoints.
        mean: Vector of the prior's mean pose and shape.
        layout: Keypoint layout.
        heading: Turn about the body's vertical axis, radians; 0 faces the camera.

    Returns:
        Start vector and start orientation.
    """
    pixels = jnp.asarray(evidence.keypoints_2d)
    weight = jnp.asarray(evidence.weight_2d)
    zero = jnp.zeros_like(heading)
    upright = rotations.axis_angle_to_matrix(jnp.stack([zero + np.pi, zero, zero]))
    turn = rotations.axis_angle_to_matrix(jnp.stack([zero, heading, zero]))
    roll = rotations.axis_angle_to_matrix(jnp.stack([zero, zero, _torso_roll(pixels, weight, layout)]))
    orient = rotations.compose(rotations.compose(roll, upright), turn)
    points = _turned(rest, orient)
    distance = _distance(points, evidence, layout)
    anchor = _anchor_weights(weight, layout)
    centre_pixels = anchor @ pixels
    ray = (centre_pixels - evidence.principal_point) / evidence.focal_length
    target = jnp.concatenate([ray, jnp.ones_like(ray[:1])]) * distance
    return mean.at[:3].add(target - anchor @ points), orient


def start_from_3d(
    rest: tuple[Float[Array, "K 3"], Float[Array, "3"]],
    evidence: Evidence,
    mean: Float[Array, "P"],
    layout: layouts.KeypointLayout,
) -> tuple[Float[Array, "P"], Float[Array, "3 3"]]:
    """Start from 3D keypoints: orientation by aligning the mean pose, torso first, to them.

    With 2D keypoints as well the distance is the one at which the 3D points project onto those; else the 3D
    points are taken to be in place. Arguments as of `start_from_heading`.
    """
    target = jnp.asarray(evidence.keypoints_3d)
    if evidence.keypoints_2d is not None:
        # Only the shape of the 3D points counts beside 2D ones: their own distance must not add to the depth.
        target = target - _mean(target, jnp.asarray(evidence.weight_3d) > 0)
    weight = jnp.square(jnp.asarray(evidence.weight_3d)) + 1e-9
    is_torso = np.isin(np.array(layout.points), _TORSO)
    weight = weight * np.where(is_torso, 10.0, 1.0)
    weight = weight / jnp.sum(weight)
    orient = alignment.best_rotation(rest[0], target, weight)
    points = _turned(rest, orient)
    offset = jnp.zeros_like(target[0])
    if evidence.keypoints_2d is not None:
        offset = _translation_by_projection(target, evidence)
    return mean.at[:3].add(weight @ target + offset - weight @ points), orient


def _turned(rest: tuple[Float[Array, "K 3"], Float[Array, "3"]], orient: Float[Array, "3 3"]) -> Float[Array, "K 3"]:
    """Keypoints of the mean pose turned about the root."""
    return jnp.matmul(rest[0], orient.T, precision=lax.Precision.HIGHEST) + rest[1]


def _named(layout: layouts.KeypointLayout, names: tuple[str, ...]) -> np.ndarray:
    return np.array([layout.points.index(name) for name in names if name in layout.points], int)


def _anchor_weights(weight: Float[Array, "K"], layout: layouts.KeypointLayout) -> Float[Array, "K"]:
    """Weights that sum to one: the torso where it was seen, every seen point else."""
    is_torso = np.isin(np.array(layout.points), _TORSO)
    seen = (weight > 0).astype(weight.dtype)
    torso = seen * is_torso
    chosen = jnp.where(jnp.sum(torso) >= 2, torso, seen)
    return chosen / jnp.maximum(jnp.sum(chosen), 1.0)


def _torso_roll(
    pixels: Float[Array, "K 2"], weight: Float[Array, "K"], layout: layouts.KeypointLayout
) -> Float[Array, ""]:
    """Turn of the torso in the picture from upright, clockwise as seen, radians; 0 if it was not seen."""
    ends = []
    for names in (_TORSO[:2], _TORSO[2:]):
        ids = _named(layout, names)
        if ids.size == 0:
            return jnp.zeros((), pixels.dtype)
        seen = (weight[ids] > 0).astype(pixels.dtype)
        ends.append((seen @ pixels[ids] / jnp.maximum(jnp.sum(seen), 1.0), jnp.sum(seen) > 0))
    (shoulders, has_shoulders), (hips, has_hips) = ends
    up = shoulders - hips
    is_seen = has_shoulders & has_hips & (jnp.sum(up * up) > 1e-6)
    x, y = jnp.where(is_seen, up[0], 0.0), jnp.where(is_seen, up[1], -1.0)
    return jnp.arctan2(x, -y)


def _distance(points: Float[Array, "K 3"], evidence: Evidence, layout: layouts.KeypointLayout) -> Float[Array, ""]:
    """Distance at which bones of these lengths look as long as measured, metres."""
    pairs = [pair for pair in _BONES if set(pair) <= set(layout.points)]
    if not pairs:
        return jnp.full((), _DEFAULT_DISTANCE, points.dtype)
    ids = np.array([_named(layout, pair) for pair in pairs])
    pixels, weight = jnp.asarray(evidence.keypoints_2d), jnp.asarray(evidence.weight_2d)
    length = jnp.linalg.norm(points[ids[:, 0]] - points[ids[:, 1]], axis=-1)
    seen_length = jnp.linalg.norm((pixels[ids[:, 0]] - pixels[ids[:, 1]]) / evidence.focal_length, axis=-1)
    is_seen = (weight[ids[:, 0]] > 0) & (weight[ids[:, 1]] > 0)
    distances = jnp.sort(jnp.where(is_seen, length / jnp.maximum(seen_length, 1e-6), jnp.inf))
    count = jnp.sum(is_seen)
    place = jnp.floor(_DISTANCE_QUANTILE * jnp.maximum(count - 1, 0)).astype(jnp.int32)
    distance = jnp.where(count > 0, distances[place], _DEFAULT_DISTANCE)
    return jnp.clip(distance, _LEAST_DISTANCE, _MOST_DISTANCE)


def _translation_by_projection(target: Float[Array, "K 3"], evidence: Evidence) -> Float[Array, "3"]:
    """Translation that puts 3D points onto their pixels, by weighted linear least squares.

    A pixel (u, v) of a point p + t asks for `p_x + t_x = u' (p_z + t_z)` with `u' = (u - c_x) / f_x`, and the
    same for y: two linear equations a point in the three unknowns of t.
    """
    rays = (jnp.asarray(evidence.keypoints_2d) - evidence.principal_point) / evidence.focal_length
    both = (jnp.asarray(evidence.weight_2d) > 0) & (jnp.asarray(evidence.weight_3d) > 0)
    weight = both.astype(target.dtype)
    one, zero = jnp.ones_like(weight), jnp.zeros_like(weight)
    rows = jnp.concatenate([jnp.stack([one, zero, -rays[:, 0]], -1), jnp.stack([zero, one, -rays[:, 1]], -1)])
    wanted = jnp.concatenate([rays[:, 0] * target[:, 2] - target[:, 0], rays[:, 1] * target[:, 2] - target[:, 1]])
    weights = jnp.concatenate([weight, weight])
    matrix = (rows * weights[:, None]).T @ rows + 1e-6 * jnp.eye(3, dtype=target.dtype)
    # Cramer's rule; a call to LAPACK would not be safe in threads (`levenberg_marquardt`).
    adjugate = jnp.stack([jnp.cross(matrix[(k + 1) % 3], matrix[(k + 2) % 3]) for k in range(3)], 1)
    solution = adjugate @ ((rows * weights[:, None]).T @ wanted) / (matrix[0] @ adjugate[:, 0])
    # Points in front of the camera have a positive depth; else nothing can be learnt from this solution.
    straight_ahead = jnp.array([0.0, 0.0, _DEFAULT_DISTANCE], target.dtype)
    is_sensible = (solution[2] > _LEAST_DISTANCE) & (solution[2] < _MOST_DISTANCE)
    return jnp.where(is_sensible, solution, straight_ahead)


def _mean(points: Float[Array, "K 3"], is_kept: Bool[Array, "K"]) -> Float[Array, "3"]:
    """Mean of the kept points; zero if there is none."""
    kept = is_kept.astype(points.dtype)[:, None]
    return jnp.sum(points * kept, 0) / jnp.maximum(jnp.sum(kept), 1.0)
