"""Layouts agree with the published conventions, and map onto bodies by name."""

import dataclasses
import importlib.util
import pathlib
import runpy

import numpy as np
import pytest

from hardmo_jax.skeleton import layouts, mapping, regressors

#: Joints, landmarks and rows in the order in which SPIN and 4DHumans concatenate them, 54 and 64 points.
SPIN_POINTS = layouts.SMPL_JOINTS + layouts.LANDMARKS + regressors.regressed_points("J_regressor_extra")
HMR2_POINTS = layouts.SMPL_JOINTS + layouts.LANDMARKS + regressors.regressed_points("SMPL_to_J19")
#: What each slot takes from them, as published.
BODY25_FROM = (24, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34)
SPIN_ANNOTATED_FROM = (
    8, 5, 45, 46, 4, 7, 21, 19, 17, 16, 18, 20, 47, 48, 49, 50, 51, 52, 53, 24, 26, 25, 28, 27,
)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "size"),
    [("smpl24", 24), ("smplh52", 52), ("coco17", 17), ("openpose25", 25), ("openpose67", 67),
     ("coco_feet23", 23), ("coco_wholebody133", 133), ("blazepose33", 33), ("smplx55", 55), ("mano_left16", 16),
     ("mano_right16", 16), ("hmr2_44", 44), ("spin_49", 49), ("hardmo_54", 54), ("h36m_17", 17),
     ("openpose18", 18), ("openpose25b", 25), ("openpose135", 135), ("face70", 70), ("halpe26", 26),
     ("halpe136", 136)],
)  # fmt: skip
def test_layout_has_its_published_size(name, size):
    assert len(layouts.get_layout(name)) == size


