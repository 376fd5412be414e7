"""The one camera of a picture: where it comes from, that label, drawing and record agree on it, and what is said."""

import dataclasses
import json
import math
import struct

import numpy as np
import pytest

from hardmo_jax import options as options_module
from hardmo_jax.labels import store
from hardmo_jax.pipelines import annotate, annotate_cameras
from hardmo_jax.recovery.focal_length import SolvedFocalLength
from hardmo_jax.skeleton import layouts
from hardmo_jax.viz import overlay

WIDTH, HEIGHT = 640, 480
DIAGONAL = math.hypot(WIDTH, HEIGHT)
FILM = math.hypot(36, 24)
#: A person who stands and faces the camera, pixels.
STANDING = {
    "nose": (320, 80), "left_eye": (326, 74), "right_eye": (314, 74), "left_ear": (334, 78), "right_ear": (306, 78),
    "neck": (320, 112), "left_shoulder": (352, 114), "right_shoulder": (288, 114), "left_elbow": (362, 168),
    "right_elbow": (278, 168), "left_wrist": (366, 218), "right_wrist": (274, 218), "mid_hip": (320, 224),
    "left_hip": (338, 224), "right_hip": (302, 224), "left_knee": (340, 308), "right_knee": (300, 308),
    "left_ankle": (342, 390), "right_ankle": (298, 390),
}  # fmt: skip


def photo(focal_length_35mm=None, size=(WIDTH, HEIGHT)):
    """A grey JPEG, and in it a note of the lens and of the size that was taken."""
    import cv2

    data = cv2.imencode(".jpg", np.full((HEIGHT, WIDTH, 3), 90, np.uint8))[1].tobytes()
    if focal_length_35mm is None:
        return data
    entries = struct.pack(">HHII", 0xA002, 4, 1, size[0]) + struct.pack(">HHII", 0xA003, 4, 1, size[1])
    entries += struct.pack(">HHIHH", 0xA405, 3, 1, focal_length_35mm, 0)
    first = struct.pack(">HHHIII", 1, 0x8769, 4, 1, 26, 0)
    segment = b"Exif\0\0MM\0*" + struct.pack(">I", 8) + first + struct.pack(">H", 3) + entries + bytes(4)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


@pytest.fixture
def source(tmp_path):
    """A keypoint file of one person a photo: with a note of the lens, without one, and with that of before a crop."""
    (tmp_path / "images").mkdir()
    content = {"exif.jpg": photo(26), "bare.jpg": photo(), "cropped.jpg": photo(26, (4000, 2250))}
    triples = [(*STANDING[point], 2) for point in layouts.get_layout("coco17").points]
    for name, data in content.items():
        (tmp_path / "images" / name).write_bytes(data)
    coco = {
        "images": [
            {"id": number, "file_name": name, "width": WIDTH, "height": HEIGHT} for number, name in enumerate(content)
        ],
        "annotations": [
            {"id": number, "image_id": number, "keypoints": [int(n) for triple in triples for n in triple],
             "bbox": [250, 60, 140, 350], "category_id": 1, "iscrowd": 0}
            for number in range(len(content))
        ],
        "categories": [{"id": 1, "name": "person"}],
    }  # fmt: skip
    (tmp_path / "people.json").write_text(json.dumps(coco))
    return tmp_path / "people.json"


def run(path, /, **camera):
    """Summary, labels by photo, and the record."""
    output = path.parent / "out"
    options = annotate.AnnotateOptions(
        camera=annotate.CameraOptions(**camera),
        output=annotate.OutputOptions(renderer="painter", side_by_side=False, part_scores=False),
    )
    summary = annotate.annotate(path, output, options=options, model_folder=output)
    rows = {row.source_path.rpartition("/")[2]: row for row in store.read_labels(output / "labels.parquet").rows}
    return summary, rows, json.loads((output / "run.json").read_text())["results"]


def vertical_angle(focal_length):
    return math.degrees(2 * math.atan(0.5 * HEIGHT / focal_length))


@pytest.fixture
def drawn_focal_lengths(monkeypatch):
    """Focal lengths that people were drawn with."""
    found = []
    draw = overlay.draw_overlay

    def noted(*arguments, focal_length, **options):
        found.append(float(focal_length[0]))
        return draw(*arguments, focal_length=focal_length, **options)

    monkeypatch.setattr(overlay, "draw_overlay", noted)
    return found


