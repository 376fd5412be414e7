"""Body parameters from model to model: what the source shows comes back, each frame by itself."""

import dataclasses
import functools
import pickle

import jax
import numpy as np
import pytest
import scipy.sparse
from scipy.spatial.transform import Rotation

import hardmo_jax as hm
from hardmo_jax import safe_pickle
from hardmo_jax.body import placement, published
from hardmo_jax.body.load import model_from_arrays
from hardmo_jax.data.sources.read_motion import read_motion
from hardmo_jax.fitting.result import FitStatus
from hardmo_jax.recovery import body_correspondence, body_pair
from hardmo_jax.recovery.body_correspondence import VertexMapError, correspondence_of, load_vertex_map
from hardmo_jax.recovery.convert import ConvertError, ConvertOptions, convert_params
from hardmo_jax.recovery.retarget import retarget
from hardmo_jax.skeleton import layouts
from tests.reference import smpl_files

NUM_VERTICES = 400
TOES = [layouts.SMPL_JOINTS.index(f"{side}_foot") - 1 for side in layouts.SIDES]


@pytest.fixture(scope="module", autouse=True)
def _few_frames():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(body_pair, "_FRAMES_AT_ONCE", 6)
        patch.setattr(body_correspondence, "_POINTS_A_JOINT", 6)
        yield


# Bodies of the published layouts that show the same surface.


def model_of(family, arrays):
    assert arrays["weights"].shape[1] == smpl_files.NUM_JOINTS[family]
    read = published.from_published(arrays, memoryview(b""), source=f"{family}.npz", gender="neutral", side=None)
    return model_from_arrays(read if np.any(arrays["posedirs"]) else dataclasses.replace(read, pose_basis=None))


@functools.cache
def smplx_arrays():
    """SMPL-X without blend shapes of jaw and eyes, which no other body has."""
    arrays = smpl_files.make_model("smplx", num_vertices=NUM_VERTICES, num_betas=20, seed=3)
    arrays["posedirs"] = 0.2 * arrays["posedirs"]
    arrays["posedirs"][..., 9 * 21 : 9 * 24] = 0
    return arrays


@functools.cache
def vertex_order():
    """Which vertex of SMPL-X each vertex of the other mesh is: all of them, in another order, some of them twice."""
    rng = np.random.default_rng(5)
    return np.concatenate([rng.permutation(NUM_VERTICES), rng.integers(0, NUM_VERTICES, 20)])


@functools.cache
def bodies():
    """SMPL-X, and the same body as SMPL-H: another mesh, another origin, other shape coefficients."""
    arrays, order = smplx_arrays(), vertex_order()
    joints = [joint for joint in range(55) if joint not in (22, 23, 24)]
    columns = np.concatenate([9 * (joint - 1) + np.arange(9) for joint in joints[1:]])
    weights = arrays["weights"].copy()
    weights[:, 15] += weights[:, 22:25].sum(1)
    regressor = np.zeros((52, len(order)))
    regressor[:, :NUM_VERTICES] = arrays["J_regressor"][joints][:, order[:NUM_VERTICES]]
    points, faces = smpl_files.closed_mesh(len(order))
    assert len(points) == len(order)
    smplh = {
        "v_template": arrays["v_template"][order] + (0.1, -0.2, 0.05),
        "shapedirs": arrays["shapedirs"][order][..., :10] @ shape_mix(),
        "posedirs": arrays["posedirs"][order][..., columns],
        "J_regressor": regressor,
        "weights": weights[order][:, joints],
        "f": faces.astype(np.uint32),
        "kintree_table": np.stack([smpl_files.PARENTS["smplh"], np.arange(52)]),
    }
    return model_of("smplx", arrays), model_of("smplh", smplh)


@functools.cache
def shape_mix():
    """Columns: coefficients of SMPL-X for one unit of each of the other body's."""
    return np.linalg.qr(np.random.default_rng(6).normal(size=(10, 10)))[0]


def to_smplh():
    """The vertices of SMPL-H by those of SMPL-X."""
    order = vertex_order()
    return scipy.sparse.csr_array(
        (np.ones(len(order)), (np.arange(len(order)), order)), shape=(len(order), NUM_VERTICES)
    )


def to_smplx():
    inverse = np.argsort(vertex_order()[:NUM_VERTICES])
    return scipy.sparse.csr_array(
        (np.ones(NUM_VERTICES), (np.arange(NUM_VERTICES), inverse)), shape=(NUM_VERTICES, len(vertex_order()))
    )


