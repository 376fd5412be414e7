"""Blend shapes and linear blend skinning, in planar layout.

Planar means that the three coordinates are separate planes of V numbers, `(..., 3, V)`: every stage is then
one large matrix product, which is several times faster on a CPU than products with 3 as the inner axis.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from hardmo_jax.array_types import Array, Float, Int
from hardmo_jax.body import kinematics

_HIGHEST = lax.Precision.HIGHEST
#: Bodies posed at once on a CPU. Of 16, 32, 64 and 128 the fastest on 6890 vertices (docs/benchmarks).
CHUNK = 64
#: Vertices up to which a mesh is posed with the batch innermost.
SMALL_MESH = 512


def shape_vertices(
    template_planar: Float[Array, "3 V"],
    shape_basis_planar: Float[Array, "C 3 V"],
    coefficients: Float[Array, "*batch C"],
) -> Float[Array, "*batch 3 V"]:
    """Rest-pose vertices of a shape (SMPL eq. 8), metres. Expression, where a body has it, is more coefficients."""
    return template_planar + jnp.tensordot(coefficients, shape_basis_planar, axes=1, precision=_HIGHEST)


def shape_joints(
    joint_template: Float[Array, "J 3"],
    joint_shape_basis: Float[Array, "C J 3"],
    coefficients: Float[Array, "*batch C"],
) -> Float[Array, "*batch J 3"]:
    """Rest-pose joints of a shape (SMPL eq. 10), metres.

    The regressor is linear in the vertices and these are linear in the coefficients: both are multiplied out once at
    load time, and the mesh is not touched here.
    """
    return joint_template + jnp.tensordot(coefficients, joint_shape_basis, axes=1, precision=_HIGHEST)


def pose_features(local: Float[Array, "*batch J 3 3"]) -> Float[Array, "*batch P"]:
    """R - I of every joint but the root, row by row: what the pose blend shapes multiply (SMPL eq. 9)."""
    offsets = local[..., 1:, :, :] - jnp.eye(3, dtype=local.dtype)
    return offsets.reshape(*offsets.shape[:-3], -1)


def pose_offsets(
    pose_basis_planar: Float[Array, "P 3 V"], features: Float[Array, "*batch P"]
) -> Float[Array, "*batch 3 V"]:
    """Displacement of the rest-pose vertices by the pose blend shapes, metres."""
    return jnp.tensordot(features, pose_basis_planar, axes=1, precision=_HIGHEST)


def skinning_transforms(
    rest_joints: Float[Array, "J 3 B"],
    global_rotations: Float[Array, "J 3 3 B"],
    joints: Float[Array, "J 3 B"],
) -> Float[Array, "J 12 B"]:
    """What each joint does to a point of the rest pose: x -> R (x - rest) + joint, as rows of a 3 x 4 matrix."""
    shift = joints - kinematics.turn(global_rotations, rest_joints)
    matrices = jnp.concatenate([global_rotations, shift[:, :, None]], 2)
    return matrices.reshape(matrices.shape[0], 12, matrices.shape[-1])


def pose_vertices(
    features: Float[Array, "D B"],
    transforms: Float[Array, "J 12 B"],
    template_planar: Float[Array, "3 V"],
    blend_basis: Float[Array, "D 3 V"],
    skinning_planar: Float[Array, "J V"],
    bone_joints: Int[Array, "W V"],
    bone_weights: Float[Array, "W V"],
) -> Float[Array, "B V 3"]:
    """Posed vertices (SMPL eq. 6 and 7), by the formulation that suits the mesh and the processor.

    Args:
        features: The coefficients, and the pose features: what the rows of the basis are multiplied with.
        transforms: `skinning_transforms`.
        template_planar: Mean shape, metres. It is added last: summed with the displacements it would cost a digit.
        blend_basis: All blend shapes, metres.
        skinning_planar: Share of each joint in each vertex.
        bone_joints: The few joints of each vertex.
        bone_weights: Their shares.

    Returns:
        Vertices in metres.
    """
    if skinning_planar.shape[-1] <= SMALL_MESH:
        return pose_small(features, transforms, template_planar, blend_basis, skinning_planar)
    by_body = lax.optimization_barrier((jnp.swapaxes(features, 0, 1), jnp.transpose(transforms, (2, 1, 0))))
    return lax.platform_dependent(
        *by_body,
        cpu=lambda f, t: _in_chunks(lambda x, y: pose_dense(x, y, template_planar, blend_basis, skinning_planar), f, t),
        default=lambda f, t: pose_few_bones(f, t, template_planar, blend_basis, bone_joints, bone_weights),
    )


def pose_small(
    features: Float[Array, "D B"],
    transforms: Float[Array, "J 12 B"],
    template_planar: Float[Array, "3 V"],
    blend_basis: Float[Array, "D 3 V"],
    skinning_planar: Float[Array, "J V"],
) -> Float[Array, "B V 3"]:
    """`pose_vertices` of a few vertices: the batch stays innermost, as in the kinematic chain."""
    offsets = jnp.tensordot(blend_basis, features, axes=((0,), (0,)), precision=_HIGHEST)
    rest = template_planar[..., None] + offsets
    blended = jnp.tensordot(skinning_planar, transforms, axes=((0,), (0,)), precision=_HIGHEST)
    matrix = blended.reshape(blended.shape[0], 3, 4, blended.shape[-1])
    moved = [matrix[:, :, k] * rest[k][:, None] for k in range(3)]
    return jnp.moveaxis(moved[0] + moved[1] + moved[2] + matrix[:, :, 3], -1, 0)


def pose_dense(
    features: Float[Array, "B D"],
    transforms: Float[Array, "B 12 J"],
    template_planar: Float[Array, "3 V"],
    blend_basis: Float[Array, "D 3 V"],
    skinning_planar: Float[Array, "J V"],
) -> Float[Array, "B V 3"]:
    """`pose_vertices` of a mesh as two large matrix products: what a CPU does best."""
    rest = template_planar + jnp.tensordot(features, blend_basis, axes=1, precision=_HIGHEST)
    blended = jnp.tensordot(transforms, skinning_planar, axes=1, precision=_HIGHEST)
    return _apply(blended, rest)


def pose_few_bones(
    features: Float[Array, "B D"],
    transforms: Float[Array, "B 12 J"],
    template_planar: Float[Array, "3 V"],
    blend_basis: Float[Array, "D 3 V"],
    bone_joints: Int[Array, "W V"],
    bone_weights: Float[Array, "W V"],
) -> Float[Array, "B V 3"]:
    """`pose_vertices` of a mesh that gathers the few joints of each vertex instead of multiplying with all of them.

    A sixth of the arithmetic, in one loop that never stores the blended matrices where the compiler fuses gathers
    (GPUs); many times slower than `pose_dense` on a CPU, whose gathers are scalar.
    """
    rest = template_planar + jnp.tensordot(features, blend_basis, axes=1, precision=_HIGHEST)
    blended = jnp.zeros((), features.dtype)
    for joints, weights in zip(bone_joints, bone_weights, strict=True):
        blended += transforms[..., joints] * weights
    return _apply(blended, rest)


def _apply(blended: Float[Array, "B 12 V"], rest: Float[Array, "B 3 V"]) -> Float[Array, "B V 3"]:
    """3 x 4 matrices of the vertices times the vertices."""
    matrix = blended.reshape(blended.shape[0], 3, 4, blended.shape[-1])
    x, y, z = rest[:, None, 0], rest[:, None, 1], rest[:, None, 2]
    posed = matrix[:, :, 0] * x + matrix[:, :, 1] * y + matrix[:, :, 2] * z + matrix[:, :, 3]
    return jnp.swapaxes(posed, -1, -2)


def _in_chunks(
    function: Callable[[Array, Array], Array], features: Float[Array, "B D"], transforms: Float[Array, "B 12 J"]
) -> Float[Array, "B V 3"]:
    """Bodies in groups whose blended matrices stay in the cache; the last group may be smaller."""
    count = features.shape[0]
    whole = count - count % CHUNK
    if count <= CHUNK:
        return function(features, transforms)

    def grouped(array: Array) -> Array:
        return array[:whole].reshape(whole // CHUNK, CHUNK, *array.shape[1:])

    parts = lax.map(lambda group: function(*group), (grouped(features), grouped(transforms)))
    parts = parts.reshape(whole, *parts.shape[2:])
    if whole == count:
        return parts
    return jnp.concatenate([parts, function(features[whole:], transforms[whole:])])
