"""Layouts agree with the published conventions, and map onto bodies by name."""

import numpy as np
import pytest

from hardmo_jax.skeleton import layouts, mapping


@pytest.mark.parametrize(
    ("name", "size"),
    [("smpl24", 24), ("smplh52", 52), ("coco17", 17), ("openpose25", 25), ("openpose67", 67),
     ("coco_feet23", 23), ("coco_wholebody133", 133), ("blazepose33", 33)],
)  # fmt: skip
def test_layout_has_its_published_size(name, size):
    assert len(layouts.get_layout(name)) == size


@pytest.mark.parametrize(
    ("name", "point", "index"),
    [("openpose25", "mid_hip", 8), ("openpose25", "left_big_toe", 19), ("openpose25", "right_heel", 24),
     ("coco17", "left_wrist", 9), ("coco_wholebody133", "left_big_toe", 17), ("coco_wholebody133", "right_heel", 22),
     ("coco_wholebody133", "left_hand_root", 91), ("coco_wholebody133", "right_hand_root", 112),
     ("smpl24", "left_foot", 10), ("smplh52", "left_index1", 22), ("smplh52", "right_thumb3", 51),
     ("blazepose33", "left_heel", 29), ("blazepose33", "right_foot_index", 32)],
)  # fmt: skip
def test_point_stands_at_its_published_index(name, point, index):
    assert layouts.get_layout(name).index(point) == index


def test_unknown_names_suggest_the_nearest():
    with pytest.raises(KeyError, match="openpose25"):
        layouts.get_layout("openpose_25")
    with pytest.raises(KeyError, match="left_wrist"):
        layouts.get_layout("coco17").index("left_wirst")


@pytest.mark.parametrize("name", list(layouts.LAYOUTS))
def test_left_and_right_points_pair_up_or_belong_to_one_hand(name):
    points = set(layouts.get_layout(name).points)
    if name.endswith("hand21"):
        return
    for point in points:
        if point.startswith("left_"):
            assert point.replace("left_", "right_", 1) in points


def test_rows_of_the_point_regressor_sum_to_one_where_supported():
    layout = layouts.get_layout("openpose67")
    matrix, is_supported = mapping.point_regressor(layout, layouts.SMPLH_JOINTS + layouts.LANDMARKS)
    np.testing.assert_allclose(matrix.sum(-1), 1)
    assert is_supported.all()


def test_a_body_without_fingers_has_only_the_middle_knuckle_and_the_tips():
    layout = layouts.get_layout("left_hand21")
    _, is_supported = mapping.point_regressor(layout, layouts.SMPL_JOINTS + layouts.LANDMARKS)
    supported = {point for point, is_there in zip(layout.points, is_supported, strict=True) if is_there}
    tips = {f"left_{finger}_tip" for finger in layouts.FINGERS}
    assert supported == tips | {"left_hand_root", "left_middle1"}


def test_neck_is_a_joint_in_joint_layouts_and_an_average_in_keypoint_layouts():
    available = layouts.SMPL_JOINTS + layouts.LANDMARKS
    joints, _ = mapping.point_regressor(layouts.get_layout("smpl24"), available)
    keypoints, _ = mapping.point_regressor(layouts.get_layout("openpose25"), available)
    neck = available.index("neck")
    assert joints[layouts.get_layout("smpl24").index("neck"), neck] == 1
    row = keypoints[layouts.get_layout("openpose25").index("neck")]
    assert row[neck] == 0
    assert row[available.index("left_shoulder")] == row[available.index("right_shoulder")] == 0.5


def test_every_keypoint_of_body25_feet_and_hands_belongs_to_a_part_or_is_an_average():
    for point in layouts.get_layout("openpose67").points:
        assert layouts.part_of(point) in layouts.PARTS or point in ("neck", "mid_hip")
