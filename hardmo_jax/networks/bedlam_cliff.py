"""CLIFF as BEDLAM trains it: the pose network HRNet-W48, square crops, and another way to tell the place of the box.

Black et al., "BEDLAM: A Synthetic Dataset of Bodies Exhibiting Detailed Lifelike Animated Motion", CVPR 2023. Its files
answer with SMPL (24 joints, 10 betas; `cliff.ckpt`, trained on real pictures) or with SMPL-X (22 joints, 11 betas;
`bedlam_cliff.ckpt`). Numbers about the box go in as they are, where published CLIFF (`cliff`) rescales them: a file
of one of the two networks gives nonsense in the other.
"""

import dataclasses

import jax.numpy as jnp
from flax import nnx

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.networks import crop_context, regressor_output
from hardmo_jax.networks.backbones.hrnet import Hrnet, HrnetOptions
from hardmo_jax.networks.compute_policy import ComputePolicy
from hardmo_jax.networks.crop_context import CropContext
from hardmo_jax.networks.heads.iterative import IterativeHead, IterativeOptions
from hardmo_jax.networks.regressor_output import RegressorOutput, Rot6dLayout

#: Sides of the square crop, pixels.
IMAGE_SIZE = 224
BOX_NUMBERS = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class BedlamCliffOptions:
    """Size of the network; the default is the published one for SMPL."""

    backbone: HrnetOptions = HrnetOptions()
    head: IterativeOptions = IterativeOptions(features=HrnetOptions().features, box_numbers=BOX_NUMBERS)
    rot6d_layout: Rot6dLayout = "spin"

    def __post_init__(self) -> None:
        if self.backbone.features != self.head.features:
            raise ValueError(f"the head reads {self.head.features} features, the backbone has {self.backbone.features}")
        if self.head.box_numbers != BOX_NUMBERS:
            raise ValueError(f"the head must read {BOX_NUMBERS} numbers about the box, got {self.head.box_numbers}")


class BedlamCliff(nnx.Module):
    """The network; see the module."""

    def __init__(self, options: BedlamCliffOptions, *, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        self.layout: Rot6dLayout = options.rot6d_layout
        self.backbone = Hrnet(options.backbone, policy=policy, rngs=rngs)
        self.head = IterativeHead(options.head, policy=policy, rngs=rngs)

    def __call__(
        self, images: Float[AnyArray, "batch 224 224 3"], context: CropContext, *, is_training: bool = False
    ) -> RegressorOutput:
        """Bodies before the camera of the picture.

        Args:
            images: Square crops of 224 pixels, RGB, normalised by mean and spread of ImageNet.
            context: Where they lie. Trained with the true focal lengths of rendered pictures; where none is known the
                published code takes the diagonal.
            is_training: Whether batches are normalised by themselves, and remembered.

        Raises:
            ValueError: If the crops are of another size.
        """
        return self.from_features(self.features(images, is_training=is_training), context)

    def features(
        self, images: Float[AnyArray, "batch 224 224 3"], *, is_training: bool = False
    ) -> Float[Array, "batch F"]:
        """What the backbone sees in crops, averaged over the picture."""
        if images.ndim != 4 or images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, 3):
            raise ValueError(f"`images` must be (batch, 224, 224, 3), got {tuple(images.shape)}")
        return jnp.mean(self.backbone(images, is_training=is_training), (1, 2))

    def from_features(self, features: Float[Array, "batch F"], context: CropContext) -> RegressorOutput:
        """Bodies of what the backbone sees, and of where it looked."""
        box = crop_context.box_over_focal_length(context).astype(features.dtype)
        return regressor_output.output_of_rot6d(*self.head(features, box), self.layout)
