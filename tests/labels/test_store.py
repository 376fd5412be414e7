import dataclasses
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hardmo_jax.labels import parquet_files, provenance, schema, store
from hardmo_jax.skeleton import layouts
from tests.labels.test_schema import make_full_row, make_row


def test_file_round_trips_exactly(tmp_path):
    rows = [make_row(0), make_full_row(1), make_row(2)]
    labels = store.read_labels(store.write_labels(tmp_path / "labels.parquet", rows))
    assert len(labels) == 3
    assert all(first.same_as(second) for first, second in zip(rows, labels, strict=True))
    assert labels.format_version == schema.FORMAT_VERSION
    assert labels.unknown_columns == ()


def test_file_without_labels_round_trips(tmp_path):
    assert len(store.read_labels(store.write_labels(tmp_path / "labels.parquet", []))) == 0


def test_many_rows_with_scattered_nulls_round_trip_exactly(tmp_path):
    full, bare = make_full_row(0), make_row(0)
    is_full = np.random.default_rng(0).random(1300) < 0.3
    rows = [
        dataclasses.replace(full if flag else bare, frame_index=index, label_id="")
        for index, flag in enumerate(is_full)
    ]
    labels = store.read_labels(store.write_labels(tmp_path / "labels.parquet", rows))
    assert all(first.same_as(second) for first, second in zip(rows, labels, strict=True))


def test_read_file_has_the_units_in_its_schema(tmp_path):
    found = pq.read_schema(store.write_labels(tmp_path / "labels.parquet", [make_row(0)]))
    assert found.field("transl").metadata[b"unit"] == b"m"


def test_writing_leaves_no_temporary_file(tmp_path):
    store.write_labels(tmp_path / "labels.parquet", [make_row(0)])
    assert [path.name for path in tmp_path.iterdir()] == ["labels.parquet"]


def test_refused_label_leaves_the_former_file_untouched(tmp_path):
    path = store.write_labels(tmp_path / "labels.parquet", [make_row(0)])
    before = path.read_bytes()
    with pytest.raises(schema.LabelError):
        store.write_labels(path, [make_row(0, fps=-1.0)])
    assert path.read_bytes() == before


@pytest.mark.parametrize("failing", ["fsync", "replace", "write_table"])
def test_failure_at_each_step_of_writing_leaves_the_former_file_untouched(tmp_path, monkeypatch, failing):
    path = store.write_labels(tmp_path / "labels.parquet", [make_row(0)])
    before = path.read_bytes()

    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    if failing == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    elif failing == "replace":
        monkeypatch.setattr("pathlib.Path.replace", fail)
    else:
        monkeypatch.setattr(pq, "write_table", fail)
    with pytest.raises(OSError, match="No space"):
        store.write_labels(path, [make_row(1)])
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["labels.parquet"]


def test_writer_publishes_full_shards_and_the_rest_at_the_end(tmp_path):
    with store.LabelWriter(tmp_path, rows_per_shard=2) as writer:
        writer.extend(make_row(seed) for seed in range(5))
        assert [path.name for path in writer.paths] == ["labels-00000.parquet", "labels-00001.parquet"]
    labels = store.read_labels(tmp_path)
    assert [row.frame_index for row in labels] == [0, 1, 2, 3, 4]
    assert len(writer.paths) == 3


def test_interrupted_writer_keeps_its_full_shards_only(tmp_path):
    def rows():
        yield from (make_row(seed) for seed in range(3))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), store.LabelWriter(tmp_path, rows_per_shard=2) as writer:
        writer.extend(rows())
    assert [row.frame_index for row in store.read_labels(tmp_path)] == [0, 1]


def test_second_writer_continues_behind_the_shards_of_the_first(tmp_path):
    for seed in range(2):
        with store.LabelWriter(tmp_path) as writer:
            writer.add(make_row(seed))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "labels-00000.parquet",
        "labels-00001.parquet",
    ]


