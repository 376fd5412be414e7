"""Wrong feet and hands replaced by what was solved anew, if that is better for certain.

A refined part must be thought wrong, must have been seen well enough, and must meet its points better by a margin; the
body's points do not move at all, since nothing above the ankle or wrist does. Of a wrist that twists farther than a
wrist can, the forearm takes the rest: the twist beyond `MOST_TWIST` goes to the elbow, about the axis from there to the
wrist, so that the hand stays where it is (the rule of HardMo++ and PyMAF-X).
"""

import dataclasses

import jax
import numpy as np
from scipy.spatial.transform import Rotation

from hardmo_jax.array_types import AnyArray, Bool, Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.fitting import limb_ends
from hardmo_jax.hardcase.fingers import finger_joints
from hardmo_jax.hardcase.part_scores import PartScores
from hardmo_jax.labels import schema

#: Twist of a wrist beyond which the elbow takes it, radians.
MOST_TWIST = 0.4 * np.pi


@dataclasses.dataclass(frozen=True, kw_only=True)
class GateOptions:
    """When a part is replaced."""

    min_probability: float = 0.9
    """Of being wrong."""
    least_fall: float = 0.3
    """Share by which the distance of its points from where they were seen must fall."""
    least_turn_degrees: float = 12.0
    """Smaller turns are within the error of the solve, and are left alone."""

    def __post_init__(self) -> None:
        if not 0 <= self.min_probability <= 1 or not 0 <= self.least_fall < 1 or not self.least_turn_degrees >= 0:
            raise ValueError(f"probabilities and shares lie in [0, 1], turns are not negative; got {self}")


#: Why a part was replaced or left.
OUTCOMES = schema.PART_OUTCOMES


@dataclasses.dataclass(frozen=True, kw_only=True)
class RefinedPart:
    """One part of N people after the gate."""

    params: BodyParams
    """Of all of them; those who were left alone are exactly as before."""
    is_refined: Bool[np.ndarray, "N"]
    outcome: tuple[str, ...]
    """One of `OUTCOMES`."""


def gate(scores: PartScores, options: GateOptions) -> tuple[str, ...]:
    """What becomes of each part, one of `OUTCOMES`.

    Args:
        scores: Of the parts.
        options: Margins.
    """
    is_wrong = np.nan_to_num(scores.wrong) >= options.min_probability
    with np.errstate(invalid="ignore"):
        falls = scores.refit_image_error <= (1 - options.least_fall) * scores.image_error
    is_better = falls & (scores.turn_degrees >= options.least_turn_degrees) & np.isfinite(scores.refit).all(-1)
    found = np.where(is_better, "refined", "no_better")
    found = np.where(is_wrong, found, "right")
    # Too little was seen to say anything, of right ones too.
    return tuple(np.where(scores.is_repairable, found, "unrepairable").tolist())


def refine_part(body: BodyModel, params: BodyParams, scores: PartScores, options: GateOptions) -> RefinedPart:
    """Replace one part of those people of whom the gate says so.

    Args:
        body: Of the parameters.
        params: Of N people.
        scores: Of the part.
        options: Of the gate.
    """
    outcome = gate(scores, options)
    is_refined = np.array([word == "refined" for word in outcome], bool)
    full_pose = np.array(params.full_pose())
    names = limb_ends.joints_of(scores.part)
    for place, name in enumerate(names):
        joint = body.joint_names.index(name)
        full_pose[is_refined, joint] = scores.refit[is_refined, 3 * place : 3 * place + 3]
    if scores.part.endswith("hand") and is_refined.any():
        wrist, elbow = body.joint_names.index(names[0]), body.joint_names.index(names[0].replace("wrist", "elbow"))
        axis = np.asarray(body.joint_template[wrist] - body.joint_template[elbow], np.float64)
        full_pose[is_refined, elbow], full_pose[is_refined, wrist] = share_twist(
            full_pose[is_refined, elbow], full_pose[is_refined, wrist], axis
        )
    if scores.fingers is not None:
        places = np.array(finger_joints(body, scores.part))
        full_pose[np.flatnonzero(is_refined)[:, None], places] = scores.fingers[is_refined]
    made = BodyParams.from_full_pose(
        body, full_pose, betas=np.asarray(params.betas), transl=np.asarray(params.transl), expression=params.expression
    )

    def replaced(new: AnyArray, old: AnyArray) -> np.ndarray:
        old = np.asarray(old)
        kept = is_refined.reshape(-1, *[1] * (old.ndim - 1))
        return np.where(kept, np.asarray(new, old.dtype), old)

    return RefinedPart(params=jax.tree.map(replaced, made, params), is_refined=is_refined, outcome=outcome)


def share_twist(
    elbow: Float[np.ndarray, "N 3"], wrist: Float[np.ndarray, "N 3"], axis: Float[np.ndarray, "3"]
) -> tuple[Float[np.ndarray, "N 3"], Float[np.ndarray, "N 3"]]:
    """Elbows and wrists with the twist of the wrist beyond `MOST_TWIST` in the elbow; the hand stays where it is.

    Args:
        elbow: Axis-angle.
        wrist: Axis-angle.
        axis: From elbow to wrist in the rest pose.
    """
    axis = axis / np.linalg.norm(axis)
    turned = Rotation.from_rotvec(np.asarray(wrist, np.float64))
    quaternion = turned.as_quat()
    twist = 2 * np.arctan2(quaternion[:, :3] @ axis, quaternion[:, 3])
    twist = (twist + np.pi) % (2 * np.pi) - np.pi
    excess = np.sign(twist) * np.maximum(np.abs(twist) - MOST_TWIST, 0)
    moves = excess != 0
    by_elbow = Rotation.from_rotvec(excess[:, None] * axis)
    new_elbow = (Rotation.from_rotvec(np.asarray(elbow, np.float64)) * by_elbow).as_rotvec()
    new_wrist = (by_elbow.inv() * turned).as_rotvec()
    return (
        np.where(moves[:, None], new_elbow, elbow).astype(elbow.dtype),
        np.where(moves[:, None], new_wrist, wrist).astype(wrist.dtype),
    )
