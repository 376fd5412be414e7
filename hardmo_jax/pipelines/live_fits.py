"""Bodies of people in live video: the newest frames of each fitted together, over and over, in a thread of its own."""

import collections
import dataclasses
import pathlib
import threading
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from hardmo_jax.body.model import BodyModel
from hardmo_jax.fitting.result import FitStatus
from hardmo_jax.observations import ObservationError
from hardmo_jax.perception.live_address import LiveStreamError
from hardmo_jax.pipelines.annotate_cameras import with_cameras
from hardmo_jax.pipelines.annotate_options import AnnotateOptions
from hardmo_jax.pipelines.annotate_tracks import SHORTEST, FittedTracks, fit_tracks, frame_rate
from hardmo_jax.pipelines.label_rows import name_of_body, pose_columns
from hardmo_jax.pipelines.sightings import Picture, Sighting
from hardmo_jax.pipelines.warm_up import somebody_at_rest
from hardmo_jax.recovery.recover_motion import SLOWEST

_MOST_FRAMES = 256
#: Frames a second that windows are fitted at, by the nearest: programs are built for each before the first frame.
#: A rate that is told wrong by a fifth moves bodies less than the next frame does.
_RATES = (7.0, 10.0, 14.0, 20.0, 28.0)
_DECIMALS = 5
#: Time without a fit after each, by how long that took.
_REST = 2.0
_LONGEST_WAIT = 0.2
_MOST_WARNINGS = 20


def check_live_fits(window_frames: int) -> None:
    """Refuse windows that cannot be fitted together.

    Raises:
        LiveStreamError: If so.
    """
    if not SHORTEST <= window_frames <= _MOST_FRAMES:
        raise LiveStreamError(f"live fits go over {SHORTEST} to {_MOST_FRAMES} frames at a time, got {window_frames}")


