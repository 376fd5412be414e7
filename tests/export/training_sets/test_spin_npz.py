"""Labels in the formats of SPIN and CLIFF: every number of every person, for NumPy and for our reader."""

import dataclasses

import numpy as np
import pytest

from hardmo_jax.data.published.spin_npz import SpinNpz
from hardmo_jax.export.training_sets.spin_npz import write_cliff_npz, write_spin_npz
from hardmo_jax.export.training_sets.training_labels import TrainingExportError, TrainingLabelOptions
from hardmo_jax.labels.schema import LabelError
from hardmo_jax.skeleton import layouts
from tests.export.training_sets.labels_to_export import SPIN_24, label, people, smpl_label

WRITERS = [write_spin_npz, write_cliff_npz]
NAMES = [
    "clips/dance.v2/take 1_000000000000.jpg", "clips/dance.v2/take 1_000000000000.jpg",
    "clips/dance.v2/take 1_000000000002.jpg", "clips/dance.v2/take 1_000000000002.jpg",
    "clips/dance.v2/take 1_000000000010.jpg", "photos/bow.jpg", "photos/bow.jpg",
]  # fmt: skip


def in_order(rows):
    return [rows[place] for place in (5, 6, 1, 0, 2, 4, 3)]


def expected_part(row):
    """SPIN's 24 by numbers of BODY_25."""
    part = np.zeros((24, 3), np.float32)
    for slot, source in enumerate(SPIN_24):
        if source is not None and row.keypoint_confidence[source] > 0:
            part[slot] = [*row.keypoints_2d[source], row.keypoint_confidence[source]]
    return part


def expected_openpose(row):
    return np.concatenate([row.keypoints_2d, row.keypoint_confidence[:, None]], 1)[:25]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("make", [label, smpl_label])
def test_every_number_of_every_person_is_there(tmp_path, write, make):
    rows = people(make)
    done = write(rows, tmp_path / "set.npz")
    assert (done.paths, done.num_people, done.num_pictures) == ((tmp_path / "set.npz",), 7, 4)
    assert done.left_out == {}
    with np.load(tmp_path / "set.npz", allow_pickle=False) as file:
        data = dict(file)
    assert data["imgname"].tolist() == NAMES
    for index, row in enumerate(in_order(rows)):
        corners = row.bbox.astype(np.float64)
        np.testing.assert_allclose(data["center"][index], (corners[:2] + corners[2:]) / 2, rtol=1e-6)
        np.testing.assert_allclose(data["scale"][index] * 200, 1.2 * (corners[2:] - corners[:2]).max(), rtol=1e-6)
        np.testing.assert_array_equal(data["part"][index], expected_part(row))
        np.testing.assert_array_equal(data["pose"][index, :3], row.global_orient)
        np.testing.assert_array_equal(data["pose"][index, 3:66], row.body_pose.ravel())
        hands = np.zeros(6) if row.smpl_hand_pose is None else row.smpl_hand_pose.ravel()
        np.testing.assert_array_equal(data["pose"][index, 66:], hands)
        assert data["label_id"][index] == row.label_id
        if write is write_spin_npz:
            np.testing.assert_array_equal(data["openpose"][index], expected_openpose(row))
        else:
            assert data["focal_l"][index] == 90.5
            np.testing.assert_array_equal(data["cam_int"][index], [[90, 0, 47.5], [0, 91, 31.5], [0, 0, 1]])
    assert (data["has_smpl"] == 1).all()
    assert ("openpose" in data, "annot_id" in data) == (write is write_spin_npz, write is write_cliff_npz)
    assert "gender" not in data


