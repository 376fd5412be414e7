"""Files of keypoints in place of a detector: who is in which picture, and what is not used."""

import json
import pathlib
import time

import numpy as np
import pytest

from hardmo_jax.perception.keypoint_files import KeypointFileError
from hardmo_jax.perception.keypoints_from_files import FilePeople, layout_choice
from hardmo_jax.perception.people import LAYOUT_NAME
from hardmo_jax.perception.video import Frame
from hardmo_jax.skeleton import layouts

POINTS = layouts.get_layout(LAYOUT_NAME).points
SIZE = (640, 480)


def frame(name, index=0, size=SIZE):
    return Frame(
        image=np.zeros((size[1], size[0], 3), np.uint8),
        source_path=pathlib.Path("/somewhere") / name,
        source_sha256="0" * 64,
        frame_index=index,
        position=index,
        time_seconds=index / 25,
    )


def pose(x=100.0, confidence=0.9, count=25):
    """All points of a person, on a line to the right of `x`."""
    return [value for point in range(count) for value in (x + point, 100 + 10 * point, confidence)]


def openpose(*people, **extra):
    return {"version": 1.3, "people": [{"pose_keypoints_2d": person, **extra} for person in people]}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def people_of(source, frames, is_video=False):
    return list(source.people_of(iter(frames), is_video=is_video))


def test_photos_are_found_by_their_names(tmp_path):
    write(tmp_path / "a_keypoints.json", openpose(pose(100)))
    write(tmp_path / "b.json", openpose(pose(300), pose(400)))
    source = FilePeople(tmp_path)
    found = people_of(source, [frame("b.jpg"), frame("a.png")])
    assert [len(people) for people in found] == [2, 1]
    np.testing.assert_allclose(found[1][0].keypoints_2d[POINTS.index("nose")], [100, 100])
    assert found[1][0].source == "file:openpose25"
    assert found[1][0].score is None
    assert source.warnings == ()
    assert not source.unusable


def test_frames_are_found_by_the_number_in_names_and_followed(tmp_path):
    for index in (0, 1, 3):
        write(tmp_path / f"clip_{index:012d}_keypoints.json", openpose(pose(400 - index), pose(100 + index)))
    source = FilePeople(tmp_path)
    found = people_of(source, [frame("clip.mp4", index) for index in range(4)], is_video=True)
    assert [len(people) for people in found] == [2, 2, 0, 2]
    for people in (found[1], found[3]):
        assert [person.track_id for person in people] == [person.track_id for person in found[0]]
    assert source.warnings == ("no keypoints of some pictures (clip.mp4 frame 2)",)


def _x_of_frames(source, count, video="clip.mp4"):
    """Where people are in each frame; they stand at 100 times the number that the file tells."""
    found = people_of(source, [frame(video, index) for index in range(count)], is_video=True)
    return [[round(float(one.keypoints_2d[0, 0])) for one in people] for people in found]


def test_frames_that_are_counted_from_one_are_moved_and_told(tmp_path):
    for index in (1, 2, 3):
        write(tmp_path / f"frame_{index:06d}.json", openpose(pose(100 * index)))
    source = FilePeople(tmp_path)
    assert _x_of_frames(source, 3) == [[100], [200], [300]]
    assert "counted from 1" in source.warnings[0]
    said = FilePeople(tmp_path, first_frame=0)
    assert _x_of_frames(said, 4) == [[], [100], [200], [300]]
    assert said.unusable == {0}


def test_frames_of_openpose_are_counted_from_zero_whatever_is_missing(tmp_path):
    """Nobody was in the first frame, or its file is lost: no other frame takes its place."""
    for index in (1, 2, 4):
        write(tmp_path / f"clip_{index:012d}_keypoints.json", openpose(pose(100 * index)))
    source = FilePeople(tmp_path)
    assert _x_of_frames(source, 5) == [[], [100], [200], [], [400]]
    assert source.unusable == {0, 3}


def test_lists_that_leave_out_empty_frames_are_counted_from_zero(tmp_path):
    entries = [{"image_id": f"{index}.jpg", "category_id": 1, "keypoints": pose(100 * index, count=17), "score": 2.0,
                "box": [90, 90, 60, 200], "idx": 0} for index in (1, 2, 3)]  # fmt: skip
    assert _x_of_frames(FilePeople(write(tmp_path / "a.json", entries)), 4) == [[], [100], [200], [300]]


