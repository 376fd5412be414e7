import dataclasses

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardmo_jax.labels import schema, store
from hardmo_jax.labels.shard_changes import StoreSealedError
from hardmo_jax.labels.sharded_store import compact_labels, read_store_manifest, verify_store
from hardmo_jax.labels.table_files import LabelFormatError
from tests.labels.test_schema import make_full_row, make_row


def video_rows(video, frames, people=1):
    """Labels of a video, frame by frame; those of every second frame are full ones."""
    return [
        dataclasses.replace(
            make_full_row(frame) if frame % 2 else make_row(frame),
            source_path=f"clips/{video}.mp4",
            source_sha256=f"{video:064x}",
            frame_index=frame,
            track_id=person,
            label_id="",
        )
        for frame in range(frames)
        for person in range(people)
    ]


def write_parts(folder, sources):
    """Label files of sources, each a list of lists of rows."""
    return [
        [
            store.write_labels(folder / f"source-{index}" / f"part-{number}.parquet", rows)
            for number, rows in enumerate(source)
        ]
        for index, source in enumerate(sources)
    ]


def same_labels(first, second):
    return len(first) == len(second) and all(one.same_as(other) for one, other in zip(first, second, strict=True))


def content_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def rows_per_shard_of(folder):
    return [shard.facts.num_rows for shard in read_store_manifest(folder).shards]


ROWS = [*video_rows(0, 3, people=2), *video_rows(1, 4), *video_rows(2, 1, people=3)]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(0, len(ROWS)), max_size=5),
    ends=st.lists(st.booleans(), min_size=6, max_size=6),
    rows_per_shard=st.integers(1, len(ROWS) + 2),
)
def test_any_division_into_parts_and_shards_gives_the_same_labels_in_the_same_order(
    tmp_path_factory, cuts, ends, rows_per_shard
):
    folder = tmp_path_factory.mktemp("any")
    bounds = [0, *sorted(cuts), len(ROWS)]
    sources = [[]]
    for begin, end, is_next_source in zip(bounds[:-1], bounds[1:], ends, strict=False):
        sources[-1].append(ROWS[begin:end])
        if is_next_source:
            sources.append([])
    manifest = compact_labels(write_parts(folder, sources), folder / "store", rows_per_shard=rows_per_shard)
    assert same_labels(store.read_labels(folder / "store").rows, ROWS)
    assert manifest == read_store_manifest(folder / "store")
    assert manifest.num_rows == verify_store(folder / "store").num_rows == len(ROWS)
    assert verify_store(folder / "store").is_complete


def test_sources_that_fit_lie_whole_in_one_shard(tmp_path):
    parts = write_parts(tmp_path, [[video_rows(index, frames)] for index, frames in enumerate((4, 3, 2, 5, 1))])
    compact_labels(parts, tmp_path / "store", rows_per_shard=6)
    assert rows_per_shard_of(tmp_path / "store") == [4, 5, 6]
    told = [[source.path for source in shard.facts.sources] for shard in read_store_manifest(tmp_path / "store").shards]
    assert told == [["clips/0.mp4"], ["clips/1.mp4", "clips/2.mp4"], ["clips/3.mp4", "clips/4.mp4"]]


def test_source_larger_than_a_shard_has_shards_of_its_own_cut_between_frames(tmp_path):
    sources = [[video_rows(0, 2)], [video_rows(1, 5, people=3)[:8], video_rows(1, 5, people=3)[8:]], [video_rows(2, 1)]]
    compact_labels(write_parts(tmp_path, sources), tmp_path / "store", rows_per_shard=7)
    assert rows_per_shard_of(tmp_path / "store") == [2, 6, 6, 3, 1]
    sources = [shard.facts.sources[0] for shard in read_store_manifest(tmp_path / "store").shards]
    assert [(source.path, source.sha256, source.num_rows) for source in sources[1:4]] == [
        ("clips/1.mp4", f"{1:064x}", rows) for rows in (6, 6, 3)
    ]


def test_frame_of_more_people_than_a_shard_is_not_cut(tmp_path):
    compact_labels(write_parts(tmp_path, [[video_rows(0, 2, people=3)]]), tmp_path / "store", rows_per_shard=2)
    assert rows_per_shard_of(tmp_path / "store") == [3, 3]


def test_nothing_gives_a_store_without_labels(tmp_path):
    for number, parts in enumerate(([], write_parts(tmp_path, [[[]]]))):
        compact_labels(parts, tmp_path / f"store {number}")
        assert len(store.read_labels(tmp_path / f"store {number}")) == 0
        assert verify_store(tmp_path / f"store {number}").is_complete


