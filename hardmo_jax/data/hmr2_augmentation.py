"""How 4DHumans changes its training crops: moved, scaled, turned, mirrored, tinted, or cut down to a part of the body.

One person of one picture at a time, in NumPy; what is drawn and what is done with it are two functions, so that a
sample can be made again. Keypoints are those of the layout `hmr2_44`.
"""

import dataclasses
from typing import Literal, get_args

import numpy as np
from jaxtyping import UInt8
from scipy.spatial.transform import Rotation

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.skeleton import flips, joint_limits, layouts, regressors

LAYOUT = "hmr2_44"
#: (height and width) of the network's picture, pixels.
CROP_SIZE = 256
_IMAGENET_MEAN, _IMAGENET_STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
#: Boxes are this much larger than the keypoints that are left.
_KEYPOINT_GROWTH = 1.2
#: Boxes of a part with a side below this are not taken, pixels.
_LEAST_SIDE = 4.0

PartName = Literal[
    "hips", "shoulders", "head", "torso", "right_arm", "left_arm", "legs", "right_leg", "left_leg"
]  # fmt: skip
PART_NAMES: tuple[PartName, ...] = get_args(PartName)
#: Shares of the parts among people who are seen whole, and of whom only the upper body is seen.
WHOLE_BODY_SHARES = (0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1)
UPPER_BODY_SHARES = (0.0, 0.2, 0.2, 0.2, 0.2, 0.2, 0.0, 0.0, 0.0)
#: Growth of the box beyond that of its keypoints; of all others 1.1.
_PART_GROWTH = {"shoulders": 1.2, "head": 1.3}

