"""YOLO weights of ultralytics: known answers, its own way of reading them, hostile files, and silence."""

import os
import pathlib
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from hardmo_jax.missing_packages import MissingPackageError
from hardmo_jax.perception import ultralytics_import, yolo_weights
from hardmo_jax.perception.detect_ultralytics import UltralyticsDetector
from hardmo_jax.perception.yolo_checkpoint import open_checkpoint
from hardmo_jax.torch_file import TorchFileError

if not ultralytics_import.has_ultralytics():
    pytest.skip("needs ultralytics, the extra `yolo` (AGPL-3.0)", allow_module_level=True)
ultralytics_import.import_ultralytics()

import torch  # noqa: E402
from ultralytics.data.augment import LetterBox  # noqa: E402
from ultralytics.nn import tasks  # noqa: E402
from ultralytics.utils import nms  # noqa: E402

from tests.perception import handmade_yolo  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]


def red_cell_picture():
    """Red where the cell (3, 2) of the model lies, which sees half the size and 8 rows of border above."""
    image = np.zeros((96, 128, 3), np.uint8)
    image[16:32, 48:64, 0] = 255
    return image


@pytest.mark.parametrize("end_to_end", [False, True])
def test_known_weights_find_the_known_person(tmp_path, end_to_end):
    path = handmade_yolo.save(tmp_path / "known.pt", handmade_yolo.known_model(end_to_end=end_to_end))
    detector = UltralyticsDetector(path)
    assert detector.kind == "pose"
    (person,) = detector(red_cell_picture(), min_score=0.3)
    # 2, 1, 4 and 4 cells from (28, 20); a cell is 16 pixels of the picture, whose corner is at (0, 8).
    np.testing.assert_allclose(person.bbox, [23.5, 7.5, 119.5, 87.5], atol=0.1)
    assert person.score > 0.99
    points, confidence = handmade_yolo.known_points((3, 2), (0, 8), 0.5)
    np.testing.assert_allclose(person.keypoints_2d, points, atol=0.1)
    np.testing.assert_allclose(person.confidence, confidence, atol=1e-3)
    assert detector(np.zeros((96, 128, 3), np.uint8), min_score=0.3) == []


def test_best_first_and_each_once(tmp_path):
    path = handmade_yolo.save(tmp_path / "known.pt", handmade_yolo.known_model())
    image = red_cell_picture()
    image[32:48, 48:64, 0] = 220  # the same person, less sure
    image[16:32, 112:128, 0] = 200  # somebody else, whose box is cut by the border
    first, second = UltralyticsDetector(path)(image, min_score=0.3)
    assert first.score > second.score
    np.testing.assert_allclose(second.bbox[2], 127, atol=0.1)


