"""Video files: what a container tells before it is read through, and its frames one after the other.

Only known container formats are opened, and nothing is fetched from a network. `video` is what others use.
"""

import dataclasses
import math
import pathlib
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.perception import hdr, photos
from hardmo_jax.perception.photos import MediaError

# Playlist formats (hls, concat, dash) name other files and addresses, so they are not among these.
_DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,asf,flv,gif"
#: What cameras, telephones, editors and the web make. FFmpeg knows some hundred codecs more, of games and of the
#: nineties, which few people film with and fewer have looked at: a file could choose the weakest of them.
VIDEO_CODECS = (
    "h264", "hevc", "vp8", "vp9", "av1", "mpeg1video", "mpeg2video", "mpeg4", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3",
    "h263", "flv1", "wmv1", "wmv2", "wmv3", "vc1", "mjpeg", "prores", "dnxhd", "cfhd", "dvvideo", "ffv1", "huffyuv",
    "ffvhuff", "utvideo", "rawvideo", "qtrle", "png", "gif", "theora", "vp6", "vp6f",
)  # fmt: skip
#: Decoders that may be tried to find out what streams hold: those of the codecs above, and of sound.
_DECODERS = (
    *VIDEO_CODECS,
    "libdav1d", "flv", "msmpeg4", "aac", "ac3", "eac3", "alac", "amrnb", "amrwb", "libopencore_amrnb",
    "libopencore_amrwb", "dca", "flac", "mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float", "opus", "libopus",
    "vorbis", "truehd", "wmav1", "wmav2", "wmapro", "speex", "nellymoser", "adpcm_ms", "adpcm_ima_wav",
    "adpcm_ima_qt", "adpcm_swf", "pcm_u8", "pcm_s8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le",
    "pcm_s32be", "pcm_f32le", "pcm_f32be", "pcm_mulaw", "pcm_alaw", "pcm_bluray", "pcm_dvd",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class VideoHeader:
    """What the container and the first frame tell."""

    width: int
    height: int
    is_mirrored: bool
    rotation_degrees: int
    fps: float | None
    frame_count: int | None
    warnings: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class StreamEnd:
    """What a reader knows of the end of a video once it is there."""

    failure: str | None = None
    """Why the rest could not be read; None if nothing was left."""
    num_packets: int = 0
    """Packets that were read."""
    num_announced: int = 0
    """Frames by the container's index; 0 if it has none."""
    duration: float | None = None
    """Seconds by the container, if that is the video's own."""

    def missing(self, end_seconds: float) -> str | None:
        """Why the stream counts as cut off, or None if it is whole.

        Args:
            end_seconds: End of the last decoded frame.
        """
        if self.failure is not None:
            return f"the rest cannot be read ({self.failure})"
        if self.num_announced > self.num_packets:
            return f"its header announces {self.num_announced} frames"
        # Containers without a frame count give a duration, which may be rounded or padded a little.
        if (
            not self.num_announced
            and self.duration is not None
            and self.duration - end_seconds > max(0.25, 0.05 * self.duration)
        ):
            return f"its header announces {self.duration:.1f} s"
        return None


class VideoReader:
    """Iterates over the decoded frames of the first video stream and notes what is missing."""

    def __init__(self, path: pathlib.Path, max_pixels: int) -> None:
        self.path = path
        self.max_pixels = max_pixels
        self.num_damaged = 0
        self._num_packets = 0
        self._num_announced = 0
        self._duration: float | None = None
        self._failure: str | None = None

    def __iter__(self) -> Iterator[Any]:
        import av
        import av.error

        with open_container(self.path) as container:
            stream = _video_stream(container, self.path, self.max_pixels)
            stream.thread_type = "AUTO"
            self._num_announced = _announced_frames(container, stream)
            if len(container.streams) == 1 and container.duration:
                self._duration = container.duration / av.time_base
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets, None)
                except av.error.FFmpegError as error:
                    self._failure = str(error.strerror or error)
                    return
                if packet is None:
                    return
                self._num_packets += packet.size > 0
                try:
                    frames = packet.decode()
                except av.error.EOFError:
                    return
                except av.error.FFmpegError:
                    self.num_damaged += 1
                    continue
                for frame in frames:
                    self.num_damaged += bool(getattr(frame, "is_corrupt", False) or packet.is_corrupt)
                    yield frame

    @property
    def end(self) -> StreamEnd:
        """What is known of the end; complete once the frames have run through."""
        return StreamEnd(self._failure, self._num_packets, self._num_announced, self._duration)


def frames_around(path: pathlib.Path, seconds: float, max_pixels: int) -> Iterator[tuple[float, Any]]:
    """Decoded frames from the last one before a time that can be decoded by itself; none where none can be sought.

    Args:
        path: Of a video.
        seconds: Since its first frame.
        max_pixels: Largest size of a frame.

    Yields:
        Seconds since the first frame, and the frame.
    """
    import av.error

    with open_container(path) as container:
        stream = _video_stream(container, path, max_pixels)
        stream.thread_type = "AUTO"
        try:
            first = next(iter(container.decode(stream)), None)
            if first is None or first.pts is None or not stream.time_base:
                return
            start = float(first.pts * first.time_base)
            container.seek(math.floor((start + seconds) / float(stream.time_base)), stream=stream, backward=True)
            for frame in container.decode(stream):
                if frame.pts is not None:
                    yield float(frame.pts * frame.time_base) - start, frame
        except av.error.FFmpegError:
            return


