"""The learned pose prior: mixtures of Gaussians over the joints of each part of the body.

Every part has a mixture of its own, so that a rare ankle is not punished for being on a common body. Components are
Gaussians over axis-angle vectors with full covariance, which joint limits keep away from half turns; the right side is
the mirror image of the left. Of a mixture the nearest component counts (max-mixture): its logarithm is a sum of
squares, which Levenberg-Marquardt wants.

References:
    Olson & Agarwal, "Inference on networks of mixtures for robust robot mapping", IJRR 2013 (max-mixture); Bogo et
    al., "Keep it SMPL", ECCV 2016, has one mixture over the whole body.
"""

import dataclasses
import functools
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from hardmo_jax.array_types import AnyArray, Array, Float, Int
from hardmo_jax.body import learnt_files
from hardmo_jax.skeleton import joint_limits, layouts

_HIGHEST = lax.Precision.HIGHEST
_ASSET = "fitting/assets/pose_prior.npz"

#: Joints of each part, left side. Parts without a side stand once.
PARTS: dict[str, tuple[str, ...]] = {
    "trunk": ("spine1", "spine2", "spine3", "neck", "head", "left_collar", "right_collar"),
    "arm": ("left_shoulder", "left_elbow"),
    "wrist": ("left_wrist",),
    "leg": ("left_hip", "left_knee"),
    "foot": ("left_ankle", "left_foot"),
    "hand": layouts.MANO_JOINTS["left"][1:],
}


class PosePriorError(ValueError):
    """A file is no pose prior; the message says what to do."""


