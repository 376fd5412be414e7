"""What keypoints are made of: one joint or vertex or several, and whether one joint's frame carries them."""

import dataclasses

import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.body import landmarks
from hardmo_jax.skeleton import layouts
from tests.reference import smpl_files

LAYOUT = layouts.get_layout("openpose67")


def points_of(body, layout=LAYOUT) -> tuple[landmarks.PointModel, dict[str, int]]:
    """The model, and the place of each point in the layout."""
    return landmarks.point_model(body, layout)[0], {point: index for index, point in enumerate(layout.points)}


@pytest.fixture(scope="module")
def open_points():
    return points_of(hm.open_body())


@pytest.fixture(scope="module")
def file_body(tmp_path_factory):
    """A body with pose blend shapes; landmarks are vertices 3, 10, 17 and so on."""
    model = smpl_files.make_model("smplh", num_vertices=300, seed=4)
    body = hm.load_body(smpl_files.write_npz(tmp_path_factory.mktemp("models") / "m.npz", model))
    named = tuple((name, 7 * place + 3) for place, name in enumerate(layouts.LANDMARKS))
    return dataclasses.replace(body, landmarks=named)


def test_keypoint_that_is_a_joint_is_that_joint_and_fixed_in_its_frame(open_points):
    model, at = open_points
    for name in ("left_wrist", "right_knee", "left_index2"):
        joint = model.body.joint_names.index(name)
        assert model.node_of[at[name]] == model.carrier_of[at[name]] == joint


def test_node_is_the_one_entry_of_the_row(open_points):
    model, _ = open_points
    for row, node in zip(np.asarray(model.regressor), model.node_of, strict=True):
        if node >= 0:
            np.testing.assert_array_equal(row, np.arange(len(row)) == node)
        else:
            assert np.count_nonzero(row) != 1


def test_landmark_of_one_bone_is_carried_by_it(open_points):
    model, at = open_points
    names, num_joints = model.body.joint_names, model.body.num_joints
    bones = np.asarray(model.body.skinning_weights)
    for name, bone in (("nose", "head"), ("left_big_toe", "left_foot"), ("right_index_tip", "right_index3")):
        vertex = model.node_of[at[name]] - num_joints
        assert vertex >= 0
        assert bones[vertex].argmax() == names.index(bone)
        assert model.carrier_of[at[name]] == names.index(bone)


@pytest.mark.parametrize("view", ["smpl", "smplh"])
def test_every_landmark_of_the_open_body_is_carried_by_one_joint(view):
    model, at = points_of(hm.open_body(view=view))
    carriers = {name: model.carrier_of[at[name]] for name in layouts.LANDMARKS if name in at}
    assert len(carriers) > 10
    assert min(carriers.values()) >= 0


def test_average_of_joints_is_no_node_and_has_no_carrier(open_points):
    model, at = open_points
    names = model.body.joint_names
    for name in ("neck", "mid_hip"):
        assert model.node_of[at[name]] == model.carrier_of[at[name]] == -1
    mixed = {names[joint] for joint in model.mixed_joints}
    assert mixed == {"left_shoulder", "right_shoulder", "left_hip", "right_hip"}


def test_point_that_the_body_lacks_is_no_node_and_has_no_carrier():
    model, at = points_of(hm.open_body(view="smpl"))
    assert model.node_of[at["left_index2"]] == model.carrier_of[at["left_index2"]] == -1


def test_vertex_that_the_pose_deforms_is_a_node_without_a_carrier(file_body):
    model, at = points_of(file_body)
    assert model.node_of[at["nose"]] >= model.body.num_joints
    assert model.carrier_of[at["nose"]] == -1
    assert model.carrier_of[at["left_knee"]] == model.body.joint_names.index("left_knee")


def test_vertex_of_several_bones_is_a_node_without_a_carrier():
    body = hm.open_body()
    vertex = int(np.flatnonzero(np.asarray(body.skinning_weights).max(1) < 1)[0])
    model, at = points_of(dataclasses.replace(body, landmarks=(("nose", vertex),)))
    assert model.node_of[at["nose"]] == model.body.num_joints
    assert model.carrier_of[at["nose"]] == -1


def test_layout_of_joints_alone_mixes_nothing():
    model, _ = points_of(hm.open_body(), layouts.get_layout("smplh52"))
    assert model.mixed_joints == ()
    assert model.node_of == model.carrier_of == tuple(range(52))
    assert model.body.num_vertices == 0


def test_regressed_point_is_no_node(rng):
    body = hm.open_body(view="smpl")
    matrix = np.zeros((1, body.num_vertices))
    matrix[0, rng.choice(body.num_vertices, 7, replace=False)] = 1 / 7
    body = body.with_regressor(("mean_of_seven",), matrix)
    layout = layouts.KeypointLayout(name="one", points=("left_knee", "mean_of_seven"))
    model, at = points_of(body, layout)
    assert model.node_of == (body.joint_names.index("left_knee"), -1)
    assert model.carrier_of[at["mean_of_seven"]] == -1
    assert model.mixed_joints == ()
