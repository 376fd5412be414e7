"""Arrays of an `.npz` with one row for each person, read under caps."""

import io
import os
import pathlib
import re
import zipfile
import zlib
from collections.abc import Sequence

import numpy as np

from hardmo_jax import safe_pickle
from hardmo_jax.array_types import Shaped
from hardmo_jax.body import array_files
from hardmo_jax.data.published.label_fields import LabelPlace, label_numbers, shown_label
from hardmo_jax.data.training_records import TrainingDataError
from hardmo_jax.safe_pickle import loads_with_object_arrays

#: Human3.6M in the format of SPIN, the largest, has 0.8 GB.
_MAX_FILE_BYTES = 4 << 30
_MAX_OBJECT_BYTES = 1 << 28
_MAX_ROWS = 20_000_000
#: Of a pickle: a name for each row takes three, and five million rows are the most that are handed out.
_MAX_OPCODES = 15_000_000
_MAX_HEADER_BYTES = 1 << 12
_OBJECTS = re.compile(rb"'descr':\s*'\|O'")
_DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, RuntimeError, ValueError, EOFError)


class NpzRows:
    """An archive whose arrays have one row for each person.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If there is no such file.
        TrainingDataError: If it is damaged or too large.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = pathlib.Path(path)
        try:
            self._data = safe_pickle.read_capped(self.path, max_file_bytes=_MAX_FILE_BYTES)
            array_files.read_npz(self._data, source=str(path), keys=())  # its directory is sound, or refused
        except (array_files.BodyFileError, safe_pickle.UnsafePickleError) as error:
            raise TrainingDataError(str(error)) from error
        with zipfile.ZipFile(io.BytesIO(self._data)) as archive:
            self._sizes = {
                member.filename.removesuffix(".npy"): member.file_size
                for member in archive.infolist()
                if member.filename.endswith(".npy")
            }
        self.names = frozenset(self._sizes)
        self.place = LabelPlace(str(path))

    def read(self, keys: Sequence[str]) -> dict[str, Shaped[np.ndarray, "N ..."]]:
        """The arrays of these names that there are.

        Arrays of objects are read by the machine of `safe_pickle`.

        Args:
            keys: Names; the first must be there, and all others have as many rows.

        Raises:
            TrainingDataError: If an array is damaged, too large, or its rows are too many or too few.
            UnsafePickleError: If an array of objects would run code.
            CorruptPickleError: If an array of objects is damaged.
        """
        if keys[0] not in self.names:
            raise self.place.error(keys[0], "among the arrays", ", ".join(sorted(self.names)[:20]))
        rows = {key: self._array(key) for key in keys if key in self.names}
        count = len(rows[keys[0]]) if rows[keys[0]].ndim else 0
        if not 0 < count <= _MAX_ROWS:
            raise self.place.error(keys[0], f"1 to {_MAX_ROWS} rows", shown_label(rows[keys[0]]))
        for key, array in rows.items():
            if array.ndim == 0 or len(array) != count:
                raise self.place.error(key, f"{count} rows, as `{keys[0]}` has", shown_label(array))
        return rows

    def _array(self, key: str) -> Shaped[np.ndarray, "..."]:
        try:
            with zipfile.ZipFile(io.BytesIO(self._data)) as archive, archive.open(f"{key}.npy") as file:
                head = file.read(_MAX_HEADER_BYTES)
                content = head + file.read(_MAX_OBJECT_BYTES) if _OBJECTS.search(head) else None
            if content is None:
                return array_files.read_npz(self._data, source=str(self.path), keys=(key,))[key]
        except array_files.BodyFileError as error:
            raise TrainingDataError(str(error)) from error
        except _DAMAGE as error:
            reason = " ".join(str(error).split())[:120]
            raise self.place.error(key, "readable", f"{reason}; download or copy the file again") from error
        if len(content) != self._sizes[key]:
            raise self.place.error(key, f"at most {_MAX_OBJECT_BYTES} bytes of objects", f"{self._sizes[key]}")
        return _plain_array(self._objects(content, key), key, self.place)

    def _objects(self, content: bytes, key: str) -> Shaped[np.ndarray, "..."]:
        start = 10 if content[6:7] == b"\x01" else 12
        start += int.from_bytes(content[8:start], "little")
        source = f"{self.path}: {key}"
        array = loads_with_object_arrays(content[start:], source=source, max_opcodes=_MAX_OPCODES)
        if not isinstance(array, np.ndarray):
            raise self.place.error(key, "an array", shown_label(array))
        return array


def _plain_array(array: Shaped[np.ndarray, "..."], key: str, place: LabelPlace) -> Shaped[np.ndarray, "..."]:
    """Texts, or rows of numbers, that were saved as objects."""
    values = array.tolist()
    if array.ndim == 1 and all(isinstance(value, str) for value in values):
        return np.array(values)
    if array.ndim == 1 and all(isinstance(value, bytes) for value in values):
        return np.array(values)
    if array.ndim == 1 and values and all(np.shape(value) == np.shape(values[0]) for value in values):
        numbers = np.asarray(values)
        if numbers.dtype.kind in "fiub":
            return numbers
    raise place.error(
        key, "texts or numbers of one shape", f"objects, the first {shown_label(next(iter(values), None))}"
    )


def number_rows(
    rows: dict[str, Shaped[np.ndarray, "N ..."]], key: str, shapes: tuple[tuple[int, ...], ...], place: LabelPlace
) -> Shaped[np.ndarray, "N ..."]:
    """Rows of numbers, each of one of some shapes; whether they are finite is asked of each person.

    Raises:
        TrainingDataError: If they are no numbers, or of another shape.
    """
    array = rows[key]
    label_numbers(array[:1], key, tuple((1, *shape) for shape in shapes), place)
    return array
