import dataclasses
import datetime
import itertools

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from hardmo_jax.labels import parquet_files, schema, store
from hardmo_jax.labels.sharded_store import compact_labels
from hardmo_jax.labels.stream_labels import LabelQueryError, stream_columns, stream_labels
from hardmo_jax.labels.table_files import LabelFormatError, parquet_options
from tests.labels.test_schema import make_full_row, make_row
from tests.labels.test_sharded_store import same_labels

FIELD = pc.field
ROWS = tuple(
    dataclasses.replace(
        make_full_row(index) if index % 3 else make_row(index),
        category=None if index < 4 else f"dance {index // 4}",
        wrong_by_part={"right_foot": index / 24} if index % 5 else {},
        review="accepted" if index == 13 else "none",
        status="MAX_STEPS" if index >= 20 else "CONVERGED",
        created_utc=datetime.datetime(2026, 1, 1 + index, tzinfo=datetime.UTC),
    )
    for index in range(24)
)


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
    """A file of 24 labels in six row groups."""
    return write_grouped(tmp_path_factory.mktemp("grouped") / "labels.parquet", schema.labels_to_table(ROWS))


def write_grouped(path, table):
    pq.write_table(table, path, row_group_size=4, **parquet_options(table.schema))
    return path


def rows_of(batches):
    return [row for batch in batches for row in batch]


@pytest.fixture
def decoded(monkeypatch):
    """(row group, columns) of everything that is decoded."""
    found = []
    iter_batches = pq.ParquetFile.iter_batches

    def counted(file, *arguments, row_groups, columns, **options):
        found.extend((group, None if columns is None else tuple(columns)) for group in row_groups)
        return iter_batches(file, *arguments, row_groups=row_groups, columns=columns, **options)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted)
    return found


@pytest.mark.parametrize("batch_rows", [1, 3, 4, 7, 24, 1024])
def test_stream_gives_the_labels_that_reading_gives_in_batches(grouped, batch_rows):
    batches = list(stream_labels(grouped, batch_rows=batch_rows))
    assert same_labels(rows_of(batches), store.read_labels(grouped).rows)
    assert all(len(batch) == batch_rows for batch in batches[:-1])


def test_store_is_streamed_in_its_order(tmp_path):
    paths = [store.write_labels(tmp_path / f"{index}.parquet", ROWS[index::4]) for index in range(4)]
    compact_labels([[path] for path in paths], tmp_path / "store", rows_per_shard=12)
    assert same_labels(rows_of(stream_labels(tmp_path / "store")), store.read_labels(tmp_path / "store").rows)


CONDITIONS = {
    # Condition, the same in Python, row groups that statistics leave.
    "probability": (FIELD("wrong_right_foot") > 0.9, lambda row: (row.wrong_by_part["right_foot"] or 0) > 0.9, {5}),
    "category": (FIELD("category") == "dance 2", lambda row: row.category == "dance 2", {2}),
    "one of": (
        FIELD("category").isin(["dance 1", "dance 3"]),
        lambda row: row.category in ("dance 1", "dance 3"),
        {1, 3},
    ),
    "null": (FIELD("category").is_null(), lambda row: row.category is None, {0}),
    "null of a probability": (
        FIELD("wrong_right_foot").is_null() & (FIELD("frame_index") > 8),
        lambda row: row.wrong_by_part["right_foot"] is None and row.frame_index > 8,
        {2, 3, 5},
    ),
    "a value instead of null": (
        pc.coalesce(FIELD("wrong_right_foot"), pa.scalar(1, pa.float32())) > 0.95,
        lambda row: row.wrong_by_part["right_foot"] is None or row.wrong_by_part["right_foot"] > 0.95,
        {0, 1, 2, 3, 4, 5},
    ),
    "source": (FIELD("source_path") == "clips/dance 11.mp4", lambda row: "dance 11." in row.source_path, {0, 2}),
    "status": (FIELD("status") == "MAX_STEPS", lambda row: row.status == "MAX_STEPS", {5}),
    "review": (FIELD("review") != "none", lambda row: row.review != "none", {3}),
    "nobody": (FIELD("status") == "DIVERGED", lambda row: False, set()),
    "time": (
        FIELD("created_utc") >= pa.scalar(datetime.datetime(2026, 1, 18, tzinfo=datetime.UTC)),
        lambda row: row.created_utc.day >= 18,
        {4, 5},
    ),
    "both": (
        (FIELD("frame_index") < 10) & (FIELD("wrong_right_foot") > 0.3),
        lambda row: row.frame_index < 10 and (row.wrong_by_part["right_foot"] or 0) > 0.3,
        {2},
    ),
    "either": (
        (FIELD("frame_index") < 2) | ~(FIELD("frame_index") < 22),
        lambda row: row.frame_index < 2 or row.frame_index >= 22,
        {0, 5},
    ),
    "list": (
        pc.list_element(FIELD("bbox"), 0) > 1000,
        lambda row: row.bbox[0] > 1000,
        {0, 1, 2, 3, 4, 5},
    ),
    "function of text": (
        pc.ends_with(FIELD("source_path"), "7.mp4"),
        lambda row: row.source_path.endswith("7.mp4"),
        {0, 1, 2, 3, 4, 5},
    ),
}


