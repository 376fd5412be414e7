"""Which joint of a motion capture skeleton carries which joint of SMPL, by file convention.

Tables only. A capture joint stands for an SMPL joint whose place it has and whose bone it turns; its rotation in the
world, not the one relative to its parent, is what carries over, so that bones of the capture without a partner
(`lowerneck`, `lwrist`) lose nothing. Left and right are the person's own and always by name.
"""

import dataclasses
import re
from collections.abc import Iterable, Mapping

from hardmo_jax.skeleton import layouts

#: Places beyond the last joints that a convention can name.
TIPS = ("head_top", *(f"{side}_{tip}" for side in layouts.SIDES for tip in ("foot_tip", "hand_index", "hand_thumb")))


@dataclasses.dataclass(frozen=True, kw_only=True)
class CaptureConvention:
    """How the files of one origin name their joints."""

    name: str
    """Name of the convention."""
    joints: Mapping[str, str]
    """Capture joint by SMPL joint: it carries the rotation, and stands at the place."""
    tips: Mapping[str, str]
    """Capture joint by place of `TIPS`: where the bones of head, feet and hands end or their fingers begin."""

    elbow_hinge_degrees: float = 0.0
    """How far the axis of the elbow is turned about the arm at rest, against an elbow that bends about y."""

    @property
    def joints_without_rotation(self) -> tuple[str, ...]:
        """SMPL joints about which the capture says nothing; they move with their parents."""
        return tuple(joint for joint in layouts.SMPL_JOINTS if joint not in self.joints)


def _both_sides(pattern: Mapping[str, str], left: str, right: str) -> dict[str, str]:
    """Entries of both sides from those of one, in which `*` stands for how the capture names the side."""
    names = {"left": left, "right": right}
    return {
        f"{side}_{joint}": capture.replace("*", names[side])
        for side in layouts.SIDES
        for joint, capture in pattern.items()
    }


def _convention(
    name: str,
    sides: tuple[str, str],
    middle: Mapping[str, str],
    limbs: Mapping[str, str],
    middle_tips: Mapping[str, str],
    limb_tips: Mapping[str, str],
    elbow_hinge_degrees: float = 0.0,
) -> CaptureConvention:
    return CaptureConvention(
        name=name,
        joints={**middle, **_both_sides(limbs, *sides)},
        tips={**middle_tips, **_both_sides(limb_tips, *sides)},
        elbow_hinge_degrees=elbow_hinge_degrees,
    )


# The neck has two bones in Acclaim's skeleton of CMU; SMPL's neck joint lies where the upper one begins. Twist of the
# forearm sits on `lwrist`, in the last third of the forearm, and the wrist bends where `lhand` begins. cgspeed's BVH
# of the same captures (`cmu`) leaves out the lengths of `thorax` and `lwrist`: shoulders and hands sit 0.1 m too
# near there, and rotations are right.
_CMU_MIDDLE = {
    "pelvis": "Hips", "spine1": "LowerBack", "spine2": "Spine", "spine3": "Spine1", "neck": "Neck1", "head": "Head",
}  # fmt: skip
_CMU_LIMBS = {
    "hip": "*UpLeg", "knee": "*Leg", "ankle": "*Foot", "foot": "*ToeBase",
    "collar": "*Shoulder", "shoulder": "*Arm", "elbow": "*ForeArm", "wrist": "*FingerBase",
}  # fmt: skip
_MIXAMO_MIDDLE = {
    "pelvis": "Hips", "spine1": "Spine", "spine2": "Spine1", "spine3": "Spine2", "neck": "Neck", "head": "Head",
}  # fmt: skip
_MIXAMO_LIMBS = {
    "hip": "*UpLeg", "knee": "*Leg", "ankle": "*Foot", "foot": "*ToeBase",
    "collar": "*Shoulder", "shoulder": "*Arm", "elbow": "*ForeArm", "wrist": "*Hand",
}  # fmt: skip

# The axis of `lradius` and `rradius` in CMU's .asf files; BVH files made from them bend the elbow the same way.
_CMU_HINGE = -30.0

