"""Batch normalisation as PyTorch does it: what it remembers of a batch is the unbiased variance."""

import jax.numpy as jnp
from flax import nnx
from jax import lax

from hardmo_jax.array_types import AnyArray, Array, Float

_NORM_FLOOR = 1e-5
#: Share of the new batch in what is remembered.
_MOMENTUM = 0.1


class BatchNorm(nnx.Module):
    """Ioffe & Szegedy, "Batch Normalization", ICML 2015, with running statistics.

    Notes:
        A batch is normalised by its biased variance, and the unbiased one is remembered; `flax.nnx.BatchNorm`
        remembers the biased one.
    """

    def __init__(self, features: int) -> None:
        self.scale = nnx.Param(jnp.ones(features))
        self.bias = nnx.Param(jnp.zeros(features))
        self.mean = nnx.BatchStat(jnp.zeros(features))
        self.var = nnx.BatchStat(jnp.ones(features))

    def __call__(self, values: Float[AnyArray, "*batch C"], *, is_training: bool = False) -> Float[Array, "*batch C"]:
        """Normalised values.

        Args:
            values: Channels last. The result has at least the precision of the scale.
            is_training: Whether to normalise by the batch and to remember its statistics.
        """
        # Products may be of half precision; what is summed over layers and pictures is not.
        values = values.astype(jnp.promote_types(values.dtype, self.scale[...].dtype))
        mean, variance = self.mean[...], self.var[...]
        if is_training:
            axes = tuple(range(values.ndim - 1))
            count = values.size // values.shape[-1]
            mean = jnp.mean(values, axes)
            variance = jnp.mean(jnp.square(values - mean), axes)
            self._remember(mean, variance * _unbiased(count))
        factor = lax.rsqrt(variance + _NORM_FLOOR) * self.scale[...]
        return values * factor + (self.bias[...] - mean * factor)

    def _remember(self, mean: Float[Array, "C"], variance: Float[Array, "C"]) -> None:
        self.mean[...] = lax.stop_gradient((1 - _MOMENTUM) * self.mean[...] + _MOMENTUM * mean)
        self.var[...] = lax.stop_gradient((1 - _MOMENTUM) * self.var[...] + _MOMENTUM * variance)


def _unbiased(count: int) -> float:
    """Unbiased variance by biased variance, of so many values."""
    return count / max(count - 1, 1)
