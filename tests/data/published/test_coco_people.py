"""Annotation files of COCO, COCO-WholeBody and Halpe: points by name, boxes, and damage of one person."""

import json
import os

import numpy as np
import pytest

from hardmo_jax.data.published.coco_people import CocoPeople
from hardmo_jax.data.training_records import FINGERTIPS, TrainingDataError, TrainingSource
from hardmo_jax.skeleton import layouts

SLOTS = layouts.get_layout("hmr2_44")
FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
FEET = tuple(f"{side}_{point}" for side in layouts.SIDES for point in ("big_toe", "small_toe", "heel"))


def points(rng, count, visible=2):
    return np.column_stack([rng.uniform(1, 600, (count, 2)), np.full(count, visible)]).reshape(-1).tolist()


def annotation(rng, count=17, **changes):
    fields = {
        "id": 183126,
        "image_id": 139,
        "category_id": 1,
        "iscrowd": 0,
        "area": 100.5,
        "segmentation": [[1.0, 2.0, 3.0]],
        "keypoints": points(rng, count),
        "num_keypoints": count,
        "bbox": [100.0, 50.0, 60.0, 180.0],
    }
    return {name: value for name, value in (fields | changes).items() if value is not None}


@pytest.fixture
def read(tmp_path):
    def read_people(*people, images=None, **options):
        images = [{"id": 139, "file_name": "000000000139.jpg", "width": 640}] if images is None else images
        content = {"info": {}, "images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]}
        (tmp_path / "labels.json").write_text(json.dumps(content))
        return CocoPeople(tmp_path / "labels.json", "val2017", **options)

    return read_people


def place(record, point):
    return record.person.keypoints_2d[SLOTS.index(point)].tolist()


def known(record):
    return {point for point, value in zip(SLOTS.points, record.person.confidence, strict=True) if value > 0}


def slot_of(point):
    return f"{point}_lsp" if f"{point}_lsp" in SLOTS.points else point


def test_numbers_are_those_of_the_file(read, rng):
    person = annotation(rng)
    source = read(person)
    assert isinstance(source, TrainingSource)
    assert (source.name, len(source)) == ("labels", 1)
    record = source.record(0)
    assert record.pixels.path == os.path.join("val2017", "000000000139.jpg")
    np.testing.assert_array_equal(record.center, [130, 140])
    assert record.size == pytest.approx(1.2 * 180)
    for index, point in enumerate(layouts.get_layout("coco17").points):
        assert place(record, slot_of(point)) == person["keypoints"][3 * index : 3 * index + 2]
    assert known(record) == {slot_of(point) for point in layouts.get_layout("coco17").points}
    assert set(record.person.confidence) == {0, 1}
    assert (record.has_pose, record.has_betas) == (False, False)
    assert not record.person.confidence_3d.any()
    assert record.fingertips_2d is None


def test_detected_points_go_to_slots_of_detectors(read, rng):
    record = read(annotation(rng, keypoints=points(rng, 17, 0.7)), slots="detected").record(0)
    assert known(record) == set(layouts.get_layout("coco17").points)
    assert set(record.person.confidence) == {0, 0.7}


def test_points_that_nobody_marked_are_unknown(read, rng):
    keypoints = points(rng, 17, 1)
    keypoints[2] = 0
    record = read(annotation(rng, keypoints=keypoints)).record(0)
    assert "nose" not in known(record)
    assert place(record, "nose") == [0, 0]


def test_whole_bodies_have_feet_and_tips_of_fingers(read, rng):
    more = {
        "foot_kpts": points(rng, 6),
        "face_kpts": points(rng, 68),
        "lefthand_kpts": points(rng, 21, 0.8),
        "righthand_kpts": points(rng, 21, 0),
        "foot_valid": True,
        "lefthand_valid": True,
        "righthand_valid": False,
    }
    record = read(annotation(rng, **more)).record(0)
    for index, point in enumerate(FEET):
        assert place(record, point) == more["foot_kpts"][3 * index : 3 * index + 2]
    hand = layouts.get_layout("left_hand21")
    for index, tip in enumerate(FINGERTIPS):
        is_left = tip.startswith("left")
        assert record.fingertips_confidence[index] == is_left
        if is_left:
            start = 3 * hand.index(tip)
            assert record.fingertips_2d[index].tolist() == more["lefthand_kpts"][start : start + 2]
    assert known(read(annotation(rng, **more | {"foot_valid": False})).record(0)).isdisjoint(FEET)


@pytest.mark.parametrize("name", ["halpe26", "halpe136", "coco_wholebody133", "coco_feet23"])
def test_one_list_of_all_points_is_read_by_its_length(read, rng, name):
    layout = layouts.get_layout(name)
    person = annotation(rng, len(layout))
    record = read(person).record(0)
    for index, point in enumerate(layout.points):
        here = person["keypoints"][3 * index : 3 * index + 2]
        if point in FINGERTIPS:
            assert record.fingertips_2d[FINGERTIPS.index(point)].tolist() == here
        elif slot_of(point) in SLOTS.points:
            assert place(record, slot_of(point)) == here
    assert {"left_heel", "right_knee_lsp", *FACE} <= known(record)
    assert ("head_top_lsp" in known(record)) == name.startswith("halpe")
    assert (record.fingertips_2d is not None) == (name in ("halpe136", "coco_wholebody133"))


def test_people_to_train_on_are_those_with_points(read, rng):
    few = points(rng, 17)
    few[2::3] = [2] * 4 + [0] * 13
    enough = points(rng, 17)
    enough[2::3] = [2] * 5 + [0] * 12
    people = [annotation(rng, keypoints=few), annotation(rng, keypoints=enough), annotation(rng, iscrowd=1)]
    people.append(annotation(rng, keypoints=None))
    assert len(read(*people)) == 1
    assert len(read(*people, least_keypoints=4)) == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keypoints": [1, 2, 2] * 16}, "`keypoints` must be x, y and visibility of 17 or 23"),
        ({"keypoints": [1, 2, 2] * 17 + [1]}, "`keypoints` must be numbers"),
        ({"keypoints": ["1", 2, 2] * 17}, "`keypoints` must be numbers"),
        ({"keypoints": "all"}, "`keypoints` must be x, y"),
        ({"keypoints": [float("nan"), 2, 2] * 17}, "`keypoints` must be finite"),
        ({"keypoints": [10**400, 2, 2] * 17}, "`keypoints`"),
        ({"foot_kpts": [1, 2, 2] * 7}, "`foot_kpts` must be numbers"),
        ({"lefthand_kpts": None, "righthand_kpts": 3}, "`righthand_kpts` must be numbers"),
        ({"bbox": None}, "`bbox` must be numbers.*got nothing"),
        ({"bbox": [1, 2, 3]}, "`bbox` must be numbers"),
        ({"bbox": [1, 2, 0, 0]}, "`bbox` must be wider"),
        ({"image_id": 140}, "`image_id` must be the id of one of `images`, got int 140"),
        ({"image_id": [1]}, "`image_id` must be"),
    ],
)
def test_damage_is_of_one_person_only(read, rng, changes, message):
    source = read(annotation(rng), annotation(rng, **{"id": 7} | changes))
    assert len(source) == 2
    source.record(0)
    with pytest.raises(TrainingDataError, match=rf"labels.json: annotation int 7: {message}"):
        source.record(1)


