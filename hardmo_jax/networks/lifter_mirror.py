"""The lifter asked twice, of the person and of the mirror image: what it says of both is right more often.

What is right of a person is right of the mirror image, but a network learns that only nearly. The mean of both answers
has less of its error, at the price of a second run.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import lax

from hardmo_jax.array_types import Array, Float
from hardmo_jax.geometry import rotation_formats
from hardmo_jax.networks import lifter, lifter_input
from hardmo_jax.networks.lifter import LifterOutput
from hardmo_jax.networks.lifter_file import TrainedLifter
from hardmo_jax.skeleton import flips, joint_limits, layouts

_LAYOUT = layouts.get_layout(lifter_input.LAYOUT)
_HIGHEST = lax.Precision.HIGHEST
#: Trace of the rotation between two orientations that are 60 degrees apart.
_LEAST_TRACE = 2.0
#: Small integers: a table of larger ones cannot serve both precisions of floats in one process (jax 0.10.2).
_POINTS = np.array(flips.flip_permutation(_LAYOUT), np.int32)
_JOINTS = layouts.SMPLH_JOINTS
_OTHER_SIDE = np.array([_JOINTS.index(flips.mirrored_point(joint)) for joint in _JOINTS], np.int32)
_NUM_BODY = len(lifter.BODY_JOINTS)
_SIGNS = np.array(joint_limits.MIRROR_SIGNS, np.float32)
_MIRROR = np.diag([-1.0, 1.0, 1.0]).astype(np.float32)
#: Of each keypoint's numbers, and of size and direction: x changes its sign.
_POINT_SIGNS = np.array([-1, 1, 1, 1], np.float32)
_WHOLE_SIGNS = np.array([1, -1, 1], np.float32)
_PLACE_SIGNS = np.array([-1, 1, 1], np.float32)
#: Where the joints begin in the spread.
_FIRST_JOINT = 6 + lifter.NUM_BETAS


def lifted_twice(trained: TrainedLifter, features: Float[Array, "B F"]) -> LifterOutput:
    """Mean of what a lifter says of people and of their mirror images; the guesses after the first are those of the
    people alone.

    Args:
        trained: The lifter.
        features: Of `lifter_input.encode`.
    """
    own, other = trained(features), mirrored_output(trained(mirrored_features(features)))
    total = own.rotations[:, 0] + other.rotations[:, 0]
    first = rotation_formats.rot6d_hmr2_to_matrix(rotation_formats.matrix_to_rot6d_hmr2(total))
    # Between two answers that contradict each other there is a third, which neither gave.
    cosine = jnp.einsum("bij,bij->b", own.rotations[:, 0, 0], other.rotations[:, 0, 0], precision=_HIGHEST)
    agrees = (cosine > _LEAST_TRACE)[:, None, None, None]
    first = jnp.where(agrees, first, own.rotations[:, 0])
    return dataclasses.replace(
        own,
        rotations=own.rotations.at[:, 0].set(first),
        places=own.places.at[:, 0].set(0.5 * (own.places[:, 0] + other.places[:, 0])),
        hands=0.5 * (own.hands + other.hands),
        betas=0.5 * (own.betas + other.betas),
        log_spread=0.5 * (own.log_spread + other.log_spread),
    )


def mirrored_features(features: Float[Array, "B F"]) -> Float[Array, "B F"]:
    """Features of the mirror images."""
    count = len(_LAYOUT)
    points = features[:, : 4 * count].reshape(-1, count, 4)[:, _POINTS] * _POINT_SIGNS
    return jnp.concatenate([points.reshape(len(features), -1), features[:, 4 * count :] * _WHOLE_SIGNS], -1)


def mirrored_output(found: LifterOutput) -> LifterOutput:
    """The mirror images of guesses."""
    turned = found.rotations[:, :, _OTHER_SIDE[:_NUM_BODY]]
    # M R M, entry by entry: M is diagonal.
    turned *= _MIRROR.diagonal()[:, None] * _MIRROR.diagonal()
    joints = found.log_spread[:, _FIRST_JOINT:].reshape(len(found.log_spread), -1, 3)
    joints = joints[:, _OTHER_SIDE[1:] - 1].reshape(len(joints), -1)
    return dataclasses.replace(
        found,
        rotations=turned,
        places=found.places * _PLACE_SIGNS,
        hands=found.hands[:, _OTHER_SIDE[_NUM_BODY:] - _NUM_BODY] * _SIGNS,
        log_spread=jnp.concatenate([found.log_spread[:, :_FIRST_JOINT], joints], -1),
    )
