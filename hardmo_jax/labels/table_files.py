"""Label files as tables: read in the columns of today, whatever the file's age, and written whole."""

import pathlib
import re
from typing import Any

import pyarrow as pa

from hardmo_jax.labels import parquet_files, schema
from hardmo_jax.labels.schema import LabelError

#: Columns that name a version of a label.
KEY_COLUMNS = ("label_id", "label_version")


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
    try:
        table = parquet_files.read_table(path, max_rows=max_rows, check_schema=lambda found: _check_schema(found, path))
        missing = [name for name in schema.label_schema().names if name not in table.column_names]
        return _in_current_schema(table), _version_of(table.schema, path), missing
    except LabelError:
        raise
    except (parquet_files.ParquetFileError, pa.ArrowException, OSError, ValueError) as error:
        hint = "" if isinstance(error, parquet_files.ParquetFileError) else f"{path}: damaged; make the labels again: "
        raise LabelFormatError(f"{hint}{' '.join(str(error).split())[:300]}") from error


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


def _in_current_schema(table: pa.Table) -> pa.Table:
    """Table with the current columns first, absent ones null, unknown ones behind."""
    current = schema.label_schema()
    arrays = [
        table.column(field.name)
        if field.name in table.column_names
        else pa.chunked_array([pa.nulls(table.num_rows, field.type)])
        for field in current
    ]
    known = pa.Table.from_arrays(arrays, schema=current)
    for name in unknown_columns_of(table):
        known = known.append_column(table.schema.field(name), table.column(name))
    return known
