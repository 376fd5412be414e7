"""What the first-order solvers share: value and gradient of everybody's cost, and the best vector so far."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from hardmo_jax.array_types import Array, Float
from hardmo_jax.body import landmarks
from hardmo_jax.fitting import objective
from hardmo_jax.fitting.evidence import Evidence
from hardmo_jax.fitting.solution import Solution


def value_and_gradient(
    model: landmarks.PointModel,
    prior: objective.Prior,
    evidence: Evidence,
    orient: Float[Array, "M 3 3"],
) -> Callable[[objective.StageWeights, Array], tuple[Array, Array]]:
    """Function of a row of weights and of vectors (M, P) that gives costs (M,) and gradients (M, P).

    Gradients are zero in entries that are held, and where they are not finite.
    """
    count = len(orient)
    repeats = count // evidence.box_side.shape[0]
    everybody = jax.tree.map(lambda leaf: jnp.concatenate([jnp.asarray(leaf)] * repeats), evidence)

    def evaluate(weights: objective.StageWeights, vector: Array) -> tuple[Array, Array]:
        rows = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (count, *jnp.shape(leaf))), weights)

        def total(vector: Array) -> tuple[Array, Array]:
            costs = objective.cost(objective.residuals(model, prior, everybody, rows, orient, vector))
            return jnp.sum(costs), costs

        (_, costs), gradient = jax.value_and_grad(total, has_aux=True)(vector)
        return costs, jnp.where(jnp.isfinite(gradient), gradient, 0) * weights.free

    return evaluate


def better(
    weights: objective.StageWeights, now: tuple[Array, Array], best: tuple[Array, Array]
) -> tuple[Float[Array, "M P"], Float[Array, "M"]]:
    """The better of two (vector, cost) for each person.

    Costs under different weights do not compare: the best is chosen anew in each stage.
    """
    is_better = jnp.isfinite(now[1]) & ((now[1] < best[1]) | (weights.is_stage_start > 0))
    return jnp.where(is_better[:, None], now[0], best[0]), jnp.where(is_better, now[1], best[1])


def repeated(schedule: objective.StageWeights, steps: int) -> objective.StageWeights:
    """Every row several times; a stage still starts once."""
    rows = jax.tree.map(lambda leaf: jnp.repeat(leaf, steps, 0), schedule)
    is_first = jnp.arange(rows.is_stage_start.size) % steps == 0
    return dataclasses.replace(rows, is_stage_start=rows.is_stage_start * is_first)


def solution(
    schedule: objective.StageWeights, vector: Float[Array, "M P"], cost: Float[Array, "M"], history: Array
) -> Solution:
    """Result of a solver that runs every row; converged is who changed little over the last three of them."""
    # Rows of the last stage only: costs under other weights do not compare.
    rows = jnp.arange(len(history))
    last = jnp.max(jnp.where(schedule.is_stage_start > 0, rows, 0))
    earlier = history[jnp.maximum(len(history) - 4, last)]
    is_converged = (earlier - cost) <= 10 * schedule.converged_below[-1] * jnp.maximum(earlier, 1e-6)
    return Solution(vector=vector, cost=cost, is_converged=is_converged, history=history.T)
