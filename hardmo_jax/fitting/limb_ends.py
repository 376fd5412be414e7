"""Feet and hands by themselves: the joint at the end of a limb is turned until its points meet what was seen.

Everything above the joint stays as it is. What its points do then is simple: heel and palm turn with the ankle or the
wrist, toes with their own joint beyond it. A person's ankle may lie beside the one that was seen because the body does;
that is no fault of the foot, so that a small shift of the whole part is solved for and thrown away again.

Solved by Levenberg-Marquardt for all parts of a batch at once; a part has three to nine unknowns.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from scipy.spatial.transform import Rotation

from hardmo_jax.array_types import AnyArray, Array, Bool, Float, Int
from hardmo_jax.body import landmarks
from hardmo_jax.body.landmarks import PointModel
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.fitting import priors
from hardmo_jax.fitting.evidence import SEEN
from hardmo_jax.fitting.pose_mixture import PartPrior, nearest, packaged_mixtures, part_priors
from hardmo_jax.fitting.threads import on_cores
from hardmo_jax.geometry import rotations
from hardmo_jax.observations import ObservationError, Observations
from hardmo_jax.skeleton import layouts, regressors
from hardmo_jax.skeleton.layouts import KeypointLayout

_HIGHEST = lax.Precision.HIGHEST
#: Parts that hang on the end of a limb.
LIMB_ENDS = tuple(part for part in layouts.PARTS if part != "body")
_BASE = {"foot": "ankle", "hand": "wrist"}
_PARENT = {"foot": "knee", "hand": "elbow"}
_MIN_DEPTH = 0.1
_PARTS_AT_ONCE = 512
_INITIAL_DAMPING, _LEAST_DAMPING = 1e-2, 1e-6
#: Metres and radians.
_LONGEST_STEP = 0.6


@dataclasses.dataclass(frozen=True, kw_only=True)
class LimbEndOptions:
    """Weights of the solve of a foot or hand."""

    keypoints_2d_spread: float = 0.009
    """Standard deviation of a keypoint, in box sides."""
    weight: float = 1.0
    """Factor on its residuals."""
    fingers: float = 1.0
    """Further factor on points of fingers beyond the knuckles, which their joints move too."""
    robust_scale: float = 0.25
    """Geman-McClure scale, in box sides."""
    guess: float = 1.0
    """Weight of the distance from the guess."""
    prior: float = 0.5
    """Weight of the prior over the poses of the part."""
    shift_spread: float = 0.01
    """Standard deviation of the shift that is not the part's, metres."""
    limit_spread: float = 0.05
    """Overstepping of a joint limit that costs as much as one standard deviation, radians."""
    iterations: int = 8
    """Steps."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class LimbEnds:
    """N parts of one kind, such as all left feet, and what was seen of them."""

    parent: Float[AnyArray, "N 3 3"]
    """Rotation of knee or elbow in the camera frame."""
    base: Float[AnyArray, "N 3"]
    """Ankle or wrist, camera frame, metres."""
    link: Float[AnyArray, "N 3"]
    """From there to the joint of the toes, in the frame of the ankle."""
    offsets: Float[AnyArray, "N K 3"]
    """Of the points, in the frame of the joint that carries them."""
    on_toes: Float[AnyArray, "K"]
    """1 for points that the joint of the toes carries."""
    pose: Float[AnyArray, "N E"]
    """Axis-angle of ankle and toes, or of the wrist."""
    keypoints_2d: Float[AnyArray, "N K 2"]
    """Pixels."""
    weight: Float[AnyArray, "N K"]
    """Of each point; 0 where it was not seen."""
    box_side: Float[AnyArray, "N"]
    """Pixels."""
    focal_length: Float[AnyArray, "N 2"]
    principal_point: Float[AnyArray, "N 2"]
    guess: Float[AnyArray, "N E"]
    """Where the pose is expected."""
    inverse_spread: Float[AnyArray, "N E"]
    """One over the standard deviation of that; 0 without a guess."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class LimbEndPrior:
    """What is known of the pose of a part before it is seen."""

    mixture: PartPrior
    low: Float[AnyArray, "E"]
    high: Float[AnyArray, "E"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class SolvedLimbEnds:
    """Where the solver ended."""

    pose: Float[AnyArray, "N E"]
    cost: Float[AnyArray, "N"]
    """Of the result."""
    start_cost: Float[AnyArray, "N"]
    """Of the pose that the parts had, everything but it solved for."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class BodyFrames:
    """Joints and keypoints of N people."""

    rotations: Float[np.ndarray, "N J 3 3"]
    """Of the joints in the camera frame."""
    places: Float[np.ndarray, "N J 3"]
    """Joints, camera frame, metres."""
    points: Float[np.ndarray, "N K 3"]
    """Keypoints, camera frame, metres."""
    full_pose: Float[np.ndarray, "N J 3"]
    """Axis-angle."""
    is_supported: Bool[np.ndarray, "K"]
    """Keypoints that the body has."""


def body_frames(body: BodyModel, layout: str, params: BodyParams) -> BodyFrames:
    """Joints and keypoints of people; one program serves all parts."""
    model, is_supported = landmarks.point_model(body, layouts.get_layout(layout))
    places, points, pose = in_pieces(jax.tree_util.Partial(_joints_and_points, model), params)
    turned = Rotation.from_rotvec(pose.reshape(-1, 3)).as_matrix().reshape(*pose.shape, 3).astype(pose.dtype)
    for joint, parent in enumerate(body.parents):
        if parent >= 0:
            turned[:, joint] = turned[:, parent] @ turned[:, joint]
    return BodyFrames(rotations=turned, places=places, points=points, full_pose=pose, is_supported=is_supported)


def _joints_and_points(model: PointModel, params: BodyParams) -> tuple[Array, Array, Array]:
    return model.body.joints(params), model(params), jnp.asarray(params.full_pose())


def joints_of(part: str) -> tuple[str, ...]:
    """Joints that move a part: ankle and toes, or the wrist."""
    side, kind = part.split("_")
    return (f"{side}_ankle", f"{side}_foot") if kind == "foot" else (f"{side}_wrist",)


def limb_end_layout(part: str, layout: KeypointLayout) -> tuple[KeypointLayout, tuple[int, ...]]:
    """The points of a part and of the joint that it hangs on, and where they stand in a layout."""
    side, kind = part.split("_")
    base = f"{side}_{_BASE[kind]}"
    rows = tuple(
        row
        for row, point in enumerate(layout.points)
        if layouts.part_of(point) == part or regressors.place_of(point) == base
    )
    return layout.only(rows), rows


def limb_end_prior(body: BodyModel, part: str) -> LimbEndPrior:
    """The learnt mixture over the pose of a part, and its joint limits."""
    names = joints_of(part)
    rows = [body.joint_names.index(name) for name in names]
    kind = "foot" if part.endswith("foot") else "wrist"
    found = part_priors({kind: packaged_mixtures()[kind]}, ("pelvis", *names), np.dtype(np.float32))
    limits = priors.pose_prior(body.joint_names)
    low, high = (
        np.concatenate([table[row - 1] for row in rows]).astype(np.float32) for table in (limits.low, limits.high)
    )
    return LimbEndPrior(mixture=found[0], low=low, high=high)


def limb_ends(
    body: BodyModel,
    observations: Observations,
    frames: BodyFrames,
    part: str,
    *,
    guess: Float[np.ndarray, "N E"] | None = None,
    spread: Float[np.ndarray, "N E"] | None = None,
    box_side: Float[np.ndarray, "N"],
    min_confidence: float = SEEN,
    options: LimbEndOptions,
) -> LimbEnds:
    """One part of many people, ready to be solved.

    Args:
        body: Model with landmarks.
        observations: Of N people, with 2D keypoints and camera.
        frames: Their bodies, with the keypoints of the observations (`body_frames`).
        part: One of `LIMB_ENDS`.
        guess: Where the pose of the part is expected (axis-angle of `joints_of`); None knows nothing.
        spread: Standard deviation of that.
        box_side: Longer side of each person's box, pixels.
        min_confidence: Keypoints below it are not used.
        options: Weights.

    Raises:
        ObservationError: Without 2D keypoints or camera, or if the body lacks the joints.
    """
    if observations.keypoints_2d is None or observations.camera is None:
        raise ObservationError("feet and hands are solved by `keypoints_2d` and `camera`")
    missing = [name for name in joints_of(part) if name not in body.joint_names]
    if missing:
        raise ObservationError(f"{body.name} has no joint {', '.join(missing)}")
    layout, rows = limb_end_layout(part, layouts.get_layout(observations.layout))
    count, is_supported = len(frames.places), frames.is_supported[list(rows)]
    side, kind = part.split("_")
    carried = np.array([_is_toe(point) for point in layout.points])
    base, end = body.joint_names.index(f"{side}_{_BASE[kind]}"), body.joint_names.index(joints_of(part)[-1])
    carrier = np.where(carried, end, base)
    away = frames.points[:, list(rows)] - frames.places[:, carrier]
    offsets = np.einsum("nkji,nkj->nki", frames.rotations[:, carrier], away)
    link = np.einsum("nji,nj->ni", frames.rotations[:, base], frames.places[:, end] - frames.places[:, base])
    parent = frames.rotations[:, body.joint_names.index(f"{side}_{_PARENT[kind]}")]
    places = [body.joint_names.index(name) for name in joints_of(part)]
    pose = frames.full_pose[:, places].reshape(count, -1)
    keypoints = np.asarray(observations.keypoints_2d)[:, rows]
    confidence = observations.confidence
    confidence = np.ones(keypoints.shape[:2]) if confidence is None else np.asarray(confidence)[:, rows]
    is_good = np.isfinite(keypoints).all(-1) & np.isfinite(confidence) & is_supported
    confidence = np.where(is_good & (confidence >= min_confidence), confidence, 0)
    factor = np.array([options.fingers if is_on_finger(point) else 1.0 for point in layout.points])
    size = pose.shape[-1]
    guess = np.zeros((count, size)) if guess is None else guess
    inverse = np.zeros((count, size)) if spread is None else 1 / spread
    camera = [np.broadcast_to(value, (count, 2)) for value in
              (observations.camera.focal_length, observations.camera.principal_point)]  # fmt: skip
    dtype = pose.dtype
    return LimbEnds(
        parent=parent, base=frames.places[:, base], link=link, offsets=offsets,
        on_toes=carried.astype(dtype), pose=pose,
        keypoints_2d=np.where(is_good[..., None], keypoints, 0).astype(dtype),
        weight=(confidence * factor * options.weight).astype(dtype),
        box_side=np.asarray(box_side, dtype), focal_length=camera[0].astype(dtype),
        principal_point=camera[1].astype(dtype), guess=guess.astype(dtype), inverse_spread=inverse.astype(dtype),
    )  # fmt: skip


def _is_toe(point: str) -> bool:
    return regressors.place_of(point).endswith("_toe")


def is_on_finger(point: str) -> bool:
    """Whether joints of fingers move the point: all of a hand but its root and the knuckles."""
    return (layouts.part_of(point) or "").endswith("_hand") and not point.endswith(("root", "1"))


def points_of(
    parts: LimbEnds, pose: Float[AnyArray, "N E"], shift: Float[AnyArray, "N 3"] | None = None
) -> Float[Array, "N K 3"]:
    """Points of parts in another pose, camera frame, metres."""
    base = jnp.asarray(parts.base) if shift is None else parts.base + shift
    turned = rotations.compose(jnp.asarray(parts.parent), rotations.axis_angle_to_matrix(jnp.asarray(pose[:, :3])))
    inner = jnp.asarray(parts.offsets)
    if pose.shape[-1] > 3:
        toes = rotations.axis_angle_to_matrix(jnp.asarray(pose[:, 3:6]))
        by_toes = jnp.asarray(parts.link)[:, None] + rotations.rotate(toes[:, None], inner)
        inner = jnp.where(parts.on_toes[:, None] > 0, by_toes, inner)
    return base[:, None] + rotations.rotate(turned[:, None], inner)


def image_errors(
    parts: LimbEnds, pose: Float[AnyArray, "N E"], shift: Float[AnyArray, "N 3"] | None = None
) -> Float[Array, "N K 2"]:
    """From where the points of parts are seen to where they would be, in box sides."""
    points = points_of(parts, pose, shift)
    depth = jnp.maximum(points[..., 2:], _MIN_DEPTH)
    pixels = points[..., :2] / depth * parts.focal_length[:, None] + parts.principal_point[:, None]
    return (pixels - parts.keypoints_2d) / parts.box_side[:, None, None]


def solve_limb_ends(
    parts: LimbEnds, prior: LimbEndPrior, start: Float[Array, "S N E"], *, options: LimbEndOptions
) -> SolvedLimbEnds:
    """The pose of each part that explains best what was seen of it and what is expected.

    Args:
        parts: Of one kind.
        prior: Of that kind.
        start: Poses to begin at; the end with the least cost is taken.
        options: Weights.
    """
    # All starts at once, and the pose that the parts had, which is held: one program serves them.
    starts, count = len(start) + 1, len(parts.pose)
    poses = jnp.concatenate([jnp.asarray(start), jnp.asarray(parts.pose)[None]]).reshape(starts * count, -1)
    is_free = jnp.repeat(jnp.arange(starts) < starts - 1, count)
    fields = [field.name for field in dataclasses.fields(parts) if field.name != "on_toes"]
    repeated = {
        name: jnp.tile(jnp.asarray(getattr(parts, name)), (starts, *[1] * (np.ndim(getattr(parts, name)) - 1)))
        for name in fields
    }
    ends, costs = _solved(dataclasses.replace(parts, **repeated), prior, poses, is_free, options)
    ends, costs = ends.reshape(starts, count, -1), costs.reshape(starts, count)
    best = jnp.argmin(costs[:-1], 0)
    end = jnp.take_along_axis(ends, best[None, :, None], 0)[0]
    return SolvedLimbEnds(pose=end, cost=jnp.min(costs[:-1], 0), start_cost=costs[-1])


@functools.lru_cache(maxsize=2)
def _compiled(platform: str) -> Any:
    """The solver. On a CPU it runs at level 1 of LLVM as fast as at level 3, and with the same result.

    At level 0, which short tools ask for, it would run eight times slower, and it runs often.
    """
    options = {"xla_backend_optimization_level": 1} if platform == "cpu" else None
    return jax.jit(solve_limb_ends, static_argnames=("options",), compiler_options=options)


def solve_in_pieces(
    parts: LimbEnds, prior: LimbEndPrior, start: Float[np.ndarray, "S N E"], *, options: LimbEndOptions
) -> SolvedLimbEnds:
    """`solve_limb_ends` of any number of parts, some at a time, on all cores."""
    count = len(np.asarray(parts.base))
    solve = _compiled(jax.default_backend())

    def work(first: int) -> SolvedLimbEnds:
        rows = np.minimum(np.arange(first, first + _PARTS_AT_ONCE), count - 1)
        some = _rows(parts, rows)
        found = solve(some, prior, start[:, rows], options=options)
        return jax.tree.map(lambda leaf: np.asarray(leaf)[: min(_PARTS_AT_ONCE, count - first)], found)

    pieces = on_cores(work, range(0, max(count, 1), _PARTS_AT_ONCE))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *pieces)


def image_errors_of(parts: LimbEnds, pose: Float[AnyArray, "N E"]) -> Float[np.ndarray, "N K 2"]:
    """`image_errors` of any number of parts, some at a time."""
    count, found = len(np.asarray(parts.base)), []
    for first in range(0, max(count, 1), _PARTS_AT_ONCE):
        rows = np.minimum(np.arange(first, first + _PARTS_AT_ONCE), count - 1)
        found.append(np.asarray(_image_errors(_rows(parts, rows), np.asarray(pose)[rows])))
    return np.concatenate(found)[:count]


@jax.jit
def _image_errors(parts: LimbEnds, pose: Float[Array, "N E"]) -> Float[Array, "N K 2"]:
    return image_errors(parts, pose)


def _rows(parts: LimbEnds, rows: Int[np.ndarray, "M"]) -> LimbEnds:
    """Some of the parts."""
    fields = [field.name for field in dataclasses.fields(parts) if field.name != "on_toes"]
    return dataclasses.replace(parts, **{name: np.asarray(getattr(parts, name))[rows] for name in fields})


def _solved(
    parts: LimbEnds, prior: LimbEndPrior, pose: Float[Array, "N E"], is_free: Bool[Array, "N"], options: LimbEndOptions
) -> tuple[Float[Array, "N E"], Float[Array, "N"]]:
    """Pose and cost after the steps; of parts that are not free the pose stays, and only the shift is solved for."""
    count, size = pose.shape
    vector = jnp.concatenate([jnp.zeros((count, 3), pose.dtype), pose], -1)
    eye = jnp.eye(size + 3, dtype=pose.dtype)
    free = jnp.where(is_free[:, None], 1, jnp.asarray([1.0] * 3 + [0.0] * size, pose.dtype))

    def of_parts(values: Float[Array, "N V"]) -> Float[Array, "N R"]:
        return _residuals(parts, prior, values, options)

    def cost_of(values: Float[Array, "N V"]) -> Float[Array, "N"]:
        residual = of_parts(values)
        return 0.5 * jnp.einsum("nr,nr->n", residual, residual, precision=_HIGHEST)

    def step(_, state):
        vector, cost, damping = state
        residual, along = jax.linearize(of_parts, vector)
        columns = jax.vmap(lambda direction: along(jnp.broadcast_to(direction, vector.shape)))(eye)
        jacobian = jnp.moveaxis(columns, 0, -1) * free[:, None]
        gradient = jnp.einsum("nrv,nr->nv", jacobian, residual, precision=_HIGHEST)
        matrix = jnp.einsum("nrv,nrw->nvw", jacobian, jacobian, precision=_HIGHEST)
        scale = jnp.diagonal(matrix, axis1=-2, axis2=-1) + 1e-3
        damped = matrix + (damping[:, None] * scale + 1 - free)[:, :, None] * eye
        candidate = vector + jnp.clip(-_cholesky_solve(damped, gradient) * free, -_LONGEST_STEP, _LONGEST_STEP)
        then = cost_of(candidate)
        is_better = then < cost
        vector = jnp.where(is_better[:, None], candidate, vector)
        damping = jnp.where(is_better, jnp.maximum(0.2 * damping, _LEAST_DAMPING), 8 * damping)
        return vector, jnp.where(is_better, then, cost), damping

    state = (vector, cost_of(vector), jnp.full((count,), _INITIAL_DAMPING, pose.dtype))
    vector, cost, _ = lax.fori_loop(0, options.iterations, step, state)
    return vector[:, 3:], cost


def _residuals(
    parts: LimbEnds, prior: LimbEndPrior, vector: Float[Array, "N V"], options: LimbEndOptions
) -> Float[Array, "N R"]:
    """Residuals in standard deviations, of shift and pose."""
    shift, pose = vector[:, :3], vector[:, 3:]
    count = len(pose)
    error = image_errors(parts, pose, shift)
    squared = jnp.einsum("nki,nki->nk", error, error, precision=_HIGHEST) / options.robust_scale**2
    # Geman and McClure's function as a residual: rho(u) = s^2 u / (1 + u).
    seen = error * (parts.weight / options.keypoints_2d_spread / jnp.sqrt(1 + squared))[..., None]
    near = nearest(prior.mixture, pose)
    over = jnp.maximum(pose - prior.high, 0) + jnp.minimum(pose - prior.low, 0)
    return jnp.concatenate(
        [
            seen.reshape(count, -1),
            shift / options.shift_spread,
            options.guess * (pose - parts.guess) * parts.inverse_spread,
            options.prior * near.whitened,
            options.prior * jnp.sqrt(2 * near.constant)[:, None],
            over / options.limit_spread,
        ],
        -1,
    )


def _cholesky_solve(matrix: Float[Array, "N V V"], right: Float[Array, "N V"]) -> Float[Array, "N V"]:
    """Solutions of many small positive definite systems, written out: batched LAPACK calls take longer than that."""
    size = right.shape[-1]
    rows: list[list[Array]] = []
    for row in range(size):
        done: list[Array] = []
        for column in range(row + 1):
            value = matrix[:, row, column]
            for inner in range(column):
                value = value - (done[inner] * (rows[column][inner] if column < row else done[inner]))
            done.append(jnp.sqrt(jnp.maximum(value, 1e-20)) if column == row else value / rows[column][column])
        rows.append(done)
    half: list[Array] = []
    for row in range(size):
        value = right[:, row]
        for inner in range(row):
            value = value - rows[row][inner] * half[inner]
        half.append(value / rows[row][row])
    solution: list[Array] = [half[0]] * size
    for row in reversed(range(size)):
        value = half[row]
        for below in range(row + 1, size):
            value = value - rows[below][row] * solution[below]
        solution[row] = value / rows[row][row]
    return jnp.stack(solution, -1)
