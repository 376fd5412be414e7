"""Joints of a track over time, in float64: what files of skeletons are written from, without touching the mesh."""

import dataclasses

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
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
    local, quaternions = _matrices(pose), _quaternions(pose)
    world, positions = local.copy(), joints + np.asarray(params.transl, np.float64)[:, None]
    for joint, parent in enumerate(body.parents[1:], start=1):
        world[:, joint] = world[:, parent] @ local[:, joint]
        bone = joints[:, joint] - joints[:, parent]
        positions[:, joint] = positions[:, parent] + np.einsum("tij,tj->ti", world[:, parent], bone)
        quaternions[:, joint] = _product(quaternions[:, parent], quaternions[:, joint])
    return JointMotion(
        rest=rest, local_rotations=local, world_quaternions=_without_flips(quaternions), positions=positions
    )


def _matrices(vectors: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3 3"]:
    """Rodrigues' formula; `np.sinc` is sin(pi x) / (pi x), and one at zero."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    skew = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*vectors.shape, 3)
    half = np.sinc(angle / (2 * np.pi))
    return np.eye(3) + np.sinc(angle / np.pi) * skew + 0.5 * half**2 * (skew @ skew)


def _quaternions(vectors: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 4"]:
    half = 0.5 * np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.concatenate([np.cos(half), 0.5 * np.sinc(half / np.pi) * vectors], axis=-1)


def _product(outer: Float[np.ndarray, "*batch 4"], inner: Float[np.ndarray, "*batch 4"]) -> Float[np.ndarray, "..."]:
    """Hamilton's product of quaternions (w, x, y, z)."""
    scalar = outer[..., :1] * inner[..., :1] - np.sum(outer[..., 1:] * inner[..., 1:], axis=-1, keepdims=True)
    vector = (
        outer[..., :1] * inner[..., 1:] + inner[..., :1] * outer[..., 1:] + np.cross(outer[..., 1:], inner[..., 1:])
    )
    return np.concatenate([scalar, vector], axis=-1)


def _without_flips(quaternions: Float[np.ndarray, "T J 4"]) -> Float[np.ndarray, "T J 4"]:
    """The one of q and -q that is nearer to the frame before; the first has a scalar that is not negative."""
    signs = np.where(np.sum(quaternions[1:] * quaternions[:-1], axis=-1) < 0, -1.0, 1.0)
    first = np.where(quaternions[:1, :, 0] < 0, -1.0, 1.0)
    return quaternions * np.cumprod(np.concatenate([first, signs]), axis=0)[..., None]
