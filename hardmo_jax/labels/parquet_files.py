"""Parquet files of strangers: looked at before pyarrow opens them, and bounded in what they unpack to."""

import base64
import binascii
import contextlib
import os
import pathlib
import re
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

#: Decoded columns larger than `FREE_BYTES` and this many times the file are taken for a decompression bomb.
MAX_EXPANSION = 400
FREE_BYTES = 1 << 30

_MAX_FOOTER_BYTES = 64 << 20
_BATCH_ROWS = 1024
_BUFFER_BYTES = 1 << 16


class ParquetFileError(ValueError):
    """A file is not a Parquet file that is safe to read, or is damaged."""


def read_table(
    path: pathlib.Path, *, max_rows: int, check_schema: Callable[[pa.Schema], None] | None = None
) -> pa.Table:
    """Read a Parquet file of plain columns.

    Args:
        path: The file.
        max_rows: Largest number of rows.
        check_schema: Called with the schema before any column is decoded; raises what it likes.

    Raises:
        ParquetFileError: If the file is cut off, damaged, too large once decoded, or holds extension types.
    """
    with opened(path, max_rows=max_rows, check_schema=check_schema) as file:
        num_bytes, batches = 0, []
        for batch in file.iter_batches(batch_size=_BATCH_ROWS):
            # In steps, so that a bomb hidden in a dictionary is noticed before it fills the memory.
            num_bytes += batch.nbytes
            _check_decoded(num_bytes, path)
            batches.append(batch)
        table = pa.Table.from_batches(batches, schema=file.schema_arrow).combine_chunks()
        table.validate(full=True)
        return table


@contextlib.contextmanager
def opened(
    path: pathlib.Path, *, max_rows: int, check_schema: Callable[[pa.Schema], None] | None = None
) -> Iterator[pq.ParquetFile]:
    """A Parquet file of plain columns, of which nothing is decoded yet.

    Checksums of pages are looked at where it has any.

    Args:
        path: The file.
        max_rows: Largest number of rows.
        check_schema: Called with the schema; raises what it likes.

    Raises:
        ParquetFileError: If the file is cut off, too large once decoded, holds extension types, or is found damaged
            while the block reads it.
    """
    _check_footer(path)
    try:
        # Read through a buffer: a column of a large file would else be in memory as a whole.
        with pq.ParquetFile(path, memory_map=False, buffer_size=_BUFFER_BYTES, page_checksum_verification=True) as file:
            # Only the schema is known so far; the columns are decoded after it has been found good.
            schema = _plain_schema(file, path)
            if check_schema is not None:
                check_schema(schema)
            _check_size(file.metadata, path, max_rows)
            yield file
    except pa.ArrowException as error:
        raise ParquetFileError(f"{path}: damaged ({_one_line(error)}); make it again") from error


def batches_of(
    file: pq.ParquetFile,
    path: pathlib.Path,
    *,
    batch_rows: int,
    row_groups: Sequence[int] | None = None,
    columns: Sequence[str] | None = None,
) -> Iterator[pa.Table]:
    """Rows of an open file, a few at a time.

    Args:
        file: Of `opened`.
        path: Its name.
        batch_rows: Most rows of a table.
        row_groups: Those that are decoded; None for all.
        columns: Those that are decoded; None for all.

    Raises:
        ParquetFileError: If rows unpack to more than they may.
    """
    chosen = range(file.metadata.num_row_groups) if row_groups is None else row_groups
    for batch in file.iter_batches(
        batch_size=batch_rows,
        row_groups=list(chosen),
        columns=None if columns is None else list(columns),
    ):
        _check_decoded(batch.nbytes, path)
        table = pa.Table.from_batches([batch])
        table.validate(full=True)
        yield table


def read_schema(path: pathlib.Path) -> pa.Schema:
    """Schema of a file of plain columns that pyarrow may open; nothing is decoded.

    Raises:
        ParquetFileError: If the file is cut off, damaged, or holds extension types.
    """
    _check_footer(path)
    try:
        with pq.ParquetFile(path, memory_map=False) as file:
            return _plain_schema(file, path)
    except pa.ArrowException as error:
        raise ParquetFileError(f"{path}: damaged ({_one_line(error)}); make it again") from error


def _plain_schema(file: pq.ParquetFile, path: pathlib.Path) -> pa.Schema:
    for field in file.schema_arrow:
        if _holds_extension(field.type):
            raise ParquetFileError(f"{path}: column {field.name!r} holds an Arrow extension type")
    return file.schema_arrow


def _check_footer(path: pathlib.Path) -> None:
    """Refuse files that are no complete Parquet or carry extension types, without any Arrow code.

    An extension type that another library registered (Ray's tensors) unpickles while pyarrow reads the
    schema: GHSA-mw35-8rx3-xf9r. Its name stands in the Arrow schema, base64 inside the footer.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size < 12:
            raise ParquetFileError(f"{path}: {size} bytes are no Parquet file; make it again")
        file.seek(0)
        begin = file.read(4)
        file.seek(size - 8)
        length, end = int.from_bytes(file.read(4), "little"), file.read(4)
        if begin != b"PAR1":
            raise ParquetFileError(f"{path}: begins with {begin!r}, so it is no Parquet file")
        if end != b"PAR1":
            raise ParquetFileError(f"{path}: cut off, its footer is missing; copy it or make it again")
        if length > min(size - 12, _MAX_FOOTER_BYTES):
            raise ParquetFileError(f"{path}: its footer of {length} bytes is too large for the file")
        file.seek(size - 8 - length)
        footer = file.read(length)
    if _names_extension_type(footer):
        raise ParquetFileError(
            f"{path}: holds an Arrow extension type, which may run code when read; only plain columns are read"
        )


def _names_extension_type(footer: bytes) -> bool:
    marker = b"ARROW:extension"
    if marker in footer:
        return True
    for text in re.findall(rb"[A-Za-z0-9+/]{64,}", footer):
        # A length byte before the text may look like base64 as well, so every alignment is tried.
        for shift in range(4):
            part = text[shift:]
            try:
                if marker in base64.b64decode(part[: len(part) // 4 * 4]):
                    return True
            except binascii.Error:
                continue
    return False


def _holds_extension(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        return True
    return any(_holds_extension(kind.field(index).type) for index in range(kind.num_fields))


def _check_size(metadata: pq.FileMetaData, path: pathlib.Path, max_rows: int) -> None:
    if metadata.num_rows > max_rows:
        raise ParquetFileError(
            f"{path}: {metadata.num_rows} rows are more than the limit allows ({max_rows} left); split it"
        )
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    if sum(group.num_rows for group in groups) != metadata.num_rows:
        raise ParquetFileError(f"{path}: its footer contradicts itself; make it again")
    _check_decoded(sum(group.total_byte_size for group in groups), path)


def _check_decoded(num_bytes: int, path: pathlib.Path) -> None:
    stored = path.stat().st_size
    if num_bytes < 0 or num_bytes > max(FREE_BYTES, MAX_EXPANSION * stored):
        raise ParquetFileError(f"{path}: {stored} bytes unpack to {num_bytes}; refused as a decompression bomb")


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
