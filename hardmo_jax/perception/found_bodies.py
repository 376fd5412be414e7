"""Bodies that the estimator has found in a picture: which are the same, which are parts of others, which to believe."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.perception import detect_blazepose, keypoints_blazepose
from hardmo_jax.skeleton import layouts

_BODY = keypoints_blazepose.LAYOUT
#: Points by which two skeletons are compared.
CORE_POINTS = tuple(
    f"{side}_{joint}"
    for side in layouts.SIDES
    for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "ear")
)
#: Two points closer than this part of the smaller body crop are taken for the same.
_SAME_POINT = 0.05
#: Heads closer than this part of the larger body crop (some 8 cm) are one.
_SAME_HEAD = 0.035
#: A small body within a larger one's reach is often a hand, a shoe or a face taken for a person: it needs
#: detector scores that sum to this over all looks, and to this part of the larger one's unless one of them is sure: of
#: people who stand behind somebody few looks see enough.
_NESTED_SUPPORT, _NESTED_RATIO, _NESTED_SURE = 2.0, 0.6, 0.9
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
#: A body that lies another way than a better one, within that one's box, is that one misread: the model puts hips where
#: the head is. It is turned by more than this against it, less worth than this part of it, and has this share of its
#: trusted points in the box, which is widened by a part of its longer side.
_MISREAD_ANGLE, _MISREAD_WORTH, _MISREAD_INSIDE, _MISREAD_MARGIN = math.radians(75.0), 0.6, 0.75, 0.05


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoundBody:
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
        """Rank among bodies that are the same."""
        return self.landmarks.score * float(self.confidence.sum())


def drop_duplicates(bodies: Sequence[FoundBody]) -> list[FoundBody]:
    """Bodies of which most points do not lie on those of better bodies, best first."""
    core = [_BODY.index(point) for point in CORE_POINTS]
    kept: list[FoundBody] = []
    for body in sorted(bodies, key=lambda one: -one.worth):
        weights = body.confidence[core]
        is_taken = np.zeros(len(core), bool)
        for other in kept:
            limit = _SAME_POINT * min(body.landmarks.next_region.size, other.landmarks.next_region.size)
            apart = np.linalg.norm(body.landmarks.keypoints_2d[core] - other.landmarks.keypoints_2d[core], axis=1)
            is_taken |= apart < limit
        if weights[is_taken].sum() < 0.5 * weights.sum() and not any(
            _same_head(body, other) or _is_part_of(body, other) or _is_misread(body, other) for other in kept
        ):
            kept.append(body)
    return kept


def without_ghosts(found: Sequence[FoundBody], lost: Sequence[FoundBody]) -> list[FoundBody]:
    """Bodies that are not those of people who were seen shortly before, misread."""
    return [body for body in found if not any(_is_misread(body, other) for other in lost)]


def with_support(bodies: Sequence[FoundBody], found: Sequence[detect_blazepose.PersonDetection]) -> list[FoundBody]:
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


def is_supported(body: FoundBody, num_looks: int) -> bool:
    """Whether the detector saw a body often and surely enough, and the landmark looks agreed on enough of it."""
    needed = min(_SUPPORT_PER_LOOK * num_looks, _MAX_SUPPORT_NEEDED)
    is_upright = abs(math.remainder(body.landmarks.next_region.angle, 2.0 * math.pi)) < _UPRIGHT_ANGLE
    return body.support * float((body.confidence >= 0.5).mean()) >= needed and body.best_detection >= (
        _MIN_BEST_UPRIGHT if is_upright else _MIN_BEST_TURNED
    )


def _is_part_of(small: FoundBody, large: FoundBody) -> bool:
    """Whether a small body is more likely a hand, foot or face of a larger one."""
    inner, outer = small.landmarks.next_region, large.landmarks.next_region
    if inner.size < _LIMB_SIZE * outer.size and _is_on_limb(small, large):
        return True
    if inner.size >= _NESTED_SIZE * outer.size:
        return False
    ratio = 0.0 if small.best_detection >= _NESTED_SURE else _NESTED_RATIO
    needed = max(_NESTED_SUPPORT, ratio * min(large.support, _MANY_VOTES))
    return math.dist(inner.center, outer.center) < _NESTED_REACH * outer.size and small.support < needed


def _is_misread(ghost: FoundBody, person: FoundBody) -> bool:
    """Whether a body is more likely another one that was read upside down."""
    turn = math.remainder(ghost.landmarks.next_region.angle - person.landmarks.next_region.angle, 2.0 * math.pi)
    if abs(turn) < _MISREAD_ANGLE or ghost.worth > _MISREAD_WORTH * person.worth:
        return False
    own, other = (
        body.landmarks.keypoints_2d[body.confidence >= 0.5 * body.confidence.max()] for body in (ghost, person)
    )
    low, high = other.min(axis=0), other.max(axis=0)
    margin = _MISREAD_MARGIN * float((high - low).max())
    is_inside = ((own >= low - margin) & (own <= high + margin)).all(axis=1)
    return float(is_inside.mean()) >= _MISREAD_INSIDE


def _is_on_limb(small: FoundBody, large: FoundBody) -> bool:
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


def _same_head(first: FoundBody, second: FoundBody) -> bool:
    """Whether two bodies share a head: a face alone may pass for a small whole person."""
    head = [_BODY.index(point) for point in ("nose", "left_eye", "right_eye", "left_ear", "right_ear")]
    apart = first.landmarks.keypoints_2d[head].mean(axis=0) - second.landmarks.keypoints_2d[head].mean(axis=0)
    larger = max(first.landmarks.next_region.size, second.landmarks.next_region.size)
    return float(np.linalg.norm(apart)) < _SAME_HEAD * larger
