"""Anybody's predictions for a set of people with truth: read, checked, and laid beside the truth.

A file is an `.npz` or a Parquet file with one entry a sample:

- `ids`: names of the samples, as `HardSet.ids` has them;
- `keypoints_3d` and `layout`: points (N, K, 3) in metres, camera axes (x right, y down, z forward), of a named layout;
- `keypoints_2d`: the same points in pixels (N, K, 2), for PCK; optional;
- or, instead of points, SMPL parameters of the body of the truth in the camera frame, metres and axis-angle in radians:
  `betas`, `global_orient`, `body_pose`, `transl`, perhaps `left_hand_pose` and `right_hand_pose`, and `body`, the name
  and family of that body, such as `open_body/smplh`.

Parquet columns hold lists of numbers, flat or nested; `layout` and `body` are then columns with one value, or metadata
of that name. Other columns are not looked at.
"""

import dataclasses
import os
import pathlib

import numpy as np

from hardmo_jax.array_types import Bool, Float, Int
from hardmo_jax.data import prediction_columns
from hardmo_jax.data.prediction_columns import PredictionError, PredictionFile
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.skeleton import layouts

_MAX_BYTES = 1 << 30
_PARAMS = prediction_columns.PARAMS
_JOINTS = {"body_pose": 21, "left_hand_pose": 15, "right_hand_pose": 15}
_SMPL_POSE = 69
#: Rotations up to this many radians are at rest.
_REST = 1e-6
#: Nobody writes rotations longer than this in radians, and most in degrees are.
_LONGEST_ROTATION = 4 * np.pi
#: A method that is wrong about everybody's size is wrong by less; feet are 3.3 times as many.
_SIZE_RANGE = (0.4, 2.5)
_DEPTH_RANGE = (0.1, 10.0)
#: One person is this much larger than in truth, or smaller, only where a fit diverged or the unit is another one.
_SIZE_OUTLIER = 20.0
_DEPTH_OUTLIER = 100.0
#: This share of people and less may be outliers: fits that diverged.
_OUTLIER_SHARE = 0.05
#: Bodies of less than this share of their size are collapsed, not in another unit.
_COLLAPSED = 1e-6


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
    body: str | None = None
    """Name and family of the body of the parameters, such as `open_body/smplh`."""
    camera: Camera | None = None
    """Camera that the parameters were found with; None for the one that the set gives to methods."""

    def rows_for(self, ids: tuple[str, ...], known: tuple[str, ...] | None = None) -> Int[np.ndarray, "N"]:
        """Where each wanted sample stands, -1 for those that are not there.

        Args:
            ids: Wanted samples.
            known: All samples of the set, where only some of them are wanted: the others may be predicted as well.
                None if all are wanted.

        Returns:
            Row of each wanted sample.

        Raises:
            PredictionError: If a sample is predicted twice, or one is predicted that the set does not have.
        """
        if not self.ids:
            raise PredictionError(f"{self.source}: there are no predictions")
        place: dict[str, int] = {}
        for row, sample in enumerate(self.ids):
            if sample in place:
                raise PredictionError(f"{self.source}: sample {sample!r} is predicted twice")
            place[sample] = row
        allowed = {*ids, *(known or ())}
        unknown = [sample for sample in self.ids if sample not in allowed]
        if unknown:
            example = "".join(f"; ids look like {sample!r}" for sample in (*ids, *(known or ()))[:1])
            raise PredictionError(
                f"{self.source}: {len(unknown)} of {len(self.ids)} ids are not in the set, such as {unknown[0]!r}"
                f"{example}"
            )
        return np.array([place.get(sample, -1) for sample in ids], np.int64)

    def check_body(self, expected: str, num_betas: int = 10) -> "Predictions":
        """Compare the body of the parameters with that of the truth. Points have no body and pass.

        The SMPL view of the same body passes where its hands are at rest: its fingers are then the ones at rest.

        Args:
            expected: Name and family of the body of the truth.
            num_betas: Its number of shape coefficients.

        Returns:
            The predictions themselves, or with their `betas` cut to `num_betas` where only zeros are behind.

        Raises:
            PredictionError: If the body or its number of shape coefficients is another one.
        """
        if self.params is None:
            return self
        if self.body is None:
            raise PredictionError(_no_body(self.source, expected))
        name, _, _ = expected.rpartition("/")
        if self.body not in (expected, f"{name}/smpl"):
            raise PredictionError(
                f"{self.source}: parameters are of the body {self.body!r}, the truth is of {expected!r}; fit that "
                "body, or give `keypoints_3d` with `layout`"
            )
        if self.body != expected:
            _check_smpl_hands(self.params, self.source)
        betas = self.params["betas"]
        failed = np.isnan(betas).all(1, keepdims=True)  # such rows say nothing of any shape
        if betas.shape[1] < num_betas or ((betas[:, num_betas:] != 0) & ~failed).any():
            raise PredictionError(
                f"{self.source}: `betas` has {betas.shape[1]} numbers a sample, {expected} has {num_betas}; give "
                "exactly these (only zeros may stand behind them)"
            )
        if betas.shape[1] == num_betas:
            return self
        return dataclasses.replace(self, params=self.params | {"betas": betas[:, :num_betas]})


