"""What pools of poses and of motion share: takes that are for training only, and one `.npz` of plain arrays."""

import json
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np

from hardmo_jax.body import learnt_files
from hardmo_jax.body.learnt_files import FileKind
from hardmo_jax.data import splits

_T = TypeVar("_T")


def check_labels(styles: tuple[str, ...], takes: tuple[str, ...], take_of: np.ndarray, count: int) -> None:
    """Refuse labels that do not fit, and takes that are held out.

    Args:
        styles: Of each take.
        takes: Names within the style.
        take_of: Take that each item of the pool comes from.
        count: Items of the pool.

    Raises:
        ValueError: If they contradict each other.
        SplitError: If a take is not for training.
    """
    if take_of.dtype.kind != "i" or take_of.shape != (count,) or len(styles) != len(takes):
        raise ValueError(
            f"`take_of` must be {count} whole numbers and each take must have a style, got {take_of.dtype} "
            f"{take_of.shape}, {len(takes)} takes and {len(styles)} styles"
        )
    if count and not (take_of.min() >= 0 and take_of.max() < len(takes)):
        raise ValueError(f"`take_of` must count the {len(takes)} takes")
    for style, take in zip(styles, takes, strict=True):
        if style in splits.STYLES:
            splits.check_takes("train", {style: (take,)})


def save_pool(path: str | os.PathLike[str], meta: Mapping[str, Any], **arrays: np.ndarray) -> None:
    """Write a pool whole or not at all: its arrays in single precision."""
    narrow = {name: array.astype(np.int32 if array.dtype.kind == "i" else np.float32) for name, array in arrays.items()}
    learnt_files.save(path, {"meta": np.array(json.dumps(meta)), **narrow})


def load_pool(path: str | os.PathLike[str], kind: FileKind, build: Callable[[dict[str, np.ndarray]], _T]) -> _T:
    """Read what `save_pool` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: `kind.error`, if it is damaged, of another kind or version, or holds takes that are not for
            training.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such {kind.name.removeprefix('a ')}; `python -m tools.train` makes one")
    return kind.read(path.read_bytes(), build, source=str(path))


def takes_of(meta: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """`styles` and `takes` of a description."""
    return {name: tuple(str(text) for text in meta[name]) for name in ("styles", "takes")}
