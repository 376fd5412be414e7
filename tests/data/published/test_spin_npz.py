"""Files of SPIN's, CLIFF's and BEDLAM's layout: points by name, boxes over 200, and what is not taken."""

import os

import numpy as np
import pytest

from hardmo_jax.data.published.spin_npz import SpinNpz
from hardmo_jax.data.training_records import FINGERTIPS, TrainingDataError, TrainingSource
from hardmo_jax.skeleton import layouts

SLOTS, DETECTOR, SPIN = (layouts.get_layout(name) for name in ("hmr2_44", "openpose25", "spin_49"))
ANNOTATED = SPIN.points[len(DETECTOR) :]
FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
COUNT = 3


def known(rng, count, axes=2):
    return np.concatenate([rng.normal(100, 30, (COUNT, count, axes)), np.ones((COUNT, count, 1))], -1)


@pytest.fixture
def spin(rng):
    return {
        "imgname": np.array(["images/000001.jpg", "images/000002.jpg", "images/000003.jpg"]),
        "center": rng.uniform(100, 200, (COUNT, 2)),
        "scale": rng.uniform(0.5, 2, COUNT),
        "part": known(rng, 24),
        "openpose": known(rng, 25),
        "pose": rng.normal(0, 0.3, (COUNT, 72)),
        "shape": rng.normal(0, 1, (COUNT, 10)),
        "has_smpl": np.array([1, 1, 0]),
        "S": known(rng, 24, 3),
    }


@pytest.fixture
def bedlam(rng):
    return {
        "imgname": np.array([f"seq_000000/seq_000000_000{row}.png" for row in range(COUNT)]),
        "center": rng.uniform(100, 200, (COUNT, 2)),
        "scale": rng.uniform(0.5, 2, COUNT),
        "pose_cam": rng.normal(0, 0.3, (COUNT, 165)),
        "shape": rng.normal(0, 1, (COUNT, 11)),
        "gtkps": known(rng, 127),
        "cam_int": np.tile([[1200.0, 0, 640], [0, 1200, 360], [0, 0, 1]], (COUNT, 1, 1)),
        "cam_ext": np.tile(np.eye(4), (COUNT, 1, 1)),
        "trans_cam": rng.normal(size=(COUNT, 3)),
        "gender": np.array(["neutral"] * COUNT),
        "motion_info": np.array(["walk"] * COUNT),
    }


@pytest.fixture
def read(tmp_path):
    def read_arrays(arrays, file="labels.npz", **options):
        np.savez(tmp_path / file, **arrays)
        return SpinNpz(tmp_path / file, "photos", **options)

    return read_arrays


def place(record, point):
    index = SLOTS.index(point)
    return [*record.person.keypoints_2d[index], record.person.confidence[index]]


# SPIN -----------------------------------------------------------------------------------------------------


def test_numbers_are_those_of_the_file(read, spin):
    source = read(spin)
    assert isinstance(source, TrainingSource)
    assert (source.name, len(source)) == ("labels", COUNT)
    record = source.record(1)
    assert record.pixels.path == os.path.join("photos", "images", "000002.jpg")
    assert record.size == pytest.approx(200 * spin["scale"][1])
    np.testing.assert_array_equal(record.center, spin["center"][1])
    np.testing.assert_array_equal(record.person.global_orient, spin["pose"][1, :3])
    np.testing.assert_array_equal(record.person.body_pose.reshape(-1), spin["pose"][1, 3:])
    np.testing.assert_array_equal(record.betas, spin["shape"][1])
    assert record.focal_length is None
    assert record.fingertips_2d is None


def test_points_go_to_the_slots_of_their_names(read, spin):
    record = read(spin).record(0)
    for point in set(DETECTOR.points) - set(FACE):
        np.testing.assert_array_equal(place(record, point), spin["openpose"][0, DETECTOR.index(point)])
    for index, point in enumerate(ANNOTATED):
        np.testing.assert_array_equal(place(record, point.removesuffix("_gt")), spin["part"][0, index])
        np.testing.assert_array_equal(
            record.person.keypoints_3d[SLOTS.index(point.removesuffix("_gt"))], spin["S"][0, index, :3]
        )
    believed = {point for point, value in zip(SLOTS.points, record.person.confidence_3d, strict=True) if value > 0}
    assert believed == {point.removesuffix("_gt") for point in ANNOTATED}


