"""`hm.fit`: body parameters of a batch of people from their keypoints.

Staged optimisation: short fits from several headings, then a full fit from the best of them. The objective is that of
SMPLify (Bogo et al., ECCV 2016) with these deviations: errors are in box sides, so weights mean the same at every
resolution; feet and hands take part; the pose prior has a mixture for each part of the body, and joint limits; and
Levenberg-Marquardt with an exact Jacobian replaces dog-leg and L-BFGS. People of a batch never influence each other.
"""

import concurrent.futures
import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from hardmo_jax.array_types import Array, Bool, Float
from hardmo_jax.body import landmarks
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.fitting import (
    adam,
    evidence,
    initialise,
    judgement,
    lbfgs,
    levenberg_marquardt,
    motion,
    objective,
    variables,
)  # fmt: skip
from hardmo_jax.fitting.evidence import Evidence, UserResidual
from hardmo_jax.fitting.guess import Guess
from hardmo_jax.fitting.job import FitJob, count_rows, guess_rows, make_job, start_of
from hardmo_jax.fitting.pose_density import PoseDensity, density_of_people
from hardmo_jax.fitting.result import FitResult, FitStatus
from hardmo_jax.fitting.solution import Solution
from hardmo_jax.fitting.stages import FitOptions
from hardmo_jax.fitting.threads import num_cores, setting
from hardmo_jax.observations import ObservationError, Observations
from hardmo_jax.skeleton import layouts

_SLOTS = {"cpu": 16}
_SLOTS_ELSEWHERE = 4096
#: With a density, whose residuals and their derivatives may be as large as a network, so that idle slots cost as much
#: as busy ones and all are kept.
_SLOTS_OF_DENSITY = {"cpu": 4}
_SLOTS_OF_DENSITY_ELSEWHERE = 512


def fit(
    body: BodyModel,
    observations: Observations,
    *,
    options: FitOptions | None = None,
    initial: BodyParams | Guess | None = None,
    residuals: Sequence[UserResidual] = (),
    pose_density: PoseDensity | None = None,
    devices: Sequence[Any] | None = None,
) -> FitResult:
    """Fit a body to the keypoints of people.

    Args:
        body: Model with landmarks (`hm.open_body()`, or a SMPL, SMPL-H or SMPL-X file). Of SMPL-X the face stays
            neutral: jaw and eyeballs where `initial` has them or at rest, expression zero.
        observations: 2D keypoints with a camera, or 3D keypoints, or both. With both the 3D points only shape
            the pose (their centre is ignored); alone they are absolute positions in the camera frame.
        options: Stages, weights, solver.
        initial: Start of the refining stages instead of the best of several headings, in the camera frame; a
            `Guess` draws the fit towards itself as well. The result is no worse than the start by the objective of
            the last stage: where all steps led to worse places, the start comes back with the status `NO_BETTER`.
        residuals: Residuals of one's own, beside those of the keypoints and priors.
        pose_density: A density of poses, such as a network's of what it sees in a picture, in place of the usual prior
            over its joints (`recovery.flow_prior` makes one).
        devices: Devices that share the people, one thread each; None takes the default one, a CPU with all of its
            cores.

    Returns:
        Parameters, status and errors with the batch axes of the observations.

    Raises:
        ObservationError: If there is nobody, there are neither 2D nor 3D keypoints, 2D keypoints have no camera, shapes
            disagree, a confidence lies outside [0, 1], or the body lacks points to compare with.
    """
    options = options or FitOptions()
    batch, people = evidence.flatten(observations)
    layout = layouts.get_layout(observations.layout)
    if "left_hip" not in body.joint_names:
        raise ObservationError(f"{body.name} is a single hand; people are fitted with a whole body")
    count = int(np.prod(batch, dtype=int))
    if count == 0:
        raise ObservationError("the batch is empty: there is nobody to fit")
    guess = initial if isinstance(initial, Guess) else None
    begin = initial.params if isinstance(initial, Guess) else initial
    job = make_job(body, layout, options, guess)
    prepared = evidence.prepare(people, layout, job.is_supported, options, job.dtype)
    start = None
    if begin is not None:
        start, is_number = start_of(body, begin, batch, job.prior)
        prepared = dataclasses.replace(prepared, is_finite=prepared.is_finite & is_number)
        if guess is not None:
            rows = guess_rows(guess, start[0], batch, job.dtype)
            prepared = dataclasses.replace(prepared, evidence=dataclasses.replace(prepared.evidence, guess=rows))
    if not isinstance(residuals, Sequence) or not all(isinstance(extra, UserResidual) for extra in residuals):
        raise ObservationError(
            f"`residuals` must be a list of `hm.UserResidual(function=..., data=...)`, got {residuals!r}"
        )
    if pose_density is not None:
        shared, told, is_number = density_of_people(pose_density, body, batch, job.dtype)
        job = dataclasses.replace(job, prior=dataclasses.replace(job.prior, density=shared))
        prepared = dataclasses.replace(
            prepared,
            evidence=dataclasses.replace(prepared.evidence, density=told),
            is_finite=prepared.is_finite & is_number,
        )
    flat = tuple(_of_people(extra, batch, job) for extra in residuals)
    prepared = dataclasses.replace(prepared, evidence=dataclasses.replace(prepared.evidence, residuals=flat))
    result = _spread(job, prepared, start, count, devices)
    result = jax.tree.map(lambda leaf: jnp.asarray(leaf).reshape(*batch, *leaf.shape[1:]), result)
    camera = observations.camera
    if camera is not None:
        camera = jax.tree.map(lambda leaf: jnp.broadcast_to(jnp.asarray(leaf), (*batch, 2)), camera)
    if body.num_expression:
        neutral = jnp.zeros((*batch, body.num_expression), body.joint_template.dtype)
        result["params"] = dataclasses.replace(result["params"], expression=neutral)
    return FitResult(camera=camera, **result)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Serving:
    """How a device works."""

    slots: int
    platform: str


