"""The recording of live video: packets as they came, or raw pictures without loss, in a Matroska file."""

import contextlib
import fractions
import pathlib
from collections.abc import Iterator
from typing import Any

from hardmo_jax.perception.live_address import LiveStreamError

#: Codecs that are recorded as they come.
COPIED_CODECS = (
    *("h264", "hevc", "mjpeg", "mpeg4", "mpeg2video", "mpeg1video", "vp8", "vp9", "av1", "ffv1", "theora", "prores"),
    *("huffyuv", "ffvhuff", "utvideo", "dirac", "flv1", "h263", "msmpeg4v3", "wmv3", "vc1"),
)
#: Recording of everything else, without loss. Of 720p with noise x264 takes 13 ms of a core a frame, FFV1 24 ms; that
#: holds the formats that x264 does not.
_LOSSLESS = {
    "libx264": {"qp": "0", "preset": "ultrafast", "tune": "zerolatency"},
    "ffv1": {"level": "3", "slices": "4", "slicecrc": "1", "g": "1", "coder": "0", "context": "0"},
}
_OF_X264 = ("yuv420p", "yuv422p", "yuv444p")
#: A file that is cut off at any time ends with a whole second.
_MATROSKA = {"cluster_time_limit": "1000", "flush_packets": "1"}
#: Times before the first one that a stream tells none of, in its ticks: more than frames are ever out of order.
_EARLIER = 17
_FALLBACK_RATE = 25


class LiveRecorder:
    """Writes packets as they came, or frames without loss."""

    def __init__(self, output: Any, stream: Any, *, is_copied: bool) -> None:
        """Set up.

        Args:
            output: An open recording.
            stream: What comes.
            is_copied: Whether packets are written as they come.
        """
        self._output, self._is_copied = output, is_copied
        self._rate = stream.average_rate or stream.guessed_rate or fractions.Fraction(_FALLBACK_RATE)
        self._last: int | None = None
        self._has_begun = False
        self._stream: Any = None
        if is_copied:
            self._stream = output.add_stream_from_template(stream)
            if 0 < self._rate <= 1000:
                # So that the file tells a rate.
                self._stream.codec_context.framerate = self._rate

    def write_packet(self, packet: Any) -> bool:
        """Whether it is recorded: what comes before the first whole picture can be decoded by nobody."""
        if not packet.size:
            return True
        if not self._has_begun and not packet.is_keyframe:
            return False
        if packet.pts is None:
            packet.pts = packet.dts if packet.dts is not None else (self._last or 0) + 1
        if packet.dts is None:
            # Matroska keeps when pictures are shown alone; any order of decoding that holds does.
            packet.dts = packet.pts - _EARLIER if self._last is None else self._last + 1
        if self._last is not None and packet.dts <= self._last:
            packet.dts = self._last + 1
        packet.pts = max(packet.pts, packet.dts)
        self._last, self._has_begun = packet.dts, True
        own = packet.stream
        kept = packet.pts, packet.dts, packet.time_base
        packet.stream = self._stream
        self._output.mux(packet)
        # The decoder gets it as it came.
        packet.stream = own
        packet.pts, packet.dts, packet.time_base = kept
        return True

    def write_frame(self, frame: Any) -> Any:
        """Encode a frame without loss; the frame as the recording gives it."""
        if self._stream is None:
            pixels = _planar(frame.format.name)
            codec = "libx264" if pixels in _OF_X264 else "ffv1"
            self._stream = self._output.add_stream(codec, rate=self._rate, options=_LOSSLESS[codec])
            self._stream.width, self._stream.height, self._stream.pix_fmt = frame.width, frame.height, pixels
            self._stream.codec_context.time_base = self._stream.time_base = fractions.Fraction(1, 1000)
        stamp = (self._last or 0) + round(1000 / self._rate)
        if frame.pts is not None:
            stamp = round(frame.pts * frame.time_base * 1000)
        self._last = stamp if self._last is None else max(stamp, self._last + 1)
        kept = frame.reformat(format=self._stream.pix_fmt)
        kept.pts, kept.time_base = self._last, fractions.Fraction(1, 1000)
        self._output.mux(self._stream.encode(kept))
        return kept

    def end(self) -> None:
        """Write what the encoder holds."""
        if self._stream is not None and not self._is_copied:
            self._output.mux(self._stream.encode(None))


def _planar(pixels: str) -> str:
    """The format of the recording that holds the same numbers as one of a camera."""
    same = {"yuyv422": "yuv422p", "uyvy422": "yuv422p", "yvyu422": "yuv422p", "nv12": "yuv420p", "nv21": "yuv420p"}
    rgb = {"rgb24": "bgr0", "bgr24": "bgr0", "rgba": "bgra", "gray": "gray", "yuvj422p": "yuv422p"}
    return {**same, **rgb}.get(pixels, pixels)


@contextlib.contextmanager
def open_recording(path: pathlib.Path, public: str) -> Iterator[Any]:
    """A Matroska file that is written as frames come, under its own name: what is there counts, also after a kill.

    Args:
        path: Must not exist.
        public: What is recorded.

    Raises:
        LiveStreamError: If it exists.
    """
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        raise LiveStreamError(f"{path} is there already; {public} is not recorded over it")
    output = av.open(str(path), mode="w", format="matroska", options=_MATROSKA)
    try:
        yield output
    finally:
        output.close()
