"""What a viewer shows, as values, and what somebody does there: all that passes between it and who made it."""

import dataclasses
from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.array_types import Float


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ShownPerson:
    """One person of a picture."""

    label_id: str
    vertices: Float[np.ndarray, "V 3"]
    """Camera frame, metres."""
    ghost: Float[np.ndarray, "V 3"] | None
    """The label before its last change."""
    badness: Mapping[str, float | None]
    """By part, how likely it is wrong; None where nothing is known."""
    is_by_hand: bool
    """Whether a person made the label."""
    joints: Float[np.ndarray, "J 3"]
    """Camera frame, metres."""
    rotations: Float[np.ndarray, "J 4"]
    """Axes of the joints in the camera frame, quaternions (w, x, y, z)."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ShownScene:
    """A picture and its people, in the frame of its camera."""

    image: UInt8[np.ndarray, "H W 3"] | None
    """None where there is none."""
    image_size: tuple[int, int]
    """Width and height that cameras and keypoints are of, pixels."""
    focal_length: Float[np.ndarray, "2"]
    principal_point: Float[np.ndarray, "2"]
    people: tuple[ShownPerson, ...]
    selected: str
    """Label of the person that words and handles are of; empty without anybody."""
    keypoints_2d: Float[np.ndarray, "P 2"]
    """Where a detector saw points of the selected person, pixels."""
    target: Float[np.ndarray, "3"]
    """What is looked at from elsewhere."""
    target_radius: float
    """Size of that, metres."""
    close_up: Float[np.ndarray, "C 3"]
    """Points that are to be seen where it is zoomed to that."""
    focus: str
    """Names it; another one is zoomed to anew."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ShownHandle:
    """A point that can be dragged."""

    place: Float[np.ndarray, "3"]
    """Camera frame, metres."""
    is_placed: bool
    """Whether somebody put it there."""
    radius: float
    """Metres."""
    is_in_focus: bool = True
    """Whether it belongs to the part that is looked at: it has its name beside it."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ShownTimeline:
    """A person in the frames of a video."""

    pictures: Float[np.ndarray, "T"]
    """Indices of the pictures, as the slider counts them."""
    badness: Mapping[str, Float[np.ndarray, "T"]]
    """By part, how likely it is wrong; NaN where nothing is known."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ShownPanel:
    """Words and settings beside the scene."""

    label: tuple[str, int]
    """Label and version that all of it is about."""
    case: str
    """What is gone through, and which of how many is shown."""
    picture: int
    """Index of the picture."""
    people: tuple[str, ...]
    """Names of the people in it."""
    person: str
    """The selected one."""
    facts: tuple[tuple[str, str], ...]
    """Name and value, a line each."""
    parts: tuple[tuple[str, ...], ...]
    """Table of parts; the first row is its head."""
    correction: tuple[str, ...]
    """Lines on the correction."""
    timeline: "ShownTimeline | None"
    """Of the selected person in a video."""
    message: str
    """What just happened, or went wrong."""
    is_wrong: bool
    """Whether that is a mishap."""
    can_undo: bool
    can_save: bool


@runtime_checkable
class ViewerActions(Protocol):
    """What somebody does in the viewer. Called from the threads of the server."""

    def go_through(self, kind: str) -> None:
        """Choose what is gone through."""

    def step(self, count: int) -> None:
        """Go on or back."""

    def show_picture(self, index: int) -> None:
        """Show a picture."""

    def select(self, name: str) -> None:
        """Select a person of the picture by the name in the panel."""

    def select_label(self, label_id: str) -> None:
        """Select a person of the picture by their label."""

    def review(self, word: str, label: tuple[str, int]) -> None:
        """Accept, reject, or take it back (`none`), of the label and version that was seen."""

    def mark(self, part: str, word: str | None, label: tuple[str, int]) -> None:
        """Say that a part of the label that was seen is wrong or right; None takes it back."""

    def correct_by_hand(self, is_on: bool, with_fingers: bool) -> None:
        """Show handles, or hide them."""

    def drag(self, point: str, place: np.ndarray, phase: str, label_id: str) -> None:
        """Put a point of the label that was seen at pixels (two numbers) or in space (three).

        Phases are `start`, `update` and `end`.
        """

    def undo(self) -> None:
        """Take back the last drag."""

    def save(self) -> None:
        """Keep the correction."""

    def discard(self) -> None:
        """Drop it."""
