"""Detectors of boxes: hand-made ones with known answers, a real RTMDet on real photos, and files that are none."""

import json
import os
import pathlib

import cv2
import numpy as np
import pytest
from onnx import TensorProto
from onnx import helper as onnx_helper

from hardmo_jax.perception import anchors
from hardmo_jax.perception.detect_onnx import OnnxPersonDetector
from hardmo_jax.perception.onnx_model import OnnxModelError
from hardmo_jax.perception.source_options import PerceptionOptions
from tests.perception import handmade_onnx

DATA = pathlib.Path(os.environ.get("HARDMO_DATA", "../shared/data"))
RTMDET = DATA / "weights" / "rtmdet-nano_person_end2end.onnx"
PHOTOS = DATA / "keypoints2d" / "mmpose_tests" / "coco"
#: A picture of half the model's size, so that its pixels are two of the model's.
WIDE = np.zeros((160, 320, 3), np.uint8)


def boxes_of(path, image=WIDE, min_score=0.3):
    found = OnnxPersonDetector(path)(image, min_score=min_score)
    return [one.bbox.tolist() for one in found], [one.score for one in found]


def test_rtmdet_lies_in_the_corner(tmp_path):
    dets = np.array([[[20, 40, 120, 240, 0.9], [300, 20, 400, 200, 0.8], [0, 0, 50, 50, 0.1]]], np.float32)
    labels = np.array([[0, 2, 0]], np.int64)
    boxes, scores = boxes_of(handmade_onnx.constant(tmp_path / "m.onnx", {"dets": dets, "labels": labels}))
    np.testing.assert_allclose(boxes, [[9.5, 19.5, 59.5, 119.5]])
    assert scores == pytest.approx([0.9])


def test_yolo_lies_in_the_middle_and_a_box_is_of_its_best_class(tmp_path):
    # 320 x 160 is 640 x 320 in the middle of 640 x 640: 160 rows of padding above.
    values = np.zeros((1, 84, 8), np.float32)
    values[0, :5, 0] = 100, 160 + 120, 80, 100, 0.8
    values[0, :5, 1] = 102, 160 + 121, 80, 100, 0.7  # the same person
    values[0, :5, 2] = 400, 160 + 100, 60, 80, 0.6
    values[0, 5, 2] = 0.9  # a bicycle
    boxes, scores = boxes_of(handmade_onnx.constant(tmp_path / "m.onnx", {"output0": values}))
    np.testing.assert_allclose(boxes, [[29.5, 34.5, 69.5, 84.5]])
    assert scores == pytest.approx([0.8])


def test_yolo_pose_and_end_to_end(tmp_path):
    pose = np.zeros((1, 56, 3), np.float32)
    pose[0, :6, 1] = 100, 160 + 120, 80, 100, 0.8, 3000.0  # points behind the score are no classes
    boxes, _ = boxes_of(handmade_onnx.constant(tmp_path / "pose.onnx", {"output0": pose}))
    np.testing.assert_allclose(boxes, [[29.5, 34.5, 69.5, 84.5]])
    rows = np.array([[[60, 230, 140, 330, 0.8, 0], [60, 230, 140, 330, 0.8, 1], [0, 0, 0, 0, 0, 0]]], np.float32)
    boxes, _ = boxes_of(handmade_onnx.constant(tmp_path / "end.onnx", {"output0": rows}))
    np.testing.assert_allclose(boxes, [[29.5, 34.5, 69.5, 84.5]])


def test_points_of_yolo_pose_come_with_their_people(tmp_path):
    """Points are numbers of pixels, boxes are edges: 320 x 160 is 640 x 320 in the middle of 640 x 640."""
    points = np.stack([np.arange(17) * 10.0 + 20, np.full(17, 160 + 100.0), np.linspace(0, 1, 17)], axis=-1)
    pose = np.zeros((1, 56, 3), np.float32)
    pose[0, :5, 1] = 100, 160 + 120, 80, 100, 0.8
    pose[0, 5:, 1] = points.ravel()
    rows = np.concatenate([[60, 230, 140, 330, 0.8, 0], points.ravel()])[None, None].astype(np.float32)
    for name, values in (("pose", pose), ("end", rows)):
        detector = OnnxPersonDetector(handmade_onnx.constant(tmp_path / f"{name}.onnx", {"output0": values}))
        assert detector.gives_points
        (found,) = detector(WIDE, min_score=0.3)
        np.testing.assert_allclose(found.keypoints_2d, np.stack([np.arange(17) * 5.0 + 10, np.full(17, 50.0)], -1))
        np.testing.assert_allclose(found.confidence, np.linspace(0, 1, 17), atol=1e-6)
    plain = OnnxPersonDetector(handmade_onnx.constant(tmp_path / "b.onnx", {"o": np.zeros((1, 84, 3), np.float32)}))
    assert not plain.gives_points


