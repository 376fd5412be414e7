"""Weights by strangers who mean harm: each ends in one line, and none costs more than its bytes."""

import contextlib
import zipfile

import numpy as np
import pytest

from hardmo_jax.perception.yolo_checkpoint import open_checkpoint, read_checkpoint
from hardmo_jax.torch_file import TorchFileError
from tests.perception import handmade_torch
from tests.perception.handmade_torch import Made, Storage, tensor

LAYERS = {"nc": 1, "backbone": [[-1, 1, "Conv", [16, 3, 2]]], "head": [[[0], 1, "Detect", ["nc"]]]}
HUGE = 10**70


def layer(**state):
    return Made("torch.nn.modules.conv.Conv2d", state=state)


def checkpoint(path, storages=None, **state):
    fields = {"yaml": LAYERS, "names": {0: "person"}, "_modules": {"model": layer()}, "_parameters": {}} | state
    model = Made("ultralytics.nn.tasks.DetectionModel", state=fields)
    return handmade_torch.save(path, {"model": model, "train_args": {"imgsz": 640}}, storages)


def nested(value, depth):
    for _ in range(depth):
        value = [value, value]
    return value


def test_a_handmade_file_is_read(tmp_path):
    weights = {"weight": tensor(Storage("0", 6), 1, (2, 2), (2, 1))}
    path = checkpoint(
        tmp_path / "m.pt", {"0": np.arange(6, dtype="<f4")}, _modules={"model": layer(_parameters=weights)}
    )
    found = read_checkpoint(path)
    assert found.classes == {0: "person"}
    assert found.weights["model.weight"].tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"names": 5}, "names of its classes"),
        ({"names": "person"}, "names of its classes"),
        ({"_modules": [layer()]}, "_modules"),
        ({"_modules": 5}, "_modules"),
        ({"_modules": {5: layer()}}, "_modules"),
        ({"_modules": {"m" * 5000: layer()}}, "_modules"),
        ({"_modules": {"model": layer(_parameters=[1])}}, "_parameters"),
        ({"_modules": {"model": layer(_buffers="text")}}, "_buffers"),
        ({"_modules": {"model": layer(_buffers={str(n): None for n in range(5000)})}}, "_buffers"),
        ({"_modules": {"model": layer(_buffers={"a": 5}, _non_persistent_buffers_set=5)}}, "_non_persistent"),
        ({"_parameters": {"a": tensor(Storage("0", HUGE), 0, (1,), (1,))}}, "unknown kind"),
        ({"_parameters": {"a": tensor(Storage("0", 1), 0, (0, HUGE), (1, 1))}}, "unknown kind"),
        ({"_parameters": {"a": tensor(Storage("0", 1), 0, (0, 2**40, 2**40), (1, 1, 1))}}, "values belong"),
        ({"_parameters": {"a": tensor(Storage("0", 1), 0, (1,), (HUGE,))}}, "unknown kind"),
        ({"yaml": LAYERS | {"backbone": 5}}, "backbone"),
        ({"yaml": LAYERS | {"backbone": "Conv"}}, "backbone"),
        ({"yaml": LAYERS | {"backbone": [[-1, 1, ["Conv"], [16]]]}}, "asks for"),
        ({"yaml": LAYERS | {"backbone": [[-1, 1, {}, [16]]]}}, "asks for"),
        ({"yaml": LAYERS | {"backbone": [5]}}, "asks for"),
        ({"yaml": LAYERS | {"backbone": [[HUGE, 1, "Evil", []]]}}, "asks for"),
        ({"yaml": LAYERS | {"backbone": [nested("Conv", 12)]}}, "asks for"),
        ({"yaml": LAYERS | {"backbone": [[-1, 1, "Conv", nested("evil", 12)]]}}, "unknown values"),
        ({"yaml": LAYERS | {"backbone": [[-1, 1, "Conv", [[[1] * 100] * 100] * 100]]}}, "unknown values"),
        ({"yaml": LAYERS | {"scales": {5: [1, 1, 1]}}}, "unknown scale"),
        ({"yaml": LAYERS | {"scales": {"n": 5}}}, "unknown scale"),
        ({"yaml": LAYERS | {"nc": HUGE}}, "unknown nc"),
        ({"yaml": LAYERS | {"nc": nested(1, 12)}}, "unknown nc"),
        ({"yaml": LAYERS | {"activation": HUGE}}, "activation"),
        ({"yaml": LAYERS | {"ch": [3]}}, "other than 3 channels"),
    ],
)
def test_values_of_another_kind_are_refused_in_one_line(tmp_path, state, told):
    path = checkpoint(tmp_path / "m.pt", {"0": np.zeros(1, "<f4")}, **state)
    with pytest.raises(TorchFileError, match=told) as error:
        read_checkpoint(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < len(str(path)) + 700


def test_tensors_of_one_storage_read_it_once(tmp_path, monkeypatch):
    numbers = np.arange(1 << 16, dtype="<f4")
    buffers = {str(place): tensor(Storage("0", numbers.size), place, (1,), (1,)) for place in range(40)}
    path = checkpoint(tmp_path / "m.pt", {"0": numbers}, _modules={"model": layer(_buffers=buffers)})
    opened = []
    real = zipfile.ZipFile.open
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda self, entry: opened.append(entry.filename) or real(self, entry))
    found = read_checkpoint(path)
    assert [float(found.weights[f"model.{place}"][0]) for place in range(40)] == list(range(40))
    assert opened.count("archive/data/0") == 1


def test_tensors_that_read_the_file_over_and_over_are_refused(tmp_path):
    numbers = np.zeros(1 << 16, "<f4")
    values = [tensor(Storage(str(place % 2), numbers.size), place, (1,), (1,)) for place in range(40)]
    path = handmade_torch.save(tmp_path / "m.pt", values, {"0": numbers, "1": numbers})
    with open_checkpoint(path) as file:
        file.array(file.root[0], max_values=1)
        with pytest.raises(TorchFileError, match="several times the bytes"):
            [file.array(value, max_values=1) for value in file.root]


def test_archives_that_are_cut_or_changed_are_refused(tmp_path):
    whole = checkpoint(tmp_path / "m.pt", {"0": np.zeros(64, "<f4")}).read_bytes()
    random = np.random.default_rng(0)
    for turn in range(300):
        changed = bytearray(whole)
        for place in random.integers(0, len(whole), 3):
            changed[place] = random.integers(256)
        (tmp_path / "c.pt").write_bytes(
            changed[: random.integers(len(whole) // 2, len(whole) + 1)] if turn % 2 else changed
        )
        with contextlib.suppress(TorchFileError):
            read_checkpoint(tmp_path / "c.pt")
