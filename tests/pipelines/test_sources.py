"""Every source of people and keypoints from its file to labels, on a real photo of one skier."""

import dataclasses
import importlib.util
import json
import os
import pathlib
import shutil

import numpy as np
import pytest

from hardmo_jax.labels import store
from hardmo_jax.perception import crops, estimate_top_down, keypoints_hand, keypoints_onnx, load_source, video
from hardmo_jax.perception.detect_onnx import OnnxPersonDetector
from hardmo_jax.perception.keypoint_files import KeypointFileError, read_keypoint_file, write_openpose
from hardmo_jax.perception.source_options import PartSourceOptions, PerceptionOptions
from hardmo_jax.pipelines import annotate
from hardmo_jax.skeleton import layouts
from tests.perception import handmade_onnx

DATA = pathlib.Path(os.environ.get("HARDMO_DATA", pathlib.Path(__file__).parents[3] / "shared" / "data")).resolve()
COCO = DATA / "keypoints2d" / "mmpose_tests" / "coco"
RTMDET = DATA / "weights" / "rtmdet-nano_person_end2end.onnx"
PHOTO = "000000000785.jpg"
LAYOUT = layouts.get_layout("openpose67")
pytestmark = pytest.mark.skipif(not RTMDET.is_file(), reason="needs HARDMO_DATA: the RTMDet file and photos of COCO")
OUTPUT = annotate.OutputOptions(overlay=False, part_scores=False)
QUICK = {"tiles": (), "extra_looks": 0}


@pytest.fixture(scope="module")
def truth():
    """The skier as annotated."""
    (person,) = [p for p in read_keypoint_file(COCO / "test_coco_wholebody.json").people if p.image_file == PHOTO]
    return person


@pytest.fixture
def photo(tmp_path):
    (tmp_path / "in").mkdir()
    return shutil.copy(COCO / PHOTO, tmp_path / "in" / PHOTO)


def labels(source, tmp_path, models="nowhere", **perception):
    options = annotate.AnnotateOptions(
        perception=PerceptionOptions(**{**QUICK, **perception}), output=OUTPUT,
        start=dataclasses.replace(annotate.AnnotateOptions().start, second_look=False),
    )  # fmt: skip
    summary = annotate.annotate(source, tmp_path / "out", options=options, model_folder=models)
    return summary, store.read_labels(tmp_path / "out" / "labels.parquet").rows


def in_layout(person, name):
    """(K, 3) of a person in a layout, zeros for what the person lacks."""
    layout = layouts.get_layout(name)
    rows = np.zeros((len(layout), 3))
    for place, point in enumerate(layout.points):
        if point in LAYOUT.points:
            own = LAYOUT.index(point)
            rows[place] = *person.keypoints_2d[own], person.confidence[own]
    return rows


def check_is_skier(row, truth, least_points):
    """The label holds what was annotated, and the fit explains it."""
    shared = (row.keypoint_confidence > 0) & (truth.confidence > 0)
    shared[[LAYOUT.index("neck"), LAYOUT.index("mid_hip")]] = False
    assert shared.sum() >= least_points
    np.testing.assert_allclose(row.keypoints_2d[shared], truth.keypoints_2d[shared], atol=0.05)
    assert row.is_usable
    assert row.error_by_part["body"] < 0.03


def _openpose(person, count):
    name = {25: "openpose25", 18: "openpose18", 135: "openpose135"}[count]
    fields = {"pose_keypoints_2d": in_layout(person, name).ravel().tolist(), "face_keypoints_2d": []}
    if count == 25:
        for side in layouts.SIDES:
            fields[f"hand_{side}_keypoints_2d"] = in_layout(person, f"{side}_hand21").ravel().tolist()
    return {"version": 1.3, "people": [fields]}


def _results(person, name, **fields):
    return [{"image_id": PHOTO, "category_id": 1, "keypoints": in_layout(person, name).ravel().tolist(), "score": 2.5,
             **fields}]  # fmt: skip