def test_cells_of_yolox_are_boxes(tmp_path):
    """Cell (3, 2) of stride 16, a box of 40 x 80 pixels; a bicycle in the next one."""
    values = np.zeros((1, 8400, 85), np.float32)
    values[0, :, 4] = 0.01
    cell = 80 * 80 + 2 * 40 + 3
    values[0, cell, :6] = 0.5, 0.25, np.log(40 / 16), np.log(80 / 16), 0.9, 0.8
    values[0, cell + 1, :7] = 0.5, 0.25, np.log(40 / 16), np.log(80 / 16), 0.9, 0.1, 0.8
    detector = OnnxPersonDetector(handmade_onnx.constant(tmp_path / "m.onnx", {"output": values}))
    assert detector.kind == "yolox_grid"
    (found,) = detector(np.zeros((640, 640, 3), np.uint8), min_score=0.3)
    np.testing.assert_allclose(found.bbox, [56 - 20.5, 0, 56 + 19.5, 36 + 39.5], atol=1e-4)
    assert found.score == pytest.approx(0.72)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [("rtmdet.onnx", "rtmdet", (30 - 103.53) / 57.375), ("humanart_YOLOX_m.onnx", "yolox", 30.0)],
)
def test_pictures_are_as_each_model_was_trained(tmp_path, name, kind, expected):
    """The score is what the model sees in the first channel: blue, of which the picture has 30."""
    path = tmp_path / name
    nodes = [
        onnx_helper.make_node("Slice", ["input", "zero", "one", "axes"], ["pixel"]),
        onnx_helper.make_node("Reshape", ["pixel", "flat"], ["blue"]),
        onnx_helper.make_node("Concat", ["box", "blue"], ["dets"], axis=2),
        onnx_helper.make_node("Identity", ["zeros"], ["labels"]),
    ]
    constants = [
        ("zero", np.zeros(3, np.int64)), ("one", np.ones(3, np.int64)), ("axes", np.array([1, 2, 3], np.int64)),
        ("flat", np.array([1, 1, 1], np.int64)), ("box", np.array([[[20, 20, 60, 90]]], np.float32)),
        ("zeros", np.zeros((1, 1), np.int64)),
    ]  # fmt: skip
    outputs = [("dets", [1, 1, 5]), ("labels", [1, 1], TensorProto.INT64)]
    handmade_onnx.save(path, nodes, [("input", [1, 3, 64, 128])], outputs, constants)
    detector = OnnxPersonDetector(path)
    assert detector.kind == kind
    image = np.full((64, 128, 3), (10, 20, 30), np.uint8)
    found = detector(image, min_score=-10.0)
    assert [one.score for one in found] == [pytest.approx(np.clip(expected, 0, 1))]
    assert bool(detector(image, min_score=0.999 * expected if expected > 0 else -1.0)) == (kind == "yolox")


def test_nobody_and_numbers_that_are_none(tmp_path):
    dets = np.array([[[np.nan, 0, 10, 10, 0.9], [0, 0, 50, 50, np.nan], [30, 30, 30, 90, 0.9]]], np.float32)
    path = handmade_onnx.constant(tmp_path / "m.onnx", {"dets": dets, "labels": np.zeros((1, 3), np.int64)})
    assert boxes_of(path) == ([], [])
    empty = {"dets": np.zeros((1, 0, 5), np.float32), "labels": np.zeros((1, 0), np.int64)}
    assert boxes_of(handmade_onnx.constant(tmp_path / "e.onnx", empty)) == ([], [])