def test_same_labels_give_the_same_bytes_however_their_files_were_cut(tmp_path):
    rows = [dataclasses.replace(make_row(0), frame_index=frame, label_id="") for frame in range(1500)]
    whole = write_parts(tmp_path / "whole", [[rows]])
    cut = write_parts(tmp_path / "cut", [[rows[:1], rows[1:700], [], rows[700:]]])
    compact_labels(whole, tmp_path / "first")
    compact_labels(cut, tmp_path / "second")
    assert content_of(tmp_path / "first") == content_of(tmp_path / "second")
    groups = pq.read_metadata(tmp_path / "first" / "labels-00000.parquet")
    assert [groups.row_group(index).num_rows for index in range(groups.num_row_groups)] == [1024, 476]


def test_second_call_writes_nothing(tmp_path):
    parts = write_parts(tmp_path, [[video_rows(index, 3)] for index in range(3)])
    compact_labels(parts, tmp_path / "store", rows_per_shard=3)
    before = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (tmp_path / "store").iterdir()}
    compact_labels(parts, tmp_path / "store", rows_per_shard=3)
    after = {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (tmp_path / "store").iterdir()}
    assert before == after


def test_store_that_grew_keeps_the_shards_that_stand(tmp_path):
    parts = write_parts(tmp_path, [[video_rows(index, 3)] for index in range(4)])
    compact_labels(parts[:2], tmp_path / "store", rows_per_shard=3)
    first = tmp_path / "store" / "labels-00000.parquet"
    before = first.stat().st_ino
    compact_labels(parts, tmp_path / "store", rows_per_shard=3)
    assert first.stat().st_ino == before
    assert len(store.read_labels(tmp_path / "store")) == 12


def test_smaller_store_in_the_same_place_leaves_no_shard_of_the_former(tmp_path):
    parts = write_parts(tmp_path, [[video_rows(index, 3)] for index in range(4)])
    compact_labels(parts, tmp_path / "store", rows_per_shard=3)
    compact_labels(parts[2:], tmp_path / "store", rows_per_shard=3)
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == [
        "labels-00000.parquet",
        "labels-00001.parquet",
        "manifest.json",
    ]
    assert {row.source_path for row in store.read_labels(tmp_path / "store")} == {"clips/2.mp4", "clips/3.mp4"}


def test_label_that_occurs_twice_is_refused_and_the_former_store_stays(tmp_path):
    parts = write_parts(tmp_path, [[video_rows(0, 3)], [video_rows(1, 3)], [video_rows(0, 1)]])
    compact_labels(parts[:2], tmp_path / "store")
    before = content_of(tmp_path / "store")
    with pytest.raises(schema.LabelError, match=r"[0-9a-f]{32} version 1 occurs twice"):
        compact_labels(parts, tmp_path / "store")
    assert content_of(tmp_path / "store") == before


@pytest.mark.parametrize("damage", ["truncated", "absent", "no labels"])
def test_damaged_part_is_refused_and_the_former_store_stays(tmp_path, damage):
    parts = write_parts(tmp_path, [[video_rows(0, 3)], [video_rows(1, 3)]])
    compact_labels(parts[:1], tmp_path / "store")
    before = content_of(tmp_path / "store")
    path = parts[1][0]
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "absent":
        path.unlink()
    else:
        pq.write_table(pa.table({"a": [1]}), path)
    with pytest.raises(LabelFormatError, match=r"part-0\.parquet"):
        compact_labels(parts, tmp_path / "store")
    assert content_of(tmp_path / "store") == before


def test_unknown_columns_are_kept_and_null_where_a_file_has_none(tmp_path):
    rows = [*video_rows(0, 2), *video_rows(1, 2)]
    extra = pa.table(
        {
            "label_id": [row.label_id for row in rows[:2]],
            "label_version": pa.array([1, 1], pa.int32()),
            "mood": ["glad", None],
        }
    )
    store.write_labels(tmp_path / "a.parquet", rows[:2], extra=extra)
    store.write_labels(tmp_path / "b.parquet", rows[2:])
    compact_labels([[tmp_path / "b.parquet"], [tmp_path / "a.parquet"]], tmp_path / "store")
    labels = store.read_labels(tmp_path / "store")
    assert labels.unknown_columns == ("mood",)
    assert labels.extra.column("mood").to_pylist() == [None, None, "glad", None]
    assert labels.extra.column("label_id").to_pylist() == [row.label_id for row in (*rows[2:], *rows[:2])]


