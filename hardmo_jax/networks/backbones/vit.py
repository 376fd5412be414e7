"""The vision transformer of ViTPose without its pose head: tokens of a picture, each of which has seen all others.

Xu et al., "ViTPose: Simple Vision Transformer Baselines for Human Pose Estimation", NeurIPS 2022, on Dosovitskiy et
al., "An Image is Worth 16x16 Words", ICLR 2021. Three things that look like details are not: patches are cut with a
border of two pixels; the place of the class token, which the sequence does not have, is added to all tokens; and the
GELU is the exact one. Dropped paths of training are left out.
"""

import dataclasses

import jax
import jax.numpy as jnp
from flax import nnx

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.networks.compute_policy import ComputePolicy

#: Of the normalisations of the backbone; PyTorch's own default, which the decoder has, is 1e-5.
_NORM_FLOOR = 1e-6
_PATCH, _PATCH_BORDER = 16, 2
#: Heads by width, of the sizes that ViTPose publishes, and of the small one of the reference files.
HEADS_BY_WIDTH = {80: 5, 384: 12, 768: 12, 1024: 16, 1280: 16}


@dataclasses.dataclass(frozen=True, kw_only=True)
class VitOptions:
    """Size of the transformer; the default is ViT-H/16."""

    width: int = 1280
    """Numbers of a token."""
    depth: int = 32
    """Blocks."""
    heads: int = 16
    """Heads of attention of a block."""
    hidden: int = 5120
    """Width of the layer between the two of a block's perceptron."""
    rows: int = 16
    """Of patches; 16 pixels each."""
    columns: int = 12
    """Of patches."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 1:
                raise ValueError(f"`{field.name}` must be at least 1, got {getattr(self, field.name)}")
        if self.width % self.heads:
            raise ValueError(f"`heads` must divide `width`, got {self.heads} and {self.width}")


class Vit(nnx.Module):
    """The network; see the module."""

    def __init__(self, options: VitOptions, *, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        self.options = options
        self.patch_embed = _PatchEmbedding(options.width, policy, rngs)
        places = (1, options.rows * options.columns + 1, options.width)
        self.pos_embed = nnx.Param(0.02 * jax.random.normal(rngs.params(), places))
        self.blocks = nnx.List([_Block(options, policy, rngs) for _ in range(options.depth)])
        self.last_norm = nnx.LayerNorm(options.width, epsilon=_NORM_FLOOR, use_fast_variance=False, rngs=rngs)

    def __call__(self, images: Float[AnyArray, "batch H W 3"]) -> Float[Array, "batch rows columns C"]:
        """Features of pictures.

        Args:
            images: 16 pixels a patch high and wide (256 x 192 by default), normalised RGB.

        Raises:
            ValueError: If the pictures are of another size.
        """
        rows, columns = self.options.rows, self.options.columns
        if images.ndim != 4 or images.shape[1:] != (_PATCH * rows, _PATCH * columns, 3):
            raise ValueError(
                f"`images` must be (batch, {_PATCH * rows}, {_PATCH * columns}, 3), got {tuple(images.shape)}"
            )
        tokens = self.patch_embed(images)
        places = self.pos_embed[...]
        # Two sums and not the sum of both places: rounded as the reference rounds.
        tokens = tokens + places[:, 1:] + places[:, :1]
        for block in self.blocks:
            tokens = block(tokens)
        return self.last_norm(tokens).reshape(images.shape[0], rows, columns, -1)


class _PatchEmbedding(nnx.Module):
    """Patches as tokens: a convolution whose windows do not overlap, so that it is one product of matrices, which
    rounds less and is faster."""

    def __init__(self, width: int, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        self.proj = nnx.Conv(3, width, (_PATCH, _PATCH), rngs=rngs)
        self.policy = policy

    def __call__(self, images: Float[AnyArray, "batch H W 3"]) -> Float[Array, "batch T C"]:
        kernel, bias = self.proj.kernel[...], self.proj.bias
        batch, height, width = images.shape[:3]
        border = (_PATCH_BORDER, _PATCH_BORDER)
        # What the border adds on the right and below is no whole patch.
        seen = jnp.pad(images, ((0, 0), border, border, (0, 0)))[:, :height, :width]
        patches = seen.reshape(batch, height // _PATCH, _PATCH, width // _PATCH, _PATCH, 3)
        patches = jnp.swapaxes(patches, 2, 3).reshape(batch, -1, kernel.size // kernel.shape[-1])
        matrix = kernel.reshape(-1, kernel.shape[-1])
        dtype = self.policy.backbone_dtype or jnp.promote_types(patches.dtype, matrix.dtype)
        tokens = jnp.matmul(patches.astype(dtype), matrix.astype(dtype), precision=self.policy.products)
        return tokens.astype(kernel.dtype) + (0 if bias is None else bias[...])


class _Block(nnx.Module):
    """Attention, then a perceptron, each beside a straight way and after a normalisation."""

    def __init__(self, options: VitOptions, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        self.norm1 = nnx.LayerNorm(options.width, epsilon=_NORM_FLOOR, use_fast_variance=False, rngs=rngs)
        self.attn = _Attention(options, policy, rngs)
        self.norm2 = nnx.LayerNorm(options.width, epsilon=_NORM_FLOOR, use_fast_variance=False, rngs=rngs)
        self.mlp = _Perceptron(options, policy, rngs)

    def __call__(self, tokens: Float[Array, "batch T C"]) -> Float[Array, "batch T C"]:
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class _Attention(nnx.Module):
    """Vaswani et al., "Attention is all you need", NeurIPS 2017, among all tokens."""

    def __init__(self, options: VitOptions, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        self.heads, self.products = options.heads, policy.products
        layer = {"dtype": policy.backbone_dtype, "precision": policy.products, "rngs": rngs}
        self.qkv = nnx.Linear(options.width, 3 * options.width, **layer)
        self.proj = nnx.Linear(options.width, options.width, **layer)

    def __call__(self, tokens: Float[Array, "batch T C"]) -> Float[Array, "batch T C"]:
        batch, length, width = tokens.shape
        parts = self.qkv(tokens).reshape(batch, length, 3, self.heads, width // self.heads)
        query, key, value = parts[:, :, 0], parts[:, :, 1], parts[:, :, 2]
        return self.proj(attend(query, key, value, self.products)).astype(tokens.dtype)


class _Perceptron(nnx.Module):
    """Two layers with an exact GELU between them."""

    def __init__(self, options: VitOptions, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        layer = {"dtype": policy.backbone_dtype, "precision": policy.products, "rngs": rngs}
        self.fc1 = nnx.Linear(options.width, options.hidden, **layer)
        self.fc2 = nnx.Linear(options.hidden, options.width, **layer)

    def __call__(self, tokens: Float[Array, "batch T C"]) -> Float[Array, "batch T C"]:
        return self.fc2(nnx.gelu(self.fc1(tokens), approximate=False)).astype(tokens.dtype)


def attend(
    query: Float[Array, "batch T heads D"],
    key: Float[Array, "batch U heads D"],
    value: Float[Array, "batch U heads D"],
    precision: jax.lax.Precision,
) -> Float[Array, "batch T C"]:
    """What each query finds among the values: softmax of scaled products, heads side by side in the result."""
    scaled = query * query.shape[-1] ** -0.5
    logits = jnp.einsum("bqhd,bkhd->bhqk", scaled, key, precision=precision)
    # Of sums over all tokens, eight bits are too few.
    shares = nnx.softmax(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)), -1).astype(value.dtype)
    found = jnp.einsum("bhqk,bkhd->bqhd", shares, value, precision=precision)
    return found.reshape(*query.shape[:2], -1)