@pytest.mark.parametrize("name", CONDITIONS)
def test_condition_gives_what_looking_at_every_label_gives(grouped, name):
    where, is_meant, _ = CONDITIONS[name]
    expected = [row for row in ROWS if is_meant(row)]
    assert same_labels(rows_of(stream_labels(grouped, where=where, batch_rows=2)), expected)
    ids = [table.column("label_id").to_pylist() for table in stream_columns(grouped, ["label_id"], where=where)]
    assert list(itertools.chain(*ids)) == [row.label_id for row in expected]


@pytest.mark.parametrize("name", CONDITIONS)
def test_row_groups_that_statistics_exclude_are_not_decoded(grouped, decoded, name):
    where, is_meant, left = CONDITIONS[name]
    list(stream_labels(grouped, where=where))
    assert {group for group, _ in decoded} == left
    # All columns are decoded of those groups only in which the condition is true of a label.
    full = {group for group, columns in decoded if len(columns) > 10}
    assert full == {index // 4 for index, row in enumerate(ROWS) if is_meant(row)}


def test_damage_in_excluded_row_groups_is_not_even_met(grouped, tmp_path):
    """Nothing of them is decoded, or this would fail."""
    content = bytearray(grouped.read_bytes())
    metadata = pq.read_metadata(grouped)
    for group in range(5):
        for index in range(metadata.num_columns):
            column = metadata.row_group(group).column(index)
            begin = min(filter(None, (column.dictionary_page_offset, column.data_page_offset)))
            content[begin : begin + column.total_compressed_size] = bytes(column.total_compressed_size)
    path = tmp_path / "labels.parquet"
    path.write_bytes(content)
    assert same_labels(rows_of(stream_labels(path, where=FIELD("frame_index") >= 20)), ROWS[20:])
    with pytest.raises(LabelFormatError, match="damaged"):
        list(stream_labels(path))


def test_only_columns_that_are_asked_for_are_decoded(grouped, decoded):
    tables = list(stream_columns(grouped, ["wrong_right_foot", "label_id"], batch_rows=10))
    assert [table.num_rows for table in tables] == [10, 10, 4]
    assert tables[0].column_names == ["wrong_right_foot", "label_id"]
    assert pa.concat_tables(tables).column("label_id").to_pylist() == [row.label_id for row in ROWS]
    assert {frozenset(columns) for _, columns in decoded} == {frozenset({"label_id", "wrong_right_foot"})}


def test_rows_are_held_a_few_at_a_time(tmp_path):
    """Of a file in one row group, as other programs write them, one batch is decoded before the first is given."""
    rows = [dataclasses.replace(make_row(0), frame_index=frame, label_id="") for frame in range(400)]
    table = schema.labels_to_table(rows)
    path = tmp_path / "labels.parquet"
    pq.write_table(table, path, row_group_size=400, compression="zstd")
    before = pa.total_allocated_bytes()
    batches = stream_labels(path, batch_rows=8)
    assert len(next(batches)) == 8
    assert pa.total_allocated_bytes() - before < table.nbytes / 3
    batches.close()


# Files of other ages and of strangers --------------------------------------------------------------------


def test_columns_that_a_file_is_too_old_to_have_are_null(tmp_path):
    table = schema.labels_to_table(ROWS).drop_columns(["wrong_right_foot", "category"])
    path = write_grouped(tmp_path / "labels.parquet", table)
    assert rows_of(stream_labels(path, where=FIELD("wrong_right_foot") > 0.5)) == []
    found = list(stream_labels(path, where=FIELD("category").is_null() & (FIELD("frame_index") == 9)))
    assert [row.frame_index for row in rows_of(found)] == [9]
    assert found[0].absent_columns == store.read_labels(path).absent_columns == ("category", "wrong_right_foot")
    values = [table.column("category").to_pylist() for table in stream_columns(path, ["category"])]
    assert list(itertools.chain(*values)) == [None] * 24


def test_unknown_columns_can_be_asked_about_and_are_kept(tmp_path):
    extra = pa.table(
        {
            "label_id": [row.label_id for row in ROWS],
            "label_version": pa.array([row.label_version for row in ROWS], pa.int32()),
            "mood": [index / 2 for index in range(24)],
        }
    )
    path = store.write_labels(tmp_path / "labels.parquet", ROWS, extra=extra)
    found = list(stream_labels(path, where=FIELD("mood") >= 11))
    assert [row.frame_index for row in rows_of(found)] == [22, 23]
    assert found[0].unknown_columns == ("mood",)
    assert found[0].extra.column("mood").to_pylist() == [11, 11.5]


def test_condition_or_column_that_does_not_fit_is_told(grouped):
    for where in (FIELD("wrong_foot") > 0.5, FIELD("category") > 3.0, FIELD("frame_index") + 1):
        with pytest.raises(LabelQueryError, match="does not fit"):
            list(stream_labels(grouped, where=where))
    with pytest.raises(LabelQueryError, match="no column 'wrong_foot'"):
        list(stream_columns(grouped, ["wrong_foot"]))
    with pytest.raises(LabelQueryError, match="positive"):
        list(stream_labels(grouped, batch_rows=0))


def test_impossible_label_is_told_with_its_file(tmp_path):
    table = schema.labels_to_table(ROWS)
    at = table.column_names.index("fps")
    wrong = [*table.column("fps").to_pylist()[:-1], -1.0]
    path = write_grouped(tmp_path / "labels.parquet", table.set_column(at, table.schema.field(at), [wrong]))
    assert len(rows_of(stream_labels(path, where=FIELD("frame_index") < 20))) == 20
    with pytest.raises(schema.LabelError, match=r"labels\.parquet: label .* `fps` must be positive"):
        list(stream_labels(path))


def test_label_that_occurs_twice_is_told_at_the_end(tmp_path):
    for index, rows in enumerate((ROWS[:3], ROWS[2:5])):
        store.write_shard(tmp_path, index, rows)
    batches = stream_labels(tmp_path)
    assert (len(next(batches)), len(next(batches))) == (3, 3)
    with pytest.raises(schema.LabelError, match=f"{ROWS[2].label_id} version 3 occurs twice"):
        next(batches)


def test_files_that_are_not_read_are_not_streamed(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such label file"):
        list(stream_labels(tmp_path / "labels.parquet"))
    with pytest.raises(FileNotFoundError, match=r"no \.parquet file"):
        list(stream_labels(tmp_path))
    path = store.write_labels(tmp_path / "labels.parquet", ROWS[:2])
    newer = pq.read_table(path).replace_schema_metadata({schema.FORMAT_KEY: b"2"})
    pq.write_table(newer, path)
    with pytest.raises(LabelFormatError, match="written by a newer hardmo_jax"):
        list(stream_labels(path))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(LabelFormatError, match="cut off"):
        list(stream_labels(path, where=FIELD("frame_index") > 1))


def test_bomb_is_refused_before_it_fills_the_memory(tmp_path, monkeypatch):
    extra = pa.table(
        {
            "label_id": [row.label_id for row in ROWS],
            "label_version": pa.array([row.label_version for row in ROWS], pa.int32()),
            "bomb": ["a" * 1_000_000] * 24,
        }
    )
    path = store.write_labels(tmp_path / "labels.parquet", ROWS, extra=extra)
    monkeypatch.setattr(parquet_files, "FREE_BYTES", 1 << 20)
    monkeypatch.setattr(parquet_files, "MAX_EXPANSION", 10)
    with pytest.raises(LabelFormatError, match="decompression bomb"):
        list(stream_labels(path))
