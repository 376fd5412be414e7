"""Tars as WebDataset writes them: the numbers, the filters, damage of one person, and pickles that would run code."""

import io
import os
import pathlib
import pickle
import tarfile

import numpy as np
import pytest

from hardmo_jax import safe_pickle
from hardmo_jax.data.published.hmr2_filters import Hmr2Filters
from hardmo_jax.data.published.hmr2_tars import Hmr2Tars
from hardmo_jax.data.training_records import FINGERTIPS, TrainingDataError, TrainingSource
from hardmo_jax.skeleton import layouts

SLOTS = layouts.get_layout("hmr2_44")
PHOTO = b"\xff\xd8\xff photo"


def person(rng, **changes):
    """A dict as the published files hold it."""
    fields = {
        "keypoints_2d": np.column_stack([rng.uniform(0, 500, (44, 2)), np.full(44, 0.9)]).astype(np.float32),
        "keypoints_3d": np.column_stack([rng.normal(size=(44, 3)), np.ones(44)]).astype(np.float32),
        "center": np.array([250.0, 200.0]),
        "scale": np.array([0.5, 1.5]),
        "body_pose": rng.normal(0, 0.3, 72).astype(np.float32),
        "betas": rng.uniform(-2, 2, 10).astype(np.float32),
        "has_body_pose": np.array(1.0),
        "has_betas": np.array(True),
        "extra_info": {"fitting_loss": np.array({"reprojection_loss": np.float32(200)}, object)},
    }
    return {name: value for name, value in (fields | changes).items() if value is not None}


def write(path, files, **options):
    """An uncompressed tar of names and bytes, or of names and lists to be pickled."""
    with tarfile.open(path, "w", **options) as tar:
        for name, content in files:
            data = content if isinstance(content, bytes) else pickle.dumps(content)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def photo_with(people, key="video/000001"):
    return [(f"{key}.jpg", PHOTO), (f"{key}.data.pyd", people)]


@pytest.fixture
def read(tmp_path):
    """Source of one tar with one photo of some people."""

    def read_people(*people, **options):
        return Hmr2Tars(write(tmp_path / "000000.tar", photo_with(list(people))), **options)

    return read_people


def test_numbers_are_those_of_the_file(read, rng):
    truth = person(rng)
    source = read(truth)
    assert isinstance(source, TrainingSource)
    assert (source.name, len(source)) == ("000000", 1)
    record = source.record(0)
    np.testing.assert_array_equal(record.person.keypoints_2d, truth["keypoints_2d"][:, :2])
    np.testing.assert_allclose(record.person.confidence, 0.9, rtol=1e-6)
    np.testing.assert_array_equal(record.person.keypoints_3d, truth["keypoints_3d"][:, :3])
    np.testing.assert_array_equal(record.person.confidence_3d, 1)
    np.testing.assert_array_equal(record.person.global_orient, truth["body_pose"][:3])
    np.testing.assert_array_equal(record.person.body_pose.reshape(-1), truth["body_pose"][3:])
    np.testing.assert_array_equal(record.betas, truth["betas"])
    assert (record.has_pose, record.has_betas, record.size) == (True, True, 300.0)
    np.testing.assert_array_equal(record.center, [250, 200])
    assert record.fingertips_2d is None


def test_photo_is_where_the_record_says(read, rng):
    pixels = read(person(rng)).record(0).pixels
    data = pathlib.Path(pixels.path).read_bytes()
    assert data[pixels.member_offset : pixels.member_offset + pixels.member_bytes] == PHOTO


def test_every_person_of_every_photo_of_every_tar_has_a_number(tmp_path, rng):
    first, second, third = person(rng), person(rng), person(rng)
    files = [*photo_with([first, second], "a/1"), ("a/2.png", PHOTO * 2), ("a/2.detection.npz", b"masks")]
    one = write(tmp_path / "1.tar", [*files, ("a/2.pyd", [third])])
    two = write(tmp_path / "2.tar", photo_with([first], "a/1"))
    source = Hmr2Tars([one, two], name="mixed")
    assert (source.name, len(source)) == ("mixed", 4)
    for index, truth in enumerate((first, second, third, first)):
        np.testing.assert_array_equal(source.record(index).betas, truth["betas"])
    assert len({source.record(index).name for index in range(4)}) == 4
    assert source.record(2).pixels.member_bytes == 2 * len(PHOTO)
    assert source.record(3).pixels.path == str(two)


def test_skipped_photos_are_left_out(tmp_path, rng):
    path = write(tmp_path / "1.tar", [*photo_with([person(rng)], "a/1"), *photo_with([person(rng)], "a/2")])
    source = Hmr2Tars(path, skipped_keys=frozenset({"a/1"}))
    assert [source.record(index).name for index in range(len(source))] == [f"{path}/a/2.data.pyd#0"]


