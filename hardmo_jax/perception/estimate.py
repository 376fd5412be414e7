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

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.perception import crops, detect_blazepose, keypoints_blazepose, keypoints_hand
from hardmo_jax.perception import track as tracking
from hardmo_jax.perception.people import LAYOUT_NAME, PersonKeypoints
from hardmo_jax.skeleton import layouts

_LAYOUT = layouts.get_layout(LAYOUT_NAME)
_BODY = keypoints_blazepose.LAYOUT

#: Points of the body that both layouts name alike, and the foremost point of the foot for the big toe.
_BODY_SOURCES = {point: point for point in _LAYOUT.points if point in _BODY.points} | {
    f"{side}_big_toe": f"{side}_foot_index" for side in layouts.SIDES
}
#: Averages of two points.
_MIDDLE_SOURCES = {"neck": ("left_shoulder", "right_shoulder"), "mid_hip": ("left_hip", "right_hip")}
#: Hand points that the body model knows roughly: the wrist, and the knuckles nearest to the palm.
_ROUGH_HAND_SOURCES = {
    "hand_root": "wrist",
    "thumb2": "thumb_knuckle",
    "index1": "index_knuckle",
    "pinky1": "pinky_knuckle",
}
#: Confidence of a rough hand point never exceeds this.
_ROUGH_HAND_CONFIDENCE = 0.3
#: Confidence of a point outside the picture never exceeds this.
_OUTSIDE_CONFIDENCE = 0.05
#: Width of the strip along the picture's edge in which confidence fades, as part of the body crop: the model
#: puts joints there that are really cut off.
_EDGE_STRIP = 0.012
#: Points by which two skeletons are compared.
_CORE_POINTS = tuple(
    f"{side}_{joint}"
    for side in layouts.SIDES
    for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "ear")
)
#: Two points closer than this part of the smaller body crop are taken for the same.
_SAME_POINT = 0.05
#: Heads closer than this part of the larger body crop (some 8 cm) are one.
_SAME_HEAD = 0.035
#: Spread of the looks at which confidence has fallen to 0.6: as part of the body crop, and in metres.
_SPREAD_WIDTH = 0.018
_SPREAD_WIDTH_3D = 0.08
#: Crops near the steady one for further looks: (scale, turn in radians, shift, mirrored).
_NEARBY_LOOKS = ((0.95, 0.1, 0.03, False), (0.95, -0.1, -0.03, True), (1.08, -0.1, 0.0, False), (1.08, 0.1, 0.0, True))
#: Trust in the points that a single look saw and no other confirmed.
_LONE_LOOK_TRUST = 0.6
#: A small body within a larger one's reach is often a hand, a shoe or a face taken for a person: it needs
#: detector scores that sum to this over all looks, and to this part of the larger one's.
_NESTED_SUPPORT, _NESTED_RATIO = 2.0, 0.6
#: Support beyond this (and that of a person who was followed) counts as this much.
_MANY_VOTES = 10.0
#: Detector scores over all looks, times the part of the points that are trusted, that make a person: for each
#: look made, and at most. A chance find is seen once or twice, or its joints are not agreed on.
_SUPPORT_PER_LOOK, _MAX_SUPPORT_NEEDED = 0.014, 0.4
#: What the best of them must reach: chance finds are mostly faint, and mostly lie or stand on their head.
_MIN_BEST_UPRIGHT, _MIN_BEST_TURNED, _UPRIGHT_ANGLE = 0.5, 0.65, math.radians(60.0)
#: A trunk nearer to another's limb than this part of the other's crop lies on the limb.
_ON_LIMB = 0.07
#: Limbs that are taken for small people.
_LIMBS = (
    ("shoulder", "elbow"), ("elbow", "wrist"), ("wrist", "index_knuckle"), ("hip", "knee"), ("knee", "ankle"),
    ("ankle", "foot_index"), ("heel", "foot_index"),
)  # fmt: skip
_NESTED_SIZE, _NESTED_REACH = 0.6, 0.4
#: A body smaller than this part of a larger one whose trunk lies on a limb of that one is that limb.
_LIMB_SIZE = 0.85
#: A find is given up when neither look reaches this score.
_HOPELESS_SCORE = 0.1
#: Crops tried until one is steady.
_MAX_STEPS = 3
#: Length of an adult's hand, metres.
_HAND_LENGTH = 0.19
#: Starts for a cluster of detections of which the best is at least so sure.
_MAX_TRIES, _SURE_DETECTION = 3, 0.5
#: A crop that moves, turns or grows by less than this is steady.
_STEADY_SHIFT, _STEADY_ANGLE, _STEADY_GROWTH = 0.04, math.radians(8.0), 1.08
TURN_CHOICES = ("never", "when_empty", "always")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PerceptionOptions:
    """How thoroughly pictures are looked at, and what is believed."""

    tiles: tuple[float, ...] = (1.35, 2.0, 2.5)
    """Scales of the search beside the whole picture: squares that side by side fill its longer side."""
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


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Body:
    """A body after all looks, before it is put into the output layout."""

    landmarks: keypoints_blazepose.BodyLandmarks
    confidence: Float[np.ndarray, "33"]
    confidence_3d: Float[np.ndarray, "33"]
    detector_bbox: Float[np.ndarray, "4"]
    support: float
    """Sum of the detector's scores over all looks that found this person; infinite if it was followed."""
    best_detection: float
    """Highest of these scores."""

    @property
    def worth(self) -> float:
        return self.landmarks.score * float(self.confidence.sum())