def test_detected_faces_are_taken_where_nobody_annotated_one(read, spin):
    spin["part"][0, ANNOTATED.index("nose_gt")] = (np.nan, np.nan, 0)
    np.testing.assert_array_equal(place(read(spin).record(0), "nose"), spin["openpose"][0, DETECTOR.index("nose")])


def test_people_without_a_fit_have_no_pose(read, spin):
    record = read(spin).record(2)
    assert (record.has_pose, record.has_betas) == (False, False)
    assert not record.person.body_pose.any()
    del spin["has_smpl"]
    assert read(spin).record(2).has_pose


@pytest.mark.parametrize("key", ["part", "openpose", "pose", "shape", "S"])
def test_parts_may_be_missing(read, spin, key):
    del spin[key]
    record = read(spin).record(0)
    assert record.has_pose == (key != "pose")
    assert record.has_betas == (key != "shape")
    assert record.person.confidence_3d.any() == (key != "S")
    assert (record.person.confidence[SLOTS.index("left_knee")] > 0) == (key != "openpose")
    assert (record.person.confidence[SLOTS.index("left_knee_lsp")] > 0) == (key != "part")


def test_gendered_shapes_are_not_those_of_the_neutral_body(read, spin):
    spin["gender"] = np.array(["m", "f", "n"])
    spin["has_smpl"][:] = 1
    source = read(spin)
    assert [source.record(row).has_betas for row in range(COUNT)] == [False, False, True]
    assert all(source.record(row).has_pose for row in range(COUNT))
    assert read(spin, takes_gendered_betas=True).record(0).has_betas


# CLIFF ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(COUNT,), (COUNT, 1)])
def test_focal_length_of_cliff_is_taken(read, spin, shape):
    del spin["openpose"]
    more = {"global_t": np.ones((COUNT, 3)), "focal_l": np.full(shape, 800.0), "annot_id": np.arange(COUNT)}
    record = read(spin | more).record(0)
    assert record.focal_length == 800
    assert record.has_pose


# BEDLAM ---------------------------------------------------------------------------------------------------


def test_bedlam_poses_are_of_the_joints_that_smpl_shares(read, bedlam):
    record = read(bedlam).record(0)
    shared = layouts.SMPL_JOINTS.index("left_hand")
    np.testing.assert_array_equal(record.person.global_orient, bedlam["pose_cam"][0, :3])
    pose = np.vstack([record.person.global_orient, record.person.body_pose])
    np.testing.assert_array_equal(pose[:shared].reshape(-1), bedlam["pose_cam"][0, : 3 * shared])
    assert not pose[shared:].any()
    assert (record.has_pose, record.has_betas, record.focal_length) == (True, False, 1200)
    assert record.size == pytest.approx(200 * bedlam["scale"][0])


def test_bedlam_points_go_to_the_slots_of_their_names(read, bedlam):
    record = read(bedlam).record(0)
    names = (*layouts.SMPLX_JOINTS, *layouts.LANDMARKS)
    for point in DETECTOR.points:
        source = {"mid_hip": "pelvis"}.get(point, point)
        np.testing.assert_array_equal(place(record, point), bedlam["gtkps"][0, names.index(source)])
    assert not record.person.confidence[len(DETECTOR) :].any()
    tips = [bedlam["gtkps"][0, names.index(tip), :2] for tip in FINGERTIPS]
    np.testing.assert_array_equal(record.fingertips_2d, tips)


@pytest.mark.parametrize(("count", "joints"), [(22, 22), (24, 24), (24, 55), (45, 24)])
def test_bedlam_points_that_may_be_others_are_left_out(read, bedlam, rng, count, joints):
    bedlam |= {"gtkps": known(rng, count), "pose_cam": bedlam["pose_cam"][:, : 3 * joints]}
    record = read(bedlam).record(0)
    np.testing.assert_array_equal(
        place(record, "right_wrist"), bedlam["gtkps"][0, layouts.SMPL_JOINTS.index("right_wrist")]
    )
    assert (record.person.confidence[SLOTS.index("nose")] > 0) == (count == 45)