@pytest.mark.parametrize(
    ("name", "task", "kind"),
    [("yolo11n-pose", "pose", "pose"), ("yolo26n", "detect", "boxes"), ("yolov8n-seg", "segment", "boxes")],
)
def test_official_layouts_give_what_ultralytics_makes_of_them(tmp_path, name, task, kind):
    names = {0: "person"} if task == "pose" else {0: "person", 1: "horse"}
    model = handmade_yolo.random_model(name, task, len(names))
    path = handmade_yolo.save(tmp_path / f"{name}.pt", model, image_side=160, names=names)
    image = np.random.default_rng(0).integers(0, 256, (90, 200, 3), np.uint8)
    # All of the oracle is theirs: their unpickled model, their letterbox, their choice of boxes.
    model = torch.load(path, weights_only=False)["model"].float().eval()
    fitted = LetterBox((160, 160), auto=True, stride=32)(image=image)
    batch = torch.from_numpy(np.ascontiguousarray(fitted.transpose(2, 0, 1)))[None] / 255
    with torch.inference_mode():
        found = nms.non_max_suppression(model(batch)[0], 0.05, 1.0, classes=[0], nc=len(names), max_det=2000)[0].numpy()
    scale, offset = 160 / 200, np.array([0, (fitted.shape[0] - 72) // 2])
    boxes = np.clip((found[:, :4] - np.tile(offset, 2)) / scale - 0.5, 0, [199, 89, 199, 89])
    wanted = []
    for place in range(len(found)):
        width, height = boxes[place, 2:] - boxes[place, :2]
        is_known = any(overlap(boxes[place], boxes[one]) > 0.6 for one in wanted)
        if min(width, height) >= 1 and not is_known:
            wanted.append(place)
    detector = UltralyticsDetector(path)
    assert detector.kind == kind
    people = detector(image, min_score=0.05)
    assert len(people) == len(wanted) >= 10
    for person, place in zip(people, wanted, strict=True):
        assert person.score == pytest.approx(found[place, 4], abs=1e-4)
        np.testing.assert_allclose(person.bbox, boxes[place], atol=0.05)
        if kind == "pose":
            points = found[place, 6:].reshape(17, 3)
            np.testing.assert_allclose(person.keypoints_2d, (points[:, :2] - offset) / scale, atol=0.05)
            np.testing.assert_allclose(person.confidence, points[:, 2], atol=1e-3)


def overlap(first, second):
    sides = np.clip(np.minimum(first[2:], second[2:]) - np.maximum(first[:2], second[:2]), 0, None)
    both = sides.prod()
    return both / ((first[2:] - first[:2]).prod() + (second[2:] - second[:2]).prod() - both)


def test_people_are_the_class_of_that_name(tmp_path):
    layers = handmade_yolo.known_layers() | {"nc": 2}
    model = tasks.PoseModel(layers, verbose=False)
    path = handmade_yolo.save(tmp_path / "m.pt", model, names={0: "horse", 1: "Person"})
    assert UltralyticsDetector(path)._person == 1
    handmade_yolo.save(path, model, names={0: "horse", 1: "dog"})
    with pytest.raises(TorchFileError, match="none of its classes is `person`: horse, dog"):
        UltralyticsDetector(path)


def test_weights_for_other_points_give_boxes_and_other_tasks_nothing(tmp_path):
    model = tasks.PoseModel(handmade_yolo.known_layers() | {"kpt_shape": [21, 2]}, verbose=False)
    assert UltralyticsDetector(handmade_yolo.save(tmp_path / "hand.pt", model)).kind == "boxes"
    model = tasks.ClassificationModel("yolo11n-cls.yaml", verbose=False)
    with pytest.raises(TorchFileError, match=r"tasks\.ClassificationModel; expected weights of a YOLO that detects"):
        UltralyticsDetector(handmade_yolo.save(tmp_path / "class.pt", model))


class Call:
    """Unpickled, it is a call."""

    def __init__(self, function, *arguments):
        self.called = function, arguments

    def __reduce__(self):
        return self.called


def test_a_file_that_runs_a_program_is_refused_and_not_run(tmp_path):
    path, touched = tmp_path / "bad.pt", tmp_path / "touched"
    torch.save({"model": Call(os.system, f"touch {touched}")}, path)
    with pytest.raises(TorchFileError, match=r"it asks for '(posix|nt)\.system'.*format=onnx.*detector=onnx"):
        UltralyticsDetector(path)
    assert not touched.exists()
    torch.load(path, weights_only=False)
    assert touched.exists(), "the file of this test is not hostile"


def test_a_file_that_lets_ultralytics_evaluate_text_is_refused_and_not_run(tmp_path):
    # Names of YOLO only: a list of allowed classes lets it through, torch's own included.
    path, touched = tmp_path / "bad.pt", tmp_path / "touched"
    layers = handmade_yolo.known_layers() | {"activation": f"__import__('pathlib').Path({str(touched)!r}).touch()"}
    torch.save({"model": Call(tasks.PoseModel, layers)}, path)
    with pytest.raises(TorchFileError, match=r"it calls ultralytics\.nn\.tasks\.PoseModel"):
        UltralyticsDetector(path)
    model = tasks.PoseModel(handmade_yolo.known_layers(), verbose=False)
    model.yaml["activation"] = layers["activation"]
    with pytest.raises(TorchFileError, match="as Python text"):
        UltralyticsDetector(handmade_yolo.save(path, model))
    assert not touched.exists()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"backbone": [[-1, 1, "torch_safe_load", ["evil.pt"]]]}, "asks for"),
        ({"backbone": [[-1, 1, "torchvision.ops.Conv2d", []]]}, "asks for"),
        ({"backbone": [[-1, 1, "nn.MaxPool2d", ["d"]]]}, "unknown values"),
        ({"backbone": [[-1, 1e9, "nn.MaxPool2d", [8]]]}, "unknown values"),
        ({"backbone": [], "head": []}, "0 layers"),
        ({"scales": {"n": "evil"}}, "unknown scale"),
        ({"nc": "evil"}, "unknown nc"),
        ({"channels": 4}, "other than 3 channels"),
        ({"kpt_shape": [18, 3]}, "is not what this release of ultralytics makes of"),
    ],
)
def test_lists_of_layers_with_anything_else_are_refused(tmp_path, change, told):
    model = tasks.PoseModel(handmade_yolo.known_layers(), verbose=False)
    model.yaml = model.yaml | change
    with pytest.raises(TorchFileError, match=told):
        UltralyticsDetector(handmade_yolo.save(tmp_path / "m.pt", model))


