"""What a lifter is trained on: rotations, joints in space, place, shape, hands, and the spread of its own error."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.body import kinematics
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.geometry import rotations
from hardmo_jax.geometry.cameras import MIN_DEPTH
from hardmo_jax.networks import lifter
from hardmo_jax.networks.lifter import LifterOutput
from hardmo_jax.skeleton import layouts

_HIGHEST = lax.Precision.HIGHEST
_NUM_BODY = len(lifter.BODY_JOINTS)
#: Joints whose place is compared: those of the body, and two knuckles a hand, which show how the wrist turns.
_KNUCKLES = tuple(
    layouts.SMPLH_JOINTS.index(f"{side}_{finger}1") for side in layouts.SIDES for finger in ("index", "pinky")
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LossOptions:
    """Weights. Errors count by their length, not its square (beyond a small size): as the metrics do."""

    rotation: float = 1.5
    """Of the mean over all joints but the root, in which ankles and wrists count `ends` times."""
    ends: float = 2.5
    root_rotation: float = 3.0
    joints: float = 12.0
    """Of joints from the pelvis, a metre."""
    place: float = 1.0
    shape: float = 0.1
    hands: float = 0.3
    other_guesses: float = 0.3
    """Of the guess after the first that is nearest to the truth."""
    every_guess: float = 0.02
    """Of all of those, so that none is left behind for ever."""
    weights: float = 0.03
    spread: float = 0.02
    rotation_floor: float = 0.05
    """Errors of rotations (Frobenius norm) below it count by their square."""
    joint_floor: float = 0.01
    """Metres."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class LifterTarget:
    """Truth in the terms of `LifterOutput`."""

    rotations: Float[AnyArray, "B 22 3 3"]
    places: Float[AnyArray, "B 3"]
    hands: Float[AnyArray, "B 30 3"]
    betas: Float[AnyArray, "B S"]
    joints: Float[AnyArray, "B N 3"]
    """From the pelvis, metres, axes of the camera that looks at the person."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Skeleton:
    """What the joints need of a body."""

    template: Float[AnyArray, "J 3"]
    basis: Float[AnyArray, "S J 3"]
    parents: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    @classmethod
    def of(cls, body: BodyModel) -> "Skeleton":
        """Body joints and the knuckles of `_KNUCKLES`."""
        kept = [*range(_NUM_BODY), *_KNUCKLES]
        return cls(
            template=jnp.asarray(body.joint_template)[np.array(kept)],
            basis=jnp.asarray(body.joint_shape_basis)[: lifter.NUM_BETAS, np.array(kept)],
            parents=tuple(kept.index(body.parents[joint]) if joint else -1 for joint in kept),
        )

    def __call__(self, turns: Float[Array, "B 22 3 3"], betas: Float[Array, "B S"]) -> Float[Array, "B N 3"]:
        """Joints from the pelvis."""
        rest = self.template + jnp.einsum("bs,sjc->bjc", betas, self.basis, precision=_HIGHEST)
        rest = jnp.transpose(rest - rest[:, :1], (1, 2, 0))
        local = jnp.transpose(turns, (1, 2, 3, 0))
        still = jnp.broadcast_to(jnp.eye(3, dtype=local.dtype)[..., None], (len(_KNUCKLES), *local.shape[1:]))
        _, joints = kinematics.chain(self.parents, jnp.concatenate([local, still]), rest)
        return jnp.transpose(joints, (2, 0, 1))


def make_target(
    skeleton: Skeleton, params: BodyParams, rotation: Float[AnyArray, "B 3 3"], size: Float[AnyArray, "B"]
) -> LifterTarget:
    """Truth of people before the camera that looks at them.

    Args:
        skeleton: Of their body.
        params: SMPL-H, axes of the real camera.
        rotation: From these axes to those of the camera that looks at them.
        size: Unit of places.
    """
    turns = rotations.axis_angle_to_matrix(params.full_pose()[:, :_NUM_BODY])
    turns = turns.at[:, 0].set(rotations.compose(rotation, turns[:, 0]))
    betas = jnp.asarray(params.betas)
    root = skeleton.template[0] + jnp.matmul(betas, skeleton.basis[:, 0], precision=_HIGHEST)
    pelvis = rotations.rotate(rotation, root + params.transl)
    depth = jnp.maximum(pelvis[:, 2], MIN_DEPTH)
    return LifterTarget(
        rotations=turns,
        places=jnp.concatenate([pelvis[:, :2] / (depth * size)[:, None], jnp.log(depth * size)[:, None]], -1),
        hands=params.full_pose()[:, _NUM_BODY:],
        betas=betas,
        joints=skeleton(turns, betas),
    )


def lifter_loss(
    skeleton: Skeleton, found: LifterOutput, target: LifterTarget, options: LossOptions
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
    """Mean loss of people, and what it is made of."""
    num_guesses = found.rotations.shape[1]
    is_end = np.array([joint.endswith(("_ankle", "_wrist")) for joint in lifter.BODY_JOINTS])
    rotation_weights = np.where(is_end, options.ends, 1.0).astype(np.float32)
    rotation_weights *= options.rotation / rotation_weights[1:].sum()
    rotation_weights[0] = options.root_rotation / 3
    joint_weights = np.full(target.joints.shape[1], options.joints / target.joints.shape[1], np.float32)
    of_guesses, joint_errors = [], []
    for guess in range(num_guesses):
        turns = found.rotations[:, guess]
        turned = lengths((turns - target.rotations).reshape(-1, _NUM_BODY, 9), options.rotation_floor)
        moved = lengths(skeleton(turns, found.betas) - target.joints, options.joint_floor)
        placed = lengths((found.places[:, guess] - target.places)[:, None], options.joint_floor)
        joint_errors.append(jnp.matmul(moved, joint_weights / options.joints, precision=_HIGHEST))
        of_guesses.append(
            jnp.matmul(turned, rotation_weights, precision=_HIGHEST)
            + options.joints * joint_errors[-1]
            + options.place * placed[:, 0]
        )
    ones = np.ones(found.betas.shape[-1], np.float32) / found.betas.shape[-1]
    shape = jnp.matmul(jnp.square(found.betas - target.betas), ones, precision=_HIGHEST)
    hands = lengths(found.hands - target.hands, 0.1)
    hands = jnp.matmul(hands, np.full(hands.shape[1], 1 / hands.shape[1], np.float32), precision=_HIGHEST)
    total = of_guesses[0] + options.shape * shape + options.hands * hands
    if num_guesses > 1:
        others = jnp.stack(of_guesses[1:], -1)
        total += options.other_guesses * jnp.min(others, -1)
        total += options.every_guess * jnp.matmul(others, np.ones(num_guesses - 1, np.float32), precision=_HIGHEST)
        best = jax.nn.one_hot(jnp.argmin(jnp.stack(joint_errors, -1), -1), num_guesses)
        total -= options.weights * jnp.einsum("bh,bh->b", best, found.log_weights, precision=_HIGHEST)
    error = lax.stop_gradient(error_vector(found, target))
    surprise = 0.5 * jnp.square(error * jnp.exp(-found.log_spread)) + found.log_spread
    surprise = jnp.matmul(jnp.clip(surprise, -20, 50), np.ones(error.shape[1], np.float32), precision=_HIGHEST)
    total += options.spread * surprise
    mean = np.full(len(total), 1 / len(total), np.float32)

    def average(values: Float[Array, "B"]) -> Float[Array, ""]:
        return jnp.matmul(values, mean, precision=_HIGHEST)

    parts = {
        "joints_mm": 1000 * average(joint_errors[0]),
        "best_joints_mm": 1000 * average(jnp.min(jnp.stack(joint_errors, -1), -1)),
        "shape": average(shape),
        "hands": average(hands),
        "surprise": average(surprise),
    }
    return average(total), parts


def error_vector(found: LifterOutput, target: LifterTarget) -> Float[Array, "B P"]:
    """Error of the first guess, in the order of `LifterOutput.log_spread`: truth minus guess."""
    guess = found.rotations[:, 0]
    turn = rotations.matrix_to_axis_angle(rotations.compose(target.rotations[:, 0], jnp.swapaxes(guess[:, 0], -1, -2)))
    pose = rotations.matrix_to_axis_angle(target.rotations[:, 1:]) - rotations.matrix_to_axis_angle(guess[:, 1:])
    return jnp.concatenate(
        [
            target.places - found.places[:, 0],
            turn,
            target.betas - found.betas,
            pose.reshape(len(pose), -1),
            (target.hands - found.hands).reshape(len(pose), -1),
        ],
        -1,
    )


def lengths(vectors: Float[Array, "B N D"], floor: float) -> Float[Array, "B N"]:
    """Lengths, rounded off below a floor so that they have a derivative at zero."""
    squared = jnp.einsum("bnd,bnd->bn", vectors, vectors, precision=_HIGHEST)
    return jnp.sqrt(squared + floor * floor) - floor
