"""Adam (optax) on the same residuals: the first-order alternative, for comparison and for losses of one's own."""

import jax.numpy as jnp
import optax
from jax import lax

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.body import landmarks
from hardmo_jax.fitting import first_order, objective
from hardmo_jax.fitting.evidence import Evidence
from hardmo_jax.fitting.solution import Solution


def solve(
    model: landmarks.PointModel,
    prior: objective.Prior,
    evidence: Evidence,
    schedule: objective.StageWeights,
    orient: Float[AnyArray, "M 3 3"],
    start: Float[AnyArray, "M P"],
    *,
    learning_rate: float,
    steps_per_iteration: int,
) -> Solution:
    """Run every row of a schedule from every start; start i is one of person i % N.

    The vector returned is the one with the lowest finite cost of the last stage. Schedules are not padded here.
    """
    optimiser = optax.adam(learning_rate)
    value_and_gradient = first_order.value_and_gradient(model, prior, evidence, jnp.asarray(orient))

    def step(carry: tuple, weights: objective.StageWeights) -> tuple[tuple, Array]:
        vector, state, best, best_cost = carry
        now, gradient = value_and_gradient(weights, vector)
        best, best_cost = first_order.better(weights, (vector, now), (best, best_cost))
        updates, state = optimiser.update(gradient, state, vector)
        # Momentum of an earlier stage must not move what this stage holds.
        vector = optax.apply_updates(vector, updates * weights.free)
        return (vector, state, best, best_cost), best_cost

    start = jnp.asarray(start)
    carry = (start, optimiser.init(start), start, jnp.full(start.shape[:1], jnp.inf, start.dtype))
    (_, _, best, best_cost), history = lax.scan(step, carry, first_order.repeated(schedule, steps_per_iteration))
    return first_order.solution(schedule, best, best_cost, history[::steps_per_iteration])