def test_another_activation_than_the_list_of_layers_means_is_noticed(tmp_path):
    model = handmade_yolo.known_model()
    model.model[-1].cv3[0][0].act = torch.nn.ReLU()
    with pytest.raises(TorchFileError, match=r"model\.3\.cv3\.0\.0\.act"):
        UltralyticsDetector(handmade_yolo.save(tmp_path / "m.pt", model))


def test_files_that_are_no_weights(tmp_path):
    def told(content):
        path = tmp_path / "m.pt"
        path.write_bytes(content)
        with pytest.raises(TorchFileError) as error:
            UltralyticsDetector(path)
        return str(error.value)

    whole = handmade_yolo.save(tmp_path / "whole.pt", handmade_yolo.known_model()).read_bytes()
    assert "cut off or damaged: copy or download it again" in told(whole[: len(whole) // 2])
    assert "a JPEG image" in told(b"\xff\xd8\xff\xe0" + bytes(100))
    assert "not a file of torch" in told(pickle.dumps({}))
    assert "no model" in told(_archive(tmp_path, pickle.dumps([1, 2], protocol=2)))
    assert "not one of torch" in told(_archive(tmp_path, pickle.dumps({}, protocol=2), name="other.pkl"))
    assert "compressed" in told(_archive(tmp_path, bytes(1000), compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(FileNotFoundError, match="no such file"):
        UltralyticsDetector(tmp_path / "missing.pt")
    with pytest.raises(TorchFileError, match="the most that is read"):
        open_checkpoint(tmp_path / "whole.pt", max_bytes=100)


def _archive(folder, data, *, name="data.pkl", compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(folder / "made.zip", "w", compression) as file:
        file.writestr(f"archive/{name}", data)
    return (folder / "made.zip").read_bytes()


def test_tensors_come_out_as_torch_has_them(tmp_path):
    numbers = torch.arange(24.0).reshape(4, 6)
    tensors = {
        "turned": numbers.T, "cut": numbers[1:3, ::2], "half": numbers.half(), "brain": numbers.bfloat16(),
        "whole": numbers.long(), "one": torch.tensor(3.0), "none": torch.zeros(0, 3),
        "parameter": torch.nn.Parameter(numbers),
    }  # fmt: skip
    torch.save(tensors, tmp_path / "t.pt")
    with open_checkpoint(tmp_path / "t.pt") as file:
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(file.array(file.root[name], max_values=24), tensor.detach().float().numpy())
        with pytest.raises(TorchFileError, match="at most 5 values"):
            file.array(file.root["whole"], max_values=5)


def test_a_tensor_cannot_reach_beyond_its_bytes(tmp_path):
    torch.save({"t": torch.arange(6.0)}, tmp_path / "t.pt")
    raw = (tmp_path / "t.pt").read_bytes()
    # BININT1 6 is the size; its length is kept, so that the archive stays one (its checksum is of the old bytes).
    with zipfile.ZipFile(tmp_path / "t.pt") as file:
        data = file.read("t/data.pkl")
    size = data.rindex(b"K\x06\x85")
    changed = data[:size] + b"K\x60" + data[size + 2 :]
    with zipfile.ZipFile(tmp_path / "t.pt", "w") as file:
        file.writestr("t/data.pkl", changed)
        file.writestr("t/data/0", np.arange(6, dtype="<f4").tobytes())
    assert len(raw) > 0
    with (
        open_checkpoint(tmp_path / "t.pt") as file,
        pytest.raises(TorchFileError, match="beyond its numbers"),
    ):
        file.array(file.root["t"], max_values=1000)


def test_the_process_is_left_as_it_was(tmp_path):
    import cv2

    path = handmade_yolo.save(tmp_path / "known.pt", handmade_yolo.known_model())

    assert cv2.getNumThreads() != 0 or os.cpu_count() == 1
    assert str(np.float32(1.5)) == "1.5"
    assert f"{np.array([1.25])}" == "[1.25]"
    before = torch.get_num_threads()
    state = torch.get_rng_state()
    UltralyticsDetector(path, num_threads=before + 1)(red_cell_picture(), min_score=0.3)
    assert torch.get_num_threads() == before
    assert torch.equal(torch.get_rng_state(), state)


QUIET = """
import pathlib, socket, sys
calls = []
def recorded(name):
    def call(*arguments, **named):
        calls.append((name, arguments[-1:]))
        raise OSError("no network in this test")
    return call
for name in ("connect", "connect_ex", "sendto", "bind"):
    setattr(socket.socket, name, recorded(name))
for name in ("getaddrinfo", "gethostbyname", "gethostbyaddr", "create_connection"):
    setattr(socket, name, recorded(name))
import numpy as np
from hardmo_jax.perception.detect_ultralytics import UltralyticsDetector
from hardmo_jax.perception.yolo_checkpoint import open_checkpoint
image = np.zeros((96, 128, 3), np.uint8)
image[16:32, 48:64, 0] = 255
people = UltralyticsDetector(sys.argv[1])(image, min_score=0.3)
import os
print(len(people), calls, "torchvision" in sys.modules, os.environ.get("OMP_NUM_THREADS"))
"""


def test_nothing_is_asked_of_the_network_or_written_at_home(tmp_path):
    path = handmade_yolo.save(tmp_path / "known.pt", handmade_yolo.known_model())
    home = tmp_path / "home"
    home.mkdir()
    kept = ("PATH", "LD_LIBRARY_PATH", "TMPDIR")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", QUIET, str(path)],
        env=environment | {"HOME": str(home), "PYTHONPATH": str(ROOT)},
        cwd=home, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("1 [] False None\n", "")
    assert list(home.rglob("*")) == []


def test_without_ultralytics_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "ultralytics")
    monkeypatch.setattr(ultralytics_import, "has_ultralytics", lambda: False)
    with pytest.raises(MissingPackageError, match=r"pip install hardmo_jax\[yolo\]`. ultralytics is AGPL-3.0"):
        ultralytics_import.import_ultralytics()


def test_weights_are_found_by_path_and_by_name(tmp_path):
    (tmp_path / "models").mkdir()
    kept = tmp_path / "models" / "yolo11n-pose.pt"
    kept.touch()
    mine = tmp_path / "mine.pt"
    mine.touch()
    assert yolo_weights.find_weights("yolo11n-pose.pt", tmp_path / "models") == kept
    assert yolo_weights.find_weights(mine, tmp_path / "models") == mine
    with pytest.raises(FileNotFoundError) as error:
        yolo_weights.find_weights("yolo11x.pt", tmp_path / "models")
    for part in (
        f"(a) put the file at {tmp_path / 'models' / 'yolo11x.pt'}", "--config.perception.detector_file=PATH",
        "(b)", "--config.perception.allow_download=True", "(c)", "detector=blazepose", "detector_file=PATH.onnx",
    ):  # fmt: skip
        assert part in str(error.value)
    with pytest.raises(FileNotFoundError, match=r"no YOLO weights at sub/yolo11x\.pt"):
        yolo_weights.find_weights("sub/yolo11x.pt", tmp_path / "models", allow_download=True)


def test_weights_of_the_automatic_choice(tmp_path, monkeypatch):
    assert yolo_weights.installed_weights(tmp_path) is None
    chosen = []
    for name in ("yolo-mine.pt", "yolo26n-pose.pt", "yolov8x.pt", "yolo11n.pt", "yolov8n-pose.pt", "other.pt"):
        (tmp_path / name).touch()
        best = yolo_weights.installed_weights(tmp_path)
        assert best is not None
        chosen.append(best.name)
    # Their boxes are what is used: weights with points are taken where there are no others.
    assert chosen == ["yolo-mine.pt", "yolo26n-pose.pt", "yolov8x.pt", "yolo11n.pt", "yolo11n.pt", "yolo11n.pt"]
    monkeypatch.setattr(ultralytics_import, "has_ultralytics", lambda: False)
    assert yolo_weights.installed_weights(tmp_path) is None


def test_a_download_goes_through_ultralytics_into_the_folder_or_fails_clearly(tmp_path, monkeypatch):
    from ultralytics.utils import downloads

    def fetch(file, **_):
        assert "YOLO_OFFLINE" not in os.environ
        pathlib.Path(file).write_bytes(b"weights")
        return str(file)

    def fail(file, **_):
        raise ConnectionError("Download failure")

    monkeypatch.setattr(downloads, "attempt_download_asset", fetch)
    found = yolo_weights.find_weights("yolo11n.pt", tmp_path / "new", allow_download=True)
    assert found == tmp_path / "new" / "yolo11n.pt"
    assert found.read_bytes() == b"weights"
    assert os.environ["YOLO_OFFLINE"] == "1"
    monkeypatch.setattr(downloads, "attempt_download_asset", fail)
    with pytest.raises(
        yolo_weights.WeightsDownloadError, match=r"could not download yolo11s.pt \(Download failure\); put the file at"
    ):
        yolo_weights.find_weights("yolo11s.pt", tmp_path, allow_download=True)