def some_params(body, num, seed=0, spread=0.4):
    """One person in motion; jaw, eyes and expression at rest."""
    rng = np.random.default_rng(seed)
    pose = rng.normal(0, spread, (num, body.num_joints, 3))
    pose[:, 0] = rng.normal(0, 1.0, (num, 3))
    if body.family == "smplx":
        pose[:, 22:25] = 0
    return hm.BodyParams.from_full_pose(
        body,
        pose.astype(np.float32),
        betas=np.tile(rng.normal(size=body.num_betas), (num, 1)).astype(np.float32),
        transl=rng.normal(0, 2, (num, 3)).astype(np.float32),
    )


def degrees(first, second):
    """Angles between rotations given as axis-angle."""
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    apart = Rotation.from_rotvec(first.reshape(-1, 3)) * Rotation.from_rotvec(second.reshape(-1, 3)).inv()
    return np.rad2deg(apart.magnitude()).reshape(first.shape[:-1])


def vertices(body, params):
    return np.asarray(body(params).vertices, np.float64)


@functools.cache
def views():
    return hm.open_body(view="smplh"), hm.open_body(view="smpl")


@functools.cache
def there_and_back():
    """The open body with curled fingers as SMPL, and as SMPL-H again."""
    smplh, smpl = views()
    params = some_params(smplh, 6)
    there = convert_params(smplh, smpl, params)
    return params, there, convert_params(smpl, smplh, there.params)


# (a) One mesh seen as two models.


def test_the_same_body_gives_the_same_parameters():
    body, params = views()[0], some_params(views()[0], 6)
    made = convert_params(body, body, params)
    assert made.matched_by == "mesh"
    assert np.all(made.status == FitStatus.CONVERGED)
    assert np.all(made.mean_error < 1e-5)
    for field in dataclasses.fields(params):
        wanted, found = getattr(params, field.name), getattr(made.params, field.name)
        assert (wanted is None) == (found is None)
        if wanted is not None:
            np.testing.assert_allclose(found, wanted, atol=1e-3, err_msg=field.name)


def test_rotations_beyond_half_a_turn_stay_what_they_were():
    body, params = views()[0], some_params(views()[0], 3)
    params = dataclasses.replace(params, global_orient=np.array([[0, 3.3, 0], [0, 7.0, 0], [0, -4, 0]], np.float32))
    made = convert_params(body, body, params)
    np.testing.assert_allclose(made.params.global_orient, params.global_orient, atol=1e-3)


def test_smpl_and_back_keeps_the_body_within_a_millimetre(figure):
    params, there, back = there_and_back()
    smplh, _ = views()
    for made in (there, back):
        assert made.matched_by == "mesh"
        assert np.all(made.body_error < 1e-3)
        assert np.all(made.status < FitStatus.DIVERGED)
    is_body = ~correspondence_of(smplh, smplh).is_hand
    apart = np.linalg.norm(vertices(smplh, back.params) - vertices(smplh, params), axis=-1)[:, is_body].mean(1)
    figure(f"convert: SMPL-H to SMPL and back, body vertices {1e3 * apart.max():.3f} mm")
    assert np.all(apart < 1e-3)
    np.testing.assert_allclose(back.params.betas, params.betas, atol=0.01)


def test_toes_are_kept_from_smplh_to_smpl_and_back():
    params, there, back = there_and_back()
    for made in (there, back):
        assert degrees(np.asarray(made.params.body_pose)[:, TOES], np.asarray(params.body_pose)[:, TOES]).max() < 1


def test_curled_fingers_become_a_turn_of_the_hand_that_is_better_than_none():
    params, there, _ = there_and_back()
    smplh, smpl = views()
    still = np.asarray(there.params.body_pose).copy()
    still[:, -2:] = 0
    is_hand = correspondence_of(smplh, smpl).is_hand
    wanted = vertices(smplh, params)[:, is_hand]

    def error(body_pose):
        posed = vertices(smpl, dataclasses.replace(there.params, body_pose=body_pose))[:, is_hand]
        return np.sqrt(np.mean((posed - wanted) ** 2))

    assert error(there.params.body_pose) < 0.95 * error(still)


def test_flat_hands_stay_flat():
    smplh, smpl = views()
    params = dataclasses.replace(some_params(smplh, 2), left_hand_pose=np.zeros((2, 15, 3), np.float32))
    params = dataclasses.replace(params, right_hand_pose=np.zeros((2, 15, 3), np.float32))
    there = convert_params(smplh, smpl, params)
    assert np.abs(there.params.body_pose[:, -2:]).max() < 0.02
    assert there.mean_error.max() < 1e-4
    back = convert_params(smpl, smplh, there.params)
    assert max(np.abs(back.params.left_hand_pose).max(), np.abs(back.params.right_hand_pose).max()) < 0.03


