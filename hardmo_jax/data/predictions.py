"""Anybody's predictions for a set of people with truth: read, checked, and laid beside the truth.

A file is an `.npz` or a Parquet file with one entry a sample:

- `ids`: names of the samples, as `HardSet.ids` has them;
- `keypoints_3d` and `layout`: points (N, K, 3) in metres, camera axes (x right, y down, z forward), of a named layout;
- `keypoints_2d`: the same points in pixels (N, K, 2), for PCK; optional;
- or, instead of points, SMPL parameters of the body of the truth in the camera frame, axis-angle: `betas`,
  `global_orient`, `body_pose`, `transl`, and perhaps `left_hand_pose` and `right_hand_pose`.

Parquet columns hold flat lists; `layout` is then a column with one value, or metadata of that name.
"""

import dataclasses
import os
import pathlib

import numpy as np
import pyarrow as pa

from hardmo_jax.array_types import Bool, Float, Int
from hardmo_jax.body.array_files import BodyFileError, read_npz
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.labels import parquet_files
from hardmo_jax.skeleton import layouts

_MAX_BYTES = 1 << 30
_MAX_ROWS = 5_000_000
_PARAMS = ("betas", "global_orient", "body_pose", "transl", "left_hand_pose", "right_hand_pose")
_WIDTHS = {"global_orient": 3, "body_pose": 63, "transl": 3, "left_hand_pose": 45, "right_hand_pose": 45}
#: People are this much larger than each other at most; beyond it two files have two units.
_LARGEST_RATIO = 20.0


class PredictionError(ValueError):
    """Predictions that cannot be scored; the message says what was found and what is expected."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Predictions:
    """What a method says of some samples. Either points or parameters; values may be NaN where it failed."""

    source: str
    """Where they come from, for messages and tables."""
    ids: tuple[str, ...]
    """Samples."""
    layout: str | None = None
    """Layout of the points."""
    keypoints_3d: Float[np.ndarray, "M K 3"] | None = None
    """Metres, camera axes."""
    keypoints_2d: Float[np.ndarray, "M K 2"] | None = None
    """Pixels."""
    params: dict[str, Float[np.ndarray, "M ..."]] | None = None
    """Arrays of `BodyParams`, by name."""
    camera: Camera | None = None
    """Camera that the parameters were found with; None for the one that the set gives to methods."""

    def rows_for(self, ids: tuple[str, ...]) -> Int[np.ndarray, "N"]:
        """Where each wanted sample stands, -1 for those that are not there.

        Raises:
            PredictionError: If a sample is predicted twice, or one is predicted that is not wanted.
        """
        if not self.ids:
            raise PredictionError(f"{self.source}: there are no predictions")
        place = {sample: row for row, sample in enumerate(self.ids)}
        if len(place) != len(self.ids):
            twice = next(sample for sample in self.ids if self.ids.count(sample) > 1)
            raise PredictionError(f"{self.source}: sample {twice!r} is predicted twice")
        wanted = set(ids)
        unknown = [sample for sample in self.ids if sample not in wanted]
        if unknown:
            raise PredictionError(
                f"{self.source}: {len(unknown)} of {len(self.ids)} ids are not in the set, such as {unknown[0]!r}; "
                f"ids look like {ids[0]!r}"
            )
        return np.array([place.get(sample, -1) for sample in ids], np.int64)


def read_predictions(path: str | os.PathLike[str]) -> Predictions:
    """Read a prediction file.

    Raises:
        FileNotFoundError: If there is none.
        PredictionError: If it is damaged, too large, empty, or lacks what the module's table asks for.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of predictions")
    if path.stat().st_size > _MAX_BYTES:
        raise PredictionError(f"{path}: larger than {_MAX_BYTES >> 30} GiB; score it set by set")
    if path.suffix == ".npz":
        columns = _from_npz(path)
    elif path.suffix == ".parquet":
        columns = _from_parquet(path)
    else:
        raise PredictionError(f"{path}: predictions are .npz or .parquet, not {path.suffix or 'without an ending'}")
    return _checked(columns, path)


def _from_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        return read_npz(path.read_bytes(), source=path.name)
    except BodyFileError as error:
        raise PredictionError(str(error)) from error


def _from_parquet(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        table = parquet_files.read_table(path, max_rows=_MAX_ROWS)
    except (parquet_files.ParquetFileError, OSError) as error:
        raise PredictionError(str(error)) from error
    columns: dict[str, np.ndarray] = {}
    for name in table.column_names:
        column = table.column(name)
        if pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type):
            columns[name] = _rows_of_lists(column.combine_chunks(), f"{path}: column {name!r}")
        elif pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            columns[name] = np.array(column.to_pylist(), np.str_)
    layout = (table.schema.metadata or {}).get(b"layout")
    if layout is not None:
        columns["layout"] = np.array(layout.decode("utf-8", "replace"))
    return columns


def _rows_of_lists(column: pa.Array, where: str) -> np.ndarray:
    """Lists of equal length as a matrix; an absent list is a row of NaN."""
    lengths = {len(row) for row in column if row.is_valid}
    if len(lengths) > 1:
        raise PredictionError(f"{where} holds lists of {sorted(lengths)[:3]} numbers; expected one length")
    width = lengths.pop() if lengths else 0
    matrix = np.full((len(column), width), np.nan)
    for at, row in enumerate(column):
        if row.is_valid:
            matrix[at] = [np.nan if value is None else value for value in row.as_py()]
    return matrix


