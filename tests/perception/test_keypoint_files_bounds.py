"""What reading a keypoint file may cost, and what one bad entry costs a file of many pictures."""

import json
import tracemalloc

import pytest

from hardmo_jax.perception import keypoint_files
from hardmo_jax.perception.keypoint_files import KeypointFileError, parsing
from tests.perception import keypoint_file_samples as samples
from tests.perception.keypoint_file_samples import write


def read(folder, content, **options):
    return keypoint_files.read_keypoint_file(write(folder / "many.json", content), **options)


# What it costs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" + "[]," * (9 << 20) + "[]]", "lists are more than the 8000000 allowed"),
        ("[" + "{}," * (5 << 20) + "{}]", "objects are more than the 4000000 allowed"),
    ],
)
def test_files_that_would_cost_far_more_than_their_size_are_not_parsed(tmp_path, text, told):
    path = write(tmp_path / "many.json", text)
    size = len(text)
    del text
    tracemalloc.start()
    try:
        with pytest.raises(KeypointFileError, match=told):
            keypoint_files.read_keypoint_file(path)
        assert tracemalloc.get_traced_memory()[1] < 1.2 * size
    finally:
        tracemalloc.stop()


def test_too_many_values_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(parsing, "MAX_VALUES", 100)
    with pytest.raises(KeypointFileError, match=r"\d+ values are more than the 100 allowed; split the file"):
        read(tmp_path, samples.openpose())


@pytest.mark.parametrize(
    "content",
    [
        [[]] * 5,
        [{"frame_id": number, "instances": []} for number in range(5)],
        {"images": [{"id": number, "file_name": f"{number}.jpg"} for number in range(5)], "annotations": []},
        samples.coco() | {"annotations": samples.coco()["annotations"] * 5},
        [samples.result()] * 5,
        {f"{number}.jpg": {"bodies": []} for number in range(5)},
        {"frames": [samples.rtmlib()] * 5},
        [samples.mediapipe()] * 5,
        [{"people": []}] * 5,
    ],
)
def test_more_pictures_or_people_than_any_file_has_are_refused(tmp_path, monkeypatch, content):
    assert read(tmp_path, content).pictures
    monkeypatch.setattr(parsing, "MAX_ENTRIES", 4)
    with pytest.raises(KeypointFileError, match="must hold at most 4 pictures or people, got 5"):
        read(tmp_path, content)


def test_the_training_set_of_coco_wholebody_is_within_the_bounds():
    """118 287 pictures and 262 465 people, each with an outline of two pieces and forty points, and four boxes."""
    image = json.dumps(
        {
            "license": 3, "file_name": "000000391895.jpg", "coco_url": "http://images.cocodataset.org/391895.jpg",
            "height": 360, "width": 640, "date_captured": "2013-11-14 11:18:45", "flickr_url": "http://x", "id": 391895,
        }
    )  # fmt: skip
    annotation = samples.coco(
        **samples.wholebody_fields(), segmentation=[[239.97, 260.24] * 20] * 2, area=2765.1,
        face_box=[1.0] * 4, lefthand_box=[1.0] * 4, righthand_box=[1.0] * 4,
    )["annotations"][0]  # fmt: skip
    person = json.dumps(annotation)
    counts = {mark: 118_287 * (image.count(mark) + 1) + 262_465 * (person.count(mark) + 1) for mark in "[{,"}
    assert counts["["] < parsing.MAX_LISTS
    assert counts["{"] < parsing.MAX_OBJECTS
    assert counts[","] < parsing.MAX_VALUES
    # As written with commas alone between values, as COCO does.
    assert 118_287 * len(image) + 262_465 * len(person.replace(" ", "")) < parsing.MAX_BYTES


