"""Levenberg-Marquardt over all frames of a piece of a clip at once.

Each frame has its own equations (`fitting.objective`); the residuals of `fitting.paths` tie them together. What hangs
on the wrists is tied to nothing: fingers are eliminated frame by frame (a Schur complement), and what is left, some 70
unknowns a frame, is solved by conjugate gradients (Hestenes and Stiefel, 1952) with each frame's own matrix as the
preconditioner. A step that does not lower the total cost is not taken, so that the result is never worse than the
start. The shape of the body does not move: it is one for the whole track, and was settled before.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from hardmo_jax.array_types import AnyArray, Array, Bool, Float, Int
from hardmo_jax.body.landmarks import PointModel
from hardmo_jax.fitting import motion, normal_equations, objective, paths, variables
from hardmo_jax.fitting.elimination import eliminated, inverse
from hardmo_jax.fitting.evidence import Evidence
from hardmo_jax.fitting.normal_equations import NormalEquations, PullMatrices
from hardmo_jax.fitting.paths import PathEquations, PathTerms

_HIGHEST = lax.Precision.HIGHEST
_INITIAL_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-3, 1e-7, 1e6
#: Floor of the damping's scale, as for single people.
_LEAST_DIAGONAL = 1e-3
#: Longest steps: radians and metres, or this share of the distance if that is more.
_ANGLE_REACH, _TRANSL_REACH, _DISTANCE_REACH = 0.3, 0.3, 0.1
_TINY = 1e-20


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Trajectory:
    """Where the solver ended."""

    vector: Float[Array, "L P"]
    """Of every frame."""
    history: Float[Array, "N1"]
    """Total cost before the first and after each step; refused steps repeat it."""
    frame_cost: Float[Array, "L"]
    """Cost of each frame by itself, without what ties frames together."""


@dataclasses.dataclass(frozen=True)
class _Entries:
    """Which entries of the vector move with their neighbours in time, and which by themselves."""

    body: np.ndarray
    """Translation, root, and the joints up to the wrists."""
    local: np.ndarray
    """All that hangs on the wrists. Jaw and eyes of bodies that have them do not move."""
    of_twists: tuple[int, ...]
    """The first ones as entries of `Motion.twists`, where there are no betas."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class _Linear:
    """The equations at a place."""

    frames: NormalEquations
    paths: PathEquations
    jacobian: Float[Array, "L R E"]
    cost: Float[Array, ""]


def solve_trajectory(
    model: PointModel,
    path_points: PointModel,
    prior: objective.Prior,
    evidence: Evidence,
    weights: objective.StageWeights,
    terms: PathTerms,
    orient: Float[AnyArray, "L 3 3"],
    start: Float[AnyArray, "L P"],
    is_real: Bool[AnyArray, "L"],
    iterations: Int[AnyArray, ""] | int,
    *,
    contacts: tuple[int, ...],
    most_iterations: int,
    gradient_steps: int,
) -> Trajectory:
    """Improve the vectors of the frames of a clip together.

    Args:
        model: Body points that were measured.
        path_points: Body points that are followed, of `paths.path_model`.
        prior: Over the vector of a frame.
        evidence: Measurements of L frames; those without any have weights of zero.
        weights: One row of weights for each frame.
        terms: What ties the frames together.
        orient: Start orientation of each frame.
        start: Start vectors.
        is_real: False for frames that only fill up the piece: they cost nothing, and stay.
        iterations: Steps.
        contacts: Of `paths.contact_rows`.
        most_iterations: Length of the history; one program serves any number of steps up to it.
        gradient_steps: Conjugate gradients a step.
    """
    orient, start = jnp.asarray(orient), jnp.asarray(start)
    entries = _entries(variables.Layout.of(model.body))
    shared = PullMatrices(parts=prior.parts, pose_start=6 + prior.num_betas, guess=prior.guess_precision)

    def linear(vector: Float[Array, "L P"]) -> _Linear:
        frames = objective.equations(model, prior, evidence, weights, orient, vector)
        counts = jnp.asarray(is_real, vector.dtype)
        frames = dataclasses.replace(frames, cost=frames.cost * counts, gradient=frames.gradient * counts[:, None])
        moved = motion.motion(path_points, orient, vector)
        points = jnp.moveaxis(moved.points, -1, 0)
        found = paths.path_equations(points, terms, contacts)
        jacobian = paths.path_jacobian(path_points, moved, entries.of_twists)
        ones = jnp.ones_like(frames.cost)
        return _Linear(frames=frames, paths=found, jacobian=jacobian, cost=found.cost + jnp.dot(frames.cost, ones))

    def step(number, state):
        vector, now, damping, growth, history = state
        change = _step(model, shared, now, damping, entries, contacts, gradient_steps)
        reach = np.full(vector.shape[1], _ANGLE_REACH, np.float32)
        transl = jnp.maximum(_TRANSL_REACH, _DISTANCE_REACH * jnp.abs(vector[:, 2:3]))
        change = jnp.clip(change, -jnp.where(np.arange(len(reach)) < 3, transl, reach),
                          jnp.where(np.arange(len(reach)) < 3, transl, reach))  # fmt: skip
        candidate = vector + change
        then = linear(candidate)
        is_better = jnp.isfinite(then.cost) & (then.cost < now.cost)
        vector = jnp.where(is_better, candidate, vector)
        now = jax.tree.map(lambda new, old: jnp.where(is_better, new, old), then, now)
        damping = jnp.clip(damping * jnp.where(is_better, 0.2, growth), _LEAST_DAMPING, _MOST_DAMPING)
        growth = jnp.where(is_better, 8.0, growth * 2)
        # What comes after the last step repeats it.
        history = jnp.where(np.arange(most_iterations + 1) > number, now.cost, history)
        return vector, now, damping, growth, history

    first = linear(start)
    damping, growth = jnp.asarray(_INITIAL_DAMPING, start.dtype), jnp.asarray(8.0, start.dtype)
    history = jnp.full((most_iterations + 1,), first.cost)
    state = (start, first, damping, growth, history)
    vector, last, _, _, history = lax.fori_loop(0, iterations, step, state)
    return Trajectory(vector=vector, history=history, frame_cost=last.frames.cost)


