"""`tools.annotate` with detectors and keypoints of the user's own, from the command line."""

import json
import os
import pathlib
import shutil

import pytest

from hardmo_jax.labels import store
from hardmo_jax.perception.keypoint_files import read_keypoint_file, write_openpose
from tests.tools.command_line import run_each

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DATA = pathlib.Path(os.environ.get("HARDMO_DATA", ROOT.parent / "shared" / "data")).resolve()
RTMDET = DATA / "weights" / "rtmdet-nano_person_end2end.onnx"
PHOTO = DATA / "keypoints2d" / "mmpose_tests" / "coco" / "000000000785.jpg"
needs_data = pytest.mark.skipif(not RTMDET.is_file(), reason="needs HARDMO_DATA: the RTMDet file and photos of COCO")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """How each run ended, and its folder: `in`, `out` and `json`."""
    base = tmp_path_factory.mktemp("sources")
    arguments = {
        "rtmdet": ("--config.perception.detector=onnx", f"--config.perception.detector_file={RTMDET}"),
        "gone": ("--config.perception.detector_file=gone.onnx",),
        "without a file": ("--config.perception.detector=onnx",),
        "damaged": (
            "--config.perception.detector=files", f"--config.perception.keypoints_file={base / 'damaged' / 'json'}",
        ),
    }  # fmt: skip
    lines = []
    for name, own in arguments.items():
        (base / name / "in").mkdir(parents=True)
        shutil.copy(PHOTO, base / name / "in")
        places = (f"--input={base / name / 'in'}", f"--output_dir={base / name / 'out'}")
        lines.append(("--config=configs/normal.py:smoke", *places, "--config.output.overlay=False", *own))
    damage(base / "damaged")
    return {name: (done, base / name) for name, done in zip(arguments, run_each("annotate", lines), strict=True)}


def damage(folder):
    """A photo is damaged, another has no keypoints that can be read; the third has some."""
    (person,) = [
        one for one in read_keypoint_file(PHOTO.parent / "test_coco_wholebody.json").people
        if one.image_file == PHOTO.name
    ]  # fmt: skip
    write_openpose(folder / "json", PHOTO.stem, [person])
    for name in ("damaged", "unread"):
        shutil.copy(PHOTO, folder / "in" / f"{name}.jpg")
        (folder / "json" / f"{name}_keypoints.json").write_text("{")
    (folder / "in" / "damaged.jpg").write_bytes(PHOTO.read_bytes()[:5000])


@needs_data
def test_boxes_of_rtmdet_and_points_of_blazepose(runs):
    done, folder = runs["rtmdet"]
    assert done.returncode == 0, done.stderr
    (row,) = store.read_labels(folder / "out" / "labels.parquet").rows
    assert row.is_usable
    assert row.error_by_part["body"] < 0.02
    assert row.keypoint_source == f"blazepose, boxes: {RTMDET.name}"
    assert RTMDET.name in json.dumps(json.loads((folder / "out" / "run.json").read_text()))


@needs_data
def test_mistakes_are_one_line_before_any_work(runs):
    done, folder = runs["gone"]
    assert done.returncode == 2
    assert "gone.onnx: no such ONNX file" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "out").exists()
    done, _ = runs["without a file"]
    assert done.returncode == 2
    assert "--config.perception.detector_file=rtmdet.onnx" in done.stderr


@needs_data
def test_what_could_not_be_used_is_told_by_the_exit_status(runs):
    done, folder = runs["damaged"]
    assert done.returncode == 3, done.stderr
    assert "2 pictures could not be read, or have no keypoints" in done.stdout
    assert "unread_keypoints.json: expected JSON" in done.stdout.replace("\n", "")
    (row,) = store.read_labels(folder / "out" / "labels.parquet").rows
    assert row.source_path == PHOTO.name
