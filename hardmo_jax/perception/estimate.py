"""The whole estimator: a picture in, the people in it out, with body, feet and hands in one layout.

It looks at the whole picture and at overlapping parts of it for people, lets the landmark model look at
each find, plain and mirrored, until its crop is steady and then from nearby crops (disagreement lowers the
confidence), drops people that were found twice, and looks for the hands. Everything runs on the CPU and is
deterministic. 3D points come from the models' world landmarks: true in proportion, metric only for people of
ordinary size.
"""

import dataclasses
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, get_args

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.perception import (
    assembled_people,
    crops,
    detect_blazepose,
    detect_onnx,
    found_bodies,
    keypoints_blazepose,
    keypoints_hand,
)
from hardmo_jax.perception import track as tracking
from hardmo_jax.perception.estimate_top_down import TopDownEstimator
from hardmo_jax.perception.found_bodies import FoundBody
from hardmo_jax.perception.keypoints_onnx import OnnxKeypointModel
from hardmo_jax.perception.people import PersonKeypoints, PixelSource
from hardmo_jax.skeleton import layouts

_BODY = keypoints_blazepose.LAYOUT

#: Spread of the looks at which confidence has fallen to 0.6: as part of the body crop, and in metres.
_SPREAD_WIDTH = 0.018
_SPREAD_WIDTH_3D = 0.08
#: Crops near the steady one for further looks: (scale, turn in radians, shift, mirrored).
_NEARBY_LOOKS = ((0.95, 0.1, 0.03, False), (0.95, -0.1, -0.03, True), (1.08, -0.1, 0.0, False), (1.08, 0.1, 0.0, True))
#: Trust in the points that a single look saw and no other confirmed.
_LONE_LOOK_TRUST = 0.6
#: A find is given up when neither look reaches this score.
_HOPELESS_SCORE = 0.1
#: Crops tried until one is steady.
_MAX_STEPS = 3
#: Starts for a cluster of detections of which the best is at least so sure.
_MAX_TRIES, _SURE_DETECTION = 3, 0.5
#: A crop that moves, turns or grows by less than this is steady.
_STEADY_SHIFT, _STEADY_ANGLE, _STEADY_GROWTH = 0.04, math.radians(8.0), 1.08
#: Frames for which a person who was lost is not found again upside down by an unsure look.
_REMEMBERED = 10
Detector = Literal["blazepose", "onnx"]
TURN_CHOICES = ("never", "when_empty", "always")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PerceptionOptions:
    """How thoroughly pictures are looked at, and what is believed."""

    detector: Detector = "blazepose"
    """Who finds people: the packaged BlazePose detector, or a detector of boxes in a file of your own."""
    detector_file: str | None = None
    """Of `onnx`: an RTMDet or YOLO file, see `detect_onnx`."""
    keypoints_file: str | None = None
    """A top-down keypoint model in place of the packaged BlazePose models, see `keypoints_onnx`; it wants the detector
    `onnx`."""
    keypoints_layout: str | None = None
    """Of its points; None takes COCO's of as many points."""
    tiles: tuple[float, ...] = (1.35, 2.0, 2.5)
    """Scales of the search beside the whole picture: squares that side by side fill its longer side. A detector of
    boxes looks at the whole picture alone."""
    tile_overlap: float = 0.4
    """Least part of a square that its neighbour covers too."""
    overhang: float = 0.45
    """Part of a square by which the outer ones reach over the edge of the picture."""
    turned: str = "when_empty"
    """Whether the search is repeated on the picture turned by 90, 180 and 270 degrees (people upside down)."""
    min_detector_score: float = 0.3
    """Score below which a find is not looked at."""
    min_score: float = 0.35
    """Score below which a person is dropped."""
    min_confident_points: int = 4
    """Body points of confidence 0.5 below which a person is dropped."""
    max_people: int = 32
    """People a picture; the best are kept."""
    extra_looks: int = 2
    """Looks at a person beyond the plain and the mirrored one: steadier points and honester confidence for one
    more run of the model each."""
    hands: bool = True
    """Look for the fingers."""
    hand: keypoints_hand.HandOptions = dataclasses.field(default_factory=keypoints_hand.HandOptions)
    """When a hand is believed."""
    detect_every: int = 10
    """In video, frames between two searches; in between people are followed."""
    num_threads: int = 2
    """Threads of one model run."""

    def __post_init__(self) -> None:
        if self.detector not in get_args(Detector):
            raise ValueError(f"`detector` must be one of {', '.join(get_args(Detector))}, got {self.detector!r}")
        if (self.detector_file is None) != (self.detector == "blazepose"):
            raise ValueError(
                "`detector_file` is the file of the detector `onnx`, which has none of its own: give both, as in "
                "--config.perception.detector=onnx --config.perception.detector_file=rtmdet.onnx, or neither"
            )
        if self.keypoints_file is not None and self.detector != "onnx":
            raise ValueError(
                "`keypoints_file` looks for points in boxes: give a detector of boxes too, as in "
                "--config.perception.detector=onnx --config.perception.detector_file=rtmdet.onnx"
            )
        if self.turned not in TURN_CHOICES:
            raise ValueError(f"`turned` must be one of {', '.join(TURN_CHOICES)}, got {self.turned!r}")
        if any(not 1 <= tiles <= 16 for tiles in self.tiles):
            raise ValueError(f"`tiles` must hold numbers from 1 to 16, got {self.tiles}")
        if not 0 <= self.tile_overlap <= 0.9:
            raise ValueError(f"`tile_overlap` must be in [0, 0.9], got {self.tile_overlap}")
        if not 0 <= self.extra_looks <= len(_NEARBY_LOOKS):
            raise ValueError(f"`extra_looks` must be in [0, {len(_NEARBY_LOOKS)}], got {self.extra_looks}")
        if not 0 <= self.overhang <= 0.45:
            raise ValueError(f"`overhang` must be in [0, 0.45], got {self.overhang}")
        for name in ("max_people", "detect_every", "num_threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}")


