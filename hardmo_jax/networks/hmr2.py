"""HMR 2.0, the network of 4DHumans: a vision transformer and one token that asks it for a body.

Goel et al., "Humans in 4D: Reconstructing and Tracking Humans with Transformers", ICCV 2023. HMR 2.0a and b are this
network with other weights, and so is HMR 2.0 trained with HardMo.
"""

import dataclasses
from typing import Any

from flax import nnx

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.networks import regressor_output
from hardmo_jax.networks.backbones.vit import Vit, VitOptions
from hardmo_jax.networks.compute_policy import ComputePolicy
from hardmo_jax.networks.heads.transformer_decoder import TransformerDecoderHead, TransformerDecoderOptions
from hardmo_jax.networks.regressor_output import RegressorOutput, Rot6dLayout

#: Sides of the square crop, pixels, and columns that are cut off on either side of it.
IMAGE_SIZE, CUT_COLUMNS = 256, 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hmr2Options:
    """Size of the network; the default is the published one."""

    backbone: VitOptions = VitOptions()
    head: TransformerDecoderOptions = TransformerDecoderOptions()
    rot6d_layout: Rot6dLayout = "hmr2"

    def __post_init__(self) -> None:
        if self.backbone.width != self.head.features:
            raise ValueError(
                f"the head reads tokens of {self.head.features} numbers, and the backbone has {self.backbone.width}"
            )


class Hmr2(nnx.Module):
    """The network; see the module."""

    def __init__(self, options: Hmr2Options, *, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        self.layout: Rot6dLayout = options.rot6d_layout
        self.backbone = Vit(options.backbone, policy=policy, rngs=rngs)
        self.smpl_head = TransformerDecoderHead(options.head, policy=policy, rngs=rngs)

    def __call__(self, images: Float[AnyArray, "batch 256 256 3"]) -> RegressorOutput:
        """Bodies in crops.

        Args:
            images: Square crops of 256 pixels, RGB, normalised by mean and spread of ImageNet.

        Raises:
            ValueError: If the crops are of another size.
        """
        return self.from_features(self.features(images))

    def features(self, images: Float[AnyArray, "batch 256 256 3"]) -> Float[Array, "batch rows columns C"]:
        """What the backbone sees in crops."""
        if images.ndim != 4 or images.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, 3):
            raise ValueError(f"`images` must be (batch, 256, 256, 3), got {tuple(images.shape)}")
        return self.backbone(images[:, :, CUT_COLUMNS:-CUT_COLUMNS])

    def from_features(self, features: Float[Array, "batch rows columns C"]) -> RegressorOutput:
        """Bodies of what the backbone sees."""
        tokens: Any = features.reshape(features.shape[0], -1, features.shape[-1])
        return regressor_output.output_of_rot6d(*self.smpl_head(tokens), self.layout)
