"""The head of HMR 2.0: one token that asks the features of the picture, layer after layer, and becomes a body.

Goel et al., "Humans in 4D: Reconstructing and Tracking Humans with Transformers", ICCV 2023. Every layer normalises
what goes into its parts and not what comes out; nothing is normalised after the last one. Dropout is left out.
"""

import dataclasses

import jax.numpy as jnp
from flax import nnx

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.networks.backbones.vit import attend
from hardmo_jax.networks.compute_policy import ComputePolicy
from hardmo_jax.networks.heads.iterative import Initial

#: PyTorch's default, ten times that of the backbone.
_NORM_FLOOR = 1e-5


@dataclasses.dataclass(frozen=True, kw_only=True)
class TransformerDecoderOptions:
    """Size of the head; the default is that of the published HMR 2.0."""

    features: int = 1280
    """Numbers of a token of the picture."""
    width: int = 1024
    """Numbers of the token that becomes the body."""
    depth: int = 6
    """Layers."""
    heads: int = 8
    head_width: int = 64
    hidden: int = 1024
    """Width within the perceptron of a layer."""
    joints: int = 24
    """Rotations, the root's among them."""
    betas: int = 10

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 1:
                raise ValueError(f"`{field.name}` must be at least 1, got {getattr(self, field.name)}")


class TransformerDecoderHead(nnx.Module):
    """The head; see the module."""

    def __init__(self, options: TransformerDecoderOptions, *, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        layer = {"precision": policy.products, "rngs": rngs}
        width = options.width
        self.to_token_embedding = nnx.Linear(1, width, **layer)
        self.pos_embedding = nnx.Param(jnp.zeros((1, 1, width)))
        self.layers = nnx.List([_Layer(options, policy, rngs) for _ in range(options.depth)])
        self.decpose = nnx.Linear(width, 6 * options.joints, **layer)
        self.decshape = nnx.Linear(width, options.betas, **layer)
        self.deccam = nnx.Linear(width, 3, **layer)
        self.init_body_pose = Initial(jnp.zeros((1, 6 * options.joints)))
        self.init_betas = Initial(jnp.zeros((1, options.betas)))
        self.init_cam = Initial(jnp.zeros((1, 3)))

    def __call__(
        self, features: Float[AnyArray, "batch U F"]
    ) -> tuple[Float[Array, "batch N"], Float[Array, "batch S"], Float[Array, "batch 3"]]:
        """Rotations (6 numbers a joint), betas, and (s, tx, ty) of the crop.

        Args:
            features: Tokens of the picture.
        """
        # The network is asked for nothing: its one input is zero, which leaves the bias of the embedding.
        nothing = jnp.zeros((features.shape[0], 1, 1), features.dtype)
        token = self.to_token_embedding(nothing) + self.pos_embedding[...]
        for layer in self.layers:
            token = layer(token, features)
        found = token[:, 0]
        return (
            self.decpose(found) + self.init_body_pose[...],
            self.decshape(found) + self.init_betas[...],
            self.deccam(found) + self.init_cam[...],
        )


class _Layer(nnx.Module):
    """Attention to itself, attention to the picture, perceptron."""

    def __init__(self, options: TransformerDecoderOptions, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        self.self_attention = _SelfAttention(options, policy, rngs)
        self.cross_attention = _CrossAttention(options, policy, rngs)
        self.mlp = _Perceptron(options, policy, rngs)

    def __call__(
        self, token: Float[Array, "batch T C"], features: Float[Array, "batch U F"]
    ) -> Float[Array, "batch T C"]:
        token = token + self.self_attention(token)
        token = token + self.cross_attention(token, features)
        return token + self.mlp(token)


class _SelfAttention(nnx.Module):
    def __init__(self, options: TransformerDecoderOptions, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        self.heads, self.products = options.heads, policy.products
        inner, layer = options.heads * options.head_width, {"precision": policy.products, "rngs": rngs}
        self.norm = nnx.LayerNorm(options.width, epsilon=_NORM_FLOOR, use_fast_variance=False, rngs=rngs)
        self.to_qkv = nnx.Linear(options.width, 3 * inner, use_bias=False, **layer)
        self.to_out = nnx.Linear(inner, options.width, **layer)

    def __call__(self, token: Float[Array, "batch T C"]) -> Float[Array, "batch T C"]:
        parts = self.to_qkv(self.norm(token))
        parts = parts.reshape(*token.shape[:2], 3, self.heads, -1)
        return self.to_out(attend(parts[:, :, 0], parts[:, :, 1], parts[:, :, 2], self.products))


class _CrossAttention(nnx.Module):
    def __init__(self, options: TransformerDecoderOptions, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        self.heads, self.products = options.heads, policy.products
        inner, layer = options.heads * options.head_width, {"precision": policy.products, "rngs": rngs}
        self.norm = nnx.LayerNorm(options.width, epsilon=_NORM_FLOOR, use_fast_variance=False, rngs=rngs)
        self.to_q = nnx.Linear(options.width, inner, use_bias=False, **layer)
        self.to_kv = nnx.Linear(options.features, 2 * inner, use_bias=False, **layer)
        self.to_out = nnx.Linear(inner, options.width, **layer)

    def __call__(
        self, token: Float[Array, "batch T C"], features: Float[Array, "batch U F"]
    ) -> Float[Array, "batch T C"]:
        query = self.to_q(self.norm(token)).reshape(*token.shape[:2], self.heads, -1)
        parts = self.to_kv(features).reshape(*features.shape[:2], 2, self.heads, -1)
        return self.to_out(attend(query, parts[:, :, 0], parts[:, :, 1], self.products))


class _Perceptron(nnx.Module):
    def __init__(self, options: TransformerDecoderOptions, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        layer = {"precision": policy.products, "rngs": rngs}
        self.norm = nnx.LayerNorm(options.width, epsilon=_NORM_FLOOR, use_fast_variance=False, rngs=rngs)
        self.first = nnx.Linear(options.width, options.hidden, **layer)
        self.second = nnx.Linear(options.hidden, options.width, **layer)

    def __call__(self, token: Float[Array, "batch T C"]) -> Float[Array, "batch T C"]:
        return self.second(nnx.gelu(self.first(self.norm(token)), approximate=False))
