"""What is particular to lists of results, AlphaPose, MMPose, RTMLib and MediaPipe."""

import numpy as np
import pytest

from hardmo_jax.perception import keypoint_files
from tests.perception import keypoint_file_samples as samples
from tests.perception.keypoint_file_samples import LAYOUT, write


def read(folder, content, name="clip.json"):
    return keypoint_files.read_keypoint_file(write(folder / name, content))


def test_results_name_their_pictures_by_number_or_file(tmp_path):
    content = [
        samples.result(),
        samples.result(image_id="b/c.png"),
        samples.result(),
        samples.result(keypoints=[0] * 51),
    ]
    file = read(tmp_path, content)
    assert [person.image_file for person in file.people] == ["785", "b/c.png", "785"]
    assert [picture.name for picture in file.pictures] == ["785", "b/c.png"]
    assert file.people[0].score == pytest.approx(0.9)


def test_alphapose_tells_box_track_and_score(tmp_path):
    (person,) = read(tmp_path, [samples.alphapose()]).people
    np.testing.assert_allclose(person.bbox, [1, 2, 31, 42])
    assert person.track_id == 4
    assert person.score == pytest.approx(2.6 / 3.25)
    for value, expected in ((3, 3), ([[2.0]], 2), ([], None), (None, None), (-1, None)):
        assert read(tmp_path, [samples.alphapose(idx=value)]).people[0].track_id == expected


def test_alphapose_without_tracking_numbers_nobody(tmp_path):
    content = [samples.alphapose(idx=[0.0]), samples.alphapose(idx=[0.0])]
    assert [person.track_id for person in read(tmp_path, content).people] == [None, None]


def test_alphapose_scores_reach_six_and_are_cut_at_one(tmp_path):
    points = samples.points_of("coco17")
    (person,) = read(tmp_path, [samples.alphapose(keypoints=samples.triples(points, 5.5))]).people
    assert person.confidence.max() == 1
    with pytest.raises(keypoint_files.KeypointFileError, match=r"\[0\].keypoints must have confidences"):
        read(tmp_path, [samples.alphapose(keypoints=samples.triples(points, 6.5))])


def test_alphapose_frames_of_a_video_are_counted_by_their_names(tmp_path):
    content = [samples.alphapose(image_id="0.jpg"), samples.alphapose(image_id="12.jpg")]
    assert [person.picture.frame_index for person in read(tmp_path, content).people] == [0, 12]
    content.append(samples.alphapose(image_id="012.jpg"))
    assert [person.picture.frame_index for person in read(tmp_path, content).people] == [None] * 3


def test_alphapose_pictures_with_nobody_are_told(tmp_path):
    file = read(tmp_path, samples.alphapose_by_picture())
    assert [picture.name for picture in file.pictures] == ["a.jpg", "b.jpg"]
    assert [person.image_file for person in file.people] == ["a.jpg"]
    assert read(tmp_path, samples.alphapose_by_picture()["a.jpg"], "a.json").pictures[0].name == "a"


def test_the_neck_of_alphapose_is_averaged_whatever_stands_there(tmp_path):
    """With Halpe's points `--format cmu` puts the top of the head where the neck is expected."""
    content = samples.alphapose_by_picture()
    content["a.jpg"]["bodies"][0]["joints"][3:5] = [999.0, 999.0]
    (person,) = read(tmp_path, content).people
    middle = np.mean([samples.xy_of(f"{side}_shoulder") for side in ("left", "right")], axis=0)
    np.testing.assert_allclose(person.keypoints_2d[LAYOUT.index("neck")], middle)


def test_mmpose_photo_is_called_like_its_file(tmp_path):
    file = read(tmp_path, [samples.instance()], "pic.json")
    assert file.pictures == (keypoint_files.FilePicture(name="pic"),)
    (person,) = file.people
    np.testing.assert_allclose(person.bbox, [1, 2, 31, 42])
    assert person.score == pytest.approx(0.9)
    assert read(tmp_path, [], "nobody.json").pictures == (keypoint_files.FilePicture(name="nobody"),)
    flat = samples.instance() | {"bbox": [1.0, 2.0, 31.0, 42.0]}
    np.testing.assert_allclose(read(tmp_path, [flat]).people[0].bbox, [1, 2, 31, 42])


