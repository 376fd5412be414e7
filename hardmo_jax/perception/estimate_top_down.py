"""People by a detector of boxes and a keypoint model in ONNX files: boxes, then the points of the people in them.

In videos people are followed by the box of their own points from frame to frame, and looked for again every few frames
and whenever somebody was lost. There are no 3D points: the fit rests on the picture alone.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.perception import anchors
from hardmo_jax.perception import track as tracking
from hardmo_jax.perception.assembled_people import clip_box
from hardmo_jax.perception.detect_onnx import OnnxPersonDetector, PersonBox
from hardmo_jax.perception.keypoint_files import MIDDLE_SOURCES
from hardmo_jax.perception.keypoints_onnx import BoxKeypoints, OnnxKeypointModel
from hardmo_jax.perception.people import LAYOUT_NAME, PersonKeypoints, PixelSource
from hardmo_jax.skeleton import layouts

#: Points that make the box of a person.
_TRUSTED = 0.3
#: Boxes that overlap more are one person.
_MAX_IOU = 0.7


class TopDownEstimator(PixelSource):
    """People of pictures and videos. Not safe to call from two threads at once."""

    def __init__(
        self,
        detector: OnnxPersonDetector,
        keypoints: OnnxKeypointModel,
        *,
        min_detector_score: float,
        min_confident_points: int,
        max_people: int,
        detect_every: int,
    ) -> None:
        """Put the two models together.

        Args:
            detector: Finds boxes.
            keypoints: Finds points in them.
            min_detector_score: Of boxes.
            min_confident_points: Body points of confidence 0.5 below which a person is dropped.
            max_people: Of a picture; the best are kept.
            detect_every: Frames of a video between two searches.
        """
        self.source = f"onnx:{keypoints.name}"
        self._detector, self._keypoints = detector, keypoints
        self._min_detector_score, self._min_confident_points = min_detector_score, min_confident_points
        self._max_people, self._detect_every = max_people, detect_every
        ours, theirs = layouts.get_layout(LAYOUT_NAME), keypoints.layout
        self._sources = [
            tuple(theirs.index(name) for name in names) if all(name in theirs.points for name in names) else ()
            for point in ours.points
            for names in [(point,) if point in theirs.points else MIDDLE_SOURCES.get(point, (point,))]
        ]
        self._is_body = np.array([layouts.part_of(point) == "body" for point in ours.points])

    def __call__(self, image: np.ndarray) -> list[PersonKeypoints]:
        """People of one picture, best first.

        Args:
            image: RGB, uint8, (H, W, 3).
        """
        return self._people(image, self._search(image))

    def track(
        self, frames: Iterable[np.ndarray], options: tracking.TrackOptions | None = None
    ) -> Iterator[list[PersonKeypoints]]:
        """People of a video, followed from frame to frame.

        Args:
            frames: RGB pictures in order of time.
            options: When two sightings are one person.

        Yields:
            People of each frame with `track_id` set.
        """
        tracker = tracking.Tracker(options)
        followed: list[PersonBox] = []
        for index, image in enumerate(frames):
            people = self._people(image, followed)
            if index % self._detect_every == 0 or len(people) < len(followed) or not people:
                people = self._people(image, self._search(image))
            yield tracker.step(people)
            followed = [PersonBox(bbox=person.bbox, score=person.score) for person in people]

    def _search(self, image: np.ndarray) -> list[PersonBox]:
        return self._detector(image, min_score=self._min_detector_score)[: self._max_people]

    def _people(self, image: np.ndarray, boxes: Sequence[PersonBox]) -> list[PersonKeypoints]:
        if not boxes:
            return []
        found = self._keypoints(image, [box.bbox for box in boxes])
        people = [self._person(image, box, points) for box, points in zip(boxes, found, strict=True)]
        kept: list[PersonKeypoints] = []
        for person in people:
            if person is None:
                continue
            others = np.stack([one.bbox for one in kept]) if kept else np.zeros((0, 4))
            if not len(others) or anchors.box_iou(person.bbox, others).max() <= _MAX_IOU:
                kept.append(person)
        return kept

    def _person(self, image: np.ndarray, box: PersonBox, found: BoxKeypoints) -> PersonKeypoints | None:
        """A person in the layout of perception; None if too little is sure."""
        points, confidence = np.zeros((len(self._sources), 2), np.float32), np.zeros(len(self._sources), np.float32)
        for place, sources in enumerate(self._sources):
            if sources:
                points[place] = found.keypoints_2d[list(sources)].mean(0)
                confidence[place] = found.confidence[list(sources)].min()
        is_trusted = confidence >= _TRUSTED
        if (confidence[self._is_body] >= 0.5).sum() < self._min_confident_points or not is_trusted.any():
            return None
        height, width = image.shape[:2]
        bbox = clip_box(_bounds(points[is_trusted]), width, height)
        return PersonKeypoints(
            keypoints_2d=points,
            confidence=confidence,
            keypoints_3d=np.zeros((len(points), 3), np.float32),
            confidence_3d=np.zeros(len(points), np.float32),
            bbox=bbox,
            detector_bbox=box.bbox,
            score=box.score,
            region=box.region(),
        )


def _bounds(points: Float[np.ndarray, "N 2"]) -> Float[np.ndarray, "4"]:
    return np.concatenate([points.min(axis=0), points.max(axis=0)])
