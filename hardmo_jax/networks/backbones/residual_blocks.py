"""Residual blocks and their convolutions, of ResNet and of HRNet.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016. Where a block of three convolutions shrinks, its
stride is in the 3 x 3 convolution, not in the first one ("ResNet v1.5").
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.networks.backbones.batch_norm import BatchNorm
from hardmo_jax.networks.compute_policy import ComputePolicy

#: Channels out of a bottleneck by channels within.
EXPANSION = 4
#: Most channels that a convolution of pictures has.
_COLOURS = 3


class Pointwise(nnx.Module):
    """A convolution of single pixels as one product of matrices, for which XLA takes half the time on a CPU."""

    def __init__(
        self, channels: int, outputs: int, stride: int, policy: ComputePolicy, rngs: nnx.Rngs, *, has_bias: bool
    ) -> None:
        # Weights are those of a convolution of one pixel, as files have them.
        start = nnx.initializers.lecun_normal()
        self.kernel = nnx.Param(start(rngs.params(), (1, 1, channels, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs)) if has_bias else None
        self._stride, self._policy = stride, policy

    def __call__(self, values: Float[AnyArray, "batch H W C"]) -> Float[Array, "batch h w D"]:
        """Values of every `stride`-th pixel."""
        kernel = self.kernel[...][0, 0]
        dtype = self._policy.backbone_dtype or jnp.result_type(values, kernel)
        seen = jnp.asarray(values, dtype)[:, :: self._stride, :: self._stride]
        values = jnp.matmul(seen, kernel.astype(dtype), precision=self._policy.products)
        return values if self.bias is None else values + self.bias[...].astype(dtype)


class OfColours(nnx.Module):
    """A convolution of a picture's colours, which XLA computes on a CPU at a tenth of the rate of other ones.

    There it is one product of matrices, of all windows of the picture with the kernel: a third of the time, and as much
    memory as windows overlap. Elsewhere it is what it is.
    """

    def __init__(self, outputs: int, side: int, stride: int, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        start = nnx.initializers.lecun_normal()
        self.kernel = nnx.Param(start(rngs.params(), (side, side, _COLOURS, outputs)))
        self._stride, self._policy = stride, policy

    def __call__(self, values: Float[AnyArray, "batch H W 3"]) -> Float[Array, "batch h w D"]:
        """Values of every `stride`-th pixel."""
        kernel = self.kernel[...]
        dtype = self._policy.backbone_dtype or jnp.result_type(values, kernel)
        both = jnp.asarray(values, dtype), kernel.astype(dtype)
        return jax.lax.platform_dependent(*both, cpu=self._as_product, default=self._as_convolution)

    def _as_convolution(
        self, values: Float[Array, "batch H W 3"], kernel: Float[Array, "S S 3 D"]
    ) -> Float[Array, "batch h w D"]:
        border = kernel.shape[0] // 2
        return jax.lax.conv_general_dilated(
            values, kernel, (self._stride, self._stride), [(border, border)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"), precision=self._policy.products,
        )  # fmt: skip

    def _as_product(
        self, values: Float[Array, "batch H W 3"], kernel: Float[Array, "S S 3 D"]
    ) -> Float[Array, "batch h w D"]:
        height, width = values.shape[1:3]
        side, border = kernel.shape[0], kernel.shape[0] // 2
        padded = jnp.pad(values, ((0, 0), (border, border), (border, border), (0, 0)))
        places = [(row, column) for row in range(side) for column in range(side)]
        windows = [
            padded[:, row : row + height : self._stride, column : column + width : self._stride]
            for row, column in places
        ]
        return jnp.matmul(
            jnp.concatenate(windows, -1), kernel.reshape(-1, kernel.shape[-1]), precision=self._policy.products
        )


def convolution(
    channels: int,
    outputs: int,
    side: int,
    stride: int,
    policy: ComputePolicy,
    rngs: nnx.Rngs,
    *,
    has_bias: bool = False,
) -> nnx.Conv | Pointwise | OfColours:
    """A square convolution with zeros around, so that a stride of one keeps height and width."""
    if side == 1:
        return Pointwise(channels, outputs, stride, policy, rngs, has_bias=has_bias)
    if channels == _COLOURS and not has_bias and side % 2:
        return OfColours(outputs, side, stride, policy, rngs)
    return nnx.Conv(
        channels,
        outputs,
        (side, side),
        strides=stride,
        padding=side // 2,
        use_bias=has_bias,
        dtype=policy.backbone_dtype,
        precision=policy.products,
        rngs=rngs,
    )


def pooled(values: Float[Array, "batch H W C"]) -> Float[Array, "batch h w C"]:
    """The largest of 3 x 3 values about every second pixel; XLA's own takes five times as long with its gradient."""
    height, width = values.shape[1:3]
    lowest = jnp.array(-jnp.inf, values.dtype)
    padded = jnp.pad(values, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=lowest)
    windows = [
        padded[:, row : row + height : 2, column : column + width : 2] for row in range(3) for column in range(3)
    ]
    return functools.reduce(jnp.maximum, windows)


def rectified(values: Float[Array, "*batch"]) -> Float[Array, "*batch"]:
    """What is above zero; NaN stays NaN.

    A choice, not a maximum: XLA takes 30 s to compile the maxima of HRNet-W48 for a CPU, and 2 s for these.
    """
    return jnp.where(values <= 0, jnp.zeros((), values.dtype), values)


class Bottleneck(nnx.Module):
    """Three convolutions beside a straight way, which has one of its own where the size changes."""

    def __init__(self, channels: int, inner: int, stride: int, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        outer = EXPANSION * inner
        self.conv1 = convolution(channels, inner, 1, 1, policy, rngs)
        self.bn1 = BatchNorm(inner)
        self.conv2 = convolution(inner, inner, 3, stride, policy, rngs)
        self.bn2 = BatchNorm(inner)
        self.conv3 = convolution(inner, outer, 1, 1, policy, rngs)
        self.bn3 = BatchNorm(outer)
        if stride != 1 or channels != outer:
            way: Any = nnx.List([convolution(channels, outer, 1, stride, policy, rngs), BatchNorm(outer)])
        else:
            way = None
        self.downsample = way

    def __call__(self, values: Float[Array, "batch H W C"], *, is_training: bool) -> Float[Array, "batch h w D"]:
        """Values after the block."""
        straight = values
        if self.downsample is not None:
            own, norm = self.downsample[0], self.downsample[1]
            straight = norm(own(values), is_training=is_training)
        values = rectified(self.bn1(self.conv1(values), is_training=is_training))
        values = rectified(self.bn2(self.conv2(values), is_training=is_training))
        return rectified(straight + self.bn3(self.conv3(values), is_training=is_training))


class BasicBlock(nnx.Module):
    """Two convolutions of one size beside a straight way."""

    def __init__(self, channels: int, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        self.conv1 = convolution(channels, channels, 3, 1, policy, rngs)
        self.bn1 = BatchNorm(channels)
        self.conv2 = convolution(channels, channels, 3, 1, policy, rngs)
        self.bn2 = BatchNorm(channels)

    def __call__(self, values: Float[Array, "batch H W C"], *, is_training: bool) -> Float[Array, "batch H W C"]:
        """Values after the block."""
        inner = rectified(self.bn1(self.conv1(values), is_training=is_training))
        return rectified(values + self.bn2(self.conv2(inner), is_training=is_training))
