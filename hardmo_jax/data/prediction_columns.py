"""Columns of strangers' prediction files, `.npz` or Parquet: texts and numbers, read under caps and not yet judged.

`predictions` says which columns there are and what they mean.
"""

import dataclasses
import pathlib
import zipfile
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hardmo_jax.body.array_files import BodyFileError, read_npz
from hardmo_jax.labels import parquet_files

_MAX_ROWS = 5_000_000
_MAX_DECODED = 4 << 30
#: No layout has 333 points, and no body 1000 shape coefficients: longer lists are a decompression bomb.
_MAX_NUMBERS_A_ROW = 1000
_MAX_TEXT = 500
_BATCH_ROWS = 256
_TEXTS = ("ids", "layout", "body")
PARAMS = ("betas", "global_orient", "body_pose", "transl", "left_hand_pose", "right_hand_pose")
_COLUMNS = (*_TEXTS, "keypoints_3d", "keypoints_2d", *PARAMS)


class PredictionError(ValueError):
    """Predictions that cannot be scored; the message says what was found and what is expected."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictionFile:
    """The known columns of a file."""

    texts: dict[str, list[str]]
    numbers: dict[str, np.ndarray]
    names: tuple[str, ...]
    """Of all columns, for messages."""


def read_columns(path: pathlib.Path) -> PredictionFile:
    """The known columns of an `.npz` or `.parquet` file.

    Raises:
        PredictionError: If it is damaged, too large, or its columns are of another kind.
    """
    return _from_npz(path) if path.suffix == ".npz" else _from_parquet(path)


# NumPy ----------------------------------------------------------------------------------------------------


def _from_npz(path: pathlib.Path) -> PredictionFile:
    try:
        arrays = read_npz(path.read_bytes(), source=path.name, keys=_COLUMNS)
        with zipfile.ZipFile(path) as archive:  # its directory has just been found good
            names = tuple(name.removesuffix(".npy") for name in archive.namelist())
    except (BodyFileError, OSError, zipfile.BadZipFile) as error:
        raise PredictionError(str(error)) from error
    texts = {name: _texts_of_array(arrays.pop(name), name, path) for name in _TEXTS if name in arrays}
    return PredictionFile(texts=texts, numbers=arrays, names=names)


def _texts_of_array(array: np.ndarray, name: str, path: pathlib.Path) -> list[str]:
    is_list = array.ndim == 1 or (array.ndim == 0 and name != "ids")
    if array.dtype.kind not in "US" or not is_list:
        expected = "a list of texts" if name == "ids" else "a text"
        raise PredictionError(f"{path}: `{name}` must be {expected}, got {array.dtype} {array.shape}")
    texts = array.reshape(-1).tolist()
    if array.dtype.kind == "S":
        try:
            texts = [text.decode() for text in texts]
        except UnicodeDecodeError as error:
            raise PredictionError(f"{path}: `{name}` holds bytes that are no UTF-8 text; save texts") from error
    _check_lengths(texts, name, path)
    return texts


def _check_lengths(texts: list[Any], name: str, path: pathlib.Path) -> None:
    for row, text in enumerate(texts):
        if text is None:
            raise PredictionError(f"{path}: `{name}` of row {row} is absent; every row needs one")
        if len(text) > _MAX_TEXT:
            raise PredictionError(_too_long(name, path))


def _too_long(name: str, path: pathlib.Path) -> str:
    return f"{path}: `{name}` holds a text of more than {_MAX_TEXT} characters; names are shorter"


# Parquet --------------------------------------------------------------------------------------------------


def _from_parquet(path: pathlib.Path) -> PredictionFile:
    try:
        # Strangers' files carry columns of all kinds, and only ours are decoded.
        schema = parquet_files.read_schema(path)
        metadata = schema.metadata or {}
        named = {name: metadata[name.encode()] for name in ("layout", "body") if name.encode() in metadata}
        kept = [name for name in schema.names if name in _COLUMNS]
        for name in kept:
            if kept.count(name) > 1:
                raise PredictionError(f"{path}: there are two columns {name!r}")
            _check_type(schema.field(name).type, name, path)
        chunks = _chunks(path, kept)
        texts = {name: _texts(chunks[name], name, path) for name in kept if name in _TEXTS}
        numbers = {name: _numbers(chunks[name], f"{path}: column {name!r}") for name in kept if name not in _TEXTS}
    except PredictionError:
        raise
    except (parquet_files.ParquetFileError, OSError) as error:
        raise PredictionError(str(error)) from error
    except (pa.ArrowException, ValueError, LookupError, OverflowError) as error:  # names that are no text, for example
        raise PredictionError(f"{path}: damaged ({' '.join(str(error).split())[:200]}); make it again") from error
    for name, value in named.items():
        texts[name] = [value.decode("utf-8", "replace")]
        _check_lengths(texts[name], name, path)
    return PredictionFile(texts=texts, numbers=numbers, names=tuple(schema.names))


def _check_type(kind: pa.DataType, name: str, path: pathlib.Path) -> None:
    if name in _TEXTS:
        text = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not (pa.types.is_string(text) or pa.types.is_large_string(text)):
            raise PredictionError(f"{path}: column `{name}` must be texts, got {kind}")
        return
    depth, number = 0, kind
    while _is_list(number):
        depth, number = depth + 1, number.value_type
    is_number = pa.types.is_integer(number) or pa.types.is_floating(number) or pa.types.is_null(number)
    if not 1 <= depth <= 3 or not is_number:
        raise PredictionError(f"{path}: column `{name}` must hold a list of numbers for each row, got {kind}")


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _chunks(path: pathlib.Path, names: list[str]) -> dict[str, list[pa.Array]]:
    """Columns in pieces of some rows.

    Texts stay in dictionaries: a name of a megabyte that stands in all rows is then one megabyte, not gigabytes.
    """
    chunks: dict[str, list[pa.Array]] = {name: [] for name in names}
    if not names:
        return chunks
    stored, num_bytes = path.stat().st_size, 0
    most = min(_MAX_DECODED, max(parquet_files.FREE_BYTES, parquet_files.MAX_EXPANSION * stored))
    texts = [name for name in names if name in _TEXTS]
    with pq.ParquetFile(path, memory_map=False, read_dictionary=texts) as file:
        _check_rows(file.metadata, path)
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=names):
            num_bytes += batch.nbytes
            if num_bytes > most:
                raise PredictionError(f"{path}: {stored} bytes unpack to more than {most}; score it set by set")
            batch.validate(full=True)
            for name in names:
                if name not in _TEXTS:
                    _check_widths(batch.column(name), name, path)
                chunks[name].append(batch.column(name))
    return chunks


def _check_rows(metadata: pq.FileMetaData, path: pathlib.Path) -> None:
    """What the footer says, before a page is decoded. Of columns it is not asked: pyarrow aborts on damaged ones."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    if metadata.num_rows > _MAX_ROWS:
        raise PredictionError(f"{path}: {metadata.num_rows} rows, more than {_MAX_ROWS}; score it set by set")
    if sum(group.num_rows for group in groups) != metadata.num_rows:
        raise PredictionError(f"{path}: its footer contradicts itself; make it again")