class Estimator:
    """People of pictures and videos. Not safe to call from two threads at once."""

    def __init__(self, folder: str | os.PathLike[str], options: PerceptionOptions) -> None:
        """Load the models; see `load_estimator`."""
        self.options = options
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
        return self._finish(pyramid, self._search(pyramid, ()))

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
        followed: list[PersonKeypoints] = []
        for index, image in enumerate(frames):
            pyramid = crops.ImagePyramid(image)
            bodies = [self._look(pyramid, person.region, None) for person in followed]
            kept = [body for body in bodies if body is not None]
            is_search = index % self.options.detect_every == 0 or len(kept) < len(bodies) or not kept
            kept = self._search(pyramid, kept) if is_search else kept
            people = tracker.step(self._finish(pyramid, kept))
            followed = people
            yield people

    def _search(self, pyramid: crops.ImagePyramid, known: Sequence[_Body]) -> list[_Body]:
        """Bodies of a picture, beyond those already known."""
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

    def _bodies(
        self, pyramid: crops.ImagePyramid, regions: Sequence[crops.SquareRegion], known: Sequence[_Body]
    ) -> list[_Body]:
        found = [
            detection
            for region in regions
            for detection in self._detect(pyramid, region, min_score=self.options.min_detector_score)
        ]
        bodies: list[_Body] = []
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
        voted = _with_support(drop_duplicates([*known, *bodies]), found)
        return [
            body
            for body in drop_duplicates(voted)
            if _is_supported(body, len(regions)) and not any(body.landmarks is other.landmarks for other in known)
        ]

    def _look(
        self,
        pyramid: crops.ImagePyramid,
        region: crops.SquareRegion,
        detector_bbox: Float[np.ndarray, "4"] | None,
        seen: Sequence[_Body] = (),
    ) -> _Body | None:
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
    ) -> _Body | None:
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
        inside = inside_confidence(middle, pyramid.width, pyramid.height, strip=_EDGE_STRIP * region.size)
        trust = np.minimum(seen, inside)
        confidence = trust * np.exp(-0.5 * (spread / _SPREAD_WIDTH) ** 2)
        confidence_3d = trust * np.exp(-0.5 * (spread_3d / _SPREAD_WIDTH_3D) ** 2)
        core = [_BODY.index(point) for point in (*_CORE_POINTS, "nose")]
        if score < self.options.min_score or (confidence[core] >= 0.5).sum() < self.options.min_confident_points:
            return None
        steadiest = max(looks[:2], key=lambda look: look.score)
        return _Body(
            landmarks=dataclasses.replace(
                steadiest,
                keypoints_2d=middle.astype(np.float32),
                keypoints_3d=middle_3d.astype(np.float32),
                score=score,
            ),
            confidence=confidence.astype(np.float32),
            confidence_3d=confidence_3d.astype(np.float32),
            detector_bbox=clip_box(
                _square_box(region) if detector_bbox is None else detector_bbox, pyramid.width, pyramid.height
            ),
            support=math.inf,
            best_detection=1.0,
        )

    def _finish(self, pyramid: crops.ImagePyramid, bodies: Sequence[_Body]) -> list[PersonKeypoints]:
        """Drop duplicates, add hands, and put everything into the output layout."""
        people = []
        for body in drop_duplicates(bodies)[: self.options.max_people]:
            hands = {}
            if self._hand is not None:
                for side in layouts.SIDES:
                    hint = hand_hint(body.landmarks, body.confidence, side)
                    hands[side] = None if hint is None else self._hand(pyramid, hint, self.options.hand)
            people.append(_person(pyramid, body, hands))
        return people


