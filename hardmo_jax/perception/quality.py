"""Whether a person is seen well enough: numbers of each box, and reasons to doubt what is said of the person.

Nobody is left out here. The numbers stand beside the reasons, so that thresholds can be changed later, without the
picture (`reasons_of`).
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.array_types import Float
from hardmo_jax.labels import schema
from hardmo_jax.perception.hidden_places import CONFIDENT, body_places, covered_places, cut_places
from hardmo_jax.perception.people import LAYOUT_NAME
from hardmo_jax.perception.sharpness import body_sharpness
from hardmo_jax.skeleton import layouts

REASONS = schema.QUALITY_REASONS
_BODY = np.array([layouts.part_of(point) == "body" for point in layouts.get_layout(LAYOUT_NAME).points])


@runtime_checkable
class SeenPerson(Protocol):
    """Whoever has keypoints in the `openpose67` layout."""

    @property
    def keypoints_2d(self) -> Float[np.ndarray, "K 2"]:
        """Pixels."""
        ...

    @property
    def confidence(self) -> Float[np.ndarray, "K"]:
        """In [0, 1]."""
        ...

    @property
    def bbox(self) -> Float[np.ndarray, "4"]:
        """(x_min, y_min, x_max, y_max) in pixels."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class QualityOptions:
    """From where on there is a reason to doubt, and for which reasons a person is left out.

    Raises:
        ValueError: If a threshold is negative or not finite, or a reason is unknown.
    """

    small_below_pixels: float = 64.0
    """Longer side of the box: below, a head has fewer than nine pixels and a joint's place is worth less than two."""
    blurred_below: float = 1.33
    """Sharpness, see `sharpness`: 1.33 is a blur of 0.75 pixels of a body 256 pixels high, 2.5 % of its head. Sharp
    photos have 1.9, of them 3 % are below."""
    truncated_above: float = 0.1
    """Share of the body's 15 places: one hand beyond the edge is none, both feet are a reason."""
    occluded_above: float = 0.3
    """Share of the body's 15 places: the far arm and leg of somebody seen from the side are none."""
    few_points_below: int = 8
    """Trusted points of COCO's 17: face and shoulders alone are seven, and say nothing of a pose."""
    drop: tuple[str, ...] = ()
    """Reasons for which a person gets no label."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name != "drop" and not (math.isfinite(value) and value >= 0):
                raise ValueError(f"`{field.name}` must be finite and not negative, got {value}")
        for reason in self.drop:
            if reason not in REASONS:
                raise ValueError(f"`drop` may hold {', '.join(REASONS)}; got {reason!r}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BoxQuality:
    """How well one person is seen."""

    height_pixels: float
    """Longer side of the box: the height of whoever stands."""
    sharpness: float | None
    """One over the blur, see `sharpness.body_sharpness`; None where no pixels were looked at."""
    truncated_share: float
    """Share of the body's places that the picture's edge cuts off."""
    occluded_share: float
    """Share of the body's places that are inside the picture and not seen, or behind another person."""
    num_points: int
    """Trusted points of the 17 of the body."""
    reasons: tuple[str, ...]
    """Of `REASONS`, in their order."""

    @property
    def measures(self) -> dict[str, float | int | None]:
        """The numbers by name, as labels hold them."""
        return {name: getattr(self, name) for name in schema.QUALITY_MEASURES}


def reasons_of(measures: Mapping[str, float | int | None], options: QualityOptions) -> tuple[str, ...]:
    """Reasons to doubt a person, from the numbers alone.

    Args:
        measures: By name, as `BoxQuality.measures` and `LabelRow.quality` hold them; None gives no reason.
        options: Thresholds.
    """
    below = {
        "small": ("height_pixels", options.small_below_pixels),
        "blurred": ("sharpness", options.blurred_below),
        "few_points": ("num_points", options.few_points_below),
    }
    above = {
        "truncated": ("truncated_share", options.truncated_above),
        "occluded": ("occluded_share", options.occluded_above),
    }
    found = {
        reason for reason, (name, limit) in below.items() if (value := measures[name]) is not None and value < limit
    }
    found |= {
        reason for reason, (name, limit) in above.items() if (value := measures[name]) is not None and value > limit
    }
    return tuple(reason for reason in REASONS if reason in found)


def box_qualities(
    people: Sequence[SeenPerson],
    *,
    width: int,
    height: int,
    image: UInt8[np.ndarray, "H W 3"] | None = None,
    options: QualityOptions | None = None,
) -> tuple[BoxQuality, ...]:
    """How well each person of one picture is seen.

    Args:
        people: All of them: one may stand before another.
        width: Of the picture, pixels.
        height: Of the picture, pixels.
        image: RGB; without it nothing is said of sharpness.
        options: Thresholds.
    """
    options = options or QualityOptions()
    everybody = [body_places(person.keypoints_2d, person.confidence, person.bbox) for person in people]
    found = []
    for number, (person, places) in enumerate(zip(people, everybody, strict=True)):
        is_cut = cut_places(places, width, height)
        is_covered = covered_places(places, everybody[:number] + everybody[number + 1 :], is_cut)
        measures: dict[str, float | int | None] = {
            "height_pixels": float(np.max(places.bbox[2:] - places.bbox[:2])),
            "sharpness": None if image is None else body_sharpness(image, places.bbox, places.bones, places.head),
            "truncated_share": float(is_cut.mean()),
            "occluded_share": float(is_covered.mean()),
            "num_points": int((person.confidence[_BODY] >= CONFIDENT).sum()),
        }
        found.append(BoxQuality(**measures, reasons=reasons_of(measures, options)))  # pyright: ignore[reportArgumentType]
    return tuple(found)
