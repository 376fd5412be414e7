"""A normalising flow that is told what a picture shows: a density of vectors given features, and samples of it.

Kingma & Dhariwal, "Glow: Generative Flow with Invertible 1x1 Convolutions", NeurIPS 2018, on vectors instead of
pictures, with the additive coupling of Dinh et al., "NICE: Non-linear Independent Components Estimation", ICLR 2015
workshop, as Kolotouros et al., "Probabilistic Modeling for Human Mesh Recovery" (ProHMR), ICCV 2021, condition it.

Forwards it takes numbers x to noise z, backwards noise to numbers. Each layer scales and shifts every number
(`ActNorm`), mixes all of them (`LuLinear`), and adds to one half of them what a network makes of the other half and of
the context (`AdditiveCoupling`). As the coupling only adds, volumes change by the same factor everywhere.
"""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.scipy import linalg

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.networks.backbones.batch_norm import BatchNorm
from hardmo_jax.networks.compute_policy import ComputePolicy

#: Smallest entry on the diagonal of an upper triangle.
_LEAST_DIAGONAL = 1e-3
#: Parts of a layer: scales, mixing, coupling.
PARTS = 3


class Places(nnx.Variable):
    """Which numbers of a vector a layer means: not trained, and part of every checkpoint."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class GlowOptions:
    """Size of the flow; the default is that of ProHMR."""

    features: int = 144
    """Numbers of a vector: six for each of 24 rotations."""
    context: int = 2048
    """Numbers that the density is conditioned on."""
    layers: int = 4
    blocks: int = 2
    """Residual blocks of each coupling."""
    hidden: int = 1024
    """Numbers within the couplings."""

    def __post_init__(self) -> None:
        if min(dataclasses.astuple(self)) < 1:
            raise ValueError(f"sizes of a flow must be positive, got {self}")
        if self.features % 2:
            raise ValueError(f"`features` must be even, as couplings halve them, got {self.features}")


class ConditionalGlow(nnx.Module):
    """The flow; see the module."""

    def __init__(self, options: GlowOptions, *, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        self.features = options.features
        parts = []
        for layer in range(options.layers):
            parts += [
                ActNorm(options.features),
                LuLinear(options.features, policy),
                AdditiveCoupling(options, layer % 2, policy, rngs),
            ]
        self.transforms = nnx.List(parts)

    def forward(
        self, values: Float[AnyArray, "*batch F"], context: Float[AnyArray, "*#batch C"], *, is_training: bool = False
    ) -> tuple[Float[Array, "*batch F"], Float[Array, ""]]:
        """Noise that vectors stand for.

        Args:
            values: Vectors.
            context: What they are conditioned on; its batch axes broadcast, and what it goes through is computed
                once for all vectors that share it.
            is_training: Whether batches are normalised by themselves, see `BatchNorm`.

        Returns:
            The noise, and the logarithm of the determinant of its derivative by the vectors, the same for all.
        """
        values, context = jnp.asarray(values), jnp.asarray(context)
        volume = jnp.zeros((), values.dtype)
        for part in self.transforms:
            values = part.forward(values, context, is_training=is_training)
            volume = volume + part.log_volume()
        return values, volume

    def inverse(
        self, noise: Float[AnyArray, "*batch F"], context: Float[AnyArray, "*#batch C"]
    ) -> Float[Array, "*batch F"]:
        """Vectors of noise: the inverse of `forward`.

        Args:
            noise: Zeros give the mode of the density, normal noise gives samples of it.
            context: As in `forward`.
        """
        values, context = jnp.asarray(noise), jnp.asarray(context)
        for part in reversed(list(self.transforms)):
            values = part.inverse(values, context)
        return values

    def log_volume(self) -> Float[Array, ""]:
        """Logarithm of the determinant of the derivative of noise by vectors."""
        return sum((part.log_volume() for part in self.transforms), jnp.zeros(()))

    def log_prob(
        self, values: Float[AnyArray, "*batch F"], context: Float[AnyArray, "*#batch C"], *, is_training: bool = False
    ) -> Float[Array, "*batch"]:
        """Logarithm of the density of vectors.

        Args:
            values: Vectors.
            context: As in `forward`.
            is_training: As in `forward`.
        """
        noise, volume = self.forward(values, context, is_training=is_training)
        return log_normal(noise) + volume


class ActNorm(nnx.Module):
    """y = exp(log_scale) x + shift, number by number."""

    def __init__(self, features: int) -> None:
        self.log_scale = nnx.Param(jnp.zeros(features))
        self.shift = nnx.Param(jnp.zeros(features))

    def forward(self, values: Float[Array, "*batch F"], context: Any, *, is_training: bool) -> Float[Array, "*batch F"]:
        """Towards noise."""
        del context, is_training
        return jnp.exp(self.log_scale[...]) * values + self.shift[...]

    def inverse(self, values: Float[Array, "*batch F"], context: Any) -> Float[Array, "*batch F"]:
        """From noise."""
        del context
        return (values - self.shift[...]) * jnp.exp(-self.log_scale[...])

    def log_volume(self) -> Float[Array, ""]:
        """Logarithm of the determinant of the derivative."""
        return jnp.sum(self.log_scale[...])


class LuLinear(nnx.Module):
    """y = L U x + b with triangles L, of ones on its diagonal, and U, of positive numbers on its own.

    The entries of the triangles lie row after row.
    """

    def __init__(self, features: int, policy: ComputePolicy) -> None:
        self.features, self.products = features, policy.products
        entries = features * (features - 1) // 2
        # Untrained it is the identity.
        start = math.log(math.expm1(1 - _LEAST_DIAGONAL))
        self.lower_entries = nnx.Param(jnp.zeros(entries))
        self.upper_entries = nnx.Param(jnp.zeros(entries))
        self.unconstrained_upper_diag = nnx.Param(jnp.full((features,), start))
        self.bias = nnx.Param(jnp.zeros(features))

    def forward(self, values: Float[Array, "*batch F"], context: Any, *, is_training: bool) -> Float[Array, "*batch F"]:
        """Towards noise."""
        del context, is_training
        lower, upper = self.triangles()
        mixed = jnp.matmul(values, upper.T, precision=self.products)
        return jnp.matmul(mixed, lower.T, precision=self.products) + self.bias[...]

    def inverse(self, values: Float[Array, "*batch F"], context: Any) -> Float[Array, "*batch F"]:
        """From noise."""
        del context
        lower, upper = self.triangles()
        columns = (values - self.bias[...]).reshape(-1, self.features).T
        columns = linalg.solve_triangular(lower, columns, lower=True, unit_diagonal=True)
        return linalg.solve_triangular(upper, columns).T.reshape(values.shape)

    def log_volume(self) -> Float[Array, ""]:
        """Logarithm of the determinant of the derivative."""
        return jnp.sum(jnp.log(self._diagonal()))

    def triangles(self) -> tuple[Float[Array, "F F"], Float[Array, "F F"]]:
        """L and U."""
        size = self.features
        diagonal = self._diagonal()
        blank = jnp.zeros((size, size), diagonal.dtype)
        lower = blank.at[np.tril_indices(size, -1)].set(self.lower_entries[...]) + jnp.eye(size, dtype=diagonal.dtype)
        upper = blank.at[np.triu_indices(size, 1)].set(self.upper_entries[...]) + jnp.diag(diagonal)
        return lower, upper

    def _diagonal(self) -> Float[Array, "F"]:
        return jax.nn.softplus(self.unconstrained_upper_diag[...]) + _LEAST_DIAGONAL


class AdditiveCoupling(nnx.Module):
    """One half of the numbers stays; the other gets what a network makes of the first half and of the context."""

    def __init__(self, options: GlowOptions, first: int, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        places = np.arange(options.features, dtype=np.int32)
        self.identity_features = Places(jnp.asarray(places[first::2]))
        self.transform_features = Places(jnp.asarray(places[1 - first :: 2]))
        self.net = CouplingNet(options, policy, rngs)

    def forward(
        self, values: Float[Array, "*batch F"], context: Float[Array, "*#batch C"], *, is_training: bool
    ) -> Float[Array, "*batch F"]:
        """Towards noise."""
        return self._add(values, self._difference(values, context, is_training=is_training))

    def inverse(self, values: Float[Array, "*batch F"], context: Float[Array, "*#batch C"]) -> Float[Array, "*batch F"]:
        """From noise."""
        return self._add(values, -self._difference(values, context, is_training=False))

    def log_volume(self) -> float:
        """Logarithm of the determinant of the derivative: what is added changes no volume."""
        return 0.0

    def _difference(self, values: Array, context: Array, *, is_training: bool) -> Array:
        kept = jnp.take(values, self.identity_features[...], axis=-1)
        return self.net(kept, context, is_training=is_training)

    def _add(self, values: Array, difference: Array) -> Array:
        return values.at[..., self.transform_features[...]].add(difference)


class CouplingNet(nnx.Module):
    """Residual blocks between two linear layers, the first of which sees the context, too."""

    def __init__(self, options: GlowOptions, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        half, layer = options.features // 2, {"precision": policy.products, "rngs": rngs}
        self.half, self.products = half, policy.products
        self.initial_layer = nnx.Linear(half + options.context, options.hidden, **layer)
        self.blocks = nnx.List([CouplingBlock(options.hidden, policy, rngs) for _ in range(options.blocks)])
        self.final_layer = nnx.Linear(options.hidden, half, **layer)

    def __call__(
        self, kept: Float[Array, "*batch H"], context: Float[Array, "*#batch C"], *, is_training: bool
    ) -> Float[Array, "*batch H"]:
        """What is added to the other half."""
        first: Any = self.initial_layer
        kernel = first.kernel[...]
        # The context is multiplied once for all samples of a picture, not once for each.
        seen = jnp.matmul(context, kernel[self.half :], precision=self.products) + first.bias[...]
        values = jnp.matmul(kept, kernel[: self.half], precision=self.products) + _of_rank(seen, kept.ndim)
        for block in self.blocks:
            values = block(values, is_training=is_training)
        return self.final_layer(values)


class CouplingBlock(nnx.Module):
    """Normalise, cut off below zero, multiply, twice, beside a straight way."""

    def __init__(self, features: int, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        self.norms = nnx.List([BatchNorm(features), BatchNorm(features)])
        self.layers = nnx.List([nnx.Linear(features, features, precision=policy.products, rngs=rngs) for _ in range(2)])

    def __call__(self, values: Float[Array, "*batch D"], *, is_training: bool) -> Float[Array, "*batch D"]:
        """Values after the block."""
        inner = values
        for norm, layer in zip(self.norms, self.layers, strict=True):
            inner = layer(nnx.relu(norm(inner, is_training=is_training)))
        return values + inner


def log_normal(noise: Float[AnyArray, "*batch F"]) -> Float[Array, "*batch"]:
    """Logarithm of the density of independent numbers of mean zero and spread one."""
    noise = jnp.asarray(noise)
    return -0.5 * jnp.sum(jnp.square(noise), -1) - 0.5 * noise.shape[-1] * math.log(2 * math.pi)


def _of_rank(values: Array, rank: int) -> Array:
    """Values with as many axes of one in front as are missing."""
    return values.reshape(*[1] * (rank - values.ndim), *values.shape)