def read_predictions(path: str | os.PathLike[str]) -> Predictions:
    """Read a prediction file.

    Args:
        path: An `.npz` or `.parquet` file of the columns that the module's description lists.

    Returns:
        Points or parameters. `check_body`, `check_units` and `check_depth` compare them with a truth.

    Raises:
        FileNotFoundError: If there is none.
        PredictionError: If it is damaged, too large, empty, or lacks what the module's description asks for.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of predictions")
    if path.stat().st_size > _MAX_BYTES:
        raise PredictionError(f"{path}: larger than {_MAX_BYTES >> 30} GiB; score it set by set")
    if path.suffix not in (".npz", ".parquet"):
        raise PredictionError(f"{path}: predictions are .npz or .parquet, not {path.suffix or 'without an ending'}")
    try:
        return _checked(prediction_columns.read_columns(path), path)
    except MemoryError as error:
        raise PredictionError(f"{path}: does not fit into memory; score it set by set") from error


# Content --------------------------------------------------------------------------------------------------


def _checked(file: PredictionFile, path: pathlib.Path) -> Predictions:
    holds = f"it holds {', '.join(sorted(file.names)[:30]) or 'nothing'}"
    if "ids" not in file.texts:
        raise PredictionError(f"{path}: no `ids`; {holds}")
    ids = tuple(file.texts["ids"])
    empty = [name for name, array in file.numbers.items() if array.ndim and not len(array)]
    if not ids or empty:
        found = f": `{empty[0]}` has no rows" if ids else ""
        raise PredictionError(f"{path}: there are no predictions{found}")
    if "keypoints_3d" in file.numbers:
        return _points(file, ids, path)
    if "body_pose" in file.numbers:
        return _params(file, ids, path)
    raise PredictionError(
        f"{path}: neither `keypoints_3d` (with `layout`) nor SMPL parameters (`body_pose`, ...); {holds}"
    )


def _single(file: PredictionFile, name: str, path: pathlib.Path) -> str | None:
    """The one value of a text; None if there is none."""
    values = sorted(set(file.texts.get(name, ())))
    if len(values) > 1:
        raise PredictionError(f"{path}: `{name}` must be one for all rows, got {values[0]!r} and {values[1]!r}")
    return values[0] if values else None


def _points(file: PredictionFile, ids: tuple[str, ...], path: pathlib.Path) -> Predictions:
    layout = _single(file, "layout", path)
    if layout is None:
        raise PredictionError(f"{path}: `keypoints_3d` needs `layout`, one of {', '.join(layouts.LAYOUTS)}")
    try:
        count = len(layouts.get_layout(layout))
    except KeyError as error:
        raise PredictionError(f"{path}: {error.args[0]}") from error
    shaped = {}
    for name, width in (("keypoints_3d", 3), ("keypoints_2d", 2)):
        if name in file.numbers:
            shaped[name] = _reshaped(file.numbers[name], (len(ids), count, width), f"{path}: `{name}` of {layout}")
    return Predictions(source=path.name, ids=ids, layout=layout, **shaped)


def _params(file: PredictionFile, ids: tuple[str, ...], path: pathlib.Path) -> Predictions:
    required = ("betas", "global_orient", "body_pose", "transl")
    missing = [name for name in required if name not in file.numbers]
    if missing:
        raise PredictionError(f"{path}: SMPL parameters without {', '.join(missing)}")
    body = _single(file, "body", path)
    if body is None:
        raise PredictionError(_no_body(str(path), "open_body/smplh"))
    params = {}
    for name in _PARAMS:
        if name not in file.numbers:
            continue
        array, where = file.numbers[name], f"{path}: `{name}`"
        if name == "body_pose" and array.ndim and array[0].size == _SMPL_POSE:
            array = _without_hands(_reshaped(array, (len(ids), 23, 3), where), where)
        if name in _JOINTS:
            params[name] = _reshaped(array, (len(ids), _JOINTS[name], 3), where)
        else:
            width = array.shape[-1] if name == "betas" and array.ndim > 1 else 10 if name == "betas" else 3
            params[name] = _reshaped(array, (len(ids), width), where)
    _check_radians(params["body_pose"], path)
    return Predictions(source=path.name, ids=ids, params=params, body=body)


def _no_body(source: str, expected: str) -> str:
    return (
        f"{source}: parameters need `body`, the name and family of the body that they are of: write the text "
        f"{expected!r} if they are of that body; parameters of one body mean nothing on another"
    )


def _without_hands(pose: Float[np.ndarray, "N 23 3"], where: str) -> Float[np.ndarray, "N 21 3"]:
    """The joints that SMPL shares with SMPL-H; its two hand joints turn all fingers at once, which SMPL-H cannot."""
    body, hands = pose[:, :21], pose[:, 21:]
    # NaN says that the method failed, if it says so of the body as well.
    is_failed = np.isnan(hands).any((1, 2)) & ~np.isfinite(body).all((1, 2))
    turned = ~is_failed & ~(np.abs(hands) <= _REST).all((1, 2))
    if turned.any():
        raise PredictionError(
            f"{where} has 69 numbers, of SMPL, and its hand joints 22 and 23 are turned in {int(turned.sum())} of "
            f"{len(pose)} rows; hands cannot be carried over to fingers: set them to zero, or give `keypoints_3d`"
        )
    return body


def _check_smpl_hands(params: dict[str, np.ndarray], source: str) -> None:
    for name in ("left_hand_pose", "right_hand_pose"):
        if name in params and (np.abs(params[name]) > _REST).any():
            raise PredictionError(f"{source}: `{name}` turns fingers, which a body of the family smpl does not have")
    if params["body_pose"].shape[1] > 21:
        _without_hands(params["body_pose"], f"{source}: `body_pose`")


def _check_radians(pose: Float[np.ndarray, "N J 3"], path: pathlib.Path) -> None:
    lengths = np.linalg.norm(pose, axis=-1)
    lengths = lengths[np.isfinite(lengths)]
    if lengths.size and (lengths > _LONGEST_ROTATION).mean() > _OUTLIER_SHARE:
        raise PredictionError(
            f"{path}: rotations of `body_pose` are up to {lengths.max():.4g} long; give axis-angle in radians, not "
            "degrees"
        )


def _reshaped(array: np.ndarray, shape: tuple[int, ...], where: str) -> Float[np.ndarray, "..."]:
    """An array as float64 of a shape; it may be flat behind the first axis, but not of other axes."""
    if array.dtype.kind not in "fiu":
        raise PredictionError(f"{where} must be numbers, got {array.dtype}")

    def axes(sizes: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(size for size in sizes if size != 1)

    fitting = (axes(shape[1:]), axes((int(np.prod(shape[1:])),)))
    if array.shape[:1] != shape[:1] or axes(array.shape[1:]) not in fitting:
        raise PredictionError(f"{where} must have the shape {shape}, got {array.shape}")
    return array.reshape(shape).astype(np.float64)


# Units ----------------------------------------------------------------------------------------------------


def check_units(
    predicted: Float[np.ndarray, "N K 3"],
    truth: Float[np.ndarray, "N K 3"],
    is_there: Bool[np.ndarray, "N K"],
    source: str,
) -> None:
    """Refuse points whose size says that they are in another unit than the truth.

    Lone people of an impossible size pass: fits diverge, and their error counts. So do collapsed ones.

    Args:
        predicted: Points, NaN where there are none.
        truth: True points in metres.
        is_there: Points that both have.
        source: Where the predictions come from.

    Raises:
        PredictionError: If people in general are of another size than in truth: millimetres, or a mix of units.
    """
    both = is_there & np.isfinite(predicted).all(-1) & np.isfinite(truth).all(-1)
    count = np.maximum(both.sum(1), 1)

    def extent(points: Float[np.ndarray, "N K 3"]) -> Float[np.ndarray, "N"]:
        kept = np.where(both[..., None], points, 0.0).astype(np.float64)
        centred = np.where(both[..., None], kept - kept.sum(1, keepdims=True) / count[:, None, None], 0.0)
        return np.sqrt((centred**2).sum((1, 2)) / count)

    with np.errstate(over="ignore", invalid="ignore"):
        ours, theirs = extent(predicted), extent(truth)
    usable = (both.sum(1) >= 2) & (theirs > _COLLAPSED)
    ratio = np.nan_to_num(ours[usable] / theirs[usable], nan=np.inf, posinf=np.inf)
    ratio = ratio[ratio > _COLLAPSED]
    factor = _middle(ratio)
    if not _SIZE_RANGE[0] <= factor <= _SIZE_RANGE[1]:
        fitting = (ratio >= _SIZE_RANGE[0]) & (ratio <= _SIZE_RANGE[1])
        raise PredictionError(
            f"{source}: people are {factor:.3g} times as large as in truth "
            f"({_how_many(~fitting, 'people')}); {_unit_hint(factor)}"
        )
    outliers = (ratio > _SIZE_OUTLIER) | (ratio < 1 / _SIZE_OUTLIER)
    if _is_a_mix(outliers):
        factor = _middle(ratio[outliers])
        raise PredictionError(
            f"{source}: people are {factor:.3g} times as large as in truth ({_how_many(outliers, 'people')}); "
            f"{_unit_hint(factor)}"
        )


def check_depth(predicted_depth: Float[np.ndarray, "N"], true_depth: Float[np.ndarray, "N"], source: str) -> None:
    """Refuse people in the camera frame whose distance says that it is another unit or another frame.

    Lone people at an impossible distance, and some behind the camera, pass: fits diverge, and their error counts.

    Args:
        predicted_depth: Depth of each person, NaN where there is none.
        true_depth: True depth, metres, positive.
        source: Where the predictions come from.

    Raises:
        PredictionError: If people in general are behind the camera, or much nearer or farther than in truth.
    """
    both = np.isfinite(predicted_depth) & np.isfinite(true_depth) & (true_depth > 0)
    ratio = predicted_depth[both].astype(np.float64) / true_depth[both]
    if not ratio.size:
        return
    is_behind = float(np.median(ratio)) < 0
    factor = _middle(np.abs(ratio))
    # Depths about zero have no sign to speak of: people who were never moved in front of the camera.
    if is_behind and factor >= _DEPTH_RANGE[0]:
        raise PredictionError(
            f"{source}: people are behind the camera; y up / z backward, it seems: camera axes are x right, y down, "
            "z forward"
        )
    if not _DEPTH_RANGE[0] <= factor <= _DEPTH_RANGE[1]:
        hint = "`transl` must be in the camera frame" if factor < _DEPTH_RANGE[0] else ""
        raise PredictionError(
            f"{source}: people are {factor:.3g} times as far as in truth; {_unit_hint(factor)}{hint and ', and '}{hint}"
        )
    ratio = ratio[ratio > 0]
    outliers = (ratio > _DEPTH_OUTLIER) | (ratio < 1 / _DEPTH_OUTLIER)
    if _is_a_mix(outliers):
        factor = _middle(ratio[outliers])
        raise PredictionError(
            f"{source}: people are {factor:.3g} times as far as in truth ({_how_many(outliers, 'people')}); "
            f"{_unit_hint(factor)}"
        )


def _middle(ratio: Float[np.ndarray, "M"]) -> float:
    """Median; of two in the middle the one nearer to 1, so that one diverged fit of two is no unit. 1 for none."""
    if not ratio.size:
        return 1.0
    ordered = np.sort(ratio)
    pair = [float(ordered[(len(ordered) - 1) // 2]), float(ordered[len(ordered) // 2])]
    return min(pair, key=lambda value: abs(np.log(value)) if value > 0 else np.inf)


def _is_a_mix(outliers: Bool[np.ndarray, "M"]) -> bool:
    return bool(outliers.sum() > 1 and outliers.mean() > _OUTLIER_SHARE)


def _how_many(wrong: Bool[np.ndarray, "M"], what: str) -> str:
    if wrong.all():
        return "all of them"
    mixed = ", so units are mixed" if _is_a_mix(wrong) and _is_a_mix(~wrong) else ""
    return f"{int(wrong.sum())} of {len(wrong)} {what}{mixed}"


def _unit_hint(factor: float) -> str:
    if 500 < factor < 2500:
        return "millimetres, it seems: divide by 1000"
    if 50 < factor < 250:
        return "centimetres, it seems: divide by 100"
    return "feet or another unit, it seems: give metres"
