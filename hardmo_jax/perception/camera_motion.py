"""Whether the camera moves: how the background shifts, turns and grows from frame to frame.

Corners outside of the people are followed on a small grey picture (Lucas and Kanade, "An iterative image registration
technique", IJCAI 1981; on a pyramid as Bouguet, "Pyramidal implementation of the Lucas Kanade feature tracker", 2000).
Frames are compared with one frame for as long as its corners are seen, so that before a camera that stands still no
error adds up; then a later frame takes its place. What most corners agree on is the background: a similarity by least
squares, repeated without the corners that are far from it.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Complex, UInt8

from hardmo_jax.array_types import Bool, Float, Int

#: Longer side of the picture in which corners are followed, pixels.
_SIDE = 480
_MAX_CORNERS, _CORNER_QUALITY, _CORNER_DISTANCE = 160, 0.02, 8
#: Corners below which nothing is said.
_LEAST_CORNERS = 12
_WINDOW, _PYRAMID_LEVELS = 15, 3
#: A corner that is followed there and back must return to where it was, pixels.
_RETURN = 0.5
#: Corners nearer than this to what all of them do are background, pixels, from round to round; more where the picture
#: moves a lot, as what is near moves more than what is far.
_AGREE, _AGREE_OF_MOTION = (8.0, 5.0, 3.0, 2.0, 1.5, 1.5), 0.3
#: Share of the corners followed that must be background.
_LEAST_AGREEMENT = 0.5
#: Share of the corners of the frame compared with that must be followed, and motion since that frame, share of the
#: width, from which on a later frame takes its place.
_STILL_SEEN, _FAR = 0.4, 0.15
#: Boxes of people are widened by this share of their longer side: hair, bags and shadows move with them.
_MARGIN = 0.08
#: Time over which motion is judged, seconds: about as long as a foot of somebody who moves stands.
STANCE_SECONDS = 0.5
#: A camera moves if the background does in a quarter of all such times by this share of the width, or gets this far
#: from where it mostly is. Before cameras that stand still it is 0.0000 to 0.0005, by how the video is compressed. Of
#: people who fill half of the picture locked feet are better up to 0.008 and worse from 0.016 on, as `MocapHard` clips
#: with a pan or a hand's shake added say; of smaller people they are worse from less on.
LARGEST_MOTION, LARGEST_DRIFT = 0.003, 0.02
_MOTION_PERCENTILE, _DRIFT_PERCENTILE = 75, 95
#: Share of the frames in which the background must be known.
_LEAST_KNOWN = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class CameraPath:
    """Where the background of each frame is, against the first frame of its scene."""

    turn: Complex[np.ndarray, "T"]
    """Scale and turn about the centre of the picture as one complex number; NaN where it is not known."""
    shift: Complex[np.ndarray, "T"]
    """Shift to the right (real) and down (imaginary), share of the picture's width; NaN where it is not known."""
    scene: Int[np.ndarray, "T"]
    """Number of the scene; frames of two scenes do not compare."""
    aspect: float
    """Height of the picture by its width."""

    def motion(self, step: int) -> Float[np.ndarray, "S"]:
        """How far the background moves in so many frames.

        Returns:
            Root mean square over the picture, share of its width, from each frame to the one `step` later; NaN where
            that is not known.
        """
        if step >= len(self.turn):
            return np.zeros(0)
        with np.errstate(invalid="ignore"):
            turn = self.turn[step:] / self.turn[:-step]
            moved = _spread(turn, self.shift[step:] - turn * self.shift[:-step], self.aspect)
        return np.where(self.scene[step:] == self.scene[:-step], moved, np.nan)

    def drift(self) -> Float[np.ndarray, "T"]:
        """How far the background of each frame is from where that of its scene mostly is, share of the width; NaN where
        that is not known."""
        found = np.full(len(self.turn), np.nan)
        for scene in np.unique(self.scene):
            own = np.flatnonzero((self.scene == scene) & np.isfinite(self.turn))
            if len(own):
                turn, shift = (_middle(values[own]) for values in (self.turn, self.shift))
                found[own] = _spread(self.turn[own] - turn + 1, self.shift[own] - shift, self.aspect)
        return found


@dataclasses.dataclass(frozen=True, kw_only=True)
class CameraMotion:
    """What the background says of the camera."""

    moves: bool | None
    """None if the background is not known in enough frames, as it has no texture or people hide it."""
    known: float
    """Share of the frames in which it is."""
    per_frame: float
    """Median motion from a frame to the next, share of the picture's width; NaN if nothing is known."""
    per_stance: float
    """Motion within `STANCE_SECONDS` that three quarters of all such times do not exceed."""
    drift: float
    """Distance from where it mostly is that hardly any frame exceeds."""


