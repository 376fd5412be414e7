"""Who is who from frame to frame by ByteTrack or BoT-SORT of ultralytics, fed with our people; needs the extra `yolo`.

Both predict where a box will be, and so keep people apart who cross. Neither looks at what people look like.
"""

import dataclasses
import importlib.util
import types
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.array_types import Float
from hardmo_jax.missing_packages import MissingPackageError
from hardmo_jax.perception.people import PersonKeypoints
from hardmo_jax.perception.ultralytics_import import import_ultralytics

TrackerKind = Literal["bytetrack", "botsort"]
CameraMotion = Literal["none", "sparseOptFlow", "orb", "ecc"]
#: Of ultralytics' own settings of both.
_SURE_SCORE, _MAX_DISTANCE = 0.25, 0.8
#: The looser second look takes whoever the detector let through.
_LEAST_SCORE = 0.0


class UltralyticsTracker:
    """Gives numbers to people, one frame after the other; see `track.PeopleTracker`."""

    def __init__(
        self,
        kind: TrackerKind,
        frames_per_second: float,
        *,
        max_gap_seconds: float = 1.0,
        camera_motion: CameraMotion = "sparseOptFlow",
    ) -> None:
        """Start without anybody.

        Args:
            kind: ByteTrack, or BoT-SORT without appearance.
            frames_per_second: Of the video.
            max_gap_seconds: How long a person may be missing before the number is given up.
            camera_motion: How BoT-SORT measures the motion of the camera, which is what it has over ByteTrack; it
                needs the pictures. ByteTrack measures none.

        Raises:
            MissingPackageError: If ultralytics or lap is not installed.
            ValueError: If an option is out of range.
        """
        if kind not in ("bytetrack", "botsort") or not (frames_per_second > 0 and max_gap_seconds >= 0):
            raise ValueError(f"no such tracker: {kind!r}, {frames_per_second} frames/s, gap of {max_gap_seconds} s")
        if importlib.util.find_spec("lap") is None:
            # ultralytics would install it by itself.
            raise MissingPackageError("the trackers of ultralytics need lap; `pip install hardmo_jax[yolo]`")
        import_ultralytics()
        from ultralytics.trackers import bot_sort, byte_tracker

        options = types.SimpleNamespace(
            tracker_type=kind,
            track_high_thresh=_SURE_SCORE,
            track_low_thresh=_LEAST_SCORE,
            new_track_thresh=_SURE_SCORE,
            track_buffer=max(round(max_gap_seconds * frames_per_second), 1),
            match_thresh=_MAX_DISTANCE,
            fuse_score=True,
            gmc_method=camera_motion,
            proximity_thresh=0.5,
            appearance_thresh=0.8,
            with_reid=False,
            model="auto",
        )
        classes = {"bytetrack": byte_tracker.BYTETracker, "botsort": bot_sort.BOTSORT}
        self._tracker: Any = classes[kind](options)
        self._uses_image = kind == "botsort" and camera_motion != "none"
        self._numbers: dict[int, int] = {}
        self._next_number = 0

    def step(
        self, people: Sequence[PersonKeypoints], image: UInt8[np.ndarray, "H W 3"] | None = None
    ) -> list[PersonKeypoints]:
        """Number the people of the next frame.

        Somebody new whom the tracker does not confirm before it sees them again has a number from the first frame on,
        and keeps it. Only who is too uncertain for a track (score below 0.25) and continues none gets a fresh number in
        each frame; such short tracks are dropped later, see `track.lasting_tracks`.

        Args:
            people: People of one frame, in any order.
            image: RGB, for the motion of the camera; without it the camera is taken to stand still.

        Returns:
            The same people in the same order, with `track_id` set.
        """
        boxes = np.stack([person.bbox for person in people]) if people else np.zeros((0, 4))
        # Files of keypoints may tell no score: whom they name is there.
        scores = np.array([1.0 if person.score is None else person.score for person in people], np.float64)
        bgr = np.ascontiguousarray(image[..., ::-1]) if self._uses_image and image is not None else None
        self._tracker.update(_Detections(boxes.astype(np.float32), scores, np.arange(len(people))), bgr)
        numbers: list[int | None] = [None] * len(people)
        for track in self._tracker.tracked_stracks:
            if track.frame_id == self._tracker.frame_id:
                numbers[int(track.cls)] = self._number(int(track.track_id))
        return [
            dataclasses.replace(person, track_id=self._fresh() if number is None else number)
            for person, number in zip(people, numbers, strict=True)
        ]

    def _number(self, theirs: int) -> int:
        """Our number of one of their tracks; theirs start at 1 and leave numbers out."""
        if theirs not in self._numbers:
            self._numbers[theirs] = self._fresh()
        return self._numbers[theirs]

    def _fresh(self) -> int:
        self._next_number += 1
        return self._next_number - 1


class _Detections:
    """Boxes in the shape that the trackers ask for."""

    def __init__(self, xyxy: Float[np.ndarray, "N 4"], conf: Float[np.ndarray, "N"], cls: np.ndarray) -> None:
        self.xyxy, self.conf = xyxy, conf
        # No class: the tracks hand on the place of the person in the list, which they do not compare.
        self.cls = cls

    @property
    def xywh(self) -> Float[np.ndarray, "N 4"]:
        low, high = self.xyxy[:, :2], self.xyxy[:, 2:]
        # The aspect of a box is divided by its height.
        return np.concatenate([(low + high) / 2, np.maximum(high - low, 1.0)], axis=1)

    def __len__(self) -> int:
        return len(self.conf)

    def __getitem__(self, kept: np.ndarray) -> "_Detections":
        return _Detections(self.xyxy[kept], self.conf[kept], self.cls[kept])
