"""One frame of a video or one photo, whichever is asked for: what somebody who looks at labels wants next."""

import collections
import contextlib
from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.perception.photos import MediaError
from hardmo_jax.perception.video import Media

#: What is kept of frames that were shown, frames and bytes.
_KEPT, _KEPT_BYTES = 24, 2**28
#: A frame that is farther on than this is sought rather than gone to, seconds and frames.
_FAR_SECONDS, _FAR_FRAMES = 2.0, 60
#: Times of labels and of a video agree to this, seconds: less than half the time from a frame to the next.
_SAME_TIME = 1e-3


class FrameFinder:
    """Frames of one photo or video by their index; the last few are kept, and going on decodes no frame twice."""

    def __init__(self, media: Media) -> None:
        self._media = media
        self._kept: collections.OrderedDict[int, UInt8[np.ndarray, "H W 3"]] = collections.OrderedDict()
        self._frames: Iterator[tuple[int, UInt8[np.ndarray, "H W 3"]]] | None = None
        self._next = 0

    def image(self, frame_index: int, time_seconds: float | None = None) -> UInt8[np.ndarray, "H W 3"]:
        """The upright picture of a frame.

        Args:
            frame_index: As labels hold it: frames from the first of the file, 0 of a photo.
            time_seconds: Its time since the first frame, by which a frame far on is found sooner.

        Raises:
            MediaError: If the file has no such frame, or cannot be read.
        """
        if frame_index in self._kept:
            self._kept.move_to_end(frame_index)
            return self._kept[frame_index]
        if self._frames is None or not self._next <= frame_index < self._next + _FAR_FRAMES:
            self.close()
            self._frames = self._found(frame_index, time_seconds)
        for index, image in self._frames:
            self._next = index + 1
            self._kept[index] = image
            while len(self._kept) > 1 and (
                len(self._kept) > _KEPT or sum(one.nbytes for one in self._kept.values()) > _KEPT_BYTES
            ):
                self._kept.popitem(last=False)
            if index == frame_index:
                return image
        self.close()
        raise MediaError(f"{self._media.path}: has no frame {frame_index}")

    def close(self) -> None:
        """Let go of the file."""
        if self._frames is not None:
            with contextlib.suppress(AttributeError):
                self._frames.close()  # pyright: ignore[reportAttributeAccessIssue]
        self._frames = None

    def _found(self, frame_index: int, time_seconds: float | None) -> Iterator[tuple[int, UInt8[np.ndarray, "H W 3"]]]:
        """Frames from the wanted one on."""
        if self._media.kind == "video" and time_seconds is not None and time_seconds > _FAR_SECONDS:
            index = None
            for time, image in self._media.frames_around(time_seconds):
                if index is None and abs(time - time_seconds) <= _SAME_TIME:
                    index = frame_index
                if index is not None:
                    yield index, image
                    index += 1
                elif time > time_seconds:
                    break  # no frame of this time: it is counted instead
            if index is not None:
                return
        # Frames that are passed over are decoded, but not turned into pictures.
        for frame in self._media.frames(start=frame_index):
            yield frame.frame_index, frame.image
