"""Weights of YOLO as ultralytics saves them (`.pt`): read without running the file, built anew with ultralytics.

Of the file only numbers and the list of layers are used. ultralytics makes the model out of the list, after it was
checked here: its own reader unpickles the whole model, which runs whatever the file says.
"""

import copy
import dataclasses
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np

from hardmo_jax import torch_file
from hardmo_jax.perception.ultralytics_import import import_ultralytics
from hardmo_jax.safe_pickle import Described
from hardmo_jax.torch_file import TorchFile, TorchFileError, Vocabulary

Task = Literal["detect", "pose", "segment"]
USE_ONNX = (
    "if you trust it, write it as ONNX where you trained it (`yolo export model=x.pt format=onnx`) and use "
    "`--config.perception.detector=onnx --config.perception.detector_file=x.onnx`"
)
#: The largest YOLO has 0.3 GB, four times as much with the state of its training.
MAX_BYTES = 2 << 30
#: What stands in checkpoints of YOLO.
_VOCABULARY = Vocabulary(
    names=re.compile(
        r"(torch\.nn\.modules|ultralytics)(\.[A-Za-z]\w*)+"
        r"|torch\.(Size|[A-Z]\w*Storage|(u?int|float|bfloat|complex)[0-9]+|half|double|long|bool)",
        re.ASCII,
    ),
    # A head of older files keeps a method of its class, which is written down as a call of `getattr`.
    calls=torch_file.TENSOR_CALLS
    | {"__builtin__.getattr", "builtins.getattr"}
    | {f"pathlib{part}.{system}Path" for part in ("", "._local") for system in ("Posix", "Windows", "PurePosix")},
)
_TASKS: dict[str, Task] = {"DetectionModel": "detect", "PoseModel": "pose", "SegmentationModel": "segment"}
_MODEL_CLASSES: dict[Task, str] = {task: name for name, task in _TASKS.items()}
_HEADS = ("Detect", "Pose", "Pose26", "Segment", "Segment26")
#: Layers of YOLO 3 to 12 and 26 that detect people, their points, or their outlines.
_LAYERS = frozenset(
    (
        *("A2C2f", "AConv", "ADown", "Bottleneck", "C2", "C2PSA", "C2f", "C2fCIB", "C3", "C3Ghost", "C3k2", "CBFuse"),
        *("CBLinear", "Concat", "Conv", "ELAN1", "GhostConv", "PSA", "RepNCSPELAN4", "SCDown", "SPP", "SPPELAN"),
        *("SPPF", "nn.ConvTranspose2d", "nn.Identity", "nn.MaxPool2d", "nn.Upsample", "nn.ZeroPad2d"),
        *_HEADS,
    )
)
_WORDS = frozenset(("None", "True", "False", "nc", "kpt_shape", "nearest", "bilinear"))
#: Anything else in the list is left out; `activation` would be evaluated as Python.
_KEYS = ("nc", "kpt_shape", "reg_max", "end2end", "scales", "scale", "depth_multiple", "width_multiple")
_MAX_LAYERS, _MAX_REPEATS, _MAX_NUMBER = 200, 100, 4096
_USUAL_SIDE, _LEAST_SIDE, _MOST_SIDE = 640, 64, 2048
_MAX_DEPTH, _MAX_MODULES = 32, 20_000
#: Of one layer, and letters of a name: the same ones can be named again and again at no cost to the file.
_MAX_ENTRIES, _MAX_NAME = 1000, 200
_MAX_WEIGHTS = 50_000
#: Numbers of one row of the list of layers.
_MAX_VALUES = 1000
#: Names of layers that became others.
_RENAMED = {"Silence": "Identity"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class YoloCheckpoint:
    """What a file says about its model."""

    path: str
    """For messages."""
    task: Task
    layers: Mapping[str, Any]
    """Architecture as ultralytics writes it in YAML, checked."""
    classes: Mapping[int, str]
    """Names of what it finds; empty if the file has none."""
    image_side: int
    """Longer side of the pictures it was trained on, pixels."""
    weights: Mapping[str, np.ndarray]
    """By path of parameter or buffer (`model.0.conv.weight`)."""
    modules: Mapping[str, str]
    """Classes of the layers and of all within, by path, without their packages."""
    is_end_to_end: bool
    """Whether the file chose the head whose boxes are each of another person, where its layers have one (YOLO26)."""


def open_checkpoint(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> TorchFile:
    """Open a file that may name what checkpoints of YOLO name, and nothing else.

    Args:
        path: The `.pt` file.
        max_bytes: Largest file that is read.

    Raises:
        FileNotFoundError: If there is no such file.
        TorchFileError: If it is no file of torch, too large, or names anything else.
    """
    return TorchFile(path, vocabulary=_VOCABULARY, advice=USE_ONNX, max_bytes=max_bytes)


def read_checkpoint(path: str | os.PathLike[str]) -> YoloCheckpoint:
    """Read weights.

    Args:
        path: The `.pt` file.

    Raises:
        FileNotFoundError: If there is no such file.
        TorchFileError: If it asks for more than YOLO needs, or is no YOLO of boxes, points or outlines.
    """
    with open_checkpoint(path) as file:
        root = file.root
        model = (root.get("ema") or root.get("model")) if isinstance(root, dict) else None
        task = _TASKS.get(model.name.rpartition(".")[2]) if isinstance(model, Described) else None
        if task is None or not isinstance(model, Described) or not isinstance(model.state, dict):
            found = model.name if isinstance(model, Described) else "no model"
            raise TorchFileError(
                f"{path}: {found}; expected weights of a YOLO that detects, finds poses or segments, as ultralytics "
                f"saves them ({', '.join(_TASKS)}); {USE_ONNX}"
            )
        trained = root.get("train_args")
        side = trained.get("imgsz") if isinstance(trained, dict) else None
        modules = dict(_modules(model, str(path)))
        heads = [module.state for module in modules.values() if _class_of(module) in _HEADS]
        return YoloCheckpoint(
            path=str(path),
            task=task,
            layers=_checked_layers(model.state.get("yaml"), str(path)),
            classes=_classes(model.state.get("names"), str(path)),
            image_side=side if type(side) is int and _LEAST_SIDE <= side <= _MOST_SIDE else _USUAL_SIDE,
            weights=dict(_weights(file, modules)),
            modules={name: _class_of(module) for name, module in modules.items()},
            is_end_to_end=any(isinstance(state, dict) and state.get("_end2end") is True for state in heads),
        )


def _classes(names: Any, path: str) -> dict[int, str]:
    """Names of classes by their number; of a list by the place in it."""
    if names is not None and not isinstance(names, dict | list | tuple):
        raise TorchFileError(f"{path}: the names of its classes are {_told(names)}; {USE_ONNX}")
    pairs = names.items() if isinstance(names, dict) else enumerate(names or ())
    return {key: name[:_MAX_NAME] for key, name in pairs if type(key) is int and type(name) is str}


def build_model(checkpoint: YoloCheckpoint) -> Any:
    """Make the model with ultralytics.

    Args:
        checkpoint: Weights.

    Returns:
        A torch module for inference, on the CPU.

    Raises:
        MissingPackageError: If ultralytics is not installed.
        TorchFileError: If weights and layers do not belong together.
    """
    import_ultralytics()
    import torch
    from ultralytics.nn import tasks

    # Its start weights are thrown away; nobody else's random numbers should change by that.
    with torch.random.fork_rng(devices=[]):
        try:
            model = getattr(tasks, _MODEL_CLASSES[checkpoint.task])(copy.deepcopy(checkpoint.layers), verbose=False)
        except Exception as error:  # whatever unfit numbers lead to
            raise TorchFileError(
                f"{checkpoint.path}: its layers make no model ({' '.join(str(error).split())[:200]}); {USE_ONNX}"
            ) from error
    wanted: dict[str, Any] = model.state_dict()
    wrong = sorted(set(wanted) ^ set(checkpoint.weights))
    wrong += [name for name in wanted if name not in wrong and checkpoint.weights[name].shape != wanted[name].shape]
    # Layers without weights tell too: a file of another release may mean another activation by the same list.
    wrong += [
        name
        for name, module in model.named_modules(remove_duplicate=False)
        if name and checkpoint.modules.get(name, type(module).__name__) != type(module).__name__
    ]
    if wrong:
        raise TorchFileError(
            f"{checkpoint.path}: {wrong[0]} (and {len(wrong) - 1} more) is not what this release of ultralytics makes "
            f"of its list of layers; {USE_ONNX}"
        )
    model.load_state_dict({name: torch.from_numpy(array) for name, array in checkpoint.weights.items()})
    model.names = dict(checkpoint.classes) or model.names
    if checkpoint.is_end_to_end:
        model.end2end = True
    model.float().eval().requires_grad_(requires_grad=False)
    return model.fuse(verbose=False)


def _modules(model: Described, path: str) -> Iterator[tuple[str, Described]]:
    """A model and everything in it, by path."""
    waiting, count = [("", model, 0)], 0
    while waiting:
        name, module, depth = waiting.pop()
        count += 1
        if count > _MAX_MODULES:  # a few shared ones can be nested into very many
            raise TorchFileError(f"{path}: more than {_MAX_MODULES} layers within layers; {USE_ONNX}")
        yield name, module
        for key, child in _entries(module, "_modules", path):
            if not isinstance(child, Described) or depth > _MAX_DEPTH:
                raise TorchFileError(f"{path}: {name}.{key} is no layer; {USE_ONNX}")
            if name or key == "model":  # beside the layers there may be a loss
                waiting.append((f"{name}.{key}".lstrip("."), child, depth + 1))


def _class_of(module: Described) -> str:
    name = module.name.rpartition(".")[2]
    return _RENAMED.get(name, name)


def _entries(module: Described, group: str, path: str) -> list[tuple[str, Any]]:
    entries = module.state.get(group) if isinstance(module.state, dict) else None
    if entries is None:
        return []
    if not isinstance(entries, dict) or len(entries) > _MAX_ENTRIES:
        raise TorchFileError(f"{path}: `{group}` of a layer is {_told(entries)}; {USE_ONNX}")
    for key in entries:
        if type(key) is not str or len(key) > _MAX_NAME:
            raise TorchFileError(f"{path}: `{group}` of a layer holds something named {_told(key)}; {USE_ONNX}")
    return [(key, value) for key, value in entries.items() if value is not None]


def _told(value: Any, depth: int = 0) -> str:
    """A value as a message may repeat it: a few lists within lists can be written out for gigabytes."""
    if isinstance(value, str):
        return ascii(value[:60])
    if isinstance(value, list | tuple) and depth < 2:
        more = ", ..." if len(value) > 6 else ""
        return f"[{', '.join(_told(one, depth + 1) for one in value[:6])}{more}]"
    if value is None or (isinstance(value, bool | int | float) and abs(value) < 1e9):
        return repr(value)
    return value.name[:60] if isinstance(value, Described) else f"a value of the kind {type(value).__name__}"


def _weights(file: TorchFile, modules: Mapping[str, Described]) -> Iterator[tuple[str, np.ndarray]]:
    # A tensor can claim more values than it keeps; together they are no more than the bytes of the file.
    path, left, count = str(file.path), file.path.stat().st_size, 0
    for name, module in modules.items():
        hidden = module.state.get("_non_persistent_buffers_set") if isinstance(module.state, dict) else None
        if hidden is not None and not isinstance(hidden, set | frozenset | list | tuple):
            raise TorchFileError(f"{path}: `_non_persistent_buffers_set` is {_told(hidden)}; {USE_ONNX}")
        for key, value in _entries(module, "_parameters", path) + _entries(module, "_buffers", path):
            if key not in (hidden or ()):
                count += 1
                if count > _MAX_WEIGHTS:
                    raise TorchFileError(f"{path}: more than {_MAX_WEIGHTS} weights; {USE_ONNX}")
                array = file.array(value, max_values=left)
                left -= array.size
                yield f"{name}.{key}".lstrip("."), array.astype(np.float32) if array.dtype.kind == "f" else array


def _checked_layers(layers: Any, path: str) -> dict[str, Any]:
    """The list of layers, with nothing in it that ultralytics would run.

    Raises:
        TorchFileError: If there is anything but known layers, numbers and a few words.
    """
    if not isinstance(layers, dict):
        raise TorchFileError(f"{path}: it has no list of layers; {USE_ONNX}")

    rows: list[Any] = []
    for part in ("backbone", "head"):
        some = layers.get(part)
        if some is not None and not isinstance(some, list | tuple):
            raise TorchFileError(f"{path}: `{part}` of its list of layers is {_told(some)}; {USE_ONNX}")
        rows += some or ()
    if not rows or len(rows) > _MAX_LAYERS:
        raise TorchFileError(f"{path}: its list has {len(rows)} layers, expected 1 to {_MAX_LAYERS}; {USE_ONNX}")
    for row in rows:
        is_row = isinstance(row, list | tuple) and len(row) == 4 and isinstance(row[2], str)
        if not is_row or row[2] not in _LAYERS | set(_RENAMED):
            raise TorchFileError(f"{path}: its list of layers asks for {_told(row)}; {USE_ONNX}")
        repeats = row[1]
        if type(repeats) is not int or not 1 <= repeats <= _MAX_REPEATS or not _is_plain([row[0], row[3]]):
            raise TorchFileError(f"{path}: unknown values in its list of layers, {_told(row)}; {USE_ONNX}")
    if layers.get("activation") is not None:
        raise TorchFileError(
            f"{path}: it names its activation, {_told(layers['activation'])}, as Python text; {USE_ONNX}"
        )
    channels = [layers.get(key, 3) for key in ("channels", "ch")]
    if any(type(one) is not int or one != 3 for one in channels):
        raise TorchFileError(f"{path}: its pictures have other than 3 channels; {USE_ONNX}")
    checked = {key: layers[key] for key in _KEYS if key in layers}
    scales = checked.pop("scales", None)
    scale = checked.pop("scale", None)
    if isinstance(scales, dict) and scales:
        scale = scale if isinstance(scale, str) and scale in scales else next(iter(scales))
        numbers = scales[scale]
        is_letter = isinstance(scale, str) and re.fullmatch(r"[a-z]?", scale) is not None
        if not is_letter or not isinstance(numbers, list | tuple) or not _is_plain(numbers):
            raise TorchFileError(f"{path}: unknown scale of its layers; {USE_ONNX}")
        checked |= {"scales": {scale: list(numbers)}, "scale": scale}
    for key, value in checked.items():
        if key in ("scale", "scales"):
            continue
        if isinstance(value, str) or not _is_plain(value):
            raise TorchFileError(f"{path}: unknown {key} of its layers, {_told(value)}; {USE_ONNX}")
    return checked | {part: [list(row) for row in layers.get(part) or ()] for part in ("backbone", "head")}


def _is_plain(value: Any) -> bool:
    """Whether a value is made of a few small numbers and words, and short lists of them."""
    waiting, count = [(value, 0)], 0
    while waiting:
        one, depth = waiting.pop()
        count += 1
        if isinstance(one, list | tuple):
            if depth > 3 or len(one) > _MAX_REPEATS:
                return False
            waiting += [(inner, depth + 1) for inner in one]
        elif isinstance(one, str):
            if one not in _WORDS:
                return False
        elif one is not None and not (type(one) in (bool, int, float) and abs(one) <= _MAX_NUMBER):
            return False
        if count > _MAX_VALUES:
            return False
    return True
