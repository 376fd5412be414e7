"""Hands and feet of one source of keypoints on the body of another.

A detector that is best at bodies is seldom best at hands or feet. People of the sources are put together picture by
picture; left and right of the other source are made to agree with the body; and of a part those points are taken that
are expected to be better. Where nobody measured what the confidences are worth (`calibration`), the source that was
named for a part gives it, wherever it saw enough of it on the same wrist or ankle.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import optimize

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.perception.calibration import PartCalibration
from hardmo_jax.skeleton import flips, layouts, regressors
from hardmo_jax.skeleton.layouts import KeypointLayout

#: Confidence from which a point was seen.
SEEN = 0.2
#: Points of a part that must be seen.
_LEAST_POINTS = {"foot": 2, "hand": 4}
_BASE = {"foot": "ankle", "hand": "wrist"}
#: Joints that tell whether a source took one arm or leg for the other.
_ENDS = {"arm": ("elbow", "wrist"), "leg": ("knee", "ankle")}
#: Sides are exchanged if that brings the ends of arms or legs to less than this share of their distance, which must be
#: this large, box sides: two ends in one place tell nothing.
_CLEARLY_NEARER, _CLEARLY_APART = 0.5, 0.04
#: Points of two sources further apart than so many times their expected errors are not one point.
_SAME_POINT = 3.0
_FAR = 1e3
#: Calibrations of one source by kind of part.
Kinds = Mapping[str, PartCalibration]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FusionOptions:
    """When another source is believed."""

    most_apart: float = 0.1
    """Mean distance of body points up to which two sightings are one person, box sides."""
    most_base_apart: float = 0.06
    """Distance of the two wrists or ankles up to which they are the same, box sides."""
    least_confidence: float = 0.4
    """Mean confidence of the points of a hand or foot that the other source saw, from which it is believed, where its
    confidences are not calibrated."""

    def __post_init__(self) -> None:
        if not (self.most_apart > 0 and self.most_base_apart > 0 and 0 <= self.least_confidence <= 1):
            raise ValueError(f"distances must be positive and confidences in [0, 1], got {self}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seen:
    """Keypoints of one person by one source."""

    keypoints_2d: Float[np.ndarray, "K 2"]
    """Pixels."""
    confidence: Float[np.ndarray, "K"]
    """In [0, 1]; 0 where absent."""

    def taking(self, order: Sequence[int]) -> "Seen":
        """The points in another order."""
        return Seen(keypoints_2d=self.keypoints_2d[list(order)], confidence=self.confidence[list(order)])


def box_side(bbox: Float[np.ndarray, "4"]) -> float:
    """Longer side of a box, pixels, one at least."""
    return max(float(np.max(bbox[2:] - bbox[:2])), 1.0)


def same_people(
    first: Sequence[Seen],
    second: Sequence[Seen],
    box_sides: Sequence[float],
    layout: KeypointLayout,
    most_apart: float,
) -> list[tuple[int, int]]:
    """Who is who of two sources in one picture.

    Left and right do not matter: one of the sources may have exchanged them.

    Args:
        first: People of one source.
        second: And of the other.
        box_sides: Of the first, pixels.
        layout: Of all of them.
        most_apart: Mean distance of body points of one person, box sides.

    Returns:
        Pairs of places, by the least sum of distances.
    """
    if not first or not second:
        return []
    body = np.array([layouts.part_of(point) == "body" for point in layout.points])
    turned = list(flips.flip_permutation(layout))
    straight, exchanged = (
        _distances(first, [two.taking(order) for two in second], body) for order in (range(len(layout)), turned)
    )
    apart = np.minimum(straight, exchanged) / np.asarray(box_sides)[:, None]
    pairs = zip(*optimize.linear_sum_assignment(np.minimum(apart, _FAR)), strict=True)
    return [(int(a), int(b)) for a, b in pairs if apart[a, b] <= most_apart]


def _distances(
    first: Sequence[Seen], second: Sequence[Seen], places: Bool[np.ndarray, "K"]
) -> Float[np.ndarray, "N M"]:
    """Mean distance of points that both of a pair saw, pixels; infinite without any."""
    points = [np.stack([one.keypoints_2d[places] for one in some]).astype(np.float64) for some in (first, second)]
    seen = [np.stack([one.confidence[places] >= SEEN for one in some]) for some in (first, second)]
    rows = []
    for own, own_seen in zip(points[0], seen[0], strict=True):
        both = own_seen & seen[1]
        apart = np.where(both, np.linalg.norm(points[1] - own, axis=-1), 0).sum(-1)
        rows.append(np.where(both.any(-1), apart / np.maximum(both.sum(-1), 1), np.inf))
    return np.stack(rows)


def _distance(one: Seen, two: Seen, places: Bool[np.ndarray, "K"]) -> float:
    """Mean distance of points that both saw, pixels; infinite without any."""
    both = places & (np.minimum(one.confidence, two.confidence) >= SEEN)
    if not both.any():
        return float("inf")
    return float(np.linalg.norm(one.keypoints_2d - two.keypoints_2d, axis=-1)[both].mean())


def with_sides_of(own: Seen, other: Seen, layout: KeypointLayout, side_length: float) -> Seen:
    """What another source saw, with arms, legs and hands on the sides on which the first one has them.

    Args:
        own: The body that is believed.
        other: The same person by another source.
        layout: Of both.
        side_length: Longer side of the person's box, pixels.
    """
    turned = np.array(flips.flip_permutation(layout))
    order = np.arange(len(layout))
    exchanged = set()
    for limb, joints in _ENDS.items():
        ends = _places(layout, {f"{side}_{joint}" for side in layouts.SIDES for joint in joints})
        if _is_nearer_exchanged(own, other, turned, ends, side_length):
            exchanged.add(limb)
    limbs = [_limb_of(point) for point in layout.points]
    for place, limb in enumerate(limbs):
        # Who takes all limbs for their opposites sees the person from behind: the face is exchanged, too.
        if limb in exchanged or (limb is None and exchanged == set(_ENDS)):
            order[place] = turned[place]
    other = other.taking(order.tolist())
    roots = _places(layout, {f"{side}_hand_root" for side in layouts.SIDES})
    if roots.any() and _hands_are_exchanged(own, other, layout, side_length):
        hands = np.array([(layouts.part_of(point) or "").endswith("_hand") for point in layout.points])
        other = other.taking(np.where(hands, turned, np.arange(len(layout))).tolist())
    return other


def _limb_of(point: str) -> str | None:
    part, place = layouts.part_of(point) or "", regressors.place_of(point).partition("_")[2]
    if part.endswith("_hand") or place in ("shoulder", "elbow", "wrist"):
        return "arm"
    if part.endswith("_foot") or place in ("hip", "knee", "ankle"):
        return "leg"
    return None


def _places(layout: KeypointLayout, points: set[str]) -> Bool[np.ndarray, "K"]:
    return np.array([regressors.place_of(point) in points for point in layout.points], bool)


def _is_nearer_exchanged(
    own: Seen, other: Seen, turned: np.ndarray, ends: Bool[np.ndarray, "K"], side_length: float
) -> bool:
    straight, exchanged = _distance(own, other, ends), _distance(own, other.taking(turned.tolist()), ends)
    if not (np.isfinite(straight) and np.isfinite(exchanged)):
        return False
    return straight > _CLEARLY_APART * side_length and exchanged < _CLEARLY_NEARER * straight


def _hands_are_exchanged(own: Seen, other: Seen, layout: KeypointLayout, side_length: float) -> bool:
    """Whether the roots of hands lie on the wrists of the other sides."""
    straight, exchanged = [], []
    for side, opposite in (layouts.SIDES, layouts.SIDES[::-1]):
        root = layout.index(f"{side}_hand_root")
        wrists = [layout.index(f"{name}_wrist") for name in (side, opposite)]
        if other.confidence[root] < SEEN or own.confidence[wrists].min() < SEEN:
            continue
        near, far = (float(np.linalg.norm(other.keypoints_2d[root] - own.keypoints_2d[wrist])) for wrist in wrists)
        straight.append(near)
        exchanged.append(far)
    if not straight:
        return False
    mean_straight = float(np.mean(straight))
    is_nearer = float(np.mean(exchanged)) < _CLEARLY_NEARER * mean_straight
    return is_nearer and mean_straight > _CLEARLY_APART * side_length


def with_part_of(
    own: Seen,
    other: Seen,
    part: str,
    layout: KeypointLayout,
    side_length: float,
    options: FusionOptions,
    calibrations: tuple[Kinds, Kinds] | None = None,
) -> Seen | None:
    """A person with a hand or foot as another source saw it.

    Args:
        own: The person.
        other: The same person by the other source, its sides as `own` has them.
        part: `left_hand`, `right_foot`, ...
        layout: Of both.
        side_length: Longer side of the person's box, pixels.
        options: What is believed.
        calibrations: Of either source, by kind of part: points that agree are averaged by their expected errors, and
            else the part comes from where it is expected to be better. None, or without this kind of part in both: the
            other source has the first word.

    Returns:
        The person; None if that changes nothing.
    """
    kind = part.partition("_")[2]
    places = np.array([layouts.part_of(point) == part for point in layout.points], bool)
    base = _places(layout, {f"{part.partition('_')[0]}_{_BASE[kind]}"})
    seen = places & (other.confidence >= SEEN)
    if seen.sum() < _LEAST_POINTS[kind] or not _same_base(own, other, base, side_length, options, calibrations):
        return None
    of_kind = None if calibrations is None else tuple(one.get(kind) for one in calibrations)
    if of_kind is None or of_kind[0] is None or of_kind[1] is None:
        if other.confidence[seen].mean() < options.least_confidence:
            return None
        # Points that the other source does not give (small toes, of some) stay as they were.
        taken = places & (other.confidence > 0)
        made = Seen(
            keypoints_2d=np.where(taken[:, None], other.keypoints_2d, own.keypoints_2d),
            confidence=np.where(taken, other.confidence, own.confidence),
        )
    else:
        made = _by_expected_error(own, other, places, side_length, (of_kind[0], of_kind[1]))
    is_same = np.array_equal(made.keypoints_2d, own.keypoints_2d) and np.array_equal(made.confidence, own.confidence)
    return None if is_same else made


def _by_expected_error(
    own: Seen,
    other: Seen,
    places: Bool[np.ndarray, "K"],
    side_length: float,
    calibrations: tuple[PartCalibration, PartCalibration],
) -> Seen:
    """Means of points that agree, by the inverse squares of their expected errors; else those of the better source.

    Confidences are told on the scale of the first source. They are those of the better point: errors of detectors
    have much in common, and a mean is not as much better as it would be without that.
    """
    errors = np.stack(
        [one.expected_error(seen.confidence) for one, seen in zip(calibrations, (own, other), strict=True)]
    )
    points = np.stack([own.keypoints_2d, other.keypoints_2d]).astype(np.float64)
    is_known = np.isfinite(errors)
    both = is_known.all(0) & places
    # Of the part as a whole: points of a hand that is expected to be off are off together.
    whole = errors[:, both].mean(1) if both.any() else np.array([np.inf, 0.0])
    better = int(np.argmin(whole))
    apart = np.linalg.norm(points[0] - points[1], axis=-1) / side_length
    agree = both & (apart <= _SAME_POINT * errors.sum(0, where=is_known))
    weights = np.where(is_known, 1 / np.square(np.where(is_known, errors, 1)), 0)
    mean = (points * weights[..., None]).sum(0) / np.maximum(weights.sum(0), 1e-12)[:, None]
    # A point that only one of them gives is that one's.
    source = np.where(both, better, np.where(is_known[1], 1, 0))
    chosen = np.take_along_axis(points, source[None, :, None], 0)[0]
    error = np.where(agree, errors.min(0), np.take_along_axis(errors, source[None], 0)[0])
    confidence = calibrations[0].confidence_for(error)
    # What is the first source's own stays word for word.
    confidence = np.where((source == 0) & ~agree, own.confidence, confidence)
    return Seen(
        keypoints_2d=np.where(places[:, None], np.where(agree[:, None], mean, chosen), own.keypoints_2d).astype(
            own.keypoints_2d.dtype
        ),
        confidence=np.where(places, confidence, own.confidence).astype(own.confidence.dtype),
    )


def _same_base(
    own: Seen,
    other: Seen,
    base: Bool[np.ndarray, "K"],
    side_length: float,
    options: FusionOptions,
    calibrations: tuple[Kinds, Kinds] | None,
) -> bool:
    """Whether both saw the wrist or ankle in one place; nothing speaks against it where one of them did not.

    Sources whose bodies are known to be rough may be further apart.
    """
    both = base & (np.minimum(own.confidence, other.confidence) >= SEEN)
    if not both.any():
        return True
    most_apart = np.full(int(both.sum()), options.most_base_apart)
    bodies = [] if calibrations is None else [one.get("body") for one in calibrations]
    if bodies and bodies[0] is not None and bodies[1] is not None:
        expected = bodies[0].expected_error(own.confidence[both]) + bodies[1].expected_error(other.confidence[both])
        most_apart = np.maximum(most_apart, _SAME_POINT * expected)
    apart = np.linalg.norm(own.keypoints_2d - other.keypoints_2d, axis=-1)[both] / side_length
    return bool((apart <= most_apart).any())
