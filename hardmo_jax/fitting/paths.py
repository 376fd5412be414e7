"""How points of a body move over the frames of a clip: the residuals that tie the frames of one person together.

Points, not parameters: what a viewer sees of jitter and of sliding feet is where joints, toes and heels are. Points
that are fixed in feet, hands and head show how these turn. Two kinds of residuals:

* acceleration: second differences of points over a spread, which is wider where the guess accelerates: it knows where
  kicks and turns are, so that they are not smoothed away;
* lock: steps of points of standing feet, with a robust function, so that a foot that was wrongly said to stand comes
  free.

Both are linear in the points, and the points are differentiated with what the fit of single people already knows
(`fitting.motion`).
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.body import kinematics, landmarks
from hardmo_jax.body.landmarks import PointModel
from hardmo_jax.body.model import BodyModel
from hardmo_jax.fitting import motion
from hardmo_jax.skeleton import layouts
from hardmo_jax.skeleton.layouts import KeypointLayout

_HIGHEST = lax.Precision.HIGHEST
#: Joints of trunk and limbs, and points of feet, hands and head that show how these turn.
_PATHS = (
    "pelvis", "spine3", "head", "nose", "left_ear",
    *(
        f"{side}_{point}"
        for side in layouts.SIDES
        for point in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist", "small_toe", "index1", "pinky1")
    ),
    *layouts.CONTACT_POINTS,
)  # fmt: skip


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class PathTerms:
    """Weights of the residuals of a clip of L frames and K points."""

    acceleration: Float[AnyArray, "L K"]
    """One over the spread of second differences, per metre; 0 at the ends, and across cuts."""
    lock: Float[AnyArray, "L C"]
    """Of each of `layouts.CONTACT_POINTS` from a frame to the next: one over the spread of its step, times how surely
    it stands in both; 0 for the last frame."""
    lock_scale: Float[AnyArray, ""] | float
    """Steps far beyond it, metres, are those of a foot that does not stand."""


def _followed(body: BodyModel) -> KeypointLayout:
    """The points of `_PATHS` that the body has and that are fixed in one joint's frame."""
    layout = KeypointLayout(name="paths", points=_PATHS)
    model, is_supported = landmarks.point_model(body, layout)
    return layout.only(tuple(np.flatnonzero(is_supported & motion.is_rigid(model)).tolist()))


def path_model(body: BodyModel) -> PointModel:
    """The points that are followed: those of `_PATHS` that the body has, all of them fixed in one joint's frame."""
    return landmarks.point_model(body, _followed(body))[0]


def contact_rows(body: BodyModel) -> tuple[int, ...]:
    """Where `layouts.CONTACT_POINTS` stand among the followed points.

    Raises:
        ValueError: If the body lacks one of them.
    """
    followed = _followed(body)
    missing = [point for point in layouts.CONTACT_POINTS if point not in followed.points]
    if missing:
        raise ValueError(f"{body.name} has no {', '.join(missing)}")
    return followed.indices(layouts.CONTACT_POINTS)