def _instance(person, name):
    rows = in_layout(person, name)
    return {"keypoints": rows[:, :2].tolist(), "keypoint_scores": rows[:, 2].tolist(), "bbox": [[280, 44, 499, 388]],
            "bbox_score": 0.9}  # fmt: skip


def _mediapipe(person, size=(640, 425)):
    rows = in_layout(person, "blazepose33")
    for side in layouts.SIDES:
        toe = LAYOUT.index(f"{side}_big_toe")
        place = layouts.get_layout("blazepose33").index(f"{side}_foot_index")
        rows[place] = *person.keypoints_2d[toe], person.confidence[toe]
    return {"pose_landmarks": [[{"x": (x + 0.5) / size[0], "y": (y + 0.5) / size[1], "z": 0.0, "visibility": c}
                                for x, y, c in rows.tolist()]]}  # fmt: skip


#: Name of the file, what is in it, the source that labels name, and how many annotated points it can hold.
FILES = {
    "openpose": ("000000000785_keypoints.json", lambda p: _openpose(p, 25), "openpose25", 30),
    "openpose_18": ("000000000785_keypoints.json", lambda p: _openpose(p, 18), "openpose18", 12),
    "openpose_135": ("000000000785_keypoints.json", lambda p: _openpose(p, 135), "openpose135", 30),
    "halpe": ("results.json", lambda p: _results(p, "halpe136", box=[280, 44, 219, 344], idx=[0.0]), "halpe136", 30),
    "alphapose": ("alphapose-results.json", lambda p: _results(p, "coco17", box=[280, 44, 219, 344]), "coco17", 12),
    "mmpose": ("000000000785.json", lambda p: [_instance(p, "coco_wholebody133")], "coco_wholebody133", 30),
    "rtmlib": (
        "000000000785.json",
        lambda p: {"keypoints": [in_layout(p, "halpe26")[:, :2].tolist()],
                   "scores": [in_layout(p, "halpe26")[:, 2].tolist()]},
        "halpe26", 15,
    ),
    "mediapipe": ("000000000785.json", _mediapipe, "mediapipe33", 12),
}  # fmt: skip


@pytest.mark.parametrize("name", list(FILES))
def test_files_of_other_programs_become_labels(name, truth, photo, tmp_path):
    file, content, source, least_points = FILES[name]
    path = tmp_path / "in" / file
    path.write_text(json.dumps(content(truth)))
    summary, (row,) = labels(path, tmp_path)
    check_is_skier(row, truth, least_points)
    assert row.keypoint_source == f"file:{source}"
    assert summary.num_unusable == 0


def test_points_of_ones_own_order_are_named_on_the_command_line(truth, photo, tmp_path):
    names = ("_club", *layouts.get_layout("coco17").points)
    rows = np.concatenate([[[9, 9, 1]], in_layout(truth, "coco17")])
    path = tmp_path / "in" / "000000000785_keypoints.json"
    path.write_text(json.dumps({"people": [{"pose_keypoints_2d": rows.ravel().tolist()}]}))
    _, (row,) = labels(path, tmp_path, keypoints_layout=",".join(names))
    check_is_skier(row, truth, 12)
    assert row.keypoint_source == "file:given"


def test_coco_wholebody_beside_all_its_photos(tmp_path):
    """A photo that is not there and one of another size cost nobody else a label."""
    (tmp_path / "in").mkdir()
    for path in COCO.glob("*.jpg"):
        shutil.copy(path, tmp_path / "in")
    content = json.loads((COCO / "test_coco_wholebody.json").read_text())
    content["images"].append({"id": 1, "file_name": "gone.jpg", "width": 10, "height": 10})
    for image in content["images"]:
        if image["file_name"] == "000000197388.jpg":
            image["width"] += 1
    (tmp_path / "in" / "c.json").write_text(json.dumps(content))
    summary, rows = labels(tmp_path / "in" / "c.json", tmp_path)
    assert {row.source_path for row in rows} == {PHOTO, "000000040083.jpg", "000000196141.jpg"}
    assert len(rows) == 7
    assert {row.keypoint_source for row in rows} == {"file:coco_wholebody133", "file:coco17"}
    assert not any("several layouts" in line for line in summary.warnings)
    assert summary.num_unusable == 2
    assert any("gone.jpg" in line for line in summary.warnings)
    assert any("000000197388.jpg has" in line for line in summary.warnings)


