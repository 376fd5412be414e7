"""Live video: every frame goes into a recording as it comes, and whoever looks at it gets the newest one.

A thread reads packets, writes them to a Matroska file and decodes them. Compressed video is written as it came, raw
pictures of cameras without loss, so that a frame of the recording is the frame that was seen, with the same number.
The file can be read at any time, also after a kill: no more than the last second is lost.
"""

import contextlib
import dataclasses
import errno
import pathlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.perception import live_pipe, live_recording, photos, video_stream
from hardmo_jax.perception.live_address import LiveAddress, LiveStreamError

#: How long a thread is waited for that reads from a source which gives nothing, beyond the time of a stall.
_PATIENCE = 5.0


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LiveFrame:
    """A frame as it came."""

    number: int
    """Of the frame in the recording, from 0."""
    time_seconds: float
    """Since the first frame, as the stream tells it."""
    came_at: float
    """Of `time.monotonic`."""
    decoded: Any
    """FFmpeg's frame."""
    public: str
    """Where it is from."""

    @property
    def image(self) -> UInt8[np.ndarray, "H W 3"]:
        """Upright RGB picture; made anew each time."""
        return video_stream.upright_video_frame(self.decoded, pathlib.Path(self.public), photos.MAX_PIXELS)


class LiveCapture:
    """Live input with its recording. Used as a context manager; the thread reads from `start` on."""

    def __init__(
        self,
        address: LiveAddress,
        recording: pathlib.Path,
        *,
        stall_seconds: float = 10.0,
        limit_frames: int | None = None,
        end_seconds: float | None = None,
    ) -> None:
        """Set up; nothing is opened yet.

        Args:
            address: Where from.
            recording: Matroska file to write; it must not exist.
            stall_seconds: Time without anything after which the stream counts as ended; also to connect in.
            limit_frames: Frames to record, None for all.
            end_seconds: Time to record, None for all.
        """
        self._address, self._recording = address, recording
        self._stall_seconds, self._limit, self._end = stall_seconds, limit_frames, end_seconds
        self._news = threading.Condition()
        self._newest: LiveFrame | None = None
        self._is_over = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._open = contextlib.ExitStack()
        self.num_frames = 0
        """Frames that came so far."""
        self.num_damaged = 0
        """Packets that could not be decoded; they are in the recording."""
        self.seconds = 0.0
        """Time of the last frame."""
        self.ended_because = ""
        """Why it is over, for people."""
        self.error: LiveStreamError | None = None
        """What ended it, if that was no end of the stream."""
        self.codec = ""
        """Of the stream."""
        self.is_copied = True
        """Whether packets are recorded as they came, or pictures anew, without loss."""
        self.size: tuple[int, int] | None = None
        """Width and height as they are stored, pixels."""

    def __enter__(self) -> "LiveCapture":
        """Connect.

        Raises:
            LiveStreamError: If nothing comes from there, or no video.
        """
        with contextlib.ExitStack() as stack:
            container = self._connect(stack)
            streams = container.streams.video
            if not streams:
                raise LiveStreamError(f"{self._address.public}: sends no video")
            self._input, self._stream = container, streams[0]
            context = self._stream.codec_context
            if context is None:
                raise LiveStreamError(f"{self._address.public}: the format of its pictures is not known")
            if context.width and context.height:
                photos.check_pixels(
                    context.width, context.height, pathlib.Path(self._address.public), photos.MAX_PIXELS
                )
                self.size = context.width, context.height
            # Threads over frames would hold some of them back.
            context.thread_type = "SLICE"
            context.options = {"max_pixels": str(photos.MAX_PIXELS)}
            self.codec = context.name
            self.is_copied = context.name in live_recording.COPIED_CODECS
            self._output = stack.enter_context(live_recording.open_recording(self._recording, self._address.public))
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        if self._thread is None or not self._thread.is_alive():
            # What a thread still reads from, since it gives nothing and cannot be told to stop, is left to it.
            with contextlib.suppress(Exception):
                self._open.close()
        if self.num_frames == 0:
            self._recording.unlink(missing_ok=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread = threading.Thread(target=self._read, name="live-capture", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the recording; returns when the file is closed."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(self._stall_seconds + _PATIENCE)

    def frames(self) -> Iterator[LiveFrame]:
        """The newest frame each time one is asked for; those that came meanwhile are passed over.

        Yields:
            Frames in order, until the stream is over; the last one is always among them.
        """
        seen = -1
        while True:
            with self._news:
                # Waking now and then lets Ctrl-C through.
                while not self._is_over and (self._newest is None or self._newest.number == seen):
                    self._news.wait(0.2)
                newest = self._newest
            if newest is None or newest.number == seen:
                return
            seen = newest.number
            yield newest

    def _connect(self, stack: contextlib.ExitStack) -> Any:
        import av
        import av.error

        address, wait = self._address, self._stall_seconds
        options = dict(address.options)
        source: Any = address.url
        if address.kind == "pipe":
            source = stack.enter_context(live_pipe.PipeInput(address.url, wait, address.public))
        # A webcam that compresses gives a larger picture at its full rate; not all do.
        tries = [{"input_format": "mjpeg"}, {}] if address.format == "v4l2" else [{}]
        failure: Exception | None = None
        for more in tries:
            try:
                container = av.open(
                    source,
                    mode="r",
                    format=address.format,
                    options={**options, **more},
                    timeout=None if address.kind in ("pipe", "play") else (wait, wait),
                    metadata_errors="replace",
                )
                return stack.enter_context(container)
            except LiveStreamError:
                raise
            except (OSError, ValueError) as error:
                failure = error
        raise _not_opened(address, failure, wait) from None

    def _read(self) -> None:
        """The thread: packets to the recording and to the decoder, until something ends it."""
        try:
            for frame in self._recorded():
                with self._news:
                    self._newest = frame
                    self.num_frames, self.seconds = frame.number + 1, frame.time_seconds
                    self._news.notify_all()
        except LiveStreamError as error:
            self.error = error
            self.ended_because = str(error)
        except Exception as error:  # whatever it is, it is for whoever looks
            self.error = LiveStreamError(f"{self._address.public}: {_reason(error)}")
            self.ended_because = str(self.error)
        finally:
            try:
                self._output.close()
            except Exception as error:  # the same
                self.error = self.error or self._not_written(error)
                self.ended_because = self.ended_because or str(self.error)
            with self._news:
                self._is_over = True
                self._news.notify_all()

    def _recorded(self) -> Iterator[LiveFrame]:
        recorder = live_recording.LiveRecorder(self._output, self._stream, is_copied=self.is_copied)
        try:
            yield from self._through(recorder)
        finally:
            recorder.end()

    def _through(self, recorder: live_recording.LiveRecorder) -> Iterator[LiveFrame]:
        """Frames with their numbers and times, up to a limit."""
        begun, first_stamp, last_time = time.monotonic(), None, -1.0
        for number, (decoded, came_at) in enumerate(self._decoded(recorder, begun)):
            frame = decoded if self.is_copied else self._kept(recorder, decoded)
            # Those that a decoder held back to the end tell no clock of their own.
            clock = frame.time_base or self._stream.time_base
            stamp = came_at - begun if frame.pts is None else float(frame.pts * clock)
            first_stamp = stamp if first_stamp is None else first_stamp
            last_time = max(stamp - first_stamp, last_time + 1e-6)
            if self._end is not None and last_time >= self._end:
                self.ended_because = f"{self._end:g} s were recorded"
                return
            self.size = frame.width, frame.height
            yield LiveFrame(
                number=number, time_seconds=last_time, came_at=came_at, decoded=frame, public=self._address.public
            )
            if self._limit is not None and number + 1 >= self._limit:
                self.ended_because = f"{self._limit} frames were recorded"
                return

    def _decoded(self, recorder: live_recording.LiveRecorder, begun: float) -> Iterator[tuple[Any, float]]:
        """Frames of the packets, which are recorded first, and when these came; to the last one that is recorded."""
        import av.error

        packets = self._packets(begun)
        failure: LiveStreamError | None = None
        while True:
            try:
                packet = next(packets, None)
            except LiveStreamError as error:
                packet, failure = None, error
            came_at = time.monotonic()
            try:
                if packet is None:
                    frames = self._stream.decode(None)
                elif self.is_copied and not self._written(recorder, packet):
                    continue
                else:
                    frames = packet.decode()
            except av.error.EOFError:
                frames = []
            except av.error.FFmpegError:
                self.num_damaged += 1
                continue
            for frame in frames:
                yield frame, came_at
            if failure is not None:
                raise failure
            if packet is None:
                return

    def _packets(self, begun: float) -> Iterator[Any]:
        """What comes, until it ends or is stopped."""
        import av.error

        packets = self._input.demux(self._stream)
        while not self._stop.is_set():
            try:
                packet = next(packets, None)
            except av.error.ExitError:
                raise LiveStreamError(
                    f"{self._address.public}: nothing came for {self._stall_seconds:g} s; what came before is kept"
                ) from None
            except (av.error.FFmpegError, ConnectionError, TimeoutError) as error:
                raise LiveStreamError(f"{self._address.public}: broke off ({_reason(error)})") from None
            if packet is None or not packet.size:
                self.ended_because = "the stream ended"
                return
            if self._address.kind == "play" and packet.dts is not None:
                self._wait_for(begun, float(packet.dts * packet.time_base))
            yield packet
        self.ended_because = "it was stopped"

    def _written(self, recorder: live_recording.LiveRecorder, packet: Any) -> bool:
        try:
            return recorder.write_packet(packet)
        except (OSError, ValueError) as error:
            raise self._not_written(error) from None

    def _kept(self, recorder: live_recording.LiveRecorder, frame: Any) -> Any:
        try:
            return recorder.write_frame(frame)
        except (OSError, ValueError) as error:
            raise self._not_written(error) from None

    def _wait_for(self, begun: float, stamp: float) -> None:
        """Pass the time that a played file wants between its packets."""
        if not hasattr(self, "_first_stamp"):
            self._first_stamp = stamp
        while not self._stop.is_set():
            left = begun + stamp - self._first_stamp - time.monotonic()
            if left <= 0:
                return
            self._stop.wait(min(left, 0.2))

    def _not_written(self, error: Exception) -> LiveStreamError:
        reason = _reason(error)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason = "the disk is full"
        return LiveStreamError(
            f"{self._recording}: the recording could not be written ({reason}); what came before is in it"
        )


def _reason(error: Exception) -> str:
    """What the system says, without the address, which may hold a password."""
    return " ".join(str(getattr(error, "strerror", None) or type(error).__name__).split())


def _not_opened(address: LiveAddress, error: Exception | None, wait: float) -> LiveStreamError:
    """Why nothing was opened, and what to do."""
    number = error.errno if isinstance(error, OSError) else None
    if address.kind == "webcam":
        advice = {
            errno.EBUSY: "another program uses it; close that",
            errno.EACCES: "you may not use it; add yourself to its group (`sudo usermod -aG video $USER`), log in anew",
            errno.EPERM: "you may not use it; allow this program the camera in the system's settings",
        }.get(number or 0, f"it cannot be opened ({_reason(error) if error else 'nothing came'})")
        return LiveStreamError(f"{address.public}: {advice}")
    reason = "nothing came" if error is None else _reason(error)
    if reason in ("Immediate exit requested", "ExitError"):
        return LiveStreamError(
            f"{address.public}: nothing came within {wait:g} s; is the address right, and the camera on?"
        )
    hint = (
        "give the address of the stream itself; pages of video sites are fetched by tools.collect"
        if address.url.startswith("http")
        else "is the address right, and user and password?"
        if address.kind == "stream"
        else "send a stream with a header, such as Matroska, MPEG-TS or FLV"
        if address.kind == "pipe"
        else "is it a video?"
    )
    return LiveStreamError(f"{address.public}: cannot be opened ({reason}); {hint}")
