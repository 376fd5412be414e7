"""The vector of a fit, and the exact Jacobian of the keypoints against forward-mode differentiation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.body import landmarks
from hardmo_jax.fitting import stages, variables
from hardmo_jax.skeleton import layouts
from tests.fitting import synthetic_people
from tests.reference import smpl_files

#: Float64: both sides are exact, so only rounding is left.
TOLERANCE_64 = 1e-10
LAYOUT = "openpose67"


def make_body(kind: str, folder) -> hm.BodyModel:
    """Float64 bodies; `file_*` have pose blend shapes and 300 vertices, some of them named as landmarks."""
    if kind in ("smpl", "smplh"):
        return hm.open_body(view=kind, dtype=np.float64)
    family = kind.removeprefix("file_")
    columns = 20 if family == "smplx" else 10  # SMPL-X: ten of expression
    model = smpl_files.make_model(family, num_vertices=300, num_betas=columns, seed=4)
    path = smpl_files.write_npz(folder / "m.npz", model)
    named = tuple((name, 7 * place + 3) for place, name in enumerate(layouts.LANDMARKS))
    return dataclasses.replace(hm.load_body(path, dtype=np.float64), landmarks=named).without_expression()


def random_state(body, rng, scale):
    layout = variables.Layout.of(body)
    vector = rng.normal(size=layout.size) * scale
    orient = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return jnp.asarray(vector), jnp.asarray(orient * np.sign(np.linalg.det(orient)))


@pytest.fixture(scope="module", params=["smplh", "smpl", "file_smpl", "file_smplh", "file_smplx"])
def compared(request, tmp_path_factory):
    """Keypoints, Jacobian, Jacobian by forward mode, and keypoints of the posed body, at three poses."""
    rng = np.random.default_rng(11)
    with jax.enable_x64(True):
        body = make_body(request.param, tmp_path_factory.mktemp("models"))
        assert (body.pose_basis_planar is not None) == request.param.startswith("file")
        model = synthetic_people.point_model(body, LAYOUT)
        layout = variables.Layout.of(body)

        @jax.jit
        def evaluate(orient, vector):
            points, jacobian = variables.keypoints_and_jacobian(model, orient, vector)
            alone = variables.keypoints(model, orient, vector)
            forward = jax.jacfwd(variables.keypoints, argnums=2)(model, orient, vector)
            params = layout.to_params(vector, orient)
            return points, alone, jacobian, forward, model(params)

        vector, orient = random_state(body, rng, 0.5)
        at_zero = vector.at[3:6].set(0).at[layout.pose_start :].set(0)
        bent = jnp.where(jnp.arange(layout.size) == layout.pose_start + 4, 3.1, at_zero)
        cases = {"random": vector, "zero": at_zero, "one bent joint": bent}
        return {name: jax.tree.map(np.asarray, evaluate(orient, case)) for name, case in cases.items()}


@pytest.mark.parametrize("pose", ["random", "zero", "one bent joint"])
def test_jacobian_equals_forward_mode(compared, pose):
    _, _, jacobian, forward, _ = compared[pose]
    assert np.isfinite(jacobian).all()
    np.testing.assert_allclose(jacobian, forward, atol=TOLERANCE_64, rtol=0)


@pytest.mark.parametrize("pose", ["random", "zero", "one bent joint"])
def test_keypoints_are_the_regressed_points_of_the_posed_body(compared, pose):
    points, alone, _, _, regressed = compared[pose]
    np.testing.assert_array_equal(points, alone)
    np.testing.assert_allclose(points, regressed, atol=TOLERANCE_64, rtol=0)


def test_every_group_moves_some_keypoint(compared):
    *_, jacobian, _, _ = compared["random"]
    is_moving = np.abs(jacobian).max((0, 1)) > 1e-6
    # Tips of the toes and of the head chain carry points; only joints at the very end may move nothing.
    assert is_moving[:16].all()
    assert is_moving[16:].mean() > 0.9


@pytest.mark.parametrize("view", ["smpl", "smplh"])
def test_vector_to_params_and_back_is_the_same_body(view, rng):
    with jax.enable_x64(True):
        body = hm.open_body(view=view, dtype=np.float64)
        layout = variables.Layout.of(body)
        vector, orient = random_state(body, rng, 0.4)
        params = layout.to_params(vector, orient)
        again, turned = layout.from_params(params)
        same = layout.to_params(again, turned)
    for ours, theirs in zip(jax.tree.leaves(same), jax.tree.leaves(params), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=TOLERANCE_64)
    assert (params.left_hand_pose is None) == (view == "smpl")


@pytest.mark.parametrize(("view", "size"), [("smpl", 6 + 10 + 69), ("smplh", 6 + 10 + 153)])
def test_groups_cover_the_vector_without_overlap(view, size):
    layout = variables.Layout.of(hm.open_body(view=view))
    masks = [layout.group_mask((group,)) for group in stages.GROUPS]
    assert layout.size == size
    np.testing.assert_array_equal(np.sum(masks, 0), np.ones(size))
    np.testing.assert_array_equal(layout.group_mask(stages.GROUPS), np.ones(size, bool))
    assert masks[stages.GROUPS.index("hand_pose")].sum() == (0 if view == "smpl" else 90)


@pytest.mark.parametrize("family", ["smpl", "smplx"])
def test_layouts_of_many_vertices_are_right_when_compiled(family, rng, tmp_path):
    # Regression: XLA 0.10 for the CPU miscompiled the points from 32,768 products of points, joints and axes on.
    stored = smpl_files.make_model(family, num_vertices=700, num_betas=20 if family == "smplx" else 10, seed=4)
    body = hm.load_body(smpl_files.write_npz(tmp_path / "m.npz", stored)).without_expression()
    matrix = np.zeros((19, body.num_vertices))
    for row in matrix:
        row[rng.choice(body.num_vertices, 40, replace=False)] = 1 / 40
    body = body.with_regressor([f"point{index}" for index in range(19)], matrix)
    wanted = layouts.KeypointLayout(
        name="many", points=(*body.joint_names, *(f"point{index}" for index in range(19))), body_point_names=()
    )
    model, is_supported = landmarks.point_model(body, wanted)
    assert is_supported[body.num_joints :].all()
    assert 3 * model.regressor.shape[1] * body.num_joints > 32768
    vector, orient = random_state(body, rng, 0.3)
    vector, orient = vector.astype(jnp.float32), orient.astype(jnp.float32)
    layout = variables.Layout.of(body)

    @jax.jit
    def evaluate(vector):
        points, jacobian = variables.keypoints_and_jacobian(model, orient, vector)
        return points, jacobian, variables.keypoints(model, orient, vector)

    points, jacobian, alone = evaluate(vector)
    expected = model(layout.to_params(vector, orient))
    np.testing.assert_allclose(points, expected, atol=1e-5)
    np.testing.assert_allclose(alone, expected, atol=1e-5)
    direction = jnp.asarray(rng.normal(size=vector.size), jnp.float32)
    # The derivative of the posed body, which shares no line with the written-out Jacobian.
    _, along = jax.jvp(lambda v: model(layout.to_params(v, orient)), (vector,), (direction,))
    np.testing.assert_allclose(jacobian @ direction, along, atol=2e-4 * float(jnp.abs(along).max()))
