"""Several bodies for each crop, of networks that give a density of poses."""

import functools

import jax
import jax.numpy as jnp

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.networks.prohmr import Prohmr
from hardmo_jax.networks.regressor_output import RegressorOutput
from hardmo_jax.networks.regressors import Regressor


@functools.partial(jax.jit, static_argnames="num_samples")
def sample_bodies(
    regressor: Regressor, images: Float[AnyArray, "batch H W 3"], key: AnyArray, *, num_samples: int
) -> RegressorOutput:
    """The most likely body of each crop and others as likely as the network thinks, compiled.

    Args:
        regressor: ProHMR.
        images: Square crops of `regressor.image_size` pixels, RGB, normalised by mean and spread of ImageNet.
        key: Of JAX's random numbers. Their noise is the same for all crops, so that nobody's samples depend on who else
            is there, and in any precision.
        num_samples: Bodies a crop, the most likely one among them.

    Returns:
        Bodies with axes (crop, sample); the first sample is the mode. Betas and camera are those of the crop.

    Raises:
        ValueError: If the network has no density, or fewer than one sample is asked for.
    """
    return bodies_of_features(
        regressor, _with_density(regressor).features(jnp.asarray(images)), key, num_samples=num_samples
    )


@functools.partial(jax.jit, static_argnames="num_samples")
def bodies_of_features(
    regressor: Regressor, features: Float[AnyArray, "batch C"], key: AnyArray, *, num_samples: int
) -> RegressorOutput:
    """`sample_bodies` of what the backbone saw (`regressors.seen_features`)."""
    network, features = _with_density(regressor), jnp.asarray(features)
    if num_samples < 1:
        raise ValueError(f"`num_samples` must be at least 1, got {num_samples}")
    width = network.flow.features
    drawn = jax.random.normal(key, (num_samples - 1, width), jnp.float32).astype(features.dtype)
    noise = jnp.concatenate([jnp.zeros((1, width), features.dtype), drawn])
    return network.from_noise(features, jnp.broadcast_to(noise, (features.shape[0], *noise.shape)))


@jax.jit
def pose_log_prob(
    regressor: Regressor, images: Float[AnyArray, "batch H W 3"], rot6d: Float[AnyArray, "batch *samples N 6"]
) -> Float[Array, "batch *samples"]:
    """How likely a network takes poses to be: logarithm of the density of their numbers.

    Args:
        regressor: ProHMR.
        images: As in `sample_bodies`.
        rot6d: Rotations, root first, six numbers each in the layout of the network (`matrix_to_rot6d_hmr2`).

    Raises:
        ValueError: If the network has no density.
    """
    network = _with_density(regressor)
    features = network.features(jnp.asarray(images))
    vectors = jnp.asarray(rot6d).reshape(*rot6d.shape[:-2], -1)
    context = features.reshape(len(features), *[1] * (vectors.ndim - 2), features.shape[-1])
    return network.flow.log_prob(vectors, context)


def _with_density(regressor: Regressor) -> Prohmr:
    network = regressor.module()
    if not isinstance(network, Prohmr):
        raise ValueError(f"`{regressor.name}` gives one body for each crop and no density; `prohmr` gives both")
    return network
