"""Label files of every released form open for ever, with the values that were written.

Each was written by the code of its time, never by today's: `first` by commit da1aa54 (no column that came later),
`world` by ede9948 (evidence, spread, world, field of view), `placed` by b4112ed (scores, outcomes, quality, a person's
words and points). Values are those below; what a form had no column for was left out.
"""

import dataclasses
import datetime
import pathlib

import numpy as np
import pyarrow.parquet as pq
import pytest

from hardmo_jax.labels import schema, store
from hardmo_jax.labels.sharded_store import compact_labels
from hardmo_jax.labels.stream_labels import stream_labels
from tests.labels.test_sharded_store import same_labels

GOLDEN = pathlib.Path(__file__).parent / "golden"


def numbers(shape, seed):
    """Numbers that need no generator."""
    return ((np.arange(np.prod(shape)) * 37 + seed * 11) % 101 / 100).astype(np.float32).reshape(shape)


def expected_row(index, **changes):
    fields = {
        "source_path": f"clips/golden {index}.mp4",
        "source_sha256": f"{index + 1:064x}",
        "frame_index": 10 + index,
        "time_seconds": (10 + index) / 25,
        "fps": 25.0,
        "image_width": 1280,
        "image_height": 720,
        "bbox": np.array([10.5, 20, 310.25, 620]),
        "track_id": index,
        "category": "breaking",
        "person_score": 0.75,
        "keypoint_source": "blazepose",
        "keypoints_2d": numbers((67, 2), index) * 700,
        "keypoint_confidence": numbers((67,), index + 1),
        "body_model": "open_body_smplh",
        "body_model_sha256": "ab" * 32,
        "betas": numbers((10,), index + 2),
        "global_orient": numbers((3,), index + 3),
        "body_pose": numbers((21, 3), index + 4),
        "transl": np.array([0.1, 0.2, 4.0]),
        "focal_length": np.array([1400, 1400]),
        "principal_point": np.array([639.5, 359.5]),
        "camera_source": "diagonal",
        "status": "CONVERGED",
        "error_by_part": {"body": 0.01, "left_foot": 0.02},
        "created_utc": datetime.datetime(2026, 11, 22, 1, 2, 3, 456789, datetime.UTC),
    }
    return schema.LabelRow(**(fields | changes))


FIRST = {
    "licence": "CC0",
    "gender": "female",
    "keypoints_3d": numbers((67, 3), 9),
    "left_hand_pose": numbers((15, 3), 5),
    "right_hand_pose": numbers((15, 3), 6),
    "smpl_hand_pose": numbers((2, 3), 7),
    "score_by_part": {"right_hand": -0.25},
    "hypotheses": (
        schema.Hypothesis(
            name="lifter_1",
            weight=0.25,
            error=0.125,
            global_orient=numbers((3,), 1),
            body_pose=numbers((63,), 2),
            transl=np.array([0, 0, 3]),
            left_hand_pose=numbers((45,), 3),
        ),
    ),
    "label_version": 3,
    "parent_version": 2,
    "origin": "human",
    "review": "accepted",
}
WORLD = FIRST | {
    "code_version": "0.1",
    "config_sha256": "cd" * 32,
    "vertical_field_of_view_degrees": 50.0,
    "evidence_by_part": {"left_foot": "carried", "body": "seen"},
    "spread_by_part": {"left_foot": 0.5},
    "world_global_orient": numbers((3,), 8),
    "world_transl": np.array([1, 2, 0.5]),
}
PLACED = WORLD | {
    "wrong_by_part": {"left_foot": 0.875},
    "reason_by_part": {"left_foot": "turned_otherwise"},
    "direction_error_by_part": {"left_foot": 51.0},
    "turn_by_part": {"left_foot": 48.0},
    "disagreement_by_part": {"left_foot": 44.0},
    "cost_drop_by_part": {"left_foot": 90.0},
    "implausibility_by_part": {"left_foot": 3.0},
    "inconsistency_by_part": {"left_foot": 12.0},
    "refit_error_by_part": {"left_foot": 0.25},
    "outcome_by_part": {"left_foot": "refined"},
    "quality_reasons": ("small",),
    "quality": {"height_pixels": 61.5, "num_points": 14},
    "review_by_part": {"right_hand": "wrong"},
    "placed_points": ("left_ankle",),
    "placed_points_3d": ("left_knee",),
}
FORMS = {"first": FIRST, "world": WORLD, "placed": PLACED}
#: Of the first form, whose names did not depend on folders yet: a label keeps the name that it was given.
FIRST_IDS = ("9da64ae2c83384d0e9136b4e1d3ffa9b", "59f37885c9cf30aacb8d0d395bb2e86c", "75f369b52fea44de87e46925253c4c9c")


def expected_rows(form):
    nothing = {name: np.full(shape, np.nan) for name, shape in (("body_pose", (21, 3)), ("betas", 10), ("transl", 3))}
    # Who did not say of which gender a body is had "neutral" as a default once.
    default = {"gender": "neutral"} if form == "first" else {}
    rows = [
        expected_row(0, **default),
        expected_row(1, **FORMS[form]),
        expected_row(2, status="DIVERGED", **nothing, **default),
    ]
    ids = FIRST_IDS if form == "first" else [row.label_id for row in rows]
    return [dataclasses.replace(row, label_id=name) for row, name in zip(rows, ids, strict=True)]


def golden_file(form):
    return GOLDEN / f"format_1_{form}.parquet"


@pytest.mark.parametrize("form", FORMS)
def test_file_of_each_form_opens_with_the_values_that_were_written(form):
    labels = store.read_labels(golden_file(form))
    assert labels.format_version == 1
    assert labels.unknown_columns == ()
    assert same_labels(labels.rows, expected_rows(form))


@pytest.mark.parametrize("form", FORMS)
def test_file_of_each_form_is_streamed_and_put_into_stores(form, tmp_path):
    expected = expected_rows(form)
    assert same_labels([row for batch in stream_labels(golden_file(form)) for row in batch], expected)
    compact_labels([[golden_file(form)]], tmp_path / "store")
    assert same_labels(store.read_labels(tmp_path / "store").rows, expected)


def test_forms_differ_in_columns_that_may_be_absent():
    """What came later is nullable, and a file without it is told from one whose labels say nothing."""
    absent = {form: set(store.read_labels(golden_file(form)).absent_columns) for form in FORMS}
    assert absent["placed"] == set() < absent["world"] < absent["first"]
    assert {"code_version", "wrong_left_foot", "placed_points"} <= absent["first"]


def test_columns_that_were_once_written_keep_their_types():
    today = schema.label_schema()
    for form in FORMS:
        for field in pq.read_schema(golden_file(form)):
            assert today.field(field.name).type == field.type
            assert today.field(field.name).nullable or not field.nullable