@pytest.mark.parametrize(
    ("name", "point", "index"),
    [("openpose25", "mid_hip", 8), ("openpose25", "left_big_toe", 19), ("openpose25", "right_heel", 24),
     ("coco17", "left_wrist", 9), ("coco_wholebody133", "left_big_toe", 17), ("coco_wholebody133", "right_heel", 22),
     ("coco_wholebody133", "left_hand_root", 91), ("coco_wholebody133", "right_hand_root", 112),
     ("smpl24", "left_foot", 10), ("smplh52", "left_index1", 22), ("smplh52", "right_thumb3", 51),
     ("blazepose33", "left_heel", 29), ("blazepose33", "right_foot_index", 32),
     ("smplx55", "right_wrist", 21), ("smplx55", "jaw", 22), ("smplx55", "left_eyeball", 23),
     ("smplx55", "right_eyeball", 24), ("smplx55", "left_index1", 25), ("smplx55", "right_index1", 40),
     ("smplx55", "right_thumb3", 54), ("mano_left16", "left_wrist", 0), ("mano_right16", "right_pinky1", 7),
     ("hmr2_44", "right_ankle_lsp", 25), ("hmr2_44", "pelvis_mpii", 39), ("hmr2_44", "head_h36m", 43),
     ("spin_49", "nose_gt", 44), ("spin_49", "left_eye_gt", 45), ("spin_49", "right_ear_gt", 48),
     ("hardmo_54", "pelvis_mpii", 39), ("hardmo_54", "left_thumb_tip", 44), ("hardmo_54", "right_pinky_tip", 53),
     ("openpose18", "right_hip", 8), ("openpose18", "left_ear", 17), ("openpose25b", "neck_lsp", 17),
     ("openpose25b", "left_heel", 21), ("openpose135", "left_thumb1", 25), ("openpose135", "right_thumb1", 45),
     ("openpose135", "face_00", 65), ("openpose135", "left_pupil", 134), ("halpe26", "neck", 18),
     ("halpe26", "right_big_toe", 21), ("halpe26", "left_small_toe", 22), ("halpe26", "right_heel", 25),
     ("halpe136", "face_00", 26), ("halpe136", "left_hand_root", 94), ("halpe136", "right_hand_root", 115),
     ("h36m_17", "pelvis_h36m", 0), ("h36m_17", "right_ankle_h36m", 6), ("h36m_17", "right_wrist_h36m", 16)],
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
    if name.endswith("hand21") or name.startswith("mano"):
        assert len({point.partition("_")[0] for point in points}) == 1
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


# ---- the family of SMPL -------------------------------------------------------------------------------------


def test_existing_layouts_keep_their_order_where_smplx_is_added():
    assert layouts.SMPLX_JOINTS[:22] == layouts.SMPLH_JOINTS[:22] == layouts.SMPL_JOINTS[:22]
    assert layouts.SMPLX_JOINTS[25:] == layouts.SMPLH_JOINTS[22:]
    assert len(layouts.SMPLH_JOINTS) == 52
    for side, first in (("left", 22), ("right", 37)):
        assert layouts.MANO_JOINTS[side][1:] == layouts.SMPLH_JOINTS[first : first + 15]
        assert layouts.get_layout(f"mano_{side}16").points == layouts.MANO_JOINTS[side]


def test_joints_landmarks_and_face_points_are_those_of_the_smplx_package():
    spec = importlib.util.find_spec("smplx")
    if spec is None or spec.origin is None:
        pytest.skip("the smplx package is not installed")
    names = runpy.run_path(str(pathlib.Path(spec.origin).parent / "joint_names.py"))
    ours = [
        *(point.replace("eyeball", "eye_smplhf") for point in layouts.SMPLX_JOINTS),
        *(point.removesuffix("_tip") for point in layouts.LANDMARKS),
    ]
    assert names["JOINT_NAMES"][: len(ours)] == ours
    assert names["JOINT_NAMES"].index("right_contour_1") - len(ours) == len(layouts.FACE51)
    joints = names["SMPLH_JOINT_NAMES"]
    assert tuple(joints[: len(layouts.SMPLH_JOINTS)]) == layouts.SMPLH_JOINTS


def test_face_points_of_smplx_are_those_of_wholebody_without_the_contour():
    face = [point for point in layouts.get_layout("coco_wholebody133").points if point.startswith("face_")]
    assert tuple(face[17:]) == layouts.FACE51
    assert len(layouts.FACE51) == 51


@pytest.mark.parametrize("name", ["smpl24", "smplh52", "smplx55", "mano_left16", "mano_right16"])
def test_a_joint_layout_takes_each_joint_as_it_is(name):
    points = layouts.get_layout(name).points
    matrix, is_supported = mapping.point_regressor(layouts.get_layout(name), points)
    np.testing.assert_array_equal(matrix, np.eye(len(points)))
    assert is_supported.all()


# ---- supersets of HMR's descendants -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "points", "expected"),
    [
        ("spin_49", SPIN_POINTS, BODY25_FROM + SPIN_ANNOTATED_FROM),
        ("hmr2_44", HMR2_POINTS, (*BODY25_FROM, *range(45, 64))),
    ],
)
def test_a_superset_takes_the_published_point_of_the_body_for_every_slot(name, points, expected):
    matrix, is_supported = mapping.point_regressor(layouts.get_layout(name), points)
    assert is_supported.all()
    np.testing.assert_array_equal(matrix, np.eye(len(points))[list(expected)])


def test_supersets_share_their_slots():
    spin, hmr2 = (layouts.get_layout(name) for name in ("spin_49", "hmr2_44"))
    assert spin.points[:44] == hmr2.points
    assert hmr2.points[:25] == layouts.get_layout("openpose25").points
    assert hmr2.points[25:] == regressors.SMPL_TO_J19


def test_the_layout_of_the_hardmo_benchmark_is_hmr2_44_and_the_finger_tips():
    hardmo, hmr2 = (layouts.get_layout(name) for name in ("hardmo_54", "hmr2_44"))
    assert hardmo.points[:44] == hmr2.points
    assert hardmo.points[44:] == layouts.LANDMARKS[-10:]
    assert hardmo.body_point_names == hmr2.body_point_names