def test_written_shard_is_not_overwritten_unless_asked(tmp_path):
    store.write_shard(tmp_path, 0, [make_row(0)])
    with pytest.raises(FileExistsError, match="already written"):
        store.write_shard(tmp_path, 0, [make_row(1)])
    store.write_shard(tmp_path, 0, [make_row(1)], overwrite=True)
    assert store.read_labels(tmp_path)[0].frame_index == 1


def test_killed_process_leaves_no_readable_half_shard(tmp_path):
    code = (
        "import os, sys, pyarrow.parquet as pq\n"
        "from tests.labels.test_schema import make_row\n"
        "from hardmo_jax.labels import store\n"
        "store.write_shard(sys.argv[1], 0, [make_row(0)])\n"
        "write = pq.write_table\n"
        "def die(table, where, **options):\n"
        "    write(table, where, **options)\n"
        "    os.truncate(where, os.path.getsize(where) // 2)\n"
        "    os._exit(9)\n"
        "pq.write_table = die\n"
        "store.write_shard(sys.argv[1], 1, [make_row(1)])\n"
    )
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=root, timeout=60, check=False)
    assert done.returncode == 9
    assert [row.frame_index for row in store.read_labels(tmp_path)] == [0]


def test_missing_file_and_empty_folder_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such label file"):
        store.read_labels(tmp_path / "labels.parquet")
    with pytest.raises(FileNotFoundError, match=r"no \.parquet file"):
        store.read_labels(tmp_path)


def test_same_label_in_two_shards_is_refused(tmp_path):
    store.write_shard(tmp_path, 0, [make_row(0)])
    store.write_shard(tmp_path, 1, [make_row(0)])
    with pytest.raises(schema.LabelError, match="occurs twice"):
        store.read_labels(tmp_path)


# Hostile files


def write_table(path, table):
    pq.write_table(table, path)
    return path


@pytest.fixture
def table():
    return schema.labels_to_table([make_full_row(0), make_row(1)])


@pytest.mark.parametrize("keep", [0, 1, 4, 11, 12, 100, 0.3, 0.9, -1, -4, -8])
def test_cut_file_is_refused(tmp_path, keep):
    data = store.write_labels(tmp_path / "labels.parquet", [make_row(0)]).read_bytes()
    cut = data[: int(len(data) * keep)] if isinstance(keep, float) else data[:keep]
    path = tmp_path / "cut.parquet"
    path.write_bytes(cut)
    with pytest.raises(store.LabelFormatError):
        store.read_labels(path)


def test_text_file_is_refused(tmp_path):
    path = tmp_path / "labels.parquet"
    path.write_text("frame,person\n" * 10)
    with pytest.raises(store.LabelFormatError, match="no Parquet file"):
        store.read_labels(path)


def test_damaged_files_give_labels_or_our_error_and_nothing_else(tmp_path):
    data = bytearray(store.write_labels(tmp_path / "a.parquet", [make_full_row(0), make_row(1)]).read_bytes())
    rng = np.random.default_rng(0)
    path = tmp_path / "b.parquet"
    refused = 0
    for _ in range(100):
        damaged = data.copy()
        for position in rng.integers(4, len(data) - 8, 3):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            store.read_labels(path)
        except schema.LabelError:
            refused += 1
    assert 20 < refused <= 100


class CanaryType(pa.ExtensionType):
    """Notes each attempt to build it from a file, where Ray's type would unpickle."""

    opened = 0

    def __init__(self):
        super().__init__(pa.float32(), "ray.data.arrow_tensor")

    def __arrow_ext_serialize__(self):
        return b"payload"

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type, serialized):
        cls.opened += 1
        return cls()