@pytest.mark.parametrize("rows", [10, 12])
def test_tips_of_fingers_are_the_last_ten(read, rng, rows):
    hands = np.column_stack([rng.uniform(0, 500, (rows, 2)), np.ones(rows)])
    record = read(person(rng, hand_keypoints_2d=hands)).record(0)
    np.testing.assert_array_equal(record.fingertips_2d, hands[-len(FINGERTIPS) :, :2])
    np.testing.assert_array_equal(record.fingertips_confidence, 1)


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_and_ways_out_are_nothing_but_names(tmp_path, rng, form):
    key = "../../" + "v" * 180 + "/photo"
    path = write(tmp_path / "1.tar", photo_with([person(rng)], key), format=form)
    record = Hmr2Tars(path).record(0)
    assert record.name.startswith(f"{path}/../../vvv")
    assert os.listdir(tmp_path) == ["1.tar"]


# Filters --------------------------------------------------------------------------------------------------


def test_uncertain_keypoints_are_unknown(read, rng):
    keypoints = person(rng)["keypoints_2d"]
    keypoints[SLOTS.index("nose"), 2] = 0.29
    seen = read(person(rng, keypoints_2d=keypoints)).record(0).person.confidence
    assert seen[SLOTS.index("nose")] == 0
    assert np.count_nonzero(seen) == 43


@pytest.mark.parametrize(("count", "kept"), [(4, 0), (5, 1)])
def test_people_with_few_keypoints_are_left_out(read, rng, count, kept):
    keypoints = person(rng)["keypoints_2d"]
    keypoints[count:, 2] = 0.2
    assert len(read(person(rng, keypoints_2d=keypoints))) == kept


@pytest.mark.parametrize(("loss", "kept"), [(30_999.0, 1), (31_000.0, 0), (np.nan, 0)])
@pytest.mark.parametrize("wrap", [lambda losses: np.array(losses, object), lambda losses: losses])
def test_bad_fits_are_left_out(read, rng, loss, kept, wrap):
    extra = {"fitting_loss": wrap({"reprojection_loss": np.array(loss)}), "detection_npz_idx": 0}
    assert len(read(person(rng, extra_info=extra))) == kept


@pytest.mark.parametrize("extra", [None, {}, {"fitting_loss": np.array({}, object)}, np.array({}, object)])
def test_fits_of_which_nothing_is_told_are_kept(read, rng, extra):
    assert len(read(person(rng, extra_info=extra))) == 1


def test_improbable_shape_takes_the_pose_with_it(read, rng):
    betas = np.array([3.1] + [0.0] * 9)
    record = read(person(rng, betas=betas)).record(0)
    assert (record.has_pose, record.has_betas) == (False, True)
    assert not record.betas.any()
    assert not record.person.body_pose.any()
    assert not record.person.global_orient.any()
    lenient = Hmr2Filters(is_pose_with_betas=False, are_missing_betas_zero=False)
    record = read(person(rng, betas=betas), filters=lenient).record(0)
    assert (record.has_pose, record.has_betas) == (True, False)


def test_keypoints_in_space_may_be_left_out(read, rng):
    assert not read(person(rng), believes_keypoints_3d=False).record(0).person.confidence_3d.any()
    assert not read(person(rng, keypoints_3d=None)).record(0).person.confidence_3d.any()


# Damage ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"center": None}, r"`center` must be numbers of shape \(2,\), got nothing"),
        ({"scale": np.array([-1.0])}, "`scale` must be above 0, got -1"),
        ({"scale": np.array([np.inf, 1])}, "`scale` must be finite"),
        ({"scale": "large"}, "`scale` must be numbers"),
        ({"keypoints_2d": np.zeros((49, 3))}, r"`keypoints_2d` must be numbers of shape \(44, 3\), got float64 of"),
        ({"keypoints_2d": np.full((44, 3), np.nan)}, "`keypoints_2d.*` must be finite"),
        ({"keypoints_3d": np.zeros((44, 3))}, "`keypoints_3d`"),
        ({"body_pose": np.zeros(69)}, r"`body_pose` must be numbers of shape \(72,\)"),
        ({"body_pose": np.full(72, np.nan)}, "`body_pose` must be finite and within .*, got nan at"),
        ({"betas": np.zeros(11)}, "`betas`"),
        ({"has_betas": None}, "`has_betas`"),
        ({"has_body_pose": [1, [2]]}, "`has_body_pose`"),
        ({"hand_keypoints_2d": np.zeros((11, 3))}, "`hand_keypoints_2d`"),
        ({"extra_info": 3}, "`extra_info` must be a dict, got int 3"),
        ({"extra_info": {"fitting_loss": {"reprojection_loss": "low"}}}, "`reprojection_loss`"),
    ],
)
def test_damage_is_of_one_person_only(read, rng, changes, message):
    source = read(person(rng), person(rng, **changes), person(rng))
    assert len(source) == 3
    with pytest.raises(TrainingDataError, match=f"(?s)000000.tar: video/000001.data.pyd: person 1.*{message}"):
        source.record(1)
    source.record(0)
    source.record(2)