@pytest.mark.parametrize("name", ["../a.jpg", "/a.jpg", "a/../../a.jpg", 3, ""])
def test_names_lead_nowhere_else(read, rng, name):
    source = read(annotation(rng), images=[{"id": 139, "file_name": name}])
    with pytest.raises(TrainingDataError, match="`file_name` must be"):
        source.record(0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "must be JSON"),
        ('{"images": [], "annotations": [', "must be JSON"),
        ("[" * 100_000, "must be JSON"),
        ("[1]", "`the file` must be an object"),
        ('{"images": []}', "`annotations` must be a list, got nothing"),
        ('{"annotations": []}', "`images` must be a list, got nothing"),
        ('{"images": [{"id": "1", "file_name": "a"}], "annotations": []}', r"`images\[0\]` must be an object"),
        ('{"images": [], "annotations": [{"id": 1}]}', r"`annotations\[0\]` must be an object with `image_id`"),
    ],
)
def test_bad_files_are_refused(tmp_path, content, message):
    path = tmp_path / "labels.json"
    path.write_text(content)
    with pytest.raises(TrainingDataError, match=message):
        CocoPeople(path, "photos")
    with pytest.raises(FileNotFoundError):
        CocoPeople(tmp_path / "none.json", "photos")


def test_files_of_countless_lists_are_refused(tmp_path):
    path = tmp_path / "labels.json"
    path.write_bytes(b"[" + b"[]," * 20_000_001 + b"[]]")
    with pytest.raises(TrainingDataError, match="at most 20000000 lists"):
        CocoPeople(path, "photos")
