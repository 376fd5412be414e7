"""Parquet shards of a data set: columns of labels and, where asked for, one of pictures as `datasets` reads them."""

import dataclasses
import json
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from hardmo_jax.export.dataset.dataset_facts import DatasetExportError
from hardmo_jax.labels import parquet_files, schema
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.whole_files import file_sha256, replacing

DATA_FOLDER = "data"
#: Column of pictures; `datasets` knows it by its two members.
IMAGE_COLUMN = "image"
_IMAGE_TYPE = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])

_ROWS_PER_SHARD = 100_000
#: Of encoded pictures; the Hub asks for shards below 500 MB or so.
_BYTES_PER_SHARD = 256 << 20
_ROWS_PER_GROUP, _PICTURES_PER_GROUP, _BYTES_PER_GROUP = 4096, 64, 128 << 20
#: The same picture stands in the row of each of its people: a dictionary of this size keeps it once a row group.
_DICTIONARY_BYTES = 1 << 30


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetShard:
    """One file of rows."""

    name: str
    """Below the folder of the data set, with `/`."""
    num_rows: int
    num_bytes: int
    sha256: str


def dataset_schema(*, with_pixels: bool) -> pa.Schema:
    """Columns of a data set: those of labels with their metadata, and pictures."""
    form = schema.label_schema()
    if with_pixels:
        told = {"description": "the whole picture, upright, encoded anew; null where it was taken out"}
        form = form.append(pa.field(IMAGE_COLUMN, _IMAGE_TYPE, metadata=told))
    features = {field.name: _arrow_feature(field.name, field.type) for field in form}
    metadata = {**(form.metadata or {}), b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    return form.with_metadata(metadata)


def _arrow_feature(name: str, kind: pa.DataType) -> dict[str, Any]:
    """A column as `datasets` writes it into the metadata of Arrow."""
    if name == IMAGE_COLUMN and kind == _IMAGE_TYPE:
        return {"_type": "Image"}
    if pa.types.is_fixed_size_list(kind):
        return {"feature": _arrow_feature("", kind.value_type), "length": kind.list_size, "_type": "List"}
    if pa.types.is_list(kind):
        return {"feature": _arrow_feature("", kind.value_type), "_type": "List"}
    if pa.types.is_struct(kind):
        return {kind.field(at).name: _arrow_feature("", kind.field(at).type) for at in range(kind.num_fields)}
    return {"dtype": type_name(kind), "_type": "Value"}


def type_name(kind: pa.DataType) -> str:
    """A plain type as `datasets` calls it."""
    names = {pa.float32(): "float32", pa.float64(): "float64"}
    return names.get(kind, str(kind))


class DatasetWriter:
    """Writes `data/train-00000-of-0000N.parquet`; used as a context manager, `shards` holds the files behind it."""

    def __init__(self, folder: pathlib.Path, *, with_pixels: bool) -> None:
        """Nothing is written yet.

        Args:
            folder: Of the data set; gets the folder `data`.
            with_pixels: Whether there is a column of pictures.
        """
        self._data = folder / DATA_FOLDER
        self._schema = dataset_schema(with_pixels=with_pixels)
        self._with_pixels = with_pixels
        self._rows: list[LabelRow] = []
        self._images: list[dict[str, Any] | None] = []
        self._writer: pq.ParquetWriter | None = None
        self._paths: list[pathlib.Path] = []
        self._counts: list[int] = []
        self._bytes = self._pending_bytes = 0
        self.shards: tuple[DatasetShard, ...] = ()
        """All files, once the writer is closed."""

    def __enter__(self) -> "DatasetWriter":
        self._data.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is not None:
            if self._writer is not None:
                self._writer.close()
            return
        self._flush()
        if not self._paths:
            self._begin()
        self._end()
        total = len(self._paths)
        shards = []
        for index, (path, count) in enumerate(zip(self._paths, self._counts, strict=True)):
            path = path.rename(self._data / f"train-{index:05d}-of-{total:05d}.parquet")
            shards.append(shard_of(path, count))
        self.shards = tuple(shards)

    def add(self, row: LabelRow, picture: tuple[str, bytes] | None = None) -> None:
        """Take a label in.

        Args:
            row: The label.
            picture: Name and encoded bytes.
        """
        if picture is not None:
            self._pending_bytes += len(picture[1])
            if not self._images or self._images[-1] is None or self._images[-1]["path"] != picture[0]:
                self._bytes += len(picture[1])
        self._rows.append(row)
        self._images.append(None if picture is None else {"bytes": picture[1], "path": picture[0]})
        most = _PICTURES_PER_GROUP if self._with_pixels else _ROWS_PER_GROUP
        if len(self._rows) >= most or self._pending_bytes >= _BYTES_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        if not self._rows:
            return
        if self._writer is None:
            self._begin()
        table = schema.labels_to_table(self._rows)
        if self._with_pixels:
            table = table.append_column(self._schema.field(IMAGE_COLUMN), pa.array(self._images, _IMAGE_TYPE))
        if self._writer is not None:
            self._writer.write_table(table.replace_schema_metadata(self._schema.metadata))
        self._counts[-1] += len(self._rows)
        self._rows, self._images, self._pending_bytes = [], [], 0
        if self._counts[-1] >= _ROWS_PER_SHARD or self._bytes >= _BYTES_PER_SHARD:
            self._end()

    def _begin(self) -> None:
        self._paths.append(self._data / f"shard-{len(self._paths):05d}.parquet")
        self._counts.append(0)
        self._bytes = 0
        self._writer = _opened_writer(self._paths[-1], self._schema)

    def _end(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None


def _opened_writer(path: pathlib.Path, form: pa.Schema) -> pq.ParquetWriter:
    texts: list[str] = [field.name for field in form if pa.types.is_string(field.type)]
    if IMAGE_COLUMN in form.names:
        texts.append(f"{IMAGE_COLUMN}.bytes")
    # The stub of pyarrow knows only a bool here.
    columns: Any = texts
    return pq.ParquetWriter(
        path, form, compression="zstd", use_dictionary=columns, dictionary_pagesize_limit=_DICTIONARY_BYTES
    )


def shard_of(path: pathlib.Path, num_rows: int | None = None) -> DatasetShard:
    """What is told of a file of rows; they are counted unless their number is given."""
    return DatasetShard(
        name=f"{DATA_FOLDER}/{path.name}",
        num_rows=int(pq.read_metadata(path).num_rows) if num_rows is None else num_rows,
        num_bytes=path.stat().st_size,
        sha256=file_sha256(path),
    )


def dataset_shard_paths(folder: pathlib.Path) -> list[pathlib.Path]:
    """Files of rows of a data set, in order."""
    return sorted((folder / DATA_FOLDER).glob("train-*-of-*.parquet"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardRows:
    """What a file holds, without the pictures."""

    rows: tuple[LabelRow, ...]
    have_pictures: tuple[bool, ...]
    """Whether each row holds its picture."""
    has_column: bool
    """Whether there is a column of pictures."""


def rows_of_shard(path: pathlib.Path) -> ShardRows:
    """Labels of a file; no picture is decoded.

    Raises:
        hardmo_jax.labels.parquet_files.ParquetFileError: If the file is damaged.
        DatasetExportError: If it holds no labels of this version.
    """
    with_pixels = _checked_schema(path)
    rows: list[LabelRow] = []
    have_pictures: list[bool] = []
    for batch, images in _batches(path, with_pixels=with_pixels):
        rows += schema.table_to_labels(pa.Table.from_batches([batch]).combine_chunks())
        have_pictures += [False] * len(batch) if images is None else images.is_valid().to_pylist()
    return ShardRows(rows=tuple(rows), have_pictures=tuple(have_pictures), has_column=with_pixels)


def rewrite_shard(
    path: pathlib.Path, *, is_kept: Callable[[LabelRow], bool], keeps_picture: Callable[[LabelRow], bool]
) -> None:
    """Write a file anew without some labels, and without the pictures of some; it is replaced when that is complete.

    Args:
        path: The file.
        is_kept: Whether a label stays.
        keeps_picture: Whether its picture stays.
    """
    with_pixels = _checked_schema(path)
    form = dataset_schema(with_pixels=with_pixels)
    with replacing(path) as temporary, _opened_writer(temporary, form) as writer:
        for batch, images in _batches(path, with_pixels=with_pixels):
            table = pa.Table.from_batches([batch])
            rows = schema.table_to_labels(table)
            kept = [at for at, row in enumerate(rows) if is_kept(row)]
            if not kept:
                continue
            table = table.take(pa.array(kept))
            if images is not None:
                own = [images[at].as_py() if keeps_picture(rows[at]) else None for at in kept]
                table = table.append_column(form.field(IMAGE_COLUMN), pa.array(own, _IMAGE_TYPE))
            writer.write_table(table.cast(form).replace_schema_metadata(form.metadata))


def _checked_schema(path: pathlib.Path) -> bool:
    """Whether there is a column of pictures, of a file whose columns are those of this version."""
    found = parquet_files.read_schema(path)
    for expected in schema.label_schema():
        if expected.name not in found.names or found.field(expected.name).type != expected.type:
            raise DatasetExportError(
                f"{path}: column {expected.name!r} of labels is missing or of another type; export anew"
            )
    if IMAGE_COLUMN not in found.names:
        return False
    if found.field(IMAGE_COLUMN).type != _IMAGE_TYPE:
        raise DatasetExportError(f"{path}: column {IMAGE_COLUMN!r} holds no pictures as written here; export anew")
    return True


def _batches(path: pathlib.Path, *, with_pixels: bool) -> Iterator[tuple[pa.RecordBatch, pa.StructArray | None]]:
    """Rows some at a time, in the columns of labels, with their pictures."""
    names: Sequence[str] = schema.label_schema().names
    with pq.ParquetFile(path, memory_map=False) as file:
        columns = [*names, IMAGE_COLUMN] if with_pixels else list(names)
        for batch in file.iter_batches(
            batch_size=_PICTURES_PER_GROUP if with_pixels else _ROWS_PER_GROUP, columns=columns
        ):
            images = batch.column(IMAGE_COLUMN) if with_pixels else None
            yield batch.select(names), images
