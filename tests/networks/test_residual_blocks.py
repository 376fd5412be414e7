"""Convolutions of colours and the pooling after them against what XLA and Flax have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from hardmo_jax.networks.backbones import residual_blocks
from hardmo_jax.networks.compute_policy import ComputePolicy


@pytest.mark.parametrize(("side", "stride"), [(7, 2), (3, 2), (3, 1)])
@pytest.mark.parametrize("shape", [(16, 12), (15, 9)])
def test_colours_are_convolved_as_xla_does_it(side, stride, shape):
    layer = residual_blocks.convolution(3, 5, side, stride, ComputePolicy(), nnx.Rngs(0))
    assert isinstance(layer, residual_blocks.OfColours)
    values = np.random.default_rng(1).normal(size=(2, *shape, 3)).astype(np.float32)
    weights = np.random.default_rng(2).normal(size=layer(values).shape).astype(np.float32)

    def total(kernel, convolve):
        return jnp.sum(weights * convolve(jnp.asarray(values), kernel))

    kernel = layer.kernel[...]
    np.testing.assert_allclose(
        layer._as_product(jnp.asarray(values), kernel), layer._as_convolution(jnp.asarray(values), kernel), atol=1e-5
    )
    slopes = [jax.grad(total)(kernel, way) for way in (layer._as_product, layer._as_convolution)]
    np.testing.assert_allclose(*slopes, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(8, 6), (7, 5)])
def test_pooling_is_that_of_flax(shape):
    values = np.random.default_rng(1).normal(size=(2, *shape, 4)).astype(np.float32)
    values[0, 2, 2, 0] = np.nan
    expected = nnx.max_pool(jnp.asarray(values), (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
    np.testing.assert_array_equal(residual_blocks.pooled(jnp.asarray(values)), expected)
    values[0, 2, 2, 0] = 0
    slopes = [
        jax.grad(lambda x, way=way: jnp.sum(way(x) ** 2))(jnp.asarray(values))
        for way in (
            residual_blocks.pooled,
            lambda x: nnx.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1))),
        )
    ]
    np.testing.assert_allclose(*slopes, atol=1e-6)
