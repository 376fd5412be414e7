"""Moving a posed body as a whole: from the world to a camera, from one up-axis to another."""

import dataclasses

import jax.numpy as jnp
from jax import lax

from hardmo_jax.array_types import AnyArray, Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.geometry import rotations


def moved(
    body: BodyModel,
    params: BodyParams,
    rotation: Float[AnyArray, "*#batch 3 3"],
    translation: Float[AnyArray, "*#batch 3"],
) -> BodyParams:
    """Parameters of the same bodies after a rigid motion of all space: `x -> rotation @ x + translation`.

    The root turns about joint 0 and not about the origin, so `transl` is not simply turned: it takes up
    `rotation @ (j + transl) + translation - j`, with j the root of the shaped body at rest.

    Args:
        body: Model of the parameters.
        params: Bodies with any batch axes.
        rotation: Proper rotation, batch axes broadcast against those of the parameters.
        translation: Metres.

    Returns:
        Parameters whose vertices and joints are the moved ones.
    """
    rotation = jnp.asarray(rotation, body.joint_template.dtype)
    translation = jnp.asarray(translation, body.joint_template.dtype)
    parts = [params.betas] if params.expression is None else [params.betas, params.expression]
    coefficients = jnp.concatenate([jnp.asarray(part) for part in parts], -1)
    basis = body.joint_shape_basis[:, 0]
    root = body.joint_template[0] + jnp.matmul(coefficients, basis, precision=lax.Precision.HIGHEST)
    turned = rotations.compose(rotation, rotations.axis_angle_to_matrix(jnp.asarray(params.global_orient)))
    return dataclasses.replace(
        params,
        global_orient=rotations.matrix_to_axis_angle(turned),
        transl=rotations.rotate(rotation, root + params.transl) + translation - root,
    )
