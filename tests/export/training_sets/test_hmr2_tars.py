"""Tars for 4DHumans: read by WebDataset as its loader does, by Python, and by the reader of this package."""

import hashlib
import io
import pickle
import pickletools
import tarfile

import numpy as np
import pytest
import webdataset
from PIL import Image

from hardmo_jax.data.published.hmr2_filters import Hmr2Filters
from hardmo_jax.data.published.hmr2_tars import Hmr2Tars
from hardmo_jax.data.published.mocap_poses import MocapPoses
from hardmo_jax.export.training_sets.hardmo_tars import hardmo_person
from hardmo_jax.export.training_sets.hmr2_tars import hmr2_person, write_hmr2_tars
from hardmo_jax.export.training_sets.mocap_npz import write_mocap_npz
from hardmo_jax.export.training_sets.sample_tars import plain_pickle
from hardmo_jax.export.training_sets.training_labels import TrainingExportError
from hardmo_jax.export.training_sets.training_points import reprojection_loss
from tests.export.training_sets.labels_to_export import HEIGHT, WIDTH, jpeg_of, label, people, smpl_label

#: Keys in the order of the tars, and places of their people in `people()`.
KEYS = {
    "clips/dance_v2/take 1_000000000000": (5, 6),
    "clips/dance_v2/take 1_000000000002": (1, 0),
    "clips/dance_v2/take 1_000000000010": (2,),
    "photos/bow": (4, 3),
}
ALL = Hmr2Filters(is_pose_with_betas=False, are_missing_betas_zero=False)


def published_samples(paths):
    """People as the published loader takes them out of a tar."""
    dataset = webdataset.WebDataset([str(path) for path in paths], shardshuffle=False)
    for item in dataset.decode("rgb8").rename(jpg="jpg;jpeg;png"):
        for person in item["data.pyd"]:
            yield item["__key__"], item["jpg"], person


def check_person(person, row):
    """By numbers of BODY_25, which is where a label's points begin."""
    seen = np.concatenate([row.keypoints_2d, row.keypoint_confidence[:, None]], 1)[:25]
    np.testing.assert_array_equal(person["keypoints_2d"][:25], seen)
    np.testing.assert_array_equal(person["keypoints_2d"][25:], 0)
    space = np.column_stack([row.keypoints_3d[:25], np.ones(25)])
    space[[1, 8]] = 0  # SMPL's neck and pelvis, of which a label has no points
    np.testing.assert_array_equal(person["keypoints_3d"][:25], space.astype(np.float32))
    root = [*row.keypoints_3d[[9, 12]].mean(0), 1]
    np.testing.assert_allclose(person["keypoints_3d"][39], root, rtol=1e-6)
    np.testing.assert_array_equal(np.delete(person["keypoints_3d"][25:], 14, 0), 0)
    corners = row.bbox.astype(np.float64)
    np.testing.assert_allclose(person["center"], (corners[:2] + corners[2:]) / 2, rtol=1e-6)
    np.testing.assert_allclose(person["scale"] * 200, 1.2 * (corners[2:] - corners[:2]), rtol=1e-6)
    np.testing.assert_array_equal(person["body_pose"][:3], row.global_orient)
    np.testing.assert_array_equal(person["body_pose"][3:66], row.body_pose.ravel())
    hands = np.zeros(6) if row.smpl_hand_pose is None else row.smpl_hand_pose.ravel()
    np.testing.assert_array_equal(person["body_pose"][66:], hands)
    is_smpl = row.body_model == "SMPL_NEUTRAL_smpl"
    np.testing.assert_array_equal(person["betas"], row.betas if is_smpl else np.zeros(10))
    assert (float(person["has_body_pose"]), float(person["has_betas"])) == (1, is_smpl)
    assert ("betas_open_body_smplh" in person) == (not is_smpl)
    assert person["extra_info"]["label_id"] == row.label_id


