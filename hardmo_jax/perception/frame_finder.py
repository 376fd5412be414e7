"""One frame of a video or one photo, whichever is asked for: what somebody who looks at labels wants next."""

import collections
import contextlib
from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.perception.photos import MediaError
from hardmo_jax.perception.video import Frame, Media

_KEPT = 24


class FrameFinder:
    """Frames of one photo or video by their index; the last few are kept, and going on decodes no frame twice."""

    def __init__(self, media: Media) -> None:
        self._media = media
        self._kept: collections.OrderedDict[int, UInt8[np.ndarray, "H W 3"]] = collections.OrderedDict()
        self._frames: Iterator[Frame] | None = None
        self._next = 0

    def image(self, frame_index: int) -> UInt8[np.ndarray, "H W 3"]:
        """The upright picture of a frame.

        Args:
            frame_index: As labels hold it: frames from the first of the file, 0 of a photo.

        Raises:
            MediaError: If the file has no such frame, or cannot be read.
        """
        if frame_index in self._kept:
            self._kept.move_to_end(frame_index)
            return self._kept[frame_index]
        # Frames that are passed over are decoded, but not turned into pictures.
        if self._frames is None or not self._next <= frame_index < self._next + _KEPT:
            self.close()
            self._frames, self._next = self._media.frames(start=frame_index), frame_index
        for frame in self._frames:
            self._next = frame.frame_index + 1
            self._keep(frame.frame_index, frame.image)
            if frame.frame_index == frame_index:
                return frame.image
        self.close()
        raise MediaError(f"{self._media.path}: has no frame {frame_index}")

    def close(self) -> None:
        """Let go of the file."""
        if self._frames is not None:
            with contextlib.suppress(AttributeError):
                self._frames.close()  # pyright: ignore[reportAttributeAccessIssue]
        self._frames = None

    def _keep(self, frame_index: int, image: UInt8[np.ndarray, "H W 3"]) -> None:
        self._kept[frame_index] = image
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