def load_estimator(folder: str | os.PathLike[str], options: PerceptionOptions | None = None) -> Estimator:
    """Load the default perception.

    Args:
        folder: Folder of the model files; `model_files.default_model_folder()` is where
            `python -m tools.fetch_models` puts them.
        options: How thoroughly to look.

    Returns:
        Estimator to call with pictures.

    Raises:
        FileNotFoundError: If a model file is missing.
        ImportError: If `ai-edge-litert` is not installed.
    """
    return Estimator(folder, options or PerceptionOptions())


def inside_confidence(
    keypoints_2d: Float[np.ndarray, "K 2"], width: int, height: int, *, strip: float
) -> Float[np.ndarray, "K"]:
    """Highest confidence that a point may have where it lies.

    Args:
        keypoints_2d: Pixels.
        width: Of the picture.
        height: Of the picture.
        strip: Width in pixels of the zone inside the edge where it rises from 0.5 to 1.

    Returns:
        1 well inside, `_OUTSIDE_CONFIDENCE` outside.
    """
    low = keypoints_2d + 0.5
    high = np.array([width, height]) - 0.5 - keypoints_2d
    margin = np.minimum(low, high).min(axis=1)
    fade = np.clip(0.5 + 0.5 * margin / max(strip, 1e-6), 0.5, 1.0)
    return np.where(margin >= 0, fade, _OUTSIDE_CONFIDENCE)


def clip_box(box: Float[np.ndarray, "4"], width: int, height: int) -> Float[np.ndarray, "4"]:
    """Box cut down to the picture (pixel centres)."""
    return np.clip(box, 0, np.array([width - 1, height - 1, width - 1, height - 1])).astype(np.float32)


def drop_duplicates(bodies: Sequence[_Body]) -> list[_Body]:
    """Bodies of which most points do not lie on those of better bodies, best first."""
    core = [_BODY.index(point) for point in _CORE_POINTS]
    kept: list[_Body] = []
    for body in sorted(bodies, key=lambda one: -one.worth):
        weights = body.confidence[core]
        is_taken = np.zeros(len(core), bool)
        for other in kept:
            limit = _SAME_POINT * min(body.landmarks.next_region.size, other.landmarks.next_region.size)
            apart = np.linalg.norm(body.landmarks.keypoints_2d[core] - other.landmarks.keypoints_2d[core], axis=1)
            is_taken |= apart < limit
        if weights[is_taken].sum() < 0.5 * weights.sum() and not any(
            _same_head(body, other) or _is_part_of(body, other) for other in kept
        ):
            kept.append(body)
    return kept


def _with_support(bodies: Sequence[_Body], found: Sequence[detect_blazepose.PersonDetection]) -> list[_Body]:
    """Let each detection vote with its score for the one body that it fits best."""
    votes = [0.0] * len(bodies)
    best = [0.0] * len(bodies)
    for detection in found:
        region = detection.region()
        fits = [
            (math.dist(region.center, other.center) / other.size + abs(math.log(region.size / other.size)), at)
            for at, other in enumerate(body.landmarks.next_region for body in bodies)
            if detect_blazepose.same_body(region, other, tolerance=0.35)
        ]
        if fits:
            at = min(fits)[1]
            votes[at] += detection.score
            best[at] = max(best[at], detection.score)
    return [
        dataclasses.replace(body, support=vote, best_detection=score)
        for body, vote, score in zip(bodies, votes, best, strict=True)
    ]