def test_each_photo_has_the_lens_that_it_notes_else_the_diagonal(source, drawn_focal_lengths):
    summary, rows, record = run(source)
    assert {name: row.camera_source for name, row in rows.items()} == {
        "exif.jpg": "exif", "bare.jpg": "diagonal", "cropped.jpg": "diagonal",
    }  # fmt: skip
    lens = 26 / FILM * DIAGONAL
    expected = {"exif.jpg": lens, "bare.jpg": DIAGONAL, "cropped.jpg": DIAGONAL}
    for name, focal_length in expected.items():
        np.testing.assert_allclose(rows[name].focal_length, focal_length, rtol=1e-5)
        assert rows[name].vertical_field_of_view_degrees == pytest.approx(vertical_angle(focal_length), rel=1e-5)
    np.testing.assert_allclose(sorted(drawn_focal_lengths), sorted(expected.values()), rtol=1e-5)
    # The same person is as much nearer as the lens is wider.
    assert rows["exif.jpg"].transl[2] / rows["bare.jpg"].transl[2] == pytest.approx(lens / DIAGONAL, rel=0.25)
    assert [(use["source"], use["num_pictures"]) for use in record["cameras"]] == [("diagonal", 2), ("exif", 1)]
    wide = vertical_angle(lens)
    assert summary.cameras[1].vertical_field_of_view_degrees == pytest.approx((wide, wide), rel=1e-5)
    assert not summary.warnings


def test_given_field_of_view_goes_before_exif(source, drawn_focal_lengths):
    _, rows, _ = run(source, field_of_view_degrees=60.0)
    focal_length = 0.5 * DIAGONAL / math.tan(math.radians(30))
    for row in rows.values():
        assert row.camera_source == "field_of_view"
        np.testing.assert_allclose(row.focal_length, focal_length, rtol=1e-5)
    np.testing.assert_allclose(drawn_focal_lengths, focal_length, rtol=1e-5)


def test_diagonal_is_taken_where_it_is_asked_for(source):
    _, rows, _ = run(source, source="diagonal")
    for row in rows.values():
        assert row.camera_source == "diagonal"
        np.testing.assert_allclose(row.focal_length, DIAGONAL, rtol=1e-5)


def test_photos_without_the_exif_that_was_asked_for_are_counted(source):
    summary, rows, _ = run(source, source="exif")
    assert rows["exif.jpg"].camera_source == "exif"
    assert rows["bare.jpg"].camera_source == "diagonal"
    assert any("2 of 3 pictures have no EXIF" in warning for warning in summary.warnings)


def test_photos_are_not_solved_and_that_is_said(source):
    summary, rows, _ = run(source, source="solve")
    assert sorted(row.camera_source for row in rows.values()) == ["diagonal", "diagonal", "exif"]
    assert any("'solve' is for videos" in warning for warning in summary.warnings)


@pytest.mark.parametrize("is_determined", [False, True])
def test_video_has_one_solved_lens_or_the_diagonal(
    is_determined, reference_data, perception_models, drawn_focal_lengths, monkeypatch, tmp_path
):
    if is_determined:
        found = SolvedFocalLength(
            scale=0.6, is_determined=True, reason="", estimate=0.6, log_spread=0.05, distance=3.0, num_people=3,
            scales=np.ones(9), costs=np.zeros(9),
        )  # fmt: skip
        monkeypatch.setattr(annotate_cameras.focal_length, "solve_focal_length", lambda *_, **__: found)
    perception = dataclasses.replace(annotate.AnnotateOptions().perception, tiles=(), extra_looks=0)
    options = annotate.AnnotateOptions(
        camera=annotate.CameraOptions(source="solve"), perception=perception, limit_frames=2,
        output=annotate.OutputOptions(renderer="painter", part_scores=False),
    )  # fmt: skip
    clip = reference_data / "media/videos/mmhuman3d_single_person_demo.mp4"
    summary = annotate.annotate(clip, tmp_path / "out", options=options, model_folder=perception_models)
    rows = store.read_labels(tmp_path / "out" / "labels.parquet").rows
    record = json.loads((tmp_path / "out" / "run.json").read_text())["results"]
    diagonal = math.hypot(rows[0].image_width, rows[0].image_height)
    expected = 0.6 * diagonal if is_determined else diagonal
    assert {row.camera_source for row in rows} == {"solved" if is_determined else "diagonal"}
    for row in rows:
        np.testing.assert_allclose(row.focal_length, expected, rtol=1e-5)
    np.testing.assert_allclose(drawn_focal_lengths, expected, rtol=1e-5)
    assert record["shots"][0]["solved_focal_length"]["is_determined"] == is_determined
    # Two frames of one second are one look at a person, not two.
    assert is_determined or any("too few" in warning for warning in summary.warnings)


@pytest.mark.parametrize(
    ("camera", "words"),
    [({"source": "exif", "field_of_view_degrees": 60.0}, "contradict"),
     ({"source": "diagonal", "field_of_view_degrees": 60.0}, "contradict"),
     ({"source": "solve", "field_of_view_degrees": 60.0}, "contradict"),
     ({"source": "field_of_view"}, "needs `field_of_view_degrees`"),
     ({"source": "lens"}, "'lens'")],
)  # fmt: skip
def test_contradictions_are_refused(camera, words):
    with pytest.raises(options_module.OptionsError, match=words):
        options_module.from_mapping(annotate.CameraOptions, camera, where="config.camera")