def test_unknown_parts_may_hold_anything(read, rng):
    record = read(person(rng, has_body_pose=np.array(0.0), body_pose=np.full(72, np.nan))).record(0)
    assert not record.has_pose
    keypoints = person(rng)["keypoints_2d"]
    keypoints[0] = (np.nan, np.inf, 0)
    assert not read(person(rng, keypoints_2d=keypoints)).record(0).person.keypoints_2d[0].any()


@pytest.mark.parametrize("people", [{"center": 1}, 3, [4]])
def test_labels_must_be_a_list_of_dicts(tmp_path, people):
    source = Hmr2Tars(write(tmp_path / "1.tar", photo_with(people)))
    with pytest.raises(TrainingDataError, match="must be a"):
        source.record(0)


class Bomb:
    def __reduce__(self):
        return os.system, ("touch bombed",)


@pytest.mark.parametrize(
    "people", [[Bomb()], [{"extra_info": Bomb()}], np.array([Bomb()], object), np.array({"a": Bomb()}, object)]
)
def test_nothing_is_executed(tmp_path, rng, people, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = [*photo_with([person(rng)], "a"), *photo_with(people, "b"), *photo_with([person(rng)], "c")]
    source = Hmr2Tars(write(tmp_path / "1.tar", files))
    assert len(source) == 3
    with pytest.raises(safe_pickle.UnsafePickleError, match=r"1.tar: b.data.pyd.*system"):
        source.record(1)
    source.record(2)
    assert os.listdir(tmp_path) == ["1.tar"]


def test_cut_off_pickle_is_of_one_photo_only(tmp_path, rng):
    whole = pickle.dumps([person(rng)])
    files = [*photo_with([person(rng)], "a"), *photo_with(whole[:-100], "b")]
    source = Hmr2Tars(write(tmp_path / "1.tar", files))
    assert len(source) == 2
    with pytest.raises(safe_pickle.CorruptPickleError, match=r"b.data.pyd"):
        source.record(1)


def test_labels_without_a_photo_are_told(tmp_path, rng):
    source = Hmr2Tars(write(tmp_path / "1.tar", [("a.data.pyd", [person(rng)])]))
    with pytest.raises(TrainingDataError, match=r"a.data.pyd: `photo` must be a jpg"):
        source.record(0)


def test_bad_tars_are_refused(tmp_path, rng):
    path = write(tmp_path / "1.tar", photo_with([person(rng)]))
    data = path.read_bytes()
    for content, message in (
        (data[:1500], "cut off"),
        (data[:1024] + b"\1" + data[1025:], "wrong checksum"),
        (b"\x1f\x8b" + data, "gzip archive"),
        (b"not a tar at all", "must be an uncompressed tar"),
        (b"", "must hold labels"),
    ):
        path.write_bytes(content)
        with pytest.raises(TrainingDataError, match=message):
            Hmr2Tars(path)
    with pytest.raises(FileNotFoundError):
        Hmr2Tars(tmp_path / "none.tar")
    with pytest.raises(TrainingDataError, match="must hold labels"):
        Hmr2Tars(write(path, [("a.jpg", PHOTO)]))


def test_long_headers_are_refused(tmp_path):
    name = "v" * 70_000
    with pytest.raises(TrainingDataError, match="longer than any name"):
        Hmr2Tars(write(tmp_path / "1.tar", [(f"{name}.data.pyd", [])], format=tarfile.GNU_FORMAT))


def test_changed_tar_is_noticed(tmp_path, rng):
    path = write(tmp_path / "1.tar", photo_with([person(rng)]))
    source = Hmr2Tars(path)
    path.write_bytes(path.read_bytes()[:512])
    with pytest.raises(TrainingDataError, match=r"cut off|changed"):
        source.record(0)


@pytest.mark.slow
def test_several_processes_find_the_same_people(tmp_path, rng):
    files = photo_with([person(rng), person(rng)])
    paths = [write(tmp_path / f"{name}.tar", files) for name in "ab"]
    alone, together = Hmr2Tars(paths), Hmr2Tars(paths, num_processes=2)
    assert len(alone) == len(together) == 4
    assert [alone.record(i).name for i in range(4)] == [together.record(i).name for i in range(4)]
