"""Files of what was learnt, and of what it was learnt from: named arrays and a text of JSON in one `.npz`.

They are read under caps and never unpickled (`array_files`), and written whole or not at all. Each user names its
kind of file and says which arrays of which shapes it expects; what does not fit is refused in one line.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any, TypeVar

import numpy as np

from hardmo_jax import whole_files
from hardmo_jax.body import array_files

_T = TypeVar("_T")
_META = "meta"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileKind:
    """What messages say of a kind of file."""

    name: str
    """With its article."""
    error: type[ValueError]
    """Raised for a file that is none."""
    remedy: str
    """What to do about such a file."""

    def read(self, data: bytes, build: Callable[[dict[str, np.ndarray]], _T], *, source: str) -> _T:
        """What a file holds.

        Args:
            data: The whole file.
            build: Makes it of the arrays; what it finds wrong with them it raises as a ValueError.
            source: Name to use in messages.

        Raises:
            ValueError: `error`, if the file is damaged or does not hold what is asked for.
        """
        try:
            return build(array_files.read_npz(data, source=source))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            # Descriptions of strangers are of any shape: a list where a mapping is expected, for example.
            reason = f"it lacks {error}" if isinstance(error, KeyError) else error
            raise self.error(f"{source}: not {self.name} ({reason}); {self.remedy}") from error

    def read_asset(self, place: str, build: Callable[[dict[str, np.ndarray]], _T]) -> _T:
        """What a file holds that comes with the package.

        Args:
            place: Of the file in the package.
            build: As of `read`.

        Raises:
            FileNotFoundError: If the package was installed without its data.
        """
        return self.read(asset_bytes(place, self.remedy), build, source=pathlib.PurePosixPath(place).name)


def asset_bytes(place: str, remedy: str) -> bytes:
    """A file that comes with the package.

    Args:
        place: In the package.
        remedy: What makes such a file, for the message.

    Raises:
        FileNotFoundError: If the package was installed without its data.
    """
    asset = resources.files("hardmo_jax").joinpath(place)
    if not asset.is_file():
        raise FileNotFoundError(f"the package lacks {place}; reinstall hardmo_jax ({remedy})")
    return asset.read_bytes()


def save(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> str:
    """Write arrays whole or not at all.

    Returns:
        SHA-256 of the file.
    """
    with whole_files.replacing(path) as temporary:
        np.savez(temporary, allow_pickle=False, **arrays)  # pyright: ignore[reportArgumentType]
    return whole_files.file_sha256(path)


def text(value: Mapping[str, Any]) -> np.ndarray:
    """Plain values as an array that holds them as JSON."""
    return np.array(json.dumps(value, sort_keys=True))


def description(arrays: Mapping[str, np.ndarray], version: int) -> dict[str, Any]:
    """The array `meta` as plain values.

    Raises:
        KeyError: If it is missing.
        ValueError: If it is no JSON, or of another format than `version`.
    """
    meta = json.loads(str(arrays[_META]))
    if meta["format_version"] != version:
        raise ValueError(f"format {meta['format_version']}, this version reads {version}")
    return meta


def numbers(arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """An array of finite floating-point numbers.

    Args:
        arrays: Of a file.
        name: Array.
        shape: It must have; None stands for any length.

    Raises:
        KeyError: If it is missing.
        ValueError: If it is of another shape or type, or not finite.
    """
    array = arrays[name]
    is_shape = array.ndim == len(shape) and all(
        wanted in (None, length) for wanted, length in zip(shape, array.shape, strict=True)
    )
    if not is_shape or array.dtype.kind != "f" or not np.isfinite(array).all():
        raise ValueError(
            f"`{name}` must be finite numbers of shape {_written(shape)}, got {array.dtype} of shape "
            f"{_written(array.shape)}"
        )
    return array


def _written(shape: tuple[int | None, ...]) -> str:
    return " x ".join("any" if length is None else str(length) for length in shape) or "()"
