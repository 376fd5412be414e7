"""The lifter's guesses as body parameters: from observations of people to starts of their fits."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from hardmo_jax.array_types import AnyArray, Array, Float, Int
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.fitting import variables
from hardmo_jax.fitting.guess import Guess
from hardmo_jax.geometry import rotations
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.networks import lifter, lifter_input, lifter_mirror
from hardmo_jax.networks.lifter import LifterOutput
from hardmo_jax.networks.lifter_file import TrainedLifter, packaged_lifter
from hardmo_jax.observations import ObservationError, Observations
from hardmo_jax.skeleton import layouts

#: People lifted at once: one program for few people, one for many.
_PEOPLE_AT_ONCE = 1024
#: The translation follows from the keypoints, shape and pose; a guess of it would only be their error once more.
_NUM_PLACE, _NUM_ROOT = 3, 6
#: The body whose shapes the lifter knows.
OPEN_BODY_NAME = "open_body"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Lifted:
    """Guesses of people, the best one first trained; not sorted by weight."""

    params: BodyParams
    """Batch axes, then guesses; camera frame."""
    weights: Float[AnyArray, "*batch H"]
    """Probability that a guess is the best one."""
    spread: Float[AnyArray, "*batch P"]
    """Standard deviation of the error of the first guess, see `fitting.guess.Guess`."""
    axes: Float[AnyArray, "*batch 3 3"]
    """From the camera's axes to those of the camera that looks at the person, in which turns are meant."""


def lift(
    body: BodyModel, observations: Observations, *, trained: TrainedLifter | None = None, mirror: bool = True
) -> tuple[Lifted, Float[np.ndarray, "P P"]]:
    """Guess bodies from 2D keypoints alone.

    Args:
        body: SMPL, SMPL-H or SMPL-X. The lifter knows the shapes of the open body; other bodies have their mean shape.
        observations: 2D keypoints of any layout with a camera. Keypoints with confidence zero, or that are not
            numbers, count as missing; people without any come out as the lifter's idea of anybody.
        trained: None takes the lifter of the package.
        mirror: Ask it of the mirror image as well (`networks.lifter_mirror`): better, in twice the time.

    Returns:
        Guesses with the batch axes of the observations, and the precision of their errors (`Guess.precision`).

    Raises:
        ObservationError: If there are no 2D keypoints or no camera.
    """
    trained = trained or packaged_lifter()
    if observations.keypoints_2d is None or observations.camera is None:
        raise ObservationError("lifting needs `keypoints_2d` and `camera`")
    if "left_hip" not in body.joint_names:
        raise ObservationError(f"{body.name} is a single hand; people are lifted to a whole body")
    batch = observations.batch_shape
    keypoints_2d = np.asarray(observations.keypoints_2d)
    confidence = observations.confidence
    confidence = np.ones(keypoints_2d.shape[:-1]) if confidence is None else np.asarray(confidence)
    points, confidence = lifter_input.from_layout(keypoints_2d, np.clip(confidence, 0, 1), observations.layout)
    camera = [
        np.broadcast_to(np.asarray(value), (*batch, 2)).reshape(-1, 2)
        for value in (observations.camera.focal_length, observations.camera.principal_point)
    ]
    flat = (points.reshape(-1, *points.shape[-2:]), confidence.reshape(-1, confidence.shape[-1]), *camera)
    count, pieces = len(flat[0]), []
    if count == 0:
        # One person, who is left out again.
        flat = tuple(np.ones((1, *part.shape[1:]), part.dtype) for part in flat)
    stripped, knows_shape = bare(body), has_known_shape(body)
    for first in range(0, max(count, 1), _PEOPLE_AT_ONCE):
        size = _PEOPLE_AT_ONCE if count > _PEOPLE_AT_ONCE // 4 else _PEOPLE_AT_ONCE // 4
        rows = np.minimum(np.arange(first, first + size), max(count - 1, 0))
        some = (part[rows].astype(np.float32) for part in flat)
        pieces.append(
            jax.tree.map(np.asarray, _lifted(trained, stripped, *some, knows_shape=knows_shape, mirror=mirror))
        )
    lifted = jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *pieces)
    lifted = jax.tree.map(lambda leaf: leaf.reshape(*batch, *leaf.shape[1:]), lifted)
    return lifted, precision_for(body, np.asarray(trained.error_precision))


def guess_of(lifted: Lifted, precision: Float[np.ndarray, "P P"], hypothesis: int = 0) -> Guess:
    """One of the guesses as a start for `hm.fit`; all share the spread of the first."""
    count = lifted.weights.ndim - 1
    params = jax.tree.map(lambda leaf: np.take(leaf, hypothesis, axis=count), lifted.params)
    return Guess(params=params, spread=lifted.spread, precision=precision, axes=lifted.axes)


def seen_by_the_fit(observations: Observations, min_confidence: float) -> Observations:
    """People without the keypoints that the fit does not use, which a detector may have made up."""
    if observations.confidence is None:
        return observations
    confidence = np.asarray(observations.confidence)
    return dataclasses.replace(observations, confidence=np.where(confidence < min_confidence, 0, confidence))


def bare(body: BodyModel) -> BodyModel:
    """Only what parameters depend on, so that one program serves all bodies of a family."""
    return dataclasses.replace(body.subset(np.array([0])), name="", checksum="", gender="unknown", landmarks=(),
                               regressed=None, left_hand=None, right_hand=None)  # fmt: skip


