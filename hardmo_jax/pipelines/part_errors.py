"""How far feet and hands of people are from where they should be."""

import jax
import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.body import landmarks
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.fitting.limb_ends import joints_of
from hardmo_jax.hardcase.part_scores import degrees_between, joint_rotations
from hardmo_jax.metrics import pose
from hardmo_jax.skeleton.layouts import KeypointLayout

_ENDS = {
    "foot": ("big_toe", "small_toe", "heel"),
    "hand": ("thumb_tip", "index_tip", "middle_tip", "ring_tip", "pinky_tip"),
}
_MIDDLE = {"foot": "knee", "hand": "elbow"}


def part_errors(body: BodyModel, params: BodyParams, truth: BodyParams, part: str) -> dict[str, Float[np.ndarray, "N"]]:
    """How far a part is from the truth.

    Args:
        body: Of both.
        params: Of N people.
        truth: Of the same people.
        part: Such as `left_foot`.

    Returns:
        `from_base`: mean distance of its points, seen from ankle or wrist, mm; `angle`: of ankle or wrist in the camera
        frame, degrees; `below_pelvis`: mean distance of its points, seen from the pelvis, mm; `arm`: Procrustes-aligned
        error of elbow, wrist and fingertips, mm, NaN of feet; `body`: mean distance of the joints but toes and fingers,
        seen from the pelvis, mm.
    """
    side, kind = part.split("_")
    base, middle = joints_of(part)[0], f"{side}_{_MIDDLE[kind]}"
    layout = KeypointLayout(
        name="part_errors", points=("pelvis", middle, base, *(f"{side}_{end}" for end in _ENDS[kind]))
    )
    model, _ = landmarks.point_model(body, layout)
    ours, theirs = (np.asarray(in_pieces(model, values), np.float64) for values in (params, truth))
    apart = (ours[:, 3:] - ours[:, 2:3]) - (theirs[:, 3:] - theirs[:, 2:3])
    below = (ours[:, 3:] - ours[:, :1]) - (theirs[:, 3:] - theirs[:, :1])
    arm = np.full(len(ours), np.nan)
    if kind == "hand":
        aligned = pose.similarity_align(ours[:, 1:], theirs[:, 1:]).apply(ours[:, 1:])
        arm = 1000 * np.linalg.norm(aligned - theirs[:, 1:], axis=-1).mean(-1)
    kept = [index for index, name in enumerate(body.joint_names[:22]) if not name.endswith("_foot")]
    joints = [np.asarray(in_pieces(jax.tree_util.Partial(_joints, body), values), np.float64)[:, kept]
              for values in (params, truth)]  # fmt: skip
    joint = body.joint_names.index(base)
    turned = [joint_rotations(body, values, joint) for values in (params, truth)]
    body_error = np.linalg.norm((joints[0] - joints[0][:, :1]) - (joints[1] - joints[1][:, :1]), axis=-1).mean(-1)
    return {
        "from_base": 1000 * np.linalg.norm(apart, axis=-1).mean(-1),
        "angle": degrees_between(*turned),
        "below_pelvis": 1000 * np.linalg.norm(below, axis=-1).mean(-1),
        "arm": arm,
        "body": 1000 * body_error,
    }


def _joints(body: BodyModel, params: BodyParams) -> jax.Array:
    return body.joints(params)
