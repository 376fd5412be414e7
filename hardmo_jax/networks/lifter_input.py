"""What the lifter sees of a person: keypoints before a camera of the person's own, in units of the person's size.

The camera is turned until it looks at the middle of the person, and its focal length is divided out. What is left of
the lens is how large the person is over the focal length, and in which direction: a wrong focal length then turns
the whole person a little and changes the distance, but not the pose.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.geometry import rotations
from hardmo_jax.geometry.cameras import MIN_DEPTH, Camera
from hardmo_jax.skeleton import layouts, regressors

#: Keypoints that the lifter reads; others are given by name (`from_layout`), and may be missing.
LAYOUT = "coco_wholebody65"
#: Numbers of each keypoint in the features: two coordinates, confidence, whether it is there.
_PER_POINT = 4
NUM_FEATURES = _PER_POINT * len(layouts.get_layout(LAYOUT)) + 3
#: Coordinates beyond this many sizes are outliers of the detector, wherever exactly they are.
_FARTHEST = 6.0
#: Points of damaged files may be anywhere: rays are kept within this tangent (89.4 degrees), whose square is finite.
_STEEPEST = 100.0
#: Sizes of people over the focal length are about 0.1, within a factor of two.
_USUAL_LOG_SIZE, _LOG_SIZE_SPREAD = -2.3, 0.5
_LEAST_SIZE = 1e-4
#: Body points below which a person has the usual size.
_LEAST_POINTS = 4
#: Sizes beyond these look like these, in spreads: from farther than training has shown, perspective hardly matters.
_SMALLEST, _LARGEST = -2.0, 1.9
_IS_BODY = np.array(
    [not (layouts.part_of(point) or "body").endswith("hand") for point in layouts.get_layout(LAYOUT).points]
)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class LifterInput:
    """Features of people, and the frame in which they were taken."""

    features: Float[AnyArray, "*batch F"]
    """Coordinates, confidences and presence of all points, then size and direction."""
    rotation: Float[AnyArray, "*batch 3 3"]
    """From the axes of the real camera to those of the one that looks at the person."""
    size: Float[AnyArray, "*batch"]
    """Root mean square distance of the keypoints from their middle, at distance one from the camera."""


def from_layout(
    keypoints_2d: Float[AnyArray, "*batch K 2"], confidence: Float[AnyArray, "*batch K"], layout: str
) -> tuple[Float[np.ndarray, "*batch 65 2"], Float[np.ndarray, "*batch 65"]]:
    """Keypoints of any layout as those that the lifter reads; the ones that it lacks have confidence zero.

    Args:
        keypoints_2d: Pixels.
        confidence: In [0, 1]; 0 where nothing was found. Points that are not numbers count as not found.
        layout: Name in `skeleton.layouts`.

    Raises:
        KeyError: If there is no such layout.
    """
    given, wanted = layouts.get_layout(layout).points, layouts.get_layout(LAYOUT).points
    keypoints_2d, confidence = np.asarray(keypoints_2d), np.asarray(confidence)
    is_number = np.isfinite(keypoints_2d).all(-1) & np.isfinite(confidence)
    # Annotators' points (`left_hip_h36m`) stand for the place that they mark, where the layout has no plain one.
    places: dict[str, int] = {}
    for index, point in [*enumerate(given), *enumerate(map(regressors.place_of, given))]:
        places.setdefault(point, index)
    columns = np.array([places.get(_same_place(point, places), -1) for point in wanted])
    points = np.where(is_number[..., None], keypoints_2d, 0)[..., columns, :]
    return points, np.where(
        (columns >= 0) & (confidence > 0)[..., columns], np.where(is_number, confidence, 0)[..., columns], 0
    )


def _same_place(point: str, given: dict[str, int]) -> str:
    """Name under which a layout has a point: some call the root of the hand wrist, and the big toe foot index."""
    if point in given:
        return point
    side, _, rest = point.partition("_")
    other = {"hand_root": "wrist", "big_toe": "foot_index", "thumb2": "thumb_knuckle", "index1": "index_knuckle",
             "pinky1": "pinky_knuckle"}.get(rest)  # fmt: skip
    return f"{side}_{other}" if other else point


def encode(
    keypoints_2d: Float[AnyArray, "*batch 65 2"], confidence: Float[AnyArray, "*batch 65"], camera: Camera
) -> LifterInput:
    """Features of people.

    Args:
        keypoints_2d: Pixels, in the layout `LAYOUT`; finite.
        confidence: In [0, 1]; 0 where nothing was found.
        camera: Of the picture; its batch axes broadcast.
    """
    confidence = jnp.asarray(confidence)
    focal_length = jnp.asarray(camera.focal_length)[..., None, :]
    middle = jnp.asarray(camera.principal_point)[..., None, :]
    # Wherever a missing point is said to be: zero times a number that overflows is none.
    seen = jnp.where(confidence[..., None] > 0, jnp.asarray(keypoints_2d), middle)
    plane = jnp.clip((seen - middle) / focal_length, -_STEEPEST, _STEEPEST)
    # Fingers are many and small: they count where there is nothing else.
    weight = confidence * jnp.where(_IS_BODY, 1.0, 1e-3)
    total = jnp.matmul(weight, jnp.ones(len(_IS_BODY)), precision=lax.Precision.HIGHEST)
    weight /= jnp.maximum(total, 1e-6)[..., None]
    centre = _weighted(weight, plane)
    rotation = looking_at(centre)
    rays = jnp.concatenate([plane, jnp.ones_like(plane[..., :1])], -1)
    turned = rotations.rotate(rotation[..., None, :, :], rays)
    plane = turned[..., :2] / jnp.maximum(turned[..., 2:], MIN_DEPTH)
    squared = plane[..., 0] ** 2 + plane[..., 1] ** 2
    size = jnp.sqrt(jnp.maximum(_weighted(weight, squared[..., None])[..., 0], _LEAST_SIZE**2))
    # One or two points have no size, and would stand for somebody kilometres away.
    count = jnp.matmul((confidence > 0) * _IS_BODY * 1.0, jnp.ones(len(_IS_BODY)), precision=lax.Precision.HIGHEST)
    size = jnp.where(count < _LEAST_POINTS, np.exp(_USUAL_LOG_SIZE).astype(size.dtype), size)
    is_there = (confidence > 0).astype(plane.dtype)
    scaled = jnp.clip(plane / size[..., None, None], -_FARTHEST, _FARTHEST) * is_there[..., None]
    per_point = jnp.concatenate([scaled, confidence[..., None], is_there[..., None]], -1)
    seen_size = jnp.clip((jnp.log(size) - _USUAL_LOG_SIZE) / _LOG_SIZE_SPREAD, _SMALLEST, _LARGEST)
    whole = jnp.stack([seen_size, centre[..., 0], centre[..., 1]], -1)
    features = jnp.concatenate([per_point.reshape(*per_point.shape[:-2], -1), whole], -1)
    return LifterInput(features=features, rotation=rotation, size=size)


def looking_at(direction: Float[Array, "*batch 2"]) -> Float[Array, "*batch 3 3"]:
    """Smallest rotation that turns the ray through (x, y, 1) to the line of sight (0, 0, 1)."""
    ray = jnp.concatenate([direction, jnp.ones_like(direction[..., :1])], -1)
    x, y, z = jnp.moveaxis(ray / jnp.linalg.norm(ray, axis=-1, keepdims=True), -1, 0)
    bend = 1 / (1 + z)
    rows = [[1 - x * x * bend, -x * y * bend, -x], [-x * y * bend, 1 - y * y * bend, -y], [x, y, z]]
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2)


def _weighted(weight: Float[Array, "*batch K"], values: Float[Array, "*batch K D"]) -> Float[Array, "*batch D"]:
    # A product, not a sum over an axis: those go wrong in jaxlib 0.10.2 (`rotations.rotate`).
    return jnp.einsum("...k,...kd->...d", weight, values, precision=lax.Precision.HIGHEST)
