"""`hm.fit_motion`: the frames of one person's track fitted together, with one shape and feet that stay."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from hardmo_jax.array_types import AnyArray, Bool, Float
from hardmo_jax.body.landmarks import PointModel
from hardmo_jax.body.model import BodyModel
from hardmo_jax.fitting import evidence, judgement, motion, objective, paths, trajectory
from hardmo_jax.fitting.gaps import frames_from
from hardmo_jax.fitting.guess import Guess
from hardmo_jax.fitting.job import FitJob, guess_rows, make_job, start_of
from hardmo_jax.fitting.paths import PathTerms
from hardmo_jax.fitting.result import FitResult, FitStatus
from hardmo_jax.fitting.solution import Solution
from hardmo_jax.fitting.stages import GROUPS, FitOptions
from hardmo_jax.fitting.threads import on_cores
from hardmo_jax.fitting.track_shape import track_shape
from hardmo_jax.observations import ObservationError, Observations, check_track
from hardmo_jax.skeleton import layouts

_FRAMES_AT_ONCE = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class MotionOptions:
    """How the frames of a track are tied together."""

    acceleration_spread: float = 15.0
    """Standard deviation of the acceleration of points where the guess has none, m/s^2: the larger, the more jitter is
    kept."""
    acceleration_share: float = 3.0
    """Its square grows by the square of this times the guess's acceleration thereabouts."""
    stands_from: float = 0.05
    """Probability of standing at which a point begins to be locked."""
    stands_surely: float = 0.4
    """Probability from which it is locked fully."""
    lock_spread: float = 0.0015
    """Standard deviation of the step of a standing point from a frame to the next, metres; infinite to lock nothing."""
    lock_scale: float = 0.02
    """Steps far beyond this, metres, are those of a foot that does not stand, whatever was said."""
    shape_iterations: int = 2
    """Steps of Levenberg-Marquardt before the shape of the track is settled."""
    iterations: int = 3
    """Steps after that."""
    shape_share: float = 0.06
    """Of what each frame says of the shape that is news to the others; 0 keeps the shape of the guess."""
    shape_frames: int = 64
    """Frames that are asked for the shape, evenly spaced."""
    gradient_steps: int = 16
    """Conjugate gradients in each of them."""
    window_frames: int = 64
    """Frames that are solved together; longer tracks are cut, so that memory does not grow with them."""
    overlap_frames: int = 16
    """Frames that a piece shares with the next; there the two are blended."""
    longest_gap_seconds: float = 1.25
    """Time from the nearest frame in which the person was seen up to which a frame is filled in; what lies farther from
    all of them is made up, and its status is NO_EVIDENCE."""

    def __post_init__(self) -> None:
        for name in ("acceleration_spread", "lock_spread", "lock_scale"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be positive, got {getattr(self, name)}")
        if not 0 <= self.acceleration_share < np.inf or not 0 <= self.stands_from < self.stands_surely <= 1:
            raise ValueError(
                f"`acceleration_share` must not be negative, and 0 <= stands_from < stands_surely <= 1, got {self}"
            )
        if not self.longest_gap_seconds >= 0:
            raise ValueError(f"`longest_gap_seconds` must not be negative, got {self.longest_gap_seconds}")
        if not 0 <= self.shape_share <= 1:
            raise ValueError(f"`shape_share` must be in [0, 1], got {self.shape_share}")
        for name, least in {"shape_iterations": 0, "iterations": 1, "gradient_steps": 1, "shape_frames": 1}.items():
            if getattr(self, name) < least:
                raise ValueError(f"`{name}` must be at least {least}, got {getattr(self, name)}")
        if not 3 <= 2 * self.overlap_frames <= self.window_frames:
            raise ValueError(
                f"`overlap_frames` must be at least 2 and no more than half of `window_frames`, got "
                f"{self.overlap_frames} and {self.window_frames}"
            )


def fit_motion(
    body: BodyModel,
    observations: Observations,
    initial: Guess,
    *,
    frames_per_second: float,
    stands: Float[AnyArray, "T 4"] | None = None,
    is_continued: Bool[AnyArray, "T"] | None = None,
    options: FitOptions,
    motion_options: MotionOptions | None = None,
) -> FitResult:
    """Fit all frames of one person's track together.

    The objective is that of `hm.fit` in every frame, with the weights of the first stage of `options.refine`, which
    frees all groups but the shape, by Levenberg-Marquardt, and what `fitting.paths` adds between frames. After some
    steps the frames settle on one shape (`fitting.track_shape`).

    Args:
        body: Model with landmarks.
        observations: Of T frames. Those in which nothing was found have confidence zero everywhere: guess and
            neighbours fill them in, and their status is `FILLED`, or `NO_EVIDENCE` far from all that was seen, or
            `DIVERGED` if what came out is no human body in front of the camera.
        initial: Where each frame starts, and what it is drawn to.
        frames_per_second: Frame rate.
        stands: Probability that each of `layouts.CONTACT_POINTS` stands, before a camera that does not move; None locks
            no foot.
        is_continued: Whether a frame follows the one before it without a cut; None if all do.
        options: Weights.
        motion_options: How frames are tied together.

    Returns:
        Parameters, status and errors of each frame. `loss_history` is the cost of the piece that a frame was solved in,
        before the shape was settled and after; CONVERGED, MAX_STEPS and NO_BETTER are said of pieces too.

    Raises:
        ObservationError: As `hm.fit`, and if there is not exactly one batch axis, the frame rate is not positive,
            `stands` or `is_continued` are of another shape, or not numbers, or as `check_track_options`.
    """
    check_track_options(options)
    motion_options = motion_options or MotionOptions()
    batch, people = evidence.flatten(observations)
    check_track(observations, frames_per_second)
    layout = layouts.get_layout(observations.layout)
    if "left_hip" not in body.joint_names:
        raise ObservationError(f"{body.name} is a single hand; people are fitted with a whole body")
    job = make_job(body, layout, options, initial)
    prepared = evidence.prepare(people, layout, job.is_supported, options, job.dtype)
    (vector, orient), is_number = start_of(body, initial.params, batch, job.prior)
    rows = guess_rows(initial, vector, batch, job.dtype)
    seen = dataclasses.replace(prepared.evidence, guess=rows)
    del people, rows  # of long tracks these are much
    _check_track(batch[0], stands, is_continued)
    followed = paths.path_model(body.without_expression())
    contacts = paths.contact_rows(body.without_expression())
    terms = _terms(followed, orient, vector, frames_per_second, stands, is_continued, motion_options)
    solve = functools.partial(_solve_piece, job, followed, contacts, motion_options)
    history = []
    if motion_options.shape_share > 0 and body.num_betas:
        solved, _, told = _solved(solve, seen, terms, orient, vector, motion_options, motion_options.shape_iterations)
        vector = _with_shape(job, seen, orient, solved, motion_options)
        history.append(told)
    solved, cost, told = _solved(solve, seen, terms, orient, vector, motion_options, motion_options.iterations)
    history = np.concatenate([*history, told], 1)
    is_converged = told[:, -2] - told[:, -1] <= options.refine[0].converged_below * told[:, -1]
    result = _finished(job, seen, (prepared.confident, prepared.judged), orient, solved, cost, is_converged)
    status = result["status"]
    is_stuck = (history[:, 0] <= history[:, -1]) & (told[:, 0] <= told[:, -1])
    status = np.where(is_stuck & (status <= FitStatus.MAX_STEPS), FitStatus.NO_BETTER, status)
    gap_seconds = frames_from(prepared.is_enough, is_continued) / frames_per_second
    is_near = gap_seconds <= motion_options.longest_gap_seconds
    filled = np.where(
        result.pop("is_possible"), np.where(is_near, FitStatus.FILLED, FitStatus.NO_EVIDENCE), FitStatus.DIVERGED
    )
    status = np.where(prepared.is_enough, status, filled)
    is_finite = np.isfinite(solved).all(-1) & np.isfinite(told).all(-1) & is_number & prepared.is_finite
    status = np.where(is_finite, status, FitStatus.NONFINITE).astype(np.int32)
    for name in ("keypoints_2d", "keypoints_3d"):
        if result[name] is not None:
            result[name] = np.where(job.is_supported[:, None], result[name], np.nan)
    camera = observations.camera
    if camera is not None:
        camera = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (*batch, 2)), camera)
    if body.num_expression:
        neutral = np.zeros((*batch, body.num_expression), body.joint_template.dtype)
        result["params"] = dataclasses.replace(result["params"], expression=neutral)
    return FitResult(camera=camera, **{**result, "status": status, "loss_history": history})


