"""`tools.annotate` with a detector and a keypoint model in ONNX files, from a photo to labels."""

import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from hardmo_jax.labels import store
from tests.perception import handmade_onnx

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DATA = pathlib.Path(os.environ.get("HARDMO_DATA", ROOT.parent / "shared" / "data")).resolve()
RTMDET = DATA / "weights" / "rtmdet-nano_person_end2end.onnx"
PHOTO = DATA / "keypoints2d" / "mmpose_tests" / "coco" / "000000000785.jpg"
needs_data = pytest.mark.skipif(not RTMDET.is_file(), reason="needs HARDMO_DATA: the RTMDet file and photos of COCO")


def annotate(folder, *arguments):
    command = [
        sys.executable, "-m", "tools.annotate", "--config=configs/normal.py:smoke", f"--input={folder / 'in'}",
        f"--output_dir={folder / 'out'}", "--config.output.overlay=False", *arguments,
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=420, env=os.environ)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(PHOTO, tmp_path / "in")
    return tmp_path


@needs_data
def test_boxes_of_rtmdet_and_points_of_blazepose(folder):
    done = annotate(folder, "--config.perception.detector=onnx", f"--config.perception.detector_file={RTMDET}")
    assert done.returncode == 0, done.stderr
    (row,) = store.read_labels(folder / "out" / "labels.parquet").rows
    assert row.is_usable
    assert row.error_by_part["body"] < 0.02
    assert row.keypoint_source == "blazepose"
    assert RTMDET.name in json.dumps(json.loads((folder / "out" / "run.json").read_text()))


@needs_data
def test_boxes_of_rtmdet_and_points_of_a_model_of_ones_own(folder):
    model = handmade_onnx.simcc(folder / "pose.onnx", count=133)
    done = annotate(
        folder, "--config.perception.detector=onnx", f"--config.perception.detector_file={RTMDET}",
        f"--config.perception.keypoints_file={model}",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = store.read_labels(folder / "out" / "labels.parquet").rows
    assert row.keypoint_source == "onnx:pose.onnx"
    # All points are where the picture is brightest: nobody stands like that, and no label says so.
    assert row.keypoint_confidence.max() == 1
    assert row.status == "DIVERGED"


@needs_data
def test_missing_file_is_one_line_before_any_work(folder):
    done = annotate(folder, "--config.perception.detector=onnx", "--config.perception.detector_file=gone.onnx")
    assert done.returncode == 2
    assert "gone.onnx: no such ONNX file" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (folder / "out").exists()


@needs_data
def test_half_a_choice_is_refused_with_the_other_half(folder):
    done = annotate(folder, "--config.perception.detector=onnx")
    assert done.returncode == 2
    assert "--config.perception.detector_file=rtmdet.onnx" in done.stderr