def test_registered_extension_type_is_refused_before_its_code_runs(tmp_path, table):
    pa.register_extension_type(CanaryType())
    try:
        column = pa.ExtensionArray.from_storage(CanaryType(), pa.array([1.0, 2.0], pa.float32()))
        path = write_table(tmp_path / "labels.parquet", table.append_column("tensor", column))
        CanaryType.opened = 0
        with pytest.raises(store.LabelFormatError, match="extension type"):
            store.read_labels(path)
        assert CanaryType.opened == 0
        pq.read_schema(path)
        assert CanaryType.opened > 0  # the canary does sing when pyarrow opens the file
    finally:
        pa.unregister_extension_type("ray.data.arrow_tensor")


@pytest.mark.parametrize("name", ["ray.data.arrow_tensor", "arrow.py_extension_type", "ray.data.arrow_tensor_v2"])
def test_unregistered_extension_type_is_refused(tmp_path, table, name):
    metadata = {"ARROW:extension:name": name, "ARROW:extension:metadata": "gASV"}
    field = pa.field("tensor", pa.float32(), metadata=metadata)
    path = write_table(tmp_path / "x.parquet", table.append_column(field, pa.array([1.0, 2.0], pa.float32())))
    with pytest.raises(store.LabelFormatError, match="extension type"):
        store.read_labels(path)


def test_parquet_of_something_else_is_refused(tmp_path):
    path = write_table(tmp_path / "other.parquet", pa.table({"a": [1, 2]}))
    with pytest.raises(store.LabelFormatError, match="without labels"):
        store.read_labels(path)


def test_column_of_wrong_type_is_refused_by_name(tmp_path, table):
    index = table.schema.get_field_index("betas")
    wrong = table.set_column(index, "betas", pa.array(["a", "b"]))
    with pytest.raises(store.LabelFormatError, match="column 'betas' must be of type"):
        store.read_labels(write_table(tmp_path / "labels.parquet", wrong))


def test_pose_of_another_length_is_refused_by_name(tmp_path, table):
    index = table.schema.get_field_index("body_pose")
    wrong = table.set_column(index, "body_pose", pa.array([[0.0] * 69] * 2, pa.list_(pa.float32(), 69)))
    with pytest.raises(store.LabelFormatError, match="column 'body_pose' must be of type"):
        store.read_labels(write_table(tmp_path / "labels.parquet", wrong))


def test_missing_required_column_is_refused_by_name(tmp_path, table):
    path = write_table(tmp_path / "labels.parquet", table.drop_columns(["status"]))
    with pytest.raises(store.LabelFormatError, match="one column 'status', found 0"):
        store.read_labels(path)


def test_newer_format_is_refused_with_what_to_do(tmp_path, table):
    newer = table.replace_schema_metadata({schema.FORMAT_KEY: b"2"})
    with pytest.raises(store.LabelFormatError, match=r"newer hardmo_jax.*update"):
        store.read_labels(write_table(tmp_path / "labels.parquet", newer))


def test_file_without_a_younger_nullable_column_is_read_with_nulls(tmp_path, table):
    older = table.drop_columns(
        [
            "hypotheses", "score_body", "vertical_field_of_view_degrees", "evidence_body", "wrong_left_foot",
            "quality_reasons", *(f"quality_{name}" for name in schema.QUALITY_MEASURES),
        ]
    )  # fmt: skip
    labels = store.read_labels(write_table(tmp_path / "labels.parquet", older))
    assert labels[0].hypotheses is None
    assert labels[0].vertical_field_of_view_degrees is None
    assert labels[0].score_by_part["body"] is None
    assert labels[0].wrong_by_part["left_foot"] is None
    assert labels[0].quality_reasons is None
    assert dict(labels[0].quality) == dict.fromkeys(schema.QUALITY_MEASURES)
    assert set(labels.absent_columns) == set(table.column_names) - set(older.column_names)


def test_unknown_columns_are_reported_and_survive_a_rewrite(tmp_path, table):
    newer = table.append_column("contact", pa.array([0.5, 0.25]))
    labels = store.read_labels(write_table(tmp_path / "a.parquet", newer))
    assert labels.unknown_columns == ("contact",)
    rows = [labels[1], make_row(7)]
    again = store.read_labels(store.write_labels(tmp_path / "b.parquet", rows, extra=labels.extra))
    assert again.unknown_columns == ("contact",)
    assert again.extra["contact"].to_pylist() == [0.25, None]