@functools.partial(jax.jit, static_argnames=("knows_shape", "mirror"))
def _lifted(
    trained: TrainedLifter,
    body: BodyModel,
    points: Float[Array, "B 65 2"],
    confidence: Float[Array, "B 65"],
    focal_length: Float[Array, "B 2"],
    principal_point: Float[Array, "B 2"],
    *,
    knows_shape: bool,
    mirror: bool,
) -> Lifted:
    camera = Camera(focal_length=focal_length, principal_point=principal_point)
    seen = lifter_input.encode(points, confidence, camera)
    found = lifter_mirror.lifted_twice(trained, seen.features) if mirror else trained(seen.features)
    return as_params(body, found, seen.rotation, seen.size, knows_shape=knows_shape)


def as_params(
    body: BodyModel,
    found: LifterOutput,
    rotation: Float[Array, "B 3 3"],
    size: Float[Array, "B"],
    *,
    knows_shape: bool,
) -> Lifted:
    """Guesses of a network as parameters before the real camera.

    Args:
        body: Whose parameters.
        found: Of B people.
        rotation: From the axes of the real camera to those of the network's.
        size: Unit of places.
        knows_shape: Whether the network's shapes are those of the body, which else has its mean shape.
    """
    count, guesses = found.log_weights.shape
    dtype = body.joint_template.dtype
    back = jnp.swapaxes(rotation, -1, -2)[:, None]
    turns = found.rotations.at[:, :, 0].set(rotations.compose(back, found.rotations[:, :, 0]))
    poses = rotations.matrix_to_axis_angle(turns)
    hands = jnp.broadcast_to(found.hands[:, None], (count, guesses, *found.hands.shape[1:]))
    by_name = dict(zip(layouts.SMPLH_JOINTS, jnp.moveaxis(jnp.concatenate([poses, hands], 2), 2, 0), strict=True))
    still = jnp.zeros((count, guesses, 3), dtype)
    full_pose = jnp.stack([by_name.get(joint, still).astype(dtype) for joint in body.joint_names], 2)
    betas = jnp.zeros((count, body.num_betas), dtype)
    if knows_shape:
        betas = betas.at[:, : lifter.NUM_BETAS].set(found.betas[:, : body.num_betas])
    root = body.joint_template[0] + jnp.matmul(
        betas, body.joint_shape_basis[: body.num_betas, 0], precision=lax.Precision.HIGHEST
    )
    depth = jnp.exp(found.places[..., 2]) / size[:, None]
    plane = found.places[..., :2] * size[:, None, None]
    pelvis = jnp.concatenate([plane, jnp.ones_like(depth[..., None])], -1) * depth[..., None]
    transl = rotations.rotate(back, pelvis) - root[:, None]
    params = BodyParams.from_full_pose(
        body, full_pose, betas=jnp.broadcast_to(betas[:, None], (count, guesses, body.num_betas)), transl=transl
    )
    return Lifted(
        params=params,
        weights=jnp.exp(found.log_weights),
        spread=_spread_for(body, jnp.exp(found.log_spread), knows_shape),
        axes=rotation,
    )


def has_known_shape(body: BodyModel) -> bool:
    """Whether the coefficients of the body's shape are those that the lifter was trained with."""
    return body.name == OPEN_BODY_NAME


@functools.lru_cache(maxsize=8)
def _entries(joint_names: tuple[str, ...], num_betas: int, knows_shape: bool) -> Int[np.ndarray, "P"]:
    """For each entry of the body's vector the lifter's entry of that name; -1 where it has none."""
    theirs = {joint: index for index, joint in enumerate(layouts.SMPLH_JOINTS[1:])}
    shape = [_NUM_ROOT + k if knows_shape and k < lifter.NUM_BETAS else -1 for k in range(num_betas)]
    first = _NUM_ROOT + lifter.NUM_BETAS
    pose = [
        first + 3 * theirs[joint] + axis if joint in theirs else -1 for joint in joint_names[1:] for axis in range(3)
    ]
    return np.array([*[-1] * _NUM_PLACE, *range(_NUM_PLACE, _NUM_ROOT), *shape, *pose])


def _spread_for(body: BodyModel, spread: Float[Array, "B L"], knows_shape: bool) -> Float[Array, "B P"]:
    entries = _entries(body.joint_names, body.num_betas, knows_shape)
    # Shapes of other bodies are guessed to be the mean, as by a prior.
    is_shape = (np.arange(len(entries)) >= _NUM_ROOT) & (np.arange(len(entries)) < _NUM_ROOT + body.num_betas)
    unknown = np.where(is_shape, 1.0, np.inf).astype(spread.dtype)
    return jnp.where(entries >= 0, spread[:, np.maximum(entries, 0)], unknown)


def precision_for(body: BodyModel, precision: Float[np.ndarray, "L L"]) -> Float[np.ndarray, "P P"]:
    """The precision of those entries that the body has, the others unknown: a marginal of the Gaussian."""
    entries = _entries(body.joint_names, body.num_betas, has_known_shape(body))
    known = entries >= 0
    covariance = np.linalg.inv(precision.astype(np.float64))[np.ix_(entries[known], entries[known])]
    result = np.eye(variables.Layout.of(body).size)
    result[np.ix_(known, known)] = np.linalg.inv(covariance)
    return result