#: Conventions by name.
CONVENTIONS: dict[str, CaptureConvention] = {
    convention.name: convention
    for convention in (
        # Poser and DAZ figures, as the BVH of CMU for them. Buttock joints are fixed; toes are part of the foot.
        _convention(
            "daz",
            ("l", "r"),
            {"pelvis": "hip", "spine1": "abdomen", "spine3": "chest", "neck": "neck", "head": "head"},
            {
                "hip": "*Thigh", "knee": "*Shin", "ankle": "*Foot", "collar": "*Collar", "shoulder": "*Shldr",
                "elbow": "*ForeArm", "wrist": "*Hand", "hand": "*Mid1",
            },
            {},
            {"foot_tip": "*Foot_end", "hand_index": "*Index1", "hand_thumb": "*Thumb1"},
            elbow_hinge_degrees=_CMU_HINGE,
        ),
        _convention(
            "cmu",
            ("Left", "Right"),
            _CMU_MIDDLE,
            _CMU_LIMBS | {"hand": "*HandIndex1"},
            {"head_top": "Head_end", "left_hand_thumb": "LThumb_end", "right_hand_thumb": "RThumb_end"},
            {"foot_tip": "*ToeBase_end", "hand_index": "*HandIndex1"},
            elbow_hinge_degrees=_CMU_HINGE,
        ),
        _convention(
            "acclaim",
            ("l", "r"),
            {
                "pelvis": "root", "spine1": "lowerback", "spine2": "upperback", "spine3": "thorax",
                "neck": "upperneck", "head": "head",
            },
            {
                "hip": "*femur", "knee": "*tibia", "ankle": "*foot", "foot": "*toes", "collar": "*clavicle",
                "shoulder": "*humerus", "elbow": "*radius", "wrist": "*hand", "hand": "*fingers",
            },
            {"head_top": "head_end"},
            {"foot_tip": "*toes_end", "hand_index": "*fingers", "hand_thumb": "*thumb_end"},
            elbow_hinge_degrees=_CMU_HINGE,
        ),
        # Head and neck are one joint, and collars, toes and wrists do not turn.
        _convention(
            "deepmimic",
            ("left", "right"),
            {"pelvis": "root", "spine3": "chest", "neck": "neck"},
            {"hip": "*_hip", "knee": "*_knee", "ankle": "*_ankle", "shoulder": "*_shoulder", "elbow": "*_elbow"},
            {},
            {},
        ),
        _convention(
            "mixamo",
            ("Left", "Right"),
            _MIXAMO_MIDDLE,
            _MIXAMO_LIMBS | {"hand": "*HandMiddle1"},
            {"head_top": "HeadTop_End"},
            {"foot_tip": "*Toe_End", "hand_index": "*HandIndex1", "hand_thumb": "*HandThumb1"},
        ),
    )
}  # fmt: skip

#: What other exports of a convention call the same joint. Ends that have no name of their own are `<parent>_end`.
_OTHER_NAMES = {
    "cmu": {"LeftHandIndex1": "LFingers", "RightHandIndex1": "RFingers"},
    "mixamo": {
        "HeadTop_End": "Head_end", "LeftToe_End": "LeftToeBase_end", "RightToe_End": "RightToeBase_end",
    },
}  # fmt: skip
#: Name spaces before the names, which exporters write, change or leave away: `mixamorig:Hips`, `mixamorig1_Hips`.
_NAME_SPACE = re.compile(r"(?:.*:|mixamorig\d*_?)(?=[^:])")
#: Joints a file may lack and still be of its convention: exports without fingers are common.
_OPTIONAL = ("left_hand", "right_hand")


def find_convention(joint_names: Iterable[str]) -> CaptureConvention:
    """The convention that a skeleton's joints are named by.

    Args:
        joint_names: Names of the file, in any order; a name space before them (`mixamorig:`) is looked past.

    Returns:
        The convention with the names exactly as the file has them, without the tips (and fingers) it lacks.

    Raises:
        ValueError: If no convention has all its joints in the file; the message says what the nearest one misses.
    """
    names = tuple(joint_names)
    plain: dict[str, str] = {}
    for name in names:
        short = _NAME_SPACE.sub("", name, count=1)
        if short in plain:
            raise ValueError(f"joints {plain[short]!r} and {name!r} have the same name; a clip is one person")
        plain[short] = name
    nearest: tuple[float, str, list[str]] | None = None
    for convention in CONVENTIONS.values():
        others = _OTHER_NAMES.get(convention.name, {})
        found = {
            name: plain[name] for name in (*convention.joints.values(), *convention.tips.values()) if name in plain
        }
        found |= {name: plain[other] for name, other in others.items() if name not in found and other in plain}
        missing = [name for joint, name in convention.joints.items() if name not in found and joint not in _OPTIONAL]
        if not missing:
            return dataclasses.replace(
                convention,
                joints={joint: found[name] for joint, name in convention.joints.items() if name in found},
                tips={tip: found[name] for tip, name in convention.tips.items() if name in found},
            )
        share = len(missing) / len(convention.joints)
        if nearest is None or share < nearest[0]:
            nearest = (share, convention.name, missing)
    known = ", ".join(CONVENTIONS)
    if nearest is None or nearest[0] > 0.5:
        raise ValueError(f"joints named {', '.join(names[:5])}, ... are of no known convention; known: {known}")
    raise ValueError(
        f"the skeleton looks like {nearest[1]!r} but has no joint {', '.join(nearest[2])}; known conventions: {known}"
    )
