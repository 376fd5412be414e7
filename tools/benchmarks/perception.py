"""The perception suite: accuracy of sources of keypoints by part, and the rate of batched top-down models."""

import os
import pathlib
import statistics
import sys
import tempfile
import time
from typing import Any

import numpy as np

_ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
_DATA = pathlib.Path(os.environ.get("HARDMO_DATA", _ROOT.parent / "shared" / "data"))
_RTMDET = _DATA / "weights" / "rtmdet-nano_person_end2end.onnx"
_COCO = _DATA / "keypoints2d" / "mmpose_tests" / "coco" / "test_coco_wholebody.json"
_OPENPOSE = _DATA / "keypoints2d" / "prohmr_openpose" / "pexels-anete-lusina-4793258_keypoints.json"
#: People and pictures of each, for the table and for calibrations.
_RENDERED, _PICTURES_OF_ONE = 14, 4
_SEEDS = (11, 12)
#: Crops of one call, and repetitions.
_CROPS, _REPEATS = 16, 7


def plan() -> list[dict[str, Any]]:
    """Cells: the accuracy of all sources, and rates."""
    cells: list[dict[str, Any]] = [{"measure": "rate", "all_cores": True}]
    if _RTMDET.is_file():
        cells.insert(0, {"measure": "accuracy", "all_cores": True})
    return cells


def run(cell: dict[str, Any], models: pathlib.Path) -> list[dict[str, object]]:
    """Measure one cell."""
    del models
    return _accuracy() if cell["measure"] == "accuracy" else _rates()


def _accuracy() -> list[dict[str, object]]:
    from hardmo_jax.body import load
    from hardmo_jax.perception import load_source, model_files
    from hardmo_jax.perception.source_options import PerceptionOptions
    from hardmo_jax.pipelines import benchmark_sources, known_pictures, rendered_people

    folder = model_files.default_model_folder()
    sources = {
        "blazepose": load_source.load_source(folder, PerceptionOptions(detector="blazepose")),
        "rtmdet-nano + blazepose": load_source.load_source(folder, PerceptionOptions(detector_file=str(_RTMDET))),
    }
    rows: list[dict[str, object]] = []
    for name, path in (("4 photos of COCO-WholeBody", _COCO), ("photo of OpenPose", _OPENPOSE)):
        pictures = benchmark_sources.numbered(known_pictures.pictures_of_file(path))
        rows += benchmark_sources.compare_sources(sources, pictures, of=name)
    body = load.open_body(view="smplh")
    calibrating, pictures = (
        benchmark_sources.numbered(rendered_people.rendered_pictures(body, seed, _RENDERED, _PICTURES_OF_ONE))
        for seed in _SEEDS
    )
    fused, _ = benchmark_sources.compare_fusion(
        sources, calibrating, pictures, report=lambda text: print(text, file=sys.stderr, flush=True)
    )
    return [*rows, *fused]


def _rates() -> list[dict[str, object]]:
    """People a second of our batches against the bare session with ready batches, in turns."""
    from hardmo_jax.perception.keypoints_onnx import OnnxKeypointModel

    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (1080, 1920, 3), dtype=np.uint8)
    boxes = [np.array([x, y, x + 200.0, y + 420.0]) for x, y in rng.uniform(0, 600, (_CROPS, 2))]
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, width in (("as RTMPose-s", 24), ("as RTMPose-m", 40)):
            path, flops = _whole_body_model(pathlib.Path(folder) / f"{width}.onnx", width)
            model = OnnxKeypointModel(path, mirrored_too=False)
            batch = rng.normal(size=(_CROPS, 3, 256, 192)).astype(np.float32)
            model(image, boxes)
            model._model(batch)
            ours, bare = [], []
            for _ in range(_REPEATS):
                start = time.perf_counter()
                model(image, boxes)
                ours.append(time.perf_counter() - start)
                start = time.perf_counter()
                model._model(batch)
                bare.append(time.perf_counter() - start)
            share = statistics.median(b / o for b, o in zip(bare, ours, strict=True))
            rows.append(
                {
                    "measure": "rate", "model": name, "giga_operations": flops / 1e9, "people": _CROPS,
                    "ours_people_a_second": _CROPS / statistics.median(ours),
                    "onnxruntime_people_a_second": _CROPS / statistics.median(bare), "share": share,
                }
            )  # fmt: skip
    return rows


def _whole_body_model(path: pathlib.Path, width: int) -> tuple[pathlib.Path, float]:
    """Random weights of about the size of a known model: convolutions, then SimCC of 133 points of 192 x 256 crops.

    Returns:
        The file, and multiplications and additions of one crop.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, constants, operations = [], [], 0.0
    name, channels, height, across = "input", 3, 256, 192
    for stage, (out, repeats) in enumerate(
        ((width, 1), (2 * width, 2), (4 * width, 3), (8 * width, 3), (16 * width, 1))
    ):
        for repeat in range(repeats + 1):
            stride = 2 if repeat == 0 else 1
            height, across = height // stride, across // stride
            weight = rng.normal(0, (2 / (9 * channels)) ** 0.5, (out, channels, 3, 3)).astype(np.float32)
            constants.append(numpy_helper.from_array(weight, f"w{stage}{repeat}"))
            nodes.append(
                helper.make_node("Conv", [name, f"w{stage}{repeat}"], [f"c{stage}{repeat}"], pads=[1, 1, 1, 1],
                                 strides=[stride, stride])
            )  # fmt: skip
            nodes.append(helper.make_node("Relu", [f"c{stage}{repeat}"], [f"r{stage}{repeat}"]))
            operations += 2.0 * weight.size * height * across
            name, channels = f"r{stage}{repeat}", out
    weight = rng.normal(0, 0.05, (133, channels, 1, 1)).astype(np.float32)
    constants.append(numpy_helper.from_array(weight, "points"))
    constants.append(numpy_helper.from_array(np.array([-1, 133, height * across], np.int64), "flat"))
    nodes += [
        helper.make_node("Conv", [name, "points"], ["maps"]),
        helper.make_node("Reshape", ["maps", "flat"], ["features"]),
    ]
    for axis, length in (("x", 2 * 192), ("y", 2 * 256)):
        head = rng.normal(0, 0.05, (height * across, length)).astype(np.float32)
        constants.append(numpy_helper.from_array(head, f"head_{axis}"))
        nodes.append(helper.make_node("MatMul", ["features", f"head_{axis}"], [f"simcc_{axis}"]))
        operations += 2.0 * 133 * head.size
    outputs = [
        helper.make_tensor_value_info(f"simcc_{axis}", TensorProto.FLOAT, ["batch", 133, length])
        for axis, length in (("x", 384), ("y", 512))
    ]
    source = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 256, 192])
    graph = helper.make_graph(nodes, "whole_body", [source], outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path, operations