def test_other_models_are_refused_by_what_they_give(tmp_path):
    path = handmade_onnx.constant(tmp_path / "m.onnx", {"logits": np.zeros((1, 1000), np.float32)})
    with pytest.raises(OnnxModelError, match=r"its outputs are logits \(1, 1000\); expected `dets`"):
        OnnxPersonDetector(path)
    wrong = {"dets": np.zeros((1, 3, 4), np.float32), "labels": np.zeros((1, 3), np.int64)}
    with pytest.raises(OnnxModelError, match="expected"):
        boxes_of(handmade_onnx.constant(tmp_path / "w.onnx", wrong))


def yolo(path, values, others=(), **metadata):
    """A file of ultralytics, which says of itself what it is."""
    outputs = {"output0": values} | {f"output{place}": one for place, one in enumerate(others, 1)}
    return handmade_onnx.constant(path, outputs, metadata={name: str(value) for name, value in metadata.items()})


COCO_NAMES = {0: "person"} | {number: f"thing {number}" for number in range(1, 80)}
PROTOTYPES = np.zeros((1, 32, 160, 160), np.float32)


@pytest.mark.parametrize("metadata", [{"task": "segment", "names": COCO_NAMES}, {"names": COCO_NAMES}, {}])
def test_numbers_of_outlines_are_no_classes(tmp_path, metadata):
    values = np.zeros((1, 116, 8), np.float32)
    values[0, :5, 0] = 100, 160 + 120, 80, 100, 0.8
    values[0, 84:, 0] = 5.0
    detector = OnnxPersonDetector(yolo(tmp_path / "m.onnx", values, [PROTOTYPES], **metadata))
    assert not detector.gives_points
    (found,) = detector(WIDE, min_score=0.3)
    np.testing.assert_allclose(found.bbox, [29.5, 34.5, 69.5, 84.5])
    rows = np.zeros((1, 300, 38), np.float32)
    rows[0, 0] = [60, 230, 140, 330, 0.8, 0] + [5.0] * 32
    (found,) = OnnxPersonDetector(yolo(tmp_path / "e.onnx", rows, [PROTOTYPES], **metadata))(WIDE, min_score=0.3)
    np.testing.assert_allclose(found.bbox, [29.5, 34.5, 69.5, 84.5])


def test_channels_are_points_only_where_the_file_does_not_say_otherwise(tmp_path):
    """52 classes, or 20 and an outline, have as many channels as a person with the points of COCO."""
    values = np.zeros((1, 56, 3), np.float32)
    values[0, :6, 1] = 100, 160 + 120, 80, 100, 0.6, 0.8
    for name, count, others in (("detect", 52, ()), ("segment", 20, [PROTOTYPES])):
        names = {0: "horse", 1: "Person"} | {number: f"thing {number}" for number in range(2, count)}
        detector = OnnxPersonDetector(yolo(tmp_path / f"{name}.onnx", values, others, task=name, names=names))
        assert not detector.gives_points
        assert [one.score for one in detector(WIDE, min_score=0.3)] == [pytest.approx(0.8)]
    pose = yolo(tmp_path / "pose.onnx", values, task="pose", names={0: "person"}, kpt_shape=[17, 3])
    assert OnnxPersonDetector(pose).gives_points
    hand = yolo(tmp_path / "hand.onnx", values[:, :26], task="pose", names={0: "person"}, kpt_shape=[7, 3])
    detector = OnnxPersonDetector(hand)
    assert not detector.gives_points
    assert [one.score for one in detector(WIDE, min_score=0.3)] == [pytest.approx(0.6)]


