"""Levenberg-Marquardt over a batch of independent people: damping, acceptance and status are each person's own.

Marquardt, "An algorithm for least-squares estimation of nonlinear parameters", 1963, with the damping scaled by
the diagonal of the Gauss-Newton matrix and steered by Nielsen, "Damping parameter in Marquardt's method", 1999.
A step that does not lower the cost, or is not finite, is not taken: the vector is always the best finite one
seen under the current weights.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import lax

from hardmo_jax.array_types import Array, Float
from hardmo_jax.body import landmarks
from hardmo_jax.fitting import objective

INITIAL_DAMPING = 1e-2
_LEAST_DAMPING, _MOST_DAMPING = 1e-6, 1e6
#: Floor of the damping's scale: keeps directions that nothing measures (a hidden toe) from being singular.
_LEAST_DIAGONAL = 1e-3


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class _State:
    """Best vector so far with what its evaluation gave, and the vector to evaluate next."""

    best: Float[Array, "B P"]
    matrix: Float[Array, "B P P"]
    gradient: Float[Array, "B P"]
    cost: Float[Array, "B"]
    damping: Float[Array, "B"]
    growth: Float[Array, "B"]
    """Factor by which the damping grows at the next refusal."""
    candidate: Float[Array, "B P"]
    predicted: Float[Array, "B"]
    """Decrease of the cost that the quadratic model expects of the candidate."""


def solve(
    model: landmarks.PointModel,
    prior: objective.Prior,
    evidence: objective.Evidence,
    schedule: objective.StageWeights,
    orient: Float[Array, "B 3 3"],
    start: Float[Array, "B P"],
) -> tuple[Float[Array, "B P"], Float[Array, "steps B"], Float[Array, "B"]]:
    """Run every row of a schedule: one evaluation and one linear solve each.

    The first row of a stage evaluates the best vector under the new weights, the others a step from it, so a
    stage of n + 1 rows takes n steps.

    Args:
        model: Body points.
        prior: Prior over the vector.
        evidence: Measurements of the batch.
        schedule: One row of weights an evaluation.
        orient: Start orientation of each person.
        start: Start vectors.

    Returns:
        The final vectors; the best cost after each row; and the final cost under the last weights.
    """

    def evaluate(weights, vector):
        function = functools.partial(objective.normal_equations, model, prior)
        return jax.vmap(function, in_axes=(0, None, 0, 0))(evidence, weights, orient, vector)

    def step(state: _State, weights: objective.StageWeights) -> tuple[_State, Float[Array, "B"]]:
        is_start = weights.is_stage_start > 0
        vector = jnp.where(is_start, state.best, state.candidate)
        matrix, gradient, cost = evaluate(weights, vector)
        is_finite = jnp.isfinite(cost) & jnp.all(jnp.isfinite(gradient), -1)
        is_better = is_start | (is_finite & ((cost < state.cost) | ~jnp.isfinite(state.cost)))
        # Nielsen's rule: the better the quadratic model predicted the decrease, the less damping next time.
        gain = (state.cost - cost) / jnp.maximum(state.predicted, 1e-12)
        shrink = jnp.maximum(1 / 3, 1 - (2 * gain - 1) ** 3)
        damping = state.damping * jnp.where(is_better, shrink, state.growth)
        damping = jnp.where(is_start, INITIAL_DAMPING, jnp.clip(damping, _LEAST_DAMPING, _MOST_DAMPING))
        growth = jnp.where(is_better, 2.0, state.growth * 2)
        best = jnp.where(is_better[:, None], vector, state.best)
        matrix = jnp.where(is_better[:, None, None], matrix, state.matrix)
        gradient = jnp.where(is_better[:, None], gradient, state.gradient)
        cost = jnp.where(is_better, cost, state.cost)
        change, predicted = jax.vmap(_damped_step, in_axes=(0, 0, 0, None))(matrix, gradient, damping, weights.free)
        state = _State(
            best=best,
            matrix=matrix,
            gradient=gradient,
            cost=cost,
            damping=damping,
            growth=growth,
            candidate=best + change,
            predicted=predicted,
        )
        return state, cost

    batch, size = start.shape
    state = _State(
        best=start,
        matrix=jnp.zeros((batch, size, size), start.dtype),
        gradient=jnp.zeros_like(start),
        cost=jnp.full((batch,), jnp.inf, start.dtype),
        damping=jnp.full((batch,), INITIAL_DAMPING, start.dtype),
        growth=jnp.full((batch,), 2.0, start.dtype),
        candidate=start,
        predicted=jnp.ones((batch,), start.dtype),
    )
    state, history = lax.scan(step, state, schedule)
    return state.best, history, state.cost


def _damped_step(
    matrix: Float[Array, "P P"],
    gradient: Float[Array, "P"],
    damping: Float[Array, ""],
    free: Float[Array, "P"],
) -> tuple[Float[Array, "P"], Float[Array, ""]]:
    """Solution of the damped normal equations in the free entries, and the decrease of the cost it predicts."""
    diagonal = jnp.maximum(jnp.diagonal(matrix), _LEAST_DIAGONAL)
    damped = matrix * free[:, None] * free[None, :] + jnp.diag(damping * diagonal * free + (1 - free))
    factor = jax.scipy.linalg.cho_factor(damped, lower=True)
    change = -jax.scipy.linalg.cho_solve(factor, gradient * free) * free
    predicted = 0.5 * jnp.sum(change * (damping * diagonal * change - gradient) * free)
    return change, predicted