_KIND = learnt_files.FileKind(
    name="a pose prior",
    error=PosePriorError,
    remedy="`python -m tools.train --config=configs/train_prior.py` makes one",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mixture:
    """Gaussians over the joints of a part, flattened axis-angle, radians."""

    weights: Float[np.ndarray, "K"]
    means: Float[np.ndarray, "K D"]
    covariances: Float[np.ndarray, "K D D"]

    def as_one(self) -> "Mixture":
        """The one Gaussian with the mean and covariance of the mixture."""
        mean = self.weights @ self.means
        apart = self.means - mean
        covariance = np.einsum("k,kij->ij", self.weights, self.covariances)
        covariance += np.einsum("k,ki,kj->ij", self.weights, apart, apart)
        return Mixture(weights=np.ones(1), means=mean[None], covariances=covariance[None])

    def mirrored(self) -> "Mixture":
        """Of the other side."""
        signs = np.tile(joint_limits.MIRROR_SIGNS, self.means.shape[1] // 3)
        return Mixture(
            weights=self.weights, means=self.means * signs, covariances=self.covariances * np.outer(signs, signs)
        )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class PartPrior:
    """A mixture as a fit needs it."""

    means: Float[AnyArray, "K D"]
    factors: Float[AnyArray, "K D D"]
    """Upper triangular U with U^T U the inverse covariance."""
    precisions: Float[AnyArray, "K D D"]
    constants: Float[AnyArray, "K"]
    """Negative logarithm of each component's density at its mean, the least of them zero."""
    mean: Float[AnyArray, "D"]
    """Of all components together."""
    entries: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    """Where the part stands among the entries of the pose."""
    is_hand: bool = dataclasses.field(default=False, metadata={"static": True})
    """Whether it is the fingers of a hand."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Nearest:
    """The component that counts for each person."""

    component: Int[Array, "B"]
    whitened: Float[Array, "B D"]
    """Deviation from its mean in standard deviations."""
    constant: Float[Array, "B"]
    gradient: Float[Array, "B D"]
    """Derivative of half the squared deviation by the pose."""


def nearest(part: PartPrior, pose: Float[Array, "B Q"]) -> Nearest:
    """The component under which each pose is likeliest."""
    values = pose[:, np.array(part.entries)]
    deviation = values[:, None] - part.means
    whitened = jnp.einsum("kij,bkj->bki", part.factors, deviation, precision=_HIGHEST)
    distance = jnp.einsum("bki,bki->bk", whitened, whitened, precision=_HIGHEST)
    component = jnp.argmin(0.5 * distance + part.constants, -1)

    def chosen(array: Array) -> Array:
        return jnp.take_along_axis(array, component.reshape(-1, *[1] * (array.ndim - 1)), 1)[:, 0]

    own = chosen(whitened)
    # U^T (U d), by the factor of the one component.
    factor = jnp.asarray(part.factors)[component]
    return Nearest(
        component=component,
        whitened=own,
        constant=jnp.asarray(part.constants)[component],
        gradient=jnp.einsum("bij,bi->bj", factor, own, precision=_HIGHEST),
    )


def part_priors(mixtures: dict[str, Mixture], joint_names: tuple[str, ...], dtype: np.dtype) -> tuple[PartPrior, ...]:
    """Priors over the parts that a body has.

    Args:
        mixtures: By part, left side.
        joint_names: All joints of the body, root first.
        dtype: Of the body.
    """
    places = {joint: index for index, joint in enumerate(joint_names[1:])}
    found = []
    for part, joints in PARTS.items():
        is_sided = all(joint.startswith("left_") for joint in joints)
        for side in layouts.SIDES if is_sided else ("",):
            names = [joint.replace("left_", f"{side}_", 1) if is_sided else joint for joint in joints]
            if part not in mixtures or not all(name in places for name in names):
                continue
            mixture = mixtures[part].mirrored() if side == "right" else mixtures[part]
            entries = tuple(3 * places[name] + axis for name in names for axis in range(3))
            found.append(_part_prior(mixture, entries, dtype, is_hand=part == "hand"))
    return tuple(found)


def _part_prior(mixture: Mixture, entries: tuple[int, ...], dtype: np.dtype, *, is_hand: bool) -> PartPrior:
    precisions = np.linalg.inv(mixture.covariances)
    factors = np.swapaxes(np.linalg.cholesky(precisions), -1, -2)
    constants = -np.log(mixture.weights) - np.log(np.diagonal(factors, axis1=-2, axis2=-1)).sum(-1)
    return PartPrior(
        means=mixture.means.astype(dtype),
        factors=factors.astype(dtype),
        precisions=precisions.astype(dtype),
        constants=(constants - constants.min()).astype(dtype),
        mean=mixture.as_one().means[0].astype(dtype),
        entries=entries,
        is_hand=is_hand,
    )


def save_mixtures(path: str | os.PathLike[str], mixtures: dict[str, Mixture], record: dict[str, Any]) -> str:
    """Write mixtures whole or not at all.

    Args:
        path: `.npz`.
        mixtures: By part, left side.
        record: Plain values that say where they come from.

    Returns:
        SHA-256 of the file.
    """
    arrays = {"record": learnt_files.text(record)}
    for part, mixture in mixtures.items():
        for field in dataclasses.fields(mixture):
            arrays[f"{part}.{field.name}"] = np.asarray(getattr(mixture, field.name), np.float32)
    return learnt_files.save(path, arrays)


def read_mixtures(data: bytes, *, source: str) -> dict[str, Mixture]:
    """Mixtures by part.

    Raises:
        PosePriorError: If the file is damaged, or holds what is no mixture.
    """
    return _KIND.read(data, _from_arrays, source=source)


def _from_arrays(arrays: dict[str, np.ndarray]) -> dict[str, Mixture]:
    mixtures = {part: _mixture(arrays, part) for part in PARTS if f"{part}.weights" in arrays}
    if not mixtures:
        raise ValueError(f"it holds none of {', '.join(PARTS)}")
    return mixtures


def _mixture(arrays: dict[str, np.ndarray], part: str) -> Mixture:
    def numbers(name: str, *shape: int | None) -> np.ndarray:
        return learnt_files.numbers(arrays, f"{part}.{name}", shape).astype(np.float64)

    weights, width = numbers("weights", None), 3 * len(PARTS[part])
    size = len(weights)
    means, covariances = numbers("means", size, width), numbers("covariances", size, width, width)
    if not np.allclose(covariances, covariances.swapaxes(-1, -2), atol=1e-6):
        raise ValueError(f"{part!r} must have symmetric covariances")
    if not (size and weights.min() > 0 and np.linalg.eigvalsh(covariances).min() > 0):
        raise ValueError(f"{part!r} must have positive weights and covariances")
    if abs(weights.sum() - 1) > 1e-3:
        raise ValueError(f"{part!r} has weights that add up to {weights.sum():g}, not to 1")
    return Mixture(weights=weights, means=means, covariances=covariances)


@functools.lru_cache(maxsize=1)
def packaged_mixtures() -> dict[str, Mixture]:
    """The prior that comes with the package.

    Raises:
        FileNotFoundError: If the package was installed without its data.
    """
    return _KIND.read_asset(_ASSET, _from_arrays)