def test_mmpose_frames_count_from_zero_and_those_of_its_demos_from_one(tmp_path):
    frames = [{"frame_id": number, "instances": [samples.instance()] * number} for number in (1, 2, 0, 1)]
    file = read(tmp_path, frames)
    assert [picture.frame_index for picture in file.pictures] == [1, 2, 0]
    assert [person.picture.frame_index for person in file.people] == [1, 2, 2, 1]
    demo = {"meta_info": {"sigmas": {"__ndarray__": [0.1]}}, "instance_info": frames[:2]}
    file = read(tmp_path, demo, "results_clip.json")
    assert [picture.frame_index for picture in file.pictures] == [0, 1]
    assert file.pictures[0].name == "clip"
    assert read(tmp_path, demo | {"instance_info": frames}).pictures[2].frame_index == 0


def test_mmpose_points_are_those_that_its_meta_information_names(tmp_path):
    points = samples.points_of("coco17")
    order = points[::-1]
    instance = samples.instance() | {"keypoints": samples.pairs(order)}
    names = {str(row): point for row, point in enumerate(order)}
    demo = {"meta_info": {"keypoint_id2name": names}, "instance_info": [instance]}
    (person,) = read(tmp_path, demo).people
    np.testing.assert_allclose(person.keypoints_2d[LAYOUT.index("left_ear")], samples.xy_of("left_ear"))


def test_mmpose_names_of_fingers_and_face_are_understood(tmp_path):
    points = samples.points_of("coco_wholebody133")
    fingers = {"index": "forefinger", "middle": "middle_finger", "ring": "ring_finger", "pinky": "pinky_finger"}

    def theirs(point):
        for ours, name in fingers.items():
            point = point.replace(f"_{ours}", f"_{name}")
        if point.startswith("face_"):
            return f"face-{int(point[5:])}"
        return point.replace("_tip", "4")

    names = {str(row): theirs(point) for row, point in enumerate(points)}
    demo = {"meta_info": {"keypoint_id2name": names}, "instance_info": [samples.instance("coco_wholebody133")]}
    (person,) = read(tmp_path, demo).people
    assert person.file_layout == "coco_wholebody133"


def test_peaks_are_cut_at_one_and_negative_ones_are_absent(tmp_path):
    dump = samples.rtmlib()
    dump["scores"][0][:2] = [7.5, -0.1]
    (person,) = read(tmp_path, dump).people
    assert person.confidence[LAYOUT.index("nose")] == 1
    assert person.confidence[LAYOUT.index("left_eye")] == 0
    dump["scores"][0][0] = 99
    with pytest.raises(keypoint_files.KeypointFileError, match="confidences"):
        read(tmp_path, dump)


def test_rtmlib_dumps_of_frames_people_and_one_person(tmp_path):
    one = {field: value[0] for field, value in samples.rtmlib().items()}
    assert len(read(tmp_path, one).people) == 1
    frames = [samples.rtmlib(people=2), {"keypoints": [], "scores": []}, samples.rtmlib() | {"frame_id": 7}]
    file = read(tmp_path, frames)
    assert [picture.frame_index for picture in file.pictures] == [0, 1, 7]
    assert [person.picture.frame_index for person in file.people] == [0, 0, 7]
    sized = read(tmp_path, {"width": 640, "height": 480, "frames": frames})
    assert [(picture.width, picture.height) for picture in sized.pictures] == [(640, 480)] * 3


def test_mediapipe_confidence_is_visibility_times_presence_and_one_for_hands(tmp_path):
    (person,) = read(tmp_path, samples.mediapipe()).people
    assert person.shares == "of_size"
    assert person.confidence[LAYOUT.index("left_knee")] == pytest.approx(0.45)
    assert person.confidence[LAYOUT.index("neck")] == pytest.approx(0.45)
    assert person.confidence[LAYOUT.index("left_index_tip")] == 1
    assert person.confidence[LAYOUT.index("right_index_tip")] == 0
    body = samples.landmarks(samples.MEDIAPIPE33)
    assert read(tmp_path, {"poseLandmarks": body}).people[0].confidence.max() == 1
    del (seen := samples.landmarks(samples.MEDIAPIPE33, visibility=0.6))[0]["visibility"]
    (person,) = read(tmp_path, {"pose_landmarks": seen}).people
    assert person.confidence[LAYOUT.index("nose")] == 0
    assert person.confidence[LAYOUT.index("left_hip")] == pytest.approx(0.6)
    hidden = samples.landmarks(samples.MEDIAPIPE33, visibility=0.0)
    assert read(tmp_path, {"pose_landmarks": hidden}).people == ()