def test_bedlam_poses_of_smpl_keep_hands_and_shape(read, bedlam):
    bedlam["pose_cam"] = bedlam["pose_cam"][:, :72]
    record = read(bedlam).record(0)
    np.testing.assert_array_equal(record.person.body_pose.reshape(-1), bedlam["pose_cam"][0, 3:])
    np.testing.assert_array_equal(record.betas, bedlam["shape"][0, :10])
    assert record.has_betas


def test_share_of_rows_is_taken(read, bedlam):
    source = read(bedlam, first_share=0.8)
    assert len(source) == 2
    with pytest.raises(IndexError):
        source.record(2)


def test_close_ups_must_have_been_turned(read, bedlam):
    with pytest.raises(TrainingDataError, match="lying on their side"):
        read(bedlam, "20221011_1_250_batch01hand_closeup_suburb_a_6fps.npz")
    read(bedlam, "20221011_1_250_batch01hand_closeup_suburb_a_6fps.npz", are_pictures_upright=True)


# Damage ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"center": np.zeros((COUNT, 3))}, "`center` must be numbers"),
        ({"scale": np.zeros((COUNT, 4))}, "`scale` must be numbers"),
        ({"part": np.zeros((COUNT, 25, 3))}, "`part` must be numbers"),
        ({"openpose": np.zeros((COUNT, 25, 2))}, "`openpose` must be numbers"),
        ({"pose": np.zeros((COUNT, 66))}, "`pose` must be numbers"),
        ({"S": np.zeros((COUNT, 24, 3))}, "`S` must be numbers"),
        ({"shape": np.zeros((COUNT + 1, 10))}, "`shape` must be 3 rows"),
    ],
)
def test_wrong_shapes_are_named(read, spin, change, message):
    with pytest.raises(TrainingDataError, match=message):
        read(spin | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pose_cam": np.zeros((COUNT, 63))}, "`pose_cam` must be numbers"),
        ({"gtkps": np.zeros((COUNT, 21, 3))}, "`gtkps` must be numbers"),
        ({"gtkps": np.zeros((COUNT, 66))}, "`gtkps` must be numbers"),
        ({"shape": np.zeros((COUNT, 9))}, "`shape` must be numbers"),
        ({"cam_int": np.zeros((COUNT, 4))}, "`cam_int` must be numbers"),
    ],
)
def test_wrong_shapes_of_bedlam_are_named(read, bedlam, change, message):
    with pytest.raises(TrainingDataError, match=message):
        read(bedlam | change)


@pytest.mark.parametrize("key", ["center", "scale", "part", "pose", "shape", "S"])
def test_numbers_that_are_not_finite_are_of_one_person_only(read, spin, key):
    spin[key][0].flat[0] = np.inf if spin[key].ndim > 1 else 0
    if key == "scale":
        spin[key][0] = -np.inf
    source = read(spin)
    source.record(1)
    with pytest.raises(TrainingDataError, match=r"labels.npz: row 0.*must be"):
        source.record(0)


def test_files_without_labels_are_refused(read, spin):
    box = {key: spin[key] for key in ("imgname", "center", "scale")}
    with pytest.raises(TrainingDataError, match="labels of SPIN or BEDLAM"):
        read(box | {"body_keypoints_2d": np.zeros((COUNT, 25, 3))})
    for key in box:
        with pytest.raises(TrainingDataError, match=f"`{key}`"):
            read({name: array for name, array in spin.items() if name != key})


def test_names_lead_nowhere_else(read, spin):
    spin["imgname"] = np.array(["../1.jpg", "/etc/passwd", "a/1.jpg"])
    source = read(spin)
    for row in range(2):
        with pytest.raises(TrainingDataError, match="within the image folder"):
            source.record(row)
    source.record(2)


def test_cut_off_file_is_refused(read, spin, tmp_path):
    read(spin)
    path = tmp_path / "labels.npz"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(TrainingDataError, match="cut-off"):
        SpinNpz(path, "photos")