def _checked(columns: dict[str, np.ndarray], path: pathlib.Path) -> Predictions:
    if "ids" not in columns:
        raise PredictionError(f"{path}: no `ids`; it holds {', '.join(sorted(columns)) or 'nothing'}")
    ids = columns["ids"]
    if ids.ndim != 1 or ids.dtype.kind not in "US":
        raise PredictionError(f"{path}: `ids` must be a list of texts, got {ids.dtype} {ids.shape}")
    names = tuple(text.decode("utf-8", "replace") if isinstance(text, bytes) else text for text in ids.tolist())
    if not names:
        raise PredictionError(f"{path}: there are no predictions")
    if "keypoints_3d" in columns:
        return _points(columns, names, path)
    if "body_pose" in columns:
        return _params(columns, names, path)
    raise PredictionError(
        f"{path}: neither `keypoints_3d` (with `layout`) nor SMPL parameters (`body_pose`, ...); it holds "
        f"{', '.join(sorted(columns))}"
    )


def _points(columns: dict[str, np.ndarray], names: tuple[str, ...], path: pathlib.Path) -> Predictions:
    if "layout" not in columns or not columns["layout"].size:
        raise PredictionError(f"{path}: `keypoints_3d` needs `layout`, one of {', '.join(layouts.LAYOUTS)}")
    layout = str(columns["layout"].ravel()[0])
    try:
        count = len(layouts.get_layout(layout))
    except KeyError as error:
        raise PredictionError(f"{path}: {error.args[0]}") from error
    shaped = {}
    for name, width in (("keypoints_3d", 3), ("keypoints_2d", 2)):
        if name in columns:
            shaped[name] = _reshaped(columns[name], (len(names), count, width), f"{path}: `{name}` of {layout}")
    return Predictions(source=path.name, ids=names, layout=layout, **shaped)


def _params(columns: dict[str, np.ndarray], names: tuple[str, ...], path: pathlib.Path) -> Predictions:
    required = ("betas", "global_orient", "body_pose", "transl")
    missing = [name for name in required if name not in columns]
    if missing:
        raise PredictionError(f"{path}: SMPL parameters without {', '.join(missing)}")
    params = {}
    for name in _PARAMS:
        if name not in columns:
            continue
        array = columns[name]
        if name == "body_pose" and array.ndim >= 2 and array[0].size == 69:
            array = array.reshape(len(array), -1)[:, :63]  # of SMPL; its two hand joints are the wrists' business
        width = _WIDTHS.get(name, array[0].size if array.ndim > 1 and len(array) else 0)
        flat = _reshaped(array, (len(names), width), f"{path}: `{name}`")
        params[name] = flat if width == 3 or name == "betas" else flat.reshape(len(names), -1, 3)
    return Predictions(source=path.name, ids=names, params=params)


def _reshaped(array: np.ndarray, shape: tuple[int, ...], where: str) -> np.ndarray:
    if array.dtype.kind not in "fiu":
        raise PredictionError(f"{where} must be numbers, got {array.dtype}")
    if array.size != int(np.prod(shape)) or array.shape[:1] != shape[:1]:
        raise PredictionError(f"{where} must have the shape {shape}, got {array.shape}")
    return array.reshape(shape).astype(np.float64)


def check_units(
    predicted: Float[np.ndarray, "N K 3"],
    truth: Float[np.ndarray, "N K 3"],
    is_there: Bool[np.ndarray, "N K"],
    source: str,
) -> None:
    """Refuse points whose size says that they are in another unit than the truth.

    Args:
        predicted: Points, NaN where there are none.
        truth: True points in metres.
        is_there: Points that both have.
        source: Where the predictions come from.

    Raises:
        PredictionError: If people are twenty times as large as they are, or as small: millimetres, or a mix of units.
    """
    both = is_there & np.isfinite(predicted).all(-1)

    def extent(points: Float[np.ndarray, "N K 3"]) -> Float[np.ndarray, "N"]:
        weights = both[..., None].astype(np.float64)
        count = np.maximum(weights.sum(1, keepdims=True), 1)
        kept = np.where(both[..., None], points, 0.0)
        centred = np.where(both[..., None], kept - kept.sum(1, keepdims=True) / count, 0.0)
        return np.sqrt((centred**2).sum((1, 2)) / count[:, 0, 0])

    enough = both.sum(1) >= 2
    ratio = extent(predicted)[enough] / np.maximum(extent(truth)[enough], 1e-9)
    wrong = (ratio > _LARGEST_RATIO) | ((ratio < 1 / _LARGEST_RATIO) & (ratio > 0))
    if not wrong.any():
        return
    kind = "all of them" if wrong.all() else f"{int(wrong.sum())} of {len(ratio)} people, so units are mixed"
    factor = float(np.median(ratio[wrong]))
    hint = "millimetres, it seems: divide by 1000" if 300 < factor < 3000 else "give metres"
    raise PredictionError(f"{source}: people are {factor:.3g} times as large as in truth ({kind}); {hint}")
