"""A start of a fit with an idea of how wrong it is: it begins there, and is drawn there as far as it is certain."""

import dataclasses

import jax

from hardmo_jax.array_types import AnyArray, Float
from hardmo_jax.body.params import BodyParams


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Guess:
    """Parameters of people before their fit, with the distribution of the error.

    The error of a person is a vector e in the order of `variables.Layout`: translation (metres), rotation vector that
    turns the orientation of the guess to the true one, betas, axis-angle differences of all other joints. With the
    turn seen in `axes`, the fit pays `0.5 (e / spread)^T precision (e / spread)`.
    """

    params: BodyParams
    """Camera frame."""
    spread: Float[AnyArray, "*batch P"]
    """Standard deviation of each entry of the error; infinite where the guess says nothing. The entry then
    drops out of the sum with its row and column of `precision`, as if its error were zero: for entries that others
    depend on, give the inverse of the covariance of the rest."""
    precision: Float[AnyArray, "P P"]
    """Inverse covariance of errors over their spreads, the same for all people; the identity if they are
    independent. Symmetric and positive definite."""
    axes: Float[AnyArray, "*batch 3 3"] | None = None
    """From the axes of the camera to those in which the spread of the turn is meant; None are those of the camera."""
