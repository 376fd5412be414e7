"""A set of people whose truth is known: what a detector saw of them, their SMPL parameters, and where they come from.

One `.npz` a set, plain arrays and one JSON text, so that anybody can read it with NumPy alone. Parameters live in the
camera frame (OpenCV axes, metres). Vertices are not stored: `truth_vertices` makes them from the parameters.
"""

import dataclasses
import json
import os
import pathlib
from typing import Any

import numpy as np

from hardmo_jax.array_types import Float, Int
from hardmo_jax.body.array_files import read_npz
from hardmo_jax.body.model import BodyModel
from hardmo_jax.body.params import BodyParams
from hardmo_jax.body.pieces import in_pieces
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.labels import provenance
from hardmo_jax.observations import Observations
from hardmo_jax.skeleton import layouts

FORMAT_VERSION = 1
_TEXTS = ("ids", "styles", "takes", "groups")
_PARAMS = tuple(field.name for field in dataclasses.fields(BodyParams))


class HardSetError(ValueError):
    """A file is no set of this kind, or does not fit the body; the message says what to do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class HardSet:
    """N people with truth and detections."""

    name: str
    """Benchmark and set, such as `mocap_hard/test`."""
    ids: tuple[str, ...]
    """Unique name of each sample."""
    styles: tuple[str, ...]
    """Kind of motion of each sample."""
    takes: tuple[str, ...]
    """Take of each sample."""
    groups: tuple[str, ...]
    """Samples of one group depend on each other: those of one dance within a second. Intervals resample groups."""
    frames: Int[np.ndarray, "N"]
    """Frame in the take."""
    windows: Int[np.ndarray, "N"]
    """Clip that the sample belongs to, its frames in order; -1 for single frames."""
    frames_per_second: float
    """Of the clips."""
    params: BodyParams
    """Truth, camera frame."""
    camera: Camera
    """True camera."""
    assumed_camera: Camera
    """Camera that a method is given: the true one, except where a wrong one is the test."""
    image_size: tuple[int, int]
    """Width and height in pixels."""
    joints: Float[np.ndarray, "N J 3"]
    """True joints of the body, camera frame, metres."""
    layout: str
    """Layout of the keypoints."""
    true_keypoints_2d: Float[np.ndarray, "N K 2"]
    """Where the keypoints are, pixels."""
    keypoints_2d: Float[np.ndarray, "N K 2"]
    """Where the detector found them, pixels."""
    confidence: Float[np.ndarray, "N K"]
    """Confidence of the detector; 0 where it found nothing."""
    border: Float[np.ndarray, "N 4"]
    """(x_min, y_min, x_max, y_max) of each picture, pixels: nobody could see what lies beyond."""
    body: str
    """Name and family of the body of the truth, such as `open_body/smplh`."""
    body_checksum: str
    """SHA-256 of its file."""
    notes: str = ""
    """How the set was made: cameras, shapes, noise."""

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, rows: Int[np.ndarray, "M"], *, name: str | None = None) -> "HardSet":
        """Some of the samples, in the given order."""
        rows = np.asarray(rows)

        def picked(value: Any) -> Any:
            return None if value is None else np.asarray(value)[rows]

        def params_of(value: Any) -> Any:
            return type(value)(**{f.name: picked(getattr(value, f.name)) for f in dataclasses.fields(value)})

        texts = {key: tuple(getattr(self, key)[row] for row in rows) for key in _TEXTS}
        arrays = ("frames", "windows", "joints", "true_keypoints_2d", "keypoints_2d", "confidence", "border")
        trees = ("params", "camera", "assumed_camera")
        return dataclasses.replace(
            self,
            name=name or self.name,
            **texts,
            **{key: picked(getattr(self, key)) for key in arrays},
            **{key: params_of(getattr(self, key)) for key in trees},
        )

    def observations(self) -> Observations:
        """What a method may see: detections and the camera it is told. Clips are in `windows`."""
        return Observations(
            keypoints_2d=self.keypoints_2d, confidence=self.confidence, camera=self.assumed_camera, layout=self.layout
        )

    def check_body(self, body: BodyModel) -> None:
        """Refuse a body that is not the one of the truth.

        Raises:
            HardSetError: If family or checksum differ.
        """
        given = body_name(body)
        if given != self.body or (body.checksum and body.checksum != self.body_checksum):
            raise HardSetError(
                f"{self.name} was made with {self.body} ({self.body_checksum[:12]}), not with {given} "
                f"({body.checksum[:12]}); prepare it again with this body"
            )

    def save(self, path: str | os.PathLike[str]) -> str:
        """Write the set whole or not at all; the same set gives the same bytes.

        Returns:
            SHA-256 of the file.
        """
        meta = {
            "format_version": FORMAT_VERSION, "name": self.name, "layout": self.layout, "body": self.body,
            "body_checksum": self.body_checksum, "image_size": list(self.image_size),
            "frames_per_second": self.frames_per_second, "notes": self.notes,
        }  # fmt: skip
        arrays: dict[str, np.ndarray] = {"meta": np.array(json.dumps(meta, sort_keys=True))}
        for key in _TEXTS:
            arrays[key] = np.array(getattr(self, key), dtype=np.str_)
        for key in ("frames", "windows"):
            arrays[key] = np.asarray(getattr(self, key), np.int32)
        for key in ("joints", "true_keypoints_2d", "keypoints_2d", "confidence", "border"):
            arrays[key] = np.asarray(getattr(self, key), np.float32)
        for key in _PARAMS:
            value = getattr(self.params, key)
            if value is not None:
                arrays[f"params.{key}"] = np.asarray(value, np.float32)
        for key in ("camera", "assumed_camera"):
            for part in ("focal_length", "principal_point"):
                arrays[f"{key}.{part}"] = np.asarray(getattr(getattr(self, key), part), np.float32)
        with provenance.replacing(path) as temporary:
            np.savez(temporary, **arrays)  # pyright: ignore[reportArgumentType]
        return provenance.file_sha256(path)


def body_name(body: BodyModel) -> str:
    """Name and family of a body, as sets write it down."""
    return f"{body.name}/{body.family}"


def load_hard_set(path: str | os.PathLike[str]) -> HardSet:
    """Read a set that `HardSet.save` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        HardSetError: If it is damaged, of another kind or version, or contradicts itself.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such set; `python -m tools.prepare` makes one")
    try:
        arrays = read_npz(path.read_bytes(), source=path.name)
        meta = json.loads(str(arrays["meta"]))
    except (KeyError, ValueError, RecursionError) as error:  # of the archive, and of its text
        raise HardSetError(f"{path}: not a set of people with truth ({error}); prepare it again") from error
    version = meta.get("format_version") if isinstance(meta, dict) else None
    if version != FORMAT_VERSION:
        raise HardSetError(f"{path}: format {version}, this version reads {FORMAT_VERSION}; prepare it again")
    try:
        found = HardSet(
            name=meta["name"],
            ids=tuple(arrays["ids"].tolist()),
            styles=tuple(arrays["styles"].tolist()),
            takes=tuple(arrays["takes"].tolist()),
            groups=tuple(arrays["groups"].tolist()),
            frames=arrays["frames"],
            windows=arrays["windows"],
            frames_per_second=float(meta["frames_per_second"]),
            params=BodyParams(**{key: arrays[f"params.{key}"] for key in _PARAMS if f"params.{key}" in arrays}),
            camera=_camera(arrays, "camera"),
            assumed_camera=_camera(arrays, "assumed_camera"),
            image_size=(int(meta["image_size"][0]), int(meta["image_size"][1])),
            joints=arrays["joints"],
            layout=meta["layout"],
            true_keypoints_2d=arrays["true_keypoints_2d"],
            keypoints_2d=arrays["keypoints_2d"],
            confidence=arrays["confidence"],
            border=arrays["border"],
            body=meta["body"],
            body_checksum=meta["body_checksum"],
            notes=meta["notes"],
        )
        _check(found)
    except (KeyError, TypeError, IndexError) as error:
        raise HardSetError(f"{path}: {error} is missing or of the wrong kind; prepare it again") from error
    except ValueError as error:
        raise HardSetError(f"{path}: {error}; prepare it again") from error
    return found


