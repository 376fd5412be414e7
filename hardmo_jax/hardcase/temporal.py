"""Feet and hands of a person over the frames of a video: how far each is from its neighbours, and what these say of it.

Rows without a time, such as those of photos, have no neighbours.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy.spatial.transform import Rotation

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.fitting import limb_ends
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.skeleton import layouts

#: Slack of times, seconds: frames 0.1 s apart are within 0.1 s of each other, however their times were rounded.
_SLACK = 1e-3
#: Sums of angles that differ by less are equal, radians.
_TIE = 1e-6


@dataclasses.dataclass(frozen=True, kw_only=True)
class VoteOptions:
    """When frames of a video agree."""

    seconds: float = 0.1
    """Frames within this of each other vote; a larger gap ends a run."""
    run_seconds: float = 0.5
    """Parts of a run within half of this of each other are compared: over longer times hands and feet move."""
    most_degrees: float = 35.0
    """Farthest that a repaired ankle or wrist may be from the median of its run."""

    def __post_init__(self) -> None:
        if not (self.seconds > 0 and self.run_seconds > 0 and self.most_degrees > 0):
            raise ValueError(f"times and angles must be positive, got {self}")


def tracks_of(rows: Sequence[LabelRow]) -> list[list[int]]:
    """Places of the rows of each person of each video in the order of time; rows without a time are left out."""
    tracks: dict[tuple[str, str, int], list[int]] = {}
    for place, row in enumerate(rows):
        if row.time_seconds is not None:
            tracks.setdefault((row.source_path, row.source_sha256, row.track_id), []).append(place)
    return [sorted(places, key=lambda place: rows[place].frame_index) for places in tracks.values()]


def rotation_of(row: LabelRow, part: str) -> Float[np.ndarray, "3"]:
    """Axis-angle of the ankle or wrist of a part."""
    joint = layouts.SMPL_JOINTS.index(limb_ends.joints_of(part)[0])
    return np.asarray(row.body_pose[joint - 1], np.float64)


def inconsistency_degrees(rows: Sequence[LabelRow], part: str) -> Float[np.ndarray, "N"]:
    """Angle between the ankle or wrist of each row and the rotation halfway between those of the frames around it.

    Args:
        rows: One version of each label.
        part: A foot or hand.

    Returns:
        Degrees; NaN where the frame before or after is lacking, or one of the three has no usable pose.
    """
    found = np.full(len(rows), np.nan)
    for track in tracks_of(rows):
        frames = np.array([rows[place].frame_index for place in track])
        turns = np.array([rotation_of(rows[place], part) for place in track])
        is_usable = np.array([rows[place].is_usable for place in track]) & np.isfinite(turns).all(-1)
        inner = np.arange(1, len(track) - 1)
        is_next = (frames[2:] == frames[1:-1] + 1) & (frames[:-2] == frames[1:-1] - 1)
        inner = inner[is_next & is_usable[2:] & is_usable[1:-1] & is_usable[:-2]]
        if len(inner) == 0:
            continue
        before, own, after = (Rotation.from_rotvec(turns[inner + step]) for step in (-1, 0, 1))
        middle = before * Rotation.from_rotvec(0.5 * (before.inv() * after).as_rotvec())
        found[np.array(track)[inner]] = np.degrees((middle.inv() * own).magnitude())
    return found


def is_voted_wrong(
    rows: Sequence[LabelRow], part: str, *, min_probability: float, options: VoteOptions
) -> Bool[np.ndarray, "N"]:
    """Whether the frames around each row think that the part is wrong, the row itself among them.

    Args:
        rows: One version of each label, with scores.
        part: A foot or hand.
        min_probability: The median of their probabilities must reach it.
        options: Which frames vote.

    Returns:
        One a row; rows without neighbours vote for themselves. What a person said of a part stands, and has a vote.
    """
    probability = np.array([_number(row.probability_wrong(part)) for row in rows])
    with np.errstate(invalid="ignore"):
        found = probability >= min_probability
    for track in tracks_of(rows):
        times = np.array([rows[place].time_seconds for place in track], np.float64)
        with np.errstate(invalid="ignore"):
            found[track] = voted_probability(times, probability[track], options.seconds) >= min_probability
    # A person is not outvoted.
    for place, row in enumerate(rows):
        if row.review_by_part[part] is not None:
            found[place] = row.review_by_part[part] == "wrong"
    return found


def voted_probability(
    times: Float[np.ndarray, "T"], probability: Float[np.ndarray, "T"], seconds: float
) -> Float[np.ndarray, "T"]:
    """Median over the frames within some time of each, itself among them; NaN where none of them has a probability.

    Args:
        times: Of frames of one person, seconds.
        probability: NaN where there is none.
        seconds: How near the frames are that vote.
    """
    voted = np.full(len(times), np.nan)
    for at, time in enumerate(times):
        near = probability[(np.abs(times - time) <= seconds + _SLACK) & np.isfinite(probability)]
        if len(near):
            voted[at] = np.median(near)
    return voted


def is_stray(
    rows: Sequence[LabelRow],
    rotations: Float[np.ndarray, "N 3"],
    options: VoteOptions,
) -> Bool[np.ndarray, "N"]:
    """Whether the ankle or wrist that each row would get is far from those that the frames of its run would.

    Args:
        rows: Those that would be repaired, and those around them that were.
        rotations: Axis-angle that each would get or got.
        options: What is far, and which frames are a run.

    Returns:
        One a row. The median of a run is that of its rotations with the least sum of angles to the others; of several
        such, as of any two, each must be near to all.
    """
    found = np.zeros(len(rows), bool)
    for track in tracks_of(rows):
        times = np.array([rows[place].time_seconds for place in track], np.float64)
        run = np.cumsum(np.diff(times, prepend=times[:1]) > options.seconds + _SLACK)
        vectors = np.asarray(rotations, np.float64)[track]
        for at, place in enumerate(track):
            near = np.flatnonzero((run == run[at]) & (np.abs(times - times[at]) <= 0.5 * options.run_seconds + _SLACK))
            turns = Rotation.from_rotvec(vectors[near])
            apart = np.array([(Rotation.from_rotvec(vector).inv() * turns).magnitude() for vector in vectors[near]])
            total = apart.sum(1)
            medians = Rotation.from_rotvec(vectors[near[total <= total.min() + _TIE]])
            angles = (medians.inv() * Rotation.from_rotvec(vectors[at])).magnitude()
            found[place] = np.degrees(np.max(angles)) > options.most_degrees
    return found


def _number(value: float | None) -> float:
    return np.nan if value is None else value
