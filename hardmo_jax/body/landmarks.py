"""Joints and landmarks of a body together, by name: what keypoints are compared with."""

import jax.numpy as jnp

from hardmo_jax.array_types import Array, Float
from hardmo_jax.body.model import BodyModel, BodyOutput


def point_names(body: BodyModel) -> tuple[str, ...]:
    """Names of the points that `named_points` gives: all joints, then the landmarks."""
    return body.joint_names + tuple(name for name, _ in body.landmarks)


def named_points(body: BodyModel, output: BodyOutput) -> Float[Array, "*batch N 3"]:
    """Positions of the points of `point_names`, metres.

    Args:
        body: Model (or subset of it) that made the output.
        output: A posed body.
    """
    ids = jnp.array([vertex for _, vertex in body.landmarks], jnp.int32)
    return jnp.concatenate([output.joints, output.vertices[..., ids, :]], -2)