def _entries(layout: variables.Layout) -> _Entries:
    names = ("transl", "global_orient", "body_pose")
    body = np.flatnonzero(layout.group_mask(names))
    # SMPL's body pose holds two joints beyond the wrists, which move nothing that is followed.
    body = body[body < layout.pose_start + 3 * 21]
    free = np.flatnonzero(layout.group_mask((*names, "hand_pose")))
    local = np.setdiff1d(free, body)
    of_twists = tuple(int(entry) if entry < 6 else int(entry) - layout.num_betas for entry in body)
    return _Entries(body=body, local=local, of_twists=of_twists)


def _step(
    model: PointModel,
    shared: PullMatrices,
    now: _Linear,
    damping: Float[Array, ""],
    entries: _Entries,
    contacts: tuple[int, ...],
    gradient_steps: int,
) -> Float[Array, "L P"]:
    """The damped Gauss-Newton step of all frames."""
    body, local = entries.body, entries.local
    jacobian, found = now.jacobian, now.paths
    shape = (*now.paths.diagonal.shape, 3)
    transposed = jnp.swapaxes(jacobian, -1, -2)
    gradient = now.frames.gradient[:, body]
    gradient += _times(transposed, found.gradient.reshape(shape[0], -1))
    # What the ties add to each frame's own matrix.
    rows = jacobian * jnp.sqrt(jnp.repeat(found.diagonal, 3, -1))[..., None]

    def reduce(frame):
        equations, tied, slope = frame
        matrix = normal_equations.matrix(equations, model, shared)
        own = matrix[np.ix_(body, body)]
        tied = jnp.matmul(tied.T, tied, precision=_HIGHEST)
        own += jnp.diag(damping * jnp.maximum(jnp.diagonal(own) + jnp.diagonal(tied), _LEAST_DIAGONAL))
        if not len(local):
            return own, inverse(own + tied), slope, jnp.zeros((0, 0)), jnp.zeros((0, len(body))), jnp.zeros(0)
        apart = matrix[np.ix_(local, local)]
        apart += jnp.diag(damping * jnp.maximum(jnp.diagonal(apart), _LEAST_DIAGONAL))
        # The factor's rows below its first block are what two solves with many right sides would give, which are slow.
        below = jnp.concatenate([matrix[np.ix_(body, local)], equations.gradient[None, local]])
        factor, half = eliminated(apart, below)
        own -= jnp.matmul(half[:-1], half[:-1].T, precision=_HIGHEST)
        slope -= jnp.matmul(half[:-1], half[-1], precision=_HIGHEST)
        return own, inverse(own + tied), slope, factor, half[:-1], half[-1]

    own, ready, gradient, factor, half, pull = lax.map(reduce, (now.frames, rows, gradient))

    def product(change: Float[Array, "L E"]) -> Float[Array, "L E"]:
        points = _times(jacobian, change).reshape(shape)
        tied = _times(transposed, found.product(points, contacts).reshape(shape[0], -1))
        return _times(own, change) + tied

    change = _conjugate_gradients(product, ready, -gradient, gradient_steps)
    step = jnp.zeros_like(now.frames.gradient).at[:, body].set(change)
    if not len(local):
        return step

    def solve_back(frame):
        factor, right = frame
        return lax.linalg.triangular_solve(factor, right[:, None], left_side=True, lower=True, transpose_a=True)[:, 0]

    right = pull + _times(jnp.swapaxes(half, -1, -2), change)
    return step.at[:, local].set(-lax.map(solve_back, (factor, right)))


def _times(matrix: Float[Array, "L R E"], vector: Float[Array, "L E"]) -> Float[Array, "L R"]:
    return jnp.einsum("lre,le->lr", matrix, vector, precision=_HIGHEST)


def _conjugate_gradients(product, near: Float[Array, "L E E"], right: Float[Array, "L E"], steps: int) -> Array:
    """Solution of a symmetric positive definite system, from zero; any number of steps gives a descent direction.

    Args:
        product: The matrix times a vector.
        near: Inverse of a matrix near to it.
        right: Right side.
        steps: How many.
    """

    def dot(first: Array, second: Array) -> Array:
        return jnp.einsum("le,le->", first, second, precision=_HIGHEST)

    def conditioned(rest: Array) -> Array:
        return _times(near, rest)

    def once(_, state):
        solution, rest, ready, direction, size = state
        image = product(direction)
        share = size / jnp.maximum(dot(direction, image), _TINY)
        solution += share * direction
        rest -= share * image
        ready = conditioned(rest)
        new = dot(rest, ready)
        direction = ready + new / jnp.maximum(size, _TINY) * direction
        return solution, rest, ready, direction, new

    ready = conditioned(right)
    state = (jnp.zeros_like(right), right, ready, ready, dot(right, ready))
    return lax.fori_loop(0, steps, once, state)[0]
