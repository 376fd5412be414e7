"""What is written is possible: rotations, numbers, frames, names; and how the work was divided changes none of it."""

import dataclasses
import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from hardmo_jax.geometry import rotations
from hardmo_jax.labels import schema, store
from tests.labels.test_schema import make_full_row
from tests.survive.recorded_jobs import Recorded, RunOf, bytes_of, in_one_process, labels_of, run_recorded

_ROTATIONS = (
    "global_orient", "body_pose", "left_hand_pose", "right_hand_pose", "smpl_hand_pose", "world_global_orient",
)  # fmt: skip


def _spoilt(row, name, value):
    array = np.array(getattr(row, name), np.float32)
    array.flat[array.size // 2] = value
    return dataclasses.replace(row, **{name: array})


def _impossible_rows():
    """Labels of which each says one thing that cannot be."""
    row = dataclasses.replace(
        make_full_row(), world_global_orient=np.zeros(3), world_transl=np.zeros(3), parent_version=None
    )
    numbers = ("bbox", "keypoints_2d", "keypoint_confidence", "betas", "transl", "focal_length", "world_transl")
    for name in (*numbers, *_ROTATIONS):
        for value in (np.nan, np.inf, -np.inf):
            yield f"{name} {value}", _spoilt(row, name, value)
    for name in _ROTATIONS:
        yield f"{name} of thousands of turns", _spoilt(row, name, 1e5)
    for value in (-0.01, 1.01):
        yield f"a confidence of {value}", _spoilt(row, "keypoint_confidence", value)
        yield f"a score of {value}", dataclasses.replace(row, person_score=value)
        yield f"a probability of {value}", dataclasses.replace(row, wrong_by_part={"left_foot": value})
        hypotheses = tuple(dataclasses.replace(one, weight=value) for one in row.hypotheses)
        yield f"a weight of {value}", dataclasses.replace(row, hypotheses=hypotheses)
    hypotheses = tuple(dataclasses.replace(one, body_pose=np.full(63, 1e5)) for one in row.hypotheses)
    yield "a hypothesis of thousands of turns", dataclasses.replace(row, hypotheses=hypotheses)
    yield "a frame before the first", dataclasses.replace(row, frame_index=-1, label_id="")
    yield "a focal length of 0", dataclasses.replace(row, focal_length=np.zeros(2))


def test_nothing_impossible_is_written(tmp_path, promise):
    row = make_full_row()
    with promise("impossible labels are refused when they are written") as promised:
        for name, wrong in _impossible_rows():
            for write in (
                lambda wrong: store.write_labels(tmp_path / "labels.parquet", [row, wrong]),
                lambda wrong: store.PackedLabels([wrong], tmp_path / "labels.arrows"),
            ):
                problem = f"{name} is written"
                try:
                    write(wrong)
                except schema.LabelError:
                    problem = None
                promised.tried(problem)
        promised.tried(None if list(tmp_path.iterdir()) == [] else "something was left behind")
        try:
            store.write_labels(tmp_path / "labels.parquet", [row, row])
            promised.tried("a label is written twice")
        except schema.LabelError:
            promised.tried()
        try:
            store.write_labels(tmp_path / "labels.parquet", [row, dataclasses.replace(row, label_id="0" * 32)])
            promised.tried("a person of a frame is written under two names")
        except schema.LabelError as error:
            promised.tried(None if "0" * 32 in str(error) else "the label is not named")


def test_rotations_of_labels_are_rotations():
    """Whatever numbers a row may hold: axis-angle has no others."""
    row = make_full_row()
    drawn = np.random.default_rng(0).normal(scale=10, size=(1000, 3)).astype(np.float32)
    turns = np.concatenate(
        [drawn, np.zeros((1, 3)), drawn[:10] * 1e-9, np.array([[schema._MOST_TURN, 0, 0]], np.float32)]
    )
    for turn in turns[[0, -1, -2]]:
        dataclasses.replace(row, global_orient=turn).validate()
    matrices = np.asarray(rotations.axis_angle_to_matrix(jnp.asarray(turns, jnp.float32)), np.float64)
    np.testing.assert_allclose(
        matrices @ np.swapaxes(matrices, -1, -2), np.broadcast_to(np.eye(3), (len(turns), 3, 3)), atol=1e-5
    )
    np.testing.assert_allclose(np.linalg.det(matrices), 1, atol=1e-5)


def test_frames_that_are_left_out_are_written(tmp_path):
    """By a stride, or where a person was lost; no row stands for them."""
    rows = [dataclasses.replace(make_full_row(), frame_index=frame, label_id="") for frame in (0, 5, 6, 40)]
    store.write_labels(tmp_path / "labels.parquet", rows)
    assert [row.frame_index for row in store.read_labels(tmp_path / "labels.parquet")] == [0, 5, 6, 40]


def test_turns_of_fits_are_written(tmp_path):
    row = dataclasses.replace(make_full_row(), global_orient=np.array([30.0, -50.0, 3.0]))
    store.write_labels(tmp_path / "labels.parquet", [row])
    assert store.read_labels(tmp_path / "labels.parquet")[0].same_as(row)


def _divided(recorded, folder, *, shards=1, rows_per_shard=2):
    with in_one_process(recorded, RunOf(), rows_per_shard=rows_per_shard):
        for number in range(shards):
            run_recorded(recorded, folder, shard=f"{number + 1}/{shards}")
    return labels_of(folder)


def _same_rows(first, second):
    return len(first) == len(second) and all(map(schema.LabelRow.same_as, first, second))


def test_labels_do_not_depend_on_how_a_job_is_divided(tmp_path, promise, one_thread):
    recorded = Recorded.make(tmp_path / "inputs", [[1, 2], [3], [1, 1, 1], [0, 2]])
    assert recorded.packed
    with promise("shards, machines, order of files, identity of labels") as row:
        whole = _divided(recorded, tmp_path / "whole")
        row.tried(None if len(whole) == len(recorded.keys) else "labels are missing")
        for rows_per_shard in (1, 3, 1000):
            own = _divided(recorded, tmp_path / f"rows_{rows_per_shard}", rows_per_shard=rows_per_shard)
            row.tried(None if _same_rows(whole, own) else f"shards of {rows_per_shard} rows have other labels")
        for shards in (2, 3, 4):
            own = _divided(recorded, tmp_path / f"machines_{shards}", shards=shards)
            is_same = bytes_of(tmp_path / f"machines_{shards}") == bytes_of(tmp_path / "whole")
            row.tried(None if is_same and _same_rows(whole, own) else f"{shards} machines make other labels")
        for number, order in enumerate(((3, 2, 1, 0), (1, 3, 0, 2))):
            shuffled = [recorded.paths[place] for place in order]
            with in_one_process(recorded, RunOf()):
                run_recorded(recorded, tmp_path / f"order_{number}", paths=shuffled)
            found = {label.label_id: label for label in labels_of(tmp_path / f"order_{number}")}
            is_same = found.keys() == {label.label_id for label in whole}
            is_same &= all(label.same_as(found[label.label_id]) for label in whole)
            row.tried(None if is_same else f"the order {order} of files makes other labels")
        ids = [label.label_id for label in whole]
        row.tried(None if len(set(ids)) == len(ids) else "two labels have one name")
        by_source = itertools.groupby(whole, key=lambda label: label.source_path)
        for source, labels in by_source:
            frames = [label.frame_index for label in labels]
            row.tried(None if frames == sorted(frames) else f"frames of {source} are out of order")


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_ends_of_ranges_are_written(tmp_path, value):
    row = dataclasses.replace(make_full_row(), person_score=value, keypoint_confidence=np.full(67, value))
    store.write_labels(tmp_path / "labels.parquet", [row])
    assert len(store.read_labels(tmp_path / "labels.parquet")) == 1
