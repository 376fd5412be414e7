"""Label files as tables: read in the columns of today, whatever the file's age, and written whole."""

import contextlib
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hardmo_jax.labels import parquet_files, schema
from hardmo_jax.labels.schema import LabelError

#: Columns that name a version of a label.
KEY_COLUMNS = ("label_id", "label_version")
#: Labels of a row group: statistics of each say whether it must be decoded.
ROWS_PER_GROUP = 1024


class LabelFormatError(LabelError):
    """A file is not a label file of a version that can be read here."""


def text_columns(form: pa.Schema) -> Any:
    """Columns of text, which repeat themselves. The stub of pyarrow knows only a bool here."""
    return [field.name for field in form if pa.types.is_string(field.type)]


def with_extra_columns(table: pa.Table, extra: pa.Table) -> pa.Table:
    """A table of labels with further columns behind its own, null where they say nothing of a label.

    Args:
        table: With `KEY_COLUMNS`.
        extra: Further columns and `KEY_COLUMNS`, by which rows are matched.
    """
    keys = zip(*(extra.column(name).to_pylist() for name in KEY_COLUMNS), strict=True)
    row_of = {key: row for row, key in enumerate(keys)}
    wanted = zip(*(table.column(name).to_pylist() for name in KEY_COLUMNS), strict=True)
    indices = pa.array([row_of.get(key) for key in wanted], pa.int64())
    for field in extra.schema:
        if field.name not in table.column_names:
            table = table.append_column(field.with_nullable(True), extra.column(field.name).take(indices))
    return table


def unknown_columns_of(table: pa.Table) -> list[str]:
    """Columns that this version does not know."""
    known = set(schema.label_schema().names)
    return [name for name in table.column_names if name not in known]


def read_label_table(path: pathlib.Path, max_rows: int) -> tuple[pa.Table, int, list[str]]:
    """Read a label file.

    Args:
        path: The file.
        max_rows: Largest number of labels.

    Returns:
        Its table in the current schema with unknown columns behind, the version of the file, and columns that it lacks.
        Values of rows are not checked yet: `schema.table_to_labels` does.

    Raises:
        LabelFormatError: If the file is cut off, too large, no label file, or of a newer version.
    """
    with _told_as_label_errors(path):
        table = parquet_files.read_table(path, max_rows=max_rows, check_schema=lambda found: _check_schema(found, path))
        present = set(table.column_names)
        missing = [name for name in schema.label_schema().names if name not in present]
        return in_current_schema(table), _version_of(table.schema, path), missing


@contextlib.contextmanager
def opened_label_file(path: pathlib.Path, max_rows: int) -> Iterator[pq.ParquetFile]:
    """A label file of which nothing is decoded yet, for `parquet_files.batches_of` and `in_current_schema`.

    Raises:
        LabelFormatError: As `read_label_table`, also of what the block finds.
    """
    with (
        _told_as_label_errors(path),
        parquet_files.opened(path, max_rows=max_rows, check_schema=lambda found: _check_schema(found, path)) as file,
    ):
        yield file


def format_version_of(file: pq.ParquetFile, path: pathlib.Path) -> int:
    """Version of an open label file."""
    return _version_of(file.schema_arrow, path)


@contextlib.contextmanager
def _told_as_label_errors(path: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except LabelError:
        raise
    except (parquet_files.ParquetFileError, pa.ArrowException, OSError, ValueError) as error:
        hint = "" if isinstance(error, parquet_files.ParquetFileError) else f"{path}: damaged; make the labels again: "
        raise LabelFormatError(f"{hint}{' '.join(str(error).split())[:300]}") from error


def parquet_options(form: pa.Schema) -> dict[str, Any]:
    """How label files are written: of same labels the same bytes, with checksums that tell a flipped bit."""
    return {"compression": "zstd", "use_dictionary": text_columns(form), "write_page_checksum": True}


class LabelKeys:
    """Which labels went by, in 20 bytes each, to tell one that occurs twice."""

    def __init__(self) -> None:
        self._keys: list[np.ndarray] = []

    def add(self, table: pa.Table) -> None:
        """Take in the labels of a table.

        Raises:
            LabelError: If a `label_id` is none.
        """
        ids = table.column("label_id").combine_chunks()
        is_id = pc.match_substring_regex(ids, "^[0-9a-f]{32}$")  # pyright: ignore[reportAttributeAccessIssue]
        if not pc.all(is_id, skip_nulls=False).as_py() and table.num_rows:  # pyright: ignore[reportAttributeAccessIssue]
            wrong = next(name for name, is_good in zip(ids.to_pylist(), is_id.to_pylist(), strict=True) if not is_good)
            raise LabelError(f"`label_id` must be 32 hexadecimal digits as `make_label_id` gives, got {wrong!r}")
        digits = np.frombuffer(bytes.fromhex("".join(ids.to_pylist())), np.uint8).reshape(-1, 16)
        versions = np.asarray(table.column("label_version").combine_chunks()).astype("<i4").view(np.uint8)
        self._keys.append(np.hstack([digits, versions.reshape(-1, 4)]))

    def check(self) -> None:
        """Refuse labels of which a version occurs twice.

        Raises:
            LabelError: With the first such label.
        """
        if not self._keys:
            return
        ordered = np.sort(np.concatenate(self._keys).view("S20").ravel())
        twice = np.flatnonzero(ordered[1:] == ordered[:-1])
        if len(twice):
            found = bytes(ordered[twice[0]]).ljust(20, b"\0")
            version = int.from_bytes(found[16:], "little")
            raise LabelError(f"label {found[:16].hex()} version {version} occurs twice")


def _version_of(found: pa.Schema, path: pathlib.Path) -> int:
    text = (found.metadata or {}).get(schema.FORMAT_KEY, b"").decode("ascii", "replace")
    if not re.fullmatch(r"[0-9]{1,6}", text):
        raise LabelFormatError(f"{path}: a Parquet file without labels (no version of hardmo_jax in it)")
    version = int(text)
    if version > schema.FORMAT_VERSION:
        raise LabelFormatError(
            f"{path}: written by a newer hardmo_jax (format {version}, known up to {schema.FORMAT_VERSION}); "
            "update hardmo_jax to read it"
        )
    return version


def _check_schema(found: pa.Schema, path: pathlib.Path) -> None:
    _version_of(found, path)
    for expected in schema.label_schema():
        indices = found.get_all_field_indices(expected.name)
        if not indices and expected.nullable:
            continue  # a column younger than the file
        if len(indices) != 1:
            raise LabelFormatError(f"{path}: expected one column {expected.name!r}, found {len(indices)}")
        if found.field(indices[0]).type != expected.type:
            raise LabelFormatError(
                f"{path}: column {expected.name!r} must be of type {expected.type}, "
                f"found {found.field(indices[0]).type}"
            )


def in_current_schema(table: pa.Table) -> pa.Table:
    """Table with the current columns first, absent ones null, unknown ones behind."""
    current = schema.label_schema()
    present = set(table.column_names)
    arrays = [
        table.column(field.name) if field.name in present else pa.chunked_array([pa.nulls(table.num_rows, field.type)])
        for field in current
    ]
    known = pa.Table.from_arrays(arrays, schema=current)
    for name in unknown_columns_of(table):
        known = known.append_column(table.schema.field(name), table.column(name))
    return known