def check_track_options(options: FitOptions) -> None:
    """Refuse options of single people that a track does not follow.

    Raises:
        ObservationError: If the solver is not Levenberg-Marquardt, or the first stage frees other groups than all but
            the shape.
    """
    if options.solver != "levenberg_marquardt":
        raise ObservationError(
            f"frames of a track are fitted together by levenberg_marquardt, not by {options.solver!r}; other solvers "
            "fit frames one by one (`hm.lift_and_fit`, `--config.fit.temporal=False`)"
        )
    wanted = tuple(group for group in GROUPS if group != "betas")
    if set(options.refine[0].free) != set(wanted):
        raise ObservationError(
            f"the stage of a track frees {', '.join(wanted)}, got {', '.join(options.refine[0].free) or 'nothing'}; "
            "`recovery.recover_motion.weights_of_frames` makes options of a track from those of single people"
        )


def _check_track(count: int, stands: AnyArray | None, is_continued: AnyArray | None) -> None:
    """Refuse probabilities or cuts that are not those of the frames.

    Raises:
        ObservationError: If they are of another shape, or not numbers.
    """
    wanted = (count, len(layouts.CONTACT_POINTS))
    if stands is not None and (np.shape(stands) != wanted or not np.isfinite(stands).all()):
        raise ObservationError(
            f"`stands` must be finite and {wanted}, one probability a frame and point of `layouts.CONTACT_POINTS`, got "
            f"{np.shape(stands)}"
        )
    if is_continued is not None and np.shape(is_continued) != (count,):
        raise ObservationError(f"`is_continued` must be ({count},), one entry a frame, got {np.shape(is_continued)}")