def test_too_many_bytes_or_rows_are_refused(tmp_path):
    path = store.write_labels(tmp_path / "labels.parquet", [make_row(0), make_row(1)])
    with pytest.raises(store.LabelFormatError, match="limit"):
        store.read_labels(path, max_bytes=100)
    with pytest.raises(store.LabelFormatError, match="limit"):
        store.read_labels(path, max_rows=1)


def test_decompression_bomb_is_refused(tmp_path, table, monkeypatch):
    bomb = table.append_column("text", pa.array(["x" * 5_000_000] * 2))
    path = tmp_path / "labels.parquet"
    pq.write_table(bomb, path, compression="zstd")
    monkeypatch.setattr(parquet_files, "FREE_BYTES", 1 << 20)
    monkeypatch.setattr(parquet_files, "MAX_EXPANSION", 10)
    with pytest.raises(store.LabelFormatError, match="bomb"):
        store.read_labels(path)


def test_bomb_hidden_in_a_dictionary_is_refused(tmp_path, table, monkeypatch):
    many = pa.concat_tables([table] * 2000).append_column("text", pa.array(["x" * 10_000] * 4000))
    path = tmp_path / "labels.parquet"
    pq.write_table(many, path, compression="zstd")
    monkeypatch.setattr(parquet_files, "FREE_BYTES", 20 << 20)
    monkeypatch.setattr(parquet_files, "MAX_EXPANSION", 10)
    with pytest.raises(store.LabelFormatError, match="bomb"):
        store.read_labels(path)


# Replacing


def errors(body, hand=None, foot=0.02):
    return {"body": body, "left_hand": hand, "left_foot": foot}


def test_better_body_replaces_and_becomes_the_next_version():
    old = make_row(0, error_by_part=errors(0.05), label_version=4)
    new = make_row(0, error_by_part=errors(0.03))
    winner = store.replace_if_better(old, new)
    assert (winner.label_version, winner.parent_version) == (5, 4)
    assert winner.error_by_part["body"] == new.error_by_part["body"]


@pytest.mark.parametrize(
    ("old", "new", "is_replaced"),
    [
        ({"status": "MAX_STEPS"}, {"status": "CONVERGED", "error_by_part": errors(0.9)}, True),
        ({"status": "CONVERGED"}, {"status": "MAX_STEPS", "error_by_part": errors(0.0)}, False),
        ({"status": "NO_EVIDENCE"}, {"status": "DIVERGED"}, True),
        ({"status": "DIVERGED"}, {"status": "DIVERGED", "error_by_part": errors(0.0)}, False),
        ({"error_by_part": errors(0.03)}, {"error_by_part": errors(0.05)}, False),
        ({"error_by_part": errors(0.03)}, {"error_by_part": errors(0.03)}, False),
        ({"error_by_part": errors(0.030, 0.05)}, {"error_by_part": errors(0.031, 0.03)}, True),
        ({"error_by_part": errors(0.030, 0.03)}, {"error_by_part": errors(0.029, 0.05)}, False),
        ({"error_by_part": errors(0.03, 0.05, 0.02)}, {"error_by_part": errors(0.03, 0.01, 0.03)}, False),
        ({"error_by_part": errors(0.03, 0.05)}, {"error_by_part": errors(0.03, None, 0.001)}, False),
        ({"error_by_part": errors(0.03)}, {"error_by_part": errors(None)}, False),
        ({"error_by_part": errors(0.05, 0.01)}, {"error_by_part": errors(0.01, 0.02)}, True),
        ({"origin": "human"}, {"error_by_part": errors(0.0)}, False),
        ({"origin": "human"}, {"origin": "human", "error_by_part": errors(0.9)}, True),
        ({}, {"origin": "human", "error_by_part": errors(0.9)}, True),
        ({"review": "accepted"}, {"error_by_part": errors(0.0)}, False),
        ({"review": "rejected", "error_by_part": errors(0.0)}, {"error_by_part": errors(0.1)}, True),
        ({"review": "rejected"}, {"status": "NO_EVIDENCE"}, False),
    ],
)
def test_replacement_rule(old, new, is_replaced):
    existing, candidate = make_row(0, **old), make_row(0, **new)
    assert (store.replace_if_better(existing, candidate) is not existing) == is_replaced


