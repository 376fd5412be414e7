"""The label of one person in one frame: as a typed row, and as a Parquet column schema.

Axes are those of an OpenCV camera (x right, y down, z forward), metres, radians and pixels of the full
image, the centre of the top-left pixel at (0, 0). Rotations are axis-angle. The schema names the unit of
each column in its metadata. Rows are checked when they become a table and again when they come back, so a
wrong label cannot pass silently. Files are the business of `store`.
"""

import dataclasses
import datetime
import difflib
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Real

from hardmo_jax.skeleton import layouts

#: Version of the columns and their meaning; grows when a reader of the former version would misread a file.
FORMAT_VERSION = 1
#: Key of the version in the metadata of the schema.
FORMAT_KEY = b"hardmo_jax.format_version"

NUM_KEYPOINTS = 67
NUM_BETAS = 10
#: Body joints that SMPL and SMPL-H share, without the root.
NUM_BODY_JOINTS = 21
NUM_HAND_JOINTS = 15

#: Outcomes of a fit, best first.
STATUSES = ("CONVERGED", "MAX_STEPS", "NO_BETTER", "FILLED", "DIVERGED", "NONFINITE", "NO_EVIDENCE")
#: Outcomes whose pose may be not finite and is not to be used.
FAILED_STATUSES = ("DIVERGED", "NONFINITE", "NO_EVIDENCE")
#: What a part of a person rests on.
EVIDENCES = ("seen", "carried", "unseen")
#: Why a foot or hand is thought wrong: what speaks loudest against it. Of `unrepairable` ones too little was seen to
#: say anything.
PART_REASONS = ("none", "points_elsewhere", "turned_otherwise", "unlike_the_rest", "unusual_pose", "unrepairable")
#: What became of a foot or hand that was looked at for repair. `outvoted`: frames around it say that it is right;
#: `strays`: what it was solved to is far from what the frames around it were.
PART_OUTCOMES = ("refined", "right", "unrepairable", "no_better", "outvoted", "strays")
#: Why a person may be seen too badly for a label; see `perception.quality`.
QUALITY_REASONS = ("small", "blurred", "truncated", "occluded", "few_points")
#: Numbers that these follow from.
QUALITY_MEASURES = ("height_pixels", "sharpness", "truncated_share", "occluded_share", "num_points")
ORIGINS = ("machine", "human")
REVIEWS = ("none", "accepted", "rejected")
#: What a person says of one part.
PART_REVIEWS = ("right", "wrong")
GENDERS = ("neutral", "female", "male", "unknown")

_CHOICES = {"status": STATUSES, "origin": ORIGINS, "review": REVIEWS, "gender": GENDERS}
_INT32 = 2**31 - 1
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LABEL_ID = re.compile(r"[0-9a-f]{32}")


class LabelError(ValueError):
    """A label says something impossible; the message names the label, the field and what was found."""


