"""The numbers that pose and shape a body: one pytree for every family of body models."""

import dataclasses
import typing

import jax
import jax.numpy as jnp

from hardmo_jax.array_types import AnyArray, Array, Float

if typing.TYPE_CHECKING:
    from hardmo_jax.body.model import BodyModel

#: Joints of `body_pose` by family: SMPL counts its two rigid hands in, SMPL-H poses fingers instead.
BODY_POSE_JOINTS = {"smpl": 23, "smplh": 21}
#: Finger joints of one hand, families with articulated hands.
HAND_POSE_JOINTS = 15


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class BodyParams:
    """Parameters of one or many bodies; batch axes lead and broadcast. Rotations are axis-angle, parent-relative."""

    betas: Float[AnyArray, "... S"]
    """Shape coefficients in standard deviations of the model's population."""
    global_orient: Float[AnyArray, "... 3"]
    """Rotation of the root about joint 0."""
    body_pose: Float[AnyArray, "... JB 3"]
    """Rotations of the body joints after the root, in file order: 23 of SMPL, 21 of SMPL-H."""
    transl: Float[AnyArray, "... 3"]
    """Translation in metres, added after everything else."""
    left_hand_pose: Float[AnyArray, "... 15 3"] | None = None
    """Rotations of the left finger joints, MANO's order; None for SMPL."""
    right_hand_pose: Float[AnyArray, "... 15 3"] | None = None
    """Rotations of the right finger joints, MANO's order; None for SMPL."""

    @classmethod
    def rest(cls, body: "BodyModel", *, batch: tuple[int, ...] = ()) -> "BodyParams":
        """Mean shape in the model's rest pose at the origin.

        Args:
            body: Model whose sizes and float type are taken.
            batch: Leading axes.
        """
        dtype = body.joint_template.dtype
        hand = None
        if body.family == "smplh":
            hand = jnp.zeros((*batch, HAND_POSE_JOINTS, 3), dtype)
        return cls(
            betas=jnp.zeros((*batch, body.num_betas), dtype),
            global_orient=jnp.zeros((*batch, 3), dtype),
            body_pose=jnp.zeros((*batch, BODY_POSE_JOINTS[body.family], 3), dtype),
            transl=jnp.zeros((*batch, 3), dtype),
            left_hand_pose=hand,
            right_hand_pose=hand,
        )

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Leading axes."""
        return tuple(self.transl.shape[:-1])

    def full_pose(self) -> Float[Array, "*batch J 3"]:
        """All joint rotations in the order of the model's joints."""
        parts = [self.global_orient[..., None, :], self.body_pose]
        parts += [hand for hand in (self.left_hand_pose, self.right_hand_pose) if hand is not None]
        return jnp.concatenate([jnp.asarray(part) for part in parts], -2)