def refined(row, part="left_hand", **changes):
    return dataclasses.replace(row, outcome_by_part={**row.outcome_by_part, part: "refined"}, **changes)


def test_part_replaced_behind_the_gate_makes_a_label_better():
    old = make_row(0, error_by_part={"body": 0.01, "left_hand": 0.02})
    slightly = {"body": 0.01, "left_hand": 0.0195}
    assert store.replace_if_better(old, dataclasses.replace(old, error_by_part=slightly)) is old
    new = store.replace_if_better(old, refined(old, error_by_part=slightly))
    assert (new.label_version, new.parent_version) == (2, 1)
    assert store.replace_if_better(new, refined(new)) is new


@pytest.mark.parametrize(
    "errors",
    [
        {"body": 0.014, "left_hand": 0.01},
        {"body": 0.01, "left_hand": 0.03},
        {"body": 0.01, "left_hand": 0.01, "left_foot": 0.03},
        {"body": 0.01},
    ],
)
def test_part_replaced_behind_the_gate_does_not_make_up_for_what_became_worse(errors):
    old = make_row(0, error_by_part={"body": 0.01, "left_hand": 0.02, "left_foot": 0.01})
    assert store.replace_if_better(old, refined(old, error_by_part=errors)) is old


@pytest.mark.parametrize("words", [{"origin": "human"}, {"review": "accepted"}])
def test_part_replaced_behind_the_gate_never_replaces_the_word_of_a_person(words):
    old = make_row(0, **words)
    assert store.replace_if_better(old, refined(make_row(0))) is old


WORDS_OF_OWNERS = [{"origin": "human"}, {"review": "accepted"}, {"origin": "human", "review": "accepted"}]


def called_wrong(**words):
    """A label of a person, who placed a heel and called a hand wrong."""
    return make_row(
        0, error_by_part={"body": 0.01, "left_hand": 0.02, "left_foot": 0.01}, placed_points=("left_heel",),
        left_hand_pose=np.full((15, 3), 0.25), right_hand_pose=np.full((15, 3), 0.25),
        review_by_part={"left_hand": "wrong", "right_foot": "right"}, **words,
    )  # fmt: skip


def repair(row, joints=("left_elbow", "left_wrist"), part="left_hand", **changes):
    """What a machine makes of it."""
    body_pose = row.body_pose.copy()
    for joint in joints:
        body_pose[layouts.SMPL_JOINTS.index(joint) - 1] += 0.125
    return refined(
        row, part, **{
            "origin": "machine", "review": "none", "body_pose": body_pose, "left_hand_pose": row.left_hand_pose + 1,
            "review_by_part": {**row.review_by_part, part: None}, "code_version": "2",
            "error_by_part": {**row.error_by_part, part: 0.015}, **changes,
        },
    )  # fmt: skip


@pytest.mark.parametrize("words", WORDS_OF_OWNERS)
def test_part_that_its_owner_called_wrong_is_repaired_and_the_label_stays_theirs(words):
    old = called_wrong(**words)
    new = store.replace_if_better(old, repair(old))
    assert (new.label_version, new.parent_version, new.origin, new.review) == (2, 1, old.origin, old.review)
    assert new.placed_points == ("left_heel",)
    assert new.review_by_part == {**old.review_by_part, "left_hand": None}
    # No machine replaces it from then on, not even the hand.
    assert store.replace_if_better(new, repair(new, error_by_part=errors(0.0))) is new
    assert store.replace_if_better(new, make_row(0, error_by_part=errors(0.0))) is new


