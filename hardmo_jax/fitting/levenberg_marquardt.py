"""Levenberg-Marquardt over a batch of independent people: damping, acceptance and status are each person's own.

Marquardt, "An algorithm for least-squares estimation of nonlinear parameters", 1963, with the damping scaled by
the diagonal of the Gauss-Newton matrix. A step that does not lower the cost, or is not finite, is not taken, so
the vector is always the best finite one seen under the current weights.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import lax

from hardmo_jax.array_types import Array, Float
from hardmo_jax.fitting import objective, variables

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
    candidate: Float[Array, "B P"]


def solve(
    model: variables.PointModel,
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
        damping = jnp.where(is_better, state.damping / 3, state.damping * 4)
        damping = jnp.where(is_start, INITIAL_DAMPING, jnp.clip(damping, _LEAST_DAMPING, _MOST_DAMPING))
        best = jnp.where(is_better[:, None], vector, state.best)
        matrix = jnp.where(is_better[:, None, None], matrix, state.matrix)
        gradient = jnp.where(is_better[:, None], gradient, state.gradient)
        cost = jnp.where(is_better, cost, state.cost)
        change = jax.vmap(_damped_step, in_axes=(0, 0, 0, None))(matrix, gradient, damping, weights.free)
        state = _State(best=best, matrix=matrix, gradient=gradient, cost=cost, damping=damping, candidate=best + change)
        return state, cost

    batch, size = start.shape
    state = _State(
        best=start,
        matrix=jnp.zeros((batch, size, size), start.dtype),
        gradient=jnp.zeros_like(start),
        cost=jnp.full((batch,), jnp.inf, start.dtype),
        damping=jnp.full((batch,), INITIAL_DAMPING, start.dtype),
        candidate=start,
    )
    state, history = lax.scan(step, state, schedule)
    return state.best, history, state.cost


def _damped_step(
    matrix: Float[Array, "P P"],
    gradient: Float[Array, "P"],
    damping: Float[Array, ""],
    free: Float[Array, "P"],
) -> Float[Array, "P"]:
    """Solution of the damped normal equations in the free entries; zero in the others."""
    diagonal = jnp.maximum(jnp.diagonal(matrix), _LEAST_DIAGONAL)
    damped = matrix * free[:, None] * free[None, :] + jnp.diag(damping * diagonal * free + (1 - free))
    factor = jax.scipy.linalg.cho_factor(damped, lower=True)
    return -jax.scipy.linalg.cho_solve(factor, gradient * free) * free
