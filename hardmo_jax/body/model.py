"""The body model: arrays of one SMPL-family file as a pytree, and what can be asked of it.

Loper et al., "SMPL: A Skinned Multi-Person Linear Model", SIGGRAPH Asia 2015. Metres; rest pose is the T-pose
with y up, the face towards +z and the person's left at +x; rotation is about joint 0 and the translation is
added after, as in the `smplx` package. A model is an argument of jitted functions, never a constant in them.
"""

import dataclasses
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from hardmo_jax.array_types import AnyArray, Array, Float, Int
from hardmo_jax.body import kinematics, skinning
from hardmo_jax.body.families import FAMILIES, HAND_SIDES
from hardmo_jax.body.hands import HandSpace
from hardmo_jax.body.params import BodyParams, pose_shapes
from hardmo_jax.body.regressors import VertexRegressor


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
    """One body model. Build it with `load_body` or `open_body`, not by hand.

    Leading axes of the arrays appear inside and outside of `jax.vmap` over bodies only.
    """

    template_planar: Float[Array, "... 3 V"]
    """Mean shape in rest pose, metres."""
    blend_basis: Float[Array, "... D 3 V"]
    """Shape, expression and pose blend shapes in this order, metres: one product gives all displacements."""
    joint_template: Float[Array, "... J 3"]
    """Joints of the mean shape in rest pose, metres."""
    joint_shape_basis: Float[Array, "... C J 3"]
    """Joint displacement by one standard deviation of each coefficient, metres: shape, then expression."""
    skinning_planar: Float[Array, "... J V"]
    """Share of each joint in moving each vertex; columns sum to one."""
    bone_joints: Int[Array, "... W V"]
    """The joints that move each vertex."""
    bone_weights: Float[Array, "... W V"]
    """Their shares, some of them zero: the same as `skinning_planar`, for processors that gather well."""
    faces: Int[Array, "... F 3"]
    """Triangles, outward by the right-hand rule; empty for a subset."""
    parents: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    """Parent of each joint, -1 for the root."""
    joint_names: tuple[str, ...] = dataclasses.field(metadata={"static": True})
    """Names of the joints, `skeleton.layouts`."""
    landmarks: tuple[tuple[str, int], ...] = dataclasses.field(metadata={"static": True})
    """Named vertices; empty where the topology is unknown."""
    family: str = dataclasses.field(metadata={"static": True})
    """`smpl`, `smplh`, `smplx`, `mano_left` or `mano_right`: which fields of `BodyParams` hold its pose."""
    name: str = dataclasses.field(metadata={"static": True})
    """What labels call this model."""
    checksum: str = dataclasses.field(metadata={"static": True})
    """SHA-256 of the file it came from."""
    gender: str = dataclasses.field(default="unknown", metadata={"static": True})
    """`neutral`, `female`, `male` or `unknown`."""
    num_expression: int = dataclasses.field(default=0, metadata={"static": True})
    """Number of expression coefficients, the last of the bases; 0 for every family but SMPL-X."""
    left_hand: HandSpace | None = None
    """Principal components of the left hand; None where the file has none."""
    right_hand: HandSpace | None = None
    """Principal components of the right hand; None where the file has none."""
    regressed: VertexRegressor | None = None
    """Further named points, made of vertices: the face of SMPL-X, and what `with_regressor` attached."""

    @property
    def shape_basis_planar(self) -> Float[Array, "... C 3 V"]:
        """Vertex displacement by one standard deviation of each coefficient, metres: shape, then expression."""
        return self.blend_basis[..., : self.joint_shape_basis.shape[-3], :, :]

    @property
    def pose_basis_planar(self) -> Float[Array, "... P 3 V"] | None:
        """Pose blend shapes, metres; None where the model has none, and then nothing is computed."""
        basis = self.blend_basis[..., self.joint_shape_basis.shape[-3] :, :, :]
        return basis if basis.shape[-3] else None

    @property
    def skinning_weights(self) -> Float[Array, "... V J"]:
        """Share of each joint in moving each vertex; rows sum to one."""
        return jnp.swapaxes(self.skinning_planar, -1, -2)

    @property
    def num_betas(self) -> int:
        """Number of shape coefficients."""
        return self.joint_shape_basis.shape[-3] - self.num_expression

    @property
    def num_vertices(self) -> int:
        """Number of vertices."""
        return self.skinning_planar.shape[-1]

    @property
    def num_joints(self) -> int:
        """Number of joints."""
        return len(self.joint_names)

    def __repr__(self) -> str:
        size = f"{self.num_vertices} vertices, {self.num_joints} joints, {self.num_betas} betas"
        expression = f", {self.num_expression} expression" if self.num_expression else ""
        return f"BodyModel({self.name}: {self.family}, {self.gender}, {size}{expression})"

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

    def of_matrices(self, rotations: Float[AnyArray, "*batch J 3 3"], betas: Float[AnyArray, "*batch S"]) -> BodyOutput:
        """Pose the body by rotation matrices, as networks put them out; root joint where it rests.

        Differentiable wherever the matrices are: axis-angle vectors, which are not at half a turn, are not made.

        Args:
            rotations: Of all joints, parent-relative, the root first.
            betas: Shape coefficients, standard deviations; of SMPL-X the expression is neutral.

        Returns:
            Vertices and joints, metres.

        Raises:
            ValueError: If numbers of joints or betas are those of another model.
        """
        wanted = ((self.num_joints, 3, 3), (self.num_betas,))
        found = (tuple(rotations.shape[-3:]), tuple(betas.shape[-1:]))
        if found != wanted or rotations.shape[:-3] != betas.shape[:-1]:
            raise ValueError(
                f"{self.name} takes rotations (..., {self.num_joints}, 3, 3) and betas (..., {self.num_betas}) of the "
                f"same batch axes, got {tuple(rotations.shape)} and {tuple(betas.shape)}"
            )
        dtype = self.joint_template.dtype
        return _matrices_to_mesh(self, jnp.asarray(rotations, dtype), jnp.asarray(betas, dtype))

    def joints(self, params: BodyParams) -> Float[Array, "*batch J 3"]:
        """Joints alone, without touching the mesh; metres."""
        return _pose_joints(self, self._checked(params))

    def shaped(self, betas: Float[AnyArray, "..."]) -> "BodyModel":
        """The same body with its shape fixed, for posing it many times.

        Blend shapes of the shape and the joint regressor are evaluated here, once, and not again with every pose.
        The result has no shape coefficients: call it with `params.without_shape()` or `BodyParams.rest(shaped)`.
        Expression stays free. Several shapes are a `jax.vmap` of this.

        Args:
            betas: Shape of one person, `num_betas` numbers.

        Returns:
            A model of the same type.

        Raises:
            ValueError: If there is a batch axis or another number of coefficients.
        """
        if betas.shape != (self.num_betas,):
            raise ValueError(
                f"betas must have shape ({self.num_betas},), got {tuple(betas.shape)}; use jax.vmap for several shapes"
            )
        betas, joint_basis = jnp.asarray(betas), self.joint_shape_basis
        template = skinning.shape_vertices(self.template_planar, self.blend_basis[: self.num_betas], betas)
        return dataclasses.replace(
            self,
            template_planar=template,
            blend_basis=self.blend_basis[self.num_betas :],
            joint_template=skinning.shape_joints(
                self.joint_template, joint_basis[: self.num_betas], jnp.asarray(betas)
            ),
            joint_shape_basis=joint_basis[self.num_betas :],
        )

    def without_expression(self) -> "BodyModel":
        """The same body with a neutral face that cannot change: no expression coefficients."""
        if self.num_expression == 0:
            return self
        return dataclasses.replace(
            self,
            blend_basis=jnp.concatenate(
                [self.blend_basis[: self.num_betas], self.blend_basis[len(self.joint_shape_basis) :]]
            ),
            joint_shape_basis=self.joint_shape_basis[: self.num_betas],
            num_expression=0,
        )

    def hand_space(self, side: str) -> HandSpace:
        """Mean and components of a hand, for the functions of `hardmo_jax.body.hands`.

        Raises:
            ValueError: If the model has no such hand, or its file has no components.
        """
        if side not in HAND_SIDES:
            raise ValueError(f"side must be {' or '.join(map(repr, HAND_SIDES))}, got {side!r}")
        space = {"left": self.left_hand, "right": self.right_hand}[side]
        if space is None:
            raise ValueError(
                f"{self.name} ({self.family}) has no principal components of a {side} hand; "
                "SMPL-H, SMPL-X and MANO files as distributed have"
            )
        return space

    def with_regressor(self, names: Sequence[str], matrix: Float[np.ndarray, "K V"]) -> "BodyModel":
        """The same body with further named points, each a weighted sum of vertices.

        Args:
            names: Names of the rows, new to this body. `regressors.load_regressor` gives those of public files.
            matrix: Weights of the vertices, as of `J_regressor_extra.npy`.

        Returns:
            A model whose `landmarks.named_points` end with these.

        Raises:
            ValueError: If a name is there already, or the matrix does not fit names and vertices.
        """
        taken = {*self.joint_names, *(name for name, _ in self.landmarks)}
        if self.regressed is not None:
            taken |= {*self.regressed.names}
        clash = [name for name in names if name in taken]
        if clash:
            raise ValueError(f"{self.name} already has points named {', '.join(clash)}")
        added = VertexRegressor.from_matrix(names, matrix, self.num_vertices, dtype=self.blend_basis.dtype)
        return dataclasses.replace(self, regressed=added if self.regressed is None else self.regressed.joined(added))

    def subset(self, vertex_ids: Int[np.ndarray, "N"] | tuple[int, ...] | list[int]) -> "BodyModel":
        """The same body with the named vertices only, in that order; everything else is not computed.

        Args:
            vertex_ids: Indices into this model's vertices.

        Returns:
            A model of the same type without faces. Landmarks among these vertices keep their names; regressed
            points stay if all the vertices that they use are among them.

        Raises:
            IndexError: If an index is out of range, or no integer.
        """
        ids = np.asarray(vertex_ids).reshape(-1)
        if ids.size and ids.dtype.kind not in "iu":
            raise IndexError(f"vertex ids must be integers, got {ids.dtype}; of a mask take np.flatnonzero(mask)")
        ids = ids.astype(np.int64)
        if ids.size and (ids.min() < 0 or ids.max() >= self.num_vertices):
            raise IndexError(f"vertex ids must be in [0, {self.num_vertices}), got {ids.min()} to {ids.max()}")
        place = {int(vertex): slot for slot, vertex in enumerate(ids)}
        return dataclasses.replace(
            self,
            template_planar=self.template_planar[:, ids],
            blend_basis=self.blend_basis[:, :, ids],
            skinning_planar=self.skinning_planar[:, ids],
            bone_joints=self.bone_joints[:, ids],
            bone_weights=self.bone_weights[:, ids],
            faces=jnp.zeros((0, 3), jnp.int32),
            landmarks=tuple((name, place[vertex]) for name, vertex in self.landmarks if vertex in place),
            regressed=None if self.regressed is None else self.regressed.subset(place),
        )

    def _checked(self, params: BodyParams) -> BodyParams:
        """Parameters with shapes checked against this model and batch axes broadcast to each other."""
        expected: dict[str, tuple[int, ...]] = {"betas": (self.num_betas,), "global_orient": (3,), "transl": (3,)}
        expected |= pose_shapes(self.family)
        if FAMILIES[self.family].expression_start:
            expected["expression"] = (self.num_expression,)
        dtype = self.joint_template.dtype
        given = {}
        for field in dataclasses.fields(params):
            value, shape = getattr(params, field.name), expected.get(field.name)
            if value is not None and not hasattr(value, "shape"):
                value = np.asarray(value)
            if shape is None and value is not None:
                raise ValueError(f"`{field.name}` must be None for {self.name}: {self.family} has no such parameter")
            if shape is not None and (value is None or tuple(value.shape[-len(shape) :]) != shape):
                got = "None" if value is None else tuple(value.shape)
                raise ValueError(
                    f"`{field.name}` must end in {shape} for {self.name} ({self.family}), got {got}; "
                    "start from `BodyParams.rest(body)`"
                )
            if value is None:
                continue
            if not jnp.issubdtype(value.dtype, jnp.floating) and not jnp.issubdtype(value.dtype, jnp.integer):
                raise ValueError(f"`{field.name}` must be real numbers, got {value.dtype}")
            # The body decides the precision: half precision in rotations would cost millimetres.
            given[field.name] = jnp.asarray(value, dtype)
        leading = {name: tuple(given[name].shape[: -len(shape)]) for name, shape in expected.items()}
        try:
            batch = np.broadcast_shapes(*leading.values())
        except ValueError:
            raise ValueError(f"batch axes of the parameters do not fit each other: {leading}") from None
        shaped = {name: jnp.broadcast_to(given[name], batch + shape) for name, shape in expected.items()}
        return dataclasses.replace(params, **shaped)