def test_unknown_columns_of_two_types_are_refused(tmp_path):
    rows = [*video_rows(0, 1), *video_rows(1, 1)]
    for row, value in zip(rows, (1, "one"), strict=True):
        extra = pa.table({"label_id": [row.label_id], "label_version": pa.array([1], pa.int32()), "mood": [value]})
        store.write_labels(tmp_path / f"{value}.parquet", [row], extra=extra)
    with pytest.raises(LabelFormatError, match="'mood' is of type string, and of type int64"):
        compact_labels([[tmp_path / "1.parquet"], [tmp_path / "one.parquet"]], tmp_path / "store")


def test_impossible_number_of_rows_is_refused(tmp_path):
    with pytest.raises(ValueError, match="positive"):
        compact_labels([], tmp_path, rows_per_shard=0)


# What must not be lost -----------------------------------------------------------------------------------


def test_shards_that_no_manifest_names_are_not_replaced(tmp_path):
    store.write_shard(tmp_path / "store", 0, [make_row(5)])
    parts = write_parts(tmp_path, [[video_rows(0, 3)]])
    with pytest.raises(StoreSealedError, match=r"labels-00000\.parquet, which no manifest"):
        compact_labels(parts, tmp_path / "store")
    assert store.read_labels(tmp_path / "store")[0].same_as(make_row(5))


def test_store_is_not_made_of_itself(tmp_path):
    parts = write_parts(tmp_path, [[video_rows(0, 3)], [video_rows(1, 3)]])
    compact_labels(parts, tmp_path / "store", rows_per_shard=3)
    before = content_of(tmp_path / "store")
    with pytest.raises(StoreSealedError, match="would be replaced"):
        compact_labels([sorted((tmp_path / "store").glob("*.parquet"))], tmp_path / "store")
    assert content_of(tmp_path / "store") == before


def test_labels_changed_in_a_store_stay_when_it_is_put_together_again(tmp_path):
    parts = write_parts(tmp_path, [[video_rows(index, 2)] for index in range(3)])
    compact_labels(parts[:2], tmp_path / "store", rows_per_shard=2)
    changed = [dataclasses.replace(row, review="accepted") for row in video_rows(0, 2)]
    store.write_labels(tmp_path / "store" / "labels-00000.parquet", changed)
    assert verify_store(tmp_path / "store").is_complete
    manifest = read_store_manifest(tmp_path / "store")
    assert [shard.is_changed for shard in manifest.shards] == [True, False]
    compact_labels(parts[:2], tmp_path / "store", rows_per_shard=2)
    compact_labels(parts, tmp_path / "store", rows_per_shard=2)
    assert same_labels(store.read_labels(tmp_path / "store").rows[:2], changed)
    assert verify_store(tmp_path / "store").is_complete
    with pytest.raises(StoreSealedError, match=r"labels-00000\.parquet: labels in it were changed"):
        compact_labels(parts[1:], tmp_path / "store", rows_per_shard=2)
    assert same_labels(store.read_labels(tmp_path / "store").rows[:2], changed)


def test_shard_that_gets_more_labels_is_told_in_the_manifest(tmp_path):
    compact_labels(write_parts(tmp_path, [[video_rows(0, 2)]]), tmp_path / "store")
    rows = video_rows(0, 2)
    newer = dataclasses.replace(rows[0], label_version=2, parent_version=1)
    store.write_labels(tmp_path / "store" / "labels-00000.parquet", [*rows, newer])
    facts = read_store_manifest(tmp_path / "store").shards[0].facts
    assert (facts.num_rows, facts.sources[0].num_rows) == (3, 3)
    assert len(store.read_labels(tmp_path / "store")) == verify_store(tmp_path / "store").num_rows == 3
    assert read_store_manifest(tmp_path / "store").num_compacted_rows == 2


def test_shard_is_not_added_beside_a_manifest(tmp_path):
    compact_labels(write_parts(tmp_path, [[video_rows(0, 2)]]), tmp_path / "store")
    with store.LabelWriter(tmp_path / "store") as writer:
        writer.add(make_row(7))
        with pytest.raises(StoreSealedError, match="names 1 shards, and not this one"):
            writer.flush()
        writer._rows.clear()
    assert verify_store(tmp_path / "store").is_complete
    assert verify_store(tmp_path / "store").foreign == ()
