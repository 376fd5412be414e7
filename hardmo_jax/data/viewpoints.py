"""Cameras at random places around people, as those who film dance and martial arts stand."""

import dataclasses
import math

import numpy as np

from hardmo_jax.array_types import Float

#: Draws of distance and lens before the camera steps back until the person fits.
_MAX_DRAWS = 40
_STEP_BACK = 1.1
#: Share of the picture that stays free around the person.
_MARGIN = 0.03
#: Nearest depth of any point, metres.
_NEAREST = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class ViewpointOptions:
    """Distribution of cameras. Angles in degrees, lengths in metres."""

    pitch_degrees: tuple[float, float] = (-15.0, 25.0)
    """Uniform; positive looks down on the person."""
    roll_spread_degrees: float = 5.0
    """Standard deviation of the turn about the line of sight."""
    distance: tuple[float, float] = (3.0, 8.0)
    """Uniform, from the middle of the person."""
    vertical_field_of_view_degrees: tuple[float, float] = (30.0, 70.0)
    """Uniform."""
    image_size: tuple[int, int] = (1280, 720)
    """Width and height in pixels."""

    def __post_init__(self) -> None:
        low, high = self.pitch_degrees
        if not -90 < low <= high < 90:
            raise ValueError(f"`pitch_degrees` must be an interval in (-90, 90), got {(low, high)}")
        if not 0 <= self.roll_spread_degrees < math.inf:
            raise ValueError(f"`roll_spread_degrees` must not be negative, got {self.roll_spread_degrees}")
        low, high = self.vertical_field_of_view_degrees
        if not 0 < low <= high < 180:
            raise ValueError(f"`vertical_field_of_view_degrees` must be an interval in (0, 180), got {(low, high)}")
        if not 0 < self.distance[0] <= self.distance[1] < math.inf:
            raise ValueError(f"`distance` must be an interval of positive lengths, got {self.distance}")
        if min(self.image_size) < 1:
            raise ValueError(f"`image_size` must be positive, got {self.image_size}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Viewpoints:
    """One camera a person: `camera_points = rotation @ world_points + translation`, OpenCV axes."""

    rotation: Float[np.ndarray, "N 3 3"]
    """World (y up) to camera (y down, z forward)."""
    translation: Float[np.ndarray, "N 3"]
    """Metres."""
    focal_length: Float[np.ndarray, "N 2"]
    """Pixels."""
    principal_point: Float[np.ndarray, "N 2"]
    """Pixels: the middle of the picture."""


def sample_viewpoints(
    rng: np.random.Generator, world_points: Float[np.ndarray, "N K 3"], options: ViewpointOptions
) -> Viewpoints:
    """Draw a camera for each person so that the whole person is in the picture.

    Yaw is uniform. Distance and field of view are drawn again where the person would be cut (a person of 1.7 m does
    not fit 30 degrees from 3 m), so near cameras with long lenses are rarer than the options say; the person stands
    anywhere in the picture, not in its middle.

    Args:
        rng: Source of all randomness.
        world_points: Points of each person that must be seen (of a clip: of all of its frames), metres, y up.
        options: Distribution.

    Returns:
        Cameras.
    """
    drawn = [_one_viewpoint(rng, points, options) for points in np.asarray(world_points, np.float64)]
    rotation, translation, focal_length = (np.stack(column) for column in zip(*drawn, strict=True))
    width, height = options.image_size
    middle = np.array([0.5 * (width - 1), 0.5 * (height - 1)])
    return Viewpoints(
        rotation=rotation,
        translation=translation,
        focal_length=np.repeat(focal_length[:, None], 2, axis=1),
        principal_point=np.tile(middle, (len(rotation), 1)),
    )


def _one_viewpoint(
    rng: np.random.Generator, points: Float[np.ndarray, "K 3"], options: ViewpointOptions
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"], float]:
    width, height = options.image_size
    yaw = rng.uniform(0, 2 * math.pi)
    pitch = math.radians(rng.uniform(*options.pitch_degrees))
    roll = math.radians(rng.normal(0, options.roll_spread_degrees))
    where = rng.uniform(-1, 1, 2)
    middle = 0.5 * (points.min(axis=0) + points.max(axis=0))
    rotation = look_rotation(yaw, pitch, roll)
    turned = (points - middle) @ rotation.T
    half = 0.5 * np.array([width, height]) * (1 - 2 * _MARGIN)
    distance, focal_length = 0.0, 1.0
    first = last = np.zeros(2)
    for draw in range(1000):
        if draw < _MAX_DRAWS:
            distance = rng.uniform(*options.distance)
            angle = math.radians(rng.uniform(*options.vertical_field_of_view_degrees))
            focal_length = 0.5 * height / math.tan(0.5 * angle)
        else:
            distance *= _STEP_BACK
        depth = turned[:, 2:] + distance
        if np.min(depth) < _NEAREST:
            continue
        # How far the camera may slide sideways with every point in the picture: an interval, empty if none fits.
        first = np.max(-half * depth / focal_length - turned[:, :2], axis=0)
        last = np.min(half * depth / focal_length - turned[:, :2], axis=0)
        if np.all(first < last):
            break
    shift = np.array([*(0.5 * (first + last) + 0.5 * where * (last - first)), distance])
    return rotation, shift - rotation @ middle, focal_length


def sample_viewpoints_at_once(
    rng: np.random.Generator, world_points: Float[np.ndarray, "N K 3"], options: ViewpointOptions
) -> Viewpoints:
    """The distribution of `sample_viewpoints` for very many people, by other draws.

    Args:
        rng: Source of all randomness.
        world_points: Points of each person that must be seen, metres, y up.
        options: Distribution.

    Returns:
        Cameras.
    """
    world_points = np.asarray(world_points, np.float64)
    count = len(world_points)
    width, height = options.image_size
    yaw = rng.uniform(0, 2 * np.pi, count)
    pitch = np.radians(rng.uniform(*options.pitch_degrees, count))
    roll = np.radians(rng.normal(0, options.roll_spread_degrees, count))
    where = rng.uniform(-1, 1, (count, 2))
    middle = 0.5 * (world_points.min(axis=1) + world_points.max(axis=1))
    rotation = _look_rotations(yaw, pitch, roll)
    turned = np.einsum("nij,nkj->nki", rotation, world_points - middle[:, None])
    half = 0.5 * np.array([width, height]) * (1 - 2 * _MARGIN)
    distance, focal_length = np.zeros(count), np.ones(count)
    first, last = np.zeros((count, 2)), np.zeros((count, 2))
    left = np.arange(count)
    for draw in range(1000):
        if draw < _MAX_DRAWS:
            distance[left] = rng.uniform(*options.distance, len(left))
            angle = np.radians(rng.uniform(*options.vertical_field_of_view_degrees, len(left)))
            focal_length[left] = 0.5 * height / np.tan(0.5 * angle)
        else:
            distance[left] *= _STEP_BACK
        depth = turned[left, :, 2:] + distance[left, None, None]
        reach = half * depth / focal_length[left, None, None]
        first[left] = np.max(-reach - turned[left, :, :2], axis=1)
        last[left] = np.min(reach - turned[left, :, :2], axis=1)
        is_seen = (depth[..., 0].min(axis=1) >= _NEAREST) & np.all(first[left] < last[left], axis=1)
        left = left[~is_seen]
        if not len(left):
            break
    shift = np.concatenate([0.5 * (first + last) + 0.5 * where * (last - first), distance[:, None]], axis=1)
    return Viewpoints(
        rotation=rotation,
        translation=shift - np.einsum("nij,nj->ni", rotation, middle),
        focal_length=np.repeat(focal_length[:, None], 2, axis=1),
        principal_point=np.tile([0.5 * (width - 1), 0.5 * (height - 1)], (count, 1)),
    )


def _look_rotations(
    yaw: Float[np.ndarray, "N"], pitch: Float[np.ndarray, "N"], roll: Float[np.ndarray, "N"]
) -> Float[np.ndarray, "N 3 3"]:
    """`look_rotation` of many cameras."""
    sight = np.stack([-np.sin(yaw) * np.cos(pitch), -np.sin(pitch), -np.cos(yaw) * np.cos(pitch)], -1)
    right = np.cross(sight, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right, axis=-1, keepdims=True)
    level = np.stack([right, np.cross(sight, right), sight], -2)
    turn = np.zeros((len(yaw), 3, 3))
    turn[:, 0, 0] = turn[:, 1, 1] = np.cos(roll)
    turn[:, 1, 0] = np.sin(roll)
    turn[:, 0, 1] = -turn[:, 1, 0]
    turn[:, 2, 2] = 1
    return turn @ level


def look_rotation(yaw: float, pitch: float, roll: float) -> Float[np.ndarray, "3 3"]:
    """World (y up) to an OpenCV camera that looks at the origin.

    Args:
        yaw: Place of the camera around the person, radians; 0 sees a person at rest from the front.
        pitch: How far the camera looks down, radians.
        roll: Turn of the camera about its line of sight, radians.

    Returns:
        Rotation whose rows are the camera's right, down and forward in the world.
    """
    sight = np.array(
        [-math.sin(yaw) * math.cos(pitch), -math.sin(pitch), -math.cos(yaw) * math.cos(pitch)]
    )  # from the camera to the person
    right = np.cross(sight, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    level = np.stack([right, np.cross(sight, right), sight])
    turn = np.array([[math.cos(roll), -math.sin(roll), 0.0], [math.sin(roll), math.cos(roll), 0.0], [0.0, 0.0, 1.0]])
    return turn @ level
