"""What ProHMR is trained on: the density of labelled poses, its mode, and its samples in the picture.

Kolotouros et al., "Probabilistic Modeling for Human Mesh Recovery", ICCV 2021. Sums over keypoints and parameters are
divided by the size of the batch, as published.
"""

import dataclasses

import jax.numpy as jnp
from jax import lax

from hardmo_jax.array_types import Array, Float
from hardmo_jax.networks.regressor_output import RegressorOutput
from hardmo_jax.training import hmr2_loss
from hardmo_jax.training.hmr2_loss import Hmr2Target
from hardmo_jax.training.label_counts import LabelCounts, label_counts

#: Spread of what is added to labelled poses before their density is asked: they lie on rotations, which have none.
POSE_NOISE = 0.005


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProhmrLossOptions:
    """Weights of the published configuration."""

    negative_log_prob: float = 0.001
    keypoints_2d: float = 0.01
    keypoints_2d_samples: float = 0.001
    keypoints_3d: float = 0.05
    keypoints_3d_samples: float = 0.0
    global_orient: float = 0.001
    body_pose: float = 0.001
    betas: float = 0.0005
    orthogonality: float = 0.1
    """Of six numbers as they leave the flow: columns of a rotation are at right angles and of length one."""
    adversarial: float = 0.0005


def prohmr_terms(
    mode: RegressorOutput,
    samples: RegressorOutput,
    keypoints_2d: Float[Array, "B S 44 2"],
    keypoints_3d: Float[Array, "B S 44 3"],
    log_prob: Float[Array, "B"],
    target: Hmr2Target,
    *,
    root: int = hmr2_loss.ROOT,
    counts: LabelCounts | None = None,
) -> dict[str, Float[Array, ""]]:
    """Terms of the loss by name, without their weights.

    Args:
        mode: The most likely bodies.
        samples: Drawn bodies, (B, S - 1).
        keypoints_2d: Of the modes, and then of the samples, in sides of the crop.
        keypoints_3d: The same, metres.
        log_prob: Density of the labelled poses.
        target: Truth.
        root: Place of the point from which points in space are compared.
        counts: What means over people are divided by; None counts the target's.
    """
    counts = counts or label_counts(target)
    batch, drawn = keypoints_2d.shape[0], max(keypoints_2d.shape[1] - 1, 1)
    own = hmr2_loss.hmr2_terms(mode, keypoints_2d[:, 0], keypoints_3d[:, 0], target, root=root)
    terms = {name: value / batch for name, value in own.items()}
    spread = keypoints_3d[:, 1:] - keypoints_3d[:, 1:, root, None]
    wanted = (target.keypoints_3d - target.keypoints_3d[:, root, None])[:, None]
    apart = jnp.abs(keypoints_2d[:, 1:] - target.keypoints_2d[:, None])
    is_labelled = target.has_global_orient * target.has_body_pose
    return terms | {
        "keypoints_2d_samples": jnp.sum(target.confidence_2d[:, None, :, None] * apart) / (batch * drawn),
        "keypoints_3d_samples": jnp.sum(target.confidence_3d[:, None, :, None] * jnp.abs(spread - wanted))
        / (batch * drawn),
        "negative_log_prob": -jnp.sum(jnp.where(is_labelled > 0, is_labelled * log_prob, 0)) / counts.labelled,
        "orthogonality": _skew(mode) + _skew(samples),
    }


def prohmr_sum(terms: dict[str, Float[Array, ""]], options: ProhmrLossOptions | None = None) -> Float[Array, ""]:
    """The loss of `prohmr_terms`, and of `adversarial` where there is a discriminator."""
    options = options or ProhmrLossOptions()
    return sum((getattr(options, name) * value for name, value in terms.items()), jnp.zeros(()))


def _skew(output: RegressorOutput) -> Float[Array, ""]:
    """Mean square of how far six numbers are from two columns of a rotation."""
    if output.rot6d is None or not output.rot6d.size:
        return jnp.zeros(())
    columns = output.rot6d.reshape(*output.rot6d.shape[:-1], 2, 3)
    gram = jnp.einsum("...ic,...jc->...ij", columns, columns, precision=lax.Precision.HIGHEST)
    return jnp.mean(jnp.square(gram - jnp.eye(2)))
