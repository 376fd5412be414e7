"""Joints, landmarks and regressed points of a body together, by name: what keypoints are compared with."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

from hardmo_jax.array_types import AnyArray, Array, Bool, Float
from hardmo_jax.body.model import BodyModel, BodyOutput
from hardmo_jax.body.params import BodyParams
from hardmo_jax.skeleton import layouts, mapping


def point_names(body: BodyModel) -> tuple[str, ...]:
    """Names of the points that `named_points` gives: all joints, the landmarks, then the regressed points.

    For SMPL, SMPL-H and SMPL-X this is the order of `joints` in the output of smplx 0.1.28.
    """
    regressed = () if body.regressed is None else body.regressed.names
    return body.joint_names + tuple(name for name, _ in body.landmarks) + regressed


def named_points(body: BodyModel, output: BodyOutput) -> Float[Array, "*batch N 3"]:
    """Positions of the points of `point_names`, metres.

    Args:
        body: Model (or subset of it) that made the output.
        output: A posed body.
    """
    ids = jnp.array([vertex for _, vertex in body.landmarks], jnp.int32)
    points = [output.joints, output.vertices[..., ids, :]]
    if body.regressed is not None:
        points.append(body.regressed(output.vertices))
    return jnp.concatenate(points, -2)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class PointModel:
    """Keypoints of a layout as a function of body parameters, without the mesh."""

    body: BodyModel
    """The body with those vertices only that the keypoints use."""
    regressor: Float[AnyArray, "K N"]
    """Keypoints from the joints and then the vertices of `body`."""
    node_of: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    """Which of the joints and then the vertices a keypoint is; -1 for one that is made of several."""
    carrier_of: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    """The joint whose frame a keypoint is fixed in, whatever the pose; -1 for one that several joints move."""
    mixed_joints: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    """Joints that take part in keypoints of the latter kind; without them such keypoints are vertices alone."""

    def __call__(self, params: BodyParams) -> Float[Array, "*batch K 3"]:
        """Positions of the keypoints, metres."""
        return self._of(self.body(params))

    def of_matrices(
        self, rotations: Float[AnyArray, "*batch J 3 3"], betas: Float[AnyArray, "*batch S"]
    ) -> Float[Array, "*batch K 3"]:
        """Positions of the keypoints of a body posed by matrices, see `BodyModel.of_matrices`."""
        return self._of(self.body.of_matrices(rotations, betas))

    def _of(self, output: BodyOutput) -> Float[Array, "*batch K 3"]:
        points = jnp.concatenate([output.joints, output.vertices], -2)
        return jnp.einsum("kn,...nc->...kc", self.regressor, points, precision=lax.Precision.HIGHEST)


_MOST_KEPT = 8
_recent: tuple[tuple[BodyModel, layouts.KeypointLayout, tuple[PointModel, np.ndarray]], ...] = ()


def point_model(body: BodyModel, layout: layouts.KeypointLayout) -> tuple[PointModel, Bool[np.ndarray, "K"]]:
    """The part of a body that the keypoints of a layout depend on.

    The last few are kept: one job asks for the same ones over and over.

    Args:
        body: A whole body, not a subset without landmarks. Its arrays must be concrete.
        layout: Keypoints wanted, in this order.

    Returns:
        The model, and which keypoints the body has; the others are at the origin whatever the parameters.
    """
    global _recent
    for known_body, known_layout, found in _recent:
        if known_body is body and known_layout == layout:
            return found
    model, is_supported = found = _make_point_model(body, layout)
    is_supported.flags.writeable = False
    # Within a trace the arrays belong to it, and must not outlive it.
    if not any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(model)):
        _recent = ((body, layout, found), *_recent[: _MOST_KEPT - 1])
    return found


def _make_point_model(body: BodyModel, layout: layouts.KeypointLayout) -> tuple[PointModel, Bool[np.ndarray, "K"]]:
    matrix, is_supported = mapping.point_regressor(layout, point_names(body))
    joints, picked, mixed = np.split(matrix, np.cumsum([body.num_joints, len(body.landmarks)]), axis=1)
    by_vertex = np.zeros((len(layout), body.num_vertices), np.float64)
    for column, (_, vertex) in enumerate(body.landmarks):
        by_vertex[:, vertex] += picked[:, column]
    if body.regressed is not None:
        weights = np.asarray(body.regressed.weights, np.float64)
        by_vertex[:, np.array(body.regressed.vertex_ids, np.int64)] += mixed @ weights
    used = np.flatnonzero(np.any(by_vertex != 0, axis=0))
    subset = dataclasses.replace(body.subset(used), landmarks=(), regressed=None)
    regressor = np.concatenate([joints, by_vertex[:, used]], axis=1)
    node_of = np.where(np.sum(regressor != 0, 1) == 1, np.argmax(regressor == 1, 1), -1)
    node_of = np.where(np.max(regressor, 1, initial=0) == 1, node_of, -1)
    # A joint is fixed in its own frame; a vertex in that of its one joint, if no blend shape of the pose moves it.
    bones = np.asarray(subset.skinning_weights)
    carriers = np.where(np.max(bones, 1, initial=0) == 1, np.argmax(bones, 1), -1)
    if subset.pose_basis_planar is not None:
        carriers[:] = -1
    carriers = np.concatenate([np.arange(body.num_joints), carriers])
    carrier_of = np.where(node_of >= 0, carriers[node_of], -1)
    model = PointModel(
        body=subset,
        regressor=jnp.asarray(regressor, body.joint_template.dtype),
        node_of=tuple(node_of.tolist()),
        carrier_of=tuple(carrier_of.tolist()),
        mixed_joints=tuple(np.flatnonzero(np.any(joints[carrier_of < 0] != 0, axis=0)).tolist()),
    )
    return model, is_supported


def layout_points(body: BodyModel, layout: str) -> PointModel:
    """Model of all keypoints of a named layout, such as `openpose25`, `hmr2_44` or `spin_49`.

    Args:
        body: Body that has every point of the layout. The supersets need `SMPL_to_J19.pkl` (hmr2_44) or
            `J_regressor_extra.npy` (spin_49) attached by `BodyModel.with_regressor`.
        layout: Name in `skeleton.layouts`.

    Raises:
        KeyError: If there is no such layout.
        ValueError: If the body lacks points of it; the message names them.
    """
    wanted = layouts.get_layout(layout)
    model, is_supported = point_model(body, wanted)
    if not is_supported.all():
        missing = [point for point, has in zip(wanted.points, is_supported, strict=True) if not has]
        raise ValueError(
            f"{body.name} has no {', '.join(missing)} of layout {layout!r}; attach a regressor of them "
            "(`regressors.load_regressor`, `body.with_regressor`) or ask for another layout"
        )
    return model
