"""Terms of hands and feet beside the published losses, and how labels that are not sure are held.

HardMo compares wrists and fingertips in the picture and in space (L1), which turn the hand of SMPL though it has no
fingers. Weights are not published. Dwivedi et al., "TokenHMR", CVPR 2024, find that 2D labels pull bodies wrong where
they are followed to the last pixel: errors in the picture below a threshold count little (TALS).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.skeleton import layouts


@dataclasses.dataclass(frozen=True, kw_only=True)
class PartTermOptions:
    """Weights; zero is none."""

    hand_keypoints_2d: float = 0.0
    """Of wrists and fingertips in the picture; beside that of keypoints, which is 0.01 in HMR 2.0."""
    hand_keypoints_3d: float = 0.0
    """The same in space."""
    feet: float = 1.0
    """Factor on the confidence of ankles, heels and toes."""
    wrists: float = 1.0
    """Factor on the confidence of wrists."""
    noise_threshold: float = 0.0
    """Errors in the picture below this, sides of the crop, count by `below_threshold`."""
    below_threshold: float = 0.1

    def __post_init__(self) -> None:
        if min(dataclasses.astuple(self)) < 0:
            raise ValueError(f"weights and thresholds must not be negative, got {self}")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class HandTarget:
    """Fingertips of B crops, in the order of `training_records.FINGERTIPS`."""

    keypoints_2d: Float[AnyArray, "B 10 2"]
    """Sides of the crop from its middle."""
    confidence_2d: Float[AnyArray, "B 10"]
    keypoints_3d: Float[AnyArray, "B 10 3"]
    """Metres."""
    confidence_3d: Float[AnyArray, "B 10"]


def part_factors(options: PartTermOptions) -> Float[np.ndarray, "44"]:
    """Factors on the confidences of `hmr2_44`."""
    points = layouts.get_layout("hmr2_44").points
    feet, wrists = ("ankle", "heel", "toe"), ("wrist",)
    return np.array(
        [
            options.feet
            if any(word in point for word in feet)
            else options.wrists
            if any(word in point for word in wrists)
            else 1.0
            for point in points
        ],
        np.float32,
    )


def above_noise(
    found: Float[Array, "B K 2"], wanted: Float[AnyArray, "B K 2"], options: PartTermOptions
) -> Float[Array, "B K 2"]:
    """Points that are compared with the wanted ones in place of those found: nearer ones where nothing is to be learnt.

    A point nearer than the threshold is drawn to the wanted one by `1 - below_threshold` of the way, so that any loss
    of the difference, and its gradient, shrink with it.
    """
    if not options.noise_threshold:
        return found
    away = found - jnp.asarray(wanted)
    is_noise = jnp.sum(jnp.square(away), -1, keepdims=True) < options.noise_threshold**2
    return jnp.where(is_noise, wanted + options.below_threshold * away, found)


def hand_terms(
    wrists_and_tips_2d: Float[Array, "B 12 2"],
    wrists_and_tips_3d: Float[Array, "B 12 3"],
    target: HandTarget,
    wrists_2d: Float[AnyArray, "B 2 2"],
    wrists_3d: Float[AnyArray, "B 2 3"],
    wrist_confidence: Float[AnyArray, "B 2"],
    wrist_confidence_3d: Float[AnyArray, "B 2"],
) -> dict[str, Float[Array, ""]]:
    """L1 of wrists and fingertips, summed over the batch.

    Args:
        wrists_and_tips_2d: Of the network's bodies: right and left wrist, then the tips; sides of the crop.
        wrists_and_tips_3d: The same, metres.
        target: Truth of the tips.
        wrists_2d: Truth of the wrists.
        wrists_3d: The same in space.
        wrist_confidence: Of them.
        wrist_confidence_3d: The same in space.

    Notes:
        In space each hand is compared from its own wrist, so that the term turns hands and does not move arms.
    """
    wanted_2d = jnp.concatenate([jnp.asarray(wrists_2d), jnp.asarray(target.keypoints_2d)], 1)
    confidence = jnp.concatenate([jnp.asarray(wrist_confidence), jnp.asarray(target.confidence_2d)], 1)
    # Tips come left hand first, wrists right hand first as OpenPose has them.
    own_wrist = np.repeat([1, 0], 5)
    reach = wrists_and_tips_3d[:, 2:] - wrists_and_tips_3d[:, own_wrist]
    wanted_reach = jnp.asarray(target.keypoints_3d) - jnp.asarray(wrists_3d)[:, own_wrist]
    confidence_3d = jnp.asarray(target.confidence_3d) * (jnp.asarray(wrist_confidence_3d)[:, own_wrist] > 0)
    return {
        "hand_keypoints_2d": jnp.sum(confidence[..., None] * jnp.abs(wrists_and_tips_2d - wanted_2d)),
        "hand_keypoints_3d": jnp.sum(confidence_3d[..., None] * jnp.abs(reach - wanted_reach)),
    }