def judge_motion(path: CameraPath, frames_per_second: float) -> CameraMotion:
    """Whether a camera moves.

    Args:
        path: Of all frames of a video.
        frames_per_second: Of the video.
    """
    # Of a video shorter than a stance its whole length is what there is.
    stance = max(1, min(round(STANCE_SECONDS * frames_per_second), len(path.turn) - 1))
    found = (path.motion(1), path.motion(stance), path.drift())
    steps, stances, drifts = (values[np.isfinite(values)] for values in found)
    known = len(steps) / max(len(path.turn) - 1, 1)
    per_stance = float(np.percentile(stances, _MOTION_PERCENTILE)) if len(stances) else np.nan
    drift = float(np.percentile(drifts, _DRIFT_PERCENTILE)) if len(drifts) else np.nan
    # Motion that was seen is motion, even where most is not known.
    moves: bool | None = bool(per_stance > LARGEST_MOTION or drift > LARGEST_DRIFT)
    if not moves and (known < _LEAST_KNOWN or not len(stances)):
        moves = None
    return CameraMotion(
        moves=moves,
        known=known,
        per_frame=float(np.median(steps)) if len(steps) else np.nan,
        per_stance=per_stance,
        drift=drift,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Reference:
    """A frame that later ones are compared with."""

    grey: UInt8[np.ndarray, "H W"]
    corners: Float[np.ndarray, "N 2"]
    turn: complex
    shift: complex


class CameraWatch:
    """Follows the background, one frame after the other."""

    def __init__(self) -> None:
        self._turns: list[complex] = []
        self._shifts: list[complex] = []
        self._scenes: list[int] = []
        self._aspect = 1.0
        self._reference: _Reference | None = None
        self._last: tuple[UInt8[np.ndarray, "H W"], Bool[np.ndarray, "H W"]] | None = None

    @property
    def path(self) -> CameraPath:
        """Where the background of all frames so far is."""
        return CameraPath(
            turn=np.array(self._turns, complex),
            shift=np.array(self._shifts, complex),
            scene=np.array(self._scenes, int),
            aspect=self._aspect,
        )

    def step(self, image: UInt8[np.ndarray, "H W 3"], boxes: Sequence[Float[np.ndarray, "4"]]) -> None:
        """Look at the next frame.

        Args:
            image: Where its size changes, another scene begins.
            boxes: Of the people in it, pixels; what is in them is no background.
        """
        grey = _small(image)
        self._aspect = grey.shape[0] / grey.shape[1]
        free = _free(grey.shape, boxes, grey.shape[1] / image.shape[1])
        place = self._place(grey, free)
        scene = self._scenes[-1] if self._scenes else 0
        if place is None:
            # A cut, or nothing to see: what follows is compared with this frame.
            scene += bool(self._scenes)
            self._reference = _reference(grey, free, 1.0 + 0.0j, 0.0j)
            place = (complex(np.nan), complex(np.nan)) if self._reference is None else (1.0 + 0.0j, 0.0j)
        self._turns.append(place[0])
        self._shifts.append(place[1])
        self._scenes.append(scene)
        self._last = grey, free

    def _place(self, grey: UInt8[np.ndarray, "H W"], free: Bool[np.ndarray, "H W"]) -> tuple[complex, complex] | None:
        """Turn and shift of a frame against the first of the scene."""
        if self._reference is None or self._last is None or self._last[0].shape != grey.shape:
            return None
        turn, shift = self._turns[-1], self._shifts[-1]
        found = _compared(self._reference, grey, free, turn, shift)
        if found is None or found[2]:
            later = _reference(*self._last, turn, shift)
            again = None if later is None else _compared(later, grey, free, turn, shift)
            if again is not None:
                self._reference, found = later, again
        return None if found is None else found[:2]


def _small(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w"]:
    """A grey picture of which the longer side is `_SIDE`, or the picture's own."""
    import cv2

    height, width = image.shape[:2]
    scale = _SIDE / max(height, width)
    if scale < 1:
        size = (max(1, round(scale * width)), max(1, round(scale * height)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)


def _free(shape: tuple[int, ...], boxes: Sequence[Float[np.ndarray, "4"]], scale: float) -> Bool[np.ndarray, "h w"]:
    """Where nobody is."""
    free = np.ones(shape, bool)
    for box in boxes:
        low, high = scale * np.asarray(box[:2]), scale * np.asarray(box[2:])
        margin = _MARGIN * float((high - low).max())
        left, top = np.maximum(np.floor(low - margin), 0).astype(int)
        right, bottom = np.maximum(np.ceil(high + margin), 0).astype(int)
        free[top : bottom + 1, left : right + 1] = False
    return free


def _reference(
    grey: UInt8[np.ndarray, "H W"], free: Bool[np.ndarray, "H W"], turn: complex, shift: complex
) -> _Reference | None:
    """A frame with its corners; None if it has too few."""
    import cv2

    corners = cv2.goodFeaturesToTrack(grey, _MAX_CORNERS, _CORNER_QUALITY, _CORNER_DISTANCE, mask=free.astype(np.uint8))
    if corners is None or len(corners) < _LEAST_CORNERS:
        return None
    return _Reference(grey=grey, corners=corners.reshape(-1, 2).astype(np.float32), turn=turn, shift=shift)


def _compared(
    reference: _Reference,
    grey: UInt8[np.ndarray, "H W"],
    free: Bool[np.ndarray, "H W"],
    last_turn: complex,
    last_shift: complex,
) -> tuple[complex, complex, bool] | None:
    """Turn and shift of a frame, looked for near those of the last one, and whether a later reference should be taken.

    None if too few corners agree.
    """
    import cv2

    height, width = grey.shape
    centre = np.array([0.5 * (width - 1), 0.5 * (height - 1)])
    before = _as_complex((reference.corners - centre) / width)
    turn = last_turn / reference.turn
    shift = last_shift - turn * reference.shift
    start = np.ascontiguousarray(_as_pairs(turn * before + shift) * width + centre, np.float32)
    settings = {
        "winSize": (_WINDOW, _WINDOW),
        "maxLevel": _PYRAMID_LEVELS,
        "criteria": (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 0.01),
        "flags": cv2.OPTFLOW_USE_INITIAL_FLOW,
    }
    corners = reference.corners
    there, is_there, _ = cv2.calcOpticalFlowPyrLK(reference.grey, grey, corners, start, **settings)
    back, is_back, _ = cv2.calcOpticalFlowPyrLK(grey, reference.grey, there, corners.copy(), **settings)
    at = np.clip(np.round(np.nan_to_num(there)), 0, [width - 1, height - 1]).astype(int)
    followed = (is_there.ravel() == 1) & (is_back.ravel() == 1) & free[at[:, 1], at[:, 0]]
    followed &= np.linalg.norm(back - reference.corners, axis=-1) < _RETURN
    if followed.sum() < _LEAST_CORNERS:
        return None
    after = _as_complex((there - centre) / width)[followed]
    before = before[followed]
    turn, shift, share = _similarity(before, after, turn, width)
    if share < _LEAST_AGREEMENT:
        return None
    is_late = followed.mean() < _STILL_SEEN or _spread(np.array([turn]), np.array([shift]), height / width)[0] > _FAR
    return turn * reference.turn, turn * reference.shift + shift, bool(is_late)


def _similarity(
    before: Complex[np.ndarray, "N"], after: Complex[np.ndarray, "N"], turn: complex, width: int
) -> tuple[complex, complex, float]:
    """`turn * before + shift` nearest to most of `after`, and the share of the points that are near."""
    moved = after - turn * before
    shift = _middle(moved)
    is_near = np.ones(len(before), bool)
    for radius in _AGREE:
        motion = np.abs(after - before)
        is_near = np.abs(after - turn * before - shift) * width < radius + _AGREE_OF_MOTION * np.median(motion) * width
        if is_near.sum() < _LEAST_CORNERS:
            break
        own, other = before[is_near], after[is_near]
        spread = own - own.mean()
        turn = complex((np.conj(spread) * (other - other.mean())).sum() / max((np.abs(spread) ** 2).sum(), 1e-12))
        shift = complex(other.mean() - turn * own.mean())
    return turn, shift, float(is_near.mean())


def _spread(turn: Complex[np.ndarray, "T"], shift: Complex[np.ndarray, "T"], aspect: float) -> Float[np.ndarray, "T"]:
    """Root mean square motion of the points of a picture, share of its width."""
    around = (1 + aspect**2) / 12  # mean square distance from the centre
    return np.sqrt(np.abs(shift) ** 2 + np.abs(turn - 1) ** 2 * around)


def _middle(numbers: Complex[np.ndarray, "N"]) -> complex:
    return complex(np.median(np.real(numbers)), np.median(np.imag(numbers)))


def _as_complex(pairs: Float[np.ndarray, "N 2"]) -> Complex[np.ndarray, "N"]:
    return pairs[:, 0] + 1j * pairs[:, 1]


def _as_pairs(numbers: Complex[np.ndarray, "N"]) -> Float[np.ndarray, "N 2"]:
    return np.stack([np.real(numbers), np.imag(numbers)], -1)