def _of_people(extra: UserResidual, batch: tuple[int, ...], job: FitJob) -> UserResidual:
    """A user's residual with one row of data a person, fractions in the precision of the body.

    Raises:
        ObservationError: If the data are not those of these people, or the function gives something else than
            residuals.
    """

    def flat_rows(leaf: Any) -> np.ndarray:
        leaf = np.asarray(leaf)
        if leaf.shape[: len(batch)] != batch:
            raise ObservationError(
                f"`data` of a residual must have the batch axes {batch} of the observations in front, got {leaf.shape}"
            )
        leaf = leaf.reshape(-1, *leaf.shape[len(batch) :])
        return leaf.astype(job.dtype) if np.issubdtype(leaf.dtype, np.floating) else leaf

    extra = dataclasses.replace(extra, data=jax.tree.map(flat_rows, extra.data))
    variable_layout = variables.Layout.of(job.model.body)

    def of_person(vector: Array, orient: Array, joints: Array, data: Any) -> Any:
        return extra.function(variable_layout.to_params(vector, orient), joints, data)

    person = [(variable_layout.size,), (3, 3), (variable_layout.num_joints, 3)]
    person = [jax.ShapeDtypeStruct(shape, job.dtype) for shape in person]
    given = jax.eval_shape(of_person, *person, jax.tree.map(lambda leaf: leaf[0], extra.data))
    if getattr(given, "ndim", None) != 1 or given.dtype != job.dtype:
        name = getattr(extra.function, "__name__", "function")
        raise ObservationError(
            f"residual {name!r} must return one array (R,) of {job.dtype} for a person, got {given}; "
            "`.ravel()` makes one row of a matrix"
        )
    return extra


