"""A label file in which a few labels change: the same as reading all of it and writing all of it, but for the time."""

import dataclasses

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hardmo_jax.labels import schema, store
from hardmo_jax.labels.label_table import LabelTable
from hardmo_jax.labels.sharded_store import compact_labels, verify_store
from hardmo_jax.labels.table_files import LabelFormatError
from tests.labels.test_schema import make_full_row, make_row


@pytest.fixture
def rows():
    return [make_row(0), make_full_row(1), make_row(2)]


@pytest.fixture
def path(tmp_path, rows):
    return store.write_labels(tmp_path / "labels.parquet", rows)


def assert_same(found, expected):
    assert [(row.label_id, row.label_version) for row in found] == [
        (row.label_id, row.label_version) for row in expected
    ]
    assert all(ours.same_as(theirs) for ours, theirs in zip(found, expected, strict=True))


def test_changed_versions_take_the_place_of_theirs_and_new_ones_stand_behind(path, rows):
    accepted = dataclasses.replace(rows[1], review="accepted", review_by_part={"left_foot": "wrong"})
    second = dataclasses.replace(rows[0], label_version=2, parent_version=1, origin="human", placed_points=("neck",))
    third = dataclasses.replace(rows[0], label_version=3, parent_version=1)
    stranger = make_row(9)
    table = LabelTable.read(path).with_versions([second, stranger, accepted, third])
    table.write(path)
    expected = [rows[0], second, third, accepted, rows[2], stranger]
    assert_same(store.read_labels(path).rows, expected)
    assert_same(LabelTable.read(path).versions_of({rows[0].label_id}), [rows[0], second, third])
    assert len(table) == 6


def test_labels_that_are_not_there_are_none(path):
    assert LabelTable.read(path).versions_of({"0" * 32}) == []


def test_nothing_changed_is_the_same_labels(path, rows):
    LabelTable.read(path).with_versions([]).write(path)
    assert_same(store.read_labels(path).rows, rows)


@pytest.mark.parametrize("nullable", [True, False])
def test_unknown_columns_stay_and_are_null_in_new_versions(path, rows, nullable):
    table = pq.read_table(path).append_column(pa.field("mood", pa.string(), nullable=nullable), pa.array(list("abc")))
    pq.write_table(table, path)
    changed = dataclasses.replace(rows[1], review="rejected")
    new = dataclasses.replace(rows[1], label_version=8, parent_version=7)
    LabelTable.read(path).with_versions([new, changed]).write(path)
    found = store.read_labels(path)
    assert_same(found.rows, [rows[0], changed, new, rows[2]])
    assert pq.read_table(path).column("mood").to_pylist() == ["a", "b", None, "c"]


def test_labels_of_an_older_schema_get_the_columns_of_today(path, rows):
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["placed_points", "review_left_foot"]), path)
    marked = dataclasses.replace(rows[2], review_by_part={"left_foot": "wrong"})
    LabelTable.read(path).with_versions([marked]).write(path)
    found = store.read_labels(path)
    assert found.absent_columns == ()
    assert found.rows[2].same_as(marked)
    assert found.rows[0].review_by_part["left_foot"] is None


def test_impossible_rows_are_refused_and_nothing_is_written(path, rows):
    before = path.read_bytes()
    with pytest.raises(schema.LabelError, match="fps"):
        LabelTable.read(path).with_versions([dataclasses.replace(rows[0], fps=-1.0)])
    with pytest.raises(schema.LabelError, match="occurs twice"):
        LabelTable.read(path).with_versions([rows[0], rows[0]])
    assert path.read_bytes() == before


def test_what_is_not_read_back_takes_no_place(path, rows, monkeypatch):
    before = path.read_bytes()
    table = LabelTable.read(path).with_versions([dataclasses.replace(rows[0], review="accepted")])
    monkeypatch.setattr(
        pq, "write_table", lambda *_, **__: (_[1].write_bytes(before), None)[1]
    )  # a disk that says that it wrote
    with pytest.raises(LabelFormatError, match="not read back"):
        table.write(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_files_that_are_none_are_refused(tmp_path):
    path = tmp_path / "labels.parquet"
    with pytest.raises(FileNotFoundError):
        LabelTable.read(path)
    path.write_bytes(b"PAR1" + bytes(40))
    with pytest.raises(LabelFormatError, match="cut off"):
        LabelTable.read(path)


def test_corrected_shard_of_a_store_stays_part_of_it(tmp_path, path, rows):
    compact_labels([[path]], tmp_path / "store")
    shard = tmp_path / "store" / "labels-00000.parquet"
    newer = dataclasses.replace(rows[0], label_version=2, parent_version=1, origin="human")
    LabelTable.read(shard).with_versions([newer]).write(shard)
    assert_same(store.read_labels(tmp_path / "store").rows, [rows[0], newer, *rows[1:]])
    assert verify_store(tmp_path / "store").is_complete
    # Nor is the correction lost when the job that made the store is run again.
    compact_labels([[path]], tmp_path / "store")
    assert_same(store.read_labels(tmp_path / "store").rows, [rows[0], newer, *rows[1:]])
