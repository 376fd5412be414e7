"""L-BFGS (optax) on the same residuals, each person with a memory and a step length of its own.

Liu & Nocedal, "On the limited memory BFGS method for large scale optimization", 1989. Instead of a line search, which
would make everybody wait for the slowest, each step is one evaluation: one that does not lower the cost enough (Armijo)
is taken back and tried again half as long.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.body import landmarks
from hardmo_jax.fitting import first_order, objective
from hardmo_jax.fitting.evidence import Evidence
from hardmo_jax.fitting.solution import Solution

_MEMORY = 10
#: Share of the decrease that the slope promises which a step must reach.
_ARMIJO = 1e-4
_LEAST_LENGTH = 1e-6
#: Longest change of any parameter in a first step, which no memory scales: metres and radians.
_FIRST_STEP = 0.05


def solve(
    model: landmarks.PointModel,
    prior: objective.Prior,
    evidence: Evidence,
    schedule: objective.StageWeights,
    orient: Float[AnyArray, "M 3 3"],
    start: Float[AnyArray, "M P"],
    *,
    steps_per_iteration: int,
) -> Solution:
    """Run every row of a schedule from every start; same contract as `adam.solve`."""
    memory = optax.scale_by_lbfgs(memory_size=_MEMORY)
    value_and_gradient = first_order.value_and_gradient(model, prior, evidence, jnp.asarray(orient))

    def step(carry: tuple, weights: objective.StageWeights) -> tuple[tuple, Array]:
        best, cost, gradient, state, direction, length = carry
        is_start = weights.is_stage_start > 0
        slope = jnp.sum(gradient * direction, -1)
        vector = jnp.where(is_start, best, best + length[:, None] * direction)
        now, new_gradient = value_and_gradient(weights, vector)
        is_taken = jnp.isfinite(now) & ((now <= cost + _ARMIJO * length * slope) | is_start)
        best = jnp.where(is_taken[:, None], vector, best)
        cost = jnp.where(is_taken, now, cost)
        gradient = jnp.where(is_taken[:, None], new_gradient, gradient)
        fresh = jax.vmap(memory.init)(best)
        state = _chosen(jnp.broadcast_to(is_start, is_taken.shape), fresh, state)
        scaled, updated = jax.vmap(memory.update)(gradient, state, best)
        scaled = jnp.asarray(scaled)
        state = _chosen(is_taken, updated, state)
        slope = jnp.sum(gradient * scaled, -1)
        # Without memory, or where rounding turned the direction uphill, the gradient with a careful length.
        largest = jnp.maximum(jnp.max(jnp.abs(gradient), -1), 1e-12)
        is_plain = is_start | ~(slope > 0) | ~jnp.isfinite(slope)
        descent = jnp.where(is_plain[..., None], gradient * (_FIRST_STEP / largest)[:, None], scaled)
        direction = jnp.where(is_taken[:, None], -descent * weights.free, direction)
        length = jnp.where(is_taken, 1.0, jnp.maximum(0.5 * length, _LEAST_LENGTH))
        return (best, cost, gradient, state, direction, length), cost

    start = jnp.asarray(start)
    count = start.shape[0]
    state = jax.vmap(memory.init)(start)
    zeros = jnp.zeros_like(start)
    carry = (start, jnp.full((count,), jnp.inf, start.dtype), zeros, state, zeros, jnp.ones((count,), start.dtype))
    (best, cost, *_), history = lax.scan(step, carry, first_order.repeated(schedule, steps_per_iteration))
    return first_order.solution(schedule, best, cost, history[::steps_per_iteration])


def _chosen(is_first: Array, first: Any, second: Any) -> Any:
    """People of the first tree where it is true, else of the second."""
    return jax.tree.map(lambda a, b: jnp.where(is_first.reshape(-1, *[1] * (a.ndim - 1)), a, b), first, second)
