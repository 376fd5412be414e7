"""Parity with smplx 0.1.28 on synthetic files of the public layout, every stage it exposes."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.body import kinematics, skinning
from hardmo_jax.geometry import rotations
from tests.reference import smpl_files

smplx = pytest.importorskip("smplx", reason="comparison needs the `bench` extra")
torch = pytest.importorskip("torch", reason="comparison needs the `bench` extra")

#: The issue's bound: one micrometre in float32.
TOLERANCE_32 = 1e-6


def _models(family, folder):
    model = smpl_files.make_model(family, num_vertices=6890, num_betas=10, seed=1)
    ours = smpl_files.write_npz(folder / f"{family}.npz", model)
    # smplx unpickles plain dictionaries; this file is ours, so plain pickle is safe here.
    theirs = folder / f"{family}.pkl"
    dense = {key: np.asarray(value) for key, value in model.items()}
    if family == "smplh":
        dense |= {f"hands_mean{s}": np.zeros(45) for s in "lr"} | {f"hands_components{s}": np.eye(45) for s in "lr"}
    theirs.write_bytes(pickle.dumps(dense))
    if family == "smpl":
        reference = smplx.SMPL(str(theirs), batch_size=2)
    else:
        reference = smplx.SMPLH(str(theirs), batch_size=2, use_pca=False, flat_hand_mean=True, ext="pkl")
    return hm.load_body(ours), reference


@pytest.mark.parametrize("family", ["smpl", "smplh"])
def test_every_stage_equals_smplx(family, tmp_path, rng, figure):
    body, reference = _models(family, tmp_path)
    params = jax.tree.map(
        lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * 0.4, jnp.float32),
        hm.BodyParams.rest(body, batch=(2,)),
    )
    named = {
        name: torch.tensor(np.asarray(value).reshape(2, -1))
        for name in ("betas", "global_orient", "body_pose", "transl", "left_hand_pose", "right_hand_pose")
        if (value := getattr(params, name)) is not None
    }
    with torch.no_grad():
        theirs = reference(**named, return_full_pose=True)
        lbs = smplx.lbs
        shaped = reference.v_template + lbs.blend_shapes(named["betas"], reference.shapedirs)
        rest_joints = lbs.vertices2joints(reference.J_regressor, shaped)
        matrices = lbs.batch_rodrigues(torch.tensor(np.asarray(params.full_pose()).reshape(-1, 3)))
        matrices = matrices.reshape(2, -1, 3, 3)
        features = (matrices[:, 1:] - torch.eye(3)).reshape(2, -1)
        offsets = torch.matmul(features, reference.posedirs).reshape(2, -1, 3)
        posed_joints, _ = lbs.batch_rigid_transform(matrices, rest_joints, reference.parents)
    output = jax.jit(lambda model, p: model(p))(body, params)
    local = rotations.axis_angle_to_matrix(params.full_pose())
    ours_rest = skinning.shape_joints(body.joint_template, body.joint_shape_basis, params.betas)
    ours_offsets = skinning.pose_offsets(body.pose_basis_planar, skinning.pose_features(local))
    stages = {
        "shaped vertices": (
            jnp.swapaxes(skinning.shape_vertices(body.template_planar, body.shape_basis_planar, params.betas), -1, -2),
            shaped,
        ),
        "rest joints": (ours_rest, rest_joints),
        "rotations": (local, matrices),
        "pose offsets": (jnp.swapaxes(ours_offsets, -1, -2), offsets),
        "posed joints": (kinematics.joint_transforms(body.parents, local, ours_rest)[1], posed_joints),
        "joints": (output.joints, theirs.joints[:, : body.num_joints]),
        "vertices": (output.vertices, theirs.vertices),
    }
    for name, (ours, other) in stages.items():
        error = np.abs(np.asarray(ours) - other.numpy()).max()
        figure(f"smplx float32   {family:6s} {name:18s} worst error {error:.1e} m (tolerance {TOLERANCE_32:.0e})")
        assert error < TOLERANCE_32, name


def test_landmarks_of_the_smpl_topology_are_those_of_smplx(tmp_path):
    body, _ = _models("smpl", tmp_path)
    names = {"left_big_toe": "LBigToe", "right_heel": "RHeel", "nose": "nose", "left_thumb_tip": "lthumb"}
    theirs = smplx.vertex_ids.vertex_ids["smplh"]
    for ours, other in names.items():
        assert dict(body.landmarks)[ours] == theirs[other]
