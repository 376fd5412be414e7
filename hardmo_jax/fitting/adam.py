"""Adam (optax) on the same residuals: the first-order alternative, for comparison and for losses of one's own."""

import dataclasses

import jax
import jax.numpy as jnp
import optax
from jax import lax

from hardmo_jax.array_types import Array, Float
from hardmo_jax.body import landmarks
from hardmo_jax.fitting import objective


def solve(
    model: landmarks.PointModel,
    prior: objective.Prior,
    evidence: objective.Evidence,
    schedule: objective.StageWeights,
    orient: Float[Array, "B 3 3"],
    start: Float[Array, "B P"],
    *,
    learning_rate: float,
    steps_per_iteration: int,
) -> tuple[Float[Array, "B P"], Float[Array, "steps B"], Float[Array, "B"]]:
    """Run every iteration of a schedule; same contract as `levenberg_marquardt.solve`.

    The vector returned is the one with the lowest finite cost of the last stage.
    """
    optimiser = optax.adam(learning_rate)

    def person_cost(weights, e, o, v):
        return objective.cost(objective.residuals(model, prior, e, weights, o, v))

    def value_and_grad(weights, vector):
        function = jax.value_and_grad(person_cost, argnums=3)
        return jax.vmap(function, in_axes=(None, 0, 0, 0))(weights, evidence, orient, vector)

    def step(carry, weights):
        vector, state, best, best_cost = carry
        now, gradient = value_and_grad(weights, vector)
        # Costs under different weights do not compare: the best is chosen anew in each stage.
        is_better = jnp.isfinite(now) & ((now < best_cost) | (weights.is_stage_start > 0))
        best = jnp.where(is_better[:, None], vector, best)
        best_cost = jnp.where(is_better, now, best_cost)
        gradient = jnp.where(jnp.isfinite(gradient), gradient, 0) * weights.free
        updates, state = optimiser.update(gradient, state, vector)
        # Momentum of an earlier stage must not move what this stage holds.
        vector = optax.apply_updates(vector, updates * weights.free)
        return (vector, state, best, best_cost), best_cost

    repeated = jax.tree.map(lambda rows: jnp.repeat(rows, steps_per_iteration, 0), schedule)
    is_first = jnp.arange(repeated.is_stage_start.size) % steps_per_iteration == 0
    repeated = dataclasses.replace(repeated, is_stage_start=repeated.is_stage_start * is_first)
    carry = (start, optimiser.init(start), start, jnp.full(start.shape[:1], jnp.inf, start.dtype))
    (_, _, best, best_cost), history = lax.scan(step, carry, repeated)
    return best, history[::steps_per_iteration], best_cost
