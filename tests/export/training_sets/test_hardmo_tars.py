"""Tars in HardMo's layout: one sample a person, with the tips of the fingers."""

import numpy as np
import pytest
import webdataset

from hardmo_jax.data.published.hmr2_filters import Hmr2Filters
from hardmo_jax.data.published.hmr2_tars import Hmr2Tars
from hardmo_jax.export.training_sets.hardmo_tars import write_hardmo_tars
from hardmo_jax.export.training_sets.hmr2_tars import hmr2_person
from hardmo_jax.export.training_sets.training_labels import TrainingExportError
from tests.export.training_sets.labels_to_export import TIPS, jpeg_of, label, people, smpl_label

#: Keys in the order of the tars, and the place of the person in `people()`.
KEYS = {
    "breaking/clips/dance_v2/take 1/000000_0": 5,
    "breaking/clips/dance_v2/take 1/000000_1": 6,
    "breaking/clips/dance_v2/take 1/000002_0": 1,
    "breaking/clips/dance_v2/take 1/000002_1": 0,
    "breaking/clips/dance_v2/take 1/000010_0": 2,
    "uncategorised/photos/bow/000000_0": 4,
    "uncategorised/photos/bow/000000_1": 3,
}


@pytest.mark.parametrize("make", [label, smpl_label])
@pytest.mark.parametrize("samples_per_tar", [2, 1000])
def test_every_person_is_a_sample_with_the_tips_of_the_fingers(tmp_path, make, samples_per_tar):
    rows = people(make)
    done = write_hardmo_tars(rows, tmp_path, jpeg_of, samples_per_tar=samples_per_tar)
    assert (len(done.paths), done.num_people, done.num_pictures) == (-(-7 // samples_per_tar), 7, 4)
    found = list(webdataset.WebDataset([str(path) for path in done.paths], shardshuffle=False).decode("rgb8"))
    assert [item["__key__"] for item in found] == list(KEYS)
    for item, place in zip(found, KEYS.values(), strict=True):
        row = rows[place]
        (person,) = item["data.pyd"]
        tips = np.concatenate([row.keypoints_2d, row.keypoint_confidence[:, None]], 1)[TIPS]
        np.testing.assert_array_equal(person.pop("hand_keypoints_2d"), tips)
        expected = hmr2_person(row)
        assert person.keys() == expected.keys()
        for key in person.keys() - {"extra_info"}:
            np.testing.assert_array_equal(person[key], expected[key])
        assert abs(int(item["jpg"][0, 0, 0]) - 40 - 10 * row.frame_index) <= 4


def test_reader_of_this_package_gives_the_labels_back(tmp_path):
    rows = people(smpl_label)
    source = Hmr2Tars(write_hardmo_tars(rows, tmp_path, jpeg_of).paths, believes_keypoints_3d=False)
    assert len(source) == 7
    for index, place in enumerate(KEYS.values()):
        record, row = source.record(index), rows[place]
        np.testing.assert_array_equal(record.betas, row.betas)
        np.testing.assert_array_equal(record.person.body_pose.ravel()[:63], row.body_pose.ravel())
        np.testing.assert_array_equal(record.person.body_pose[21:], row.smpl_hand_pose)
        np.testing.assert_array_equal(record.fingertips_2d, row.keypoints_2d[TIPS])
        np.testing.assert_array_equal(record.fingertips_confidence, row.keypoint_confidence[TIPS])


def test_fingers_that_were_not_seen_are_unknown(tmp_path):
    confidence = np.array(label(0).keypoint_confidence)
    confidence[25:] = 0
    paths = write_hardmo_tars([label(0, keypoint_confidence=confidence)], tmp_path, jpeg_of).paths
    assert Hmr2Tars(paths, filters=Hmr2Filters()).record(0).fingertips_2d is None


def test_pictures_are_asked_for_once(tmp_path):
    asked = []
    write_hardmo_tars(people(), tmp_path, lambda row: asked.append(row) or jpeg_of(row))
    assert len(asked) == 4


def test_tars_are_the_same_every_time(tmp_path):
    first, second = (
        write_hardmo_tars(rows, tmp_path / name, jpeg_of).paths[0].read_bytes()
        for name, rows in (("a", people()), ("b", people()[::-1]))
    )
    assert first == second


def test_two_videos_do_not_share_a_folder(tmp_path):
    rows = [label(0, path="a/x.mp4", frame=1), label(1, path="a/x.mov", frame=2)]
    with pytest.raises(TrainingExportError, match=r"share the folder 'breaking/a/x'.*x.mp4.*x.mov"):
        write_hardmo_tars(rows, tmp_path / "set", jpeg_of)
    assert not (tmp_path / "set").exists()


def test_two_people_do_not_share_a_key(tmp_path):
    rows = [label(0), label(1, label_id="0" * 32)]
    with pytest.raises(TrainingExportError, match=r"000000_0'.*its own `track_id`"):
        write_hardmo_tars(rows, tmp_path / "set", jpeg_of)


def test_classes_are_one_folder_without_dots(tmp_path):
    (path,) = write_hardmo_tars([label(0, category="../kung.fu/sword")], tmp_path, jpeg_of).paths
    (item,) = webdataset.WebDataset(str(path), shardshuffle=False)
    assert item["__key__"] == "kung_fu_sword/clips/dance_v2/take 1/000000_0"