def test_callers_bound_files_of_one_picture(tmp_path):
    size = len(json.dumps(samples.coco()))
    assert read(tmp_path, samples.coco(), max_bytes=size).people
    with pytest.raises(KeypointFileError, match=f"{size} bytes are more than the {size - 1} allowed"):
        read(tmp_path, samples.coco(), max_bytes=size - 1)
    assert keypoint_files.MAX_PICTURE_BYTES == 64 << 20


# What one bad entry costs ----------------------------------------------------------------------------------


def _coco(*annotations):
    (annotation,) = samples.coco()["annotations"]
    images = [{"id": number, "file_name": f"{number}.jpg"} for number in range(3)]
    return {"images": images, "annotations": [annotation | fields for fields in annotations]}


BAD_RESULT = samples.result(image_id=2, keypoints=["a"] * 51)
#: Files of several pictures, one of which is bad: content, the bad picture and what is told of it, people of the rest.
PARTLY_BAD = {
    "coco": (
        _coco({"image_id": 0}, {"image_id": 1}, {"image_id": 1, "keypoints": ["a"] * 51}, {"image_id": 2}),
        ("1.jpg", None, "annotations\\[2\\].keypoints\\[0\\] must be a number"),
        ["0.jpg", "2.jpg"],
    ),
    "coco score": (
        _coco({"image_id": 0}, {"image_id": 2, "score": "good"}),
        ("2.jpg", None, "annotations\\[1\\].score\\[0\\] must be a number"),
        ["0.jpg"],
    ),
    "results": (
        [samples.result(image_id=1), BAD_RESULT, samples.result(image_id=2)],
        ("2", None, "\\[1\\].keypoints\\[0\\] must be a number"),
        ["1"],
    ),
    "alphapose": (
        samples.alphapose_by_picture() | {"b.jpg": 3},
        ("b.jpg", None, "\\['b.jpg'\\] must be an object, got number 3"),
        ["a.jpg"],
    ),
    "mmpose": (
        [{"frame_id": 0, "instances": [samples.instance()]}, {"frame_id": 1, "instances": [samples.instance(), 3]}],
        ("many", 1, "\\[1\\].instances\\[1\\] must be an object"),
        ["many"],
    ),
    "mmpose lists": ([[samples.instance()], [{}]], ("many", 1, "\\[1\\]\\[0\\] has no `keypoints`"), ["many"]),
    "rtmlib": (
        {"frames": [samples.rtmlib(), samples.rtmlib() | {"scores": []}]},
        ("many", 1, "frames\\[1\\] must have scores of each person"),
        ["many"],
    ),
    "mediapipe": (
        [samples.mediapipe(), "lost", None],
        ("many", 1, "\\[1\\] must be an object, got text 'lost'"),
        ["many"],
    ),
    "openpose": ([samples.openpose(), 3], ("many", 1, "\\[1\\] must be an object, got number 3"), ["many"]),
}


@pytest.mark.parametrize("name", PARTLY_BAD)
def test_a_bad_entry_costs_its_picture_and_no_other(tmp_path, name):
    content, (picture, frame_index, told), others = PARTLY_BAD[name]
    file = read(tmp_path, content)
    ((bad, message),) = file.bad_pictures
    assert (bad.name, bad.frame_index) == (picture, frame_index)
    assert bad in file.pictures
    with pytest.raises(KeypointFileError, match=told):
        raise KeypointFileError(message)
    assert message.startswith(f"{tmp_path / 'many.json'}: ")
    assert [person.image_file for person in file.people] == others
    assert bad not in {person.picture for person in file.people}


def test_a_file_of_which_nothing_is_left_is_refused_with_the_first_mistake(tmp_path):
    content = _coco({"image_id": 0, "keypoints": [1, 2, 2] * 18}, {"image_id": 2, "keypoints": ["a"] * 51})
    with pytest.raises(KeypointFileError, match=r"annotations\[0\]\.keypoints must hold"):
        read(tmp_path, content)


def test_good_files_have_no_bad_pictures(tmp_path):
    for content, *_ in samples.SAMPLES.values():
        assert read(tmp_path, content).bad_pictures == ()