def path_jacobian(model: PointModel, moved: motion.Motion, entries: tuple[int, ...]) -> Float[Array, "L R E"]:
    """Derivative of the coordinates of the followed points by some entries of the vector: translation and turns.

    Args:
        model: Of `path_model`.
        moved: Its motion.
        entries: Of the vector, betas left out: 0-2 the translation, then three a joint from the root on.
    """
    joints = sorted({entry // 3 for entry in entries})
    if [3 * joint + axis for joint in joints for axis in range(3)] != list(entries):
        raise ValueError("entries must be those of whole joints, in order")
    hangs = jnp.asarray(motion.below(model)[np.array(joints)].T, moved.points.dtype)
    twists = moved.twists[np.array(joints)]
    # Of point r by entry c of joint j: omega x p + v, where the point hangs on the joint.
    turned = kinematics.cross(twists[None, :, :3], moved.rigid[:, None, :, None], 2)
    rows = (turned + twists[None, :, 3:]) * hangs[:, :, None, None, None]
    return jnp.transpose(rows, (4, 0, 2, 1, 3)).reshape(moved.points.shape[-1], 3 * len(hangs), len(entries))


def second_differences(points: Float[Array, "L K 3"]) -> Float[Array, "L K 3"]:
    """Of each frame and those beside it; zero at the ends."""
    return jnp.pad(points[2:] - 2 * points[1:-1] + points[:-2], ((1, 1), (0, 0), (0, 0)))


def _second_differences_transposed(values: Float[Array, "L K 3"]) -> Float[Array, "L K 3"]:
    inner = values[1:-1]
    ahead, here, behind = (jnp.pad(inner, ((first, 2 - first), (0, 0), (0, 0))) for first in (2, 1, 0))
    return ahead - 2 * here + behind


def steps(points: Float[Array, "L C 3"]) -> Float[Array, "L C 3"]:
    """From each frame to the next; zero for the last."""
    return jnp.pad(points[1:] - points[:-1], ((0, 1), (0, 0), (0, 0)))


def _steps_transposed(values: Float[Array, "L C 3"]) -> Float[Array, "L C 3"]:
    inner = values[:-1]
    return jnp.pad(inner, ((1, 0), (0, 0), (0, 0))) - jnp.pad(inner, ((0, 1), (0, 0), (0, 0)))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class PathEquations:
    """Gauss-Newton equations of the residuals, as far as they concern the points."""

    cost: Float[Array, ""]
    gradient: Float[Array, "L K 3"]
    """Derivative of the cost by the points."""
    acceleration: Float[Array, "L K"]
    """Squared weight of second differences."""
    lock: Float[Array, "L C"]
    """Squared weight of steps, as the robust function has it here."""
    diagonal: Float[Array, "L K"]
    """Diagonal of the matrix, the same for the three coordinates."""

    def product(self, change: Float[Array, "L K 3"], contacts: tuple[int, ...]) -> Float[Array, "L K 3"]:
        """The matrix times a change of the points."""
        result = _second_differences_transposed(second_differences(change) * self.acceleration[..., None])
        rows = np.array(contacts)
        return result.at[:, rows].add(_steps_transposed(steps(change[:, rows]) * self.lock[..., None]))


def path_equations(points: Float[Array, "L K 3"], terms: PathTerms, contacts: tuple[int, ...]) -> PathEquations:
    """Equations at the points of a clip.

    Args:
        points: Where they are, metres.
        terms: Weights.
        contacts: Of `contact_rows`.
    """
    rows = np.array(contacts)
    acceleration = jnp.square(jnp.asarray(terms.acceleration))
    apart = second_differences(points)
    pushed = apart * acceleration[..., None]
    stepped = steps(points[:, rows])
    squared = jnp.einsum("lci,lci->lc", stepped, stepped, precision=_HIGHEST) / jnp.square(terms.lock_scale)
    # Geman and McClure's function, reweighted: cost scale^2 u / (1 + u), weight 1 / (1 + u)^2.
    lock = jnp.square(jnp.asarray(terms.lock))
    held = lock / jnp.square(1 + squared)
    gradient = _second_differences_transposed(pushed)
    gradient = gradient.at[:, rows].add(_steps_transposed(stepped * held[..., None]))
    cost = 0.5 * _total(apart * pushed) + 0.5 * jnp.square(terms.lock_scale) * _total(lock * squared / (1 + squared))
    around = jnp.pad(acceleration, ((1, 1), (0, 0)))
    diagonal = 4 * acceleration + around[:-2] + around[2:]
    diagonal = diagonal.at[:, rows].add(held + jnp.pad(held[:-1], ((1, 0), (0, 0))))
    return PathEquations(cost=cost, gradient=gradient, acceleration=acceleration, lock=held, diagonal=diagonal)


def _total(values: Float[Array, "..."]) -> Float[Array, ""]:
    """A product, not a sum: those go wrong in jaxlib 0.10.2 (`rotations.rotate`)."""
    flat = values.reshape(-1)
    return jnp.matmul(flat, jnp.ones_like(flat), precision=_HIGHEST)