def _is_supported(body: _Body, num_looks: int) -> bool:
    """Whether the detector saw a body often and surely enough, and the landmark looks agreed on enough of it."""
    needed = min(_SUPPORT_PER_LOOK * num_looks, _MAX_SUPPORT_NEEDED)
    is_upright = abs(math.remainder(body.landmarks.next_region.angle, 2.0 * math.pi)) < _UPRIGHT_ANGLE
    return body.support * float((body.confidence >= 0.5).mean()) >= needed and body.best_detection >= (
        _MIN_BEST_UPRIGHT if is_upright else _MIN_BEST_TURNED
    )


def _is_part_of(small: _Body, large: _Body) -> bool:
    """Whether a small body is more likely a hand, foot or face of a larger one."""
    inner, outer = small.landmarks.next_region, large.landmarks.next_region
    if inner.size < _LIMB_SIZE * outer.size and _is_on_limb(small, large):
        return True
    if inner.size >= _NESTED_SIZE * outer.size:
        return False
    needed = max(_NESTED_SUPPORT, _NESTED_RATIO * min(large.support, _MANY_VOTES))
    return math.dist(inner.center, outer.center) < _NESTED_REACH * outer.size and small.support < needed


def _is_on_limb(small: _Body, large: _Body) -> bool:
    """Whether the trunk of a body lies on a limb of another."""
    limit = _ON_LIMB * large.landmarks.next_region.size
    ends = [
        small.landmarks.keypoints_2d[[_BODY.index(f"{side}_{joint}") for side in layouts.SIDES]].mean(axis=0)
        for joint in ("shoulder", "hip")
    ]
    trunk = [ends[0], 0.5 * (ends[0] + ends[1]), ends[1]]

    def nearest(point: np.ndarray) -> float:
        distances = []
        for side in layouts.SIDES:
            for start, end in _LIMBS:
                first, last = (large.landmarks.keypoints_2d[_BODY.index(f"{side}_{joint}")] for joint in (start, end))
                along = last - first
                where = float(np.clip(np.dot(point - first, along) / max(float(np.dot(along, along)), 1e-6), 0.0, 1.0))
                distances.append(float(np.linalg.norm(point - first - where * along)))
        return min(distances)

    return all(nearest(point) < limit for point in trunk)


def _same_head(first: _Body, second: _Body) -> bool:
    """Whether two bodies share a head: a face alone may pass for a small whole person."""
    head = [_BODY.index(point) for point in ("nose", "left_eye", "right_eye", "left_ear", "right_ear")]
    apart = first.landmarks.keypoints_2d[head].mean(axis=0) - second.landmarks.keypoints_2d[head].mean(axis=0)
    larger = max(first.landmarks.next_region.size, second.landmarks.next_region.size)
    return float(np.linalg.norm(apart)) < _SAME_HEAD * larger


def pixels_per_metre(landmarks: keypoints_blazepose.BodyLandmarks, confidence: np.ndarray) -> float:
    """Scale of a person in the picture, from the spread of points in both."""
    weights = np.maximum(confidence, 1e-3)[:, None]
    weights = weights / weights.sum()

    def spread(points: np.ndarray) -> float:
        centred = points - (weights * points).sum(axis=0)
        return float(np.sqrt((weights * centred**2).sum()))

    return spread(landmarks.keypoints_2d.astype(np.float64)) / max(
        spread(landmarks.keypoints_3d[:, :2].astype(np.float64)), 1e-3
    )


