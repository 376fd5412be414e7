"""People by a detector of boxes and keypoints in them: those of a top-down model, or the detector's own (YOLO-pose).

In videos people are followed by the box of their own points from frame to frame, and looked for again every few frames
and whenever somebody was lost. A model without fingers may be given the packaged one for hands, which looks behind the
forearms. There are no 3D points of bodies: the fit rests on the picture alone.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.perception import anchors, crops, hand_hints, keypoints_hand
from hardmo_jax.perception import track as tracking
from hardmo_jax.perception.assembled_people import clip_box
from hardmo_jax.perception.keypoint_files import MIDDLE_SOURCES
from hardmo_jax.perception.keypoints_onnx import BoxKeypoints, OnnxKeypointModel
from hardmo_jax.perception.people import LAYOUT_NAME, PersonKeypoints, PixelSource
from hardmo_jax.perception.person_boxes import BoxDetector, PersonBox, grown_box
from hardmo_jax.perception.source_options import PerceptionOptions
from hardmo_jax.skeleton import layouts
from hardmo_jax.skeleton.layouts import KeypointLayout

_LAYOUT = layouts.get_layout(LAYOUT_NAME)
_COCO = layouts.get_layout("coco17")
#: Points that make the box of a person.
_TRUSTED = 0.3
#: The box of points is this much larger at each end: a detector's box holds the top of the head and the hands.
_BOX_MARGIN = 0.04
#: Boxes that overlap more are one person.
_MAX_IOU = 0.7


class TopDownEstimator(PixelSource):
    """People of pictures and videos. Not safe to call from two threads at once."""

    def __init__(
        self,
        detector: BoxDetector,
        keypoints: OnnxKeypointModel | None,
        options: PerceptionOptions,
        *,
        name: str,
        hands: keypoints_hand.HandLandmarker | None = None,
        make_tracker: Callable[[], tracking.PeopleTracker] = tracking.Tracker,
    ) -> None:
        """Put the models together.

        Args:
            detector: Finds boxes.
            keypoints: Finds points in them; None takes the detector's own.
            options: What is believed, and how often to look for people.
            name: What measures the keypoints, as labels say it.
            hands: Finds fingers, if the keypoints have none.
            make_tracker: Makes whoever follows the people of one video.
        """
        layout = _COCO if keypoints is None else keypoints.layout
        self._detector, self._keypoints, self._options = detector, keypoints, options
        self._hands = None if any(layouts.part_of(point) == "left_hand" for point in layout.points) else hands
        self.source = name if self._hands is None else f"{name}; hands: blazepose"
        self._make_tracker = make_tracker
        self._sources = sources_of_points(layout)
        self._is_body = np.array([layouts.part_of(point) == "body" for point in _LAYOUT.points])
        self._is_hand = np.array([(layouts.part_of(point) or "").endswith("hand") for point in _LAYOUT.points])

    def __call__(self, image: np.ndarray) -> list[PersonKeypoints]:
        """People of one picture, best first.

        Args:
            image: RGB, uint8, (H, W, 3).
        """
        return self._with_hands(image, self._people(image, self._search(image)))

    def track(self, frames: Iterable[np.ndarray]) -> Iterator[list[PersonKeypoints]]:
        """People of a video, followed from frame to frame.

        Args:
            frames: RGB pictures in order of time.

        Yields:
            People of each frame with `track_id` set.
        """
        tracker = self._make_tracker()
        followed: list[PersonBox] = []
        for index, image in enumerate(frames):
            people = self._people(image, followed)
            if index % self._options.detect_every == 0 or len(people) < len(followed) or not people:
                # Whoever is followed stays, also if the detector has lost sight of them.
                people = self._people(image, self._search(image), known=people)
            yield tracker.step(self._with_hands(image, people), image)
            # Points of the detector's own come with its boxes alone.
            followed = [] if self._keypoints is None else [_grown(person) for person in people]

    def _search(self, image: np.ndarray) -> list[PersonBox]:
        return self._detector(image, min_score=self._options.min_box_score)[: self._options.max_people]

    def _people(
        self, image: np.ndarray, boxes: Sequence[PersonBox], *, known: Sequence[PersonKeypoints] = ()
    ) -> list[PersonKeypoints]:
        """People in boxes, behind those who are known and without them."""
        found = points_in_boxes(image, boxes, self._keypoints)
        kept = list(known)
        for box, points in zip(boxes, found, strict=True):
            person = None if points is None else self._person(image, box, points)
            if person is None:
                continue
            others = np.stack([one.bbox for one in kept]) if kept else np.zeros((0, 4))
            if not len(others) or anchors.box_iou(person.bbox, others).max() <= _MAX_IOU:
                kept.append(person)
        return kept[: self._options.max_people]

    def _person(self, image: np.ndarray, box: PersonBox, found: BoxKeypoints) -> PersonKeypoints | None:
        """A person in the layout of perception; None if too little is sure."""
        points, confidence = in_layout_of_people(found, self._sources)
        if not self._options.hands:
            confidence = np.where(self._is_hand, 0, confidence).astype(np.float32)
        is_trusted = confidence >= _TRUSTED
        sure = (confidence[self._is_body] >= 0.5).sum()
        if sure < self._options.min_confident_points or not is_trusted.any():
            return None
        height, width = image.shape[:2]
        trusted = points[is_trusted]
        bbox = clip_box(np.concatenate([trusted.min(axis=0), trusted.max(axis=0)]), width, height)
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

    def _with_hands(self, image: np.ndarray, people: list[PersonKeypoints]) -> list[PersonKeypoints]:
        if self._hands is None or not people:
            return people
        pyramid = crops.ImagePyramid(image)
        return [with_fingers(pyramid, person, self._hands, self._options.hand) for person in people]


def points_in_boxes(
    image: np.ndarray, boxes: Sequence[PersonBox], keypoints: OnnxKeypointModel | None
) -> list[BoxKeypoints | None]:
    """Points of the people in boxes; None where there are none.

    Args:
        image: RGB, uint8, (H, W, 3).
        boxes: Of people.
        keypoints: Looks into them; None takes the points that came with the boxes.
    """
    if keypoints is not None:
        return list(keypoints(image, [box.bbox for box in boxes]))
    return [
        None
        if box.keypoints_2d is None or box.confidence is None
        else BoxKeypoints(keypoints_2d=box.keypoints_2d, confidence=box.confidence)
        for box in boxes
    ]


def sources_of_points(layout: KeypointLayout) -> tuple[tuple[int, ...], ...]:
    """Where the points of perception come from in another layout: itself, two that are averaged, or nowhere."""
    return tuple(
        tuple(layout.index(name) for name in names) if all(name in layout.points for name in names) else ()
        for point in _LAYOUT.points
        for names in [(point,) if point in layout.points else MIDDLE_SOURCES.get(point, (point,))]
    )


def in_layout_of_people(
    found: BoxKeypoints, sources: Sequence[tuple[int, ...]]
) -> tuple[Float[np.ndarray, "K 2"], Float[np.ndarray, "K"]]:
    """Points and confidence in the layout of perception; see `sources_of_points`."""
    points, confidence = np.zeros((len(sources), 2), np.float32), np.zeros(len(sources), np.float32)
    for place, own in enumerate(sources):
        if own:
            points[place] = found.keypoints_2d[list(own)].mean(0)
            confidence[place] = found.confidence[list(own)].min()
    return points, confidence


def with_fingers(
    pyramid: crops.ImagePyramid,
    person: PersonKeypoints,
    landmarker: keypoints_hand.HandLandmarker,
    options: keypoints_hand.HandOptions,
) -> PersonKeypoints:
    """A person with the hands that are found behind the forearms."""

    points, confidence = person.keypoints_2d.copy(), person.confidence.copy()
    for side in layouts.SIDES:
        hint = hand_hints.hand_hint_of_forearm(person.keypoints_2d, person.confidence, _LAYOUT, side)
        hand = None if hint is None else landmarker(pyramid, hint, options)
        if hand is not None:
            places = list(_LAYOUT.indices(layouts.get_layout(f"{side}_hand21").points))
            points[places], confidence[places] = hand.keypoints_2d, hand.confidence
    return dataclasses.replace(person, keypoints_2d=points, confidence=confidence)


def _grown(person: PersonKeypoints) -> PersonBox:
    """The box of a person in the next frame."""
    bbox = grown_box(person.bbox, _BOX_MARGIN)
    return PersonBox(bbox=bbox, score=1.0 if person.score is None else person.score)