def _check_widths(column: pa.Array, name: str, path: pathlib.Path) -> None:
    """Equal numbers pack to nothing, so long lists are refused as soon as the first of them is seen."""
    numbers = column
    while _is_list(numbers.type):
        numbers = numbers.flatten()
    if len(numbers) > _MAX_NUMBERS_A_ROW * len(column):
        raise PredictionError(
            f"{path}: column `{name}` has {len(numbers)} numbers in {len(column)} rows, more than "
            f"{_MAX_NUMBERS_A_ROW} a row"
        )


def _texts(chunks: list[pa.Array], name: str, path: pathlib.Path) -> list[str]:
    texts: list[Any] = []
    for chunk in chunks:
        is_dictionary = pa.types.is_dictionary(chunk.type)
        # Lengths in bytes first: unpacking is what makes one long name fill the memory.
        lengths = pc.call_function("binary_length", [chunk.dictionary if is_dictionary else chunk])
        if (np.asarray(lengths.drop_null()) > 4 * _MAX_TEXT).any():
            raise PredictionError(_too_long(name, path))
        texts += (chunk.dictionary_decode() if is_dictionary else chunk).to_pylist()
    _check_lengths(texts, name, path)
    return texts


def _numbers(chunks: list[pa.Array], where: str) -> np.ndarray:
    """Lists of equal lengths as an array of as many axes; an absent list is NaN."""
    shape = _common_shape(chunks, where)
    return np.concatenate([np.zeros((0, *shape)), *(_filled(chunk, shape) for chunk in chunks)])


def _common_shape(chunks: list[pa.Array], where: str) -> tuple[int, ...]:
    if not chunks or not _is_list(chunks[0].type):
        return ()
    lengths = set()
    for chunk in chunks:
        is_fixed = pa.types.is_fixed_size_list(chunk.type)
        lengths |= {chunk.type.list_size} if is_fixed else set(chunk.value_lengths().unique().to_pylist()) - {None}
    if len(lengths) > 1:
        found = ", ".join(map(str, sorted(lengths)[:3]))
        raise PredictionError(f"{where} holds lists of different lengths ({found}); expected one length")
    return (lengths.pop() if lengths else 0, *_common_shape([chunk.flatten() for chunk in chunks], where))


def _filled(chunk: pa.Array, shape: tuple[int, ...]) -> np.ndarray:
    if not shape:
        return np.asarray(chunk.to_numpy(zero_copy_only=False), np.float64)
    filled = np.full((len(chunk), *shape), np.nan)
    if filled.size:
        # `flatten` leaves out what stands in absent lists.
        filled[np.asarray(chunk.is_valid())] = _filled(chunk.flatten(), shape[1:]).reshape(-1, *shape)
    return filled