def _terms(
    followed: PointModel,
    orient: Float[np.ndarray, "T 3 3"],
    vector: Float[np.ndarray, "T P"],
    frames_per_second: float,
    stands: Float[AnyArray, "T 4"] | None,
    is_continued: Bool[AnyArray, "T"] | None,
    options: MotionOptions,
) -> PathTerms:
    """Weights and expectations of a whole track."""
    count, dtype = len(vector), vector.dtype
    points = np.concatenate(
        [
            np.asarray(_keypoints(followed, orient[rows], vector[rows]))[: len(kept)]
            for rows, kept in _padded_rows(count, _FRAMES_AT_ONCE)
        ]
    )
    continued = np.ones(count, bool) if is_continued is None else np.asarray(is_continued, bool).copy()
    continued[0] = False
    follows = np.append(continued[1:], False)  # whether the next frame follows this one
    is_inner = continued & follows
    second = np.zeros_like(points)
    second[1:-1] = points[2:] - 2 * points[1:-1] + points[:-2]
    # Jitter of the guess is blurred away first, then the size of what is left. What is not known, at ends and cuts,
    # does not count.
    second = _blurred(second, is_inner, 1)
    usual = _blurred(np.linalg.norm(second, axis=-1), is_inner, 2)
    floor = options.acceleration_spread / frames_per_second**2
    spread = np.sqrt(floor**2 + (options.acceleration_share * usual) ** 2)
    lock = np.zeros((count, len(layouts.CONTACT_POINTS)))
    if stands is not None and np.isfinite(options.lock_spread):
        sure = np.asarray(stands, np.float64)
        sure = np.minimum(sure, np.append(sure[1:], sure[-1:], 0)) * follows[:, None]
        sure = np.clip((sure - options.stands_from) / (options.stands_surely - options.stands_from), 0, 1)
        lock = sure / options.lock_spread
    return PathTerms(
        acceleration=(is_inner[:, None] / spread).astype(dtype),
        lock=lock.astype(dtype),
        lock_scale=np.asarray(options.lock_scale, dtype),
    )


