"""HMR with the pose network HRNet-W48 in place of ResNet-50, as HardMo retrains it.

The head is HMR's of SPIN (three rounds of feedback), the backbone that of BEDLAM's CLIFF, and nothing is told about the
box: crops, cameras and rotations are SPIN's. No file of these weights was public when this was written. What
is built is the layout in which the published code of this family keeps such a network (`backbone.*`, `head.*`, 720
features), for SMPL or SMPL-X. HMR trained with HardMo on a ResNet-50 is `hmr`.
"""

import dataclasses

import jax.numpy as jnp
from flax import nnx

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.networks import regressor_output
from hardmo_jax.networks.backbones.hrnet import Hrnet, HrnetOptions
from hardmo_jax.networks.compute_policy import ComputePolicy
from hardmo_jax.networks.heads.iterative import IterativeHead, IterativeOptions
from hardmo_jax.networks.regressor_output import RegressorOutput, Rot6dLayout

#: Sides of the square crop, pixels.
IMAGE_SIZE = 224


@dataclasses.dataclass(frozen=True, kw_only=True)
class HardmoHmrOptions:
    """Size of the network; the default is HRNet-W48 for SMPL."""

    backbone: HrnetOptions = HrnetOptions()
    head: IterativeOptions = IterativeOptions(features=HrnetOptions().features)
    rot6d_layout: Rot6dLayout = "spin"

    def __post_init__(self) -> None:
        if self.backbone.features != self.head.features:
            raise ValueError(f"the head reads {self.head.features} features, the backbone has {self.backbone.features}")
        if self.head.box_numbers:
            raise ValueError("the head reads nothing about the box; BEDLAM's CLIFF does")


class HardmoHmr(nnx.Module):
    """The network; see the module."""

    def __init__(self, options: HardmoHmrOptions, *, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        self.layout: Rot6dLayout = options.rot6d_layout
        self.backbone = Hrnet(options.backbone, policy=policy, rngs=rngs)
        self.head = IterativeHead(options.head, policy=policy, rngs=rngs)

    def __call__(self, images: Float[AnyArray, "batch 224 224 3"], *, is_training: bool = False) -> RegressorOutput:
        """Bodies in crops.

        Args:
            images: Square crops of 224 pixels, RGB, normalised by mean and spread of ImageNet.
            is_training: Whether batches are normalised by themselves, and remembered.

        Raises:
            ValueError: If the crops are of another size.
        """
        return self.from_features(self.features(images, is_training=is_training))

    def features(
        self, images: Float[AnyArray, "batch 224 224 3"], *, is_training: bool = False
    ) -> Float[Array, "batch F"]:
        """What the backbone sees in crops, averaged over the picture."""
        if images.ndim != 4 or images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, 3):
            raise ValueError(f"`images` must be (batch, 224, 224, 3), got {tuple(images.shape)}")
        return jnp.mean(self.backbone(images, is_training=is_training), (1, 2))

    def from_features(self, features: Float[Array, "batch F"]) -> RegressorOutput:
        """Bodies of what the backbone sees."""
        return regressor_output.output_of_rot6d(*self.head(features), self.layout)
