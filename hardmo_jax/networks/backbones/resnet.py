"""The residual network of fifty layers as torchvision builds it: features of a picture.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, in the variant of PyTorch: the stride of a block
is in its 3 x 3 convolution, not in the first one ("ResNet v1.5").
"""

import dataclasses

import jax.numpy as jnp
from flax import nnx

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.networks.backbones.batch_norm import BatchNorm
from hardmo_jax.networks.backbones.residual_blocks import EXPANSION, Bottleneck, convolution, pooled, rectified
from hardmo_jax.networks.compute_policy import ComputePolicy


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResnetOptions:
    """Size of the network; the default is ResNet-50."""

    blocks: tuple[int, ...] = (3, 4, 6, 3)
    """Of each stage. The first stage has the height and width of a quarter of the picture, every further one half."""
    width: int = 64
    """Channels of the first convolution, and within the blocks of the first stage."""

    def __post_init__(self) -> None:
        if not self.blocks or min(self.blocks) < 1 or self.width < 1:
            raise ValueError(f"every stage must have a block and a channel, got {self.blocks} and {self.width}")

    @property
    def features(self) -> int:
        """Numbers of a feature vector."""
        return EXPANSION * self.width * 2 ** (len(self.blocks) - 1)


class Resnet(nnx.Module):
    """The network; see the module."""

    def __init__(self, options: ResnetOptions, *, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        self.conv1 = convolution(3, options.width, 7, 2, policy, rngs)
        self.bn1 = BatchNorm(options.width)
        channels = options.width
        for stage, count in enumerate(options.blocks):
            inner = options.width * 2**stage
            blocks = []
            for place in range(count):
                stride = 2 if stage > 0 and place == 0 else 1
                blocks.append(Bottleneck(channels, inner, stride, policy, rngs))
                channels = EXPANSION * inner
            setattr(self, f"layer{stage + 1}", nnx.List(blocks))
        self.stages = len(options.blocks)

    def __call__(
        self, images: Float[AnyArray, "batch H W 3"], *, is_training: bool = False
    ) -> Float[Array, "batch h w C"]:
        """Feature maps of pictures.

        Args:
            images: Normalised RGB; 224 x 224 gives 7 x 7 features.
            is_training: Whether batches are normalised by themselves, see `BatchNorm`.
        """
        values = rectified(self.bn1(self.conv1(images), is_training=is_training))
        values = pooled(values)
        for stage in range(self.stages):
            for block in getattr(self, f"layer{stage + 1}"):
                values = block(values, is_training=is_training)
        return values.astype(jnp.result_type(self.conv1.kernel[...]))