def test_demos_of_mmpose_count_from_one(tmp_path):
    def instances(index):
        rows = np.array(pose(100 * index, count=17)).reshape(-1, 3)
        return [{"keypoints": rows[:, :2].tolist(), "keypoint_scores": rows[:, 2].tolist()}]

    entries = [{"frame_id": index, "instances": instances(index)} for index in (1, 2, 3)]
    assert _x_of_frames(FilePeople(write(tmp_path / "a.json", entries)), 3) == [[100], [200], [300]]


def test_frames_in_a_coco_file_are_found_by_the_numbers_in_their_names(tmp_path):
    images = [{"id": index, "file_name": f"frame_{index:06d}.jpg"} for index in (1, 2, 3)]
    annotations = [{"id": index, "image_id": index, "keypoints": [100 * index, 50, 2] * 16 + [100 * index, 90, 2]}
                   for index in (1, 2, 3)]  # fmt: skip
    path = write(tmp_path / "c.json", {"images": images, "annotations": annotations})
    assert _x_of_frames(FilePeople(path), 3) == [[100], [200], [300]]


def test_files_of_another_video_are_not_taken(tmp_path):
    for name, x in (("clip_000000000000", 100), ("clip2_000000000001", 400), ("clip_000000000002", 300)):
        write(tmp_path / f"{name}_keypoints.json", openpose(pose(x)))
    source = FilePeople(tmp_path)
    assert _x_of_frames(source, 3) == [[100], [], [300]]
    with pytest.raises(KeypointFileError, match="give the files of one video"):
        _x_of_frames(FilePeople(tmp_path), 3, video="other.mp4")


def test_thousands_of_frames_are_looked_up_at_once(tmp_path):
    images = [{"id": index, "file_name": f"f{index}.jpg"} for index in range(20_000)]
    source = FilePeople(write(tmp_path / "c.json", {"images": images, "annotations": []}))
    start = time.perf_counter()
    assert sum(map(len, people_of(source, [frame("clip.mp4", index, (8, 8)) for index in range(20_000)], True))) == 0
    assert time.perf_counter() - start < 20, "half an hour if each looked at all"


def test_long_absences_end_a_track(tmp_path):
    for index in range(200):
        people = [pose(100)] if index < 2 or index > 197 else []
        write(tmp_path / f"clip_{index:012d}_keypoints.json", openpose(*people))
    found = people_of(FilePeople(tmp_path), [frame("clip.mp4", index) for index in range(200)], is_video=True)
    numbers = [one.track_id for people in found for one in people]
    assert numbers == [0, 0, 1, 1]


def test_numbers_of_the_file_are_kept_beside_people_without(tmp_path):
    ids = [[5, 6], [5, -1], [5, 6]]
    for index, own in enumerate(ids):
        entries = [{"person_id": [number], "pose_keypoints_2d": pose(100 + 200 * place)}
                   for place, number in enumerate(own)]  # fmt: skip
        write(tmp_path / f"clip_{index:012d}_keypoints.json", {"people": entries})
    found = people_of(FilePeople(tmp_path), [frame("clip.mp4", index) for index in range(3)], is_video=True)
    numbers = [[one.track_id for one in people] for people in found]
    assert numbers[0] == numbers[2] == [5, 6]
    assert numbers[1][0] == 5
    assert numbers[1][1] not in (5, 6)


def test_an_empty_box_costs_nobody_and_that_of_the_points_is_taken(tmp_path):
    annotation = {"id": 1, "image_id": 1, "keypoints": pose(100, confidence=2, count=17), "bbox": [0, 0, 0, 0]}
    path = write(tmp_path / "c.json", {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [annotation]})
    ((person,),) = people_of(FilePeople(path), [frame("a.jpg")])
    assert (person.bbox[2:] - person.bbox[:2] > 10).all()