@pytest.mark.parametrize("write", WRITERS)
def test_points_in_space_are_those_that_the_slots_mean(tmp_path, write):
    row = label(3)
    write([row], tmp_path / "set.npz")
    space = np.load(tmp_path / "set.npz")["S"][0]
    hips = row.keypoints_3d[[9, 12]]
    for slot, source in enumerate(SPIN_24):
        if slot == 14:
            np.testing.assert_allclose(space[slot], [*hips.mean(0), 1], rtol=1e-6)
        elif slot in (2, 3):  # SPIN's own regressor makes these; its losses take their middle for the root
            np.testing.assert_array_equal(space[slot], [*row.keypoints_3d[source], 0])
        elif source is None:
            np.testing.assert_array_equal(space[slot], 0)
        else:
            np.testing.assert_array_equal(space[slot], [*row.keypoints_3d[source], 1])


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("make", [label, smpl_label])
def test_reader_of_this_package_gives_the_labels_back(tmp_path, write, make):
    rows = people(make)
    write(rows, tmp_path / "set.npz")
    source = SpinNpz(tmp_path / "set.npz", tmp_path)
    assert len(source) == 7
    slots = layouts.get_layout("hmr2_44")
    for index, row in enumerate(in_order(rows)):
        record = source.record(index)
        assert record.pixels.path == str(tmp_path / NAMES[index])
        np.testing.assert_allclose(record.size, 1.2 * (row.bbox[2:] - row.bbox[:2]).max(), rtol=1e-6)
        assert (record.has_pose, record.has_betas) == (True, make is smpl_label)
        np.testing.assert_array_equal(record.person.global_orient, row.global_orient)
        np.testing.assert_array_equal(record.person.body_pose[:21], row.body_pose)
        np.testing.assert_array_equal(record.betas, row.betas if make is smpl_label else np.zeros(10))
        wrist = slots.index("left_wrist_lsp")
        np.testing.assert_array_equal(record.person.keypoints_2d[wrist], row.keypoints_2d[7])
        np.testing.assert_array_equal(record.person.keypoints_3d[wrist], row.keypoints_3d[7])
        assert record.focal_length == (90.5 if write is write_cliff_npz else None)


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    ("changes", "gender"),
    [
        ({"body_model": "open_body_smpl"}, None),
        ({"body_model": "SMPLH_NEUTRAL_smplh"}, None),
        ({"body_model": "SMPLX_NEUTRAL_smplx"}, None),
        ({"gender": "unknown"}, None),
        ({"body_model": "SMPL_FEMALE_smpl", "gender": "female"}, "f"),
        ({"body_model": "SMPL_MALE_smpl", "gender": "male"}, "m"),
    ],
)
def test_shapes_of_other_bodies_are_never_passed_off_as_smpls(tmp_path, write, changes, gender):
    row = smpl_label(0, **changes)
    done = write([row], tmp_path / "set.npz")
    data = dict(np.load(tmp_path / "set.npz"))
    assert done.num_without_betas == 1
    assert not {"shape", "betas", "global_t"} & set(data)
    assert data["has_betas"].tolist() == [0]
    np.testing.assert_array_equal(data[f"betas_{row.body_model}"], row.betas[None])
    assert data.get("gender", np.array([None])).tolist() == [gender]


def test_smpls_own_shape_and_place_are_written(tmp_path):
    row = smpl_label(0, focal_length=np.array([90.0, 90.05]), principal_point=np.array([48.2, 31.0]))
    assert write_spin_npz([row], tmp_path / "spin.npz").num_without_betas == 0
    write_cliff_npz([row], tmp_path / "cliff.npz")
    spin, cliff = np.load(tmp_path / "spin.npz"), np.load(tmp_path / "cliff.npz")
    np.testing.assert_array_equal(spin["shape"], row.betas[None])
    np.testing.assert_array_equal(spin["betas"], row.betas[None])
    np.testing.assert_array_equal(cliff["global_t"], row.transl[None])
    assert cliff["annot_id"].tolist() == [int(row.label_id[:15], 16)]


@pytest.mark.parametrize(
    "camera",
    [
        {"focal_length": np.array([90.0, 90.2])},
        {"focal_length": np.array([90.0, 90.0]), "principal_point": np.array([48.6, 31.5])},
        {"focal_length": np.array([90.0, 90.0]), "principal_point": np.array([47.5, 30.4])},
    ],
)
def test_a_place_that_readers_of_cliff_cannot_project_is_left_out(tmp_path, camera):
    centred = smpl_label(0, focal_length=np.array([90.0, 90.0]))
    other = smpl_label(1, frame=1, **camera)
    write_cliff_npz([centred, other], tmp_path / "cliff.npz")
    data = np.load(tmp_path / "cliff.npz")
    assert "shape" in data
    assert "global_t" not in data
    # The whole camera projects what the label has as the label has it.
    for row, matrix in zip((centred, other), data["cam_int"].astype(np.float64), strict=True):
        place = row.transl.astype(np.float64)
        expected = place[:2] / place[2] * row.focal_length + row.principal_point
        np.testing.assert_allclose((matrix @ place)[:2] / place[2], expected, rtol=1e-6)