_POINTS = layouts.get_layout(LAYOUT).points
_PLACES = tuple(regressors.place_of(point) for point in _POINTS)
_FLIP = np.array(flips.flip_permutation(layouts.get_layout(LAYOUT)))
_LOWER_ARM, _LOWER_LEG = ("elbow", "wrist"), ("knee", "ankle", "big_toe", "small_toe", "heel")
_ARM, _LEG = ("shoulder", *_LOWER_ARM), ("hip", *_LOWER_LEG)
_TRUNK = ("mid_hip", "hip", "pelvis", "thorax", "spine")
#: Points that show an upper body; OpenPose's shoulders are not among them in the published code.
_HIGH_POINTS = (
    "nose", "neck", "right_eye", "left_eye", "right_ear", "left_ear", "right_shoulder_lsp", "left_shoulder_lsp",
    "neck_lsp", "head_top_lsp", "jaw_h36m", "head_h36m",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hmr2AugmentationOptions:
    """What is drawn, as in the public training configuration."""

    shift: float = 0.02
    """Spread of the move, sides of the box; cut off at one spread."""
    scale: float = 0.3
    """Spread of the scale about 1; cut off at one spread."""
    rotation_degrees: float = 30.0
    """Spread of the turn; cut off at two spreads."""
    rotation_rate: float = 0.6
    """Share of people who are turned."""
    flip_rate: float = 0.5
    """Share of people who are mirrored."""
    colour: float = 0.2
    """Each channel is multiplied by up to this much more or less than 1."""
    part_rate: float = 0.1
    """Share of people who are cut down to a part."""

    def __post_init__(self) -> None:
        if not all(0 <= rate <= 1 for rate in (self.rotation_rate, self.flip_rate, self.part_rate)):
            raise ValueError(f"rates must be within [0, 1], got {self}")
        if not (self.shift >= 0 and 0 <= self.scale < 1 and self.rotation_degrees >= 0 and 0 <= self.colour <= 1):
            raise ValueError(
                f"spreads must not be negative, nor the scale 1 or more, nor the colour more than 1, got {self}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What is done to one person. The default is nothing."""

    shift: tuple[float, float] = (0.0, 0.0)
    """Move of the box, sides of it."""
    scale: float = 1.0
    """Of the box: above 1 the person becomes smaller."""
    angle: float = 0.0
    """Turn of the box in the picture, radians, from x towards y."""
    is_flipped: bool = False
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Factors of red, green and blue."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingPerson:
    """A person of a picture with labels, before or after augmentation."""

    keypoints_2d: Float[np.ndarray, "44 2"]
    """Pixels of the picture before, crop units (-0.5 to 0.5) after."""
    confidence: Float[np.ndarray, "44"]
    keypoints_3d: Float[np.ndarray, "44 3"]
    """Metres, axes of the camera."""
    confidence_3d: Float[np.ndarray, "44"]
    global_orient: Float[np.ndarray, "3"]
    """Axis-angle, axes of the camera."""
    body_pose: Float[np.ndarray, "23 3"]
    """Axis-angle of SMPL's joints after the root."""


def draw_augmentation(rng: np.random.Generator, options: Hmr2AugmentationOptions) -> Augmentation:
    """What is done to a person, by chance; parts are drawn by `draw_part`."""
    shift = np.clip(rng.normal(size=2), -1, 1) * options.shift
    scale = 1 + np.clip(rng.normal(), -1, 1) * options.scale
    degrees = np.clip(rng.normal(), -2, 2) * options.rotation_degrees
    is_turned, is_flipped = rng.random(2) < (options.rotation_rate, options.flip_rate)
    colour = rng.uniform(1 - options.colour, 1 + options.colour, 3)
    return Augmentation(
        shift=(float(shift[0]), float(shift[1])),
        scale=float(scale),
        angle=float(np.radians(degrees)) if is_turned else 0.0,
        is_flipped=bool(is_flipped),
        colour=(float(colour[0]), float(colour[1]), float(colour[2])),
    )


def draw_part(
    rng: np.random.Generator, confidence: Float[np.ndarray, "44"], options: Hmr2AugmentationOptions
) -> PartName | None:
    """Part to which a person is cut down, by chance and by what is seen; None to leave the box as it is."""
    if not rng.random() < options.part_rate:
        return None
    place = rng.random()
    if is_seen_whole(confidence):
        shares = WHOLE_BODY_SHARES
    elif is_upper_body(confidence):
        shares = UPPER_BODY_SHARES
    else:
        return None
    return PART_NAMES[min(int(np.searchsorted(np.cumsum(shares), place, side="right")), len(shares) - 1)]


def is_seen_whole(confidence: Float[np.ndarray, "44"]) -> bool:
    """Whether shoulders, elbows, wrists, knees and ankles are all seen, by whichever annotation."""
    wanted = [f"{side}_{joint}" for side in layouts.SIDES for joint in (*_ARM, "knee", "ankle")]
    seen = {place for place, value in zip(_PLACES, confidence, strict=True) if value > 0}
    return seen.issuperset(wanted)


def is_upper_body(confidence: Float[np.ndarray, "44"]) -> bool:
    """Whether no knee or ankle is seen, and at least two points from the shoulders up."""
    is_seen = np.asarray(confidence) > 0
    is_low = np.array([_kind(place) in ("knee", "ankle") for place in _PLACES])
    is_high = np.isin(_POINTS, _HIGH_POINTS)
    return not is_seen[is_low].any() and int(is_seen[is_high].sum()) >= 2


def part_points(part: PartName) -> Bool[np.ndarray, "44"]:
    """Which keypoints make the box of a part."""
    return np.array([_is_of_part(point, place, part) for point, place in zip(_POINTS, _PLACES, strict=True)])


def part_box(
    part: PartName,
    keypoints_2d: Float[np.ndarray, "44 2"],
    confidence: Float[np.ndarray, "44"],
) -> Float[np.ndarray, "4"] | None:
    """Box about a part of a person.

    Args:
        part: Which; `hips`, `shoulders` and `head` are all of the body from there up.
        keypoints_2d: Pixels.
        confidence: 0 for points that are not there.

    Returns:
        (x, y, width, height) of the middle and the sides, pixels; the crop is the square of the longer side. None
        where the confidences of the part sum to no more than 1.
    """
    kept = np.where(part_points(part), confidence, 0)
    if not kept.sum() > 1:
        return None
    points = np.asarray(keypoints_2d)[kept > 0]
    low, high = points.min(0), points.max(0)
    growth = _KEYPOINT_GROWTH * _PART_GROWTH.get(part, 1.1)
    return np.concatenate([0.5 * (low + high), growth * (high - low)])


def cut_down(
    center: Float[np.ndarray, "2"],
    size: float | int,
    part: PartName,
    keypoints_2d: Float[np.ndarray, "44 2"],
    confidence: Float[np.ndarray, "44"],
) -> tuple[Float[np.ndarray, "2"], float]:
    """Middle and side of the crop of a part; of the crop as it was where the part is not seen, or too small."""
    box = part_box(part, keypoints_2d, confidence)
    if box is None or box[2:].max() < _LEAST_SIDE:
        return np.asarray(center), float(size)
    return box[:2], float(box[2:].max())


def augmented_matrix(
    center: Float[np.ndarray, "2"],
    size: float | int,
    augmentation: Augmentation,
    *,
    width: int,
    crop_shape: tuple[int, int] = (CROP_SIZE, CROP_SIZE),
) -> Float[np.ndarray, "2 3"]:
    """Matrix from pixels of the picture (of its mirror image, if that is taken) to those of the crop.

    By the three float32 points of the published loader, which show in the last digits.

    Args:
        center: Middle of the box, pixels.
        size: Its side.
        augmentation: What is done.
        width: Of the picture, pixels.
        crop_shape: (height, width) of the crop; the size of the box is that of its height.
    """
    import cv2

    moved = np.asarray(center, np.float64) + float(size) * np.array(augmentation.shift)
    if augmentation.is_flipped:
        moved[0] = width - moved[0] - 1
    half = float(np.float32(0.5 * float(size) * augmentation.scale))
    sine, cosine = np.sin(augmentation.angle), np.cos(augmentation.angle)
    away = np.array([[0, 0], [-half * sine, half * cosine], [half * cosine, half * sine]], np.float32)
    high, wide = crop_shape
    there = 0.5 * np.array([[wide, high], [wide, 2 * high], [wide + high, high]], np.float32)
    return cv2.getAffineTransform((moved + away).astype(np.float32), there.astype(np.float32))


def augment(
    image: UInt8[np.ndarray, "rows columns 3"],
    center: Float[np.ndarray, "2"],
    size: float | int,
    person: TrainingPerson,
    augmentation: Augmentation,
    *,
    crop_shape: tuple[int, int] = (CROP_SIZE, CROP_SIZE),
    stretches_contrast: bool = False,
) -> tuple[Float[np.ndarray, "H W 3"], TrainingPerson]:
    """Crop of a person and labels that fit it.

    Args:
        image: RGB.
        center: Middle of the box, pixels; see `cut_down` for parts.
        size: Its side.
        person: Labels in pixels of the picture.
        augmentation: What is done.
        crop_shape: (height, width) of the crop, pixels.
        stretches_contrast: Whether the darkest and the brightest value of the crop become 0 and 255 before colours
            are changed, as in SPIN.

    Returns:
        Normalised float32 picture, and the labels with 2D keypoints in crop units: heights of the crop from its middle.

    Notes:
        The turn of the orientation is composed as rotations here; near half a turn the axis may point the other way
        than in the published code, which means the same.
    """
    import cv2

    width = image.shape[1]
    matrix = augmented_matrix(center, size, augmentation, width=width, crop_shape=crop_shape)
    if augmentation.is_flipped:
        image = np.ascontiguousarray(image[:, ::-1])
        person = _mirrored(person, width)
    high, wide = crop_shape
    crop = cv2.warpAffine(image, matrix, (wide, high), flags=cv2.INTER_LINEAR).astype(np.float64)
    if stretches_contrast and crop.max() > crop.min():
        crop = 255 * (crop - crop.min()) / (crop.max() - crop.min())
    crop = np.clip(crop * augmentation.colour, 0, 255) / 255
    turn = Rotation.from_rotvec([0, 0, -augmentation.angle])
    return ((crop - _IMAGENET_MEAN) / _IMAGENET_STD).astype(np.float32), dataclasses.replace(
        person,
        keypoints_2d=in_crop_units(person.keypoints_2d, matrix, crop_shape),
        keypoints_3d=person.keypoints_3d @ turn.as_matrix().T,
        global_orient=(turn * Rotation.from_rotvec(person.global_orient)).as_rotvec(),
    )


def in_crop_units(
    points: Float[np.ndarray, "K 2"], matrix: Float[np.ndarray, "2 3"], crop_shape: tuple[int, int]
) -> Float[np.ndarray, "K 2"]:
    """Pixels of the picture as heights of the crop from its middle.

    Args:
        points: Of the picture (of its mirror image, if that is taken).
        matrix: Of `augmented_matrix`.
        crop_shape: (height, width) of the crop, pixels.
    """
    high, wide = crop_shape
    homogeneous = np.concatenate([points, np.ones((len(points), 1))], -1)
    return homogeneous @ matrix.T / high - 0.5 * np.array([wide / high, 1.0])


def _mirrored(person: TrainingPerson, width: int) -> TrainingPerson:
    """Labels of the mirror image."""
    signs = np.array(joint_limits.MIRROR_SIGNS)
    joints = layouts.SMPL_JOINTS
    order = np.array([joints.index(flips.mirrored_point(joint)) for joint in joints])
    pose = np.concatenate([person.global_orient[None], person.body_pose])[order] * signs
    return TrainingPerson(
        keypoints_2d=(np.array([width - 1, 0]) + np.array([-1, 1]) * person.keypoints_2d)[_FLIP],
        confidence=person.confidence[_FLIP],
        keypoints_3d=(np.array([-1, 1, 1]) * person.keypoints_3d)[_FLIP],
        confidence_3d=person.confidence_3d[_FLIP],
        global_orient=pose[0],
        body_pose=pose[1:],
    )


def _kind(place: str) -> str:
    """Place without its side."""
    side, _, rest = place.partition("_")
    return rest if side in layouts.SIDES else place


def _is_of_part(point: str, place: str, part: PartName) -> bool:
    """Whether a keypoint counts for the box of a part."""
    kind, side, limb = _kind(place), place.partition("_")[0], part.partition("_")[2]
    if limb:
        return side == part.partition("_")[0] and kind in (_ARM if limb == "arm" else _LEG)
    if part == "legs":
        return kind in (*_LEG, "mid_hip", "pelvis")
    if part == "torso":
        return kind in ("neck", "shoulder", *_TRUNK)
    if part == "hips":
        return kind not in _LOWER_LEG
    if part == "head" and point in ("right_shoulder_lsp", "left_shoulder_lsp"):
        # The published list leaves OpenPose's shoulders in.
        return False
    return kind not in (*_LOWER_ARM, *_TRUNK, *_LOWER_LEG)
