"""What HMR 2.0 is trained on: keypoints in the crop and in space, parameters where they are known, and a discriminator.

Goel et al., "Humans in 4D: Reconstructing and Tracking Humans with Transformers", ICCV 2023. All terms but those of the
discriminator are summed over the batch and not divided by its size, as in the published code: the learning rates of its
configuration belong to that.
"""

import dataclasses

import jax
import jax.numpy as jnp

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.networks.regressor_output import RegressorOutput
from hardmo_jax.skeleton import layouts

#: Keypoints in space are compared from this one.
ROOT = layouts.get_layout("hmr2_44").index("pelvis_mpii")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hmr2LossOptions:
    """Weights of the published configuration."""

    keypoints_3d: float = 0.05
    keypoints_2d: float = 0.01
    global_orient: float = 0.001
    body_pose: float = 0.001
    betas: float = 0.0005
    adversarial: float = 0.0005


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Hmr2Target:
    """Truth of B crops, each part with how far it is to be believed."""

    keypoints_2d: Float[AnyArray, "B 44 2"]
    """Of the layout `hmr2_44`, in sides of the crop from its middle: -0.5 to 0.5."""
    confidence_2d: Float[AnyArray, "B 44"]
    keypoints_3d: Float[AnyArray, "B 44 3"]
    """Metres; only differences to the pelvis count."""
    confidence_3d: Float[AnyArray, "B 44"]
    global_orient: Float[AnyArray, "B 3 3"]
    """Rotation matrix."""
    body_pose: Float[AnyArray, "B 23 3 3"]
    """Rotation matrices."""
    betas: Float[AnyArray, "B S"]
    has_global_orient: Float[AnyArray, "B"]
    """One where it is known, else zero; so are the next two."""
    has_body_pose: Float[AnyArray, "B"]
    has_betas: Float[AnyArray, "B"]


def hmr2_terms(
    output: RegressorOutput,
    keypoints_2d: Float[Array, "B 44 2"],
    keypoints_3d: Float[Array, "B 44 3"],
    target: Hmr2Target,
    *,
    root: int = ROOT,
) -> dict[str, Float[Array, ""]]:
    """Terms of the loss by name, without their weights, summed over the batch.

    Args:
        output: Of the network.
        keypoints_2d: Of its bodies in the crop, in sides of the crop from its middle
            (`crop_cameras.project_to_crop`, by the crop's size).
        keypoints_3d: Of its bodies, metres.
        target: Truth.
        root: Place of the point from which points in space are compared; bodies without SMPL's regressors take
            OpenPose's middle of the hips.
    """
    spread = keypoints_3d - keypoints_3d[:, root, None]
    true_spread = target.keypoints_3d - target.keypoints_3d[:, root, None]
    return {
        "keypoints_2d": jnp.sum(target.confidence_2d[..., None] * jnp.abs(keypoints_2d - target.keypoints_2d)),
        "keypoints_3d": jnp.sum(target.confidence_3d[..., None] * jnp.abs(spread - true_spread)),
        "global_orient": _squares(output.global_orient - target.global_orient, target.has_global_orient),
        "body_pose": _squares(output.body_pose - target.body_pose, target.has_body_pose),
        "betas": _squares(output.betas - target.betas, target.has_betas),
    }


def weighted_sum(terms: dict[str, Float[Array, ""]], options: Hmr2LossOptions | None = None) -> Float[Array, ""]:
    """The loss of terms: all of `hmr2_terms`, and `adversarial` where there is a discriminator."""
    options = options or Hmr2LossOptions()
    return sum((getattr(options, name) * value for name, value in terms.items()), jnp.zeros(()))


def adversarial_term(judged: Float[Array, "B 25"]) -> Float[Array, ""]:
    """How far bodies of the network are from passing for real ones: mean over the batch of sums over the outputs.

    Mao et al., "Least Squares Generative Adversarial Networks", ICCV 2017.

    Args:
        judged: What the discriminator says of the network's bodies.
    """
    return jnp.sum(jnp.square(judged - 1)) / judged.shape[0]


def discriminator_loss(
    judged: Float[Array, "B 25"], judged_real: Float[Array, "M 25"], options: Hmr2LossOptions | None = None
) -> Float[Array, ""]:
    """What the discriminator learns from: zero for bodies of the network, one for those of motion capture.

    Args:
        judged: What it says of the network's bodies, through which nothing is to be learnt by the network.
        judged_real: What it says of bodies of motion capture.
        options: Its weight.

    Notes:
        Both sums are divided by the number of the network's bodies. The published code draws twice as many of motion
        capture, which count double by that.
    """
    options = options or Hmr2LossOptions()
    count = judged.shape[0]
    return options.adversarial * (jnp.sum(jnp.square(judged)) + jnp.sum(jnp.square(judged_real - 1))) / count


def _squares(errors: Float[Array, "B ..."], is_known: Float[AnyArray, "B"]) -> Float[Array, ""]:
    each = jnp.square(errors).reshape(errors.shape[0], -1)
    return jnp.sum(each * is_known[:, None])