def test_same_labels_give_the_same_bytes_in_any_order(tmp_path):
    rows = people()
    for name, given in (("a", rows), ("b", rows[::-1])):
        write_cliff_npz(given, tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_body_without_points_in_space_has_none(tmp_path):
    write_spin_npz([label(0, keypoints_3d=None)], tmp_path / "set.npz")
    np.testing.assert_array_equal(np.load(tmp_path / "set.npz")["S"], 0)


def test_points_of_a_posed_body_are_taken_where_they_are_given(tmp_path):
    def slots_of(row, layout):
        return np.column_stack([np.full((len(layout), 3), row.frame_index), np.linspace(0, 1, len(layout))])

    def half_known(row, layout):
        return np.where(np.arange(24)[:, None] < 12, slots_of(row, layout), np.nan)

    write_spin_npz([label(0, frame=5)], tmp_path / "set.npz", slots_of=half_known)
    space = np.load(tmp_path / "set.npz")["S"][0]
    np.testing.assert_array_equal(space[:12, :3], 5)
    np.testing.assert_array_equal(space[12:], 0)
    with pytest.raises(TrainingExportError, match=r"shape \(24, 4\), got \(23, 4\)"):
        write_spin_npz([label(0)], tmp_path / "set.npz", slots_of=lambda row, layout: np.zeros((23, 4)))
    with pytest.raises(TrainingExportError, match=r"in \[0, 1\], got 0 to 2"):
        write_spin_npz([label(0)], tmp_path / "set.npz", slots_of=lambda row, layout: 2 * slots_of(row, layout))


# Choice ---------------------------------------------------------------------------------------------------

LEFT_OUT = [
    ({"status": "DIVERGED", "body_pose": np.full((21, 3), np.nan)}, "without a fit", None),
    ({"status": "FILLED"}, "filled in from other frames", "takes_filled"),
    ({"review": "rejected"}, "rejected by a person", "takes_rejected"),
    ({"quality_reasons": ("blurred",)}, "badly seen", "takes_doubtful"),
    ({"bbox": np.array([1.0, 2, 1, 9])}, "with an empty box", None),
]


@pytest.mark.parametrize(("changes", "reason", "option"), LEFT_OUT)
def test_labels_that_nobody_is_to_learn_from_are_counted(tmp_path, changes, reason, option):
    rows = [label(0), label(1, frame=1, **changes)]
    done = write_spin_npz(rows, tmp_path / "set.npz")
    assert (done.num_people, done.num_pictures, done.left_out) == (1, 1, {reason: 1})
    with pytest.raises(TrainingExportError, match=f"1 {reason}"):
        write_spin_npz(rows[1:], tmp_path / "none.npz")
    assert not (tmp_path / "none.npz").exists()
    if option is not None:
        wanted = TrainingLabelOptions(**{option: True})
        assert write_spin_npz(rows, tmp_path / "set.npz", options=wanted).num_people == 2


def test_filled_label_that_a_person_corrected_is_not_from_other_frames(tmp_path):
    rows = [label(0), label(1, frame=1, status="FILLED", origin="human")]
    done = write_spin_npz(rows, tmp_path / "set.npz")
    assert (done.num_people, done.left_out) == (2, {})


@pytest.mark.parametrize("write", WRITERS)
def test_pose_of_which_a_person_called_a_part_wrong_is_unknown(tmp_path, write):
    rows = [label(0), label(1, track=1, review_by_part={"right_foot": "wrong"}, keypoint_confidence=np.ones(67))]
    write(rows, tmp_path / "made.npz")
    with np.load(tmp_path / "made.npz") as made:
        np.testing.assert_array_equal(made["has_smpl"], [1, 0])
        np.testing.assert_array_equal(made["has_body_pose"], [1, 0])
        if write is write_spin_npz:
            np.testing.assert_array_equal(made["openpose"][1, 19:, 2], [1, 1, 1, 0, 0, 0])


def test_no_labels_are_an_error(tmp_path):
    with pytest.raises(TrainingExportError, match="there are none"):
        write_spin_npz([], tmp_path / "set.npz")


def test_labels_of_two_bodies_are_told_with_a_way_out(tmp_path):
    with pytest.raises(TrainingExportError, match=r"1 of SMPL_NEUTRAL_smpl .*2 of open_body_smplh .*with --body"):
        write_spin_npz([label(0), smpl_label(1, frame=1), label(2, frame=2)], tmp_path / "set.npz")


def test_labels_of_other_bodies_that_are_left_out_do_not_matter(tmp_path):
    rows = [label(0), smpl_label(1, frame=1, review="rejected")]
    assert write_spin_npz(rows, tmp_path / "set.npz").num_people == 1


def test_two_versions_of_a_label_are_refused(tmp_path):
    row = label(0)
    with pytest.raises(TrainingExportError, match=r"twice, in versions 1 and 2.*latest_labels"):
        write_spin_npz([row, dataclasses.replace(row, label_version=2)], tmp_path / "set.npz")


def test_two_pictures_of_one_name_are_refused(tmp_path):
    rows = [label(0, path="/home/me/a/x.jpg", video=False), label(1, path="../b/X.jpg", video=False)]
    with pytest.raises(TrainingExportError, match=r"'X.jpg'|'x.jpg'"):
        write_spin_npz(rows, tmp_path / "set.npz")


def test_numbers_that_are_none_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(LabelError, match="not finite"):
        write_spin_npz([label(0), label(1, frame=1, betas=np.full(10, np.nan))], tmp_path / "set.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/home/someone/pictures/bow.png", "bow.jpg"),
        (r"C:\Users\someone\bow.png", "bow.jpg"),
        ("../someone/bow.png", "bow.jpg"),
        ("~someone/bow.png", "bow.jpg"),
        ("C:bow.png", "bow.jpg"),
        (r"set\bow?.png", "set/bow_.jpg"),
    ],
)
def test_nobodys_folders_are_told(tmp_path, path, name):
    write_spin_npz([label(0, path=path, video=False)], tmp_path / "set.npz")
    assert np.load(tmp_path / "set.npz")["imgname"].tolist() == [name]
    assert b"someone" not in (tmp_path / "set.npz").read_bytes()


def test_a_failure_leaves_the_earlier_file(tmp_path):
    (tmp_path / "set.npz").write_bytes(b"earlier")
    with pytest.raises(RuntimeError):
        write_spin_npz([label(0)], tmp_path / "set.npz", slots_of=lambda row, layout: fail())
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("set.npz", b"earlier")]


def fail():
    raise RuntimeError