@pytest.mark.parametrize(
    ("channels", "metadata", "told"),
    [
        (6, {"names": {0: "horse", 1: "dog"}}, "finds no people; none of its classes is `person`: 'horse', 'dog'"),
        (6, {"task": "obb", "names": {0: "person"}}, "a model for the task 'obb'; expected"),
        (7, {"task": "detect", "names": {0: "person", 1: "dog"}}, r"\(1, 7, 9\), which does not go with its 2 classes"),
        (5, {"names": "__import__('os').getcwd()"}, "its `names` are no names of classes"),
        (5, {"names": "(" * 100_000}, "its `names` are no names of classes"),
        (5, {"names": "[" * 1000}, "its `names` are no names of classes"),
        (5, {"names": {"a": "person"}}, "its `names` are no names of classes"),
        (5, {"names": {0: 5}}, "its `names` are no names of classes"),
        (5, {"names": {}}, "its `names` are no names of classes"),
        (5, {"names": "{0: 'person'" + " " * (1 << 20)}, "its `names` are no names of classes"),
    ],
)
def test_files_that_find_no_people_or_contradict_themselves_are_refused(tmp_path, channels, metadata, told):
    path = yolo(tmp_path / "m.onnx", np.zeros((1, channels, 9), np.float32), **metadata)
    with pytest.raises(OnnxModelError, match=told) as error:
        OnnxPersonDetector(path)
    assert len(str(error.value)) < len(str(path)) + 400


def test_classes_of_other_kinds_are_named_too(tmp_path):
    dets, labels = np.array([[[20, 40, 120, 240, 0.9]]], np.float32), np.array([[1]], np.int64)
    names = {"names": str({0: "cat", 1: "person"})}
    path = handmade_onnx.constant(tmp_path / "m.onnx", {"dets": dets, "labels": labels}, metadata=names)
    assert len(OnnxPersonDetector(path)(WIDE, min_score=0.3)) == 1


def test_models_that_fail_at_a_picture_are_refused_when_they_are_loaded(tmp_path):
    values = {"output0": np.zeros((2, 84, 8), np.float32)}
    with pytest.raises(OnnxModelError, match="takes 2 pictures at once"):
        OnnxPersonDetector(handmade_onnx.constant(tmp_path / "two.onnx", values, batch=2))
    with pytest.raises(OnnxModelError, match="expected one picture's boxes"):
        OnnxPersonDetector(handmade_onnx.constant(tmp_path / "out.onnx", values))
    with pytest.raises(OnnxModelError, match="none or too large"):
        OnnxPersonDetector(handmade_onnx.constant(tmp_path / "huge.onnx", values, size=(1 << 20, 1 << 20)))
    # Its file is right, but such a picture cannot be made into rows of 7.
    nodes = [onnx_helper.make_node("Reshape", ["input", "shape"], ["output0"])]
    path = handmade_onnx.save(
        tmp_path / "fails.onnx", nodes, [("input", ["batch", 3, "height", "width"])],
        [("output0", [1, "rows", 7])], [("shape", np.array([1, -1, 7], np.int64))],
    )  # fmt: skip
    with pytest.raises(OnnxModelError, match=r"fails at pictures of the shape \(1, 3, 640, 640\)"):
        OnnxPersonDetector(path)


def test_file_and_name_of_the_detector_go_together():
    with pytest.raises(ValueError, match="needs a `detector_file`"):
        PerceptionOptions(detector="onnx")
    with pytest.raises(ValueError, match="not for 'blazepose'"):
        PerceptionOptions(detector="blazepose", detector_file="rtmdet.onnx")
    with pytest.raises(ValueError, match=r"must end in \.onnx or \.pt"):
        PerceptionOptions(detector_file="rtmdet.engine")


@pytest.mark.skipif(not RTMDET.is_file(), reason="needs HARDMO_DATA: the RTMDet file and photos of COCO")
def test_real_rtmdet_finds_everybody_of_real_photos():
    """14 people, all taller than a twentieth of their picture; one box more at most."""
    content = json.loads((PHOTOS / "test_coco_wholebody.json").read_text())
    detector, options = OnnxPersonDetector(RTMDET), PerceptionOptions()
    overlaps, num_boxes = [], 0
    for picture in content["images"]:
        image = cv2.cvtColor(cv2.imread(str(PHOTOS / picture["file_name"])), cv2.COLOR_BGR2RGB)
        found = np.stack([one.bbox for one in detector(image, min_score=options.min_box_score)])
        num_boxes += len(found)
        for one in content["annotations"]:
            if one["image_id"] == picture["id"] and not one["iscrowd"]:
                x, y, width, height = one["bbox"]
                assert height > 0.05 * image.shape[0]
                overlaps.append(anchors.box_iou(np.array([x, y, x + width, y + height]), found).max())
    assert len(overlaps) == 14
    assert min(overlaps) > 0.6
    assert num_boxes <= 15