def test_mediapipe_world_landmarks_are_points_in_metres(tmp_path):
    content = samples.mediapipe()
    content["pose_world_landmarks"][0][25] |= {"x": 0.1, "y": 0.5, "z": -0.2}
    (person,) = read(tmp_path, content).people
    np.testing.assert_allclose(person.keypoints_3d[LAYOUT.index("left_knee")], [0.1, 0.5, -0.2], rtol=1e-6)
    assert person.confidence_3d[LAYOUT.index("left_knee")] == pytest.approx(0.45)
    assert person.confidence_3d[LAYOUT.index("mid_hip")] > 0
    assert person.confidence_3d[LAYOUT.index("left_index_tip")] == 0
    pixels = person.in_pixels(*samples.SIZE)
    np.testing.assert_array_equal(pixels.keypoints_3d, person.keypoints_3d)
    del content["pose_world_landmarks"]
    assert read(tmp_path, content).people[0].keypoints_3d is None


def test_mediapipe_dumps_of_every_spelling(tmp_path):
    body, hand = samples.landmarks(samples.MEDIAPIPE33, visibility=0.9), samples.landmarks(samples.RIGHT)
    rows = [[landmark["x"], landmark["y"], landmark["z"], 0.9] for landmark in body]
    spellings = [
        {"pose_landmarks": body, "right_hand_landmarks": hand},
        {"pose_landmarks": [body], "right_hand_landmarks": [hand]},
        {"pose_landmarks": {"landmark": body}, "right_hand_landmarks": {"landmark": hand}, "face_landmarks": None},
        {"pose_landmarks": [{"landmark": body}], "right_hand_landmarks": hand},
        {"poseLandmarks": body, "rightHandLandmarks": hand, "leftHandLandmarks": None},
        {"landmarks": [body], "worldLandmarks": [], "right_hand_landmarks": hand},
        {"pose_landmarks": rows, "right_hand_landmarks": hand},
        {"pose_landmarks": [rows], "right_hand_landmarks": hand},
    ]
    first, *others = (read(tmp_path, content).people for content in spellings)
    assert first[0].confidence[LAYOUT.index("right_index_tip")] == 1
    for other in others:
        np.testing.assert_array_equal(other[0].keypoints_2d, first[0].keypoints_2d)
        np.testing.assert_array_equal(other[0].confidence, first[0].confidence)


def test_mediapipe_frames_have_the_number_they_tell_or_their_position(tmp_path):
    nobody = {"pose_landmarks": []}
    named = samples.mediapipe() | {"frame": 9, "timestamp_ms": 300}
    file = read(tmp_path, [nobody, None, samples.mediapipe(), named])
    assert [picture.frame_index for picture in file.pictures] == [0, 1, 2, 9]
    assert [person.picture.frame_index for person in file.people] == [2, 9]
    photo = read(tmp_path, [samples.mediapipe() | {"file_name": "a.jpg"}])
    assert photo.pictures == (keypoint_files.FilePicture(name="a.jpg"),)
    assert read(tmp_path, {"pose_landmarks": None}).pictures == (keypoint_files.FilePicture(name="clip"),)
    framed = read(tmp_path, {"frames": [nobody, samples.mediapipe()], "width": 640, "height": 480})
    assert framed.pictures[1] == keypoint_files.FilePicture(name="clip", frame_index=1, width=640, height=480)


def test_mediapipe_hands_of_several_people_need_an_owner(tmp_path):
    content = samples.mediapipe()
    content["pose_landmarks"] *= 2
    content["pose_world_landmarks"] *= 2
    with pytest.raises(keypoint_files.KeypointFileError, match="as many left hands as people"):
        read(tmp_path, content)