def _camera(arrays: dict[str, np.ndarray], key: str) -> Camera:
    return Camera(focal_length=arrays[f"{key}.focal_length"], principal_point=arrays[f"{key}.principal_point"])


def _check(found: HardSet) -> None:
    count, points = len(found.ids), len(layouts.get_layout(found.layout))
    for key in ("name", "body", "body_checksum", "notes"):
        if not isinstance(getattr(found, key), str):
            raise ValueError(f"`{key}` is no text")
    if not all(isinstance(text, str) for text in (*found.ids, *found.styles, *found.takes, *found.groups)):
        raise ValueError("`ids`, `styles`, `takes` and `groups` must be texts")
    if len(set(found.ids)) != count:
        raise ValueError("ids repeat")
    shapes = {
        "frames": (count,), "windows": (count,), "true_keypoints_2d": (count, points, 2),
        "keypoints_2d": (count, points, 2), "confidence": (count, points), "border": (count, 4),
        "joints": (count, found.joints.shape[1] if found.joints.ndim == 3 else -1, 3),
    }  # fmt: skip
    for key, shape in shapes.items():
        if getattr(found, key).dtype.kind != ("i" if key in ("frames", "windows") else "f"):
            raise ValueError(f"`{key}` is of type {getattr(found, key).dtype}")
        if getattr(found, key).shape != shape:
            raise ValueError(f"`{key}` has the shape {getattr(found, key).shape}, expected {shape}")
    params = {key: getattr(found.params, key) for key in _PARAMS if getattr(found.params, key) is not None}
    lengths = {len(found.styles), len(found.takes), len(found.groups), *(len(value) for value in params.values())}
    if lengths != {count} or found.params.transl.shape != (count, 3):
        raise ValueError("columns are of different lengths")
    if found.windows.max(initial=-1) >= 0:
        length = int((found.windows == found.windows[0]).sum())
        if not np.array_equal(found.windows, np.repeat(found.windows[::length], length)):
            raise ValueError("windows must be of one length, their frames in a row")
    for key in ("camera", "assumed_camera"):
        camera = getattr(found, key)
        if camera.focal_length.shape != (count, 2) or camera.principal_point.shape != (count, 2):
            raise ValueError(f"`{key}` must hold two numbers for each of {count} samples")


def truth_vertices(found: HardSet, body: BodyModel) -> Float[np.ndarray, "N V 3"]:
    """True vertices of all samples, metres, camera frame: 0.16 MB a person of the open body.

    Raises:
        HardSetError: If the body is another one.
    """
    found.check_body(body)
    return np.asarray(in_pieces(body, found.params).vertices)
