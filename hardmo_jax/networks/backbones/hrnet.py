"""The high-resolution network: branches of several sizes side by side, which tell each other what they see.

Sun et al., "Deep High-Resolution Representation Learning for Human Pose Estimation", CVPR 2019 (the pose network), and
Wang et al., "Deep High-Resolution Representation Learning for Visual Recognition", PAMI 2020 (the classification
network). They share the branches and differ in how these become one map of features:

* `classification`: each branch is widened, and from the finest on each is shrunk and added to the next coarser one.
  Published CLIFF has it.
* `pose`: the finer branches are shrunk by strided convolutions to the size of the coarsest, and all are put side by
  side (Kocabas et al., "PARE", ICCV 2021, and BEDLAM after it).
"""

import dataclasses
import functools
import itertools
import operator
from typing import Any, Literal

import jax.numpy as jnp
from flax import nnx

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.networks.backbones.batch_norm import BatchNorm
from hardmo_jax.networks.backbones.residual_blocks import EXPANSION, BasicBlock, Bottleneck, convolution, rectified
from hardmo_jax.networks.compute_policy import ComputePolicy

#: Bottlenecks before the branches part.
_FIRST_BLOCKS = 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class HrnetOptions:
    """Size of the network; the default is the pose network HRNet-W48."""

    ending: Literal["classification", "pose"] = "pose"
    """How branches become features; see the module."""
    width: int = 48
    """Channels of the finest branch; every coarser one has twice as many."""
    stem: int = 64
    """Channels of the first two convolutions, and within the first blocks."""
    modules: tuple[int, ...] = (1, 4, 3)
    """Times that branches talk to each other: while they are two, three, four, ..."""
    blocks: int = 4
    """Of a branch before it talks."""
    widened: int = 32
    """Channels within the block that widens the finest branch (`classification` alone)."""
    outputs: int = 2048
    """Numbers of a feature vector (`classification` alone)."""

    def __post_init__(self) -> None:
        if self.ending not in ("classification", "pose"):
            raise ValueError(f"`ending` must be classification or pose, got {self.ending!r}")
        sizes = (self.width, self.stem, *self.modules, self.blocks, self.widened, self.outputs)
        if not self.modules or min(sizes) < 1:
            raise ValueError(f"sizes must be at least 1, got {self}")

    @property
    def branches(self) -> tuple[int, ...]:
        """Channels of every branch at the end, the finest first."""
        return tuple(self.width * 2**place for place in range(len(self.modules) + 1))

    @property
    def features(self) -> int:
        """Numbers of a feature vector."""
        return self.outputs if self.ending == "classification" else sum(self.branches)


