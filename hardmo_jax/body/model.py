"""The body model: arrays of one SMPL-family file as a pytree, and what can be asked of it.

Loper et al., "SMPL: A Skinned Multi-Person Linear Model", SIGGRAPH Asia 2015. Metres; rest pose is the T-pose
with y up, the face towards +z and the person's left at +x; rotation is about joint 0 and the translation is
added after, as in the `smplx` package. A model is an argument of jitted functions, never a constant in them.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from hardmo_jax.array_types import AnyArray, Array, Float, Int
from hardmo_jax.body import kinematics, skinning
from hardmo_jax.body.params import BODY_POSE_JOINTS, HAND_POSE_JOINTS, BodyParams
from hardmo_jax.geometry import rotations


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class BodyOutput:
    """A posed body."""

    vertices: Float[AnyArray, "*batch V 3"]
    """Mesh vertices, metres."""
    joints: Float[AnyArray, "*batch J 3"]
    """Model joints in file order, metres."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class BodyModel:
    """One body model. Build it with `load_body` or `open_body`, not by hand."""

    template_planar: Float[Array, "3 V"]
    """Mean shape in rest pose, metres."""
    shape_basis_planar: Float[Array, "S 3 V"]
    """Vertex displacement by one standard deviation of each shape coefficient, metres."""
    pose_basis_planar: Float[Array, "P 3 V"] | None
    """Pose blend shapes, metres; None where the model has none, and then nothing is computed."""
    joint_template: Float[Array, "J 3"]
    """Joints of the mean shape in rest pose, metres."""
    joint_shape_basis: Float[Array, "S J 3"]
    """Joint displacement by one standard deviation of each shape coefficient, metres."""
    skinning_weights: Float[Array, "V J"]
    """Rows sum to one."""
    faces: Int[Array, "F 3"]
    """Triangles, outward by the right-hand rule; empty for a subset."""
    parents: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    """Parent of each joint, -1 for the root."""
    joint_names: tuple[str, ...] = dataclasses.field(metadata={"static": True})
    """Names of the joints, `skeleton.layouts`."""
    landmarks: tuple[tuple[str, int], ...] = dataclasses.field(metadata={"static": True})
    """Named vertices; empty where the topology is unknown."""
    family: str = dataclasses.field(metadata={"static": True})
    """`smpl` or `smplh`: which joints `body_pose` holds and whether hands are articulated."""
    name: str = dataclasses.field(metadata={"static": True})
    """What labels call this model."""
    checksum: str = dataclasses.field(metadata={"static": True})
    """SHA-256 of the file it came from."""

    @property
    def num_betas(self) -> int:
        """Number of shape coefficients."""
        return self.joint_shape_basis.shape[0]

    @property
    def num_vertices(self) -> int:
        """Number of vertices."""
        return self.skinning_weights.shape[0]

    @property
    def num_joints(self) -> int:
        """Number of joints."""
        return len(self.joint_names)

    def __call__(self, params: BodyParams) -> BodyOutput:
        """Pose the body.

        Args:
            params: Parameters with any batch axes.

        Returns:
            Vertices and joints, metres.

        Raises:
            ValueError: If a parameter has a shape of another model.
        """
        return _pose_mesh(self, self._checked(params))

    def joints(self, params: BodyParams) -> Float[Array, "*batch J 3"]:
        """Joints alone, without touching the mesh; metres."""
        return _pose_joints(self, self._checked(params))

    def subset(self, vertex_ids: Int[np.ndarray, "N"] | tuple[int, ...] | list[int]) -> "BodyModel":
        """The same body with the named vertices only, in that order; everything else is not computed.

        Args:
            vertex_ids: Indices into this model's vertices.

        Returns:
            A model of the same type without faces. Landmarks among the vertices keep their names.

        Raises:
            IndexError: If an index is out of range.
        """
        ids = np.asarray(vertex_ids, dtype=np.int64).reshape(-1)
        if ids.size and (ids.min() < 0 or ids.max() >= self.num_vertices):
            raise IndexError(f"vertex ids must be in [0, {self.num_vertices}), got {ids.min()} to {ids.max()}")
        place = {int(vertex): slot for slot, vertex in enumerate(ids)}
        pose_basis = self.pose_basis_planar
        return dataclasses.replace(
            self,
            template_planar=self.template_planar[:, ids],
            shape_basis_planar=self.shape_basis_planar[:, :, ids],
            pose_basis_planar=None if pose_basis is None else pose_basis[:, :, ids],
            skinning_weights=self.skinning_weights[ids],
            faces=jnp.zeros((0, 3), jnp.int32),
            landmarks=tuple((name, place[vertex]) for name, vertex in self.landmarks if vertex in place),
        )

    def landmark_subset(self) -> "BodyModel":
        """The subset whose vertices are the named landmarks, in their order."""
        return self.subset([vertex for _, vertex in self.landmarks])

    def _checked(self, params: BodyParams) -> BodyParams:
        """Parameters with shapes checked against this model and batch axes broadcast to each other."""
        expected: dict[str, tuple[int, ...]] = {"betas": (self.num_betas,), "global_orient": (3,), "transl": (3,)}
        expected["body_pose"] = (BODY_POSE_JOINTS[self.family], 3)
        hands = ("left_hand_pose", "right_hand_pose")
        if self.family == "smplh":
            expected |= dict.fromkeys(hands, (HAND_POSE_JOINTS, 3))
        for name in (*expected, *hands):
            value, shape = getattr(params, name), expected.get(name)
            if shape is None and value is not None:
                raise ValueError(f"`{name}` must be None for {self.family}: its hands are joints of `body_pose`")
            if shape is not None and (value is None or tuple(value.shape[-len(shape) :]) != shape):
                got = "None" if value is None else tuple(value.shape)
                raise ValueError(
                    f"`{name}` must end in {shape} for {self.name} ({self.family}), got {got}; "
                    "start from `BodyParams.rest(body)`"
                )
        leading = {name: tuple(getattr(params, name).shape[: -len(shape)]) for name, shape in expected.items()}
        try:
            batch = np.broadcast_shapes(*leading.values())
        except ValueError:
            raise ValueError(f"batch axes of the parameters do not fit each other: {leading}") from None
        shaped = {name: jnp.broadcast_to(getattr(params, name), batch + shape) for name, shape in expected.items()}
        return dataclasses.replace(params, **shaped)