def make_label_id(source_path: str, source_sha256: str, frame_index: int, track_id: int) -> str:
    """Name of a label that stays the same when its folder moves and when it is made again.

    Args:
        source_path: Path of the photo or video as the label holds it: relative to what was labelled, so that
            equal photos in two places have two labels.
        source_sha256: SHA-256 of the file's content.
        frame_index: Frame inside the file.
        track_id: Person inside the file.

    Returns:
        32 hexadecimal digits.
    """
    place = source_path.replace("\\", "/")
    key = "\0".join((place, source_sha256, str(frame_index), str(track_id)))
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _frozen_array(value: Any, shape: tuple[int, ...], name: str) -> np.ndarray:
    array = np.array(value, np.float32)
    if array.size != math.prod(shape):
        raise LabelError(f"`{name}` must hold {math.prod(shape)} numbers, shape {shape}, got {array.shape}")
    array = array.reshape(shape)
    array.flags.writeable = False
    return array


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        return first.shape == second.shape and np.array_equal(first, second, equal_nan=True)
    if isinstance(first, Hypothesis) and isinstance(second, Hypothesis):
        return first.same_as(second)
    if isinstance(first, tuple) and isinstance(second, tuple):
        return len(first) == len(second) and all(map(_same, first, second))
    return type(first) is type(second) and first == second


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Hypothesis:
    """Another pose that the picture allows."""

    name: str
    """Where it comes from, such as `lifter_2`."""
    weight: float
    """How probable it is, in [0, 1]."""
    error: float | None = None
    """Its body error as a fraction of the box; None without evidence."""
    global_orient: Real[Any, "3"]
    """Root rotation, axis-angle."""
    body_pose: Real[Any, "21 3"] | Real[Any, "63"]
    """Joint rotations, axis-angle."""
    transl: Real[Any, "3"]
    """Translation in the camera frame, metres."""
    left_hand_pose: Real[Any, "15 3"] | Real[Any, "45"] | None = None
    """Finger rotations, axis-angle."""
    right_hand_pose: Real[Any, "15 3"] | Real[Any, "45"] | None = None
    """Finger rotations, axis-angle."""

    def __post_init__(self) -> None:
        _coerce(self, _HYPOTHESIS_SHAPES)

    def same_as(self, other: "Hypothesis") -> bool:
        """Whether every field is exactly equal."""
        return all(_same(getattr(self, field.name), getattr(other, field.name)) for field in dataclasses.fields(self))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LabelRow:
    """One person in one frame.

    Arrays of any kind are copied to read-only float32 NumPy arrays of the first shape that is named.
    """

    source_path: str
    """Photo or video, preferably relative to the input folder, so that no home folder is published."""
    source_sha256: str
    """SHA-256 of its content."""
    frame_index: int
    """Frame inside the file, from 0."""
    time_seconds: float | None = None
    """Time since the first frame; None for photos."""
    fps: float | None = None
    """Frames per second of the video by the usual time from a frame to the next, as it was fitted; None for photos."""
    image_width: int
    """Pixels."""
    image_height: int
    """Pixels."""
    bbox: Real[Any, "4"]
    """Person box (x_min, y_min, x_max, y_max) in pixels; may reach beyond the picture."""
    track_id: int
    """Person inside the file, from 0."""
    category: str | None = None
    """Kind of motion, such as a dance style."""
    licence: str | None = None
    """Licence of the source."""
    person_score: float | None = None
    """Score of the detector in [0, 1]."""
    keypoint_layout: str = "openpose67"
    """Layout in `skeleton.layouts`, of 67 points."""
    keypoint_source: str
    """What measured the keypoints."""
    keypoints_2d: Real[Any, "67 2"] | Real[Any, "134"]
    """Pixels; (0, 0) where absent."""
    keypoint_confidence: Real[Any, "67"]
    """In [0, 1]; 0 means absent."""
    keypoints_3d: Real[Any, "67 3"] | Real[Any, "201"] | None = None
    """Points of the fitted body in the camera frame, metres; NaN where the body has no such point."""
    body_model: str
    """Name of the body, such as `open_body_smplh`."""
    body_model_sha256: str
    """SHA-256 of its file."""
    gender: str = "unknown"
    """Variant of the body, as far as its file tells."""
    betas: Real[Any, "10"]
    """Shape coefficients, standard deviations."""
    global_orient: Real[Any, "3"]
    """Root rotation, axis-angle."""
    body_pose: Real[Any, "21 3"] | Real[Any, "63"]
    """Rotations of the 21 joints that SMPL and SMPL-H share, axis-angle."""
    left_hand_pose: Real[Any, "15 3"] | Real[Any, "45"] | None = None
    """Finger rotations in MANO order, axis-angle; None for bodies without fingers."""
    right_hand_pose: Real[Any, "15 3"] | Real[Any, "45"] | None = None
    """Finger rotations in MANO order, axis-angle; None for bodies without fingers."""
    smpl_hand_pose: Real[Any, "2 3"] | Real[Any, "6"] | None = None
    """Rotations of SMPL's joints 22 and 23, axis-angle; None for other bodies."""
    transl: Real[Any, "3"]
    """Translation in the camera frame, metres."""
    focal_length: Real[Any, "2"]
    """(fx, fy) in pixels."""
    principal_point: Real[Any, "2"]
    """(cx, cy) in pixels."""
    camera_source: str
    """Where the camera comes from: `exif`, `field_of_view`, `diagonal`, `solved`, or a word of another tool's."""
    vertical_field_of_view_degrees: float | None = None
    """Angle that this camera sees from the top of the picture to its bottom; None in labels older than this column."""
    status: str
    """Outcome of the fit, one of `STATUSES`."""
    error_by_part: Mapping[str, float | None]
    """Median 2D error of each part's confident keypoints as a fraction of the longer box side; None without any."""
    score_by_part: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    """Share of each part's confident keypoints that the fit meets within 5 % of the box; None without any."""
    evidence_by_part: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    """What each part rests on, one of `EVIDENCES`; None in labels older than this column."""
    spread_by_part: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    """Expected distance of each part from where it is, metres: of a foot or hand from its joint, of the body from the
    pelvis."""
    wrong_by_part: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    """Probability that each foot or hand is wrong; None where nothing of it was seen, and of the body."""
    reason_by_part: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    """What speaks loudest against each foot or hand, one of `PART_REASONS`; None where it was not scored."""
    direction_error_by_part: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    """Angle in the picture between seen and labelled direction (heel to toes, wrist to middle knuckle), degrees."""
    turn_by_part: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    """From the ankle or wrist to what solving the part anew gives, degrees."""
    disagreement_by_part: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    """From the ankle or wrist to that of the person recovered anew from the keypoints alone, degrees."""
    cost_drop_by_part: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    """By how much solving the part anew lowers its cost, nats."""
    implausibility_by_part: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    """Negative logarithm of the prior's density over its pose, 0 at its maximum, nats."""
    inconsistency_by_part: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    """In a video, from the ankle or wrist to the rotation halfway between those of the frames around, degrees."""
    refit_error_by_part: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    """Weighted mean 2D error of the part solved anew, as a fraction of the longer side of the box of its keypoints."""
    outcome_by_part: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    """What became of each foot or hand that was looked at for repair, one of `PART_OUTCOMES`."""
    quality_reasons: tuple[str, ...] | None = None
    """Why the person may be seen too badly, of `QUALITY_REASONS`; empty where nothing speaks against it, None where
    nobody was seen and in labels older than this column."""
    quality: Mapping[str, float | None] = dataclasses.field(default_factory=dict)
    """What `QUALITY_REASONS` follow from, of `QUALITY_MEASURES`: longer side of the box in pixels; sharpness, one over
    pixels of the box shrunk to 256; shares of the body cut by the edge and covered; trusted points of 17."""
    world_global_orient: Real[Any, "3"] | None = None
    """Root rotation in the world, axis-angle: z up, the floor at 0, the camera above the origin; None where no floor
    was found."""
    world_transl: Real[Any, "3"] | None = None
    """Translation in the world, metres."""
    hypotheses: tuple[Hypothesis, ...] | None = None
    """Other poses that the picture allows."""
    label_version: int = 1
    """Grows with each replacement."""
    parent_version: int | None = None
    """Version that this one replaced."""
    origin: str = "machine"
    """`machine` or `human`: who made the pose. A person's stays `human` when a machine repairs a part of it that the
    person called wrong (`outcome_by_part` says refined), and whose points a person took away stays a machine's."""
    review: str = "none"
    """`none`, `accepted` or `rejected` by a person."""
    review_by_part: Mapping[str, str | None] = dataclasses.field(default_factory=dict)
    """What a person says of each foot or hand of this version, one of `PART_REVIEWS`; None where nobody did."""
    placed_points: tuple[str, ...] | None = None
    """Keypoints that a person placed on the picture, by their names in the layout; none, and not None, where a person
    took some away and placed none; None in versions of machines that nobody's points are in."""
    placed_points_3d: tuple[str, ...] | None = None
    """Keypoints that a person placed in space: where the body has them (`keypoints_3d`) is where they are."""
    code_version: str | None = None
    """Version of this package, and its commit where known."""
    config_sha256: str | None = None
    """Digest of the configuration that made the label; `run.json` beside it holds the text."""
    label_id: str = ""
    """Stable name, see `make_label_id`; filled in if empty."""
    created_utc: datetime.datetime = dataclasses.field(default_factory=_now)
    """When the label was made."""

    def __post_init__(self) -> None:
        _coerce(self, _ROW_SHAPES)
        for name in _PREFIXES:
            object.__setattr__(self, name, _complete_keys(getattr(self, name), name))
        if self.quality_reasons is not None:
            object.__setattr__(self, "quality_reasons", tuple(self.quality_reasons))
        for name in ("placed_points", "placed_points_3d"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, tuple(getattr(self, name)))
        if self.person_score is not None:
            object.__setattr__(self, "person_score", float(np.float32(self.person_score)))
        if self.hypotheses is not None:
            object.__setattr__(self, "hypotheses", tuple(self.hypotheses))
        if self.created_utc.tzinfo is None:
            raise LabelError("`created_utc` needs a time zone; use datetime.now(timezone.utc)")
        object.__setattr__(self, "created_utc", self.created_utc.astimezone(datetime.UTC))
        if not self.label_id:
            name = make_label_id(self.source_path, self.source_sha256, self.frame_index, self.track_id)
            object.__setattr__(self, "label_id", name)

    @property
    def is_usable(self) -> bool:
        """Whether the fit gave a pose at all."""
        return self.status not in FAILED_STATUSES

    @property
    def has_a_persons_word(self) -> bool:
        """Whether a person made, accepted or rejected it: machines neither find nor repair anything in it, but parts
        that the person called wrong in what was not rejected."""
        return self.origin == "human" or self.review != "none"

    @property
    def was_looked_at(self) -> bool:
        """Whether a person said anything of it, of one of its parts or of its points."""
        has_a_word = any(word is not None for word in self.review_by_part.values())
        return self.has_a_persons_word or has_a_word or self.placed_points is not None

    @property
    def belongs_to_a_person(self) -> bool:
        """Whether a person made or accepted it: no machine touches it, but for parts that the person called wrong."""
        return self.origin == "human" or self.review == "accepted"

    def probability_wrong(self, part: str) -> float | None:
        """How probably a part is wrong: 0 or 1 where a person said so, else as a machine says; None if nobody did."""
        word = self.review_by_part[part]
        return self.wrong_by_part[part] if word is None else float(word == "wrong")

    def same_as(self, other: "LabelRow") -> bool:
        """Whether every field is exactly equal (NaN equals NaN)."""
        return all(_same(getattr(self, field.name), getattr(other, field.name)) for field in dataclasses.fields(self))

    def validate(self) -> None:
        """Check what can be checked without the picture.

        Raises:
            LabelError: If a number is not finite (a failed fit may have such a pose), a confidence or score
                lies outside [0, 1], a size or focal length is not positive, or a word is not known.
        """
        problem = next(_problems(self), None)
        if problem is not None:
            raise LabelError(f"label {self.label_id} (frame {self.frame_index}, track {self.track_id}): {problem}")


