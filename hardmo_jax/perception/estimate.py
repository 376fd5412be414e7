"""The packaged estimator: a picture in, the people in it out, with body, feet and hands in one layout.

It looks at the whole picture and at overlapping parts of it for people, lets the landmark model look at
each find, plain and mirrored, until its crop is steady and then from nearby crops (disagreement lowers the
confidence), drops people that were found twice, and looks for the hands. Everything runs on the CPU and is
deterministic. 3D points come from the models' world landmarks: true in proportion, metric only for people of
ordinary size.
"""

import dataclasses
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.perception import (
    assembled_people,
    crops,
    detect_blazepose,
    found_bodies,
    hand_hints,
    keypoints_blazepose,
    keypoints_hand,
)
from hardmo_jax.perception import track as tracking
from hardmo_jax.perception.found_bodies import FoundBody
from hardmo_jax.perception.people import PersonKeypoints, PixelSource
from hardmo_jax.perception.person_boxes import BoxDetector
from hardmo_jax.perception.source_options import PerceptionOptions
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
#: Whoever was lost may come back at any moment: frames between two searches, and for how many after the last loss.
_SEARCH_EVERY, _SEARCH_FOR = 4, 50


class Estimator(PixelSource):
    """People of pictures and videos. Not safe to call from two threads at once."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        options: PerceptionOptions,
        *,
        boxes: BoxDetector | None = None,
        boxes_name: str | None = None,
        with_hands: bool = True,
        make_tracker: Callable[[], tracking.PeopleTracker] = tracking.Tracker,
    ) -> None:
        """Load the models.

        Args:
            folder: Of the packaged model files.
            options: How thoroughly to look.
            boxes: Finds people in place of the packaged detector.
            boxes_name: Its name, as labels say it.
            with_hands: Whether fingers are looked for, if the options want them.
            make_tracker: Makes whoever follows the people of one video.
        """
        self.options = options
        self.source = "blazepose" if boxes_name is None else f"blazepose, boxes: {boxes_name}"
        self._boxes = boxes
        self._make_tracker = make_tracker
        self._detect = detect_blazepose.PersonDetector(folder, num_threads=options.num_threads)
        self._landmark = keypoints_blazepose.BodyLandmarker(folder, num_threads=options.num_threads)
        self._hand: keypoints_hand.HandLandmarker | None = None
        if options.hands and with_hands:
            self._hand = keypoints_hand.HandLandmarker(folder, num_threads=options.num_threads)

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

    def track(self, frames: Iterable[np.ndarray]) -> Iterator[list[PersonKeypoints]]:
        """People of a video, followed from frame to frame.

        Between two searches the crop of a person is taken from the previous frame; a search is made at once
        when somebody was lost, and more often for two seconds after it.

        Args:
            frames: RGB pictures in order of time.

        Yields:
            People of each frame with `track_id` set.
        """
        tracker = self._make_tracker()
        followed: list[FoundBody] = []
        lost: list[tuple[int, FoundBody]] = []
        last_loss = -_SEARCH_FOR
        for index, image in enumerate(frames):
            pyramid = crops.ImagePyramid(image)
            looks = [self._look(pyramid, body.landmarks.next_region, None) for body in followed]
            kept = [look for look in looks if look is not None]
            lost = [(since, body) for since, body in lost if index - since <= _REMEMBERED]
            lost += [(index, body) for body, look in zip(followed, looks, strict=True) if look is None]
            last_loss = index if len(kept) < len(looks) else last_loss
            pause = self.options.detect_every
            if index - last_loss < _SEARCH_FOR:
                pause = min(pause, _SEARCH_EVERY)
            if index % pause == 0 or index == last_loss or not kept:
                found = self._search(pyramid, kept)[len(kept) :]
                kept += found_bodies.without_ghosts(found, [body for _, body in lost])
            followed = self._distinct(kept)
            yield tracker.step(self._assembled(pyramid, followed), image)

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
        self, detector: BoxDetector, pyramid: crops.ImagePyramid, known: Sequence[FoundBody]
    ) -> list[FoundBody]:
        """Bodies in the boxes of a detector: upright, else turned by quarters if that is asked for."""
        turns = (0,) if self.options.turned == "never" else (0, 1, 2, 3)
        bodies: list[FoundBody] = []
        for box in detector(pyramid.image, min_score=self.options.min_box_score)[: 2 * self.options.max_people]:
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
                    hint = hand_hints.hand_hint(body.landmarks, body.confidence, side)
                    hands[side] = None if hint is None else self._hand(pyramid, hint, self.options.hand)
            people.append(assembled_people.assembled(pyramid, body, hands))
        return people


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
