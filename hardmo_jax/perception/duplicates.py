"""Finding videos and photos that are copies of each other: encoded again, scaled, cropped, mirrored, cut at an end.

A file becomes a fingerprint, small grey pictures at regular times. Two are compared in two steps. First the mean
picture of one is looked for among crops of that of the other, straight and mirrored. Other clips of one room pass
this; so the changes from picture to picture must agree too, at the best shift in time. What does not move is a copy
only if its pictures agree closely.

Not found: copies that are turned, stretched in time, drawn over in large parts, framed by borders, or cut out of the
middle of a longer file that changes much.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from hardmo_jax.body import array_files
from hardmo_jax.perception import video
from hardmo_jax.perception.decoding_process import shared_process_decoder
from hardmo_jax.whole_files import replacing

#: Rows and columns of a grey picture, and of what crops of it are brought to.
_SIDE, _VIEW = 32, 16
#: Shares of each side that a crop may lack.
_CUTS = (0.0, 0.05, 0.1, 0.15)
#: What is added to the cuts of pictures that stand still.
_FINER = (-0.025, 0.0, 0.025)
#: Pictures of one tone say nothing: least spread of grey values that are looked at, of 255.
_LEAST_SPREAD = 3.0
#: Changes of grey values below which a clip stands still, root mean square of 255.
_LEAST_CHANGE = 0.6
#: Crops of two clips of which the changes are compared.
_LOOKED_AT = 6
#: Of a kept fingerprint.
_MOST_BYTES = 1 << 26


@dataclasses.dataclass(frozen=True, kw_only=True)
class DuplicateOptions:
    """What counts as a copy."""

    step_seconds: float = 0.25
    """Between the pictures that are compared."""
    most_seconds: float = 120.0
    """Of a video from its beginning; what comes later is not looked at."""
    least_likeness: float = 0.8
    """Correlation of mean pictures from which clips are looked at closely, -1 to 1."""
    least_agreement: float = 0.55
    """Correlation of changes over time from which they are copies."""
    least_still_likeness: float = 0.97
    """Correlation of mean pictures from which photos and clips that stand still are copies."""
    least_overlap: float = 0.5
    """Share of the shorter clip that must be in the longer one."""

    def __post_init__(self) -> None:
        if not 0 < self.step_seconds <= self.most_seconds:
            raise ValueError(f"step_seconds must be positive and at most most_seconds, got {self.step_seconds}")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Fingerprint:
    """What is kept of a file to find its copies."""

    pictures: UInt8[np.ndarray, "T 32 32"]
    """Grey pictures, each the mean of what is shown in one step of time, the whole frame squeezed into a square."""
    step_seconds: float
    """Between two of them."""
    seconds: float | None
    """Length of the video; None of a photo, and of a video that was not read to its end."""

    @functools.cached_property
    def mean(self) -> Float[np.ndarray, "32 32"]:
        """Mean picture."""
        return self.pictures.mean(axis=0, dtype=np.float64)

    @property
    def hash(self) -> str:
        """Sixteen hexadecimal digits: signs of the lowest frequencies of the mean picture, as in a DCT pHash."""
        return _sign_hash(self.mean)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Likeness:
    """How alike two files are."""

    is_copy: bool
    """Whether they are copies."""
    likeness: float
    """Correlation of mean pictures at the best crop."""
    agreement: float | None
    """Correlation of changes at the best shift in time; None where nothing moves."""
    is_mirrored: bool
    """Whether they agree best when one is mirrored."""
    shift_seconds: float
    """By how much the second begins later than the first."""


_UNLIKE = Likeness(is_copy=False, likeness=0.0, agreement=None, is_mirrored=False, shift_seconds=0.0)


def fingerprint(path: str | os.PathLike[str], options: DuplicateOptions | None = None) -> Fingerprint:
    """Read a photo or video and keep what its copies are found by.

    Raises:
        MediaError: If it cannot be read.
    """
    import cv2

    options = options or DuplicateOptions()
    media = video.open_media(pathlib.Path(path), decoder=shared_process_decoder())
    seconds: float | None = 0.0
    most = max(1, int(options.most_seconds / options.step_seconds))
    sums: list[Float[np.ndarray, "32 32"]] = []
    counts: list[int] = []
    for frame in media.frames():
        step = int((frame.time_seconds or 0.0) / options.step_seconds + 1e-6)
        if step >= most:
            seconds = None
            break
        seconds = (frame.time_seconds or 0.0) + (1 / media.fps if media.fps else 0.0)
        small = cv2.resize(frame.image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
        grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.float64)
        while len(sums) < step:
            # Nothing new was shown meanwhile.
            sums.append(sums[-1] / counts[-1])
            counts.append(1)
        if len(sums) == step:
            sums.append(grey)
            counts.append(1)
        else:
            sums[step] = sums[step] + grey
            counts[step] += 1
    pictures = np.stack([total / count for total, count in zip(sums, counts, strict=True)])
    return Fingerprint(
        pictures=np.rint(pictures).astype(np.uint8),
        step_seconds=options.step_seconds,
        seconds=seconds if media.kind == "video" else None,
    )


def write_fingerprint(path: pathlib.Path, one: Fingerprint) -> None:
    """Keep a fingerprint in an `.npz` file."""
    seconds = np.nan if one.seconds is None else one.seconds
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, pictures=one.pictures, step_seconds=one.step_seconds, seconds=seconds)


def read_fingerprint(path: pathlib.Path, options: DuplicateOptions | None = None) -> Fingerprint | None:
    """A fingerprint that was kept; None if there is none, or it was made with another step or length."""
    options = options or DuplicateOptions()
    most = max(1, int(options.most_seconds / options.step_seconds))
    if not path.is_file() or path.is_symlink() or path.stat().st_size > _MOST_BYTES:
        return None
    try:
        arrays = array_files.read_npz(path.read_bytes(), source=path.name)
    except array_files.BodyFileError:
        return None
    pictures, step, seconds = (np.asarray(arrays.get(name)) for name in ("pictures", "step_seconds", "seconds"))
    is_whole = pictures.dtype == np.uint8 and pictures.ndim == 3 and pictures.shape[1:] == (_SIDE, _SIDE)
    if not is_whole or not 0 < len(pictures) <= most or step.shape or seconds.shape or step != options.step_seconds:
        return None
    length = None if np.isnan(seconds) else float(seconds)
    if length is None and len(pictures) not in (1, most):
        return None
    return Fingerprint(pictures=pictures, step_seconds=float(step), seconds=length)


def find_copies(
    fingerprints: Sequence[Fingerprint], options: DuplicateOptions | None = None
) -> list[tuple[int, int, Likeness]]:
    """Pairs of files that are copies.

    Args:
        fingerprints: Of the files, made with the same options.
        options: What counts as a copy.

    Returns:
        Places of the two, the earlier first, in order.
    """
    options = options or DuplicateOptions()
    if len(fingerprints) < 2:
        return []
    whole = np.stack([_unit(_WHOLE @ one.mean @ _WHOLE.T).ravel() for one in fingerprints]).astype(np.float32)
    found = {}
    for first, one in enumerate(fingerprints):
        views = _crops(one.mean).astype(np.float32).reshape(-1, _VIEW * _VIEW)
        best = (views @ whole.T).max(axis=0)
        for second in np.flatnonzero(best >= options.least_likeness):
            pair = (min(first, int(second)), max(first, int(second)))
            if pair[0] != pair[1] and pair not in found:
                found[pair] = compare_fingerprints(fingerprints[pair[0]], fingerprints[pair[1]], options)
    return [(*pair, likeness) for pair, likeness in sorted(found.items()) if likeness.is_copy]


def compare_fingerprints(one: Fingerprint, other: Fingerprint, options: DuplicateOptions | None = None) -> Likeness:
    """Say whether two files are copies of each other.

    Args:
        one: Of the first file.
        other: Of the second, made with the same options.
        options: What counts as a copy.
    """
    options = options or DuplicateOptions()
    best = _UNLIKE
    for cut, whole, sign in ((one, other, 1), (other, one, -1)):
        target = _unit(_WHOLE @ whole.mean @ _WHOLE.T)
        likeness = np.einsum("nij,ij->n", _crops(cut.mean), target)
        for place in np.argsort(-likeness)[:_LOOKED_AT]:
            if likeness[place] < options.least_likeness:
                break
            found = _looked_at(cut, whole, int(place), float(likeness[place]), options)
            found = dataclasses.replace(found, shift_seconds=sign * found.shift_seconds)
            if _rank(found) > _rank(best):
                best = found
    return best


def _rank(found: Likeness) -> tuple[bool, float]:
    return found.is_copy, found.likeness if found.agreement is None else found.agreement


def _looked_at(
    cut: Fingerprint, whole: Fingerprint, place: int, likeness: float, options: DuplicateOptions
) -> Likeness:
    """Compare changes over time of a crop of one with the whole of another."""
    rows, columns, is_mirrored = _CROPS[place]
    first = _changes(_views(cut.pictures, rows, columns, is_mirrored))
    second = _changes(_views(whole.pictures, _WHOLE, _WHOLE, False))
    moves = [np.sqrt((part**2).mean()) if len(part) else 0.0 for part in (first, second)]
    if max(moves) < _LEAST_CHANGE:
        likeness = _finer_likeness(cut.mean, whole.mean, place)
        is_copy = likeness >= options.least_still_likeness
        return Likeness(is_copy=is_copy, likeness=likeness, agreement=None, is_mirrored=is_mirrored, shift_seconds=0.0)
    agreement, shift = _best_shift(first, second, options.least_overlap)
    return Likeness(
        is_copy=agreement >= options.least_agreement,
        likeness=likeness,
        agreement=agreement,
        is_mirrored=is_mirrored,
        shift_seconds=shift * cut.step_seconds,
    )


def _finer_likeness(cut: Float[np.ndarray, "32 32"], whole: Float[np.ndarray, "32 32"], place: int) -> float:
    """Best correlation of crops near one of `_CROPS` with a whole picture."""
    per_axis = len(_AXIS)
    mirrored, rest = divmod(place, per_axis**2)
    sides = [
        np.stack([_resampling(max(0.0, before + a), max(0.0, after + b)) for a in _FINER for b in _FINER])
        for (before, after), _ in (_AXIS[rest // per_axis], _AXIS[rest % per_axis])
    ]
    views = (sides[0] @ cut)[:, None] @ sides[1].transpose(0, 2, 1)
    views = _unit(views[..., ::-1] if mirrored else views)
    return float((views * _unit(_WHOLE @ whole @ _WHOLE.T)).sum(axis=(-2, -1)).max())


def _best_shift(
    first: Float[np.ndarray, "T D"], second: Float[np.ndarray, "T2 D"], least_overlap: float
) -> tuple[float, int]:
    """Best correlation of two sequences shifted in time, and by how many pictures the second begins later."""
    least = max(1, round(least_overlap * min(len(first), len(second))))
    products = first @ second.T
    power = [np.concatenate([[0.0], np.cumsum((part**2).sum(axis=1))]) for part in (first, second)]
    best = (-1.0, 0)
    for shift in range(least - len(second), len(first) - least + 1):
        begin, end = max(0, shift), min(len(first), len(second) + shift)
        if end - begin < least:
            continue
        norm = (power[0][end] - power[0][begin]) * (power[1][end - shift] - power[1][begin - shift])
        if norm > 0:
            best = max(best, (float(np.trace(products, -shift) / np.sqrt(norm)), shift))
    return best


def _changes(views: Float[np.ndarray, "T 16 16"]) -> Float[np.ndarray, "T2 256"]:
    """How each picture differs from the mean of all."""
    return (views - views.mean(axis=0)).reshape(len(views), -1)


def _views(
    pictures: UInt8[np.ndarray, "T 32 32"],
    rows: Float[np.ndarray, "16 32"],
    columns: Float[np.ndarray, "16 32"],
    is_mirrored: bool,
) -> Float[np.ndarray, "T 16 16"]:
    views = rows @ pictures.astype(np.float64) @ columns.T
    return views[..., ::-1] if is_mirrored else views


def _crops(picture: Float[np.ndarray, "32 32"]) -> Float[np.ndarray, "N 16 16"]:
    """All crops of a picture in the order of `_CROPS`, without their means and of length one."""
    weights = np.stack([part for _, part in _AXIS])
    down = weights @ picture
    straight = (down[:, None] @ weights.transpose(0, 2, 1)).reshape(-1, _VIEW, _VIEW)
    return _unit(np.concatenate([straight, straight[..., ::-1]]))


def _unit(views: Float[np.ndarray, "*n 16 16"]) -> Float[np.ndarray, "*n 16 16"]:
    """Without their means and of length one; pictures of one tone become zero."""
    views = views - views.mean(axis=(-2, -1), keepdims=True)
    length = np.sqrt((views**2).sum(axis=(-2, -1), keepdims=True))
    return np.where(length > _LEAST_SPREAD * _VIEW, views / np.maximum(length, 1e-9), 0.0)


def _resampling(before: float, after: float) -> Float[np.ndarray, "16 32"]:
    """Weights that bring a row of a picture without shares of its ends to `_VIEW` pixels, by area."""
    edges = np.linspace(before * _SIDE, (1 - after) * _SIDE, _VIEW + 1)
    cells = np.arange(_SIDE)
    covered = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    weights = np.maximum(covered, 0.0)
    return weights / weights.sum(axis=1, keepdims=True)


_WHOLE = _resampling(0.0, 0.0)
_AXIS = [((before, after), _resampling(before, after)) for before in _CUTS for after in _CUTS]
_CROPS = [(down, across, mirrored) for mirrored in (False, True) for _, down in _AXIS for _, across in _AXIS]


def _sign_hash(picture: Float[np.ndarray, "32 32"]) -> str:
    """Signs of an 8 x 8 block of the lowest frequencies against their median, the mean left out."""
    from scipy.fft import dctn

    low = np.asarray(dctn(picture, norm="ortho"))[:8, :8].ravel()
    bits = low > np.median(low[1:])
    return f"{int(''.join('1' if bit else '0' for bit in bits), 2):016x}"