def _coerce(row: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
    for field in dataclasses.fields(row):
        value = getattr(row, field.name)
        if field.name in shapes and value is not None:
            object.__setattr__(row, field.name, _frozen_array(value, shapes[field.name], field.name))
        elif isinstance(value, np.generic):
            object.__setattr__(row, field.name, value.item())
    for name in ("weight", "error"):
        if getattr(row, name, None) is not None:
            object.__setattr__(row, name, float(np.float32(getattr(row, name))))


def _keys_of(name: str) -> tuple[str, ...]:
    """What a mapping holds a value for: each key is a column."""
    return QUALITY_MEASURES if name == "quality" else layouts.PARTS


def _complete_keys(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    keys = _keys_of(name)
    for key in values:
        if key not in keys:
            near = difflib.get_close_matches(key, keys, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(keys)}"
            kind = "measure" if name == "quality" else "part"
            raise LabelError(f"`{name}` names the unknown {kind} {key!r}; {hint}")
    given = {key: values.get(key) for key in keys}
    if name in _PART_WORDS:
        return given
    return {key: None if value is None else float(np.float32(value)) for key, value in given.items()}


def _problems(row: LabelRow) -> Any:
    """Everything wrong with a row, worst first."""
    for name, choices in _CHOICES.items():
        if getattr(row, name) not in choices:
            yield f"`{name}` must be one of {', '.join(choices)}, got {getattr(row, name)!r}"
    for name in ("source_sha256", "body_model_sha256"):
        if not _SHA256.fullmatch(getattr(row, name)):
            yield f"`{name}` must be 64 lower-case hexadecimal digits, got {getattr(row, name)!r}"
    for name in _TEXTS:
        value = getattr(row, name)
        if value is not None and not _is_plain_text(value):
            yield f"`{name}` must be text that UTF-8 can hold, got {value!r}"
    if not _LABEL_ID.fullmatch(row.label_id):
        yield f"`label_id` must be 32 hexadecimal digits as `make_label_id` gives, got {row.label_id!r}"
    for name in ("source_path", "body_model", "keypoint_source", "camera_source"):
        if not getattr(row, name):
            yield f"`{name}` is empty"
    for name, least in _LEAST_INTEGERS.items():
        value = getattr(row, name)
        if value is None and name == "parent_version":
            continue
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _INT32:
            yield f"`{name}` must be a whole number from {least}, got {value!r}"
    if row.parent_version is not None and row.parent_version >= row.label_version:
        yield f"`parent_version` {row.parent_version} must be below `label_version` {row.label_version}"
    yield from _number_problems(row)
    yield from _keypoint_problems(row)
    for hypothesis in row.hypotheses or ():
        if not _in_unit(hypothesis.weight):
            yield f"hypothesis {hypothesis.name!r}: `weight` must be in [0, 1], got {hypothesis.weight}"
        if hypothesis.error is not None and not (math.isfinite(hypothesis.error) and hypothesis.error >= 0):
            yield f"hypothesis {hypothesis.name!r}: `error` must be finite and >= 0, got {hypothesis.error}"
        for name in _HYPOTHESIS_SHAPES:
            value = getattr(hypothesis, name)
            if value is None:
                continue
            if not np.isfinite(value).all():
                yield f"hypothesis {hypothesis.name!r}: `{name}` is not finite"
            elif name in _ROTATIONS and np.abs(value).max() > _MOST_TURN:
                yield f"hypothesis {hypothesis.name!r}: `{name}` must be axis-angle of up to {_MOST_TURN:g} radians"


def _number_problems(row: LabelRow) -> Any:
    for name in _ROW_SHAPES:
        value = getattr(row, name)
        may_fail = (name in _FITTED and not row.is_usable) or name == "keypoints_3d"
        if value is None or may_fail:
            continue
        most = _MOST_TURN if name in _ROTATIONS else _MOST_FLOAT
        # False of what is not finite, too.
        if not (np.abs(value) <= most).all():
            if not np.isfinite(value).all():
                yield f"`{name}` is not finite although the status is {row.status}"
            else:
                yield f"`{name}` must be axis-angle of up to {most:g} radians, got {np.abs(value).max():g}"
    if row.fps is not None and not (math.isfinite(row.fps) and row.fps > 0):
        yield f"`fps` must be positive, got {row.fps}"
    if row.time_seconds is not None and not (math.isfinite(row.time_seconds) and row.time_seconds >= 0):
        yield f"`time_seconds` must be finite and not negative, got {row.time_seconds}"
    angle = row.vertical_field_of_view_degrees
    if angle is not None and not 0 < angle < 180:
        yield f"`vertical_field_of_view_degrees` must be in (0, 180), got {angle}"
    if row.person_score is not None and not _in_unit(row.person_score):
        yield f"`person_score` must be in [0, 1], got {row.person_score}"
    if not (row.focal_length > 0).all():
        yield f"`focal_length` must be positive, got {row.focal_length.tolist()}"
    if (row.bbox[2:] < row.bbox[:2]).any():
        yield f"`bbox` must be (x_min, y_min, x_max, y_max), got {row.bbox.tolist()}"
    for part, error in row.error_by_part.items():
        if error is not None and not (math.isfinite(error) and error >= 0):
            yield f"error of {part} must be finite and not negative, or None, got {error}"
    for part, spread in row.spread_by_part.items():
        if spread is not None and not (math.isfinite(spread) and spread > 0):
            yield f"spread of {part} must be finite and positive, or None, got {spread}"
    for name, words in _PART_WORDS.items():
        for part, word in getattr(row, name).items():
            if word is not None and word not in words:
                yield f"`{name}` of {part} must be one of {', '.join(words)}, or None, got {word!r}"
    for part, probability in row.wrong_by_part.items():
        if probability is not None and not _in_unit(probability):
            yield f"`wrong_by_part` of {part} must be in [0, 1], or None, got {probability}"
    for name in _PART_MEASURES:
        for part, value in getattr(row, name).items():
            if value is not None and not (math.isfinite(value) and value >= 0):
                yield f"`{name}` of {part} must be finite and not negative, or None, got {value}"
    for measure, value in row.quality.items():
        if value is not None and not (math.isfinite(value) and value >= 0):
            yield f"`quality` {measure} must be finite and not negative, or None, got {value}"
    for reason in row.quality_reasons or ():
        if reason not in QUALITY_REASONS:
            yield f"`quality_reasons` must be of {', '.join(QUALITY_REASONS)}, got {reason!r}"
    for part, score in row.score_by_part.items():
        if score is not None and not math.isfinite(score):
            yield f"score of {part} must be finite or None, got {score}"


def _keypoint_problems(row: LabelRow) -> Any:
    if row.keypoint_layout not in layouts.LAYOUTS:
        yield f"`keypoint_layout` {row.keypoint_layout!r} is not known"
    elif len(layouts.get_layout(row.keypoint_layout)) != NUM_KEYPOINTS:
        yield f"`keypoint_layout` {row.keypoint_layout!r} does not have {NUM_KEYPOINTS} points; convert it first"
    else:
        points = layouts.get_layout(row.keypoint_layout).points
        for field in ("placed_points", "placed_points_3d"):
            for name in getattr(row, field) or ():
                if name not in points:
                    yield f"`{field}` names {name!r}, which is no point of {row.keypoint_layout}"
    confidence = row.keypoint_confidence
    if (confidence < 0).any() or (confidence > 1).any():
        yield f"`keypoint_confidence` must be in [0, 1], got {confidence.min():g} to {confidence.max():g}"


def _in_unit(value: float) -> bool:
    return 0 <= value <= 1


def _is_plain_text(value: Any) -> bool:
    if not isinstance(value, str) or "\0" in value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


# Columns -------------------------------------------------------------------------------------------------

_ROW_SHAPES: dict[str, tuple[int, ...]] = {
    "bbox": (4,),
    "keypoints_2d": (NUM_KEYPOINTS, 2),
    "keypoint_confidence": (NUM_KEYPOINTS,),
    "keypoints_3d": (NUM_KEYPOINTS, 3),
    "betas": (NUM_BETAS,),
    "global_orient": (3,),
    "body_pose": (NUM_BODY_JOINTS, 3),
    "left_hand_pose": (NUM_HAND_JOINTS, 3),
    "right_hand_pose": (NUM_HAND_JOINTS, 3),
    "smpl_hand_pose": (2, 3),
    "transl": (3,),
    "world_global_orient": (3,),
    "world_transl": (3,),
    "focal_length": (2,),
    "principal_point": (2,),
}
#: Axis-angle of more turns than any fit makes: single precision leaves of it no rotation to speak of.
_MOST_TURN = 1000.0
_MOST_FLOAT = float(np.finfo(np.float32).max)
_ROTATIONS = frozenset(
    {
        "global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "smpl_hand_pose", "world_global_orient",
    }
)  # fmt: skip
_HYPOTHESIS_SHAPES = {
    name: _ROW_SHAPES[name] for name in ("global_orient", "body_pose", "transl", "left_hand_pose", "right_hand_pose")
}
#: What the fit gives, as opposed to what it was given.
_FITTED = (
    "keypoints_3d", "betas", "global_orient", "body_pose", "left_hand_pose", "right_hand_pose",
    "smpl_hand_pose", "transl", "world_global_orient", "world_transl",
)  # fmt: skip
_UNITS = {
    "time_seconds": "s", "fps": "1/s", "image_width": "px", "image_height": "px", "bbox": "px",
    "keypoints_2d": "px", "keypoints_3d": "m", "betas": "standard deviations", "global_orient": "rad",
    "body_pose": "rad", "left_hand_pose": "rad", "right_hand_pose": "rad", "smpl_hand_pose": "rad",
    "transl": "m", "focal_length": "px", "principal_point": "px", "created_utc": "UTC",
    "world_global_orient": "rad", "world_transl": "m", "spread_by_part": "m",
    "error_by_part": "fraction of the box", "score_by_part": "fraction of the keypoints",
    "vertical_field_of_view_degrees": "degrees", "wrong_by_part": "probability",
    "direction_error_by_part": "degrees", "turn_by_part": "degrees", "disagreement_by_part": "degrees",
    "cost_drop_by_part": "nats", "implausibility_by_part": "nats", "inconsistency_by_part": "degrees",
    "refit_error_by_part": "fraction of the box",
}  # fmt: skip
_MEASURE_UNITS = {
    "height_pixels": "px", "sharpness": "1/px of the box shrunk to 256 px", "truncated_share": "fraction of the body",
    "occluded_share": "fraction of the body", "num_points": "keypoints",
}  # fmt: skip
#: What a reader of the file must know and a unit does not tell.
_DESCRIPTIONS = {
    "bbox": "x_min, y_min, x_max, y_max",
    "keypoints_2d": "measured points, x right, y down, top-left pixel centre at (0, 0); names in the metadata",
    "keypoint_confidence": "0 absent, 0.5 and more trusted",
    "keypoints_3d": "points of the fitted body, same names as keypoints_2d; NaN where the body has no such point",
    "global_orient": "axis-angle of joint 0; about (pi, 0, 0) for a person who faces the camera, where +pi equals -pi",
    "body_pose": "axis-angle of the 21 joints that SMPL and SMPL-H share, parent-relative; names in the metadata",
    "left_hand_pose": "axis-angle of 15 finger joints in MANO's order; null for bodies without fingers",
    "right_hand_pose": "axis-angle of 15 finger joints in MANO's order; null for bodies without fingers",
    "smpl_hand_pose": "axis-angle of SMPL's joints 22 and 23; null for other bodies",
    "transl": "added after posing; the pelvis is at transl plus its place in the rest pose",
    "person_score": "the detector's score",
    "camera_source": "exif; field_of_view: given; solved: from people of a clip; diagonal: assumed focal length",
    "vertical_field_of_view_degrees": "of the whole picture, by focal_length and image_height",
    "track_id": "person within a video; in photos the number from left to right",
    "status": "CONVERGED, MAX_STEPS and NO_BETTER are usable, and FILLED, which nobody saw; DIVERGED, NONFINITE and "
    "NO_EVIDENCE are not",
    "error_by_part": "median distance of the part's confident keypoints over the longer side of bbox",
    "evidence_by_part": "seen: enough confident keypoints; carried: from frames around it; unseen: told by the rest",
    "spread_by_part": "expected (root mean square) distance from the truth of a foot from its ankle, a hand from its "
    "wrist, the body from its pelvis",
    "quality_reasons": "why the person may be seen too badly, by the quality columns and the options in run.json; null "
    "where nobody was seen",
    "quality": "longer side of bbox; one over the blur; shares of 15 places of the body; trusted keypoints of 17",
    "world_global_orient": "as global_orient, in the frame of the world; null where no floor was found",
    "world_transl": "as transl, in the frame of the world: z up, the floor at 0, the camera above the origin",
    "score_by_part": "share of the part's confident keypoints within 5 % of the longer side of bbox",
    "wrong_by_part": "that the foot or hand is wrong; calibrated on labels of which a fifth had a wrong ankle or wrist",
    "reason_by_part": "what speaks loudest against it; unrepairable: too little was seen of it",
    "direction_error_by_part": "between seen and labelled direction in the picture, heel to toes or wrist to knuckle",
    "turn_by_part": "from its ankle or wrist to what solving it anew gives",
    "disagreement_by_part": "from its ankle or wrist to that of the person recovered anew from these keypoints",
    "cost_drop_by_part": "by how much solving it anew lowers its cost",
    "implausibility_by_part": "negative logarithm of the prior's density over its pose, 0 at the maximum",
    "inconsistency_by_part": "from its ankle or wrist to the rotation halfway between the frames around",
    "refit_error_by_part": "weighted mean distance of its points, solved anew, over the longer side of their box",
    "outcome_by_part": "refined: replaced in this version; right; unrepairable; no_better: solving anew was not; "
    "outvoted: right by the frames around; strays: solved far from the frames around; null: not looked at",
    "review_by_part": "what a person says of the part in this version: right or wrong; null: nothing",
    "placed_points": "keypoints that a person placed on the picture; null in versions that machines made",
    "placed_points_3d": "keypoints that a person placed in space: at their keypoints_3d; null in versions of machines",
}
_NULLABLE = (
    "time_seconds", "fps", "category", "licence", "person_score", "keypoints_3d", "left_hand_pose",
    "right_hand_pose", "smpl_hand_pose", "hypotheses", "parent_version", "code_version", "config_sha256",
    "vertical_field_of_view_degrees", "quality_reasons", "world_global_orient", "world_transl",
    "placed_points", "placed_points_3d",
)  # fmt: skip
_LISTS_OF_WORDS = ("quality_reasons", "placed_points", "placed_points_3d")
_LEAST_INTEGERS = {
    "frame_index": 0, "image_width": 1, "image_height": 1, "track_id": 0, "label_version": 1,
    "parent_version": 1,
}  # fmt: skip
_TEXTS = (
    "source_path", "source_sha256", "category", "licence", "keypoint_layout", "keypoint_source",
    "body_model", "body_model_sha256", "gender", "camera_source", "status", "origin", "review", "code_version",
    "config_sha256", "label_id",
)  # fmt: skip
_FLOATS = {
    "time_seconds": pa.float64(), "fps": pa.float64(), "person_score": pa.float32(),
    "vertical_field_of_view_degrees": pa.float64(),
}  # fmt: skip
_PREFIXES = {
    "error_by_part": "error_",
    "score_by_part": "score_",
    "evidence_by_part": "evidence_",
    "spread_by_part": "spread_",
    "wrong_by_part": "wrong_",
    "reason_by_part": "reason_",
    "direction_error_by_part": "direction_error_",
    "turn_by_part": "turn_",
    "disagreement_by_part": "disagreement_",
    "cost_drop_by_part": "cost_drop_",
    "implausibility_by_part": "implausibility_",
    "inconsistency_by_part": "inconsistency_",
    "refit_error_by_part": "refit_error_",
    "outcome_by_part": "outcome_",
    "review_by_part": "review_",
    "quality": "quality_",
}
#: Values that are words, and which there are.
_PART_WORDS = {
    "evidence_by_part": EVIDENCES, "reason_by_part": PART_REASONS, "outcome_by_part": PART_OUTCOMES,
    "review_by_part": PART_REVIEWS,
}  # fmt: skip
#: Values that are not negative.
_PART_MEASURES = (
    "direction_error_by_part", "turn_by_part", "disagreement_by_part", "cost_drop_by_part", "implausibility_by_part",
    "inconsistency_by_part", "refit_error_by_part",
)  # fmt: skip


def _list_type(length: int) -> pa.DataType:
    # Parquet cannot write null lists of a non-nullable element; nulls inside a list are refused on reading.
    return pa.list_(pa.field("element", pa.float32()), length)


def _hypotheses_type() -> pa.DataType:
    fields = [
        pa.field("name", pa.string(), nullable=False),
        pa.field("weight", pa.float32(), nullable=False),
        pa.field("error", pa.float32()),
        *(
            # A null fixed-size list inside a struct does not survive Parquet, so the fingers have plain lists.
            pa.field(name, pa.list_(pa.float32()), nullable=True)
            if name in _NULLABLE
            else pa.field(name, _list_type(math.prod(shape)), nullable=False)
            for name, shape in _HYPOTHESIS_SHAPES.items()
        ),
    ]
    return pa.list_(pa.field("element", pa.struct(fields), nullable=False))


def _column_type(name: str) -> pa.DataType:
    if name in _ROW_SHAPES:
        return _list_type(math.prod(_ROW_SHAPES[name]))
    if name in _LEAST_INTEGERS:
        return pa.int32()
    if name in _FLOATS:
        return _FLOATS[name]
    if name == "hypotheses":
        return _hypotheses_type()
    if name in _LISTS_OF_WORDS:
        return pa.list_(pa.string())
    if name == "created_utc":
        return pa.timestamp("us", tz="UTC")
    return pa.string()


def label_schema() -> pa.Schema:
    """Columns of the current version, each with its unit and shape in the metadata of the field."""
    fields = []
    for field in dataclasses.fields(LabelRow):
        name = field.name
        metadata = {"unit": _UNITS.get(name, "none")}
        if name in _DESCRIPTIONS:
            metadata["description"] = _DESCRIPTIONS[name]
        if name in _PREFIXES:
            fields += [
                pa.field(
                    _PREFIXES[name] + key,
                    pa.string() if name in _PART_WORDS else pa.float32(),
                    nullable=True,
                    metadata=metadata | ({"unit": _MEASURE_UNITS[key]} if name == "quality" else {}),
                )
                for key in _keys_of(name)
            ]
            continue
        if name in _ROW_SHAPES:
            metadata["shape"] = ",".join(map(str, _ROW_SHAPES[name]))
        if name in ("transl", "keypoints_3d", "global_orient"):
            metadata["frame"] = "camera: x right, y down, z forward"
        if name in ("world_global_orient", "world_transl"):
            metadata["frame"] = "world: x to the camera's right, y away from it, z up"
        fields.append(pa.field(name, _column_type(name), nullable=name in _NULLABLE, metadata=metadata))
    names = {
        "keypoint_names": " ".join(layouts.get_layout("openpose67").points),
        "body_pose_names": " ".join(layouts.SMPL_JOINTS[1 : 1 + NUM_BODY_JOINTS]),
    }
    return pa.schema(fields, metadata={FORMAT_KEY: str(FORMAT_VERSION), **names})


def labels_to_table(rows: Sequence[LabelRow]) -> pa.Table:
    """Checked rows as a table of `label_schema`.

    Raises:
        LabelError: If a row is not valid, or as `check_unique`.
    """
    for row in rows:
        row.validate()
    check_unique(rows)
    schema = label_schema()
    columns = [_column(rows, field) for field in schema]
    table = pa.Table.from_arrays(columns, schema=schema)
    table.validate(full=True)
    return table


def check_unique(rows: Sequence[LabelRow]) -> None:
    """Refuse rows of which two are the same version of the same label, or of one person in one frame.

    Frames of a track need not follow each other: a person may be lost for a while, and `--stride` leaves frames out.
    `frame_index` says which there are.

    Raises:
        LabelError: With the first such label.
    """
    seen: set[tuple[str, int]] = set()
    places: dict[tuple[str, str, int, int, int], str] = {}
    for row in rows:
        key = (row.label_id, row.label_version)
        if key in seen:
            raise LabelError(
                f"label {row.label_id} version {row.label_version} occurs twice ({row.source_path}, frame "
                f"{row.frame_index}, track {row.track_id}); give each person of a frame its own `track_id`"
            )
        seen.add(key)
        place = (row.source_path, row.source_sha256, row.frame_index, row.track_id, row.label_version)
        other = places.setdefault(place, row.label_id)
        if other != row.label_id:
            raise LabelError(
                f"labels {other} and {row.label_id} are both of track {row.track_id} in frame {row.frame_index} of "
                f"{row.source_path}; give each person of a frame its own `track_id`"
            )


def _column(rows: Sequence[LabelRow], field: pa.Field) -> pa.Array:
    name = field.name
    for attribute, prefix in _PREFIXES.items():
        key = name.removeprefix(prefix)
        if prefix + key == name and key in _keys_of(attribute):
            return pa.array([getattr(row, attribute)[key] for row in rows], field.type)
    values = [getattr(row, name) for row in rows]
    if name in _ROW_SHAPES:
        return _array_column(values, field.type)
    if name == "hypotheses":
        values = [None if value is None else [_hypothesis_to_dict(item) for item in value] for value in values]
    return pa.array(values, field.type)


def _array_column(values: Sequence[np.ndarray | None], list_type: pa.DataType) -> pa.Array:
    flat = np.zeros((len(values), list_type.list_size), np.float32)
    is_null = np.array([value is None for value in values], bool)
    for index, value in enumerate(values):
        if value is not None:
            flat[index] = value.ravel()
    mask = pa.array(is_null) if is_null.any() else None
    return pa.FixedSizeListArray.from_arrays(pa.array(flat.ravel()), type=list_type, mask=mask)


def _hypothesis_to_dict(hypothesis: Hypothesis) -> dict[str, Any]:
    return {
        field.name: value.ravel().tolist() if isinstance(value, np.ndarray) else value
        for field in dataclasses.fields(hypothesis)
        for value in [getattr(hypothesis, field.name)]
    }


def table_to_labels(table: pa.Table) -> list[LabelRow]:
    """Rows of a table of `label_schema`, checked; columns of other names are not looked at.

    Raises:
        LabelError: If a column is missing, of another type, or holds an impossible value.
    """
    columns: dict[str, list[Any]] = {}
    for field in label_schema():
        indices = table.schema.get_all_field_indices(field.name)
        if len(indices) != 1:
            raise LabelError(f"expected one column {field.name!r}, found {len(indices)}")
        column = table.column(indices[0])
        if column.type != field.type:
            raise LabelError(f"column {field.name!r} must be of type {field.type}, got {column.type}")
        if column.null_count and not field.nullable:
            raise LabelError(f"column {field.name!r} must not hold nulls, got {column.null_count}")
        columns[field.name] = _column_values(column, field.name)
    mappings = {
        attribute: [
            dict(zip(_keys_of(attribute), values, strict=True))
            for values in zip(*(columns.pop(prefix + key) for key in _keys_of(attribute)), strict=True)
        ]
        for attribute, prefix in _PREFIXES.items()
    }
    columns.update(mappings)
    rows = [LabelRow(**dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)]
    for row in rows:
        row.validate()
    check_unique(rows)
    return rows


def _column_values(column: pa.ChunkedArray, name: str) -> list[Any]:
    if name in _ROW_SHAPES:
        return list(_array_values(column, _ROW_SHAPES[name]))
    values = column.to_pylist()
    if name == "hypotheses":
        return [None if value is None else tuple(map(_hypothesis_from_dict, value)) for value in values]
    if name in _LISTS_OF_WORDS:
        return [None if value is None else tuple(value) for value in values]
    return values


def _hypothesis_from_dict(fields: Mapping[str, Any]) -> Hypothesis:
    """Nulls inside a list become NaN, which the check of the row refuses."""
    arrays: dict[str, Any] = {
        name: None if fields[name] is None else np.array(fields[name], np.float32) for name in _HYPOTHESIS_SHAPES
    }
    return Hypothesis(**{**fields, **arrays})


def _array_values(column: pa.ChunkedArray, shape: tuple[int, ...]) -> list[Float32[np.ndarray, "..."] | None]:
    is_valid = np.asarray(column.is_valid())
    parts = [chunk.flatten() for chunk in column.chunks]  # `flatten` leaves the nulls out
    if any(part.null_count for part in parts):
        raise LabelError("a list of numbers holds nulls; absent values are a null list or confidence 0")
    flat = np.concatenate([np.asarray(part, np.float32) for part in parts] or [np.zeros(0, np.float32)])
    arrays = iter(flat.reshape(-1, *shape))
    return [next(arrays) if valid else None for valid in is_valid]
