"""Which takes of the motion capture train, choose and test: fixed once, for everybody.

Salsa takes N and N+15 are the two partners of one dance, so they are always on the same side.
"""

import re
from typing import Literal, get_args

Split = Literal["train", "validation", "test"]

#: Takes by style that are not for training.
_HELD_OUT: dict[str, dict[str, tuple[str, ...]]] = {
    "test": {"indian": ("08",), "martial": ("07",), "salsa": ("10", "11", "25", "26")},
    "validation": {"indian": ("07",), "martial": ("04",), "salsa": ("09", "24")},
}
STYLES = ("martial", "indian", "salsa")
#: Performers of martial arts, Indian dance and salsa as the CMU database numbers them: their takes elsewhere may be
#: those that are held out.
_SUBJECTS = (135, 94, 60, 61)


class SplitError(ValueError):
    """A take was asked for on the wrong side of the split."""


def split_of(style: str, take: str) -> Split:
    """Side that a take belongs to.

    Raises:
        SplitError: If the style is unknown, or the take is not written with two digits: `8` would pass for training.
    """
    if style not in STYLES:
        raise SplitError(f"unknown style {style!r}; the split is defined for {', '.join(STYLES)}")
    if not re.fullmatch("[0-9]{2}", take):
        raise SplitError(f"takes are named by two digits, such as 08; got {take!r}")
    for split in ("test", "validation"):
        if take in _HELD_OUT[split][style]:
            return split
    return "train"


def is_of_split_subject(name: str) -> bool:
    """Whether a file named as the CMU database names takes (`94_08`) shows a performer of the three styles."""
    number = re.match("0*([0-9]+)(?:[^0-9]|$)", name)
    return number is not None and int(number[1]) in _SUBJECTS


def held_out_takes(split: Split, style: str) -> tuple[str, ...]:
    """Takes of the test or validation split.

    Raises:
        SplitError: If the split is another one, or the style is unknown.
    """
    if split not in _HELD_OUT:
        raise SplitError(f"`split` must be one of {', '.join(_HELD_OUT)}, got {split!r}; train is all other takes")
    if style not in STYLES:
        raise SplitError(f"unknown style {style!r}; the split is defined for {', '.join(STYLES)}")
    return _HELD_OUT[split][style]


def check_takes(split: Split, takes: dict[str, tuple[str, ...]]) -> None:
    """Refuse takes that belong to another side.

    Args:
        split: Side that the takes are used for.
        takes: Takes by style.

    Raises:
        SplitError: On the first take of another side.
    """
    if split not in get_args(Split):
        raise SplitError(f"unknown split {split!r}; known: {', '.join(get_args(Split))}")
    for style, names in takes.items():
        for take in names:
            actual = split_of(style, take)
            if actual != split:
                raise SplitError(
                    f"take {take} of {style} belongs to {actual}, not to {split}; the split is fixed so that numbers "
                    "of different people can be compared"
                )
