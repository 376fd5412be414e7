"""The vector a fit solves for.

The vector holds, in this order, the translation, a rotation vector that
turns the start orientation from the outside, the shape, and the axis-angle rotations of all joints but the
root. Turning the start orientation, instead of the axis-angle of the root itself, keeps people who face the
camera (a turn by pi in camera axes) away from the singular point of axis-angle.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

from hardmo_jax.array_types import Array, Bool, Float
from hardmo_jax.body.families import FAMILIES
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams, split_pose
from hardmo_jax.geometry import rotations


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layout:
    """Where each group of parameters stands in the vector."""

    num_betas: int
    family: str
    num_joints: int

    @classmethod
    def of(cls, body: BodyModel) -> "Layout":
        """Layout for a body model."""
        return cls(num_betas=body.num_betas, family=body.family, num_joints=body.num_joints)

    @property
    def size(self) -> int:
        """Length of the vector."""
        return 6 + self.num_betas + 3 * (self.num_joints - 1)

    @property
    def pose_start(self) -> int:
        """First entry of the joint rotations."""
        return 6 + self.num_betas

    def group_mask(self, groups: tuple[str, ...]) -> Bool[np.ndarray, "P"]:
        """Entries that belong to any of the named groups."""
        ranges = {"transl": [(0, 3)], "global_orient": [(3, 6)], "betas": [(6, self.pose_start)], "hand_pose": []}
        start = self.pose_start
        for field, count in FAMILIES[self.family].pose_groups:
            group = "hand_pose" if field.endswith("hand_pose") else field
            ranges.setdefault(group, []).append((start, start + 3 * count))
            start += 3 * count
        mask = np.zeros(self.size, bool)
        for group in groups:
            for first, stop in ranges[group]:
                mask[first:stop] = True
        return mask

    def to_params(self, vector: Float[Array, "*batch P"], orient: Float[Array, "*batch 3 3"]) -> BodyParams:
        """Body parameters of a vector and the start orientation it turns."""
        batch = vector.shape[:-1]
        pose = vector[..., self.pose_start :].reshape(*batch, self.num_joints - 1, 3)
        turn = rotations.axis_angle_to_matrix(vector[..., 3:6])
        return BodyParams(
            betas=vector[..., 6 : self.pose_start],
            global_orient=rotations.matrix_to_axis_angle(rotations.compose(turn, orient)),
            transl=vector[..., :3],
            expression=jnp.zeros((*batch, 0), vector.dtype) if FAMILIES[self.family].expression_start else None,
            **split_pose(self.family, pose),
        )

    def from_params(self, params: BodyParams) -> tuple[Float[Array, "*batch P"], Float[Array, "*batch 3 3"]]:
        """Vector and start orientation of body parameters."""
        batch = params.batch_shape
        pose = params.full_pose()[..., 1:, :].reshape(*batch, -1)
        vector = jnp.concatenate([params.transl, jnp.zeros_like(params.transl), params.betas, pose], -1)
        return vector, rotations.axis_angle_to_matrix(params.global_orient)
