"""Live video: keypoints of every frame that there is time for, bodies a moment later, and a recording of all frames.

What is shown live depends on how fast the machine is and what else it does. So it is not what is kept: the recording
is, and the labels that `annotate` makes of it when the session is over are the same whenever they are made again.
"""

import collections
import dataclasses
import json
import math
import os
import pathlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from hardmo_jax.body.model import BodyModel
from hardmo_jax.labels import provenance
from hardmo_jax.perception import load_source, video
from hardmo_jax.perception.live_address import LiveAddress, LiveStreamError
from hardmo_jax.perception.live_stream import LiveCapture, LiveFrame
from hardmo_jax.perception.people import PeopleSource
from hardmo_jax.perception.source_options import PerceptionOptions
from hardmo_jax.pipelines.annotate import AnnotateOptions, AnnotateSummary, Progress, annotate
from hardmo_jax.pipelines.annotate_options import load_body_option
from hardmo_jax.pipelines.live_fits import LiveFits, check_live_fits
from hardmo_jax.pipelines.output_folders import OutputFolderError, check_output_folder
from hardmo_jax.pipelines.perceiving import sightings_of_people
from hardmo_jax.pipelines.sightings import Picture, Sighting

#: What a session leaves.
RECORDING_NAME, ROWS_NAME, RECORD_NAME, LABELS_NAME = "recording.mkv", "live.jsonl", "live.json", "labels"
#: Frames between two searches for people: more often than in a file, in seconds, as a lost person must come back soon.
_DETECT_EVERY = 15
#: Seconds over which the rate is told, and between two tellings.
_RATE_OVER, _TELL_EVERY = 2.0, 0.5
#: Decimals of pixels and confidences in rows.
_PIXEL_DECIMALS, _CONFIDENCE_DECIMALS = 2, 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class LiveOptions:
    """What is done while a stream runs, and after it."""

    fits: bool = True
    """Fit bodies while the stream runs."""
    window_frames: int = 24
    """Newest frames that are fitted together; each fit tells the pose in the last one."""
    relabel: bool = True
    """Label the recording afterwards."""
    stall_seconds: float = 10.0
    """Time without anything after which a stream counts as ended."""

    def __post_init__(self) -> None:
        check_live_fits(self.window_frames)
        if not (0 < self.stall_seconds < math.inf):
            raise LiveStreamError(f"the time of a stall must be positive, got {self.stall_seconds} s")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LiveState:
    """How it goes, as it is told now and then."""

    seconds: float
    """Of the stream."""
    num_captured: int
    """Frames that came, all of which are recorded."""
    num_labelled: int
    """Frames whose people are known."""
    num_people: int
    """In the newest of these."""
    frames_per_second: float
    """Of labelling, over the last two seconds."""
    delay_seconds: float
    """From when the newest labelled frame came until its people were known."""
    fit_behind_seconds: float | None
    """The same until bodies were known; None before the first."""
    rows: tuple[str, ...] = ()
    """Where each person is, for people to read."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LiveSummary:
    """What became of a session."""

    recording: pathlib.Path
    ended_because: str
    num_captured: int
    num_labelled: int
    frames_per_second: float
    delay_seconds: float | None
    """Median, from frame to keypoints."""
    fit_behind_seconds: float | None
    """Median, from frame to bodies."""
    num_fits: int
    warnings: tuple[str, ...]
    labels: AnnotateSummary | None
    """Of the recording; None if it was not labelled."""


def live_perception(options: PerceptionOptions) -> PerceptionOptions:
    """Options with which people are looked for while a stream runs: two looks at each, no search in tiles.

    Args:
        options: Of the job, which the recording is labelled with.

    Raises:
        LiveStreamError: If keypoints come from files.
    """
    if options.detector == "files":
        raise LiveStreamError("keypoints of a stream cannot come from files; leave perception.detector=files out")
    return dataclasses.replace(
        options, extra_looks=0, tiles=(), turned="never", detect_every=max(options.detect_every, _DETECT_EVERY)
    )


def annotate_live(
    address: LiveAddress,
    output_folder: str | os.PathLike[str],
    *,
    options: AnnotateOptions,
    live: LiveOptions | None = None,
    model_folder: str | os.PathLike[str],
    command: tuple[str, ...] = (),
    begun: Callable[[], None] = lambda: None,
    tell: Callable[[LiveState], None] = lambda state: None,
    ended: Callable[[str], None] = lambda why: None,
    progress: Progress | None = None,
) -> LiveSummary:
    """Look at a stream until it ends or Ctrl-C, record it, and label the recording.

    Args:
        address: Where from.
        output_folder: Gets `recording.mkv`, `live.jsonl` (rows as they come), `live.json`, and the folder `labels`.
        options: Of the labels. `limit_frames` and `frames.end_seconds` end the recording, too.
        live: What is done while it runs.
        model_folder: Where the packaged perception models are.
        command: Command line, for the records; without passwords.
        begun: Called when everything is loaded and the first frame may come.
        tell: Called twice a second.
        ended: Told why it is over, before the recording is labelled.
        progress: Of labelling the recording.

    Raises:
        OutputFolderError: If the folder holds the recording of an earlier session or something foreign.
        LiveStreamError: If nothing comes, the recording cannot be written, or no frame came. What came is kept.
    """
    live = live or LiveOptions()
    output = pathlib.Path(output_folder)
    present = check_output_folder(
        output, pathlib.Path(address.url or os.devnull), (RECORDING_NAME, ROWS_NAME, LABELS_NAME, RECORD_NAME),
        job="live", source_lies=f"the input {address.public} lies",
    )  # fmt: skip
    if present:
        raise OutputFolderError(
            f"{output} holds an earlier session, whose recording cannot be made again; give another --output_dir, or "
            f"label that one: --input={output / RECORDING_NAME} --output_dir={output / LABELS_NAME}"
        )
    record = provenance.RunRecord(
        config={**dataclasses.asdict(options), "live": dataclasses.asdict(live)}, command=command
    )
    # All that takes time is done before the first frame comes.
    source = load_source.load_source(model_folder, live_perception(options.perception))
    body = load_body_option(options.body)
    output.mkdir(parents=True, exist_ok=True)
    try:
        session = _Session(address, output, source, body, options, live, begun, tell)
        session.run()
    finally:
        if not any(output.iterdir()):
            output.rmdir()
    capture = session.capture
    ended(capture.ended_because)
    warnings = [*session.warnings, *([str(capture.error)] if capture.error else [])]
    summary = LiveSummary(
        recording=output / RECORDING_NAME,
        ended_because=capture.ended_because,
        num_captured=capture.num_frames,
        num_labelled=session.num_labelled,
        frames_per_second=session.num_labelled / max(session.seconds, 1e-3),
        delay_seconds=_median(session.delays),
        fit_behind_seconds=_median(session.behind),
        num_fits=session.num_fits,
        warnings=tuple(warnings),
        labels=None,
    )
    _write_record(record, output, address, session, summary)
    if capture.num_frames == 0:
        raise capture.error or LiveStreamError(f"{address.public}: it ended before its first frame")
    if not live.relabel:
        return summary
    labels = annotate(
        output / RECORDING_NAME, output / LABELS_NAME, options=options, model_folder=model_folder, command=command,
        progress=progress,
    )  # fmt: skip
    return dataclasses.replace(summary, labels=labels)


def _median(values: list[float]) -> float | None:
    return float(np.median(values)) if values else None


def _write_record(
    record: provenance.RunRecord,
    output: pathlib.Path,
    address: LiveAddress,
    session: "_Session",
    summary: LiveSummary,
) -> None:
    capture = session.capture
    record.add("source", address.public)
    record.add("keypoint_source", session.source_name)
    record.add("codec", capture.codec)
    record.add("recorded", "as it came" if capture.is_copied else "anew, without loss")
    record.add("damaged_packets", capture.num_damaged)
    record.add("stored_size", capture.size)
    if summary.recording.is_file():
        record.add("recording_sha256", provenance.file_sha256(summary.recording))
    told = {"ended_because", "num_captured", "num_labelled", "frames_per_second", "delay_seconds",
            "fit_behind_seconds", "num_fits", "warnings"}  # fmt: skip
    for name in sorted(told):
        record.add(name, getattr(summary, name))
    delays = session.delays
    record.add("delay_seconds_of_95_percent", float(np.percentile(delays, 95)) if delays else None)
    record.write(output / RECORD_NAME)


class _Session:
    """The part that runs while frames come."""

    def __init__(
        self,
        address: LiveAddress,
        output: pathlib.Path,
        source: PeopleSource,
        body: BodyModel,
        options: AnnotateOptions,
        live: LiveOptions,
        begun: Callable[[], None],
        tell: Callable[[LiveState], None],
    ) -> None:
        self.capture = LiveCapture(
            address,
            output / RECORDING_NAME,
            stall_seconds=live.stall_seconds,
            limit_frames=options.limit_frames,
            end_seconds=options.frames.end_seconds,
        )
        self._output, self._source, self._options = output, source, options
        self._begun, self._tell = begun, tell
        self._fits = LiveFits(body, options, live.window_frames, self._fitted) if live.fits else None
        self._rows: Any = None
        self._lock = threading.Lock()
        self.source_name = source.source
        self.num_labelled = 0
        self.num_fits = 0
        self.seconds = 0.0
        self.delays: list[float] = []
        self.behind: list[float] = []
        self.warnings: list[str] = []

    def run(self) -> None:
        """Until the stream is over, or Ctrl-C; then all files are closed."""
        if self._fits is not None:
            self._fits.load()
        with self.capture, (self._output / ROWS_NAME).open("x", encoding="utf-8", newline="\n") as self._rows:
            try:
                self._begun()
                self.capture.start()
                if self._fits is not None:
                    self._fits.start()
                self._look()
            except KeyboardInterrupt:
                self.capture.stop()
                self.capture.ended_because = "it was stopped by Ctrl-C"
            finally:
                self.capture.stop()
                if self._fits is not None:
                    self._fits.stop()
                    self.warnings += self._fits.warnings
        if self.capture.num_frames == 0:
            (self._output / ROWS_NAME).unlink()

    def _look(self) -> None:
        shown: collections.deque[tuple[LiveFrame, Picture, np.ndarray]] = collections.deque()
        path = self._output / RECORDING_NAME

        def frames() -> Iterator[video.Frame]:
            for position, frame in enumerate(self.capture.frames()):
                image = frame.image
                picture = Picture(
                    position=position, source_path=path, source_sha256="", frame_index=frame.number,
                    time_seconds=frame.time_seconds, width=image.shape[1], height=image.shape[0],
                )  # fmt: skip
                shown.append((frame, picture, image))
                yield video.Frame(
                    image=image, source_path=path, source_sha256="", frame_index=frame.number, position=position,
                    time_seconds=frame.time_seconds,
                )  # fmt: skip

        begun = told = time.monotonic()
        recent: collections.deque[float] = collections.deque()
        for people in self._source.people_of(frames(), is_video=True):
            frame, picture, image = shown.popleft()
            sightings = sightings_of_people(picture, image, people, self._source.source, self._options.quality)
            now = time.monotonic()
            self.num_labelled += 1
            self.seconds = now - begun
            self.delays.append(now - frame.came_at)
            self._write(_row_of_keypoints(picture, sightings, self.delays[-1]))
            if self._fits is not None:
                self._fits.offer(picture, sightings, frame.came_at)
            recent.append(now)
            while now - recent[0] > _RATE_OVER:
                recent.popleft()
            if now - told >= _TELL_EVERY:
                told = now
                span = max(min(now - begun, _RATE_OVER), 1e-3)
                self._tell(
                    LiveState(
                        seconds=frame.time_seconds,
                        num_captured=self.capture.num_frames,
                        num_labelled=self.num_labelled,
                        num_people=len(sightings),
                        frames_per_second=len(recent) / span,
                        delay_seconds=self.delays[-1],
                        fit_behind_seconds=self.behind[-1] if self.behind else None,
                        rows=tuple(map(_words, sightings)),
                    )
                )

    def _fitted(self, rows: list[dict[str, Any]], came_at: float) -> None:
        """Called by the thread of fits."""
        behind = time.monotonic() - came_at
        self.behind.append(behind)
        self.num_fits += 1
        for row in rows:
            self._write({**row, "behind_seconds": round(behind, 3)})

    def _write(self, row: dict[str, Any]) -> None:
        """A line, whole, that others can read at once."""
        with self._lock:
            if self._rows.closed:
                return
            self._rows.write(json.dumps(row, allow_nan=False) + "\n")
            self._rows.flush()


def _row_of_keypoints(picture: Picture, sightings: list[Sighting], delay: float) -> dict[str, Any]:
    people = []
    for one in sightings:
        known = np.where(np.isfinite(one.keypoints_2d).all(1), one.confidence, 0)
        points = np.where(known[:, None] > 0, one.keypoints_2d, 0)
        people.append(
            {
                "track_id": one.track_id,
                "bbox": [round(float(value), _PIXEL_DECIMALS) for value in one.bbox],
                "score": None if one.score is None else round(float(one.score), _CONFIDENCE_DECIMALS),
                "keypoints_2d": np.round(points.astype(float), _PIXEL_DECIMALS).tolist(),
                "confidence": np.round(known.astype(float), _CONFIDENCE_DECIMALS).tolist(),
            }
        )
    return {
        "kind": "keypoints",
        "frame": picture.frame_index,
        "time_seconds": picture.time_seconds,
        "delay_seconds": round(delay, 3),
        "image_size": [picture.width, picture.height],
        "people": people,
    }


def _words(sighting: Sighting) -> str:
    left, top, right, bottom = (round(float(value)) for value in sighting.bbox)
    sure = int((sighting.confidence >= 0.5).sum())
    return f"person {sighting.track_id} at ({(left + right) // 2}, {(top + bottom) // 2}), {sure} sure points"