def _local(params: BodyParams) -> tuple[Float[Array, "C B"], Float[Array, "J 3 3 B"]]:
    """Coefficients and local rotations, the batch innermost."""
    parts = [params.betas] if params.expression is None else [params.betas, params.expression]
    # Expression counts as more shape (Pavlakos et al., 2019, section 3.1).
    coefficients = jnp.concatenate([_batch_last(part, 1) for part in parts])
    return coefficients, kinematics.local_rotations(_batch_last(params.full_pose(), 2))


def _skeleton(
    body: BodyModel, coefficients: Float[Array, "C B"], local: Float[Array, "J 3 3 B"]
) -> tuple[Float[Array, "J 3 B"], Float[Array, "J 3 3 B"], Float[Array, "J 3 B"]]:
    """Rest joints, global rotations and posed joints before the translation, the batch innermost."""
    shaped = jnp.tensordot(body.joint_shape_basis, coefficients, axes=((0,), (0,)), precision=lax.Precision.HIGHEST)
    rest_joints = body.joint_template[..., None] + shaped
    return rest_joints, *kinematics.chain(body.parents, local, rest_joints)


def _batch_last(array: Float[AnyArray, "..."], rank: int) -> Float[Array, "..."]:
    """All leading axes as one, moved behind the last `rank` axes."""
    leading, kept = array.shape[: array.ndim - rank], array.shape[array.ndim - rank :]
    flat = jnp.asarray(array).reshape(math.prod(leading), *kept)  # not -1: there may be no coefficients, or no people
    return jnp.moveaxis(flat, 0, -1)


