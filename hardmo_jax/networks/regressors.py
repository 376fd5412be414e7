"""Regressors by name, and one of them ready for use: its weights are an argument of compiled code, never part of it."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.networks import bedlam_cliff, cliff, hardmo_hmr, hmr, hmr2, prohmr, weight_arrays
from hardmo_jax.networks.compute_policy import ComputePolicy
from hardmo_jax.networks.crop_context import CropContext
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
    """Height of the crop that it is given, pixels, and its width where `image_width` says no other."""
    image_width: int | None = None
    """Width of a crop that is no square, pixels."""
    last_layers: tuple[str, ...] = ("head.decpose", "head.decshape", "head.deccam")
    """Layers that put out rotations, betas and camera: beginnings of names of `named_weights`. None where rotations
    come from a density."""
    sees_picture: bool = False
    """Whether it is told where in the picture the crop lies, and answers before the camera of the picture; others
    answer as if they looked straight at the middle of the crop."""


ARCHITECTURES: Mapping[str, Architecture] = {
    one.name: one
    for one in (
        Architecture(
            name="hmr", title="HMR (SPIN)", network=hmr.Hmr, options=hmr.HmrOptions, image_size=hmr.IMAGE_SIZE
        ),
        Architecture(
            name="hmr2", title="HMR 2.0", network=hmr2.Hmr2, options=hmr2.Hmr2Options, image_size=hmr2.IMAGE_SIZE,
            last_layers=("smpl_head.decpose", "smpl_head.decshape", "smpl_head.deccam"),
        ),
        Architecture(
            name="cliff", title="CLIFF", network=cliff.Cliff, options=cliff.CliffOptions,
            image_size=cliff.IMAGE_HEIGHT, image_width=cliff.IMAGE_WIDTH, sees_picture=True,
        ),
        Architecture(
            name="bedlam_cliff", title="CLIFF as BEDLAM trains it", network=bedlam_cliff.BedlamCliff,
            options=bedlam_cliff.BedlamCliffOptions, image_size=bedlam_cliff.IMAGE_SIZE, sees_picture=True,
        ),
        Architecture(
            name="hardmo_hmr", title="HMR with HRNet-W48 (HardMo)", network=hardmo_hmr.HardmoHmr,
            options=hardmo_hmr.HardmoHmrOptions, image_size=hardmo_hmr.IMAGE_SIZE,
        ),
        Architecture(
            name="prohmr", title="ProHMR", network=prohmr.Prohmr, options=prohmr.ProhmrOptions,
            image_size=prohmr.IMAGE_SIZE, last_layers=(),
        ),
    )
}  # fmt: skip
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
        """Height of the crop, pixels; see `crop_shape`."""
        return self.crop_shape[0]

    @property
    def crop_shape(self) -> tuple[int, int]:
        """(height, width) of the crop, pixels."""
        known = ARCHITECTURES[self.name]
        height = getattr(self.options, "image_size", known.image_size)
        return height, known.image_width or height

    @property
    def sees_picture(self) -> bool:
        """Whether it needs a `CropContext`, and answers before the camera of the picture."""
        return ARCHITECTURES[self.name].sees_picture

    def __call__(self, images: Float[AnyArray, "batch H W 3"], context: CropContext | None = None) -> RegressorOutput:
        """Bodies in crops; to be called within `jit`, or by `regress`.

        Args:
            images: Crops of `crop_shape`, RGB, normalised by mean and spread of ImageNet.
            context: Where in their pictures they lie; networks that do not see the picture ignore it.

        Raises:
            ValueError: If crops are of another size, or a network that sees the picture is told nothing of it.
        """
        network: Any = self.module()
        return network(images, *self._told(len(images), context))

    def features(self, images: Float[AnyArray, "batch H W 3"]) -> Float[Array, "batch ..."]:
        """What the backbone sees in crops; for images and errors see the call."""
        network: Any = self.module()
        return network.features(images)

    def from_features(
        self, features: Float[AnyArray, "batch ..."], context: CropContext | None = None
    ) -> RegressorOutput:
        """Bodies of what the backbone sees: the call is this of `features`."""
        network: Any = self.module()
        return network.from_features(features, *self._told(len(features), context))

    def _told(self, count: int, context: CropContext | None) -> tuple[CropContext, ...]:
        """What the network is given besides pictures."""
        if not self.sees_picture:
            return ()
        if context is None:
            raise ValueError(f"{ARCHITECTURES[self.name].title} must be told where crops lie: give a `CropContext`")
        if context.focal_length.shape != (count,):
            raise ValueError(f"one place for each of {count} crops is needed, got {context.focal_length.shape}")
        return (context,)

    def module(self) -> nnx.Module:
        """The network as an object, whose parts can be called on their own."""
        return nnx.merge(regressor_structure(self.name, self.options, self.policy), self.weights)


@jax.jit
def regress(
    regressor: Regressor, images: Float[AnyArray, "batch H W 3"], context: CropContext | None = None
) -> RegressorOutput:
    """Bodies in crops, compiled once for every network and every number of crops.

    Args:
        regressor: A network.
        images: Crops of `regressor.crop_shape`, RGB, normalised by mean and spread of ImageNet.
        context: Where in their pictures they lie; networks of which `sees_picture` is false need none.

    Raises:
        ValueError: As `Regressor.__call__`.
    """
    return regressor(images, context)


@jax.jit
def seen_features(regressor: Regressor, images: Float[AnyArray, "batch H W 3"]) -> Float[Array, "batch ..."]:
    """What the backbone sees in crops, compiled; arguments as in `regress`."""
    return regressor.features(images)


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
        dtype: Of its weights; whole numbers stay such.
        policy: How exactly it computes.

    Raises:
        KeyError: If an array is missing.
    """
    blank = blank_weights(name, options)
    leaves = [
        jnp.array(arrays[path], leaf.dtype if jnp.issubdtype(leaf.dtype, jnp.integer) else dtype)
        for path, leaf in named_weights(blank).items()
    ]
    weights = jax.tree.unflatten(jax.tree.structure(blank), leaves)
    return Regressor(weights=weights, name=name, options=options, policy=policy or ComputePolicy())


def regressor_structure(name: str, options: Any, policy: ComputePolicy) -> Any:
    """A network without its arrays."""
    return _blank(name, options, policy, jnp.zeros(()).dtype)[0]


def blank_weights(name: str, options: Any) -> Any:
    """State of a network with shapes in place of arrays."""
    return _blank(name, options, ComputePolicy(), jnp.zeros(()).dtype)[1]


def forget_structures() -> None:
    """Build every network anew from here on, as after a change of its code."""
    _blank.cache_clear()


def named_weights(state: Any) -> dict[str, Any]:
    """Arrays of a state by their path, such as `backbone.blocks.0.norm1.scale`."""
    return {path.removesuffix(".value"): leaf for path, leaf in weight_arrays.named_leaves(state).items()}


@functools.lru_cache(maxsize=16)
def _blank(name: str, options: Any, policy: ComputePolicy, usual: Any) -> tuple[Any, Any]:
    """Structure and shapes. Building a large network takes seconds even without its arrays."""
    del usual  # starts of heads are of the usual precision, whichever that is where this is called
    make = ARCHITECTURES[name].network
    return nnx.split(nnx.eval_shape(lambda: make(options, policy=policy, rngs=nnx.Rngs(0))))