def _blurred(
    values: Float[np.ndarray, "T ..."], is_known: Bool[np.ndarray, "T"], times: int
) -> Float[np.ndarray, "T ..."]:
    """Blurred in time by a binomial of five taps (standard deviation one frame), some times over, from known values."""
    count, wide_axes = len(values), (-1, *[1] * (values.ndim - 1))
    known = is_known.astype(values.dtype).reshape(wide_axes)
    for _ in range(times):
        total, mass = np.zeros_like(values), np.zeros_like(known)
        for shift, share in enumerate((1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16), start=-2):
            into, from_ = slice(max(shift, 0), count + min(shift, 0)), slice(max(-shift, 0), count - max(shift, 0))
            total[into] += share * (values * known)[from_]
            mass[into] += share * known[from_]
        values = total / np.maximum(mass, 1e-6)
    return values


def _solved(
    solve: Any,
    seen: evidence.Evidence,
    terms: PathTerms,
    orient: Float[np.ndarray, "T 3 3"],
    vector: Float[np.ndarray, "T P"],
    options: MotionOptions,
    iterations: int,
) -> tuple[Float[np.ndarray, "T P"], Float[np.ndarray, "T"], Float[np.ndarray, "T N"]]:
    """Vectors, costs and histories of all frames, solved in pieces that overlap."""
    count, size = len(vector), options.window_frames
    firsts = list(range(0, max(count - options.overlap_frames, 1), size - options.overlap_frames))
    if count <= size:
        size, firsts = _short_size(count, size), [0]

    def work(first: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rows = np.minimum(np.arange(first, first + size), count - 1)
        is_real = np.arange(first, first + size) < count
        piece, ties = jax.tree.map(lambda leaf: leaf[rows] if np.ndim(leaf) else leaf, (seen, terms))
        # Frames that repeat the last one, and the ends of a piece, are tied to nothing.
        inner = is_real.copy()
        inner[0] = False
        last = int(is_real.sum()) - 1
        inner[last] = False
        ties = dataclasses.replace(
            ties,
            acceleration=ties.acceleration * inner[:, None],
            lock=ties.lock * (is_real & (np.arange(size) < last))[:, None],
        )
        done = solve(piece, ties, orient[rows], vector[rows], is_real, iterations)
        kept = slice(0, last + 1)
        told = np.asarray(done.history)[: iterations + 1]
        return np.asarray(done.vector)[kept], np.asarray(done.frame_cost)[kept], told

    pieces = on_cores(work, firsts)
    solved, cost = np.zeros_like(vector), np.zeros(count, vector.dtype)
    history = np.zeros((count, len(pieces[0][2])), vector.dtype)
    for first, (found, paid, told) in zip(firsts, pieces, strict=True):
        weight = np.ones(len(found), vector.dtype)
        if first:
            # The beginning takes over from the piece before: its end fades out as this one fades in.
            ramp = (np.arange(options.overlap_frames) + 0.5) / options.overlap_frames
            # Softly: frames at the very ends of a piece know neighbours on one side only.
            ramp = ramp * ramp * (3 - 2 * ramp)
            weight[: len(ramp)] = ramp[: len(found)]
        rows = slice(first, first + len(found))
        solved[rows] += weight[:, None] * (found - solved[rows])
        cost[rows] += weight * (paid - cost[rows])
        history[rows] = told
    return solved, cost, history


def _with_shape(
    job: FitJob,
    seen: evidence.Evidence,
    orient: Float[np.ndarray, "T 3 3"],
    vector: Float[np.ndarray, "T P"],
    options: MotionOptions,
) -> Float[np.ndarray, "T P"]:
    """The vectors with the shape that the frames settle on, the pelvis where it was."""
    has_seen = np.flatnonzero(np.any([np.any(w > 0, -1) for w in (seen.weight_2d, seen.weight_3d) if w is not None], 0))
    if not len(has_seen) or seen.guess is None:
        return vector
    rows = has_seen[np.linspace(0, len(has_seen) - 1, options.shape_frames).round().astype(int)]
    # Of a short track frames stand in for each other: they count once.
    share = options.shape_share * min(1.0, len(has_seen) / options.shape_frames)
    betas = slice(6, 6 + job.prior.num_betas)
    inverse_spread = np.array(seen.guess.inverse_spread)
    known = inverse_spread[rows, betas].mean(0)
    # A guess that says nothing of the shape leaves it to the prior over people.
    spread = np.where(known > 0, 1 / np.maximum(known, 1e-6), 1.0)
    inverse_spread[:, betas] = 0
    some = dataclasses.replace(seen, guess=dataclasses.replace(seen.guess, inverse_spread=inverse_spread))
    some = jax.tree.map(lambda leaf: leaf[rows], some.of_points(job.is_solved))
    weights = jax.tree.map(lambda leaf: np.repeat(leaf[:1], len(rows), 0), job.schedules["refine"])
    weights = dataclasses.replace(weights, shape_prior=np.zeros_like(weights.shape_prior))
    shape = track_shape(job.solved, job.prior, some, weights, orient[rows], vector[rows], spread=spread, share=share)
    result = vector.copy()
    root = np.asarray(job.model.body.joint_shape_basis)[: job.prior.num_betas, 0]
    result[:, :3] += (vector[:, betas] - shape) @ root
    result[:, betas] = shape
    return result


def _solve_piece(
    job: FitJob,
    followed: PointModel,
    contacts: tuple[int, ...],
    options: MotionOptions,
    seen: evidence.Evidence,
    terms: PathTerms,
    orient: Float[np.ndarray, "L 3 3"],
    vector: Float[np.ndarray, "L P"],
    is_real: Bool[np.ndarray, "L"],
    iterations: int,
) -> trajectory.Trajectory:
    """Solve one piece."""
    weights = jax.tree.map(lambda leaf: np.repeat(leaf[:1], len(vector), 0), job.schedules["refine"])
    return jax.block_until_ready(
        _trajectory()(
            job.solved, followed, job.prior, seen.of_points(job.is_solved), weights, terms, orient, vector,
            is_real, np.asarray(iterations, np.int32), contacts=contacts,
            most_iterations=options.shape_iterations + options.iterations, gradient_steps=options.gradient_steps,
        )
    )  # fmt: skip


@functools.lru_cache(maxsize=1)
def _trajectory() -> Any:
    return jax.jit(trajectory.solve_trajectory, static_argnames=("contacts", "most_iterations", "gradient_steps"))


@jax.jit
def _keypoints(model: PointModel, orient: Any, vector: Any) -> Any:
    return motion.keypoints(model, orient, vector)


@functools.partial(jax.jit, static_argnames=("layout",))
def _judged(
    model: PointModel,
    prior: objective.Prior,
    seen: evidence.Evidence,
    vector: Any,
    cost: Any,
    is_converged: Any,
    orient: Any,
    confident: Any,
    judged: Any,
    *,
    layout: layouts.KeypointLayout,
) -> dict[str, Any]:
    points = motion.keypoints(model, orient, vector)
    is_possible = judgement.is_possible(model, prior, vector, has_pixels=seen.keypoints_2d is not None)
    solution = Solution(vector=vector, cost=cost, is_converged=is_converged, history=cost[:, None])
    found = judgement.finish(model, prior, seen, solution, points, orient, confident, judged, layout=layout)
    return {**found, "is_possible": is_possible}


def _finished(
    job: FitJob,
    seen: evidence.Evidence,
    judged: tuple[Bool[np.ndarray, "T K"], Bool[np.ndarray, "T K"]],
    orient: Float[np.ndarray, "T 3 3"],
    vector: Float[np.ndarray, "T P"],
    cost: Float[np.ndarray, "T"],
    is_converged: Bool[np.ndarray, "T"],
) -> dict[str, Any]:
    """Parameters, keypoints, status and errors of all frames, and which are human bodies whatever was seen."""
    pieces = []
    for rows, kept in _padded_rows(len(vector), _FRAMES_AT_ONCE):
        some, confident, of_judged = jax.tree.map(lambda leaf, at=rows: leaf[at], (seen, *judged))
        ends = (vector[rows], cost[rows], is_converged[rows])
        found = _judged(job.model, job.prior, some, *ends, orient[rows], confident, of_judged, layout=job.layout)
        size = len(kept)
        pieces.append(jax.tree.map(lambda leaf, size=size: np.asarray(leaf)[:size], found))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *pieces)


def _padded_rows(count: int, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows of pieces of one size, the last one filled up with the last row, and those of them that count."""
    return [
        (np.minimum(np.arange(first, first + size), count - 1), np.arange(first, min(first + size, count)))
        for first in range(0, count, size)
    ]


def _short_size(count: int, longest: int) -> int:
    """Frames of the piece of a short track: few sizes are ever compiled."""
    size = 8
    while size < count:
        size *= 2
    return min(size, longest)
