"""Parts of a person that the `.npz` files and the tars of 4DHumans and HardMo share."""

from typing import Any

import numpy as np

from hardmo_jax.data.published.keypoint_slots import SLOTS, SlotKeypoints, into_slots
from hardmo_jax.data.published.label_fields import LabelPlace, label_numbers, split_confidence
from hardmo_jax.data.training_records import FINGERTIPS

#: HardMo's: the wrists, which are the body's, and the tips of the fingers; or these alone.
HAND_SHAPES = ((2 + len(FINGERTIPS), 3), (len(FINGERTIPS), 3))


def hmr2_keypoints(keypoints: Any, hands: Any | None, place: LabelPlace) -> SlotKeypoints:
    """Keypoints in the picture, with HardMo's tips of the fingers where there are some.

    Args:
        keypoints: (44, 3), pixels and confidence.
        hands: `hand_keypoints_2d`, of one of `HAND_SHAPES`; None where there are none.
        place: For the message.

    Raises:
        TrainingDataError: If one of them is of another shape or not finite.
    """
    points, confidence = split_confidence(keypoints, "keypoints_2d", (len(SLOTS), 3), place)
    names = SLOTS
    if hands is not None:
        rows = label_numbers(hands, "hand_keypoints_2d", HAND_SHAPES, place)[-len(FINGERTIPS) :]
        tips, certain = split_confidence(rows, "hand_keypoints_2d", rows.shape, place)
        points, confidence = np.concatenate([points, tips]), np.concatenate([confidence, certain])
        names = (*SLOTS, *FINGERTIPS)
    return into_slots(points, confidence, names)


def hmr2_keypoints_3d(keypoints: Any, place: LabelPlace) -> SlotKeypoints:
    """Keypoints in space.

    Args:
        keypoints: (44, 4), metres and confidence.
        place: For the message.

    Raises:
        TrainingDataError: If they are of another shape or not finite.
    """
    return into_slots(*split_confidence(keypoints, "keypoints_3d", (len(SLOTS), 4), place), SLOTS)
