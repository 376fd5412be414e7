"""One person of one picture as networks are trained on them, wherever the labels come from.

A source has records by number, so that any order can be drawn and gone on with; pixels are read apart from labels.
"""

import dataclasses
from typing import Protocol, runtime_checkable

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.data.hmr2_augmentation import TrainingPerson
from hardmo_jax.skeleton import layouts

#: Beside the 44 keypoints, in this order: what HardMo's terms of hands compare besides wrists (`hardmo_54`).
FINGERTIPS = layouts.FINGER_TIPS
FINGERTIP_LAYOUT = layouts.KeypointLayout(name="fingertips_10", points=FINGERTIPS)


class TrainingDataError(ValueError):
    """Labels or pixels cannot be trained on; the message says which, what was expected and what was found."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PixelReference:
    """Where the picture of a person is."""

    path: str
    """Photo, video, or tar."""
    frame_index: int | None = None
    """Frame of a video; None for photos."""
    member_offset: int | None = None
    """First byte of the photo within a tar; None for others."""
    member_bytes: int | None = None
    """Its length."""
    sha256: str | None = None
    """Of the photo's or video's content, as it was labelled; None where that is not known."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """A person with labels, each part with how far it is to be believed."""

    name: str
    """For messages: unique in its source."""
    pixels: PixelReference
    center: Float[np.ndarray, "2"]
    """Middle of the box, pixels of the picture."""
    size: float
    """Longer side of the box, grown as its publisher grows boxes, pixels."""
    extent: Float[np.ndarray, "2"] | None = None
    """Width and height of the same box where they are told, for crops that are no squares."""
    person: TrainingPerson
    """Keypoints of the layout `hmr2_44`, pixels of the picture and metres; confidence 0 of points that nobody knows."""
    betas: Float[np.ndarray, "10"]
    """Shape, standard deviations."""
    has_pose: bool
    """Whether orientation and pose are known; else they are zeros."""
    has_betas: bool
    """Whether the shape is known; else it is zeros."""
    fingertips_2d: Float[np.ndarray, "10 2"] | None = None
    """Of `FINGERTIPS`, pixels of the picture; None where nobody knows them."""
    fingertips_confidence: Float[np.ndarray, "10"] | None = None
    fingertips_3d: Float[np.ndarray, "10 3"] | None = None
    """Metres, axes of the camera."""
    fingertips_confidence_3d: Float[np.ndarray, "10"] | None = None
    focal_length: float | None = None
    """Of the whole picture, pixels; None where nobody knows it."""
    weight: float = 1.0
    """Of all terms: how far the label as a whole is to be believed."""


@runtime_checkable
class TrainingSource(Protocol):
    """Labels of one origin, by number."""

    name: str
    """Of the source, for messages and mixing weights."""

    def __len__(self) -> int:
        """Number of people."""
        ...

    def record(self, index: int) -> TrainingRecord:
        """One person.

        Raises:
            TrainingDataError: If this one's labels are damaged.
        """
        ...
