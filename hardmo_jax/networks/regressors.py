"""Regressors by name, and one of them ready for use: its weights are an argument of compiled code, never part of it."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from hardmo_jax.array_types import AnyArray, Float
from hardmo_jax.networks import hmr, hmr2, weight_arrays
from hardmo_jax.networks.compute_policy import ComputePolicy
from hardmo_jax.networks.regressor_output import RegressorOutput


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """What sets one regressor apart from another."""

    name: str
    """As users give it."""
    title: str
    """For messages."""
    network: Callable[..., nnx.Module]
    """Class, called with options, `policy` and `rngs`."""
    options: type
    """Class of its options."""
    image_size: int
    """Sides of the square crop that it is given, pixels."""


ARCHITECTURES: Mapping[str, Architecture] = {
    one.name: one
    for one in (
        Architecture(
            name="hmr", title="HMR (SPIN)", network=hmr.Hmr, options=hmr.HmrOptions, image_size=hmr.IMAGE_SIZE
        ),
        Architecture(
            name="hmr2", title="HMR 2.0", network=hmr2.Hmr2, options=hmr2.Hmr2Options, image_size=hmr2.IMAGE_SIZE
        ),
    )
}
"""All regressors."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Regressor:
    """A network with its weights; passes through jit as an argument."""

    weights: Any
    """State of the network."""
    name: str = dataclasses.field(metadata={"static": True})
    """In `ARCHITECTURES`."""
    options: Any = dataclasses.field(metadata={"static": True})
    """Size of the network."""
    policy: ComputePolicy = dataclasses.field(default=ComputePolicy(), metadata={"static": True})
    """How exactly it computes."""

    @property
    def image_size(self) -> int:
        """Sides of the square crop, pixels."""
        return ARCHITECTURES[self.name].image_size

    def __call__(self, images: Float[AnyArray, "batch H W 3"]) -> RegressorOutput:
        """Bodies in crops; to be called within `jit`, or by `regress`.

        Args:
            images: Square crops of `image_size` pixels, RGB, normalised by mean and spread of ImageNet.
        """
        network: Any = self.module()
        return network(images)

    def module(self) -> nnx.Module:
        """The network as an object, whose parts can be called on their own."""
        return nnx.merge(regressor_structure(self.name, self.options, self.policy), self.weights)


@jax.jit
def regress(regressor: Regressor, images: Float[AnyArray, "batch H W 3"]) -> RegressorOutput:
    """Bodies in crops, compiled once for every network and every number of crops.

    Args:
        regressor: A network.
        images: Square crops of `regressor.image_size` pixels, RGB, normalised by mean and spread of ImageNet.
    """
    return regressor(images)


def untrained(name: str, options: Any, *, seed: int = 0, policy: ComputePolicy | None = None) -> Regressor:
    """A regressor with random weights."""
    policy = policy or ComputePolicy()
    network = ARCHITECTURES[name].network(options, policy=policy, rngs=nnx.Rngs(seed))
    return Regressor(weights=nnx.split(network)[1], name=name, options=options, policy=policy)


def with_arrays(
    name: str,
    options: Any,
    arrays: Mapping[str, Float[AnyArray, "..."]],
    *,
    dtype: Any = jnp.float32,
    policy: ComputePolicy | None = None,
) -> Regressor:
    """A regressor of named arrays.

    Args:
        name: In `ARCHITECTURES`.
        options: Size of the network.
        arrays: By path, see `named_weights`.
        dtype: Of its weights.
        policy: How exactly it computes.

    Raises:
        KeyError: If an array is missing.
    """
    blank = blank_weights(name, options)
    leaves = [jnp.array(arrays[path], dtype) for path in named_weights(blank)]
    weights = jax.tree.unflatten(jax.tree.structure(blank), leaves)
    return Regressor(weights=weights, name=name, options=options, policy=policy or ComputePolicy())


@functools.lru_cache(maxsize=16)
def regressor_structure(name: str, options: Any, policy: ComputePolicy) -> Any:
    """A network without its arrays."""
    return _blank(name, options, policy)[0]


def blank_weights(name: str, options: Any) -> Any:
    """State of a network with shapes in place of arrays."""
    return _blank(name, options, ComputePolicy())[1]


def named_weights(state: Any) -> dict[str, Any]:
    """Arrays of a state by their path, such as `backbone.blocks.0.norm1.scale`."""
    return {path.removesuffix(".value"): leaf for path, leaf in weight_arrays.named_leaves(state).items()}


def _blank(name: str, options: Any, policy: ComputePolicy) -> tuple[Any, Any]:
    make = ARCHITECTURES[name].network
    return nnx.split(nnx.eval_shape(lambda: make(options, policy=policy, rngs=nnx.Rngs(0))))
