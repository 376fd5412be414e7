"""A density of poses given from outside, such as a network's of what a picture shows, as residuals of a fit.

The logarithm of the density is -0.5 |r|^2 and a constant: residuals r of one person's rotations add to the sum of
squares, with the Gauss-Newton matrix of their derivative. That is by the few entries of the vector that turn the joints
in question, in forward mode, and finite wherever rotations are: axis-angle vectors are turned to matrices and never
back.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hardmo_jax.array_types import AnyArray, Array, Bool, Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.fitting import variables
from hardmo_jax.geometry import rotations
from hardmo_jax.observations import ObservationError

_HIGHEST = jax.lax.Precision.HIGHEST


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class PoseDensity:
    """A density of rotations of some joints, for each person one.

    It takes the place of the usual prior at its joints, limits excepted, of whoever has a weight. A mixture over a part
    of the body goes where the density speaks of all of its joints. `Stage.pose_density` weighs it by stages.
    """

    function: Callable[..., Any] = dataclasses.field(metadata={"static": True})
    """`function(rotations, data, shared)` of one person gives residuals (R,) in standard deviations; `rotations`
    (J, 3, 3) are those of `joints`, that of the root in the axes of the camera, others relative to their parents. It
    must be traceable by JAX. Write it outside of loops: every new one is a program to compile."""
    joints: tuple[str, ...] = dataclasses.field(metadata={"static": True})
    """Names in the order in which the function takes them."""
    data: Any = None
    """Arrays of each person, any pytree of them, with the batch axes of the observations in front. Fractions are taken
    in the precision of the body."""
    shared: Any = None
    """Arrays that all people share, such as the weights of a network."""
    weight: Float[AnyArray, "*batch"] | float = 1.0
    """Factor on the residuals of each person. Zero is none: the usual prior stays, and `data` may be anything."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class DensityRows:
    """What a density says of each person."""

    data: Any
    weight: Float[AnyArray, "*batch"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class SharedDensity:
    """What is the same of a density for all people."""

    arrays: Any
    function: Callable[..., Any] = dataclasses.field(metadata={"static": True})
    entries: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    """Of the vector, three for each joint; of the root those of the turn."""

    def speaks_of(self, entries: tuple[int, ...]) -> bool:
        """Whether all of some entries of the vector are its own."""
        return set(entries) <= set(self.entries)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DensityEquations:
    """Gauss-Newton equations by the entries of a density."""

    matrix: Float[Array, "B E E"]
    gradient: Float[Array, "B E"]
    cost: Float[Array, "B"]


def density_of_people(
    density: PoseDensity, body: BodyModel, batch: tuple[int, ...], dtype: np.dtype
) -> tuple[SharedDensity, DensityRows, Bool[np.ndarray, "B"]]:
    """A density in terms of the vector, one row a person, and whose data are numbers; others' weigh nothing.

    Raises:
        ObservationError: If it is not of these people, its joints are not the body's, weights are no weights, or the
            function gives something else than residuals.
    """
    unknown = [joint for joint in density.joints if joint not in body.joint_names]
    if unknown or not density.joints or len(set(density.joints)) != len(density.joints):
        raise ObservationError(
            f"`joints` of a density must be joints of {body.name}, each of them once; got {list(density.joints)}, of "
            f"which {unknown} are unknown"
        )

    try:
        weight = np.broadcast_to(np.asarray(density.weight, dtype), batch).reshape(-1)
    except ValueError:
        raise ObservationError(
            f"`weight` of a density {np.shape(density.weight)} does not broadcast to the batch axes {batch}"
        ) from None
    if not (np.isfinite(weight) & (weight >= 0)).all():
        raise ObservationError("`weight` of a density must be finite and not negative; 0 leaves a person to the prior")
    data = jax.tree.map(functools.partial(_flat_rows, batch=batch, dtype=dtype), density.data)
    is_number = np.ones(weight.shape, bool)
    for leaf in jax.tree.leaves(data):
        is_number &= np.isfinite(leaf).all(tuple(range(1, leaf.ndim)))

    def numbers(leaf: np.ndarray) -> np.ndarray:
        return np.where(is_number.reshape(-1, *[1] * (leaf.ndim - 1)), leaf, 0)

    rows = DensityRows(data=jax.tree.map(numbers, data), weight=np.where(is_number, weight, 0))
    shared = SharedDensity(
        arrays=jax.tree.map(lambda leaf: _as(leaf, dtype), density.shared),
        function=density.function,
        entries=_entries(density.joints, body),
    )
    _check_residuals(shared, rows, dtype)
    return shared, rows, is_number | (weight == 0)


def _flat_rows(leaf: Any, *, batch: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    leaf = np.asarray(leaf)
    if leaf.shape[: len(batch)] != batch:
        raise ObservationError(
            f"`data` of a density must have the batch axes {batch} of the observations in front, got {leaf.shape}"
        )
    return _as(leaf.reshape(-1, *leaf.shape[len(batch) :]), dtype)


def _as(leaf: Any, dtype: np.dtype) -> Any:
    """Fractions in the precision of the body; nothing is copied that has it."""
    if not hasattr(leaf, "dtype"):
        leaf = np.asarray(leaf)
    return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.dtype != dtype else leaf


def _entries(joints: tuple[str, ...], body: BodyModel) -> tuple[int, ...]:
    start = variables.Layout.of(body).pose_start
    first = [3 if index == 0 else start + 3 * (index - 1) for index in map(body.joint_names.index, joints)]
    return tuple(entry + axis for entry in first for axis in range(3))


def _check_residuals(shared: SharedDensity, rows: DensityRows, dtype: np.dtype) -> None:
    matrices = jax.ShapeDtypeStruct((len(shared.entries) // 3, 3, 3), dtype)
    given = jax.eval_shape(shared.function, matrices, jax.tree.map(lambda leaf: leaf[0], rows.data), shared.arrays)
    if getattr(given, "ndim", None) != 1 or given.dtype != dtype:
        name = getattr(shared.function, "__name__", "function")
        raise ObservationError(
            f"density {name!r} must return one array (R,) of {dtype} for a person, got {given}; "
            "`.ravel()` makes one row of a matrix"
        )


def density_residuals(
    shared: SharedDensity, rows: DensityRows, strength: Float[Array, "B"], orient: Float[AnyArray, "B 3 3"],
    moved: Float[Array, "B E"],
) -> Float[Array, "B R"]:  # fmt: skip
    """Residuals of each person.

    Args:
        shared: Of all people.
        rows: Of each.
        strength: Factor on the residuals; 0 for people of whom nothing is said.
        orient: Start orientation, which the turn of the vector turns.
        moved: Entries of the vector that are those of the density.
    """
    matrices = rotations.axis_angle_to_matrix(moved.reshape(len(moved), -1, 3))
    if 3 in shared.entries:
        root = shared.entries.index(3) // 3
        matrices = matrices.at[:, root].set(rotations.compose(matrices[:, root], jnp.asarray(orient)))
    found = jax.vmap(shared.function, in_axes=(0, 0, None))(matrices, rows.data, shared.arrays)
    return jnp.where(strength[:, None] > 0, found * strength[:, None], 0)


def density_equations(
    shared: SharedDensity, rows: DensityRows, strength: Float[Array, "B"], orient: Float[AnyArray, "B 3 3"],
    moved: Float[Array, "B E"],
) -> DensityEquations:  # fmt: skip
    """Equations of `density_residuals`, which has the arguments; forward mode, one pass an entry."""

    def along(direction: Float[Array, "E"]) -> tuple[Array, Array]:
        tangent = jnp.broadcast_to(direction, moved.shape)
        return jax.jvp(lambda m: density_residuals(shared, rows, strength, orient, m), (moved,), (tangent,))

    value, slopes = jax.vmap(along, out_axes=(None, -1))(jnp.eye(moved.shape[-1], dtype=moved.dtype))
    return DensityEquations(
        matrix=jnp.einsum("bre,brf->bef", slopes, slopes, precision=_HIGHEST),
        gradient=jnp.einsum("bre,br->be", slopes, value, precision=_HIGHEST),
        cost=0.5 * jnp.einsum("br,br->b", value, value, precision=_HIGHEST),
    )
