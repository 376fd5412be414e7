"""HMR as public PyTorch code means it: the network of SPIN, a ResNet-50 and a head with feedback.

Kanazawa et al., "End-to-end Recovery of Human Shape and Pose", CVPR 2018; Kolotouros et al., "Learning to Reconstruct
3D Human Pose and Shape via Model-fitting in the Loop", ICCV 2019. The weights of 2018 are of TensorFlow and of another
network (ResNet v2, axis-angle), which is not built here. HMR trained with HardMo is this network.
"""

import dataclasses

import jax.numpy as jnp
from flax import nnx

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.networks import regressor_output
from hardmo_jax.networks.backbones.resnet import Resnet, ResnetOptions
from hardmo_jax.networks.compute_policy import ComputePolicy
from hardmo_jax.networks.heads.iterative import IterativeHead, IterativeOptions
from hardmo_jax.networks.regressor_output import RegressorOutput, Rot6dLayout

#: Sides of the square crop, pixels.
IMAGE_SIZE = 224


@dataclasses.dataclass(frozen=True, kw_only=True)
class HmrOptions:
    """Size of the network; the default is the published one."""

    backbone: ResnetOptions = ResnetOptions()
    head: IterativeOptions = IterativeOptions()
    rot6d_layout: Rot6dLayout = "spin"
    image_size: int = IMAGE_SIZE
    """Sides of the crop, pixels; what is published has 224."""

    def __post_init__(self) -> None:
        if self.backbone.features != self.head.features:
            raise ValueError(f"the head reads {self.head.features} features, the backbone has {self.backbone.features}")
        if self.image_size < 32:
            raise ValueError(
                f"`image_size` must be at least 32, which the backbone makes one pixel, got {self.image_size}"
            )


class Hmr(nnx.Module):
    """The network; see the module."""

    def __init__(self, options: HmrOptions, *, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        self.layout: Rot6dLayout = options.rot6d_layout
        self.image_size = options.image_size
        self.backbone = Resnet(options.backbone, policy=policy, rngs=rngs)
        self.head = IterativeHead(options.head, policy=policy, rngs=rngs)

    def __call__(self, images: Float[AnyArray, "batch H W 3"], *, is_training: bool = False) -> RegressorOutput:
        """Bodies in crops.

        Args:
            images: Square crops of 224 pixels, or of `image_size`, RGB, normalised by mean and spread of ImageNet.
            is_training: Whether batches are normalised by themselves, and remembered.

        Raises:
            ValueError: If the crops are of another size.
        """
        return self.from_features(self.features(images, is_training=is_training))

    def features(self, images: Float[AnyArray, "batch H W 3"], *, is_training: bool = False) -> Float[Array, "batch F"]:
        """What the backbone sees in crops, averaged over the picture."""
        side = self.image_size
        if images.ndim != 4 or images.shape[1:] != (side, side, 3):
            raise ValueError(f"`images` must be (batch, {side}, {side}, 3), got {tuple(images.shape)}")
        return jnp.mean(self.backbone(images, is_training=is_training), (1, 2))

    def from_features(self, features: Float[Array, "batch F"]) -> RegressorOutput:
        """Bodies of what the backbone sees."""
        return regressor_output.output_of_rot6d(*self.head(features), self.layout)