@pytest.mark.parametrize("words", WORDS_OF_OWNERS)
@pytest.mark.parametrize(
    "changes",
    [
        {"joints": ("left_wrist", "left_ankle")},
        {"joints": ("left_wrist", "right_wrist")},
        {"right_hand_pose": np.ones((15, 3))},
        {"transl": np.ones(3)},
        {"betas": np.ones(10)},
        {"global_orient": np.ones(3)},
        {"focal_length": np.full(2, 7.0)},
        {"keypoints_2d": np.ones((67, 2))},
        {"keypoint_confidence": np.full(67, 0.5)},
        {"placed_points": None},
        {"hypotheses": None, "category": "another"},
        {"review_by_part": {}},
        {"review_by_part": {"left_hand": "wrong", "right_foot": "right"}},
        {"part": "right_hand"},
        {"outcome_by_part": {"left_hand": "no_better"}},
        {"error_by_part": {"body": 0.01, "left_hand": 0.05, "left_foot": 0.01}},
        {"error_by_part": {"body": 0.01, "left_hand": 0.01, "left_foot": 0.05}},
    ],
)
def test_machine_that_does_more_or_worse_than_repair_what_its_owner_called_wrong_is_refused(words, changes):
    old = called_wrong(**words)
    made = repair(old, **{name: changes[name] for name in ("joints", "part") if name in changes})
    made = dataclasses.replace(made, **{name: changes[name] for name in changes if name not in ("joints", "part")})
    assert store.replace_if_better(old, made) is old


def test_part_called_wrong_in_a_rejected_label_of_a_person_is_not_repaired():
    old = called_wrong(origin="human", review="rejected")
    assert store.replace_if_better(old, repair(old)) is old


def test_point_that_a_person_took_away_stays_away():
    old = make_row(0, error_by_part=errors(0.05), placed_points=())
    better = {"error_by_part": errors(0.01)}
    same = dataclasses.replace(old, **better)
    back = dataclasses.replace(same, keypoint_confidence=np.ones(67), placed_points=None)
    assert store.replace_if_better(old, same).label_version == 2
    assert store.replace_if_better(old, dataclasses.replace(same, placed_points=None)) is old
    assert store.replace_if_better(old, back) is old
    assert store.replace_if_better(dataclasses.replace(old, review="rejected"), back).label_version == 2


def test_labels_of_different_people_are_not_compared():
    with pytest.raises(schema.LabelError, match="not of the same person"):
        store.replace_if_better(make_row(0, track_id=0), make_row(0, track_id=1))


def test_merge_adds_new_people_and_keeps_history_when_asked():
    old = [make_row(0, error_by_part=errors(0.05)), make_row(1, error_by_part=errors(0.01))]
    new = [
        make_row(0, error_by_part=errors(0.01)),
        make_row(1, error_by_part=errors(0.05)),
        make_row(2),
    ]
    merged = store.merge_labels(old, new)
    assert [(row.frame_index, row.label_version) for row in merged] == [(0, 2), (1, 1), (2, 1)]
    history = store.merge_labels(old, new, keep_history=True)
    assert [(row.frame_index, row.label_version) for row in history] == [(0, 1), (0, 2), (1, 1), (2, 1)]
    assert [row.label_version for row in store.latest_labels(history)] == [2, 1, 1]
    schema.labels_to_table(history)


def test_merging_twice_changes_nothing():
    old = [make_row(0, error_by_part=errors(0.05))]
    new = [make_row(0, error_by_part=errors(0.01))]
    once = store.merge_labels(old, new)
    twice = store.merge_labels(once, new)
    assert all(first.same_as(second) for first, second in zip(once, twice, strict=True))


def test_replacing_makes_parents_and_cleans_up(tmp_path):
    with pytest.raises(TypeError), provenance.replacing(tmp_path / "a" / "b.bin") as temporary:
        temporary.write_bytes("text instead of bytes")
    assert list((tmp_path / "a").iterdir()) == []
