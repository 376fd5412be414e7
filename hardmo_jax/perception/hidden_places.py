"""What of a person cannot be seen: places of the body that the picture's edge cuts off, or that something covers.

A body has 15 places: head, shoulders, elbows, wrists, hips, knees, ankles and feet. Each is seen, cut or covered, so
shares are of 15. Keypoints are in the `openpose67` layout.
"""

import dataclasses

import numpy as np

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.perception.people import LAYOUT_NAME
from hardmo_jax.skeleton import layouts

_LAYOUT = layouts.get_layout(LAYOUT_NAME)
#: Points that say where a place is; the surest is believed.
_PLACES: dict[str, tuple[str, ...]] = {
    "head": ("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
    **{
        f"{side}_{joint}": (f"{side}_{joint}",)
        for joint in ("shoulder", "hip", "elbow", "wrist", "knee", "ankle")
        for side in layouts.SIDES
    },
    **{
        f"{side}_foot": tuple(f"{side}_{point}" for point in ("big_toe", "small_toe", "heel")) for side in layouts.SIDES
    },
}
PLACES = tuple(_PLACES)
_COLUMNS = [np.array(_LAYOUT.indices(points)) for points in _PLACES.values()]
#: Pairs of places with a limb between them, by index.
_BONES = np.array(
    [(PLACES.index(begin), PLACES.index(end)) for begin, end in (
        ("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"), ("head", "left_shoulder"),
        ("head", "right_shoulder"),
        *((f"{side}_{begin}", f"{side}_{end}") for side in layouts.SIDES for begin, end in (
            ("shoulder", "hip"), ("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"),
            ("ankle", "foot"),
        )),
    )]
)  # fmt: skip
#: Where a place is that nobody saw, if the body is straight: from the second of two others on, by this part of the way
#: between them. By the shares of the body height of Drillis and Contini (1966): torso 0.29, thigh and shin 0.245, upper
#: arm 0.19, forearm 0.15, sole below the ankle 0.04.
_STRAIGHT: tuple[tuple[str, str, str, float], ...] = (
    *((f"{side}_shoulder", f"{side}_knee", f"{side}_hip", 1.18) for side in layouts.SIDES),
    *((f"{side}_hip", "head", f"{side}_shoulder", 2.9) for side in layouts.SIDES),
    *(("head", f"{side}_hip", f"{side}_shoulder", 0.35) for side in layouts.SIDES),
    *((f"{side}_elbow", f"{side}_shoulder", f"{side}_hip", 0.65 - 1) for side in layouts.SIDES),
    *((f"{side}_wrist", f"{side}_shoulder", f"{side}_elbow", 0.78) for side in layouts.SIDES),
    *((f"{side}_knee", f"{side}_shoulder", f"{side}_hip", 0.85) for side in layouts.SIDES),
    *((f"{side}_ankle", f"{side}_hip", f"{side}_knee", 1.0) for side in layouts.SIDES),
    *((f"{side}_foot", f"{side}_knee", f"{side}_ankle", 0.16) for side in layouts.SIDES),
)
#: Confidence from which a point is trusted, see `people.PersonKeypoints`; below the other one not even its place is.
CONFIDENT, _HINT = 0.5, 0.1
#: A trusted point nearer to the edge than this part of the box's longer side lies on it: models put joints there that
#: are really cut off. The toes of somebody who stands at the edge are farther from it.
_ON_EDGE = 0.0025
#: A place that is only supposed to be outside must be so by this part of the longer side: supposed is not measured.
_SURELY_OUTSIDE = 0.02
#: An unsure point this far inside, by the same measure, is believed to be inside.
_WELL_INSIDE = 0.05
#: Half the width of a limb, as part of the longer side of the box.
_LIMB_RADIUS = 0.04
#: Two are equally sure where their confidence differs by less, and reach equally low by this part of the longer side.
_EQUALLY_SURE, _EQUALLY_LOW = 0.2, 0.02


@dataclasses.dataclass(frozen=True, kw_only=True)
class BodyPlaces:
    """The 15 places of a person, in the order of `PLACES`."""

    points: Float[np.ndarray, "15 2"]
    """Pixels; without meaning where the confidence is 0."""
    confidence: Float[np.ndarray, "15"]
    """In [0, 1]."""
    bbox: Float[np.ndarray, "4"]
    """Of the person, pixels."""

    @property
    def side(self) -> float:
        """Longer side of the box, pixels; at least one."""
        return max(float(np.max(self.bbox[2:] - self.bbox[:2])), 1.0)

    @property
    def is_sure(self) -> Bool[np.ndarray, "15"]:
        """Which places are trusted."""
        return self.confidence >= CONFIDENT

    @property
    def bones(self) -> Float[np.ndarray, "B 2 2"]:
        """Ends of the limbs that are trusted, pixels."""
        return self.points[_BONES[self.is_sure[_BONES].all(-1)]]

    @property
    def head(self) -> Float[np.ndarray, "2"] | None:
        """Of the face, pixels; None where it is not trusted."""
        return self.points[PLACES.index("head")] if self.is_sure[PLACES.index("head")] else None


def body_places(
    keypoints_2d: Float[np.ndarray, "K 2"], confidence: Float[np.ndarray, "K"], bbox: Float[np.ndarray, "4"]
) -> BodyPlaces:
    """Places of one person.

    Args:
        keypoints_2d: Pixels, `openpose67`.
        confidence: Of these.
        bbox: Of the person, pixels.
    """
    best = np.array([columns[np.argmax(confidence[columns])] for columns in _COLUMNS])
    return BodyPlaces(
        points=np.asarray(keypoints_2d, np.float64)[best],
        confidence=np.asarray(confidence, np.float64)[best],
        bbox=np.asarray(bbox, np.float64),
    )


def cut_places(person: BodyPlaces, width: int, height: int) -> Bool[np.ndarray, "15"]:
    """Which places the picture's edge cuts off.

    A trusted place is cut if it lies outside the picture or on its very edge. One that is not trusted is cut if it was
    put outside; or, if it was not put well inside either, if a straight body would have it outside.

    Args:
        person: Places.
        width: Of the picture, pixels.
        height: Of the picture, pixels.
    """
    margin = _inside_by(person.points, width, height) / person.side
    is_told = person.confidence > 0
    supposed = _inside_by(_supposed_points(person), width, height) / person.side
    is_open = ~person.is_sure & ~((person.confidence >= _HINT) & (margin > _WELL_INSIDE))
    return (
        (person.is_sure & (margin < _ON_EDGE))
        | (~person.is_sure & is_told & (margin < 0))
        | (is_open & (supposed < -_SURELY_OUTSIDE))
    )


def covered_places(
    person: BodyPlaces, others: list[BodyPlaces], is_cut: Bool[np.ndarray, "15"]
) -> Bool[np.ndarray, "15"]:
    """Which places are inside the picture and yet not seen.

    Those are places that are not trusted, and trusted ones on the body of another person who is in front there: who is
    surer of what they have there, or, of two who are equally sure, whose box reaches lower in the picture, since who
    stands nearer to a camera stands lower. Nobody is in front where that is equal too.

    Args:
        person: Places.
        others: Everybody else in the picture.
        is_cut: Of `cut_places`; those are not counted.
    """
    is_covered = ~person.is_sure
    for other in others:
        reach = _LIMB_RADIUS * other.side
        if (person.bbox[:2] > other.bbox[2:] + reach).any() or (other.bbox[:2] > person.bbox[2:] + reach).any():
            continue
        is_there = other.is_sure[_BONES].all(-1)
        if not is_there.any():
            continue
        bones = other.points[_BONES[is_there]]
        sureness = other.confidence[_BONES[is_there]].min(-1)
        is_on = _distances(person.points, bones) < reach
        surest = np.where(is_on, sureness, -1.0).max(-1)
        is_on_torso = _in_quadrangle(person.points, other)
        torso = other.confidence[[PLACES.index(place) for place in _TORSO]].min()
        surest = np.where(is_on_torso, np.maximum(surest, torso), surest)
        lower = (other.bbox[3] - person.bbox[3]) / max(person.side, other.side) > _EQUALLY_LOW
        ahead = surest - person.confidence
        is_covered |= (surest >= 0) & ((ahead > _EQUALLY_SURE) | ((ahead > -_EQUALLY_SURE) & lower))
    return is_covered & ~is_cut


_TORSO = ("left_shoulder", "right_shoulder", "right_hip", "left_hip")


def _inside_by(points: Float[np.ndarray, "P 2"], width: int, height: int) -> Float[np.ndarray, "P"]:
    """Distance from the picture's edge in pixels, negative outside; of unknown points not a number."""
    return np.minimum(points + 0.5, np.array([width, height]) - 0.5 - points).min(-1)


def _supposed_points(person: BodyPlaces) -> Float[np.ndarray, "15 2"]:
    """Trusted places as they are, and where a straight body has the others; NaN where nothing tells."""
    points = np.where(person.is_sure[:, None], person.points, np.nan)

    def at(place: str) -> np.ndarray:
        return points[PLACES.index(place)]

    # What a side lacks of the torso is near what the other has.
    for joint in ("shoulder", "hip"):
        pair = [PLACES.index(f"{side}_{joint}") for side in layouts.SIDES]
        for own, other in (pair, pair[::-1]):
            if np.isnan(points[own]).any():
                points[own] = points[other]
    for place, begin, end, share in _STRAIGHT:
        if np.isnan(at(place)).any():
            points[PLACES.index(place)] = at(end) + share * (at(end) - at(begin))
    return points


def _distances(points: Float[np.ndarray, "P 2"], bones: Float[np.ndarray, "B 2 2"]) -> Float[np.ndarray, "P B"]:
    """From points to line segments."""
    begin, along = bones[:, 0], bones[:, 1] - bones[:, 0]
    apart = points[:, None] - begin
    share = (apart * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-9)
    return np.linalg.norm(apart - np.clip(share, 0, 1)[..., None] * along, axis=-1)


def _in_quadrangle(points: Float[np.ndarray, "P 2"], other: BodyPlaces) -> Bool[np.ndarray, "P"]:
    """Which points lie on the torso of somebody whose shoulders and hips are trusted."""
    corners = [PLACES.index(place) for place in _TORSO]
    if not other.is_sure[corners].all():
        return np.zeros(len(points), bool)
    begin = other.points[corners]
    along = np.roll(begin, -1, axis=0) - begin
    apart = points[:, None] - begin
    turn = along[:, 0] * apart[..., 1] - along[:, 1] * apart[..., 0]
    return np.asarray((turn > 0).all(-1) | (turn < 0).all(-1))