def test_rtmdet_and_a_top_down_model_in_onnx_files(truth, photo, tmp_path):
    """A model that gives the annotated points of this very crop."""
    image = next(iter(video.open_media(photo).frames())).image
    (box,) = OnnxPersonDetector(RTMDET)(image, min_score=0.3)
    model = _model_of_one_answer(tmp_path / "wholebody.onnx", truth, image, box.bbox)
    _, (row,) = labels(photo, tmp_path, detector="onnx", detector_file=str(RTMDET), keypoints_file=str(model))
    seen = row.keypoint_confidence > 0
    np.testing.assert_allclose(row.keypoints_2d[seen], truth.keypoints_2d[seen], atol=0.6)
    assert row.is_usable
    assert row.error_by_part["body"] < 0.03
    assert row.keypoint_source == "onnx:wholebody.onnx"


def _model_of_one_answer(path, person, image, bbox):
    """SimCC of 133 points, two bins a pixel, of one crop."""
    probe = keypoints_onnx.OnnxKeypointModel(handmade_onnx.simcc(path, count=133))
    to_image = probe._cut(image, bbox, np.empty((3, 256, 192), np.float32))
    rows = in_layout(person, "coco_wholebody133")
    crop = (rows[:, :2] - to_image[:, 2]) / to_image[0, 0]
    answers = {}
    for name, axis, length in (("simcc_x", 0, 192), ("simcc_y", 1, 256)):
        bins = np.zeros((1, 133, 2 * length), np.float32)
        place = np.clip(np.round(2 * crop[:, axis]), 0, 2 * length - 1).astype(int)
        bins[0, np.arange(133), place] = rows[:, 2]
        answers[name] = bins
    return handmade_onnx.constant(path, answers, size=(192, 256))


def test_yolox_boxes_and_points_of_blazepose(truth, photo, tmp_path, perception_models):
    """A grid that says of one cell that the skier is there: 640 x 425 pixels lie unscaled in its 640 x 640."""
    values = np.zeros((1, 8400, 85), np.float32)
    cell = 80 * 80 + 40 * 40 + 6 * 20 + 12
    x, y, width, height = 281, 45, 219, 347
    middle = (x + width / 2) / 32 - 12, (y + height / 2) / 32 - 6
    values[0, cell, :6] = *middle, np.log(width / 32), np.log(height / 32), 0.9, 0.9
    detector = handmade_onnx.constant(tmp_path / "yolox.onnx", {"output": values})
    _, (row,) = labels(photo, tmp_path, models=perception_models, detector_file=str(detector))
    assert row.keypoint_source == "blazepose, boxes: yolox.onnx"
    body = np.array([layouts.part_of(point) == "body" for point in LAYOUT.points]) & (truth.confidence > 0.5)
    side = float(np.max(row.bbox[2:] - row.bbox[:2]))
    apart = np.linalg.norm(row.keypoints_2d - truth.keypoints_2d, axis=-1)[body] / side
    assert np.median(apart) < 0.03
    assert row.is_usable


