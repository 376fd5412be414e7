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
#: Frames of the shortest shot: within the window nothing stands out.
_LEAST_FRAMES = 2 * _WINDOW + 1
#: Nominal: detectors count in times.
_FRAMES_PER_SECOND = 25.0


def with_shots(frames: Iterable[Frame]) -> Iterator[Frame]:
    """The same frames, each with whether a shot begins at it (`starts_shot`).

    Cuts are those of PySceneDetect's adaptive detector: a change of colours that stands out from those of the frames
    around it, so that fast motion and pans are none. Fades are no cuts. Two frames are held back.

    Args:
        frames: Of a video, in order.
    """
    from scenedetect import FrameTimecode
    from scenedetect.detectors import AdaptiveDetector

    detector = AdaptiveDetector(window_width=_WINDOW, min_scene_len=_LEAST_FRAMES)
    kept: collections.deque[tuple[int, Frame]] = collections.deque()
    cuts: set[int] = set()
    for number, frame in enumerate(frames):
        kept.append((number, frame))
        found = detector.process_frame(FrameTimecode(number, fps=_FRAMES_PER_SECOND), _small(frame.image))
        cuts.update(cut.frame_num for cut in found)
        if len(kept) > _WINDOW:
            yield _marked(*kept.popleft(), cuts)
    while kept:
        yield _marked(*kept.popleft(), cuts)


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


def _small(image: UInt8[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """A small copy, blue first, as PySceneDetect takes it."""
    import cv2

    scale = min(1.0, _SIDE / max(image.shape[:2]))
    size = tuple(max(round(side * scale), 1) for side in image.shape[1::-1])
    return np.ascontiguousarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA)[..., ::-1])