def hand_hint(
    landmarks: keypoints_blazepose.BodyLandmarks, confidence: Float[np.ndarray, "33"], side: str
) -> keypoints_hand.HandHint | None:
    """Where to look for a hand; None if the wrist is out of the picture or quite unknown."""

    def point(name: str) -> np.ndarray:
        return landmarks.keypoints_2d[_BODY.index(f"{side}_{name}")].astype(np.float64)

    if confidence[_BODY.index(f"{side}_wrist")] < 0.1:
        return None
    wrist, elbow = point("wrist"), point("elbow")
    palm = 0.5 * (point("index_knuckle") + point("pinky_knuckle"))
    length = _HAND_LENGTH * pixels_per_metre(landmarks, confidence)
    if math.dist(palm, wrist) < 0.15 * length:
        # Seen end on: the forearm's direction is all there is.
        along = wrist - elbow
        palm = wrist + along / max(float(np.linalg.norm(along)), 1e-6) * 0.4 * length
    length = max(length, 1.6 * math.dist(palm, wrist))
    return keypoints_hand.HandHint(side=side, wrist=wrist, palm=palm, length=length)


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


def _person(
    pyramid: crops.ImagePyramid, body: _Body, hands: dict[str, keypoints_hand.HandLandmarks | None]
) -> PersonKeypoints:
    """Put body and hands into the output layout."""
    keypoints_2d = np.zeros((len(_LAYOUT), 2), np.float32)
    keypoints_3d = np.zeros((len(_LAYOUT), 3), np.float32)
    confidence = np.zeros(len(_LAYOUT), np.float32)
    confidence_3d = np.zeros(len(_LAYOUT), np.float32)
    landmarks = body.landmarks
    hips = [_BODY.index(point) for point in _MIDDLE_SOURCES["mid_hip"]]
    world = landmarks.keypoints_3d - landmarks.keypoints_3d[hips].mean(axis=0)

    for point, source in _BODY_SOURCES.items():
        at, of = _LAYOUT.index(point), _BODY.index(source)
        keypoints_2d[at], keypoints_3d[at] = landmarks.keypoints_2d[of], world[of]
        confidence[at], confidence_3d[at] = body.confidence[of], body.confidence_3d[of]
    for point, sources in _MIDDLE_SOURCES.items():
        at, of = _LAYOUT.index(point), [_BODY.index(source) for source in sources]
        keypoints_2d[at], keypoints_3d[at] = landmarks.keypoints_2d[of].mean(axis=0), world[of].mean(axis=0)
        confidence[at], confidence_3d[at] = body.confidence[of].min(), body.confidence_3d[of].min()
    for side in layouts.SIDES:
        hand = hands.get(side)
        wrist = _LAYOUT.index(f"{side}_wrist")
        if hand is None:
            for point, source in _ROUGH_HAND_SOURCES.items():
                at, of = _LAYOUT.index(f"{side}_{point}"), _BODY.index(f"{side}_{source}")
                keypoints_2d[at], keypoints_3d[at] = landmarks.keypoints_2d[of], world[of]
                confidence[at] = min(_ROUGH_HAND_CONFIDENCE, body.confidence[of])
                confidence_3d[at] = min(_ROUGH_HAND_CONFIDENCE, body.confidence_3d[of])
            continue
        at = [_LAYOUT.index(point) for point in layouts.get_layout(f"{side}_hand21").points]
        inside = inside_confidence(
            hand.keypoints_2d, pyramid.width, pyramid.height, strip=_EDGE_STRIP * hand.region.size
        )
        keypoints_2d[at] = hand.keypoints_2d
        keypoints_3d[at] = hand.keypoints_3d + keypoints_3d[wrist]
        confidence[at] = np.minimum(hand.confidence, inside)
        confidence_3d[at] = np.minimum(confidence[at], confidence_3d[wrist])
    is_trusted = confidence >= 0.3
    trusted = keypoints_2d[is_trusted] if is_trusted.any() else keypoints_2d[confidence > 0]
    return PersonKeypoints(
        keypoints_2d=keypoints_2d,
        confidence=np.clip(confidence, 0.0, 1.0),
        keypoints_3d=keypoints_3d,
        confidence_3d=np.clip(confidence_3d, 0.0, 1.0),
        bbox=clip_box(np.concatenate([trusted.min(axis=0), trusted.max(axis=0)]), pyramid.width, pyramid.height),
        detector_bbox=body.detector_bbox,
        score=landmarks.score,
        region=landmarks.next_region,
    )