# Compiled as wholes: called eagerly, a body would otherwise be a hundred tiny programs. Inside a caller's `jit`
# they dissolve into the caller's program, and what the caller does not use is not computed.
@jax.jit
def _pose_mesh(body: BodyModel, params: BodyParams) -> BodyOutput:
    """Vertices and joints of a posed body."""
    return _mesh(body, *_local(params), _batch_last(params.transl, 1), params.batch_shape)


@jax.jit
def _matrices_to_mesh(
    body: BodyModel, rotations: Float[Array, "*batch J 3 3"], betas: Float[Array, "*batch S"]
) -> BodyOutput:
    """Vertices and joints of a body posed by matrices."""
    local, coefficients = _batch_last(rotations, 3), _batch_last(betas, 1)
    neutral = jnp.zeros((body.num_expression, coefficients.shape[-1]), coefficients.dtype)
    return _mesh(
        body, jnp.concatenate([coefficients, neutral]), local, jnp.zeros((3, 1), coefficients.dtype), betas.shape[:-1]
    )


def _mesh(
    body: BodyModel,
    coefficients: Float[Array, "C B"],
    local: Float[Array, "J 3 3 B"],
    transl: Float[Array, "3 #B"],
    batch: tuple[int, ...],
) -> BodyOutput:
    """Vertices and joints, with the batch axes they are to have."""
    rest_joints, turned, joints = _skeleton(body, coefficients, local)
    joints = joints + transl
    features = [coefficients]
    if len(body.blend_basis) > len(coefficients):
        offsets = local[1:] - jnp.eye(3, dtype=local.dtype)[..., None]
        features.append(offsets.reshape(9 * (body.num_joints - 1), offsets.shape[-1]))
    vertices = skinning.pose_vertices(
        jnp.concatenate(features),
        skinning.skinning_transforms(rest_joints, turned, joints),
        body.template_planar,
        body.blend_basis,
        body.skinning_planar,
        body.bone_joints,
        body.bone_weights,
    )
    return BodyOutput(
        vertices=vertices.reshape(*batch, *vertices.shape[1:]),
        joints=jnp.moveaxis(joints, -1, 0).reshape(*batch, body.num_joints, 3),
    )


@jax.jit
def _pose_joints(body: BodyModel, params: BodyParams) -> Float[Array, "*batch J 3"]:
    """Joints of a posed body."""
    joints = _skeleton(body, *_local(params))[-1] + _batch_last(params.transl, 1)
    return jnp.moveaxis(joints, -1, 0).reshape(*params.batch_shape, body.num_joints, 3)