# (b) Two meshes with a matrix between them.


@functools.cache
def smplh_to_smplx():
    """Parameters of SMPL-X, the same body as SMPL-H, and what conversion makes of it."""
    smplx, smplh = bodies()
    truth = some_params(smplx, 6, seed=1)
    pose = np.delete(np.asarray(truth.full_pose()), (22, 23, 24), axis=1)
    betas = np.asarray(truth.betas) @ shape_mix()
    source = hm.BodyParams.from_full_pose(smplh, pose, betas=betas, transl=np.asarray(truth.transl) - (0.1, -0.2, 0.05))
    source = jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), source)
    return truth, source, convert_params(smplh, smplx, source, vertex_map=to_smplx())


def test_smplx_is_recovered_from_smplh_by_a_vertex_map(figure):
    truth, source, made = smplh_to_smplx()
    smplx, smplh = bodies()
    np.testing.assert_allclose(vertices(smplh, source), vertices(smplx, truth)[:, vertex_order()], atol=1e-4)
    figure(f"convert: SMPL-H to SMPL-X by a map, {1e3 * made.mean_error.max():.3f} mm")
    assert made.matched_by == "map"
    assert np.all(made.status == FitStatus.CONVERGED)
    apart = np.linalg.norm(vertices(smplx, made.params) - vertices(smplx, truth), axis=-1).mean(1)
    np.testing.assert_allclose(apart, made.mean_error, atol=1e-5)
    assert apart.max() < 5e-4
    np.testing.assert_allclose(made.params.betas, truth.betas, atol=0.05)
    assert degrees(made.params.full_pose(), truth.full_pose()).max() < 1
    assert degrees(made.params.body_pose, truth.body_pose)[:, TOES].max() < 0.5
    assert max(np.abs(made.params.jaw_pose).max(), np.abs(made.params.expression).max()) < 1e-6


def test_a_clip_has_one_shape_and_each_frame_an_error():
    _, _, made = smplh_to_smplx()
    assert np.ptp(np.asarray(made.params.betas), axis=0).max() == 0
    assert made.mean_error.shape == made.body_error.shape == made.status.shape == (6,)


def test_columns_of_normals_are_left_out():
    smplx, smplh = bodies()
    _, source, made = smplh_to_smplx()
    wide = scipy.sparse.hstack([to_smplx(), scipy.sparse.csr_array(np.ones(to_smplx().shape))])
    again = convert_params(smplh, smplx, source, vertex_map=wide)
    np.testing.assert_array_equal(again.params.body_pose, made.params.body_pose)


def test_rest_poses_that_differ_are_corrected():
    """A body of stiff parts whose arms hang at rest, made of one whose arms are spread."""
    arrays = smpl_files.make_model("smpl", num_vertices=NUM_VERTICES, seed=2)
    arrays["posedirs"] *= 0
    arrays["shapedirs"] *= 0
    arrays["weights"] = np.eye(24)[np.arange(NUM_VERTICES) % 24]
    regressor = np.zeros((24, NUM_VERTICES))
    for joint in range(24):
        regressor[joint, joint::24] = 1 / len(range(joint, NUM_VERTICES, 24))
    arrays["J_regressor"] = regressor
    spread = model_of("smpl", arrays)
    hanging = np.zeros((24, 3), np.float32)
    hanging[16], hanging[17] = (0, 0, -0.7), (0, 0, 0.7)
    posed = spread(hm.BodyParams.from_full_pose(spread, hanging))
    hung = model_of("smpl", {**arrays, "v_template": np.asarray(posed.vertices, np.float64)})
    params = some_params(spread, 4)
    made = convert_params(spread, hung, params, vertex_map=np.eye(NUM_VERTICES))
    assert made.mean_error.max() < 2e-3
    shoulder = np.asarray(made.params.body_pose)[:, 15]
    wanted = (Rotation.from_rotvec(np.asarray(params.body_pose)[:, 15]) * Rotation.from_rotvec((0, 0, 0.7))).as_rotvec()
    assert degrees(shoulder, wanted).max() < 2


# (c) Nothing depends on where a body is, or on who is beside it.


