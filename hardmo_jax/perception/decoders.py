"""Who decodes: this process (`InProcessDecoder`), or one that may die (`decoding_process.ProcessDecoder`).

What `video` reads goes through one of them. Both give the same pictures.
"""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.perception import photos, video_stream


@dataclasses.dataclass(frozen=True, kw_only=True)
class StreamFrame:
    """A decoded frame of a video, of which a picture is made only if it is wanted."""

    seconds: float | None
    """Presentation time by the container; None if it tells none."""
    picture: Callable[[], UInt8[np.ndarray, "H W 3"]]
    """Makes the upright picture; to be called before the next frame is asked for."""


@runtime_checkable
class FrameReader(Protocol):
    """Frames of a video in order, and what was wrong with them."""

    def __iter__(self) -> Iterator[StreamFrame]:
        """Decode from the beginning."""
        ...

    @property
    def num_damaged(self) -> int:
        """Packets and frames so far that are damaged."""
        ...

    @property
    def end(self) -> video_stream.StreamEnd:
        """What is known of the end; complete once the frames have run through."""
        ...


@runtime_checkable
class Decoder(Protocol):
    """Makes pictures of the bytes of strangers. Whatever they are, the only error is `photos.MediaError`."""

    def video_header(self, path: pathlib.Path, max_pixels: int) -> video_stream.VideoHeader:
        """See `video_stream.read_video_header`."""
        ...

    def video(self, path: pathlib.Path, max_pixels: int) -> FrameReader:
        """Frames of a video."""
        ...

    def frames_around(self, path: pathlib.Path, seconds: float, max_pixels: int) -> Iterator[tuple[float, StreamFrame]]:
        """See `video_stream.frames_around`."""
        ...

    def photo(self, data: bytes, path: pathlib.Path, max_pixels: int) -> UInt8[np.ndarray, "H W 3"]:
        """See `photos.decode_photo`."""
        ...


class InProcessDecoder:
    """Decodes in this process: nothing is copied, and a decoder that crashes takes everything along."""

    def video_header(self, path: pathlib.Path, max_pixels: int) -> video_stream.VideoHeader:
        """See `video_stream.read_video_header`."""
        return video_stream.read_video_header(path, max_pixels)

    def video(self, path: pathlib.Path, max_pixels: int) -> FrameReader:
        """Frames of a video."""
        return _Reader(path, max_pixels)

    def frames_around(self, path: pathlib.Path, seconds: float, max_pixels: int) -> Iterator[tuple[float, StreamFrame]]:
        """See `video_stream.frames_around`."""
        for time, frame in video_stream.frames_around(path, seconds, max_pixels):
            yield time, _of_stream(frame, path, max_pixels)

    def photo(self, data: bytes, path: pathlib.Path, max_pixels: int) -> UInt8[np.ndarray, "H W 3"]:
        """See `photos.decode_photo`."""
        return photos.decode_photo(data, path, max_pixels)


class _Reader:
    def __init__(self, path: pathlib.Path, max_pixels: int) -> None:
        self._reader = video_stream.VideoReader(path, max_pixels)

    def __iter__(self) -> Iterator[StreamFrame]:
        for frame in self._reader:
            yield _of_stream(frame, self._reader.path, self._reader.max_pixels)

    @property
    def num_damaged(self) -> int:
        return self._reader.num_damaged

    @property
    def end(self) -> video_stream.StreamEnd:
        return self._reader.end


def _of_stream(frame: Any, path: pathlib.Path, max_pixels: int) -> StreamFrame:
    return StreamFrame(
        seconds=None if frame.pts is None else float(frame.pts * frame.time_base),
        picture=lambda: video_stream.upright_video_frame(frame, path, max_pixels),
    )
