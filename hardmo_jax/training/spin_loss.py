"""What SPIN, CLIFF and BEDLAM's CLIFF are trained on: means of squares over keypoints, rotations and betas.

Kolotouros et al., "Learning to Reconstruct 3D Human Pose and Shape via Model-fitting in the Loop", ICCV 2019; Li et
al., "CLIFF: Carrying Location Information in Full Frames", ECCV 2022, whose public code has no training: its terms have
SPIN's weights, and keypoints are compared in the full picture; Black et al., "BEDLAM", CVPR 2023.
"""

import dataclasses

import jax.numpy as jnp

from hardmo_jax.array_types import Array, Float
from hardmo_jax.networks.regressor_output import RegressorOutput
from hardmo_jax.training.hmr2_loss import Hmr2Target
from hardmo_jax.training.label_counts import LabelCounts, label_counts

#: Keypoints in the picture over which SPIN takes its mean, and joints in space. Ours lack five of the face and of the
#: joints, which count as unseen.
_POINTS_2D, _POINTS_3D = 49, 24
#: Points of OpenPose in front of the annotated ones.
_OPENPOSE = 25
#: Keypoints of SPIN lie between -1 and 1 in the crop: twice the crop units of HMR 2.0.
_HALF = 2.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class SpinLossOptions:
    """Weights of the published configuration; that of vertices, zero there, is left out."""

    keypoints_2d: float = 5.0
    keypoints_3d: float = 5.0
    global_orient: float = 1.0
    """Zero for BEDLAM's, which leaves the root to keypoints."""
    body_pose: float = 1.0
    betas: float = 0.001
    camera: float = 1.0
    """Of scales near zero and below."""
    openpose: float = 0.0
    """Of points of OpenPose beside annotated ones. Labels whose points are all OpenPose's need 1."""
    total: float = 60.0


def spin_terms(
    output: RegressorOutput,
    keypoints_2d: Float[Array, "B 44 2"],
    keypoints_3d: Float[Array, "B 44 3"],
    target: Hmr2Target,
    *,
    hips: tuple[int, int],
    openpose: float = 0.0,
    counts: LabelCounts | None = None,
) -> dict[str, Float[Array, ""]]:
    """Terms of the loss by name, without their weights: means, as published.

    Args:
        output: Of the network.
        keypoints_2d: Of its bodies, in sides of the crop from its middle: by the crop's own camera, or by that of the
            picture (CLIFF).
        keypoints_3d: Of its bodies, metres.
        target: Truth. Its `has_*` may be any weight; means are over those with one above zero.
        hips: Places of the right and left hip, from whose middle points in space are compared.
        openpose: Weight of the points of OpenPose.
        counts: What means over people are divided by; None counts the target's.

    Notes:
        The mean over rotations is over all 24 in the published code, root and pose together; here root and pose are two
        terms with the same weight, whose sum is that mean.
    """
    counts = counts or label_counts(target)
    batch, joints = keypoints_2d.shape[0], 1 + output.body_pose.shape[-3]
    is_openpose = jnp.arange(keypoints_2d.shape[1]) < _OPENPOSE
    confidence_2d = target.confidence_2d * jnp.where(is_openpose, openpose, 1.0)
    apart = _HALF * (keypoints_2d - target.keypoints_2d)
    spread, true_spread = (points - _middle(points, hips) for points in (keypoints_3d, target.keypoints_3d))
    confidence_3d = target.confidence_3d * jnp.where(is_openpose, openpose, 1.0)
    off = spread - true_spread
    return {
        "keypoints_2d": jnp.sum(confidence_2d[..., None] * jnp.square(apart)) / (batch * _POINTS_2D * 2),
        "keypoints_3d": jnp.sum(confidence_3d[..., None] * jnp.square(off)) / (counts.placed * _POINTS_3D * 3),
        "global_orient": _mean(
            output.global_orient - target.global_orient, target.has_global_orient, 9 * joints * counts.turned
        ),
        "body_pose": _mean(output.body_pose - target.body_pose, target.has_body_pose, 9 * joints * counts.posed),
        "betas": _mean(output.betas - target.betas, target.has_betas, output.betas.shape[-1] * counts.shaped),
        # A person of negative size stands behind the camera, upside down, and explains keypoints as well.
        "camera": jnp.mean(jnp.square(jnp.exp(-10 * output.weak_camera[:, 0]))),
    }


def spin_sum(terms: dict[str, Float[Array, ""]], options: SpinLossOptions | None = None) -> Float[Array, ""]:
    """The loss of `spin_terms`."""
    options = options or SpinLossOptions()
    return options.total * sum((getattr(options, name) * value for name, value in terms.items()), jnp.zeros(()))


def _middle(points: Float[Array, "B 44 3"], hips: tuple[int, int]) -> Float[Array, "B 1 3"]:
    return 0.5 * (points[:, hips[0], None] + points[:, hips[1], None])


def _mean(errors: Float[Array, "B ..."], weight: Float[Array, "B"], numbers: Float[Array, ""]) -> Float[Array, ""]:
    """Mean of squares over so many numbers of people with a weight."""
    squares = jnp.sum(jnp.square(errors).reshape(errors.shape[0], -1), -1)
    return jnp.sum(squares * weight) / numbers
