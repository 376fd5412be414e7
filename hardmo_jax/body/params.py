"""The numbers that pose and shape a body: one pytree for every family of body models."""

import dataclasses
import typing
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from hardmo_jax.array_types import AnyArray, Array, Float
from hardmo_jax.body.families import FAMILIES

if typing.TYPE_CHECKING:
    from hardmo_jax.body.model import BodyModel

#: Fields of one joint, stored without a joint axis as in smplx.
_SINGLE = ("jaw_pose", "leye_pose", "reye_pose")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class BodyParams:
    """Parameters of one or many bodies; batch axes lead and broadcast. Rotations are axis-angle, parent-relative.

    Zero rotations are the model's template, hands open and flat: the mean hand of a file is never added behind the
    caller's back. `hands.pose_from_pca` and `hands.add_mean` turn what `smplx` stores into these rotations.
    """

    betas: Float[AnyArray, "... S"]
    """Shape coefficients in standard deviations of the model's population."""
    global_orient: Float[AnyArray, "... 3"]
    """Rotation of the root about joint 0."""
    body_pose: Float[AnyArray, "... JB 3"]
    """Rotations of the body joints after the root, in file order: 23 of SMPL, 21 of SMPL-H and SMPL-X, 0 of MANO."""
    transl: Float[AnyArray, "... 3"]
    """Translation in metres, added after everything else."""
    left_hand_pose: Float[AnyArray, "... 15 3"] | None = None
    """Rotations of the left finger joints, MANO's order; None for SMPL and the right hand of MANO."""
    right_hand_pose: Float[AnyArray, "... 15 3"] | None = None
    """Rotations of the right finger joints, MANO's order; None for SMPL and the left hand of MANO."""
    jaw_pose: Float[AnyArray, "... 3"] | None = None
    """Rotation of the jaw; SMPL-X only."""
    leye_pose: Float[AnyArray, "... 3"] | None = None
    """Rotation of the left eyeball; SMPL-X only."""
    reye_pose: Float[AnyArray, "... 3"] | None = None
    """Rotation of the right eyeball; SMPL-X only."""
    expression: Float[AnyArray, "... E"] | None = None
    """Expression coefficients in standard deviations; SMPL-X only."""

    @classmethod
    def rest(
        cls, body: "BodyModel", *, batch: tuple[int, ...] = (), hands: Literal["flat", "mean"] = "flat"
    ) -> "BodyParams":
        """Mean shape in the model's rest pose at the origin.

        Args:
            body: Model whose sizes and float type are taken.
            batch: Leading axes.
            hands: `flat` for the template's open hands, `mean` for the relaxed mean hand of the file.

        Raises:
            ValueError: If `hands` is neither, or `mean` is asked of a body without hand components.
        """
        if hands not in ("flat", "mean"):
            raise ValueError(f"hands must be 'flat' or 'mean', got {hands!r}")
        dtype = body.joint_template.dtype
        pose = jnp.zeros((*batch, body.num_joints, 3), dtype)
        params = cls.from_full_pose(
            body,
            pose,
            betas=jnp.zeros((*batch, body.num_betas), dtype),
            transl=jnp.zeros((*batch, 3), dtype),
        )
        if hands == "flat":
            return params
        means = {}
        for side in FAMILIES[body.family].hand_sides:
            mean = body.hand_space(side).mean
            means[f"{side}_hand_pose"] = jnp.broadcast_to(mean, (*batch, *mean.shape))
        if not means:
            raise ValueError(f"{body.name} ({body.family}) has no articulated hands, so no mean hand")
        return dataclasses.replace(params, **means)

    @classmethod
    def from_full_pose(
        cls,
        body: "BodyModel",
        full_pose: Float[AnyArray, "*batch J 3"],
        *,
        betas: Float[AnyArray, "... S"] | None = None,
        transl: Float[AnyArray, "... 3"] | None = None,
        expression: Float[AnyArray, "... E"] | None = None,
    ) -> "BodyParams":
        """Parameters from one array of all rotations, such as AMASS's `poses` or `full_pose` of smplx.

        Args:
            body: Model the rotations are for.
            full_pose: Axis-angle of every joint in file order, root first, absolute (no mean hand left to add).
            betas: Shape; zeros if None.
            transl: Translation in metres; zeros if None.
            expression: Expression of SMPL-X; zeros if None.

        Raises:
            ValueError: If the number of joints is not the model's.
        """
        family = FAMILIES[body.family]
        full_pose = jnp.asarray(full_pose)
        if full_pose.ndim < 2 or full_pose.shape[-2:] != (family.num_joints, 3):
            raise ValueError(
                f"full_pose must end in ({family.num_joints}, 3), the joints of {family.title}, got shape "
                f"{tuple(full_pose.shape)}; a flat array is reshaped to (..., {family.num_joints}, 3) first"
            )
        batch, dtype = full_pose.shape[:-2], full_pose.dtype
        if expression is None and family.expression_start:
            expression = jnp.zeros((*batch, body.num_expression), dtype)
        return cls(
            betas=jnp.zeros((*batch, body.num_betas), dtype) if betas is None else betas,
            transl=jnp.zeros((*batch, 3), dtype) if transl is None else transl,
            global_orient=full_pose[..., 0, :],
            expression=expression,
            **split_pose(body.family, full_pose[..., 1:, :]),
        )

    def without_shape(self) -> "BodyParams":
        """The same with no shape coefficients, for a body whose shape is fixed by `BodyModel.shaped`."""
        return dataclasses.replace(self, betas=self.betas[..., :0])

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """Leading axes."""
        return tuple(self.transl.shape[:-1])

    def full_pose(self) -> Float[Array, "*batch J 3"]:
        """All joint rotations in the order of the model's joints."""
        groups = (
            self.body_pose,
            *(None if pose is None else pose[..., None, :] for pose in (self.jaw_pose, self.leye_pose, self.reye_pose)),
            self.left_hand_pose,
            self.right_hand_pose,
        )
        parts = [self.global_orient[..., None, :], *(group for group in groups if group is not None)]
        return jnp.concatenate([jnp.asarray(part) for part in parts], -2)


def pose_shapes(family: str) -> dict[str, tuple[int, ...]]:
    """Shape of each pose field of `BodyParams` that a family has, without batch axes; the root is left out."""
    return {name: (3,) if name in _SINGLE else (count, 3) for name, count in FAMILIES[family].pose_groups}


def split_pose(family: str, pose: Float[AnyArray, "*batch J 3"]) -> dict[str, Float[AnyArray, "..."]]:
    """Rotations of all joints after the root, split into the fields of `BodyParams`."""
    counts = [count for _, count in FAMILIES[family].pose_groups]
    ends = np.cumsum(counts)
    return {
        name: pose[..., end - 1, :] if name in _SINGLE else pose[..., end - count : end, :]
        for (name, count), end in zip(FAMILIES[family].pose_groups, ends.tolist(), strict=True)
    }
