"""Where a video cuts from one shot to another, found while it is read: nobody is followed across a cut."""

import collections
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.perception.video import Frame

#: Frames are compared at this width or height, pixels.
_SIDE = 256
#: A cut stands out from so many frames before and behind it, which is how long frames are kept back.
_WINDOW = 2
#: A cut that is nearer to the one before is none if the picture returns to what it was before that.
_NEAR = 2 * _WINDOW + 1
#: Nominal: detectors count in times.
_FRAMES_PER_SECOND = 25.0
#: Steps before a jump from which it stands out; those of the shot before do not count.
_MEMORY = 8
#: A pixel that no motion explains is lighter or darker by more than this, of 255.
_UNEXPLAINED = 20
#: A jump leaves this share of the picture unexplained, which is so many times the mean and the largest share of the
#: steps around it. Of 10 cuts within one room the least are 6.2 %, 4.6 and 2.3 times; of 1,200 steps of dancers, in
#: three videos and five made clips, every second and third frame too, none is 2.9 and 1.9 times. Of 23 other cuts it
#: finds 22.
_LEAST_SHARE, _OF_MEAN, _OF_LARGEST = 0.03, 3.6, 2.1
#: With nothing behind it a jump is told from somebody who starts to move by this share alone.
_SHARE_AT_END = 0.25
#: A flash ends where less than this share of it is unexplained by what was before.
_OF_FLASH = 0.5
#: Frames that differ by less are one frame that is shown twice, mean of 255.
_SAME = 0.02


