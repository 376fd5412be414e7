"""Files of people with truth: what was written comes back, and what is damaged is refused."""

import dataclasses
import hashlib
import json

import jax
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.data import hard_set, staging, synthetic
from hardmo_jax.data.hard_set import HardSetError, load_hard_set
from hardmo_jax.data.staging import Motion, StagingOptions


@pytest.fixture(scope="module")
def body():
    return hm.open_body()


@pytest.fixture(scope="module")
def people(body):
    drawn = synthetic.sample_hard_poses(1, 5)
    motion = Motion(
        full_pose=drawn.full_pose[:, None], pelvis=np.zeros((5, 1, 3)), styles=drawn.styles,
        takes=("a", "b", "c", "d", "é"), groups=("g", "g", "h", "h", "é"),
        frames=np.arange(5)[:, None], frames_per_second=30.0,
    )  # fmt: skip
    return staging.stage(body, motion, StagingOptions(), seed=0, name="bench/test")


@pytest.fixture
def path(people, tmp_path):
    people.save(tmp_path / "set.npz")
    return tmp_path / "set.npz"


def rewrite(path, **changes):
    """The file with other entries; None takes one away, `meta` is a mapping of changes."""
    with np.load(path) as file:
        arrays = dict(file)
    if isinstance(changes.get("meta"), dict):
        changes["meta"] = np.array(json.dumps(json.loads(str(arrays["meta"])) | changes["meta"]))
    arrays |= changes
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})


def test_what_was_saved_comes_back_bit_by_bit(people, path):
    again = load_hard_set(path)
    assert jax.tree.structure(again.params) == jax.tree.structure(people.params)
    for field in dataclasses.fields(people):
        ours, theirs = getattr(again, field.name), getattr(people, field.name)
        for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_array_equal(one, other)
            assert np.asarray(one).dtype == np.asarray(other).dtype or isinstance(one, str | int | float)


def test_same_set_gives_the_same_bytes(people, path, tmp_path):
    digest = people.save(tmp_path / "deep" / "er" / "other.npz")
    assert (tmp_path / "deep" / "er" / "other.npz").read_bytes() == path.read_bytes()
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert load_hard_set(path).save(path) == digest
    assert [entry.name for entry in (tmp_path / "deep" / "er").iterdir()] == ["other.npz"]


def test_file_is_plain_numpy(path, people):
    with np.load(path, allow_pickle=False) as file:
        assert file["keypoints_2d"].dtype == np.float32
        assert json.loads(str(file["meta"]))["name"] == people.name


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_file_is_refused(path, share):
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(HardSetError, match=r"set\.npz.*prepare it again"):
        load_hard_set(path)


def test_damaged_content_is_refused(path):
    content = bytearray(path.read_bytes())
    content[content.find(b"joints.npy") + 400] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(HardSetError, match="prepare it again"):
        load_hard_set(path)


def test_pickled_objects_are_never_read(path):
    rewrite(path, styles=np.array([{"a": 1}, None, 2, 3, 4], dtype=object))
    with pytest.raises(HardSetError, match="prepare it again"):
        load_hard_set(path)


def test_foreign_files_are_refused(tmp_path):
    for name, arrays in {
        "a": {"x": np.zeros(3)},
        "b": {"meta": np.array("[1, 2]")},
        "c": {"meta": np.zeros(2)},
    }.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
        with pytest.raises(HardSetError, match="prepare it again"):
            load_hard_set(tmp_path / f"{name}.npz")
    (tmp_path / "d.npz").write_text("this is not an archive")
    with pytest.raises(HardSetError, match="prepare it again"):
        load_hard_set(tmp_path / "d.npz")


def test_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"tools\.prepare"):
        load_hard_set(tmp_path / "none.npz")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ids": np.array(["a", "b", "a", "c", "d"])}, "ids repeat"),
        ({"ids": np.arange(5)}, "texts|wrong kind"),
        ({"meta": {"format_version": 99}}, "format 99, this version reads 1"),
        ({"meta": {"layout": "coco_wholebody66"}}, "layout"),
        ({"meta": {"image_size": None}}, "wrong kind"),
        ({"meta": {"name": 7}}, "name|wrong kind"),
        ({"meta": np.array("[" * 100_000)}, "not a set of people"),
        ({"keypoints_2d": None}, "keypoints_2d"),
        ({"params.transl": None}, "transl"),
        ({"camera.focal_length": None}, "focal_length"),
        ({"confidence": np.zeros((5, 64), np.float32)}, "confidence|wrong kind"),
        ({"keypoints_2d": np.zeros((4, 65, 2), np.float32)}, "keypoints_2d"),
        ({"joints": np.zeros((5, 52, 3), np.int64)}, "joints|wrong kind"),
        ({"frames": np.zeros(4, np.int32)}, "frames"),
        ({"styles": np.array(["dance"] * 4)}, "different lengths"),
        ({"params.body_pose": np.zeros((4, 21, 3), np.float32)}, "different lengths"),
        ({"params.betas": np.zeros((), np.float32)}, "wrong kind|different lengths"),
        ({"assumed_camera.focal_length": np.zeros((4, 2), np.float32)}, "assumed_camera|wrong kind"),
    ],
)
def test_contradictions_are_named(path, changes, message):
    rewrite(path, **changes)
    with pytest.raises(HardSetError, match=message) as caught:
        load_hard_set(path)
    assert "prepare it again" in str(caught.value)


def test_selected_samples_keep_their_rows_in_the_given_order(people):
    some = people.select(np.array([3, 1]), name="bench/some")
    assert (some.name, some.ids, some.takes) == ("bench/some", (people.ids[3], people.ids[1]), ("d", "b"))
    assert len(some) == 2
    for field in ("joints", "keypoints_2d", "confidence", "frames"):
        np.testing.assert_array_equal(getattr(some, field), getattr(people, field)[[3, 1]])
    for field in ("params", "camera", "assumed_camera"):
        pairs = zip(jax.tree.leaves(getattr(some, field)), jax.tree.leaves(getattr(people, field)), strict=True)
        for one, other in pairs:
            np.testing.assert_array_equal(one, np.asarray(other)[[3, 1]])
    assert len(people.select(np.zeros(0, int))) == 0


def test_true_vertices_are_those_of_the_body(people, body, path):
    expected = np.asarray(body(people.params).vertices)
    found = hard_set.truth_vertices(load_hard_set(path), body)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(body(people.params).joints, people.joints, atol=1e-5)


def test_another_body_is_refused(people, body):
    with pytest.raises(HardSetError, match=r"open_body/smplh.*not with open_body/smpl .*prepare it again"):
        hard_set.truth_vertices(people, hm.open_body(view="smpl"))
    with pytest.raises(HardSetError, match="prepare it again"):
        dataclasses.replace(people, body_checksum="0" * 64).check_body(body)
