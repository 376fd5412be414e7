"""Joints of a track over time, in float64: what files of skeletons are written from, without touching the mesh."""

import dataclasses

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.export.motion.pose_quaternions import (
    continuous_quaternions,
    pose_matrices,
    pose_quaternions,
    product_of_quaternions,
)
from hardmo_jax.export.motion.scene_checks import check_scene
from hardmo_jax.export.motion.scene_motion import SceneMotion, TrackMotion
from hardmo_jax.export.source_names import ExportError

_WHOLE_BODIES = ("smpl", "smplh", "smplx")


@dataclasses.dataclass(frozen=True, kw_only=True)
class JointMotion:
    """A skeleton of one shape that moves in a world with z up."""

    rest: Float[np.ndarray, "J 3"]
    """Joints at rest, metres; y up, the face to +z, the person's left at +x. A face that moves is met in its middle."""
    local_rotations: Float[np.ndarray, "T J 3 3"]
    """Rotation of each joint relative to its parent, of the root relative to rest."""
    world_quaternions: Float[np.ndarray, "T J 4"]
    """Rotation of each joint from its rest in the world, unit (w, x, y, z), of the sign nearest to the frame before."""
    positions: Float[np.ndarray, "T J 3"]
    """Joints in the world, metres."""


def check_exportable(scene: SceneMotion, track: TrackMotion, format_name: str) -> None:
    """Refuse what no file of one person may hold.

    Args:
        scene: Whose body the track is of.
        track: One of its people.
        format_name: For the message.

    Raises:
        ExportError: If the body is a hand, or `check_scene` finds fault with the track.
    """
    if scene.body.family not in _WHOLE_BODIES:
        raise ExportError(
            f"{scene.source_name}: {format_name} holds whole people, and {scene.body_name!r} is a body of "
            f"{scene.body.family}; export labels of SMPL, SMPL-H or SMPL-X"
        )
    check_scene(dataclasses.replace(scene, tracks=(track,), camera=None))


def rest_joints(
    body: BodyModel,
    betas: Float[np.ndarray, "S"],
    expression: Float[np.ndarray, "*batch E"] | None = None,
) -> Float[np.ndarray, "*batch J 3"]:
    """Joints of a shape at rest, metres.

    Args:
        body: The body.
        betas: Its shape.
        expression: Of SMPL-X, with any batch axes; None for a neutral face.
    """
    basis = np.asarray(body.joint_shape_basis, np.float64)
    joints = np.asarray(body.joint_template, np.float64) + np.tensordot(
        np.asarray(betas, np.float64), basis[: body.num_betas], 1
    )
    if expression is None:
        return joints
    return joints + np.tensordot(np.asarray(expression, np.float64), basis[body.num_betas :], 1)


def pelvis_places(body: BodyModel, params: BodyParams) -> Float[np.ndarray, "T 3"]:
    """World places of joint 0, about which a body turns, metres: its place at rest plus the translation.

    Args:
        body: Of the parameters.
        params: Frames of one shape.
    """
    root = rest_joints(body, np.asarray(params.betas)[0], params.expression)[..., 0, :]
    return root + np.asarray(params.transl, np.float64)


def joint_motion(scene: SceneMotion, track: TrackMotion) -> JointMotion:
    """Rotations and places of the joints of a track.

    Args:
        scene: Whose body it is.
        track: One of its people, as `check_exportable` lets pass.
    """
    body, params = scene.body, track.params
    # With an expression the joints of the face, and by little the others, lie elsewhere in each frame.
    joints = rest_joints(body, track.betas, params.expression)
    joints = np.broadcast_to(joints, (track.num_frames, *joints.shape[-2:]))
    rest = joints.mean(axis=0)
    pose = np.asarray(params.full_pose(), np.float64)
    local, quaternions = pose_matrices(pose), pose_quaternions(pose)
    world, positions = local.copy(), joints + np.asarray(params.transl, np.float64)[:, None]
    for joint, parent in enumerate(body.parents[1:], start=1):
        world[:, joint] = world[:, parent] @ local[:, joint]
        bone = joints[:, joint] - joints[:, parent]
        positions[:, joint] = positions[:, parent] + np.einsum("tij,tj->ti", world[:, parent], bone)
        quaternions[:, joint] = product_of_quaternions(quaternions[:, parent], quaternions[:, joint])
    # Of a path with either sign, the one that begins with a scalar that is not negative.
    quaternions[0] *= np.where(quaternions[0, :, :1] < 0, -1.0, 1.0)
    return JointMotion(
        rest=rest, local_rotations=local, world_quaternions=continuous_quaternions(quaternions), positions=positions
    )