def test_the_layout_of_human36m_takes_each_row_of_its_regressor():
    rows = regressors.regressed_points("J_regressor_h36m")
    matrix, is_supported = mapping.point_regressor(layouts.get_layout("h36m_17"), rows)
    assert is_supported.all()
    np.testing.assert_array_equal(matrix, np.eye(17))
    _, is_supported = mapping.point_regressor(layouts.get_layout("h36m_17"), layouts.SMPL_JOINTS + layouts.LANDMARKS)
    assert not is_supported.any()


def test_a_body_with_every_regressor_gives_each_superset_its_own_points():
    points = layouts.SMPL_JOINTS + layouts.LANDMARKS
    points += tuple(point for name in regressors.REGRESSORS for point in regressors.regressed_points(name))
    for name, own in (("spin_49", SPIN_POINTS), ("hmr2_44", HMR2_POINTS)):
        layout = layouts.get_layout(name)
        among_all, alone = (mapping.point_regressor(layout, available)[0] for available in (points, own))
        assert [points[index] for index in among_all.argmax(-1)] == [own[index] for index in alone.argmax(-1)]


def test_without_its_regressor_a_superset_has_no_annotated_points_of_it():
    available = layouts.SMPL_JOINTS + layouts.LANDMARKS + regressors.regressed_points("J_regressor_extra")
    _, is_supported = mapping.point_regressor(layouts.get_layout("hmr2_44"), available)
    np.testing.assert_array_equal(is_supported, np.arange(44) < 25)


@pytest.mark.parametrize("name", list(layouts.LAYOUTS))
def test_every_layout_is_supported_by_a_body_of_the_family(name):
    points = tuple(dict.fromkeys(layouts.SMPLX_JOINTS + layouts.SMPL_JOINTS + layouts.LANDMARKS + layouts.FACE51))
    points += tuple(point for file in regressors.REGRESSORS for point in regressors.regressed_points(file))
    layout = layouts.get_layout(name)
    _, is_supported = mapping.point_regressor(layout, points)
    lacking = {point for point, is_there in zip(layout.points, is_supported, strict=True) if not is_there}
    contour = set(layouts.get_layout("coco_wholebody133").points[23:40])
    eyes_and_mouth = {
        f"{side}_{rest}" for side in layouts.SIDES for rest in ("eye_inner", "eye_outer", "mouth", "pupil")
    }
    assert lacking <= contour | eyes_and_mouth


def test_layouts_are_hashable_and_refuse_body_points_that_do_not_fit():
    layout = layouts.get_layout("spin_49")
    assert hash(layout) == hash(dataclasses.replace(layout))
    with pytest.raises(KeyError, match="neck"):
        layouts.KeypointLayout(name="x", points=("neck",), body_point_names=(("nek", "neck"),))
    with pytest.raises(ValueError, match="two body points"):
        layouts.KeypointLayout(name="x", points=("neck",), body_point_names=(("neck", "neck"), ("neck", "head")))


# ---- some of the points ---------------------------------------------------------------------------------------


def test_layout_of_some_points_has_them_in_the_order_asked_for():
    layout = layouts.get_layout("openpose25")
    some = layout.only((4, 0, 19))
    assert some.points == ("right_wrist", "nose", "left_big_toe")
    assert some.name == layout.name
    assert layout.only(tuple(range(len(layout)))) == layout


def test_layout_of_some_points_keeps_their_body_points_and_no_others():
    layout = layouts.get_layout("spin_49")
    chosen = dict(layout.body_point_names)
    assert chosen, "the case must have body points of its own"
    kept = tuple(layout.index(point) for point in list(chosen)[:2])
    plain = next(index for index, point in enumerate(layout.points) if point not in chosen)
    some = layout.only((*kept, plain))
    assert dict(some.body_point_names) == {point: chosen[point] for point in list(chosen)[:2]}
    assert layout.only((plain,)).body_point_names == ()