class LiveFits:
    """Fits the newest window whenever it is free; what came meanwhile is passed over."""

    def __init__(
        self,
        body: BodyModel,
        options: AnnotateOptions,
        window_frames: int,
        fitted: Callable[[list[dict[str, Any]], float], None],
    ) -> None:
        """Set up.

        Args:
            body: That is fitted.
            options: Of the labels.
            window_frames: Frames fitted together: always as many, so that one program serves all.
            fitted: Called in the thread with a row a person, and when the frame that they are of came.
        """
        self._body, self._options, self._count, self._fitted = body, options, window_frames, fitted
        self._window: collections.deque[tuple[Picture, list[Sighting]]] = collections.deque(maxlen=window_frames)
        self._news = threading.Condition()
        self._offer: tuple[list[tuple[Picture, list[Sighting]]], float] | None = None
        self._is_stopped = False
        self._thread: threading.Thread | None = None
        self.warnings: list[str] = []
        """What went wrong, each thing once."""

    def load(self) -> None:
        """Build the programs, which takes longer than a person waits before a camera."""
        take = somebody_at_rest(self._body, self._count, pathlib.Path("live.mkv"))
        # Sources that look at pixels tell points in space too, if only that they know none.
        people = [
            dataclasses.replace(
                one,
                keypoints_3d=np.zeros((len(one.confidence), 3), np.float32),
                confidence_3d=np.zeros_like(one.confidence),
            )
            for one in take.sightings
        ]
        for rate in _RATES:
            self._fit(take.pictures, people, rate)
        self._fit(take.pictures[-1:], people[-1:], None)

    def start(self) -> None:
        """Begin to fit what is offered."""
        self._thread = threading.Thread(target=self._work, name="live-fits", daemon=True)
        self._thread.start()

    def offer(self, picture: Picture, sightings: list[Sighting], came_at: float) -> None:
        """The people of the next frame.

        Args:
            picture: The frame.
            sightings: Who is in it.
            came_at: When it came, by `time.monotonic`.
        """
        self._window.append((picture, sightings))
        if len(self._window) == self._count and sightings:
            with self._news:
                self._offer = list(self._window), came_at
                self._news.notify()

    def stop(self) -> None:
        """End; a fit that is under way is waited for."""
        with self._news:
            self._is_stopped = True
            self._news.notify()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while True:
            with self._news:
                while self._offer is None and not self._is_stopped:
                    self._news.wait(_LONGEST_WAIT)
                if self._is_stopped:
                    return
                offer, self._offer = self._offer, None
            if offer is None:
                continue
            window, came_at = offer
            begun = time.monotonic()
            try:
                rows = self._rows(window)
            except Exception as error:  # whatever it is, keypoints and recording go on
                told = f"bodies of some frames could not be fitted live: {' '.join(str(error).split())}"
                if told not in self.warnings and len(self.warnings) < _MOST_WARNINGS:
                    self.warnings.append(told)
                continue
            if rows:
                self._fitted(rows, came_at)
            with self._news:
                # Keypoints and recording come first: bodies get this part of the time.
                resting_until = time.monotonic() + _REST * (time.monotonic() - begun)
                while not self._is_stopped and time.monotonic() < resting_until:
                    self._news.wait(max(resting_until - time.monotonic(), 0.001))

    def _rows(self, window: list[tuple[Picture, list[Sighting]]]) -> list[dict[str, Any]]:
        """Poses in the newest frame: of those who were seen in the first and last of the window together."""
        pictures = [picture for picture, _ in window]
        usual = frame_rate(pictures)
        if usual < SLOWEST:
            # Nobody can be followed: everybody in the newest frame by themselves.
            alone = [self._fit(pictures[-1:], [one], None) for one in window[-1][1]]
            return [row for tracks in alone for row in self._rows_of(tracks, pictures[-1])]
        first, last = ({one.track_id for one in window[at][1]} for at in (0, -1))
        sightings = [one for _, people in window for one in people if one.track_id in first & last]
        if not sightings:
            return []
        rate = min(_RATES, key=lambda rate: abs(np.log(rate / usual)))
        return self._rows_of(self._fit(pictures, sightings, rate), pictures[-1])

    def _rows_of(self, tracks: FittedTracks, newest: Picture) -> list[dict[str, Any]]:
        params = jax.tree.map(np.asarray, tracks.result.params)
        rows = []
        for at, one in enumerate(tracks.sightings):
            pose = jax.tree.map(lambda leaf, row=at: leaf[row], params)
            if one.picture.position != newest.position or not all(
                np.isfinite(leaf).all() for leaf in jax.tree.leaves(pose)
            ):
                continue
            columns = pose_columns(pose)
            rows.append(
                {
                    "kind": "smpl",
                    "frame": one.picture.frame_index,
                    "time_seconds": one.picture.time_seconds,
                    "track_id": one.track_id,
                    "status": FitStatus(int(tracks.result.status[at])).name,
                    "body_model": name_of_body(self._body),
                    "focal_length": [float(value) for value in np.asarray(one.picture.camera.focal_length)],
                    "principal_point": [float(value) for value in np.asarray(one.picture.camera.principal_point)],
                    **{
                        name: None if value is None else np.round(np.asarray(value, float), _DECIMALS).tolist()
                        for name, value in columns.items()
                    },
                }
            )
        return rows

    def _fit(self, pictures: list[Picture], sightings: list[Sighting], rate: float | None) -> FittedTracks:
        options = self._options
        pictures, sightings = with_cameras(
            pictures, sightings, self._body, dataclasses.replace(options.camera, source=_source_of(options)),
            is_video=True, record={}, warnings=[],
        )  # fmt: skip
        try:
            return fit_tracks(
                self._body, pictures, sightings, frames_per_second=rate, start=options.start, options=options.fit,
                motion=options.motion, report=lambda stage, done, total: None,
            )  # fmt: skip
        except ObservationError as error:
            raise LiveStreamError(f"{error}") from error


def _source_of(options: AnnotateOptions) -> Any:
    """A window is too short to solve the focal length from."""
    return "auto" if options.camera.source == "solve" else options.camera.source