def test_moving_the_world_moves_the_result():
    smplx, smplh = bodies()
    _, source, made = smplh_to_smplx()
    turn = Rotation.from_rotvec((0.4, 2.0, -1.0)).as_matrix().astype(np.float32)
    shift = np.array([30.0, -7.0, 2.0], np.float32)
    moved = convert_params(smplh, smplx, placement.moved(smplh, source, turn, shift), vertex_map=to_smplx())
    wanted = vertices(smplx, made.params) @ turn.T.astype(np.float64) + shift
    np.testing.assert_allclose(vertices(smplx, moved.params), wanted, atol=5e-4)
    assert degrees(moved.params.body_pose, made.params.body_pose).max() < 0.2


def test_frames_do_not_depend_on_each_other():
    smplx, smplh = bodies()
    _, source, made = smplh_to_smplx()
    alone = convert_params(smplh, smplx, jax.tree.map(lambda leaf: leaf[4:5], source), vertex_map=to_smplx())
    np.testing.assert_allclose(alone.params.body_pose[0], made.params.body_pose[4], atol=1e-4)
    np.testing.assert_allclose(alone.mean_error[0], made.mean_error[4], atol=1e-6)


def test_any_batch_axes():
    smplx, smplh = bodies()
    _, source, made = smplh_to_smplx()
    grid = jax.tree.map(lambda leaf: leaf.reshape(2, 3, *leaf.shape[1:]), source)
    folded = convert_params(smplh, smplx, grid, vertex_map=to_smplx())
    assert folded.status.shape == (2, 3)
    np.testing.assert_allclose(folded.params.body_pose[1, 2], made.params.body_pose[5], atol=1e-5)
    single = convert_params(smplh, smplx, jax.tree.map(lambda leaf: leaf[0], source), vertex_map=to_smplx())
    assert single.params.batch_shape == single.mean_error.shape == ()
    nobody = convert_params(smplh, smplx, jax.tree.map(lambda leaf: leaf[:0], source), vertex_map=to_smplx())
    assert nobody.params.batch_shape == nobody.mean_error.shape == (0,)


def test_people_of_different_shapes_are_asked_for_by_name():
    smplh, smpl = views()
    params = some_params(smplh, 3)
    params = dataclasses.replace(params, betas=np.random.default_rng(1).normal(size=(3, 10)).astype(np.float32))
    with pytest.raises(ConvertError, match="frame"):
        convert_params(smplh, smpl, params)
    made = convert_params(smplh, smpl, params, options=ConvertOptions(shape="frame"))
    np.testing.assert_allclose(made.params.betas, params.betas, atol=0.02)
    mean = convert_params(smplh, smpl, params, options=ConvertOptions(shape="average"))
    np.testing.assert_allclose(mean.params.betas, np.tile(params.betas.mean(0), (3, 1)), atol=0.02)


# (d) Landmarks where there is nothing else.


def test_landmarks_of_the_same_name_stand_in_for_a_map(figure):
    """The open body, said to have another mesh."""
    params, _, _ = there_and_back()
    smplh, smpl = views()
    smpl = dataclasses.replace(smpl, faces=smpl.faces[:0])
    made = convert_params(smplh, smpl, params)
    assert made.matched_by == "landmarks"
    is_body = ~correspondence_of(*views()).is_hand
    apart = np.linalg.norm(vertices(smpl, made.params) - vertices(smplh, params), axis=-1)[:, is_body].mean(1)
    figure(f"convert: SMPL-H to SMPL by landmarks, body vertices {1e3 * apart.max():.1f} mm")
    assert made.body_error.max() < 5e-3
    assert apart.max() < 5e-3
    assert degrees(np.asarray(made.params.body_pose)[:, TOES], np.asarray(params.body_pose)[:, TOES]).max() < 1


# (e) What is not right.


@pytest.mark.parametrize("field", ["body_pose", "transl", "betas"])
def test_frames_that_are_not_finite_say_so_and_touch_no_other(field):
    smplx, smplh = bodies()
    _, source, made = smplh_to_smplx()
    broken = np.array(getattr(source, field))
    broken[2].flat[1] = np.nan
    broken[3].flat[0] = np.inf
    found = convert_params(smplh, smplx, dataclasses.replace(source, **{field: broken}), vertex_map=to_smplx())
    assert [int(row) for row in np.flatnonzero(found.status == FitStatus.NONFINITE)] == [2, 3]
    assert np.all(np.isinf(found.mean_error[2:4]))
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found.params))
    kept = [0, 1, 4, 5]
    np.testing.assert_allclose(found.params.full_pose()[kept, :], made.params.full_pose()[kept, :], atol=1e-4)