class Hrnet(nnx.Module):
    """The network; see the module. Names of its parts are those of the published checkpoints."""

    def __init__(self, options: HrnetOptions, *, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        self.options = options
        self.conv1 = convolution(3, options.stem, 3, 2, policy, rngs)
        self.bn1 = BatchNorm(options.stem)
        self.conv2 = convolution(options.stem, options.stem, 3, 2, policy, rngs)
        self.bn2 = BatchNorm(options.stem)
        channels = [options.stem] + [EXPANSION * options.stem] * _FIRST_BLOCKS
        self.layer1 = nnx.List([Bottleneck(size, options.stem, 1, policy, rngs) for size in channels[:_FIRST_BLOCKS]])
        before = channels[-1:]
        for place, count in enumerate(options.modules):
            widths = list(options.branches[: place + 2])
            setattr(self, f"transition{place + 1}", _transition(before, widths, policy, rngs))
            exchanges = [_Exchange(widths, options.blocks, policy, rngs) for _ in range(count)]
            setattr(self, f"stage{place + 2}", nnx.List(exchanges))
            before = widths
        if options.ending == "pose":
            for place, width in enumerate(before[:-1]):
                way = _shrinking(width, len(before) - 1 - place, policy, rngs)
                setattr(self, f"downsample_stage_{place + 1}", way)
        else:
            self._make_classification(before, policy, rngs)

    def _make_classification(self, channels: list[int], policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        inner = [self.options.widened * 2**place for place in range(len(channels))]
        wide = [EXPANSION * size for size in inner]
        self.incre_modules = nnx.List(
            [
                nnx.List([Bottleneck(size, within, 1, policy, rngs)])
                for size, within in zip(channels, inner, strict=True)
            ]
        )
        self.downsamp_modules = nnx.List(
            [
                nnx.List([convolution(fine, coarse, 3, 2, policy, rngs, has_bias=True), BatchNorm(coarse)])
                for fine, coarse in itertools.pairwise(wide)
            ]
        )
        last = convolution(wide[-1], self.options.outputs, 1, 1, policy, rngs, has_bias=True)
        self.final_layer = nnx.List([last, BatchNorm(self.options.outputs)])

    def __call__(
        self, images: Float[AnyArray, "batch H W 3"], *, is_training: bool = False
    ) -> Float[Array, "batch h w C"]:
        """Feature maps of pictures.

        Args:
            images: Normalised RGB, sides a multiple of 32; 256 x 192 gives 8 x 6 features.
            is_training: Whether batches are normalised by themselves, see `BatchNorm`.
        """
        values = rectified(self.bn1(self.conv1(images), is_training=is_training))
        values = rectified(self.bn2(self.conv2(values), is_training=is_training))
        for block in self.layer1:
            values = block(values, is_training=is_training)
        branches = [values]
        for place in range(len(self.options.modules)):
            branches = _parted(getattr(self, f"transition{place + 1}"), branches, is_training)
            for exchange in getattr(self, f"stage{place + 2}"):
                branches = exchange(branches, is_training=is_training)
        end = self._put_together if self.options.ending == "pose" else self._added_up
        return end(branches, is_training).astype(jnp.result_type(self.conv1.kernel[...]))

    def _put_together(
        self, branches: list[Float[Array, "batch _ _ _"]], is_training: bool
    ) -> Float[Array, "batch h w C"]:
        shrunk = []
        for place, values in enumerate(branches[:-1]):
            way = getattr(self, f"downsample_stage_{place + 1}")
            for first in range(0, len(way), 3):
                values = _step(way[first : first + 2], values, is_training)
            shrunk.append(values)
        return jnp.concatenate([*shrunk, branches[-1]], -1)

    def _added_up(self, branches: list[Float[Array, "batch _ _ _"]], is_training: bool) -> Float[Array, "batch h w C"]:
        wide = [
            block[0](values, is_training=is_training)
            for block, values in zip(self.incre_modules, branches, strict=True)
        ]
        total = wide[0]
        for way, values in zip(self.downsamp_modules, wide[1:], strict=True):
            total = values + _step(way, total, is_training)
        return _step(self.final_layer, total, is_training)


class _Exchange(nnx.Module):
    """Branches that each go on for themselves, and then add up what all of them say, brought to their own size."""

    def __init__(self, widths: list[int], blocks: int, policy: ComputePolicy, rngs: nnx.Rngs) -> None:
        self.branches = nnx.List(
            [nnx.List([BasicBlock(width, policy, rngs) for _ in range(blocks)]) for width in widths]
        )
        self.fuse_layers = nnx.List(
            [
                nnx.List([_way(widths, source, target, policy, rngs) for source in range(len(widths))])
                for target in range(len(widths))
            ]
        )

    def __call__(
        self, branches: list[Float[Array, "batch _ _ _"]], *, is_training: bool
    ) -> list[Float[Array, "batch _ _ _"]]:
        seen = []
        for blocks, values in zip(self.branches, branches, strict=True):
            for block in blocks:
                values = block(values, is_training=is_training)
            seen.append(values)
        told = []
        for target, ways in enumerate(self.fuse_layers):
            parts = [_brought(ways[source], values, source - target, is_training) for source, values in enumerate(seen)]
            told.append(rectified(functools.reduce(operator.add, parts)))
        return told


def _way(widths: list[int], source: int, target: int, policy: ComputePolicy, rngs: nnx.Rngs) -> Any:
    """Layers from one branch to another."""
    if source == target:
        return None
    if source > target:
        return nnx.List([convolution(widths[source], widths[target], 1, 1, policy, rngs), BatchNorm(widths[target])])
    outputs = [widths[source]] * (target - source - 1) + [widths[target]]
    return nnx.List(
        [nnx.List([convolution(widths[source], size, 3, 2, policy, rngs), BatchNorm(size)]) for size in outputs]
    )


def _brought(
    way: Any, values: Float[Array, "batch H W C"], coarser: int, is_training: bool
) -> Float[Array, "batch h w D"]:
    """Values of a branch that is so many halvings coarser, in the size of another one."""
    if coarser == 0:
        return values
    if coarser > 0:
        return _repeated(way[1](way[0](values), is_training=is_training), 2**coarser)
    for layers in way[:-1]:
        values = _step(layers, values, is_training)
    return way[-1][1](way[-1][0](values), is_training=is_training)


def _repeated(values: Float[Array, "batch h w C"], factor: int) -> Float[Array, "batch H W C"]:
    """Every place so many times in both directions: the nearest neighbour."""
    batch, height, width, channels = values.shape
    places = jnp.broadcast_to(values[:, :, None, :, None], (batch, height, factor, width, factor, channels))
    return places.reshape(batch, height * factor, width * factor, channels)


def _step(layers: Any, values: Float[Array, "batch H W C"], is_training: bool) -> Float[Array, "batch h w D"]:
    """Convolution, normalisation, and what is above zero."""
    return rectified(layers[1](layers[0](values), is_training=is_training))


def _transition(before: list[int], widths: list[int], policy: ComputePolicy, rngs: nnx.Rngs) -> Any:
    """Layers to one branch more; None where a branch goes on as it is."""
    ways: list[Any] = [
        None if old == new else nnx.List([convolution(old, new, 3, 1, policy, rngs), BatchNorm(new)])
        for old, new in zip(before, widths, strict=False)
    ]
    coarser = nnx.List([convolution(before[-1], widths[-1], 3, 2, policy, rngs), BatchNorm(widths[-1])])
    return nnx.List([*ways, nnx.List([coarser])])


def _parted(
    transition: Any, branches: list[Float[Array, "batch _ _ _"]], is_training: bool
) -> list[Float[Array, "batch _ _ _"]]:
    """One branch more, from the coarsest."""
    going_on = [
        values if way is None else _step(way, values, is_training)
        for way, values in zip(transition, branches, strict=False)
    ]
    return [*going_on, _step(transition[-1][0], branches[-1], is_training)]


def _shrinking(channels: int, times: int, policy: ComputePolicy, rngs: nnx.Rngs) -> Any:
    """So many halvings in one list, with the places that activations have in the published one."""
    layers: list[Any] = []
    for _ in range(times):
        layers += [convolution(channels, channels, 3, 2, policy, rngs), BatchNorm(channels), None]
    return nnx.List(layers)