def test_odd_entries_of_a_folder_cost_nothing(tmp_path):
    write(tmp_path / "a.json", openpose(pose()))
    (tmp_path / "b.json").mkdir()
    (tmp_path / "c.json").symlink_to(tmp_path / "gone.json")
    assert [len(people) for people in people_of(FilePeople(tmp_path), [frame("a.jpg"), frame("b.jpg")])] == [1, 0]


def test_one_file_may_speak_of_all_frames_and_number_its_people(tmp_path):
    instances = [
        {"frame_id": index, "instances": [{"keypoints": np.array(pose(100, count=17)).reshape(-1, 3)[:, :2].tolist(),
                                          "keypoint_scores": [0.8] * 17}]}
        for index in range(3)
    ]  # fmt: skip
    source = FilePeople(write(tmp_path / "results.json", instances))
    found = people_of(source, [frame("clip.mp4", index) for index in range(3)], is_video=True)
    assert [[person.track_id for person in people] for people in found] == [[0]] * 3


def test_coco_pictures_in_folders_of_one_name_are_kept_apart(tmp_path):
    images = [{"id": 1, "file_name": "x/a.jpg"}, {"id": 2, "file_name": "y/a.jpg"}]
    annotations = [{"id": number, "image_id": number, "keypoints": [100 * number, 50, 2] * 16 + [100 * number, 90, 2]}
                   for number in (1, 2)]  # fmt: skip
    source = FilePeople(write(tmp_path / "c.json", {"images": images, "annotations": annotations}))
    (first,), (second,) = people_of(source, [frame("y/a.jpg"), frame("x/a.jpg")])
    assert first.keypoints_2d[0, 0] == 200
    assert second.keypoints_2d[0, 0] == 100


def test_a_picture_of_another_size_is_not_used_and_the_rest_is(tmp_path):
    images = [{"id": 1, "file_name": "a.jpg", "width": 1280, "height": 960},
              {"id": 2, "file_name": "b.jpg", "width": 640, "height": 480}]  # fmt: skip
    annotations = [{"id": n, "image_id": n, "keypoints": [100, 50, 2] * 16 + [100, 90, 2]} for n in (1, 2)]
    source = FilePeople(write(tmp_path / "c.json", {"images": images, "annotations": annotations}))
    found = people_of(source, [frame("a.jpg"), frame("b.jpg")])
    assert [len(people) for people in found] == [0, 1]
    assert len(source.unusable) == 1
    assert "a.jpg has 640 x 480 pixels, the file says 1280 x 960" in source.warnings[0]


def test_points_outside_of_the_picture_are_those_of_another_one(tmp_path):
    write(tmp_path / "a.json", openpose(pose(1800)))
    source = FilePeople(tmp_path)
    assert people_of(source, [frame("a.jpg")]) == [[]]
    assert len(source.unusable) == 1
    assert "outside of their picture" in source.warnings[0]


def test_a_damaged_file_costs_its_picture_alone(tmp_path):
    write(tmp_path / "a.json", "{")
    write(tmp_path / "b.json", openpose(pose()))
    source = FilePeople(tmp_path)
    assert [len(people) for people in people_of(source, [frame("a.jpg"), frame("b.jpg")])] == [0, 1]
    assert len(source.unusable) == 1
    assert "expected JSON" in source.warnings[0]


def test_an_entry_that_is_wrong_costs_its_picture_alone(tmp_path):
    good = {"keypoints": np.array(pose(100, count=17)).reshape(-1, 3)[:, :2].tolist(), "keypoint_scores": [0.9] * 17}
    entries = [{"frame_id": 0, "instances": [good]}, {"frame_id": 1, "instances": [{**good, "keypoint_scores": "no"}]},
               {"frame_id": 2, "instances": [good]}]  # fmt: skip
    source = FilePeople(write(tmp_path / "r.json", entries))
    found = people_of(source, [frame("clip.mp4", index) for index in range(3)], is_video=True)
    assert [len(people) for people in found] == [1, 0, 1]
    assert source.unusable == {1}
    assert "keypoint_scores" in source.warnings[0]


