"""What a user is missing is told in one line with exit status 2; what is our fault keeps its traceback."""

import pytest

from tests.tools.command_line import fork_each

#: Packages of that name are none.
GONE = "raise ImportError('no such package here')\n"
SCRIPT = """
import sys
from tools import _cli

def onnx():
    from hardmo_jax.perception.onnx_model import OnnxModel
    OnnxModel(__file__)

def litert():
    from hardmo_jax.perception.litert import LiteRtModel
    LiteRtModel(__file__, input_shape=(1, 1, 3), outputs={})

def ultralytics():
    from hardmo_jax.perception.ultralytics_import import import_ultralytics
    import_ultralytics()

def lap():
    import importlib.util
    importlib.util.find_spec = lambda name: None
    from hardmo_jax.perception.track_ultralytics import UltralyticsTracker
    UltralyticsTracker("bytetrack", 25.0)

def download():
    from hardmo_jax.perception import yolo_weights
    raise yolo_weights._no_download(yolo_weights.pathlib.Path("yolo11n.pt"), " (no network)")

def layout():
    from hardmo_jax.perception.keypoint_files.point_lists import chosen_points
    chosen_points("coco71")

def ours():
    import hardmo_jax.no_such_module

what = globals()[sys.argv.pop(1)]
_cli.run(lambda argv: what(), compiles=False)
"""


TOLD = {
    "onnx": "ONNX models need onnxruntime; `pip install hardmo_jax[perception]`",
    "litert": "the default perception needs ai-edge-litert; `pip install hardmo_jax[perception]`",
    "ultralytics": "YOLO weights need ultralytics (no such package here); `pip install hardmo_jax[yolo]`",
    "lap": "the trackers of ultralytics need lap; `pip install hardmo_jax[yolo]`",
    "download": "ultralytics could not download yolo11n.pt (no network); put the file at yolo11n.pt by hand",
    "layout": "unknown keypoint layout 'coco71'; did you mean 'coco17'?",
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """How each of the functions of the script ended."""
    folder = tmp_path_factory.mktemp("gone")
    for name in ("onnxruntime", "torch", "ultralytics"):
        (folder / f"{name}.py").write_text(GONE)
    (folder / "ai_edge_litert").mkdir()
    (folder / "ai_edge_litert" / "__init__.py").write_text(GONE)
    (folder / "script.py").write_text(SCRIPT)
    names = [*TOLD, "ours"]
    return dict(zip(names, fork_each("script", [[name] for name in names], folder=folder, cwd=folder), strict=True))


@pytest.mark.parametrize(("what", "told"), list(TOLD.items()))
def test_what_is_missing_is_told_in_one_line(ended, what, told):
    done = ended[what]
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"error: {told}")
    assert done.stderr.count("\n") == 1


def test_an_import_that_is_our_mistake_keeps_its_traceback(ended):
    done = ended["ours"]
    assert done.returncode == 1
    assert "Traceback" in done.stderr