def open_container(path: pathlib.Path) -> Any:
    """Open a video file of strangers with PyAV, for reading.

    Raises:
        MediaError: If it is of no container that is read, among them all that name other files.
    """
    import av
    import av.error

    options = {"format_whitelist": _DEMUXERS, "codec_whitelist": ",".join(_DECODERS)}
    try:
        # An absolute path can be no address, option or pipe.
        return av.open(str(path.absolute()), mode="r", options=options, metadata_errors="replace")
    except av.error.FFmpegError as error:
        with path.open("rb") as file:
            begin = file.read(12)
        reason = str(error.strerror or error)
        hint = (
            "its index is missing, as in a recording or download that was cut off; copy or download it again"
            if begin[4:8] == b"ftyp"
            else f"the file begins with {begin!r}; convert it to H.264 in MP4"
        )
        raise MediaError(f"{path}: is not a video that can be read ({reason}): {hint}") from error


def _video_stream(container: Any, path: pathlib.Path, max_pixels: int) -> Any:
    from av.stream import Disposition

    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if not streams:
        raise MediaError(f"{path}: holds no moving picture (only sound, or cut off); pass a whole video")
    stream = streams[0]
    context = stream.codec_context
    if context is None:
        raise MediaError(f"{path}: its picture format is unknown or its header cut off; convert it to H.264 in MP4")
    # `libdav1d` is a decoder of av1.
    codec = context.codec.canonical_name
    if codec not in VIDEO_CODECS:
        raise MediaError(f"{path}: its codec {codec!r} is none that is read; convert it to H.264 in MP4")
    # A stream may leave its size to the first packet: zero is not an error yet.
    if context.width and context.height:
        photos.check_pixels(context.width, context.height, path, max_pixels)
    context.options = {"max_pixels": str(max_pixels)}
    return stream


def _announced_frames(container: Any, stream: Any) -> int:
    """Number of frames by the index of the MP4 family, 0 if unknown; other containers only estimate it."""
    return stream.frames if container.format.name.startswith("mov") else 0


def read_video_header(path: pathlib.Path, max_pixels: int) -> VideoHeader:
    """Decode the first frame and read what the container tells.

    Raises:
        MediaError: If it is no video that can be decoded, or its frames are too large.
    """
    import av.error

    reader = VideoReader(path, max_pixels)
    try:
        frame = next(iter(reader), None)
    except av.error.FFmpegError as error:
        raise MediaError(f"{path}: cannot be decoded ({error.strerror}); convert it to H.264 in MP4") from error
    if frame is None:
        raise MediaError(f"{path}: no frame of this video can be decoded; convert it to H.264 in MP4")
    photos.check_pixels(frame.width, frame.height, path, max_pixels)
    is_mirrored, rotation = _display_turn(frame)
    width, height = (frame.height, frame.width) if rotation % 180 else (frame.width, frame.height)
    warnings = []
    with open_container(path) as container:
        stream = _video_stream(container, path, max_pixels)
        rate = stream.average_rate or stream.guessed_rate
        fps = float(rate) if rate else 0.0
        ratio = stream.sample_aspect_ratio
        count = _announced_frames(container, stream)
    if not 0 < fps <= 1000:
        warnings.append(f"{path.name}: tells no usable frame rate")
        fps = None
    transfer = hdr.transfer_of(frame.color_trc)
    if transfer is not None:
        warnings.append(f"{path.name}: high dynamic range ({transfer}); pictures are brought to standard range")
    if ratio and ratio != 1:
        warnings.append(f"{path.name}: pixels are not square ({ratio}); pictures are left unstretched")
    return VideoHeader(
        width=width,
        height=height,
        is_mirrored=is_mirrored,
        rotation_degrees=rotation,
        fps=fps,
        frame_count=count or None,
        warnings=tuple(warnings),
    )


def _display_turn(frame: Any) -> tuple[bool, int]:
    """Mirroring and clockwise turn of the display matrix, to the nearest 90 degrees.

    The matrix maps stored to shown positions, x right, y down, row vectors, 16.16 fixed point (ISO/IEC
    14496-12, section 6.2.2).
    """
    for data in frame.side_data:
        if data.type.name != "DISPLAYMATRIX":
            continue
        a, b, _, c, d = struct.unpack_from("=5i", bytes(data))
        is_mirrored = a * d - b * c < 0
        if is_mirrored:
            a, b = -a, -b
        return is_mirrored, round(math.degrees(math.atan2(b, a)) / 90) * 90 % 360
    return False, 0


def upright_video_frame(frame: Any, path: pathlib.Path, max_pixels: int) -> UInt8[np.ndarray, "H W 3"]:
    """A decoded frame as it is shown, in standard range.

    Raises:
        MediaError: If it is too large.
    """
    photos.check_pixels(frame.width, frame.height, path, max_pixels)
    transfer = hdr.transfer_of(frame.color_trc)
    if transfer is None:
        image = frame.to_ndarray(format="rgb24")
    else:
        signal = frame.to_ndarray(format="rgb48le")
        image = hdr.to_standard_range(signal, transfer, is_bt2020=hdr.is_bt2020(frame.color_primaries))
    return photos.turn_upright(image, *_display_turn(frame))
