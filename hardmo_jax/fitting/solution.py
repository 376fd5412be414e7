"""What a solver hands back, whichever it is."""

import dataclasses

import jax

from hardmo_jax.array_types import Array, Bool, Float


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Solution:
    """Where the solver ended from each of its starts."""

    vector: Float[Array, "M P"]
    """The best finite vector under the weights of the last stage."""
    cost: Float[Array, "M"]
    """Its cost under these weights."""
    is_converged: Bool[Array, "M"]
    """Whether the cost had stopped falling, by the solver's own test."""
    history: Float[Array, "M rows"]
    """The best cost after each row of the schedule; NaN for rows that were not needed."""
