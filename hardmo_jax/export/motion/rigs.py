"""People as animation programs take them: a mesh in rest pose, a tree of joints that moves it, and quaternions.

Linear blend skinning is all that such programs do. The shape of a person is part of their mesh; blend shapes of the
pose, which SMPL has and the open body has not, and an expression that changes are not carried. `rig_mesh_error` says
how far that puts the mesh from the body's own.
"""

import dataclasses

import numpy as np

from hardmo_jax.array_types import Float, Int
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams, pose_shapes
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.export.motion.pose_quaternions import (
    continuous_quaternions,
    matrices_of_quaternions,
    pose_quaternions,
    product_of_quaternions,
)
from hardmo_jax.export.motion.scene_motion import TrackMotion, y_up

#: Turns a world with z up to one with y up: a quarter turn about x. (w, x, y, z).
_Y_UP_QUATERNION = np.array([0.5**0.5, -(0.5**0.5), 0.0, 0.0])
_FRAMES_AT_ONCE = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rig:
    """One person over their frames, world with y up, metres."""

    rest_vertices: Float[np.ndarray, "V 3"]
    """The mesh of this shape in rest pose."""
    rest_joints: Float[np.ndarray, "J 3"]
    """The joints of this shape in rest pose, where no joint is turned."""
    bone_joints: Int[np.ndarray, "V W"]
    """Joints that move each vertex, the greatest share first; joint 0 where the share is zero."""
    bone_weights: Float[np.ndarray, "V W"]
    """Their shares as float32, which sum to one up to the last digit; W is a multiple of four."""
    quaternions: Float[np.ndarray, "T J 4"]
    """Rotation of every joint relative to its parent, of the root relative to the world: (x, y, z, w), unit, without
    jumps of sign from a frame to the next."""
    root_positions: Float[np.ndarray, "T 3"]
    """Where the root is."""


def rig_of(body: BodyModel, track: TrackMotion) -> Rig:
    """A person as a rig.

    Args:
        body: Of the parameters.
        track: The person, world with z up.
    """
    params = track.params
    coefficients = np.asarray(params.betas, np.float64)
    if params.expression is not None:
        coefficients = np.concatenate([coefficients, np.asarray(params.expression, np.float64)], axis=1)
    joint_basis = np.asarray(body.joint_shape_basis, np.float64)
    roots = np.asarray(body.joint_template[0], np.float64) + coefficients @ joint_basis[:, 0]
    # A face that moves is met in its middle.
    mean = coefficients.mean(axis=0)
    basis = np.asarray(body.shape_basis_planar, np.float64)
    bone_joints, bone_weights = _bones(body)
    return Rig(
        rest_vertices=(np.asarray(body.template_planar, np.float64) + np.tensordot(mean, basis, 1)).T,
        rest_joints=np.asarray(body.joint_template, np.float64) + np.tensordot(mean, joint_basis, 1),
        bone_joints=bone_joints,
        bone_weights=bone_weights,
        quaternions=_quaternions(body, params),
        root_positions=y_up(roots + np.asarray(params.transl, np.float64)),
    )


def rig_mesh_error(body: BodyModel, track: TrackMotion, rig: Rig) -> tuple[float, float]:
    """Greatest and mean distance between the vertices of a rig and those of the body itself, metres, over all frames.

    Args:
        body: Of the parameters.
        track: The person.
        rig: Of the same person.
    """
    weights = np.zeros((len(rig.rest_vertices), body.num_joints))
    np.add.at(weights, (np.arange(len(weights))[:, None], rig.bone_joints), rig.bone_weights)
    greatest, total = 0.0, 0.0
    for first in range(0, track.num_frames, _FRAMES_AT_ONCE):
        frames = np.arange(first, min(first + _FRAMES_AT_ONCE, track.num_frames))
        ours = in_pieces(body, _rows(track.params, frames)).vertices
        for frame, vertices in zip(frames.tolist(), ours, strict=True):
            distance = np.linalg.norm(_posed_rig(body, rig, weights, frame) - y_up(vertices), axis=1)
            greatest = max(greatest, float(distance.max()))
            total += float(distance.mean())
    return greatest, total / track.num_frames


def _rows(params: BodyParams, frames: Int[np.ndarray, "N"]) -> BodyParams:
    given = {field.name: getattr(params, field.name) for field in dataclasses.fields(params)}
    return BodyParams(**{name: None if value is None else np.asarray(value)[frames] for name, value in given.items()})


def _posed_rig(body: BodyModel, rig: Rig, weights: Float[np.ndarray, "V J"], frame: int) -> Float[np.ndarray, "V 3"]:
    """Vertices as a program that reads the rig makes them."""
    turned = matrices_of_quaternions(np.roll(rig.quaternions[frame], 1, axis=-1))
    places = np.empty_like(rig.rest_joints)
    places[0] = rig.root_positions[frame]
    for joint, parent in enumerate(body.parents[1:], start=1):
        places[joint] = places[parent] + turned[parent] @ (rig.rest_joints[joint] - rig.rest_joints[parent])
        turned[joint] = turned[parent] @ turned[joint]
    shifts = places - np.einsum("jab,jb->ja", turned, rig.rest_joints)
    blended = (weights @ np.concatenate([turned, shifts[..., None]], axis=2).reshape(-1, 12)).reshape(-1, 3, 4)
    return np.einsum("vab,vb->va", blended[..., :3], rig.rest_vertices) + blended[..., 3]


def _bones(body: BodyModel) -> tuple[Int[np.ndarray, "V W"], Float[np.ndarray, "V W"]]:
    """The joints of each vertex and their shares, as `Rig` has them."""
    joints, weights = np.asarray(body.bone_joints).T, np.asarray(body.bone_weights, np.float64).T
    # Files may hold shares that are less than zero by rounding.
    weights = np.maximum(weights, 0.0)
    order = np.argsort(-weights, axis=1, kind="stable")
    joints, weights = np.take_along_axis(joints, order, axis=1), np.take_along_axis(weights, order, axis=1)
    used = max(int((weights > 0).sum(axis=1).max(initial=0)), 1)
    width = -(-used // 4) * 4
    shares = np.zeros((len(weights), width), np.float32)
    shares[:, :used] = weights[:, :used] / weights.sum(axis=1, keepdims=True)
    # What rounding to float32 leaves goes to the greatest.
    shares[:, 0] = 1.0 - shares[:, 1:].astype(np.float64).sum(axis=1)
    places = np.zeros((len(weights), width), np.int64)
    places[:, :used] = joints[:, :used]
    places[shares == 0] = 0
    return places, shares


def _quaternions(body: BodyModel, params: BodyParams) -> Float[np.ndarray, "T J 4"]:
    # In NumPy: for a clip of another length nothing is compiled anew.
    groups = [np.asarray(getattr(params, name), np.float64) for name in ("global_orient", *pose_shapes(body.family))]
    pose = np.concatenate([group.reshape(len(group), -1, 3) for group in groups], axis=1)
    wxyz = pose_quaternions(pose)
    wxyz[:, 0] = product_of_quaternions(_Y_UP_QUATERNION, wxyz[:, 0])
    return continuous_quaternions(np.roll(wxyz, -1, axis=-1))
