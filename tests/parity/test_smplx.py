"""Parity with smplx 0.1.28 on synthetic files of the public layout: every family, every stage it exposes."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.body import hands, kinematics, landmarks, skinning
from hardmo_jax.geometry import rotations
from tests.reference import smpl_files

smplx = pytest.importorskip("smplx", reason="comparison needs the `bench` extra")
torch = pytest.importorskip("torch", reason="comparison needs the `bench` extra")

#: The issue's bound: one micrometre in float32.
TOLERANCE_32 = 1e-6
BATCH = 2
#: Columns of the shape basis by number of shape coefficients: SMPL-X files hold expression behind them.
COLUMNS = {"smplx": {10: 20, 300: 400}}
FIELDS = (
    "betas", "expression", "global_orient", "body_pose", "transl", "jaw_pose", "leye_pose", "reye_pose",
    "left_hand_pose", "right_hand_pose",
)  # fmt: skip


def _write(family, num_betas, folder):
    columns = COLUMNS.get(family, {}).get(num_betas, num_betas)
    model = smpl_files.make_model(family, num_vertices=smpl_files.FULL_SIZES[family], num_betas=columns, seed=1)
    file = folder / {"mano_left": "MANO_LEFT.pkl", "mano_right": "MANO_RIGHT.pkl"}.get(family, f"{family.upper()}.pkl")
    # smplx unpickles plain dictionaries; this file is ours, so plain pickle is safe here.
    file.write_bytes(pickle.dumps(model))
    return file


def _reference(family, file, num_betas, **hand_options):
    options = {"batch_size": BATCH, "num_betas": num_betas, "ext": "pkl"}
    if family != "smpl":
        options |= {"use_pca": False, "flat_hand_mean": True, **hand_options}
    if family == "smplx":
        return smplx.SMPLX(str(file), num_expression_coeffs=10, **options)
    if family.startswith("mano"):
        return smplx.MANO(str(file), is_rhand=family == "mano_right", **options)
    if family == "smplh":
        return smplx.SMPLH(str(file), **options)
    del options["ext"]
    return smplx.SMPL(str(file), **options)


def _random_params(body, rng):
    rest = hm.BodyParams.rest(body, batch=(BATCH,))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * 0.4, jnp.float32), rest)


def _named(params, family):
    """Our parameters as the keyword arguments of smplx."""
    named = {
        name: torch.tensor(np.asarray(value).reshape(BATCH, -1))
        for name in FIELDS
        if (value := getattr(params, name)) is not None
    }
    if family.startswith("mano"):
        del named["body_pose"]
        named["hand_pose"] = named.pop(f"{family.removeprefix('mano_')}_hand_pose")
    return named


@pytest.mark.parametrize("num_betas", [10, 300])
@pytest.mark.parametrize("family", smpl_files.FAMILIES)
def test_every_stage_equals_smplx(family, num_betas, tmp_path, rng, stage_error):
    file = _write(family, num_betas, tmp_path)
    body, reference = hm.load_body(file, num_betas=num_betas), _reference(family, file, num_betas)
    params = _random_params(body, rng)
    named = _named(params, family)
    with torch.no_grad():
        theirs = reference(**named, return_full_pose=True)
        lbs = smplx.lbs
        coefficients, basis = named["betas"], reference.shapedirs
        if family == "smplx":
            coefficients = torch.cat([coefficients, named["expression"]], 1)
            basis = torch.cat([basis, reference.expr_dirs], -1)
        shaped = reference.v_template + lbs.blend_shapes(coefficients, basis)
        rest_joints = lbs.vertices2joints(reference.J_regressor, shaped)
        matrices = lbs.batch_rodrigues(torch.tensor(np.asarray(params.full_pose()).reshape(-1, 3)))
        matrices = matrices.reshape(BATCH, -1, 3, 3)
        features = (matrices[:, 1:] - torch.eye(3)).reshape(BATCH, -1)
        offsets = torch.matmul(features, reference.posedirs).reshape(BATCH, -1, 3)
        posed_joints, _ = lbs.batch_rigid_transform(matrices, rest_joints, reference.parents)
    coefficients = jnp.asarray(coefficients.numpy())
    output = jax.jit(lambda model, p: model(p))(body, params)
    local = rotations.axis_angle_to_matrix(params.full_pose())
    our_rest = skinning.shape_joints(body.joint_template, body.joint_shape_basis, coefficients)
    our_offsets = skinning.pose_offsets(body.pose_basis_planar, skinning.pose_features(local))
    our_shaped = skinning.shape_vertices(body.template_planar, body.shape_basis_planar, coefficients)
    # MANO of smplx gives its 16 joints alone; of the others, joints are followed by vertices and face points.
    points = output.joints if family.startswith("mano") else landmarks.named_points(body, output)
    stages = {
        "full pose": (params.full_pose().reshape(BATCH, -1), theirs.full_pose),
        "shaped vertices": (jnp.swapaxes(our_shaped, -1, -2), shaped),
        "rest joints": (our_rest, rest_joints),
        "rotations": (local, matrices),
        "pose offsets": (jnp.swapaxes(our_offsets, -1, -2), offsets),
        "posed joints": (kinematics.joint_transforms(body.parents, local, our_rest)[1], posed_joints),
        "joints and points": (points, theirs.joints),
        "vertices": (output.vertices, theirs.vertices),
    }
    for stage, (ours, other) in stages.items():
        stage_error(f"smplx 0.1.28, float32, {num_betas} betas", family, stage, ours, other.numpy(), TOLERANCE_32)


@pytest.mark.parametrize("flat_hand_mean", [False, True])
@pytest.mark.parametrize("family", ["smplh", "smplx", "mano_left", "mano_right"])
def test_hand_components_and_mean_hands_are_those_of_smplx(family, flat_hand_mean, tmp_path, rng, stage_error):
    file = _write(family, 10, tmp_path)
    body = hm.load_body(file)
    with_pca = _reference(family, file, 10, use_pca=True, num_pca_comps=6, flat_hand_mean=flat_hand_mean)
    without = _reference(family, file, 10, use_pca=False, flat_hand_mean=flat_hand_mean)
    sides = {"mano_left": ["left"], "mano_right": ["right"]}.get(family, ["left", "right"])
    names = {side: "hand_pose" if family.startswith("mano") else f"{side}_hand_pose" for side in sides}
    coefficients = {side: jnp.asarray(rng.normal(size=(BATCH, 6)), jnp.float32) for side in sides}
    rotation = {side: jnp.asarray(rng.normal(size=(BATCH, 15, 3)) * 0.3, jnp.float32) for side in sides}
    with torch.no_grad():
        pca = with_pca(**{names[s]: torch.tensor(np.asarray(coefficients[s])) for s in sides}, return_full_pose=True)
        full = without(
            **{names[s]: torch.tensor(np.asarray(rotation[s]).reshape(BATCH, -1)) for s in sides}, return_full_pose=True
        )
    from_pca, from_full = {}, {}
    for side in sides:
        space = body.hand_space(side)
        from_pca[f"{side}_hand_pose"] = hands.pose_from_pca(space, coefficients[side], flat_hand_mean=flat_hand_mean)
        from_full[f"{side}_hand_pose"] = rotation[side] if flat_hand_mean else hands.add_mean(space, rotation[side])
    rest = hm.BodyParams.rest(body, batch=(BATCH,))
    setting = f"flat_hand_mean={flat_hand_mean}"
    for kind, fingers, theirs in (("components", from_pca, pca), ("rotations", from_full, full)):
        params = hm.BodyParams(**{**{name: getattr(rest, name) for name in FIELDS}, **fingers})
        for stage, ours, other in (
            (f"hand {kind}, full pose", params.full_pose().reshape(BATCH, -1), theirs.full_pose),
            (f"hand {kind}, vertices", body(params).vertices, theirs.vertices),
        ):
            stage_error(f"smplx 0.1.28, float32, {setting}", family, stage, ours, other.numpy(), TOLERANCE_32)


@pytest.mark.parametrize("family", ["smpl", "smplh", "smplx"])
def test_landmark_vertices_are_those_of_smplx(family):
    from hardmo_jax.body.families import FAMILIES

    theirs = smplx.vertex_ids.vertex_ids["smplx" if family == "smplx" else "smplh"]
    toes = {"big_toe": "BigToe", "small_toe": "SmallToe", "heel": "Heel"}
    for name, vertex in FAMILIES[family].landmark_vertex_ids:
        side, _, place = name.partition("_")
        short = side[0]
        if name == "nose":
            key = "nose"
        elif place in toes:
            key = short.upper() + toes[place]
        else:
            key = short + place.removesuffix("_tip")
        assert theirs[key] == vertex, name
