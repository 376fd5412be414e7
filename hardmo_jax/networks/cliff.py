"""CLIFF as Huawei published it: HMR that is told where in the picture the crop lies.

Li et al., "CLIFF: Carrying Location Information in Full Frames into Human Pose and Shape Estimation", ECCV 2022. There
are two, with a ResNet-50 and with the classification network HRNet-W48. BEDLAM's retrained CLIFF is another network:
`bedlam_cliff`.
"""

import dataclasses

import jax.numpy as jnp
from flax import nnx

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.networks import crop_context, regressor_output
from hardmo_jax.networks.backbones.hrnet import Hrnet, HrnetOptions
from hardmo_jax.networks.backbones.resnet import Resnet, ResnetOptions
from hardmo_jax.networks.compute_policy import ComputePolicy
from hardmo_jax.networks.crop_context import CropContext
from hardmo_jax.networks.heads.iterative import IterativeHead, IterativeOptions
from hardmo_jax.networks.regressor_output import RegressorOutput, Rot6dLayout

#: Of the crop, pixels.
IMAGE_HEIGHT, IMAGE_WIDTH = 256, 192
#: What numbers about the box are multiplied by, and the mean and the spread of its side by the focal length, so that
#: all three are of the size of one.
_PLACE_FACTOR, _USUAL_SIDE, _SIDE_SPREAD = 2.8, 0.24, 0.06
BOX_NUMBERS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class CliffOptions:
    """Size of the network; the default is the published one with ResNet-50."""

    backbone: ResnetOptions | HrnetOptions = ResnetOptions()
    head: IterativeOptions = IterativeOptions(box_numbers=BOX_NUMBERS)
    rot6d_layout: Rot6dLayout = "spin"

    def __post_init__(self) -> None:
        if isinstance(self.backbone, HrnetOptions) and self.backbone.ending != "classification":
            raise ValueError("published CLIFF has the classification network of HRNet")
        if self.backbone.features != self.head.features:
            raise ValueError(f"the head reads {self.head.features} features, the backbone has {self.backbone.features}")
        if self.head.box_numbers != BOX_NUMBERS:
            raise ValueError(f"the head must read {BOX_NUMBERS} numbers about the box, got {self.head.box_numbers}")


class Cliff(nnx.Module):
    """The network; see the module."""

    def __init__(self, options: CliffOptions, *, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        self.layout: Rot6dLayout = options.rot6d_layout
        if isinstance(options.backbone, HrnetOptions):
            self.backbone = Hrnet(options.backbone, policy=policy, rngs=rngs)
        else:
            self.backbone = Resnet(options.backbone, policy=policy, rngs=rngs)
        self.head = IterativeHead(options.head, policy=policy, rngs=rngs)

    def __call__(
        self, images: Float[AnyArray, "batch 256 192 3"], context: CropContext, *, is_training: bool = False
    ) -> RegressorOutput:
        """Bodies before the camera of the picture.

        Args:
            images: Crops of 256 rows and 192 columns, RGB, normalised by mean and spread of ImageNet.
            context: Where they lie. The published weights were trained with the diagonal of the picture as its focal
                length (`crop_context.diagonal_context`).
            is_training: Whether batches are normalised by themselves, and remembered.

        Raises:
            ValueError: If the crops are of another size.
        """
        return self.from_features(self.features(images, is_training=is_training), context)

    def features(
        self, images: Float[AnyArray, "batch 256 192 3"], *, is_training: bool = False
    ) -> Float[Array, "batch F"]:
        """What the backbone sees in crops, averaged over the picture."""
        if images.ndim != 4 or images.shape[1:] != (IMAGE_HEIGHT, IMAGE_WIDTH, 3):
            raise ValueError(f"`images` must be (batch, 256, 192, 3), got {tuple(images.shape)}")
        return jnp.mean(self.backbone(images, is_training=is_training), (1, 2))

    def from_features(self, features: Float[Array, "batch F"], context: CropContext) -> RegressorOutput:
        """Bodies of what the backbone sees, and of where it looked."""
        box = cliff_box_numbers(context).astype(features.dtype)
        return regressor_output.output_of_rot6d(*self.head(features, box), self.layout)


def cliff_box_numbers(context: CropContext) -> Float[Array, "N 3"]:
    """Place and size of boxes as published CLIFF is told them, without unit."""
    numbers = crop_context.box_over_focal_length(context)
    side = (numbers[..., 2:] - _USUAL_SIDE) / _SIDE_SPREAD
    return jnp.concatenate([numbers[..., :2] * _PLACE_FACTOR, side], -1)
