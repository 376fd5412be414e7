"""The one shape of a track: what all of its frames together say of it.

A frame alone hardly tells the shape of a body from its distance and its pose. Many frames do: pose and place are
solved away in each (a Schur complement), and what is left of all adds up. Errors of frames that follow each other are
alike, so that each counts for a share only of what it would say by itself.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.body.landmarks import PointModel
from hardmo_jax.fitting import normal_equations, objective
from hardmo_jax.fitting.elimination import eliminated
from hardmo_jax.fitting.evidence import Evidence
from hardmo_jax.fitting.normal_equations import NormalEquations, PullMatrices

_HIGHEST = lax.Precision.HIGHEST
#: Added to the diagonal of what is solved away: a hidden toe is measured by nothing.
_FLOOR = 1e-3
#: Longest change of a coefficient: farther from where frames were linearised they know nothing.
_MOST_CHANGE = 1.5


def shape_information(
    model: PointModel,
    prior: objective.Prior,
    evidence: Evidence,
    weights: objective.StageWeights,
    orient: Float[AnyArray, "T 3 3"],
    vector: Float[AnyArray, "T P"],
) -> tuple[Float[Array, "T C C"], Float[Array, "T C"]]:
    """Precision that each frame has on the shape, and derivative of its cost, all else being solved for.

    Args:
        model: Body points that were measured.
        prior: Over the vector of a frame. What its guess says of the shape is to be left out (infinite spread).
        evidence: Measurements.
        weights: One row a frame; without a prior on shapes.
        orient: Start orientations.
        vector: Where the frames are.
    """
    shared = PullMatrices(parts=prior.parts, pose_start=6 + prior.num_betas, guess=prior.guess_precision)
    frames = objective.equations(model, prior, evidence, weights, jnp.asarray(orient), jnp.asarray(vector))
    betas = np.arange(6, 6 + prior.num_betas)
    others = np.setdiff1d(np.arange(np.shape(vector)[1]), betas)

    def one(equations: NormalEquations) -> tuple[Array, Array]:
        matrix = normal_equations.matrix(equations, model, shared)
        block = matrix[np.ix_(others, others)] + _FLOOR * jnp.eye(len(others), dtype=matrix.dtype)
        below = jnp.concatenate([matrix[np.ix_(betas, others)], equations.gradient[None, others]])
        _, half = eliminated(block, below)
        rest = matrix[np.ix_(betas, betas)] - jnp.matmul(half[:-1], half[:-1].T, precision=_HIGHEST)
        return rest, equations.gradient[betas] - jnp.matmul(half[:-1], half[-1], precision=_HIGHEST)

    return lax.map(one, frames)


_information = jax.jit(shape_information)


def track_shape(
    model: PointModel,
    prior: objective.Prior,
    evidence: Evidence,
    weights: objective.StageWeights,
    orient: Float[np.ndarray, "T 3 3"],
    vector: Float[np.ndarray, "T P"],
    *,
    spread: Float[np.ndarray, "C"],
    share: float,
) -> Float[np.ndarray, "C"]:
    """The shape of a track, from frames whose shape is a guess of it.

    Args:
        model: As of `shape_information`, and the next five.
        prior: Likewise.
        evidence: Likewise.
        weights: Likewise.
        orient: Likewise.
        vector: Likewise; betas are the guess, the same in all frames.
        spread: Standard deviation of the guess's error.
        share: Of each frame's information that is news.

    Returns:
        Coefficients; the guess where frames are not finite.
    """
    guess = np.asarray(vector[0, 6 : 6 + prior.num_betas], np.float64)
    precision, gradient = (np.asarray(part, np.float64) for part in _information(
        model, prior, evidence, weights, orient, vector
    ))  # fmt: skip
    is_sound = np.isfinite(precision).all((-1, -2)) & np.isfinite(gradient).all(-1)
    total = share * precision[is_sound].sum(0) + np.diag(1 / np.square(np.asarray(spread, np.float64)))
    change = -np.linalg.solve(total, share * gradient[is_sound].sum(0))
    return guess + np.clip(change, -_MOST_CHANGE, _MOST_CHANGE)
