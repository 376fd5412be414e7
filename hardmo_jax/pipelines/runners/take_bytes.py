"""What was seen in a take, as bytes that go from one process to another.

Arrays by NumPy's own format, the rest as JSON: whoever looks at the files of strangers cannot make whoever fits run
anything.
"""

import dataclasses
import io
import json
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hardmo_jax.perception.camera_motion import CameraPath
from hardmo_jax.perception.quality import BoxQuality
from hardmo_jax.pipelines.perceiving import Take
from hardmo_jax.pipelines.sightings import Picture, RegressedPerson, Sighting

#: Arrays of a person, all of one shape.
_ARRAYS = ("keypoints_2d", "confidence", "bbox")
_ARRAYS_3D = ("keypoints_3d", "confidence_3d")
_REGRESSED = ("global_orient", "body_pose", "betas", "weak_camera", "box_center")
_PLAIN = ("track_id", "score", "source")


class TakeBytesError(ValueError):
    """Bytes are not those of a take."""


def take_to_bytes(take: Take) -> bytes:
    """A take as bytes.

    Args:
        take: Of which no sighting has been fitted yet.
    """
    place_of = {id(picture): at for at, picture in enumerate(take.pictures)}
    sightings, arrays = take.sightings, dict[str, np.ndarray]()
    for name in _ARRAYS:
        _add(arrays, name, [getattr(one, name) for one in sightings])
    for name in _ARRAYS_3D:
        _add(arrays, name, [getattr(one, name) for one in sightings if getattr(one, name) is not None])
    regressed = [one.regressed for one in sightings if one.regressed is not None]
    for name in _REGRESSED:
        _add(arrays, f"regressed.{name}", [getattr(one, name) for one in regressed])
    _add(arrays, "regressed.features", [one.features for one in regressed if one.features is not None])
    if take.camera_path is not None:
        for name in ("turn", "shift", "scene"):
            arrays[f"camera_path.{name}"] = np.asarray(getattr(take.camera_path, name))
    header = {
        "pictures": [_picture_to_json(picture) for picture in take.pictures],
        "sightings": [{"picture": place_of[id(one.picture)], **_sighting_to_json(one)} for one in sightings],
        "kept": take.kept,
        "ends_shot": take.ends_shot,
        "aspect": None if take.camera_path is None else take.camera_path.aspect,
    }
    stream = io.BytesIO()
    np.savez(stream, header=np.frombuffer(json.dumps(header).encode(), np.uint8), **arrays)  # pyright: ignore[reportArgumentType]
    return stream.getvalue()


def take_of_bytes(data: bytes) -> Take:
    """The inverse of `take_to_bytes`.

    Raises:
        TakeBytesError: If the bytes are none of it.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(arrays.pop("header").tobytes())
        return _take_of(header, arrays)
    except (
        ValueError,
        KeyError,
        TypeError,
        IndexError,
        OSError,
        EOFError,
        AttributeError,
        zipfile.BadZipFile,
    ) as error:
        raise TakeBytesError(f"these bytes are no take ({error})") from error


def _add(arrays: dict[str, np.ndarray], name: str, values: Sequence[Any]) -> None:
    if values:
        arrays[name] = np.stack([np.asarray(value) for value in values])


def _picture_to_json(picture: Picture) -> dict[str, Any]:
    # Not `asdict`, which copies: a long shot has many.
    told = {field.name: getattr(picture, field.name) for field in dataclasses.fields(picture)}
    return told | {"source_path": str(picture.source_path)}


def _sighting_to_json(sighting: Sighting) -> dict[str, Any]:
    told: dict[str, Any] = {name: getattr(sighting, name) for name in _PLAIN}
    told["track_id"] = int(sighting.track_id)
    told["score"] = None if sighting.score is None else float(sighting.score)
    told["has_3d"] = [getattr(sighting, name) is not None for name in _ARRAYS_3D]
    if sighting.quality is not None:
        quality = {field.name: getattr(sighting.quality, field.name) for field in dataclasses.fields(sighting.quality)}
        told["quality"] = {
            name: value.item() if isinstance(value, np.generic) else value for name, value in quality.items()
        }
    if sighting.regressed is not None:
        told["regressed"] = {
            "box_size": float(sighting.regressed.box_size),
            "told_focal_length": sighting.regressed.told_focal_length,
            "has_features": sighting.regressed.features is not None,
        }
    return told


def _take_of(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Take:
    pictures = [
        Picture(**{**told, "source_path": pathlib.Path(told["source_path"])})
        for told in header["pictures"]
    ]  # fmt: skip
    rows = dict.fromkeys([*_ARRAYS_3D, "regressed", "features"], 0)

    def next_row(name: str) -> int:
        rows[name] += 1
        return rows[name] - 1

    sightings = []
    for at, told in enumerate(header["sightings"]):
        own: dict[str, Any] = {name: arrays[name][at] for name in _ARRAYS}
        for name, has in zip(_ARRAYS_3D, told["has_3d"], strict=True):
            own[name] = arrays[name][next_row(name)] if has else None
        quality, regressed = told.get("quality"), told.get("regressed")
        if regressed is not None:
            row = next_row("regressed")
            own["regressed"] = RegressedPerson(
                **{name: arrays[f"regressed.{name}"][row] for name in _REGRESSED},
                box_size=regressed["box_size"],
                told_focal_length=regressed["told_focal_length"],
                features=arrays["regressed.features"][next_row("features")] if regressed["has_features"] else None,
            )
        if quality is not None:
            own["quality"] = BoxQuality(**{**quality, "reasons": tuple(quality["reasons"])})
        sightings.append(
            Sighting(picture=pictures[told["picture"]], **{name: told[name] for name in _PLAIN}, **own)
        )  # fmt: skip
    path = None
    if header["aspect"] is not None:
        path = CameraPath(
            turn=arrays["camera_path.turn"],
            shift=arrays["camera_path.shift"],
            scene=arrays["camera_path.scene"],
            aspect=header["aspect"],
        )
    kept = header["kept"]
    return Take(
        pictures=pictures, sightings=sightings, camera_path=path, ends_shot=header["ends_shot"],
        kept=None if kept is None else (kept[0], kept[1]),
    )  # fmt: skip
