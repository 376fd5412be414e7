"""What a network answers of a crop as parameters of a body before the camera of the picture; differentiable.

Three things lie between the two. The weak camera of the crop becomes a place before the camera of the picture, of
whatever focal length (`geometry.crop_cameras`). The person is turned by the angle at which that camera sees them
beside its axis, as the crop was looked at straight. And rotations go to the joints of the same name of the body, which
may have fingers, and another shape space.
"""

import dataclasses

import jax.numpy as jnp
from jax import lax

from hardmo_jax.array_types import Array, Float
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.fitting import priors
from hardmo_jax.geometry import crop_cameras, rotations
from hardmo_jax.geometry.cameras import MIN_DEPTH, Camera
from hardmo_jax.geometry.crop_cameras import CropBox
from hardmo_jax.networks.lifter_input import looking_at
from hardmo_jax.networks.regressor_output import RegressorOutput
from hardmo_jax.observations import ObservationError
from hardmo_jax.recovery.lift import has_known_shape
from hardmo_jax.skeleton import layouts

#: Family of bodies that networks answer with, by the number of joints besides the root, and where their root rests
#: (metres, to the centimetre): rotations leave it there, and the network's translation comes on top.
_NETWORK_BODIES = {23: ("smpl", (0.0, -0.22, 0.03)), 21: ("smplx", (0.0, -0.35, 0.01))}


@dataclasses.dataclass(frozen=True, kw_only=True)
class AnsweredBody:
    """How a body takes a network's answers; static under `jit`."""

    joints: int
    """Rotations besides the root that the network gives."""
    takes_shape: bool
    """Whether its betas are those of the body: those of the open body, SMPL-H and one gender mean other shapes."""
    rest_root: tuple[float, float, float]
    """Where the root of the network's own body rests, metres."""


def answered_body(body: BodyModel, joints: int) -> AnsweredBody:
    """How a body takes the answers of a network.

    Args:
        body: SMPL, SMPL-H, SMPL-X or the open body.
        joints: Rotations besides the root that the network gives: 23 of SMPL, 21 of SMPL-X.

    Raises:
        ObservationError: If the body has no joints besides hands.
        ValueError: If networks answer with no such body.
    """
    if "left_hip" not in body.joint_names:
        raise ObservationError(f"{body.name} is a single hand; regressors see whole bodies")
    if joints not in _NETWORK_BODIES:
        raise ValueError(f"networks answer with 23 joints (SMPL) or 21 (SMPL-X) besides the root, got {joints}")
    family, rest_root = _NETWORK_BODIES[joints]
    takes_shape = body.family == family and body.gender == "neutral" and not has_known_shape(body)
    return AnsweredBody(joints=joints, takes_shape=takes_shape, rest_root=rest_root)


def params_of_answers(
    body: BodyModel,
    output: RegressorOutput,
    box: CropBox,
    camera: Camera,
    *,
    taken: AnsweredBody,
    told_focal_length: Float[Array, "#N"] | None = None,
) -> tuple[BodyParams, Float[Array, "N 3 3"]]:
    """Parameters before the camera of the picture, and the rotation from its axes to the network's.

    Args:
        body: That takes the answers.
        output: Of N crops, one answer each.
        box: Of the crops, pixels of the picture.
        camera: Of the picture, one a person.
        taken: Of `answered_body`.
        told_focal_length: Of networks that answer before the camera of the picture, as CLIFF does: the focal length
            that they were told it has, pixels. None for those that answer before the crop.

    Notes:
        Where betas are not taken the person is as tall as the mean. Joints that the network lacks (fingers, jaw, eyes)
        have their usual pose; those that the body lacks (SMPL's hands in SMPL-H) are left out.
    """
    weak_camera = jnp.asarray(output.weak_camera)
    count, dtype = len(weak_camera), weak_camera.dtype
    betas = jnp.zeros((count, body.num_betas), dtype)
    if taken.takes_shape:
        known = min(body.num_betas, output.betas.shape[-1])
        betas = betas.at[:, :known].set(jnp.asarray(output.betas)[:, :known])
    own_root = body.joint_template[0] + jnp.matmul(
        betas, body.joint_shape_basis[: body.num_betas, 0], precision=lax.Precision.HIGHEST
    )
    # The network's translation is that of its own body. The same body takes it as it is; another one is moved to
    # where that body's root would be.
    shift = 0 if taken.takes_shape else jnp.asarray(taken.rest_root, dtype) - own_root
    transl = crop_cameras.full_transl(weak_camera, box, camera) + shift
    pelvis = transl + own_root
    ray = pelvis[:, :2] / jnp.maximum(pelvis[:, 2:], MIN_DEPTH)
    axes = looking_at(ray)
    if told_focal_length is not None:
        # By another focal length the same place in the picture is another ray, and the person turned by the difference.
        told_ray = ray * jnp.asarray(camera.focal_length, dtype) / jnp.asarray(told_focal_length, dtype)[:, None]
        axes = rotations.compose(jnp.swapaxes(looking_at(told_ray), -1, -2), axes)
    orient = rotations.compose(jnp.swapaxes(axes, -1, -2), jnp.asarray(output.global_orient))
    matrices = jnp.concatenate([orient[:, None], jnp.asarray(output.body_pose)], 1)
    given = dict(zip(layouts.SMPL_JOINTS, jnp.moveaxis(rotations.matrix_to_axis_angle(matrices), 1, 0), strict=False))
    usual = dict(zip(body.joint_names[1:], priors.pose_prior(body.joint_names).mean, strict=True))
    pose = jnp.stack(
        [
            given[joint] if joint in given else jnp.broadcast_to(jnp.asarray(usual[joint], dtype), (count, 3))
            for joint in body.joint_names
        ],
        1,
    )
    return BodyParams.from_full_pose(body, pose, betas=betas, transl=transl), axes
