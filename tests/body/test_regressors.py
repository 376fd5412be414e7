"""Regressed points: public files by name, points of the face, supersets assembled by name, and no mesh needed."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.body import landmarks, regressors
from hardmo_jax.body.array_files import BodyFileError
from hardmo_jax.skeleton import layouts
from hardmo_jax.skeleton import regressors as public
from tests.reference import smpl_files

TOLERANCE_32 = 1e-6


def random_matrix(rng, rows, num_vertices, per_row=7):
    matrix = np.zeros((rows, num_vertices))
    for row in matrix:
        share = rng.uniform(0.1, 1, per_row)
        row[rng.choice(num_vertices, per_row, replace=False)] = share / share.sum()
    return matrix


@pytest.fixture(scope="module")
def body(tmp_path_factory):
    model = smpl_files.make_model("smpl", num_vertices=smpl_files.FULL_SIZE)
    return hm.load_body(smpl_files.write_npz(tmp_path_factory.mktemp("models") / "SMPL_NEUTRAL.npz", model))


@pytest.fixture(scope="module")
def params(body):
    rng = np.random.default_rng(5)
    rest = hm.BodyParams.rest(body, batch=(2,))
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape) * 0.4, leaf.dtype), rest)


def write(folder, name, matrix):
    """A regressor as its public file stores it."""
    file = folder / name
    if name.endswith(".npy"):
        np.save(file, matrix)
    else:
        smpl_files.write_pickle(file, matrix, protocol=2)
    return file


PUBLIC_FILES = {"SMPL_to_J19.pkl": 19, "J_regressor_extra.npy": 9, "J_regressor_h36m.npy": 17}


@pytest.mark.parametrize("name", list(PUBLIC_FILES))
def test_public_regressor_gives_its_points_by_name(name, body, params, rng, tmp_path):
    matrix = random_matrix(rng, PUBLIC_FILES[name], body.num_vertices)
    names, loaded = regressors.load_regressor(write(tmp_path, name, matrix))
    np.testing.assert_array_equal(loaded, matrix)
    assert names == public.regressed_points(name.partition(".")[0])
    extended = body.with_regressor(names, loaded)
    output = extended(params)
    points = landmarks.named_points(extended, output)
    assert landmarks.point_names(extended) == landmarks.point_names(body) + names
    expected = np.einsum("kv,bvc->bkc", matrix, np.asarray(output.vertices, np.float64))
    np.testing.assert_allclose(points[:, -len(names) :], expected, atol=TOLERANCE_32)


def test_sparse_regressor_in_a_python2_pickle_loads(tmp_path, rng):
    matrix = random_matrix(rng, 17, 200)
    file = tmp_path / "J_regressor_h36m.pkl"
    file.write_bytes(smpl_files.Python2Pickle(2).dump(smpl_files.Sparse(matrix)))
    np.testing.assert_array_equal(regressors.load_regressor(file)[1], matrix)


#: SPIN's 54 points are SMPL's 24 joints, 21 vertices and nine regressed; the map is that of its `constants.py`.
OPENPOSE_OF_54 = [24, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7, *range(25, 35)]
ANNOTATED_OF_54 = [8, 5, 45, 46, 4, 7, 21, 19, 17, 16, 18, 20, 47, 48, 49, 50, 51, 52, 53, 24, 26, 25, 28, 27]


@pytest.fixture(scope="module")
def extended(body):
    rng = np.random.default_rng(6)
    for name, rows in (("SMPL_to_J19", 19), ("J_regressor_extra", 9)):
        body = body.with_regressor(public.regressed_points(name), random_matrix(rng, rows, body.num_vertices))
    return body


def test_supersets_are_those_of_spin_and_hmr2_by_index(extended, params):
    points = np.asarray(landmarks.named_points(extended, extended(params)))
    j19, extra = points[:, 45:64], points[:, 64:73]
    of_54 = np.concatenate([points[:, :45], extra], 1)
    for layout, expected in (
        ("spin_49", of_54[:, OPENPOSE_OF_54 + ANNOTATED_OF_54]),
        ("hmr2_44", np.concatenate([of_54[:, OPENPOSE_OF_54], j19], 1)),
    ):
        ours = landmarks.layout_points(extended, layout)(params)
        np.testing.assert_allclose(ours, expected, atol=TOLERANCE_32, err_msg=layout)


def test_points_of_a_layout_need_no_mesh_and_work_under_nested_vmap(extended, params):
    model = landmarks.layout_points(extended, "hmr2_44")
    assert model.body.num_vertices < 200
    alone = jax.jit(jax.vmap(jax.vmap(lambda m, p: m(p), (None, 0)), (None, 0)))
    twice = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), params)
    np.testing.assert_allclose(alone(model, twice)[1], model(params), atol=TOLERANCE_32)


def test_layout_without_its_regressor_is_refused_by_point(body):
    with pytest.raises(ValueError, match=r"no .*neck_lsp.* of layout 'hmr2_44'; attach"):
        landmarks.layout_points(body, "hmr2_44")
    with pytest.raises(KeyError, match="hmr2_44"):
        landmarks.layout_points(body, "hmr2_4")


def test_face_points_of_smplx_are_their_places_in_triangles(tmp_path, rng):
    stored = smpl_files.make_model("smplx", num_vertices=200, num_betas=20)
    body = hm.load_body(smpl_files.write_npz(tmp_path / "SMPLX_MALE.npz", stored))
    params = dataclasses.replace(hm.BodyParams.rest(body), jaw_pose=jnp.array([0.3, 0.0, 0.1]))
    output = body(params)
    points = landmarks.named_points(body, output)
    assert landmarks.point_names(body)[-51:] == layouts.FACE51
    corners = np.asarray(output.vertices)[stored["f"][stored["lmk_faces_idx"]]]
    np.testing.assert_allclose(points[-51:], np.einsum("kt,ktc->kc", stored["lmk_bary_coords"], corners), atol=1e-6)


def test_subset_keeps_regressed_points_whose_vertices_it_has(extended, params):
    ids = sorted({*extended.regressed.vertex_ids, 1, 2})
    part = extended.subset(ids)
    ours = part.regressed(part(params).vertices)
    np.testing.assert_allclose(ours, extended.regressed(extended(params).vertices), atol=TOLERANCE_32)
    assert extended.subset(extended.regressed.vertex_ids[1:]).regressed is None


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        (np.ones((3, 10)) / 10, r"must have shape \(2, 6890\), got \(3, 10\)"),
        (np.ones((6890, 2)) / 6890, "stored transposed"),
        (np.full((2, 6890), np.nan), "NaN or infinite"),
        (np.zeros((2, 6890)), r"must sum to 1, those of 'a' sum to 0"),
    ],
)
def test_matrix_that_is_no_regressor_of_the_body_is_refused(matrix, reason, body):
    with pytest.raises(ValueError, match=reason):
        body.with_regressor(["a", "b"], matrix)


def test_names_that_repeat_are_refused(body, rng):
    matrix = random_matrix(rng, 2, body.num_vertices)
    with pytest.raises(ValueError, match="already has points named pelvis"):
        body.with_regressor(["pelvis", "b"], matrix)
    with pytest.raises(ValueError, match="repeat"):
        body.with_regressor(["b", "b"], matrix)
    with pytest.raises(ValueError, match="already has points named b"):
        body.with_regressor(["b", "c"], matrix).with_regressor(["b", "d"], matrix)


def test_file_whose_rows_cannot_be_named_is_refused(tmp_path, rng):
    file = write(tmp_path, "my_points.npy", random_matrix(rng, 3, 50))
    with pytest.raises(BodyFileError, match="give the names of its 3 rows"):
        regressors.load_regressor(file)
    assert regressors.load_regressor(file, names=("a", "b", "c"))[0] == ("a", "b", "c")
    with pytest.raises(BodyFileError, match="3 rows, but 2 names"):
        regressors.load_regressor(file, names=("a", "b"))
    short = write(tmp_path, "J_regressor_h36m.npy", random_matrix(rng, 14, 50))
    with pytest.raises(BodyFileError, match="14 rows, but 17 names"):
        regressors.load_regressor(short)
