"""Levenberg-Marquardt over any number of independent people, a few at a time.

Marquardt, "An algorithm for least-squares estimation of nonlinear parameters", 1963, with the damping scaled by
the diagonal of the Gauss-Newton matrix and steered by Nielsen, "Damping parameter in Marquardt's method", 1999.
A step that does not lower the cost, or is not finite, is not taken: the vector is always the best finite one
seen under the current weights. Damping, acceptance and the end are each person's own.

People wait in a line and are served in slots. Whoever has converged leaves the slot to the next in line, so nobody
waits for the slowest of a batch, memory does not grow with the number of people, and one program serves any number.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from hardmo_jax.array_types import AnyArray, Array, Bool, Float, Int
from hardmo_jax.body import landmarks
from hardmo_jax.fitting import normal_equations, objective
from hardmo_jax.fitting.evidence import Evidence
from hardmo_jax.fitting.normal_equations import NormalEquations, PullMatrices
from hardmo_jax.fitting.solution import Solution

_INITIAL_DAMPING = 1e-2
#: Longest steps: radians, standard deviations of the shape, and metres, or this share of the distance if that is more.
#: Without them the first steps from a poor start leave for places from which nobody returns.
_ANGLE_REACH, _SHAPE_REACH, _TRANSL_REACH, _DISTANCE_REACH = 0.3, 0.6, 0.3, 0.1
_LEAST_DAMPING, _MOST_DAMPING = 1e-6, 1e6
#: Small steps, without a larger one between them, that end a stage.
_SMALL_STEPS = 2


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class _Slots:
    """What is in the slots: the best vector so far with its equations, and the vector to evaluate next."""

    item: Int[Array, "S"]
    """Index of the start that a slot works on."""
    is_busy: Bool[Array, "S"]
    row: Int[Array, "S"]
    """Row of the schedule to evaluate next."""
    best: Float[Array, "S P"]
    equations: NormalEquations
    damping: Float[Array, "S"]
    growth: Float[Array, "S"]
    """Factor by which the damping grows at the next refusal."""
    candidate: Float[Array, "S P"]
    predicted: Float[Array, "S"]
    """Decrease of the cost that the quadratic model expects of the candidate."""
    small_steps: Int[Array, "S"]
    """Small steps since the last larger one."""


def solve(
    model: landmarks.PointModel,
    prior: objective.Prior,
    evidence: Evidence,
    schedule: objective.StageWeights,
    orient: Float[AnyArray, "M 3 3"],
    start: Float[AnyArray, "M P"],
    work: Int[AnyArray, "W"],
    num_work: Int[AnyArray, ""],
    *,
    slots: int,
    is_one_by_one: bool,
) -> Solution:
    """Take starts through the rows of a schedule: one evaluation and one linear solve each.

    The first row of a stage evaluates the best vector under the new weights, the others a step from it, so a stage of
    n + 1 rows takes n steps, or fewer: it ends when two steps change the cost by less than `converged_below` of it,
    and no larger step is taken in between.

    Args:
        model: Body points.
        prior: Prior over the vector.
        evidence: Measurements of N people; M is a multiple of N, and start i is one of person i % N.
        schedule: One row of weights an evaluation.
        orient: Start orientations.
        start: Start vectors.
        work: Indices of the starts to be solved, in this order; the others keep their place and mean nothing.
        num_work: How many of `work` count.
        slots: Starts worked on at once. More of them fill the vector units of a processor, fewer its cache.
        is_one_by_one: Solve the linear equations of one slot after the other, as suits a CPU: a person's matrix then
            stays in the cache. And LAPACK, called by XLA for a batch, spreads it over the threads of its pool and waits
            for them, for ever if two programs do so at once (seen with jaxlib 0.10.2).
    """
    num_people, num_starts = evidence.box_side.shape[0], len(start)
    num_rows = schedule.is_stage_start.shape[0]
    orient, start, work = jnp.asarray(orient), jnp.asarray(start), jnp.asarray(work)

    def rows_of(tree, index):
        return jax.tree.map(lambda leaf: jnp.asarray(leaf).at[index].get(mode="clip"), tree)

    @jax.jit  # traced once, though it is called twice
    def evaluate(evidence, schedule, orient, model, prior, item, row, vector):
        seen, weights = rows_of(evidence, item % num_people), rows_of(schedule, row)
        return objective.equations(model, prior, seen, weights, rows_of(orient, item), vector)

    shared = PullMatrices(
        parts=prior.parts,
        pose_start=6 + prior.num_betas,
        guess=prior.guess_precision,
        density_entries=() if prior.density is None else prior.density.entries,
    )
    constants = (evidence, schedule, orient, model, prior)

    def serve(state: tuple[_Slots, Solution, Array]) -> tuple[_Slots, Solution, Array]:
        now, solution, served = state
        weights = rows_of(schedule, now.row)
        is_start = weights.is_stage_start > 0
        vector = jnp.where(is_start[:, None], now.best, now.candidate)
        made, old = evaluate(*constants, now.item, now.row, vector), now.equations
        is_finite = jnp.isfinite(made.cost) & jnp.all(jnp.isfinite(made.gradient), -1)
        is_better = is_start | (is_finite & ((made.cost < old.cost) | ~jnp.isfinite(old.cost)))
        # Nielsen's rule: the better the quadratic model predicted the decrease, the less damping next time.
        gain = (old.cost - made.cost) / jnp.maximum(now.predicted, 1e-12)
        shrink = jnp.maximum(1 / 3, 1 - (2 * gain - 1) ** 3)
        damping = now.damping * jnp.where(is_better, shrink, now.growth)
        damping = jnp.where(is_start, now.damping, jnp.clip(damping, _LEAST_DAMPING, _MOST_DAMPING))
        growth = jnp.where(is_better, 2.0, now.growth * 2)
        best = _chosen(is_better, vector, now.best)
        equations = jax.tree.map(lambda new, kept: _chosen(is_better, new, kept), made, old)
        # A refused step says little, unless not even its model, hardly damped, hoped for more.
        hope = jnp.where((now.damping <= 1) & (now.predicted >= 0), now.predicted, jnp.inf)
        change = jnp.where(is_better, old.cost - made.cost, hope)
        is_small = change <= weights.converged_below * old.cost
        small_steps = jnp.where(is_small, now.small_steps + 1, jnp.where(is_better, 0, now.small_steps))
        small_steps = jnp.where(is_start, 0, small_steps)
        is_converged = small_steps >= _SMALL_STEPS
        row = jnp.where(is_converged | (weights.is_last > 0), weights.next_stage, now.row + 1)

        # Whoever is at the end of the schedule is written down and makes room; nobody else is written anywhere.
        is_done = now.is_busy & (row >= num_rows)
        place = jnp.where(is_done, now.item, num_starts)
        solution = Solution(
            vector=solution.vector.at[place].set(best, mode="drop"),
            cost=solution.cost.at[place].set(equations.cost, mode="drop"),
            is_converged=solution.is_converged.at[place].set(is_converged, mode="drop"),
            history=solution.history.at[jnp.where(now.is_busy, now.item, num_starts), now.row].set(
                equations.cost, mode="drop"
            ),
        )
        turn = served + jnp.cumsum(is_done) - 1
        is_new = is_done & (turn < num_work)
        item = jnp.where(is_new, rows_of(work, turn), now.item)
        row = jnp.where(is_done, 0, row)
        best = _chosen(is_new, rows_of(start, item), best)
        damping = jnp.where(is_new, _INITIAL_DAMPING, damping)
        is_busy = now.is_busy & (is_new | ~is_done)
        weights = rows_of(schedule, row)
        is_stepping = is_busy & (weights.is_stage_start == 0)
        people = (equations, damping, weights.free, _reach(best, prior.num_betas), is_stepping)
        step, predicted = _steps(model, shared, people, is_one_by_one=is_one_by_one)
        now = _Slots(
            item=item,
            is_busy=is_busy,
            row=row,
            best=best,
            equations=equations,
            damping=damping,
            growth=growth,
            candidate=best + step,
            predicted=predicted,
            small_steps=small_steps,
        )
        return now, solution, served + jnp.sum(is_done, dtype=served.dtype)

    solution = Solution(
        vector=start,
        cost=jnp.full((num_starts,), jnp.inf, start.dtype),
        is_converged=jnp.zeros((num_starts,), bool),
        history=jnp.full((num_starts, num_rows), jnp.nan, start.dtype),
    )
    place = jnp.arange(slots)
    first = rows_of(work, place)
    best = rows_of(start, first)
    # Only the shapes of these equations are used, so they are not computed: a stage starts by replacing what is there.
    shapes = evaluate(*constants, first, jnp.zeros_like(first), best)
    now = _Slots(
        item=first,
        is_busy=place < num_work,
        row=jnp.zeros_like(first),
        best=best,
        equations=jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes),
        damping=jnp.full((slots,), _INITIAL_DAMPING, start.dtype),
        growth=jnp.full((slots,), 2.0, start.dtype),
        candidate=best,
        predicted=jnp.ones((slots,), start.dtype),
        small_steps=jnp.zeros_like(first),
    )
    _, solution, _ = lax.while_loop(
        lambda state: jnp.any(state[0].is_busy), serve, (now, solution, jnp.minimum(slots, num_work))
    )
    return solution


def _chosen(is_first: Bool[Array, "S"], first: Array, second: Array) -> Array:
    """Rows of the first, of any kind, where it is true, else of the second."""
    return jnp.where(is_first.reshape(-1, *[1] * (first.ndim - 1)), first, second)


def _reach(vector: Float[Array, "S P"], num_betas: int) -> Float[Array, "S P"]:
    """The most that each entry of the vector may change in a step."""
    fixed = np.full(vector.shape[-1], _ANGLE_REACH, vector.dtype)
    fixed[6 : 6 + num_betas] = _SHAPE_REACH
    transl = jnp.maximum(_TRANSL_REACH, _DISTANCE_REACH * jnp.abs(vector[:, 2:3]))
    return jnp.where(np.arange(fixed.size) < 3, transl, fixed)


def _steps(
    model: landmarks.PointModel, shared: PullMatrices, people: tuple[Any, ...], *, is_one_by_one: bool
) -> tuple[Float[Array, "S P"], Float[Array, "S"]]:
    """Damped steps of those who take one, zero for the others.

    Args:
        model: Body points.
        shared: Matrices of priors.
        people: Arguments of `damped_step` otherwise, and whether a step is taken, one row a slot.
        is_one_by_one: As of `solve`.
    """

    def one(person: tuple[Any, ...]) -> tuple[Array, Array]:
        equations, damping, free, reach, is_stepping = person

        def step() -> tuple[Array, Array]:
            return normal_equations.damped_step(equations, model, shared, damping, free, reach)

        def stay() -> tuple[Array, Array]:
            return jnp.zeros_like(free), jnp.ones_like(damping)

        return lax.cond(is_stepping, step, stay)

    return lax.map(one, people) if is_one_by_one else jax.vmap(one)(people)
