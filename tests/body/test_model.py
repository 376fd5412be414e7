"""The JAX body against the NumPy oracle stage by stage, its derivatives, and its behaviour as a pytree."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.body import io, kinematics, landmarks, load, skinning
from hardmo_jax.geometry import rotations
from hardmo_jax.skeleton import layouts
from tests.reference import smpl_files, smpl_numpy

#: Float64: the bound the issue sets; float32: half a micrometre on a body of two metres.
TOLERANCE_64, TOLERANCE_32 = 1e-12, 1e-6


#: One program for each shape, for all tests; what a body does uncompiled is seen where the oracle is float32.
pose = jax.jit(lambda model, params: model(params))


#: The left hand is the right one with other names.
FAMILIES = [pytest.param(name, marks=pytest.mark.slow) if name == "mano_left" else name for name in smpl_files.FAMILIES]


@pytest.fixture(scope="module", params=FAMILIES)
def model_file(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / f"{request.param}.npz"
    columns = 20 if request.param == "smplx" else 10  # SMPL-X: ten of expression
    model = smpl_files.make_model(request.param, num_vertices=300, num_betas=columns, seed=3)
    return smpl_files.write_npz(path, model)


def in_short(*families):
    """Of these families in every run, of the others, whose programs are made of the same lines, in whole ones."""
    each = [name if name in families else pytest.param(name, marks=pytest.mark.slow) for name in smpl_files.FAMILIES]
    return pytest.mark.parametrize("model_file", each, indirect=True)


def random_params(body, rng, batch=(), scale=0.6):
    rest = hm.BodyParams.rest(body, batch=batch)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * scale, leaf.dtype), rest)


def coefficients(params):
    return jnp.concatenate([part for part in (params.betas, params.expression) if part is not None])


def oracle(arrays, params):
    pose = np.asarray(params.full_pose(), np.float64)
    return smpl_numpy.smpl(
        v_template=arrays.vertices_template,
        shape_basis=arrays.shape_basis,
        pose_basis=arrays.pose_basis,
        joint_regressor=arrays.joint_regressor,
        skinning_weights=arrays.skinning_weights,
        parents=arrays.parents,
        betas=np.concatenate([part for part in (params.betas, params.expression) if part is not None]),
        pose=pose,
        translation=np.asarray(params.transl, np.float64),
    )


def test_every_stage_equals_the_oracle_in_float64(model_file, rng, stage_error):
    arrays = io.load_arrays(model_file)
    with jax.enable_x64(True):
        body = hm.load_body(model_file, dtype=np.float64)
        params = random_params(body, rng)
        expected = oracle(arrays, params)
        found = stages_of(body, params)
    stages = {
        "shaped vertices": expected.shaped_vertices,
        "rest joints": expected.rest_joints,
        "rotations": expected.rotation_matrices,
        "pose offsets": expected.pose_offsets,
        "global rotations": expected.global_transforms[:, :3, :3],
        "posed joints": expected.joints,
        "joints": expected.joints,
        "vertices": expected.vertices,
    }
    for stage, theirs in stages.items():
        stage_error("NumPy oracle, float64", body.family, stage, found[stage], theirs, TOLERANCE_64)


@jax.jit
def stages_of(body, params):
    """One program for all stages."""
    local = rotations.axis_angle_to_matrix(params.full_pose())
    rest_joints = skinning.shape_joints(body.joint_template, body.joint_shape_basis, coefficients(params))
    turned, joints = kinematics.joint_transforms(body.parents, local, rest_joints)
    output = body(params)
    return {
        "shaped vertices": skinning.shape_vertices(
            body.template_planar, body.shape_basis_planar, coefficients(params)
        ).T,
        "rest joints": rest_joints,
        "rotations": local,
        "pose offsets": skinning.pose_offsets(body.pose_basis_planar, skinning.pose_features(local)).T,
        "global rotations": turned,
        "posed joints": joints + params.transl,
        "joints": output.joints,
        "vertices": output.vertices,
    }


def test_float32_stays_within_a_micrometre_of_the_oracle(model_file, rng):
    body = hm.load_body(model_file)
    params = random_params(body, rng)
    expected = oracle(io.load_arrays(model_file), params)
    output = body(params)
    np.testing.assert_allclose(output.vertices, expected.vertices, atol=TOLERANCE_32)
    np.testing.assert_allclose(output.joints, expected.joints, atol=TOLERANCE_32)


@in_short("smplh")
@pytest.mark.parametrize("batch", [(), (1,), (2, 3)])
def test_batch_axes_lead_and_equal_single_calls(model_file, rng, batch):
    assert_batch_is_single_calls(model_file, rng, batch)


def test_one_batch_axis_leads_and_equals_single_calls(model_file, rng):
    assert_batch_is_single_calls(model_file, rng, (3,))


def assert_batch_is_single_calls(model_file, rng, batch):
    body = hm.load_body(model_file)
    params = random_params(body, rng, batch)
    output = pose(body, params)
    assert output.vertices.shape == (*batch, body.num_vertices, 3)
    for index in np.ndindex(batch):
        single = pose(body, jax.tree.map(lambda leaf, at=index: leaf[at], params))
        np.testing.assert_allclose(output.vertices[index], single.vertices, atol=TOLERANCE_32)


@in_short("smplh")
def test_nested_vmap_equals_the_batched_call(model_file, rng):
    body = hm.load_body(model_file)
    params = random_params(body, rng, (2, 3))
    nested = jax.jit(jax.vmap(jax.vmap(lambda p: body.joints(p))))(params)
    np.testing.assert_allclose(nested, pose(body, params).joints, atol=TOLERANCE_32)


@in_short("smplh", "smplx")
def test_subset_gives_the_named_vertices_and_the_same_joints(model_file, rng):
    body = hm.load_body(model_file)
    params = random_params(body, rng, (3,))
    ids = [5, 0, 299, 5]
    output, part = pose(body, params), pose(body.subset(ids), params)
    np.testing.assert_allclose(part.vertices, output.vertices[:, np.array(ids)], atol=TOLERANCE_32)
    np.testing.assert_allclose(part.joints, output.joints, atol=TOLERANCE_32)
    with pytest.raises(IndexError, match="300"):
        body.subset([300])


def test_repeated_calls_trace_once(tmp_path):
    traces = []

    @jax.jit
    def traced(model, params):
        traces.append(1)
        return model(params).vertices

    body = hm.open_body(view="smpl")
    for scale in (0.0, 1.0):
        traced(body, jax.tree.map(lambda leaf, s=scale: leaf + s, hm.BodyParams.rest(body)))
    assert len(traces) == 1


def test_one_shape_serves_many_poses_and_misfits_are_named(rng):
    body = hm.open_body(view="smpl")
    params = random_params(body, rng, (4,), scale=0.3)
    shared = dataclasses.replace(params, betas=params.betas[0])
    same = dataclasses.replace(params, betas=jnp.broadcast_to(params.betas[0], params.betas.shape))
    np.testing.assert_allclose(body(shared).vertices, body(same).vertices, atol=TOLERANCE_32)
    with pytest.raises(ValueError, match="batch axes"):
        body(dataclasses.replace(params, betas=params.betas[:3]))


def test_parameters_of_another_family_are_refused_by_name(tmp_path):
    smpl = hm.open_body(view="smpl")
    params = hm.BodyParams.rest(hm.open_body())
    with pytest.raises(ValueError, match=r"`body_pose` must end in \(23, 3\)"):
        smpl(params)
    with pytest.raises(ValueError, match="`left_hand_pose`"):
        smpl(dataclasses.replace(hm.BodyParams.rest(smpl), left_hand_pose=params.left_hand_pose))


def test_open_body_views_share_the_mesh_when_hands_are_at_rest(rng):
    smplh, smpl = hm.open_body(), hm.open_body(view="smpl")
    params = random_params(smpl, rng, scale=0.3)
    params = dataclasses.replace(params, body_pose=params.body_pose.at[21:].set(0))
    rest = hm.BodyParams.rest(smplh)
    same = dataclasses.replace(
        rest,
        betas=params.betas,
        global_orient=params.global_orient,
        body_pose=params.body_pose[:21],
        transl=params.transl,
    )
    np.testing.assert_allclose(smpl(params).vertices, smplh(same).vertices, atol=1e-5)
    assert smpl.joint_names == layouts.SMPL_JOINTS
    assert smplh.joint_names == layouts.SMPLH_JOINTS


def test_open_body_has_every_keypoint_of_body25_feet_and_hands():
    names = set(landmarks.point_names(hm.open_body()))
    assert set(layouts.LANDMARKS) <= names
    assert set(layouts.SMPLH_JOINTS) <= names


def test_named_points_are_joints_then_landmarks(rng):
    body = hm.open_body(view="smpl")
    params = random_params(body, rng)
    output = body(params)
    points = landmarks.named_points(body, output)
    nose = dict(body.landmarks)["nose"]
    np.testing.assert_allclose(points[: body.num_joints], output.joints)
    np.testing.assert_allclose(points[landmarks.point_names(body).index("nose")], output.vertices[nose])


def test_model_from_arrays_multiplies_the_regressor_out():
    from hardmo_jax.body import open_body as asset

    arrays = asset.load_open_body_arrays("smplh")
    body = load.model_from_arrays(arrays)
    expected = arrays.joint_regressor @ np.asarray(arrays.vertices_template, np.float64)
    np.testing.assert_allclose(body.joint_template, expected, atol=TOLERANCE_32)


@in_short("smplh", "smplx")
def test_fixed_shape_gives_the_same_bodies_and_computes_no_shape(model_file, rng):
    body = hm.load_body(model_file)
    params = random_params(body, rng, (3,))
    shape = jnp.asarray(rng.normal(size=body.num_betas), jnp.float32)
    expected = pose(body, dataclasses.replace(params, betas=shape))
    fixed = jax.jit(lambda model, betas: model.shaped(betas))(body, shape)
    assert fixed.num_betas == 0
    assert fixed.num_expression == body.num_expression
    posed = pose(fixed, params.without_shape())
    np.testing.assert_allclose(posed.vertices, expected.vertices, atol=TOLERANCE_32)
    np.testing.assert_allclose(posed.joints, expected.joints, atol=TOLERANCE_32)
    np.testing.assert_allclose(
        pose(fixed.subset([7, 1]), params.without_shape()).vertices,
        expected.vertices[:, np.array([7, 1])],
        atol=TOLERANCE_32,
    )
    with pytest.raises(ValueError, match=r"`betas` must end in \(0,\)"):
        fixed(params)
    with pytest.raises(ValueError, match=r"jax\.vmap for several shapes"):
        body.shaped(jnp.zeros((2, body.num_betas)))


def test_full_pose_and_its_parts_are_inverses(model_file, rng):
    body = hm.load_body(model_file)
    params = random_params(body, rng, (2, 3))
    again = hm.BodyParams.from_full_pose(
        body, params.full_pose(), betas=params.betas, transl=params.transl, expression=params.expression
    )
    for ours, theirs in zip(jax.tree.leaves(again), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert jax.tree.structure(again) == jax.tree.structure(params)
    with pytest.raises(ValueError, match="full_pose must end in"):
        hm.BodyParams.from_full_pose(body, params.full_pose()[..., :-1, :])


def test_neutral_face_is_the_face_of_zero_expression(tmp_path, rng):
    model = smpl_files.make_model("smplx", num_vertices=120, num_betas=400)
    body = hm.load_body(smpl_files.write_npz(tmp_path / "SMPLX_FEMALE.npz", model), num_betas=16, num_expression=50)
    assert (body.num_betas, body.num_expression, body.gender) == (16, 50, "female")
    params = random_params(body, rng, (2,))
    neutral = body.without_expression()
    quiet = dataclasses.replace(params, expression=params.expression * 0)
    none = dataclasses.replace(params, expression=params.expression[..., :0])
    np.testing.assert_allclose(neutral(none).vertices, body(quiet).vertices, atol=TOLERANCE_32)


def test_no_people_give_no_vertices(model_file):
    body = hm.load_body(model_file)
    nobody = hm.BodyParams.rest(body, batch=(0,))
    assert body(nobody).vertices.shape == (0, body.num_vertices, 3)
    assert body.joints(nobody).shape == (0, body.num_joints, 3)


def test_other_precisions_are_taken_in_that_of_the_body(rng):
    body = hm.open_body(view="smpl")
    params = random_params(body, rng, scale=0.3)
    doubled = dataclasses.replace(params, transl=np.array([1.0, 2.0, 3.0]))
    assert body(doubled).vertices.dtype == jnp.float32
    half = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), params)
    widened = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), half)
    np.testing.assert_allclose(body(half).vertices, body(widened).vertices, atol=TOLERANCE_32)
    assert body(half).vertices.dtype == jnp.float32


@pytest.mark.parametrize("dtype", [int, bool, np.float16, np.float64])
def test_type_that_would_not_be_computed_with_is_refused(dtype):
    with pytest.raises(ValueError, match=r"float32 or float64|jax_enable_x64"):
        hm.open_body(dtype=dtype)


def test_subset_of_a_mask_or_of_fractions_is_refused():
    body = hm.open_body(view="smpl")
    with pytest.raises(IndexError, match="flatnonzero"):
        body.subset([True, False])
    # With the run-time type checks of the tests it is the annotation that refuses.
    with pytest.raises((IndexError, TypeError)):
        body.subset([1.5])


def test_representation_of_a_body_is_one_line():
    assert repr(hm.open_body(view="smpl")) == (
        "BodyModel(open_body: smpl, neutral, 13380 vertices, 24 joints, 10 betas)"
    )


@pytest.mark.parametrize("batch", [(), (3,), (65,), pytest.param((130,), marks=pytest.mark.slow)])
@pytest.mark.parametrize("family", [pytest.param("smplx", marks=pytest.mark.slow), "mano_right"])
def test_every_formulation_of_the_mesh_equals_the_oracle_and_each_other(family, batch, rng, tmp_path, stage_error):
    # More vertices than SMALL_MESH, and more people than CHUNK with a remainder.
    columns = 20 if family == "smplx" else 10
    stored = smpl_files.make_model(family, num_vertices=600, num_betas=columns, seed=3)
    path = smpl_files.write_npz(tmp_path / "MANO_RIGHT.npz", stored)
    body = hm.load_body(path)
    assert body.num_vertices > skinning.SMALL_MESH
    params = random_params(body, rng, batch, scale=0.4)
    chunked = body(params).vertices.reshape(-1, body.num_vertices, 3)
    flat = jax.tree.map(lambda leaf: leaf.reshape(len(chunked), *leaf.shape[len(batch) :]), params)
    expected = oracle(io.load_arrays(path), jax.tree.map(lambda leaf: leaf[-1], flat)).vertices
    stage_error("NumPy oracle, float32, 600 vertices", family, "vertices", chunked[-1], expected, TOLERANCE_32)

    for name, other in formulations(body, flat).items():
        stage_error(f"the other formulations, float32: {name}", family, "vertices", chunked, other, TOLERANCE_32)


@jax.jit
def formulations(body, params):
    """Vertices of people by every formulation, whichever is usual for so many."""
    features, transforms = skinning_inputs(body, params)
    basis = (body.template_planar, body.blend_basis)
    by_body = (features.T, jnp.transpose(transforms, (2, 1, 0)))
    return {
        "small mesh": skinning.pose_small(features, transforms, *basis, body.skinning_planar),
        "dense": skinning.pose_dense(*by_body, *basis, body.skinning_planar),
        "few bones": skinning.pose_few_bones(*by_body, *basis, body.bone_joints, body.bone_weights),
    }


def skinning_inputs(body, params):
    """Features and transforms of `skinning.pose_vertices`, the batch innermost."""
    both = jnp.concatenate([part for part in (params.betas, params.expression) if part is not None], -1)
    local = kinematics.local_rotations(jnp.moveaxis(params.full_pose(), 0, -1))
    rest = body.joint_template[..., None] + jnp.einsum("cjx,bc->jxb", body.joint_shape_basis, both, precision="highest")
    turned, joints = kinematics.chain(body.parents, local, rest)
    offsets = (local[1:] - jnp.eye(3)[..., None]).reshape(-1, len(both))
    transforms = skinning.skinning_transforms(rest, turned, joints + params.transl.T)
    return jnp.concatenate([both.T, offsets]), transforms


@in_short("smplh", "smplx")
def test_bodies_of_matrices_are_those_of_axis_angles(model_file, rng):
    body = hm.load_body(model_file)
    params = random_params(body, rng, batch=(3,))
    still = {"transl": jnp.zeros((3, 3))} | ({} if params.expression is None else {"expression": params.expression * 0})
    params = dataclasses.replace(params, **still)
    wanted = pose(body, params)
    turned = rotations.axis_angle_to_matrix(params.full_pose())
    found = body.of_matrices(turned, params.betas)
    np.testing.assert_allclose(found.vertices, wanted.vertices, atol=TOLERANCE_32)
    np.testing.assert_allclose(found.joints, wanted.joints, atol=TOLERANCE_32)
    with pytest.raises(ValueError, match="takes rotations"):
        body.of_matrices(turned[:, 1:], params.betas)


def test_derivatives_by_matrices_are_finite_at_half_turns():
    body = hm.open_body(view="smpl")
    model, _ = landmarks.point_model(body, layouts.get_layout("openpose25"))
    half = jnp.tile(jnp.diag(jnp.array([1.0, -1, -1])), (2, body.num_joints, 1, 1))
    slope = jax.jit(jax.grad(lambda m: jnp.sum(jnp.square(model.of_matrices(m, jnp.zeros((2, body.num_betas)))))))(half)
    assert np.isfinite(slope).all()
    assert np.abs(slope).max() > 0