@pytest.mark.parametrize("make", [label, smpl_label])
@pytest.mark.parametrize("samples_per_tar", [1, 3, 1000])
def test_webdataset_reads_every_person_of_every_picture(tmp_path, make, samples_per_tar):
    rows = people(make)
    done = write_hmr2_tars(rows, tmp_path / "set", jpeg_of, samples_per_tar=samples_per_tar)
    names = [f"{index:06d}.tar" for index in range(-(-4 // samples_per_tar))]
    assert [path.name for path in done.paths] == names == sorted(path.name for path in (tmp_path / "set").iterdir())
    assert (done.num_people, done.num_pictures, done.num_without_betas) == (7, 4, 7 * (make is label))
    found = list(published_samples(done.paths))
    assert [key for key, _, _ in found] == [key for key, own in KEYS.items() for _ in own]
    for (_, picture, person), place in zip(found, [place for own in KEYS.values() for place in own], strict=True):
        row = rows[place]
        check_person(person, row)
        assert picture.shape == (HEIGHT, WIDTH, 3)
        assert abs(int(picture[0, 0, 0]) - 40 - 10 * row.frame_index) <= 4


def test_fields_are_what_the_published_loader_computes_with():
    """Each line is one of its filters."""
    person = hmr2_person(smpl_label(0))
    shapes = {key: (value.shape, value.dtype.name) for key, value in person.items() if key != "extra_info"}
    assert shapes == {
        "keypoints_2d": ((44, 3), "float32"), "keypoints_3d": ((44, 4), "float32"), "center": ((2,), "float32"),
        "scale": ((2,), "float32"), "body_pose": ((72,), "float32"), "betas": ((10,), "float32"),
        "has_body_pose": ((), "float32"), "has_betas": ((), "float32"),
    }  # fmt: skip
    assert person["scale"].min().item() * 200.0 > 1
    assert (person["keypoints_2d"][:, 2] > 0.3).sum() > 4
    loss = person["extra_info"]["fitting_loss"]
    assert (loss.shape, loss.dtype) == ((), np.dtype(object))
    assert 0 < loss.item()["reprojection_loss"] < 31_000


@pytest.mark.parametrize("make", [label, smpl_label])
def test_reader_of_this_package_gives_the_labels_back(tmp_path, make):
    rows = people(make)
    source = Hmr2Tars(write_hmr2_tars(rows, tmp_path, jpeg_of, samples_per_tar=3).paths, filters=ALL)
    places = [place for own in KEYS.values() for place in own]
    assert len(source) == len(places)
    for index, place in enumerate(places):
        record, row = source.record(index), rows[place]
        assert (record.has_pose, record.has_betas) == (True, make is smpl_label)
        np.testing.assert_array_equal(record.betas, row.betas if make is smpl_label else np.zeros(10))
        np.testing.assert_array_equal(record.person.global_orient, row.global_orient)
        np.testing.assert_array_equal(record.person.body_pose[:21], row.body_pose)
        np.testing.assert_array_equal(record.person.keypoints_2d[:25], row.keypoints_2d[:25])
        np.testing.assert_array_equal(record.person.confidence[:25], row.keypoint_confidence[:25])
        np.testing.assert_allclose(record.person.keypoints_3d[39], row.keypoints_3d[[9, 12]].mean(0), rtol=1e-6)
        np.testing.assert_allclose(record.size, 1.2 * (row.bbox[2:] - row.bbox[:2]).max(), rtol=1e-6)
        with open(record.pixels.path, "rb") as file:
            file.seek(record.pixels.member_offset)
            assert file.read(record.pixels.member_bytes) == jpeg_of(row)


def test_a_pose_without_smpls_shape_is_forgotten_by_the_published_filters(tmp_path):
    """What the notes of the writer warn of."""
    paths = write_hmr2_tars([label(0)], tmp_path, jpeg_of).paths
    assert not Hmr2Tars(paths).record(0).has_pose
    assert Hmr2Tars(paths, filters=Hmr2Filters(is_pose_with_betas=False)).record(0).has_pose


def test_tars_are_of_nobody_and_the_same_every_time(tmp_path):
    rows = people()
    first = write_hmr2_tars(rows, tmp_path / "a", jpeg_of).paths[0].read_bytes()
    again = [pickle.loads(pickle.dumps(row)) for row in rows[::-1]]
    assert write_hmr2_tars(again, tmp_path / "b", jpeg_of).paths[0].read_bytes() == first
    with tarfile.open(fileobj=io.BytesIO(first)) as tar:
        told = {(one.mtime, one.uid, one.gid, one.uname, one.gname, one.mode) for one in tar.getmembers()}
        names = tar.getnames()
    assert told == {(0, 0, 0, "", "", 0o644)}
    assert names == [f"{key}.{ending}" for key in KEYS for ending in ("jpg", "data.pyd")]


def test_pickles_name_what_every_numpy_knows():
    data = plain_pickle([hmr2_person(label(0)), hmr2_person(smpl_label(1))])
    named = {value for one, value, _ in pickletools.genops(data) if one.name in ("GLOBAL", "STACK_GLOBAL")}
    assert named == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}
    assert max(one.proto for one, _, _ in pickletools.genops(data)) <= 3


def test_pictures_are_asked_for_once_and_stored_as_they_are(tmp_path):
    asked = []

    def picture_of(row):
        asked.append((row.source_path, row.frame_index))
        return jpeg_of(row, "PNG" if row.fps is None else "JPEG")

    rows = people()
    (path,) = write_hmr2_tars(rows, tmp_path, picture_of).paths
    assert len(asked) == len(set(asked)) == 4
    with tarfile.open(path) as tar:
        photo = tar.extractfile("photos/bow.png")
        assert photo is not None
        assert photo.read() == jpeg_of(rows[3], "PNG")
    assert [key for key, _, _ in published_samples([path])].count("photos/bow") == 2


def test_long_and_foreign_names_are_read_back(tmp_path):
    path = "v" * 120 + "/" + "ж" * 70 + ".舞.jpg"
    done = write_hmr2_tars([label(0, path=path, video=False)], tmp_path, jpeg_of)
    ((key, _, _),) = published_samples(done.paths)
    assert key == "v" * 120 + "/" + "ж" * 70 + "_舞"
    assert len(Hmr2Tars(done.paths, filters=ALL)) == 1


def test_names_that_webdataset_leaves_out_without_a_word_are_others(tmp_path):
    done = write_hmr2_tars([label(0, path="__notes__/bow.jpg", video=False)], tmp_path, jpeg_of)
    assert [key for key, _, _ in published_samples(done.paths)] == ["notes__/bow"]


# Points ---------------------------------------------------------------------------------------------------


def test_feet_that_nobody_saw_or_that_are_wrong_are_not_believed():
    row = label(0, evidence_by_part={"left_foot": "unseen"}, wrong_by_part={"right_foot": 0.75})
    confidence = hmr2_person(row)["keypoints_3d"][:25, 3]
    np.testing.assert_array_equal(confidence[19:], [0, 0, 0, 0.25, 0.25, 0.25])
    np.testing.assert_array_equal(np.delete(confidence[:19], [1, 8]), 1)


def test_what_a_person_said_of_a_part_stands_above_its_scores():
    doubted = {"wrong_by_part": dict.fromkeys(("left_foot", "right_foot", "left_hand"), 0.75)}
    said = {"review_by_part": {"left_foot": "right", "right_foot": "wrong"}}
    row = label(0, **doubted, **said, keypoint_confidence=np.ones(67))
    person = hmr2_person(row)
    np.testing.assert_array_equal(person["keypoints_3d"][19:25, 3], [1, 1, 1, 0, 0, 0])
    np.testing.assert_array_equal(person["keypoints_2d"][19:25, 2], [1, 1, 1, 0, 0, 0])
    np.testing.assert_array_equal(person["keypoints_2d"][22:25], 0)
    assert person["has_body_pose"] == 0
    assert person["keypoints_2d"][13, 2] == 1  # the knee
    accepted = hmr2_person(label(0, **doubted, review="accepted"))
    np.testing.assert_array_equal(accepted["keypoints_3d"][19:25, 3], 1)
    assert accepted["has_body_pose"] == 1
    # Who mended one foot and saved it said nothing of the other.
    mended = {"wrong_by_part": {"right_foot": 0.75}, "review_by_part": {"left_foot": "right"}}
    made = hmr2_person(label(0, **mended, origin="human"))
    np.testing.assert_array_equal(made["keypoints_3d"][19:25, 3], [1, 1, 1, 0.25, 0.25, 0.25])
    marked = label(0, review_by_part={"left_hand": "wrong"}, keypoint_confidence=np.ones(67))
    tips = hardmo_person(marked)["hand_keypoints_2d"]
    np.testing.assert_array_equal(tips[:, 2], [0] * 5 + [1] * 5)


def test_pose_of_which_a_part_is_called_wrong_is_read_as_unknown_and_shown_to_no_discriminator(tmp_path):
    rows = [label(0), label(1, track=1, review_by_part={"right_foot": "wrong"})]
    done = write_hmr2_tars(rows, tmp_path / "tars", jpeg_of)
    source = Hmr2Tars(done.paths, filters=ALL)
    assert [source.record(place).has_pose for place in range(2)] == [True, False]
    found = write_mocap_npz(rows, tmp_path / "mocap.npz")
    assert (found.num_people, found.left_out) == (1, {"with a part that a person called wrong": 1})


def test_points_that_a_body_lacks_are_unknown():
    points = np.array(label(0).keypoints_3d)
    points[[4, 9]] = np.nan
    slots = hmr2_person(label(0, keypoints_3d=points))["keypoints_3d"]
    assert np.isfinite(slots).all()
    np.testing.assert_array_equal(slots[[4, 9, 39]], 0)


def test_loss_is_smplifys():
    row = label(2)
    total = 0.0
    for place in range(25):
        x, y, z = row.keypoints_3d[place].astype(np.float64)
        pixel = np.array([x / z * row.focal_length[0], y / z * row.focal_length[1]]) + row.principal_point
        off = (pixel - row.keypoints_2d[place]) * 256 / (1.2 * (row.bbox[2:] - row.bbox[:2]).max())
        total += float(row.keypoint_confidence[place]) ** 2 * (1e4 * off**2 / (1e4 + off**2)).sum()
    assert reprojection_loss(row) == pytest.approx(total, rel=1e-5)
    behind = row.keypoints_3d * [1, 1, -1]
    most = 2e4 * (row.keypoint_confidence[:25].astype(np.float64) ** 2).sum()
    assert reprojection_loss(label(2, keypoints_3d=behind)) == pytest.approx(most, rel=1e-5)
    assert "fitting_loss" not in hmr2_person(label(0, keypoints_3d=None))["extra_info"]


# Errors ---------------------------------------------------------------------------------------------------


def turned(row):
    exif = Image.Exif()
    exif[274] = 6
    return jpeg_of(row, exif=exif)


@pytest.mark.parametrize(
    ("picture_of", "message"),
    [
        (lambda row: jpeg_of(row, size=(HEIGHT, WIDTH)), "must be 96 x 64 pixels as its label says, got 64 x 96"),
        (lambda row: jpeg_of(row, "PNG", size=(8, 9)), "got 8 x 9"),
        (lambda row: jpeg_of(row, "BMP"), "must be a JPEG or PNG"),
        (lambda row: jpeg_of(row)[:30], "must be a JPEG or PNG"),
        (lambda row: b"", "must be a JPEG or PNG"),
        (turned, "turned by its EXIF"),
    ],
)
def test_pictures_that_are_not_the_labelled_ones_are_refused(tmp_path, picture_of, message):
    with pytest.raises(TrainingExportError, match=f"'photos/bow.png', frame 0.*{message}"):
        write_hmr2_tars(
            people(), tmp_path, lambda row: (picture_of if row.fps is None else jpeg_of)(row), samples_per_tar=1
        )
    assert list(tmp_path.iterdir()) == []


def test_pictures_in_progressive_and_upright_files_are_taken(tmp_path):
    exif = Image.Exif()
    exif[274] = 1
    done = write_hmr2_tars([label(0)], tmp_path, lambda row: jpeg_of(row, progressive=True, exif=exif))
    assert done.num_pictures == 1


@pytest.mark.parametrize(
    ("first", "second"), [("a/x.jpg", "a/x.png"), ("a/x.1.jpg", "a/x_1.jpg"), ("/me/x.jpg", "x.jpg")]
)
def test_two_pictures_with_one_key_are_refused(tmp_path, first, second):
    rows = [label(0, path=first, video=False), label(1, path=second, video=False)]
    with pytest.raises(TrainingExportError, match=r"two labelled pictures would be called '(a/)?x"):
        write_hmr2_tars(rows, tmp_path / "set", jpeg_of)
    assert not (tmp_path / "set").exists()


def test_folders_with_other_tars_are_refused(tmp_path):
    write_hmr2_tars([label(0)], tmp_path, jpeg_of)
    before = hashlib.sha256((tmp_path / "000000.tar").read_bytes()).digest()
    with pytest.raises(TrainingExportError, match=r"holds 1 tars already, such as 000000.tar"):
        write_hmr2_tars([label(1)], tmp_path, jpeg_of)
    assert hashlib.sha256((tmp_path / "000000.tar").read_bytes()).digest() == before
    with pytest.raises(ValueError, match="at least 1"):
        write_hmr2_tars([label(1)], tmp_path / "new", jpeg_of, samples_per_tar=0)


# Discriminator --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [label, smpl_label])
def test_poses_for_the_discriminator_are_those_of_the_labels(tmp_path, make):
    rows = people(make)
    done = write_mocap_npz(rows, tmp_path / "mocap.npz")
    in_order = [rows[place] for own in KEYS.values() for place in own]
    data = np.load(tmp_path / "mocap.npz")
    assert (data["body_pose"].dtype, data["betas"].dtype) == (np.float32, np.float32)
    pose, betas = MocapPoses(tmp_path / "mocap.npz").rows(np.arange(7))
    assert (done.num_people, done.num_without_betas) == (7, 7 * (make is label))
    np.testing.assert_array_equal(data["has_betas"], make is smpl_label)
    for index, row in enumerate(in_order):
        np.testing.assert_array_equal(data["body_pose"][index, :3], row.global_orient)
        np.testing.assert_array_equal(pose[index, :63], row.body_pose.ravel())
        np.testing.assert_array_equal(betas[index], row.betas if make is smpl_label else np.zeros(10))
        if make is label:
            np.testing.assert_array_equal(data["betas_open_body_smplh"][index], row.betas)