def test_a_model_of_heatmaps(truth, photo, tmp_path):
    image = next(iter(video.open_media(photo).frames())).image
    (box,) = OnnxPersonDetector(RTMDET)(image, min_score=0.3)
    path = tmp_path / "vitpose.onnx"
    probe = keypoints_onnx.OnnxKeypointModel(handmade_onnx.heatmaps(path, count=133))
    to_image = probe._cut(image, box.bbox, np.empty((3, 256, 192), np.float32))
    rows = in_layout(truth, "coco_wholebody133")
    cells = (rows[:, :2] - to_image[:, 2]) / to_image[0, 0] * [47 / 191, 63 / 255]
    y, x = np.mgrid[:64, :48]
    apart = (x - cells[:, 0, None, None]) ** 2 + (y - cells[:, 1, None, None]) ** 2
    maps = (rows[:, 2, None, None] * np.exp(-apart / 8)).astype(np.float32)[None]
    handmade_onnx.constant(path, {"heatmaps": maps}, size=(192, 256))
    _, (row,) = labels(photo, tmp_path, detector_file=str(RTMDET), keypoints_file=str(path))
    seen = (row.keypoint_confidence > 0.3) & (truth.confidence > 0.3)
    assert seen.sum() > 30
    np.testing.assert_allclose(row.keypoints_2d[seen], truth.keypoints_2d[seen], atol=1.0)
    assert row.is_usable
    assert row.error_by_part["body"] < 0.03


def test_points_of_yolo_pose_weights(photo, tmp_path):
    """Weights with a known answer: a person wherever a cell is red, on a photo with one red cell."""
    pytest.importorskip("ultralytics")
    import cv2

    from tests.perception import handmade_yolo

    weights = handmade_yolo.save(tmp_path / "yolo-known-pose.pt", handmade_yolo.known_model(), image_side=64)
    image = np.zeros((64, 64, 3), np.uint8)
    image[24:32, 24:32, 2] = 255
    cv2.imwrite(str(tmp_path / "red.png"), image)
    options = PerceptionOptions(detector_file=str(weights), keypoints="detector", min_confident_points=0)
    source = load_source.load_source("nowhere", options)
    assert source.source == "yolo:yolo-known-pose.pt"
    (people,) = source.people_of(video.open_media(tmp_path / "red.png").frames(), is_video=False)
    assert len(people) == 1
    summary, (row,) = labels(
        tmp_path / "red.png", tmp_path, detector="yolo", detector_file=str(weights), keypoints="detector",
        min_confident_points=0,
    )  # fmt: skip
    assert row.keypoint_source == "yolo:yolo-known-pose.pt"
    np.testing.assert_allclose(row.keypoints_2d, people[0].keypoints_2d)
    assert "small" in row.quality_reasons
    assert summary.num_people == 1


def test_blazepose_hands_stand_beside_a_model_of_17_points(truth, photo, tmp_path, perception_models):
    model = handmade_onnx.simcc(tmp_path / "coco17.onnx", count=17)
    options = PerceptionOptions(detector_file=str(RTMDET), keypoints_file=str(model), extra_looks=0)
    source = load_source.load_source(perception_models, options)
    assert source.source == "onnx:coco17.onnx; hands: blazepose"
    assert len(next(source.people_of(video.open_media(photo).frames(), is_video=False))) <= 1
    whole = handmade_onnx.simcc(tmp_path / "whole.onnx", count=133)
    options = dataclasses.replace(options, keypoints_file=str(whole))
    assert load_source.load_source(perception_models, options).source == "onnx:whole.onnx"


def test_hands_behind_forearms_are_those_that_knuckles_point_at(perception_models):
    """The body model knows the knuckles, COCO's 17 points do not: the same hands are found."""
    image = next(iter(video.open_media(DATA / "media" / "images" / "expose" / "man-in-red-941693.png").frames())).image
    options = PerceptionOptions(detector="blazepose", **QUICK)
    (person,) = load_source.load_estimator(perception_models, options)(image)
    hands = np.array([(layouts.part_of(point) or "").endswith("hand") for point in LAYOUT.points])
    assert (person.confidence[hands] > 0.5).sum() == 42
    bare = dataclasses.replace(person, confidence=np.where(hands, 0, person.confidence).astype(np.float32))
    landmarker = keypoints_hand.HandLandmarker(perception_models)
    found = estimate_top_down.with_fingers(crops.ImagePyramid(image), bare, landmarker, keypoints_hand.HandOptions())
    assert (found.confidence[hands] > 0.5).sum() == 42
    apart = np.linalg.norm(person.keypoints_2d - found.keypoints_2d, axis=-1)[hands]
    assert apart.max() < 0.02 * np.max(person.bbox[2:] - person.bbox[:2])
    np.testing.assert_array_equal(found.keypoints_2d[~hands], person.keypoints_2d[~hands])