def test_numbers_that_overflow_say_so():
    smplx, smplh = bodies()
    _, source, made = smplh_to_smplx()
    pose = np.array(source.body_pose)
    pose[1, 3] = 1e30
    found = convert_params(smplh, smplx, dataclasses.replace(source, body_pose=pose), vertex_map=to_smplx())
    assert found.status[1] in (FitStatus.NONFINITE, FitStatus.DIVERGED)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(found.params))
    np.testing.assert_allclose(found.mean_error[[0, 2]], made.mean_error[[0, 2]], atol=1e-6)


def test_shapes_of_another_model_are_refused():
    smplx, smplh = bodies()
    with pytest.raises(ValueError, match="body_pose"):
        convert_params(smplh, smplx, some_params(views()[1], 2), vertex_map=to_smplx())


def test_hands_alone_are_refused():
    body = dataclasses.replace(views()[0], family="mano_left")
    with pytest.raises(ConvertError, match="hand"):
        convert_params(body, views()[1], some_params(views()[0], 1))


def test_matrices_of_other_meshes_are_refused():
    smplx, smplh = bodies()
    _, source, _ = smplh_to_smplx()
    with pytest.raises(VertexMapError, match="other direction"):
        convert_params(smplh, smplx, source, vertex_map=to_smplh())
    with pytest.raises(VertexMapError, match="sum to one"):
        convert_params(smplh, smplx, source, vertex_map=2 * to_smplx())
    with pytest.raises(VertexMapError, match="finite"):
        convert_params(smplh, smplx, source, vertex_map=to_smplx() * np.nan)


@pytest.mark.parametrize("option", [{"rotation_spread_degrees": -1.0}, {"max_steps": 0}, {"most_error": float("nan")}])
def test_options_are_checked(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        ConvertOptions(**option)


# (f) Files.


def test_published_layouts_of_the_matrix_are_read(tmp_path):
    matrix = scipy.sparse.random_array((30, 44), density=0.1, rng=np.random.default_rng(0), format="csr")
    wanted = matrix.toarray()
    for layout in ("csc", "csr", "coo"):
        path = tmp_path / f"smpl2smplx_deftrafo_setup_{layout}.pkl"
        path.write_bytes(
            smpl_files.Python2Pickle(2).dump({"mtx": smpl_files.Sparse(wanted, layout, f"scipy.sparse.{layout}")})
        )
        np.testing.assert_allclose(load_vertex_map(path).toarray(), wanted)
        path.write_bytes(pickle.dumps({"mtx": matrix.asformat(layout)}))
        np.testing.assert_allclose(load_vertex_map(path).toarray(), wanted)
        scipy.sparse.save_npz(tmp_path / "saved.npz", matrix.asformat(layout))
        np.testing.assert_allclose(load_vertex_map(tmp_path / "saved.npz").toarray(), wanted)
    np.savez(tmp_path / "dense.npz", mtx=wanted)
    np.testing.assert_allclose(load_vertex_map(tmp_path / "dense.npz").toarray(), wanted)


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "map.pkl"
    with pytest.raises(FileNotFoundError, match="model_transfer"):
        load_vertex_map(path)
    path.write_bytes(pickle.dumps({"matrix": np.eye(3)}))
    with pytest.raises(VertexMapError, match="mtx"):
        load_vertex_map(path)
    path.write_bytes(b"no pickle at all")
    with pytest.raises(VertexMapError):
        load_vertex_map(path)
    path.write_bytes(pickle.dumps(print))
    with pytest.raises(safe_pickle.UnsafePickleError):
        load_vertex_map(path)
    np.savez(tmp_path / "map.npz", other=np.eye(3))
    with pytest.raises(VertexMapError, match="mtx"):
        load_vertex_map(tmp_path / "map.npz")


# (g) Motion capture.


def test_captured_motion_is_converted(reference_data):
    clip = read_motion(reference_data / "mocap" / "cmu_bvh_30fps" / "salsa" / "01.bvh").frames(range(0, 60, 12))
    smplh, smpl = views()
    params = retarget(clip, smpl).params
    made = convert_params(smpl, smplh, params)
    assert np.all(made.status == FitStatus.CONVERGED)
    assert made.mean_error.max() < 1e-3
    assert degrees(np.asarray(made.params.body_pose)[:, TOES], np.asarray(params.body_pose)[:, TOES]).max() < 1