def with_shots(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The same frames, each with whether a shot begins at it (`starts_shot`).

    Cuts are those of PySceneDetect's adaptive detector: a change of colours that stands out from those of the frames
    around it, so that fast motion and pans are none. So are jumps within one place, to other people or another time:
    what motion does not explain (optical flow, Farneback, SCIA 2003) stands out as much. Fades and flashes of one or
    two frames are no cuts; a change of the frames' size is one. The smallest shot that is found is of three frames
    that are looked at (`_WINDOW + 1`), at the end of the video of one. Two frames are held back.

    Args:
        frames: Of a video, in order.
    """
    from scenedetect import FrameTimecode
    from scenedetect.detectors import AdaptiveDetector

    detector = AdaptiveDetector(window_width=_WINDOW, min_scene_len=1)
    jumps = _Jumps()
    kept: collections.deque[tuple[int, Frame]] = collections.deque()
    cuts: set[int] = set()
    size: tuple[int, ...] | None = None
    small = None
    number = -1
    for number, frame in enumerate(frames):
        if size is not None and frame.image.shape != size:
            cuts.add(number)
        size = frame.image.shape
        kept.append((number, frame))
        small = _small(frame.image, None if small is None else small.shape)
        found = bool(detector.process_frame(FrameTimecode(number, fps=_FRAMES_PER_SECOND), small))
        found |= jumps.step(small)
        _judge(jumps, found, number - _WINDOW, cuts)
        if len(kept) > _WINDOW:
            yield _marked(*kept.popleft(), cuts)
    # The last frames are judged as if the picture stood still behind them.
    for later in range(1, _WINDOW + 1):
        if small is not None:
            _judge(jumps, jumps.step(small) and jumps.share() >= _SHARE_AT_END, number + later - _WINDOW, cuts)
    while kept:
        yield _marked(*kept.popleft(), cuts)


def _judge(jumps: "_Jumps", found: bool, at: int, cuts: set[int]) -> None:
    """Add a frame to the cuts if it is one."""
    if not found or at <= 0 or jumps.returns(at):
        return
    if jumps.is_flash():
        jumps.leave(at)
        return
    jumps.leave(at)
    jumps.forget()
    cuts.add(at)


class _Jumps:
    """Looks for frames to which no motion leads from the one before them, `_WINDOW` frames after they were shown."""

    def __init__(self) -> None:
        self._frames: collections.deque[UInt8[np.ndarray, "h w"]] = collections.deque(maxlen=_WINDOW + 2)
        """The frame before the one that is judged, that one, and those behind it; grey."""
        self._shares: collections.deque[float | None] = collections.deque(maxlen=_WINDOW + 1)
        """What is unexplained of the steps to the last of them; None where it is the same frame again."""
        self._before: collections.deque[float] = collections.deque(maxlen=_MEMORY)
        """The same of steps of this shot before them."""
        self._left: UInt8[np.ndarray, "h w"] | None = None
        """The last frame before the last cut or flash."""
        self._left_at = 0

    def step(self, image: UInt8[np.ndarray, "h w 3"]) -> bool:
        """Whether there is a jump to the frame of `_WINDOW` frames ago.

        Args:
            image: Small, blue first.
        """
        import cv2

        if len(self._shares) > _WINDOW and self._shares[0] is not None:
            self._before.append(self._shares[0])
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        if self._frames:
            self._shares.append(_unexplained(self._frames[-1], grey))
        self._frames.append(grey)
        if len(self._shares) <= _WINDOW or self._shares[0] is None:
            return False
        share, *behind = self._shares
        around = [*self._before, *(other for other in behind if other is not None)]
        # By one step nothing stands out, nor by frames that are shown several times.
        if share is None or len(around) < _WINDOW:
            return False
        return share >= max(_LEAST_SHARE, _OF_MEAN * float(np.mean(around)), _OF_LARGEST * max(around))

    def is_flash(self) -> bool:
        """Whether what is behind the frame that is judged goes on from what was before it."""
        if len(self._frames) < _WINDOW + 2:
            return False
        before, judged, *behind = self._frames
        share = _unexplained(before, judged) or 0.0
        return any((_unexplained(before, later) or 0.0) < _OF_FLASH * share for later in behind)

    def share(self) -> float:
        """What is unexplained of the step to the frame that is judged."""
        return _unexplained(self._frames[0], self._frames[1]) or 0.0

    def leave(self, at: int) -> None:
        """Remember what was before the frame that is judged, which is a cut or a flash."""
        self._left, self._left_at = self._frames[0], at

    def returns(self, at: int) -> bool:
        """Whether the frame that is judged goes on from what was before a cut or flash near it."""
        if self._left is None or not 0 < at - self._left_at < _NEAR or len(self._frames) < _WINDOW + 2:
            return False
        before, judged = self._frames[0], self._frames[1]
        return (_unexplained(self._left, judged) or 0.0) < _OF_FLASH * (_unexplained(before, judged) or 0.0)

    def forget(self) -> None:
        """Begin a new shot at the frame that is judged."""
        self._before.clear()
        self._shares[0] = None


def _unexplained(before: UInt8[np.ndarray, "h w"], now: UInt8[np.ndarray, "h w"]) -> float | None:
    """Share of a picture that does not come from the one before by motion; None if it is the same one."""
    import cv2

    if before.shape != now.shape:
        # A video may change its size.
        return 1.0
    if float(cv2.absdiff(before, now).mean()) < _SAME:
        return None
    flow = cv2.calcOpticalFlowFarneback(now, before, np.zeros((*now.shape, 2), np.float32), 0.5, 4, 15, 3, 5, 1.1, 0)
    rows, columns = np.indices(now.shape, np.float32)
    moved = cv2.remap(
        before, columns + flow[..., 0], rows + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return float((cv2.absdiff(moved, now) > _UNEXPLAINED).mean())


def in_shots(frames: Iterable[Frame]) -> Iterator[Iterator[Frame]]:
    """Frames shot by shot; each shot is to be read to its end before the next one is asked for.

    Args:
        frames: Marked by `with_shots`; those that are not are one shot.
    """
    shot = 0

    def number(frame: Frame) -> int:
        nonlocal shot
        shot += frame.starts_shot
        return shot

    for _, group in itertools.groupby(frames, key=number):
        yield group


def _marked(number: int, frame: Frame, cuts: set[int]) -> Frame:
    return replace(frame, starts_shot=True) if number in cuts else frame


def _small(image: UInt8[np.ndarray, "H W 3"], shape: tuple[int, ...] | None = None) -> UInt8[np.ndarray, "h w 3"]:
    """A small copy, blue first, as PySceneDetect takes it; of the shape that is given, if one is."""
    import cv2

    scale = min(1.0, _SIDE / max(image.shape[:2]))
    size = tuple(max(round(side * scale), 1) for side in image.shape[1::-1]) if shape is None else (shape[1], shape[0])
    return np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA)[..., ::-1])