# Compiled as wholes: called eagerly, a body would otherwise be a hundred tiny programs. Inside a caller's `jit`
# they dissolve into the caller's program, and what the caller does not use is not computed.
@jax.jit
def _pose_mesh(body: BodyModel, params: BodyParams) -> BodyOutput:
    """Vertices and joints of a posed body."""
    local = rotations.axis_angle_to_matrix(params.full_pose())
    rest_joints = skinning.shape_joints(body.joint_template, body.joint_shape_basis, params.betas)
    turned, joints = kinematics.joint_transforms(body.parents, local, rest_joints)
    vertices = skinning.shape_vertices(body.template_planar, body.shape_basis_planar, params.betas)
    if body.pose_basis_planar is not None:
        vertices += skinning.pose_offsets(body.pose_basis_planar, skinning.pose_features(local))
    posed = skinning.skin_vertices(vertices, rest_joints, turned, joints, body.skinning_weights)
    transl = params.transl[..., None, :]
    return BodyOutput(vertices=posed + transl, joints=joints + transl)


@jax.jit
def _pose_joints(body: BodyModel, params: BodyParams) -> Float[Array, "*batch J 3"]:
    """Joints of a posed body."""
    local = rotations.axis_angle_to_matrix(params.full_pose())
    rest_joints = skinning.shape_joints(body.joint_template, body.joint_shape_basis, params.betas)
    _, joints = kinematics.joint_transforms(body.parents, local, rest_joints)
    return joints + params.transl[..., None, :]