class Estimator(PixelSource):
    """People of pictures and videos. Not safe to call from two threads at once."""

    def __init__(self, folder: str | os.PathLike[str], options: PerceptionOptions) -> None:
        """Load the models; see `load_estimator`."""
        self.options = options
        self.source = "blazepose"
        self._boxes: detect_onnx.OnnxPersonDetector | None = None
        if options.detector_file is not None:
            self._boxes = detect_onnx.OnnxPersonDetector(options.detector_file, num_threads=options.num_threads)
        self._detect = detect_blazepose.PersonDetector(folder, num_threads=options.num_threads)
        self._landmark = keypoints_blazepose.BodyLandmarker(folder, num_threads=options.num_threads)
        self._hand = keypoints_hand.HandLandmarker(folder, num_threads=options.num_threads) if options.hands else None

    def __call__(self, image: np.ndarray) -> list[PersonKeypoints]:
        """People of one picture.

        Args:
            image: RGB, uint8, (H, W, 3).

        Returns:
            People, best first; empty if there is nobody.

        Raises:
            ValueError: If the image is not such an array.
        """
        pyramid = crops.ImagePyramid(image)
        return self._assembled(pyramid, self._distinct(self._search(pyramid, ())))

    def track(
        self, frames: Iterable[np.ndarray], options: tracking.TrackOptions | None = None
    ) -> Iterator[list[PersonKeypoints]]:
        """People of a video, followed from frame to frame.

        Between two searches the crop of a person is taken from the previous frame; a search is made at once
        when somebody was lost.

        Args:
            frames: RGB pictures in order of time.
            options: When two sightings are one person.

        Yields:
            People of each frame with `track_id` set.
        """
        tracker = tracking.Tracker(options)
        followed: list[FoundBody] = []
        lost: list[tuple[int, FoundBody]] = []
        for index, image in enumerate(frames):
            pyramid = crops.ImagePyramid(image)
            looks = [self._look(pyramid, body.landmarks.next_region, None) for body in followed]
            kept = [look for look in looks if look is not None]
            lost = [(since, body) for since, body in lost if index - since <= _REMEMBERED]
            lost += [(index, body) for body, look in zip(followed, looks, strict=True) if look is None]
            if index % self.options.detect_every == 0 or len(kept) < len(looks) or not kept:
                found = self._search(pyramid, kept)[len(kept) :]
                kept += found_bodies.without_ghosts(found, [body for _, body in lost])
            followed = self._distinct(kept)
            yield tracker.step(self._assembled(pyramid, followed))

    def _search(self, pyramid: crops.ImagePyramid, known: Sequence[FoundBody]) -> list[FoundBody]:
        """Bodies of a picture, those already known among them."""
        if self._boxes is not None:
            return [*known, *self._bodies_of_boxes(self._boxes, pyramid, known)]
        upright = [pyramid.whole]
        for tiles in self.options.tiles:
            upright += detect_blazepose.look_regions(
                pyramid, tiles=tiles, tile_overlap=self.options.tile_overlap, overhang=self.options.overhang
            )
        turned = [
            dataclasses.replace(region, angle=0.5 * math.pi * quarter) for quarter in (1, 2, 3) for region in upright
        ]
        regions = upright + turned if self.options.turned == "always" else upright
        bodies = [*known, *self._bodies(pyramid, regions, known)]
        if not bodies and self.options.turned == "when_empty":
            bodies = self._bodies(pyramid, turned, known)
        return bodies

    def _bodies_of_boxes(
        self, detector: detect_onnx.OnnxPersonDetector, pyramid: crops.ImagePyramid, known: Sequence[FoundBody]
    ) -> list[FoundBody]:
        """Bodies in the boxes of a detector: upright, else turned by quarters if that is asked for."""
        turns = (0,) if self.options.turned == "never" else (0, 1, 2, 3)
        bodies: list[FoundBody] = []
        for box in detector(pyramid.image, min_score=self.options.min_detector_score)[: 2 * self.options.max_people]:
            seen = (*known, *bodies)
            for quarter in turns:
                body = self._look(pyramid, box.region(quarter), box.bbox, seen)
                if body is not None:
                    bodies.append(dataclasses.replace(body, best_detection=box.score))
                    break
        return bodies

    def _bodies(
        self, pyramid: crops.ImagePyramid, regions: Sequence[crops.SquareRegion], known: Sequence[FoundBody]
    ) -> list[FoundBody]:
        found = [
            detection
            for region in regions
            for detection in self._detect(pyramid, region, min_score=self.options.min_detector_score)
        ]
        bodies: list[FoundBody] = []
        looks = 0
        for cluster in detect_blazepose.cluster_detections(found):
            # A sure find that comes to nothing is worth another start: where the crop ends up depends on it.
            tries = _MAX_TRIES if cluster[0].score >= _SURE_DETECTION else 1
            for detection in cluster[:tries]:
                region, seen = detection.region(), (*known, *bodies)
                # Bounded: a picture made to provoke finds must not cost more than so many looks.
                if looks >= 4 * self.options.max_people or any(
                    detect_blazepose.same_body(region, body.landmarks.next_region, tolerance=0.1) for body in seen
                ):
                    break
                looks += 1
                body = self._look(pyramid, region, detection.bbox, seen)
                if body is not None:
                    bodies.append(body)
                    break
        voted = found_bodies.with_support(found_bodies.drop_duplicates([*known, *bodies]), found)
        return [
            body
            for body in found_bodies.drop_duplicates(voted)
            if found_bodies.is_supported(body, len(regions))
            and not any(body.landmarks is other.landmarks for other in known)
        ]

    def _look(
        self,
        pyramid: crops.ImagePyramid,
        region: crops.SquareRegion,
        detector_bbox: Float[np.ndarray, "4"] | None,
        seen: Sequence[FoundBody] = (),
    ) -> FoundBody | None:
        """Look at a region until the crop is steady, then from nearby crops; None if nobody new is there."""
        looks: list[keypoints_blazepose.BodyLandmarks] = []
        for _ in range(_MAX_STEPS):
            if not 1.0 <= region.size <= 20.0 * max(pyramid.height, pyramid.width):
                return None
            looks = [self._landmark(pyramid, region, mirror=mirror) for mirror in (False, True)]
            best = max(looks, key=lambda look: look.score)
            if best.score < _HOPELESS_SCORE or any(
                detect_blazepose.same_body(best.next_region, other.landmarks.next_region, tolerance=0.1)
                for other in seen
            ):
                return None
            if _is_steady(region, best.next_region):
                break
            region = best.next_region
        region = looks[0].region
        for scale, angle, shift, mirror in _NEARBY_LOOKS[: self.options.extra_looks]:
            nearby = region.shifted(shift, 0.0).scaled(scale)
            nearby = dataclasses.replace(nearby, angle=region.angle + angle)
            looks.append(self._landmark(pyramid, nearby, mirror=mirror))
        return self._agreed(pyramid, looks, detector_bbox)

    def _agreed(
        self,
        pyramid: crops.ImagePyramid,
        looks: Sequence[keypoints_blazepose.BodyLandmarks],
        detector_bbox: Float[np.ndarray, "4"] | None,
    ) -> FoundBody | None:
        """What several looks at one person agree on; None if that is too little."""
        region = looks[0].region
        # The better half: of a person cut by the edge or seen from behind, half of the looks often see nothing.
        score = float(np.mean(sorted((look.score for look in looks), reverse=True)[: (len(looks) + 1) // 2]))
        # A look that sees nobody has nothing to say about where the joints are.
        seeing = [look for look in looks if look.score >= 0.5 * max(other.score for other in looks)]
        points = np.stack([look.keypoints_2d for look in seeing]).astype(np.float64)
        world = np.stack([look.keypoints_3d for look in seeing]).astype(np.float64)
        if not (np.isfinite(points).all() and np.isfinite(world).all()):
            return None
        middle, middle_3d = np.median(points, axis=0), np.median(world, axis=0)
        spread = np.sqrt(((points - middle) ** 2).sum(axis=-1).mean(axis=0)) / region.size
        spread_3d = np.sqrt(((world - middle_3d) ** 2).sum(axis=-1).mean(axis=0))
        seen = score * np.mean([look.visibility * look.presence for look in seeing], axis=0)
        if len(seeing) == 1:
            seen = _LONE_LOOK_TRUST * seen
        inside = assembled_people.inside_confidence(
            middle, pyramid.width, pyramid.height, strip=assembled_people.EDGE_STRIP * region.size
        )
        trust = np.minimum(seen, inside)
        confidence = trust * np.exp(-0.5 * (spread / _SPREAD_WIDTH) ** 2)
        confidence_3d = trust * np.exp(-0.5 * (spread_3d / _SPREAD_WIDTH_3D) ** 2)
        core = [_BODY.index(point) for point in (*found_bodies.CORE_POINTS, "nose")]
        if score < self.options.min_score or (confidence[core] >= 0.5).sum() < self.options.min_confident_points:
            return None
        steadiest = max(looks[:2], key=lambda look: look.score)
        return FoundBody(
            landmarks=dataclasses.replace(
                steadiest,
                keypoints_2d=middle.astype(np.float32),
                keypoints_3d=middle_3d.astype(np.float32),
                score=score,
            ),
            confidence=confidence.astype(np.float32),
            confidence_3d=confidence_3d.astype(np.float32),
            detector_bbox=assembled_people.clip_box(
                _square_box(region) if detector_bbox is None else detector_bbox, pyramid.width, pyramid.height
            ),
            support=math.inf,
            best_detection=1.0,
        )

    def _distinct(self, bodies: Sequence[FoundBody]) -> list[FoundBody]:
        """The best bodies, each once."""
        return found_bodies.drop_duplicates(bodies)[: self.options.max_people]

    def _assembled(self, pyramid: crops.ImagePyramid, bodies: Sequence[FoundBody]) -> list[PersonKeypoints]:
        """Add hands, and put everything into the output layout."""
        people = []
        for body in bodies:
            hands = {}
            if self._hand is not None:
                for side in layouts.SIDES:
                    hint = assembled_people.hand_hint(body.landmarks, body.confidence, side)
                    hands[side] = None if hint is None else self._hand(pyramid, hint, self.options.hand)
            people.append(assembled_people.assembled(pyramid, body, hands))
        return people


def load_estimator(
    folder: str | os.PathLike[str], options: PerceptionOptions | None = None
) -> Estimator | TopDownEstimator:
    """Load the perception that options ask for.

    Args:
        folder: Folder of the packaged model files; `model_files.default_model_folder()` is where
            `python -m tools.fetch_models` puts them.
        options: Who looks, and how thoroughly.

    Returns:
        Estimator to call with pictures.

    Raises:
        FileNotFoundError: If a model file is missing.
        ImportError: If `ai-edge-litert` or `onnxruntime` is not installed.
        hardmo_jax.perception.onnx_model.OnnxModelError: If a file is no model of its kind.
    """
    options = options or PerceptionOptions()
    if options.keypoints_file is None or options.detector_file is None:
        return Estimator(folder, options)
    return TopDownEstimator(
        detect_onnx.OnnxPersonDetector(options.detector_file, num_threads=options.num_threads),
        OnnxKeypointModel(
            options.keypoints_file, layout=options.keypoints_layout, mirrored_too=options.extra_looks > 0,
            num_threads=options.num_threads,
        ),
        min_detector_score=options.min_detector_score,
        min_confident_points=options.min_confident_points,
        max_people=options.max_people,
        detect_every=options.detect_every,
    )  # fmt: skip


def _is_steady(before: crops.SquareRegion, after: crops.SquareRegion) -> bool:
    turn = abs(math.remainder(after.angle - before.angle, 2.0 * math.pi))
    growth = max(after.size, 1e-6) / max(before.size, 1e-6)
    return (
        math.dist(before.center, after.center) < _STEADY_SHIFT * before.size
        and turn < _STEADY_ANGLE
        and 1.0 / _STEADY_GROWTH < growth < _STEADY_GROWTH
    )


def _square_box(region: crops.SquareRegion) -> Float[np.ndarray, "4"]:
    corners = region.to_image(np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]))
    return np.concatenate([corners.min(axis=0), corners.max(axis=0)])
