"""Finger poses in MANO's principal components, and what `smplx` calls `flat_hand_mean`.

Romero et al., "Embodied Hands", SIGGRAPH Asia 2017, section 4.3. `BodyParams` always holds finger rotations relative
to the flat open hand of the template. Files and labels of others store one of three things instead; each has one
function here that says so by name, so that a pose vector never means different hands for different settings of a
model (`smplx` decides by constructor arguments, which labels do not carry).
"""

import dataclasses

import jax
import jax.numpy as jnp
from jax import lax

from hardmo_jax.array_types import AnyArray, Array, Float


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class HandSpace:
    """Mean and principal components of the finger rotations of one hand."""

    mean: Float[Array, "... 15 3"]
    """Mean axis-angle of the finger joints relative to the flat hand, radians, MANO's order."""
    components: Float[Array, "... N 15 3"]
    """Change of the rotations by one unit of each coefficient, radians; orthonormal in published files."""


def pose_from_pca(
    space: HandSpace, coefficients: Float[AnyArray, "*batch C"], *, flat_hand_mean: bool = False
) -> Float[Array, "*batch 15 3"]:
    """Finger rotations of PCA coefficients, as `smplx` makes them with `use_pca=True`.

    Args:
        space: `body.hand_space("left")`.
        coefficients: The first C coefficients (6 by default in smplx, 12 in SMPLify-X); the others are zero.
        flat_hand_mean: The setting the coefficients were made with: False adds the mean hand (the default of smplx),
            True does not.

    Returns:
        Axis-angle relative to the flat hand: what `left_hand_pose` and `right_hand_pose` hold.

    Raises:
        ValueError: If there are more coefficients than components.
    """
    count, available = coefficients.shape[-1], space.components.shape[0]
    if count > available:
        raise ValueError(f"{count} hand coefficients, but the file has {available} components")
    pose = jnp.tensordot(coefficients, space.components[:count], axes=1, precision=lax.Precision.HIGHEST)
    return pose if flat_hand_mean else add_mean(space, pose)


def add_mean(space: HandSpace, pose: Float[AnyArray, "*batch 15 3"]) -> Float[Array, "*batch 15 3"]:
    """Finger rotations stored relative to the mean hand (`smplx` with `use_pca=False, flat_hand_mean=False`)."""
    # Sums of axis-angle vectors, as in smplx; not a composition of rotations.
    mean = jnp.broadcast_to(space.mean, pose.shape)
    return pose + mean


def pca_from_pose(
    space: HandSpace, pose: Float[AnyArray, "*batch 15 3"], *, num_components: int, flat_hand_mean: bool = False
) -> Float[Array, "*batch C"]:
    """Coefficients that come closest to finger rotations, in the least-squares sense over axis-angle.

    Args:
        space: `body.hand_space("left")`.
        pose: Axis-angle relative to the flat hand.
        num_components: How many coefficients to use.
        flat_hand_mean: As in `pose_from_pca`, which this inverts where enough components are used.

    Raises:
        ValueError: If there are fewer components than asked for.
    """
    if not 0 < num_components <= space.components.shape[0]:
        raise ValueError(f"num_components must be in 1 to {space.components.shape[0]}, got {num_components}")
    basis = space.components[:num_components].reshape(num_components, -1)
    offset = jnp.asarray(pose) if flat_hand_mean else pose - jnp.broadcast_to(space.mean, pose.shape)
    flat = offset.reshape(*offset.shape[:-2], -1)
    # Normal equations: components are orthonormal or nearly so, and a file's own scaling is undone.
    gram = jnp.matmul(basis, basis.T, precision=lax.Precision.HIGHEST)
    right = jnp.tensordot(flat, basis.T, axes=1, precision=lax.Precision.HIGHEST)
    return jnp.linalg.solve(gram, right[..., None])[..., 0]
