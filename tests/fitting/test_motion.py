"""Keypoints of a batch and their derivative in factors, against the posed body and forward-mode differentiation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.body import landmarks
from hardmo_jax.fitting import motion, variables
from hardmo_jax.skeleton import layouts
from tests.fitting import synthetic_people
from tests.reference import smpl_files

#: Float64: both sides are exact, so only rounding is left.
TOLERANCE_64 = 1e-10
LAYOUT = "openpose67"
#: One batch holds them all, in this order.
POSES = ("random", "zero", "one bent joint")
#: `several_bones` is the open body, which has no pose blend shapes, with half of its landmarks on several bones.
BODIES = ("smplh", "smpl", "several_bones", "file_smpl", "file_smplh", "file_smplx")


def make_body(kind: str, folder) -> hm.BodyModel:
    """Float64 bodies; `file_*` have pose blend shapes and 300 vertices, some of them named as landmarks."""
    if kind in ("smpl", "smplh"):
        return hm.open_body(view=kind, dtype=np.float64)
    if kind == "several_bones":
        body = hm.open_body(view="smpl", dtype=np.float64)
        several = np.flatnonzero(np.asarray(body.skinning_weights).max(1) < 1)
        place = np.asarray(body.template_planar).T
        nearest = {
            name: int(several[np.linalg.norm(place[several] - place[vertex], axis=-1).argmin()])
            for name, vertex in body.landmarks[::2]
        }
        named = tuple((name, nearest.get(name, vertex)) for name, vertex in body.landmarks)
        return dataclasses.replace(body, landmarks=named)
    family = kind.removeprefix("file_")
    columns = 20 if family == "smplx" else 10  # SMPL-X: ten of expression
    model = smpl_files.make_model(family, num_vertices=300, num_betas=columns, seed=4)
    path = smpl_files.write_npz(folder / "m.npz", model)
    named = tuple((name, 7 * place + 3) for place, name in enumerate(layouts.LANDMARKS))
    return dataclasses.replace(hm.load_body(path, dtype=np.float64), landmarks=named).without_expression()


def derivative(model: landmarks.PointModel, moved: motion.Motion) -> np.ndarray:
    """(B, K, 3, P) from the factors: what their documentation says, entry by entry, in NumPy."""
    layout, is_rigid, below = variables.Layout.of(model.body), motion.is_rigid(model), motion.below(model)
    rigid, twists, by_betas = (np.asarray(part) for part in (moved.rigid, moved.twists, moved.rigid_by_betas))
    batch = rigid.shape[-1]
    result = np.zeros((batch, len(is_rigid), 3, layout.size))
    place = [slice(0, 3), slice(3, 6)]
    place += [slice(start, start + 3) for start in range(layout.pose_start, layout.size, 3)]
    for row, keypoint in enumerate(np.flatnonzero(is_rigid)):
        for joint, columns in enumerate(place):
            for axis, column in enumerate(range(columns.start, columns.stop)):
                angular, linear = twists[joint, :3, axis], twists[joint, 3:, axis]
                turned = np.cross(angular, rigid[row], axis=0) + linear
                result[:, keypoint, :, column] = (turned * below[joint, row]).T
        result[:, keypoint, :, 6 : layout.pose_start] = np.moveaxis(by_betas[row], -1, 0)
    result[:, ~is_rigid] = np.moveaxis(np.asarray(moved.skinned_by_vector), -1, 0)
    return result


def random_orient(rng) -> np.ndarray:
    orient = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    return orient * np.sign(np.linalg.det(orient))


@dataclasses.dataclass(frozen=True)
class Compared:
    """Batches of the three poses, float64."""

    model: landmarks.PointModel
    points: np.ndarray
    alone: np.ndarray
    """The keypoints without their derivative."""
    regressed: np.ndarray
    """The keypoints of the posed body."""
    jacobian: np.ndarray
    forward: np.ndarray
    joints: np.ndarray
    posed_joints: np.ndarray


@pytest.fixture(scope="module", params=BODIES)
def compared(request, tmp_path_factory):
    rng = np.random.default_rng(11)
    with jax.enable_x64(True):
        body = make_body(request.param, tmp_path_factory.mktemp("models"))
        assert (body.pose_basis_planar is not None) == request.param.startswith("file")
        model = synthetic_people.point_model(body, LAYOUT)
        layout = variables.Layout.of(body)

        @jax.jit
        def evaluate(orient, vector):
            def one(orient, vector):
                return motion.keypoints(model, orient[None], vector[None])[0]

            params = layout.to_params(vector, orient)
            return (
                motion.motion(model, orient, vector),
                motion.keypoints(model, orient, vector),
                model(params),
                jax.vmap(jax.jacfwd(one, argnums=1))(orient, vector),
                motion.joints(body, orient, vector),
                body.joints(params),
            )

        vector = rng.normal(size=layout.size) * 0.5
        at_zero = vector.copy()
        at_zero[3:6], at_zero[layout.pose_start :] = 0, 0
        bent = at_zero.copy()
        bent[layout.pose_start + 4] = 3.1
        cases = {"random": vector, "zero": at_zero, "one bent joint": bent}
        orients = np.stack([random_orient(rng) for _ in POSES])
        moved, alone, regressed, forward, joints, posed_joints = evaluate(
            jnp.asarray(orients), jnp.asarray(np.stack([cases[pose] for pose in POSES]))
        )
        return Compared(
            model=model,
            points=np.moveaxis(np.asarray(moved.points), -1, 0),
            alone=np.asarray(alone),
            regressed=np.asarray(regressed),
            jacobian=derivative(model, moved),
            forward=np.asarray(forward),
            joints=np.asarray(joints),
            posed_joints=np.asarray(posed_joints),
        )


@pytest.mark.parametrize("pose", POSES)
def test_derivative_equals_forward_mode(compared, pose):
    at = POSES.index(pose)
    assert np.isfinite(compared.jacobian[at]).all()
    np.testing.assert_allclose(compared.jacobian[at], compared.forward[at], atol=TOLERANCE_64, rtol=0)


@pytest.mark.parametrize("pose", POSES)
def test_keypoints_are_the_regressed_points_of_the_posed_body(compared, pose):
    at = POSES.index(pose)
    np.testing.assert_allclose(compared.points[at], compared.regressed[at], atol=TOLERANCE_64, rtol=0)
    np.testing.assert_allclose(compared.alone[at], compared.regressed[at], atol=TOLERANCE_64, rtol=0)


def test_joints_are_those_of_the_posed_body(compared):
    np.testing.assert_allclose(compared.joints, compared.posed_joints, atol=TOLERANCE_64, rtol=0)


def test_every_group_moves_some_keypoint(compared):
    is_moving = np.abs(compared.jacobian[POSES.index("random")]).max((0, 1)) > 1e-6
    # Tips of the toes and of the head chain carry points; only joints at the very end may move nothing.
    assert is_moving[:16].all()
    assert is_moving[16:].mean() > 0.9


def test_keypoints_that_the_body_lacks_stay_at_the_origin_and_move_with_nothing(compared):
    is_absent = ~np.any(np.asarray(compared.model.regressor) != 0, axis=1)
    assert is_absent.any() == (compared.model.body.num_joints == 24), "SMPL has no finger joints"
    np.testing.assert_array_equal(compared.points[:, is_absent], 0)
    np.testing.assert_array_equal(compared.jacobian[:, is_absent], 0)


# ---- which keypoints are rigid: the cases above must hold every kind ------------------------------------------


def kinds_of(body) -> dict[str, bool]:
    """Whether each keypoint is rigid, by name."""
    model = synthetic_people.point_model(body, LAYOUT)
    return dict(zip(layouts.get_layout(LAYOUT).points, motion.is_rigid(model).tolist(), strict=True))


@pytest.mark.parametrize("kind", BODIES)
def test_joints_are_rigid_and_averages_of_joints_are_not(kind, tmp_path):
    with jax.enable_x64(True):
        is_rigid = kinds_of(make_body(kind, tmp_path))
    assert is_rigid["left_knee"]
    assert not is_rigid["neck"]
    assert not is_rigid["mid_hip"]


@pytest.mark.parametrize("view", ["smpl", "smplh"])
def test_landmarks_of_the_open_body_are_rigid(view):
    is_rigid = kinds_of(hm.open_body(view=view))
    assert all(is_rigid[name] for name in layouts.LANDMARKS if name in is_rigid)
    assert sum(name in is_rigid for name in layouts.LANDMARKS) > 10


@pytest.mark.parametrize("kind", ["file_smpl", "file_smplh", "file_smplx"])
def test_vertices_that_blend_shapes_of_the_pose_move_are_not_rigid(kind, tmp_path):
    with jax.enable_x64(True):
        is_rigid = kinds_of(make_body(kind, tmp_path))
    assert not any(is_rigid[name] for name in layouts.LANDMARKS if name in is_rigid)


def test_vertices_of_several_bones_are_not_rigid(tmp_path):
    with jax.enable_x64(True):
        body = make_body("several_bones", tmp_path)
        is_rigid = kinds_of(body)
    weights = np.asarray(body.skinning_weights)
    kinds = {name: bool(weights[vertex].max() == 1) for name, vertex in body.landmarks if name in is_rigid}
    assert set(kinds.values()) == {True, False}, "the case must hold both kinds"
    assert {name: is_rigid[name] for name in kinds} == kinds


def test_translation_moves_every_rigid_keypoint_and_a_joint_those_that_hang_on_it():
    model = synthetic_people.point_model(hm.open_body(view="smplh"), LAYOUT)
    points = np.array(layouts.get_layout(LAYOUT).points)[motion.is_rigid(model)]
    moves = motion.below(model)
    names = model.body.joint_names
    assert moves[:2].all(), "the translation and the root"
    of_elbow = set(points[moves[1 + names.index("left_elbow")]])
    assert {"left_elbow", "left_wrist", "left_index_tip", "left_thumb1"} <= of_elbow
    assert not of_elbow & {"left_shoulder", "right_elbow", "nose"}


# ---- many vertices --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["smpl", pytest.param("smplx", marks=pytest.mark.slow)])
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
    layout = variables.Layout.of(body)
    vector = jnp.asarray(rng.normal(size=(2, layout.size)) * 0.3, jnp.float32)
    orient = jnp.asarray(np.stack([random_orient(rng), random_orient(rng)]), jnp.float32)

    @jax.jit
    def evaluate(vector):
        return motion.motion(model, orient, vector), motion.keypoints(model, orient, vector)

    moved, alone = evaluate(vector)
    expected = model(layout.to_params(vector, orient))
    np.testing.assert_allclose(np.moveaxis(np.asarray(moved.points), -1, 0), expected, atol=1e-5)
    np.testing.assert_allclose(alone, expected, atol=1e-5)
    direction = jnp.asarray(rng.normal(size=vector.shape), jnp.float32)
    # The derivative of the posed body, which shares no line with the written-out one.
    _, along = jax.jvp(lambda v: model(layout.to_params(v, orient)), (vector,), (direction,))
    ours = np.einsum("bkip,bp->bki", derivative(model, moved), direction)
    np.testing.assert_allclose(ours, along, atol=2e-4 * float(jnp.abs(along).max()))