def test_layouts_that_are_mixed_are_read_by_name_and_told(tmp_path):
    write(tmp_path / "a.json", openpose(pose()))
    write(tmp_path / "b.json", openpose(pose(count=18)))
    source = FilePeople(tmp_path)
    (first,), (second,) = people_of(source, [frame("a.jpg"), frame("b.jpg")])
    assert (first.source, second.source) == ("file:openpose25", "file:openpose18")
    assert second.confidence[POINTS.index("left_big_toe")] == 0
    assert source.warnings == ("files of several layouts (openpose25 of a.jpg, openpose18 of b.jpg)",)


def test_numbers_that_are_none_are_absent_points_and_nobody_may_be_there(tmp_path):
    person = pose()
    person[0], person[5] = float("nan"), float("nan")
    write(tmp_path / "a.json", openpose(person))
    write(tmp_path / "b.json", openpose())
    source = FilePeople(tmp_path)
    (found,), nobody = people_of(source, [frame("a.jpg"), frame("b.jpg")])
    assert found.confidence[POINTS.index("nose")] == 0
    assert found.confidence[POINTS.index("neck")] == 0
    assert np.isfinite(found.keypoints_2d).all()
    assert nobody == []


def test_three_hundred_people_are_people(tmp_path):
    write(tmp_path / "a.json", openpose(*(pose(10 + 2 * number) for number in range(300))))
    (people,) = people_of(FilePeople(tmp_path), [frame("a.jpg")])
    assert len(people) == 300


def test_files_of_other_pictures_end_in_an_error(tmp_path):
    write(tmp_path / "a.json", openpose(pose()))
    with pytest.raises(KeypointFileError, match="none of the 2 pictures"):
        people_of(FilePeople(tmp_path), [frame("x.jpg"), frame("y.jpg")])


def test_folders_without_files_and_missing_ones_are_refused(tmp_path):
    with pytest.raises(KeypointFileError, match="expected files of keypoints"):
        FilePeople(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such file or folder"):
        FilePeople(tmp_path / "gone")
    write(tmp_path / "x" / "a.json", openpose(pose()))
    write(tmp_path / "y" / "a_keypoints.json", openpose(pose()))
    with pytest.raises(KeypointFileError, match="two files for one picture"):
        FilePeople(tmp_path)


def test_photos_beside_the_file_and_those_that_are_missing(tmp_path):
    path = write(tmp_path / "c.json", {"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
                                       "annotations": []})  # fmt: skip
    (tmp_path / "a.jpg").touch()
    source = FilePeople(path)
    assert source.photos() == (tmp_path / "a.jpg",)
    assert len(source.unusable) == 1
    assert "b.jpg" in source.warnings[0]
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(KeypointFileError, match=r"no picture 'a\.jpg'"):
        FilePeople(path).photos()


def test_a_file_of_a_video_says_how_to_pass_it(tmp_path):
    path = write(tmp_path / "r.json", [{"frame_id": 0, "instances": []}])
    with pytest.raises(KeypointFileError, match="pass the video as --input"):
        FilePeople(path).photos()


def test_names_of_points_may_be_given(tmp_path):
    write(tmp_path / "a.json", openpose([10, 20, 0.9, 30, 40, 0.8, 50, 60, 0.7]))
    source = FilePeople(tmp_path, layout=layout_choice("left_wrist, _spare ,right_big_toe"))
    ((person,),) = people_of(source, [frame("a.jpg")])
    np.testing.assert_allclose(person.keypoints_2d[POINTS.index("right_big_toe")], [50, 60])
    assert (person.confidence > 0).sum() == 2
    assert layout_choice("coco17") == "coco17"
    assert layout_choice(None) is None


def test_one_file_in_a_folder_may_speak_of_all_pictures(tmp_path):
    """As `tools.export` leaves it, beside what it says of its run."""
    images = [{"id": index, "file_name": f"{name}.jpg"} for index, name in enumerate("ab")]
    annotations = [{"id": index, "image_id": index, "keypoints": pose(100 + index, confidence=2, count=17)}
                   for index in range(2)]  # fmt: skip
    write(tmp_path / "coco_wholebody.json", {"images": images, "annotations": annotations})
    write(tmp_path / "run.json", {})
    source = FilePeople(tmp_path)
    assert [len(people) for people in people_of(source, [frame("a.jpg"), frame("b.jpg")])] == [1, 1]
    assert source.warnings == ()
