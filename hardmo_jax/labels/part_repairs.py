"""One foot or hand of a label replaced by a machine, and what a person left of the rest."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from hardmo_jax.labels.schema import NUM_BODY_JOINTS, LabelRow
from hardmo_jax.skeleton import layouts

#: Joints of the body that turn a part: the twist of a wrist is shared with the elbow.
_JOINTS = {"foot": ("ankle", "foot"), "hand": ("elbow", "wrist")}
#: What differs between two versions of one pose, beside what is measured of each part.
_OF_A_VERSION = frozenset(
    (
        "label_version", "parent_version", "origin", "review", "code_version", "config_sha256", "created_utc",
        "keypoints_3d",
    )
)  # fmt: skip
_BY_PART = "_by_part"


def with_pose_of_part(row: LabelRow, other: LabelRow, part: str) -> LabelRow:
    """A label with the pose of one foot or hand from another version of it; what was measured stays.

    Args:
        row: The label.
        other: The version with that part.
        part: Such as `left_hand`.
    """
    side, kind = part.split("_")
    joints = layouts.SMPL_JOINTS[1 : 1 + NUM_BODY_JOINTS]
    body_pose = row.body_pose.copy()
    for name in _JOINTS[kind]:
        at = joints.index(f"{side}_{name}")
        body_pose[at] = other.body_pose[at]
    changes: dict[str, Any] = {"body_pose": body_pose}
    if kind == "hand":
        changes[f"{side}_hand_pose"] = getattr(other, f"{side}_hand_pose")
    return dataclasses.replace(row, **changes)


def with_measures_of(row: LabelRow, other: LabelRow, parts: Sequence[str]) -> LabelRow:
    """A label with all that another version says of some parts, a person's words among it."""
    changes = {}
    for field in dataclasses.fields(row):
        if field.name.endswith(_BY_PART):
            theirs = getattr(other, field.name)
            changes[field.name] = {**getattr(row, field.name), **{part: theirs[part] for part in parts}}
    return dataclasses.replace(row, **changes)


def repaired_parts(existing: LabelRow, candidate: LabelRow) -> tuple[str, ...]:
    """Feet and hands that a person called wrong, and that a candidate has replaced behind the gate."""
    return tuple(
        part
        for part in layouts.PARTS
        if part != "body"
        and existing.review_by_part[part] == "wrong"
        and candidate.outcome_by_part[part] == "refined"
        and candidate.review_by_part[part] is None
    )


def repairs_what_was_called_wrong(existing: LabelRow, candidate: LabelRow) -> bool:
    """Whether a candidate replaces parts that a person called wrong, and leaves all else exactly as it was.

    All else is the pose of the other parts, the body, its shape and place, what was seen and placed, the camera, and
    what a person said of other parts. A rejected label is not repaired.
    """
    parts = repaired_parts(existing, candidate)
    if not parts or existing.review == "rejected":
        return False
    undone = candidate
    for part in parts:
        undone = with_pose_of_part(undone, existing, part)
    others = [part for part in layouts.PARTS if part not in parts]
    if any(existing.review_by_part[part] != candidate.review_by_part[part] for part in others):
        return False
    kept = {
        field.name: getattr(existing, field.name)
        for field in dataclasses.fields(existing)
        if field.name in _OF_A_VERSION or field.name.endswith(_BY_PART)
    }
    return dataclasses.replace(undone, **kept).same_as(existing)
