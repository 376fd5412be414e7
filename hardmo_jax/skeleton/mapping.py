"""From keypoint names to points of a body, by name. NumPy only."""

import numpy as np

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.skeleton import layouts


def body_points(point: str) -> tuple[tuple[tuple[float, str], ...], ...]:
    """Ways to make a keypoint from joints and landmarks of a body, best first.

    Each way is a weighted sum of named body points. Places that annotators define by other points (`neck` and
    `mid_hip` of BODY_25 are means of the shoulders and of the hips) are made the same way here, which deviates
    from the `smplx` joint map, where they are SMPL's neck and pelvis joints. Layouts that follow the latter say so
    in `KeypointLayout.body_point_names`, which comes first.
    """
    side, _, rest = point.partition("_")
    ways: list[tuple[tuple[float, str], ...]] = []
    if point == "neck":
        ways.append(((0.5, "left_shoulder"), (0.5, "right_shoulder")))
    elif point == "mid_hip":
        ways.append(((0.5, "left_hip"), (0.5, "right_hip")))
    elif rest == "hand_root":
        ways.append(((1.0, f"{side}_wrist"),))
    elif rest == "foot_index":
        ways.append(((1.0, f"{side}_big_toe"),))
    elif rest == "middle1":
        # Models without fingers have one joint in the hand, at the root of the middle finger.
        ways += [((1.0, point),), ((1.0, f"{side}_hand"),)]
    elif rest == "hand":
        ways += [((1.0, point),), ((1.0, f"{side}_middle1"),)]
    elif rest.endswith("_knuckle"):
        joint = {"thumb_knuckle": "thumb2", "index_knuckle": "index1", "pinky_knuckle": "pinky1"}[rest]
        ways.append(((1.0, f"{side}_{joint}"),))
    else:
        ways.append(((1.0, point),))
    return tuple(ways)


def point_regressor(
    layout: layouts.KeypointLayout, available: tuple[str, ...]
) -> tuple[Float[np.ndarray, "K N"], Bool[np.ndarray, "K"]]:
    """Matrix that makes the keypoints of a layout from the named points of a body.

    Args:
        layout: Keypoints wanted.
        available: Names of the body's points, in order: joints, landmarks, `regressors.regressed_points`.

    Returns:
        The matrix, and which keypoints the body has; rows of the others are zero.
    """
    place = {name: index for index, name in enumerate(available)}
    matrix = np.zeros((len(layout), len(available)), np.float32)
    is_supported = np.zeros(len(layout), bool)
    chosen = dict(layout.body_point_names)
    for row, point in enumerate(layout.points):
        ways = (((1.0, chosen[point]),),) if point in chosen else body_points(point)
        for way in ways:
            if all(name in place for _, name in way):
                for weight, name in way:
                    matrix[row, place[name]] += weight
                is_supported[row] = True
                break
    return matrix, is_supported
