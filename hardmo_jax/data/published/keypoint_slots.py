"""Named keypoints of published layouts in the 44 slots of `hmr2_44`, and the tips of the fingers beside them.

BODY_25's slots are for what a detector such as OpenPose finds, and for joints of SMPL, which stand for the same points
in the public joint map; the 19 others are for what people annotate. Five points of the face have one slot each.
"""

import dataclasses
import functools

import numpy as np

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.data.hmr2_augmentation import LAYOUT
from hardmo_jax.data.training_records import FINGERTIPS
from hardmo_jax.skeleton import layouts

SLOTS = layouts.get_layout(LAYOUT).points
_ALL = (*SLOTS, *FINGERTIPS)
#: Joints of SMPL that are called otherwise than the keypoint they stand for.
_OF_JOINT = {joint: point for point, joint in layouts.get_layout(LAYOUT).body_point_names if joint not in _ALL}
#: Losses compare keypoints in space from this one, and where it is not known this one is nearest to it.
_ROOT, _NEXT_TO_ROOT = SLOTS.index("pelvis_mpii"), SLOTS.index("mid_hip")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SlotKeypoints:
    """Keypoints of one person, in D dimensions."""

    points: Float[np.ndarray, "44 D"]
    confidence: Float[np.ndarray, "44"]
    """0 of points that nobody knows."""
    tips: Float[np.ndarray, "10 D"]
    """Of `FINGERTIPS`."""
    tip_confidence: Float[np.ndarray, "10"]


def into_slots(
    points: Float[np.ndarray, "K D"],
    confidence: Float[np.ndarray, "K"],
    names: tuple[str, ...],
    *,
    is_annotated: bool = False,
) -> SlotKeypoints:
    """Keypoints by name in their slots.

    Args:
        points: Coordinates.
        confidence: 0 of points that are not known.
        names: Of the points, as layouts name them, or joints of SMPL. Of two for one slot, the later one that is known
            is taken; those without a slot are left out.
        is_annotated: Whether people marked them: `left_knee` then goes to `left_knee_lsp`.

    Returns:
        The keypoints. In space, an unknown `pelvis_mpii` is put where `mid_hip` is and stays unknown.
    """
    placed = np.zeros((len(_ALL), points.shape[1]))
    known = np.zeros(len(_ALL))
    for source, slot in _pairs(names, is_annotated):
        if confidence[source] > 0:
            placed[slot], known[slot] = points[source], confidence[source]
    if points.shape[1] == 3 and not known[_ROOT] > 0:
        placed[_ROOT] = placed[_NEXT_TO_ROOT]
    count = len(SLOTS)
    return SlotKeypoints(
        points=placed[:count], confidence=known[:count], tips=placed[count:], tip_confidence=known[count:]
    )


@functools.cache
def have_slots(names: tuple[str, ...], is_annotated: bool) -> Bool[np.ndarray, "K"]:
    """Which named keypoints `into_slots` puts among the 44."""
    mask = np.zeros(len(names), bool)
    mask[[source for source, slot in _pairs(names, is_annotated) if slot < len(SLOTS)]] = True
    return mask


@functools.cache
def _pairs(names: tuple[str, ...], is_annotated: bool) -> tuple[tuple[int, int], ...]:
    pairs = []
    for source, name in enumerate(names):
        place = name.removesuffix("_gt")
        wanted = (f"{place}_lsp",) * is_annotated + (place, _OF_JOINT.get(place, ""))
        pairs += [(source, _ALL.index(slot)) for slot in wanted if slot in _ALL][:1]
    return tuple(pairs)
