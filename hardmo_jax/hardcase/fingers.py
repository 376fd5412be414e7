"""Fingers of hands that are solved anew: the label's, or those of the second opinion where these are better.

The wrist carries the fingers as they are. Labels of methods that know no fingers have flat or relaxed ones, which the
picture contradicts; but what was fitted to a picture fits it better than true fingers do, so that a little better is no
reason. The middle of both was tried: nearer to the truth on pseudo-labels (PA of the arm 15.6 for 16.2 mm), and far
worse on true ones (8.5 for 3.4 mm).
"""

import dataclasses

import numpy as np

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.fitting import limb_ends
from hardmo_jax.fitting.limb_ends import BodyFrames, LimbEnds
from hardmo_jax.skeleton import layouts

#: Points that fingers move must be seen by this number, of fifteen.
_LEAST_POINTS = 6
#: The second opinion's are taken if they are off by no more than this part of what the label's are.
_BETTER = 0.85


def finger_joints(body: BodyModel, part: str) -> list[int]:
    """Places of the finger joints of a hand in a body; none of SMPL, and none of feet."""
    side, kind = part.split("_")
    names = layouts.MANO_JOINTS[side][1:] if kind == "hand" else ()
    return [body.joint_names.index(name) for name in names if name in body.joint_names]


def chosen_fingers(
    ends: LimbEnds,
    other_ends: LimbEnds,
    frames: BodyFrames,
    other_frames: BodyFrames,
    refit: Float[np.ndarray, "N 3"],
    *,
    joints: list[int],
    on_fingers: Bool[np.ndarray, "K"],
) -> Float[np.ndarray, "N F 3"]:
    """Axis-angle of the finger joints of hands whose wrist is solved anew.

    Args:
        ends: Hands of the labels.
        other_ends: Of the second opinion.
        frames: Bodies of the labels.
        other_frames: Of the second opinion.
        refit: Wrists solved anew.
        joints: Of the fingers, see `finger_joints`.
        on_fingers: Points of the hands that these move.
    """
    label, other = (found.full_pose[:, joints] for found in (frames, other_frames))
    of_label, of_other = (_misfit(ends, np.asarray(found.offsets), refit, on_fingers) for found in (ends, other_ends))
    is_seen = ((np.asarray(ends.weight) > 0) & on_fingers).sum(1) >= _LEAST_POINTS
    return np.where((is_seen & (of_other <= _BETTER * of_label))[:, None, None], other, label)


def _misfit(
    ends: LimbEnds,
    offsets: Float[np.ndarray, "N K 3"],
    refit: Float[np.ndarray, "N 3"],
    on_fingers: Bool[np.ndarray, "K"],
) -> Float[np.ndarray, "N"]:
    """Weighted mean distance of points of fingers from where they were seen, the hand moved to fit; box sides."""
    errors = limb_ends.image_errors_of(dataclasses.replace(ends, offsets=offsets), refit).astype(np.float64)
    weight = np.asarray(ends.weight, np.float64)
    middle = (weight[..., None] * errors).sum(1) / np.maximum(weight.sum(1), 1e-9)[:, None]
    counted = weight * on_fingers
    distance = np.linalg.norm(errors - middle[:, None], axis=-1)
    return (counted * distance).sum(1) / np.maximum(counted.sum(1), 1e-9)