def _spread(
    job: FitJob,
    prepared: evidence.Prepared,
    start: tuple[np.ndarray, np.ndarray] | None,
    count: int,
    devices: Sequence[Any] | None,
) -> dict[str, Any]:
    """Cut the people into pieces, have devices and cores fit them, and put the results together again."""
    places = _places(devices)
    if job.prior.density is None:
        usual, elsewhere = _SLOTS, _SLOTS_ELSEWHERE
    else:
        usual, elsewhere = _SLOTS_OF_DENSITY, _SLOTS_OF_DENSITY_ELSEWHERE
    slots = [job.options.slots or usual.get(place.platform, elsewhere) for place in places]
    workers = len(places) if devices else num_cores() if places[0].platform == "cpu" else 1
    # Less than a slot's worth a worker would leave slots empty.
    num_pieces = max(-(-count // job.options.max_batch), min(workers, -(-count // min(slots))))
    pieces = [rows for rows in np.array_split(np.arange(count), num_pieces) if len(rows)]
    # Bodies may be anywhere; what all people share goes to each device once.
    jobs = [job.on(place) for place in places]
    settings = (setting("jax_enable_x64"), setting("jax_default_matmul_precision"))

    def work(index: int) -> dict[str, Any]:
        rows, turn = pieces[index], index % len(places)
        selected = jax.tree.map(lambda leaf: leaf[rows], prepared.evidence)
        judged = (prepared.confident[rows], prepared.judged[rows])
        begun = None if start is None else (start[0][rows], start[1][rows])
        serving = _Serving(slots=slots[turn], platform=places[turn].platform)
        # JAX keeps these settings by thread.
        with jax.enable_x64(settings[0]), jax.default_matmul_precision(settings[1]), jax.default_device(places[turn]):
            return _fit_piece(jobs[turn], selected, judged, begun, serving)

    if min(workers, len(pieces)) > 1:
        with concurrent.futures.ThreadPoolExecutor(min(workers, len(pieces))) as pool:
            done = list(pool.map(work, range(len(pieces))))
    else:
        done = [work(index) for index in range(len(pieces))]
    result = jax.tree.map(lambda *leaves: np.concatenate(leaves), *done)
    status = np.where(prepared.is_enough, result["status"], FitStatus.NO_EVIDENCE)
    result["status"] = np.where(prepared.is_finite, status, FitStatus.NONFINITE).astype(np.int32)
    for name in ("keypoints_2d", "keypoints_3d"):
        if result[name] is not None:
            result[name] = np.where(job.is_supported[:, None], result[name], np.nan)
    return result


def _places(devices: Sequence[Any] | None) -> list[Any]:
    """The devices that are asked for, or the default one.

    Raises:
        ObservationError: If there are none, or they are something else.
    """
    if devices is None:
        default = setting("jax_default_device")
        return [jax.devices(default)[0] if default is None or isinstance(default, str) else default]
    is_one = isinstance(devices, jax.Device)
    if is_one or not len(devices) or not all(isinstance(device, jax.Device) for device in devices):
        raise ObservationError(f"`devices` must be some of jax.devices(), got {devices!r}")
    return list(devices)


def _padded_size(count: int) -> int:
    """Next power of four: one program each for a person, a group, a crowd and a full batch."""
    size = 1
    while size < count:
        size *= 4
    return size


def _fit_piece(
    job: FitJob,
    seen: Evidence,
    judged: tuple[Bool[np.ndarray, "B K"], Bool[np.ndarray, "B K"]],
    start: tuple[np.ndarray, np.ndarray] | None,
    serving: _Serving,
) -> dict[str, Any]:
    """Fit people on one device, padded so that few batch sizes are ever compiled."""
    count, options, platform = seen.box_side.shape[0], job.options, serving.platform
    size = min(_padded_size(count), max(options.max_batch, count))

    def pad(leaf: np.ndarray) -> np.ndarray:
        return leaf if size == count else np.concatenate([leaf, np.repeat(leaf[:1], size - count, 0)])

    seen, judged = jax.tree.map(pad, (seen, judged))
    weighted = seen.of_points(job.is_solved)
    keypoints = _compiled(motion.keypoints, cpu_level=0, platform=platform)
    if start is None:
        # By the program, of the same number of people, that gives the keypoints of the result.
        mean = job.prior.mean_vector()
        eye = np.tile(np.eye(3, dtype=job.dtype), (size, 1, 1))
        root = np.asarray(job.model.body.joint_template)[0]
        rest = np.asarray(keypoints(job.model, eye, np.tile(mean, (size, 1))))[0] - root
        starts = _compiled(_starts, "layout", "yaw_starts", cpu_level=0, platform=platform)
        vector, orient = starts(
            (rest[job.is_solved], root), mean, weighted, layout=job.solved_layout, yaw_starts=options.yaw_starts
        )
        explored = _solve(job, weighted, "explore", vector, orient, count, serving)
        vector, orient = _cheapest(explored, vector.shape[0] // size, np.asarray(orient))
        repeats = explored.cost.shape[0] // size
        vector, orient = np.tile(vector, (repeats, 1)), np.tile(orient, (repeats, 1, 1))
    else:
        vector, orient = (pad(leaf) for leaf in start)
    refined = _solve(job, weighted, "refine", vector, orient, count, serving, num_starts=1)
    refined = jax.tree.map(lambda leaf: leaf[:size], refined)
    is_start, is_lost = np.zeros(size, bool), np.zeros(size, bool)
    if start is not None:
        before, after = np.asarray(refined.history)[:, 0], np.asarray(refined.cost)
        if len(options.refine) > 1:
            # Within a stage no step is taken that does not help; the weights of an earlier one may lead away.
            last = jax.tree.map(lambda leaf: leaf[-1:], job.schedules["refine"])
            cost = _compiled(_cost, cpu_level=0, platform=platform)
            before = np.asarray(cost(job.solved, job.prior, weighted, last, orient, vector))
        is_start = np.isfinite(before) & ~(after < before)
        is_lost = is_start & (after != before)
        refined = dataclasses.replace(
            refined,
            vector=jnp.asarray(np.where(is_start[:, None], vector, refined.vector)),
            cost=jnp.asarray(np.where(is_start, before, after)),
        )
    points = keypoints(job.model, orient[:size], refined.vector)
    finish = _compiled(judgement.finish, "layout", cpu_level=0, platform=platform)
    result = finish(job.model, job.prior, seen, refined, points, orient[:size], *judged, layout=job.layout)
    result = jax.tree.map(lambda leaf: np.asarray(leaf)[:count], result)
    # Who is at an optimum from the beginning has converged.
    is_kept = (is_lost[:count] & (result["status"] <= FitStatus.MAX_STEPS)) | (
        is_start[:count] & (result["status"] == FitStatus.MAX_STEPS)
    )
    result["status"] = np.where(is_kept, FitStatus.NO_BETTER, result["status"])
    history = np.asarray(refined.history)[:count, : count_rows(options.refine)]
    history = _filled(history)
    history[is_lost[:count], -1] = np.asarray(refined.cost)[:count][is_lost[:count]]
    return {**result, "loss_history": history}


def _cost(
    model: landmarks.PointModel,
    prior: objective.Prior,
    seen: Evidence,
    weights: objective.StageWeights,
    orient: Float[Array, "B 3 3"],
    vector: Float[Array, "B P"],
) -> Float[Array, "B"]:
    """Cost of vectors under one row of weights."""
    rows = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (len(vector), *jnp.shape(leaf)[1:])), weights)
    return objective.equations(model, prior, seen, rows, orient, vector).cost


def _filled(history: Float[np.ndarray, "B rows"]) -> Float[np.ndarray, "B rows"]:
    """Rows that were not needed hold the cost before them."""
    rows = np.where(np.isnan(history), 0, np.arange(history.shape[1]))
    return np.take_along_axis(history, np.maximum.accumulate(rows, 1), 1)


def _solve(
    job: FitJob,
    seen: Evidence,
    schedule: str,
    vector: np.ndarray | Array,
    orient: np.ndarray | Array,
    count: int,
    serving: _Serving,
    *,
    num_starts: int | None = None,
) -> Solution:
    """Run the solver of the options from starts that stand one heading after the other."""
    options, size = job.options, seen.box_side.shape[0]
    inputs = (job.solved, job.prior, seen, job.schedules[schedule])
    if options.solver == "levenberg_marquardt":
        starts = np.arange(len(vector)).reshape(-1, size)[:num_starts, :count].ravel()
        work = np.zeros(len(vector), np.int32)
        work[: len(starts)] = starts
        solve = _compiled(levenberg_marquardt.solve, "slots", "is_one_by_one", cpu_level=1, platform=serving.platform)
        is_cpu = serving.platform == "cpu"
        # Idle slots cost little where they are served one by one; elsewhere another program costs less than they do.
        settings = {"slots": min(serving.slots, len(vector if is_cpu else starts)), "is_one_by_one": is_cpu}
        return solve(*inputs, orient, vector, work, np.int32(len(starts)), **settings)
    if num_starts is not None:
        vector, orient = vector[: num_starts * size], orient[: num_starts * size]
    steps = {"steps_per_iteration": options.adam_steps_per_iteration}
    if options.solver == "adam":
        names = ("learning_rate", "steps_per_iteration")
        solve = _compiled(adam.solve, *names, cpu_level=1, platform=serving.platform)
        return solve(*inputs, orient, vector, learning_rate=options.learning_rate, **steps)
    solve = _compiled(lbfgs.solve, "steps_per_iteration", cpu_level=1, platform=serving.platform)
    return solve(*inputs, orient, vector, **steps)


@functools.lru_cache(maxsize=32)
def _compiled(function: Callable[..., Any], *static: str, cpu_level: int | None = None, platform: str) -> Any:
    """A jitted function. On a CPU LLVM may optimise it less: half of a first call is LLVM.

    At level 1 a solver runs as fast as at level 3, at level 0 five times slower, which programs that run once stand.
    """
    options = {"xla_backend_optimization_level": cpu_level} if platform == "cpu" and cpu_level is not None else None
    return jax.jit(function, static_argnames=static, compiler_options=options)


def _cheapest(
    explored: Solution, num_starts: int, orient: Float[np.ndarray, "M 3 3"]
) -> tuple[Float[np.ndarray, "B P"], Float[np.ndarray, "B 3 3"]]:
    """Vector and orientation of each person's start that ended best."""
    cost = np.asarray(explored.cost).reshape(num_starts, -1)
    best = np.where(np.isfinite(cost), cost, np.inf).argmin(0)
    rows = best * cost.shape[1] + np.arange(cost.shape[1])
    return np.asarray(explored.vector)[rows], orient[rows]


def _starts(
    rest: tuple[Float[Array, "K 3"], Float[Array, "3"]],
    mean: Float[Array, "P"],
    seen: Evidence,
    *,
    layout: layouts.KeypointLayout,
    yaw_starts: int,
) -> tuple[Float[Array, "M P"], Float[Array, "M 3 3"]]:
    """Starts of everybody, one heading after the other."""
    seen = dataclasses.replace(seen, residuals=(), density=None)
    starts = []
    if seen.keypoints_2d is not None:
        headings = jnp.asarray(np.arange(yaw_starts) * 2 * np.pi / yaw_starts, mean.dtype)

        def from_heading(heading: Array, person: Evidence) -> tuple[Array, Array]:
            return initialise.start_from_heading(rest, person, mean, layout, heading)

        over_people = jax.vmap(from_heading, in_axes=(None, 0))
        vectors, orients = jax.vmap(over_people, in_axes=(0, None))(headings, seen)
        starts.append((vectors.reshape(-1, mean.size), orients.reshape(-1, 3, 3)))
    if seen.keypoints_3d is not None:
        starts.append(jax.vmap(lambda person: initialise.start_from_3d(rest, person, mean, layout))(seen))
    return jnp.concatenate([start[0] for start in starts]), jnp.concatenate([start[1] for start in starts])