@pytest.mark.parametrize("name", list(layouts.LAYOUTS))
def test_points_of_some_of_a_layout_are_regressed_as_those_of_the_whole(name):
    points = tuple(dict.fromkeys(layouts.SMPLX_JOINTS + layouts.SMPL_JOINTS + layouts.LANDMARKS + layouts.FACE51))
    points += tuple(point for file in regressors.REGRESSORS for point in regressors.regressed_points(file))
    layout = layouts.get_layout(name)
    rows = tuple(range(len(layout) - 1, -1, -2))
    matrix, is_supported = mapping.point_regressor(layout, points)
    some, is_some_supported = mapping.point_regressor(layout.only(rows), points)
    np.testing.assert_array_equal(some, matrix[list(rows)])
    np.testing.assert_array_equal(is_some_supported, is_supported[list(rows)])


def test_layout_that_would_name_a_point_twice_is_refused():
    with pytest.raises(ValueError, match="names a point twice"):
        layouts.get_layout("coco17").only((3, 3))


# ---- parts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "part"),
    [("right_ankle_lsp", "body"), ("left_wrist_lsp", "body"), ("left_hip_lsp", "body"), ("left_hip_h36m", "body"),
     ("nose_gt", "body"), ("left_eye_gt", "body"), ("right_ear_gt", "body"), ("left_wrist", "body"),
     ("left_hip_lsp@SMPL_to_J19", "body"), ("neck_lsp", None), ("head_top_lsp", None), ("pelvis_mpii", None),
     ("thorax_mpii", None), ("spine_h36m", None), ("jaw_h36m", None), ("head_h36m", None), ("neck", None),
     ("mid_hip", None), ("jaw", None), ("left_eyeball", None), ("face_36", None), ("left_heel", "left_foot"),
     ("right_pinky3", "right_hand"), ("left_hand_root", "left_hand")],
)  # fmt: skip
def test_a_point_belongs_to_the_part_of_its_place(point, part):
    assert layouts.part_of(point) == part


def test_the_parts_of_the_hardmo_benchmark_are_its_lists_in_hmr2_44():
    points = layouts.get_layout("hmr2_44").points[:25]
    body = [index for index, point in enumerate(points) if layouts.part_of(point) == "body"]
    feet = [index for index, point in enumerate(points) if (layouts.part_of(point) or "").endswith("foot")]
    assert body == [0, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18]
    assert feet == [19, 20, 21, 22, 23, 24]


def test_a_layout_of_ones_own_is_known_by_its_name_and_refuses_what_no_body_has(monkeypatch):
    monkeypatch.setattr(layouts, "LAYOUTS", dict(layouts.LAYOUTS))
    own = layouts.add_layout("our_dance_school", ["left_knee", "_belt", "nose"])
    assert layouts.get_layout("our_dance_school") == own
    assert layouts.add_layout("our_dance_school", ("left_knee", "_belt", "nose")) == own
    with pytest.raises(ValueError, match="other points already"):
        layouts.add_layout("our_dance_school", ["nose"])
    with pytest.raises(ValueError, match="did you mean 'left_knee'"):
        layouts.add_layout("typed", ["left_kne"])
    with pytest.raises(ValueError, match="twice"):
        layouts.add_layout("doubled", ["nose", "nose"])


def test_a_layout_as_a_command_line_names_it_stays_its_own():
    before = dict(layouts.LAYOUTS)
    assert layouts.layout_of_names("coco17") is layouts.LAYOUTS["coco17"]
    assert layouts.layout_of_names(" left_knee, _belt,nose,").points == ("left_knee", "_belt", "nose")
    assert layouts.layout_of_names("nose,left_knee").points == ("nose", "left_knee")
    assert before == layouts.LAYOUTS
    with pytest.raises(KeyError, match="did you mean 'coco17'"):
        layouts.layout_of_names("coco18")
    with pytest.raises(ValueError, match="did you mean 'left_knee'"):
        layouts.layout_of_names("left_kne,nose")
    with pytest.raises(ValueError, match="twice"):
        layouts.layout_of_names("nose,nose")