def test_hands_of_a_file_on_the_body_of_blazepose(truth, photo, tmp_path, perception_models):
    write_openpose(tmp_path / "hands", PHOTO.removesuffix(".jpg"), [truth])
    hands = PartSourceOptions(detector="files", keypoints_file=str(tmp_path / "hands"))
    _, (row,) = labels(photo, tmp_path, models=perception_models, hands_from=hands)
    assert row.keypoint_source.startswith("blazepose; ")
    taken = [part for part in ("left_hand", "right_hand") if part in row.keypoint_source]
    assert taken
    for part in taken:
        own = np.array([layouts.part_of(point) == part for point in LAYOUT.points]) & (truth.confidence > 0)
        np.testing.assert_allclose(row.keypoints_2d[own], truth.keypoints_2d[own], atol=0.01)
    nose = LAYOUT.index("nose")
    assert not np.array_equal(row.keypoints_2d[nose], truth.keypoints_2d[nose])


def test_files_of_a_video_in_place_of_a_detector(tmp_path, truth):
    """A frame without a file is filled in; the people are one."""
    import av

    image = next(iter(video.open_media(COCO / PHOTO).frames())).image
    with av.open(str(tmp_path / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "18"})
        stream.width, stream.height, stream.pix_fmt = 640, 424, "yuv420p"
        for _ in range(6):
            for packet in stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image[:424]))):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    for index in (0, 1, 2, 4, 5):
        write_openpose(tmp_path / "json", f"clip_{index:012d}", [truth])
    tracker = "bytetrack" if importlib.util.find_spec("ultralytics") else "overlap"
    summary, rows = labels(
        tmp_path / "clip.mp4", tmp_path, detector="files", keypoints_file=str(tmp_path / "json"), tracker=tracker
    )
    assert [row.frame_index for row in rows] == list(range(6))
    assert {row.track_id for row in rows} == {0}
    assert rows[3].keypoint_source == "none, filled in"
    assert rows[3].status == "FILLED"
    assert all(row.is_usable for row in rows)
    assert summary.warnings[0] == "no keypoints of some pictures (clip.mp4 frame 3)"
    assert summary.num_unusable == 1
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.json").write_text('{"people": []}')
    with pytest.raises(KeypointFileError, match="none of the 6 pictures"):
        labels(tmp_path / "clip.mp4", tmp_path, detector="files", keypoints_file=str(tmp_path / "other"))


def test_yolo_without_weights_is_one_error_with_three_ways(photo, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        labels(photo, tmp_path, models=tmp_path, detector="yolo", detector_file="yolo11n-pose.pt")
    for way in ("(a) put the file at", "allow_download=True", "--config.perception.detector=blazepose"):
        assert way in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_automatic_choice_takes_weights_that_are_there(tmp_path):
    pytest.importorskip("ultralytics")
    assert load_source.detector_of(PerceptionOptions(), tmp_path) == "blazepose"
    (tmp_path / "yolo11n.pt").touch()
    assert load_source.detector_of(PerceptionOptions(), tmp_path) == "yolo"
    assert load_source.detector_of(PerceptionOptions(detector="blazepose"), tmp_path) == "blazepose"
    assert load_source.detector_of(PerceptionOptions(detector_file="x.onnx"), tmp_path) == "onnx"


def test_points_of_a_detector_that_gives_none_are_refused(photo, tmp_path):
    with pytest.raises(load_source.SourceError, match="need a YOLO-pose"):
        labels(photo, tmp_path, detector_file=str(RTMDET), keypoints="detector")
