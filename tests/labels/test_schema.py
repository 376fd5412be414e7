import datetime

import numpy as np
import pyarrow as pa
import pytest

from hardmo_jax.labels import schema
from hardmo_jax.skeleton import layouts


def make_row(seed: int = 0, **changes):
    rng = np.random.default_rng(seed)
    fields = {
        "source_path": f"clips/dance {seed}.mp4",
        "source_sha256": f"{seed:064x}",
        "frame_index": seed,
        "time_seconds": seed / 30,
        "fps": 30000 / 1001,
        "image_width": 1920,
        "image_height": 1080,
        "bbox": np.array([100.5, 50, 300, 900.25]),
        "track_id": 2,
        "category": "breaking",
        "person_score": 0.9,
        "keypoint_source": "blazepose",
        "keypoints_2d": rng.uniform(0, 1000, (67, 2)),
        "keypoint_confidence": rng.uniform(0, 1, 67),
        "body_model": "open_body_smplh",
        "body_model_sha256": "ab" * 32,
        "betas": rng.normal(size=10),
        "global_orient": rng.normal(size=3),
        "body_pose": rng.normal(size=(21, 3)),
        "transl": np.array([0.1, 0.2, 4]),
        "focal_length": np.array([2200, 2200]),
        "principal_point": np.array([959.5, 539.5]),
        "camera_source": "diagonal",
        "status": "CONVERGED",
        "error_by_part": {"body": 0.01, "left_foot": 0.02},
        "created_utc": datetime.datetime(2026, 11, 22, 1, 2, 3, 456789, datetime.UTC),
    }
    return schema.LabelRow(**(fields | changes))


def make_full_row(seed: int = 0):
    rng = np.random.default_rng(seed)
    hypothesis = schema.Hypothesis(
        name="lifter_1",
        weight=0.3,
        error=0.1,
        global_orient=rng.normal(size=3),
        body_pose=rng.normal(size=63),
        transl=np.array([0, 0, 3]),
        left_hand_pose=rng.normal(size=45),
    )
    return make_row(
        seed,
        licence="CC0",
        keypoints_3d=rng.normal(size=(67, 3)),
        left_hand_pose=rng.normal(size=45),
        right_hand_pose=rng.normal(size=45),
        smpl_hand_pose=rng.normal(size=6),
        score_by_part={"right_hand": -0.25},
        evidence_by_part={"left_foot": "carried", "body": "seen"},
        spread_by_part={"left_foot": 0.04},
        wrong_by_part={"left_foot": 0.97, "right_hand": 0.0},
        reason_by_part={"left_foot": "turned_otherwise", "right_foot": "unrepairable"},
        direction_error_by_part={"left_foot": 51.0},
        turn_by_part={"left_foot": 48.0},
        disagreement_by_part={"left_foot": 44.0},
        cost_drop_by_part={"left_foot": 90.0},
        implausibility_by_part={"left_foot": 3.0},
        inconsistency_by_part={"left_foot": 12.0},
        refit_error_by_part={"left_foot": 0.006},
        outcome_by_part={"left_foot": "refined", "right_foot": "unrepairable"},
        review_by_part={"left_foot": "right", "right_hand": "wrong"},
        quality_reasons=("small", "truncated"),
        placed_points=("left_ankle", "right_wrist"),
        placed_points_3d=("left_knee",),
        quality={"height_pixels": 61.5, "truncated_share": 0.2, "occluded_share": 0.0, "num_points": 14},
        world_global_orient=rng.normal(size=3),
        world_transl=rng.normal(size=3),
        hypotheses=(hypothesis,),
        label_version=3,
        parent_version=2,
        origin="human",
        review="accepted",
        gender="female",
        camera_source="exif",
        vertical_field_of_view_degrees=39.6,
    )


def test_rows_with_and_without_optional_fields_round_trip_exactly():
    rows = [make_row(0), make_full_row(1), make_row(2, hypotheses=()), make_full_row(3), make_row(4, fps=None)]
    back = schema.table_to_labels(schema.labels_to_table(rows))
    assert [first.same_as(second) for first, second in zip(rows, back, strict=True)] == [True] * len(rows)


def test_no_rows_round_trip():
    assert schema.table_to_labels(schema.labels_to_table([])) == []


def test_chunked_table_round_trips():
    rows = [make_full_row(0), make_row(1), make_full_row(2)]
    table = pa.concat_tables([schema.labels_to_table([row]) for row in rows])
    back = schema.table_to_labels(table)
    assert all(first.same_as(second) for first, second in zip(rows, back, strict=True))


def test_sliced_table_gives_the_rows_of_the_slice():
    rows = [make_full_row(0), make_row(1), make_full_row(2)]
    back = schema.table_to_labels(schema.labels_to_table(rows).slice(1, 2))
    assert [row.frame_index for row in back] == [1, 2]
    assert back[1].same_as(rows[2])


def test_failed_fit_keeps_its_nan_through_a_round_trip():
    row = make_row(0, status="NONFINITE", body_pose=np.full((21, 3), np.nan))
    (back,) = schema.table_to_labels(schema.labels_to_table([row]))
    assert back.same_as(row)
    assert np.isnan(back.body_pose).all()


def test_schema_names_version_units_and_shapes():
    found = schema.label_schema()
    assert found.metadata[schema.FORMAT_KEY] == b"1"
    assert found.field("transl").metadata[b"unit"] == b"m"
    assert found.field("body_pose").metadata.items() >= {b"unit": b"rad", b"shape": b"21,3"}.items()
    assert found.metadata[b"body_pose_names"].split()[0] == b"left_hip"
    assert len(found.metadata[b"keypoint_names"].split()) == 67
    assert found.field("keypoints_2d").metadata[b"unit"] == b"px"
    assert found.field("vertical_field_of_view_degrees").metadata[b"unit"] == b"degrees"
    assert all(b"unit" in field.metadata for field in found)
    assert found.field("body_pose").type.list_size == 63


def test_every_part_has_an_error_and_a_score_column():
    names = schema.label_schema().names
    assert {f"error_{part}" for part in layouts.PARTS} <= set(names)
    assert {f"score_{part}" for part in layouts.PARTS} <= set(names)


def test_columns_of_parts_that_begin_alike_are_not_taken_for_each_other():
    row = make_row(0, error_by_part={"left_foot": 0.5}, refit_error_by_part={"left_foot": 0.25},
                   direction_error_by_part={"left_foot": 8.0})  # fmt: skip
    table = schema.labels_to_table([row])
    found = [table.column(f"{name}_left_foot").to_pylist() for name in ("error", "refit_error", "direction_error")]
    assert found == [[0.5], [0.25], [8.0]]


def test_no_reason_and_no_judgement_are_two_things_after_a_round_trip():
    rows = [make_row(0, quality_reasons=()), make_row(1), make_row(2, quality_reasons=("blurred",))]
    back = schema.table_to_labels(schema.labels_to_table(rows))
    assert [row.quality_reasons for row in back] == [(), None, ("blurred",)]
    assert dict(back[1].quality) == dict.fromkeys(schema.QUALITY_MEASURES)


def test_every_measure_of_quality_has_a_column_with_its_unit():
    found = schema.label_schema()
    units = {name: found.field(f"quality_{name}").metadata[b"unit"] for name in schema.QUALITY_MEASURES}
    assert units["height_pixels"] == b"px"
    assert all(unit != b"none" for unit in units.values())


def test_unknown_measure_is_refused_with_the_nearest_name():
    with pytest.raises(schema.LabelError, match="unknown measure 'sharpnes'; did you mean 'sharpness'"):
        make_row(0, quality={"sharpnes": 1.0})


def test_arrays_are_copied_and_cannot_be_written():
    pose = np.zeros(63)
    row = make_row(0, body_pose=pose)
    pose[0] = 1
    assert row.body_pose.shape == (21, 3)
    assert row.body_pose[0, 0] == 0
    with pytest.raises(ValueError, match="read-only"):
        row.body_pose[0, 0] = 1


def test_label_id_depends_on_place_content_frame_and_person():
    base = schema.make_label_id("a/b.mp4", "0" * 64, 1, 2)
    assert base == schema.make_label_id("a\\b.mp4", "0" * 64, 1, 2)
    others = [
        schema.make_label_id("a/c.mp4", "0" * 64, 1, 2),
        schema.make_label_id("a/b.mp4", "1" * 64, 1, 2),
        schema.make_label_id("a/b.mp4", "0" * 64, 2, 2),
        schema.make_label_id("a/b.mp4", "0" * 64, 1, 12),
    ]
    assert len({base, *others}) == 5


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"body_pose": np.full((21, 3), np.nan)}, "body_pose.*not finite.*CONVERGED"),
        ({"status": "DIVERGED", "keypoints_2d": np.full((67, 2), np.nan)}, "keypoints_2d.*not finite"),
        ({"status": "MAX_STEPS", "transl": np.array([0, 0, np.inf])}, "transl.*not finite"),
        ({"keypoint_confidence": np.full(67, 1.01)}, "keypoint_confidence.*in \\[0, 1\\]"),
        ({"keypoint_confidence": np.full(67, -0.01)}, "keypoint_confidence.*in \\[0, 1\\]"),
        ({"fps": 0.0}, "fps.*positive"),
        ({"fps": float("nan")}, "fps.*positive"),
        ({"time_seconds": -1.0}, "time_seconds"),
        ({"person_score": 1.5}, "person_score"),
        ({"focal_length": np.array([0, 100])}, "focal_length.*positive"),
        ({"evidence_by_part": {"body": "guessed"}}, "evidence_by_part.*seen, carried, unseen.*guessed"),
        ({"spread_by_part": {"left_foot": 0.0}}, "spread of left_foot"),
        ({"wrong_by_part": {"left_foot": 1.5}}, "wrong_by_part. of left_foot"),
        ({"wrong_by_part": {"left_foot": np.nan}}, "wrong_by_part. of left_foot"),
        ({"reason_by_part": {"left_foot": "ugly"}}, "reason_by_part.*points_elsewhere.*ugly"),
        ({"outcome_by_part": {"left_hand": "fixed"}}, "outcome_by_part.*refined.*fixed"),
        ({"review_by_part": {"left_hand": "maybe"}}, "review_by_part.*right, wrong.*maybe"),
        ({"placed_points": ("left_tail",)}, "placed_points.*left_tail.*openpose67"),
        ({"placed_points_3d": ("left_tail",)}, "placed_points_3d.*left_tail.*openpose67"),
        ({"turn_by_part": {"left_foot": -1.0}}, "turn_by_part. of left_foot"),
        ({"refit_error_by_part": {"left_foot": np.inf}}, "refit_error_by_part. of left_foot"),
        ({"quality_reasons": ("ugly",)}, "quality_reasons.*small, blurred.*ugly"),
        ({"quality": {"sharpness": -1.0}}, "quality. sharpness.*-1"),
        ({"quality": {"num_points": np.nan}}, "quality. num_points.*nan"),
        ({"world_transl": np.array([0, np.nan, 0])}, "world_transl.*finite"),
        ({"vertical_field_of_view_degrees": 0.0}, "vertical_field_of_view_degrees.*\\(0, 180\\)"),
        ({"vertical_field_of_view_degrees": 180.0}, "vertical_field_of_view_degrees.*180"),
        ({"vertical_field_of_view_degrees": float("nan")}, "vertical_field_of_view_degrees.*nan"),
        ({"bbox": np.array([10, 10, 5, 20])}, "bbox.*x_min"),
        ({"status": "OK"}, "status.*CONVERGED"),
        ({"origin": "robot"}, "origin.*machine, human"),
        ({"review": "maybe"}, "review"),
        ({"gender": "other"}, "gender"),
        ({"source_sha256": "xyz"}, "source_sha256.*64"),
        ({"keypoint_layout": "openpose25"}, "does not have 67 points"),
        ({"keypoint_layout": "openpose99"}, "not known"),
        ({"image_width": 0}, "image_width.*from 1"),
        ({"image_width": True}, "image_width"),
        ({"frame_index": -1}, "frame_index"),
        ({"frame_index": 2**40}, "frame_index"),
        ({"label_version": 2, "parent_version": 2}, "parent_version.*below"),
        ({"error_by_part": {"body": -0.1}}, "error of body"),
        ({"error_by_part": {"left_hand": float("inf")}}, "error of left_hand"),
        ({"score_by_part": {"body": float("nan")}}, "score of body"),
        ({"source_path": "bad\udc80name.mp4"}, "source_path.*UTF-8"),
        ({"category": "a\0b"}, "category"),
        ({"label_id": "short"}, "label_id"),
    ],
)
def test_impossible_label_is_refused_on_write(changes, words):
    with pytest.raises(schema.LabelError, match=words):
        schema.labels_to_table([make_row(0, **changes)])


def test_pose_of_wrong_length_is_refused_at_once():
    # Under the tests' type checks the wrong shape is a TypeError before the label itself complains.
    with pytest.raises((schema.LabelError, TypeError), match="body_pose"):
        make_row(0, body_pose=np.zeros((23, 3)))


def test_unknown_part_is_refused_with_the_nearest_name():
    with pytest.raises(schema.LabelError, match="did you mean 'left_foot'"):
        make_row(0, error_by_part={"left_feet": 0.1})


def test_time_without_zone_is_refused():
    with pytest.raises(schema.LabelError, match="time zone"):
        make_row(0, created_utc=datetime.datetime(2026, 1, 1))


def test_same_version_of_a_label_twice_is_refused():
    with pytest.raises(schema.LabelError, match="occurs twice"):
        schema.labels_to_table([make_row(0), make_row(0)])


def test_two_labels_of_one_person_in_one_frame_are_refused():
    with pytest.raises(schema.LabelError, match=r"labels [0-9a-f]{32} and 0{32} are both of track 2 in frame 0 of"):
        schema.labels_to_table([make_row(0), make_row(0, label_id="0" * 32)])


def test_two_versions_of_a_label_stand_side_by_side():
    assert schema.labels_to_table([make_row(0), make_row(0, label_version=2)]).num_rows == 2


def test_impossible_value_in_a_table_is_refused_on_read():
    table = schema.labels_to_table([make_row(0)])
    index = table.schema.get_field_index("fps")
    table = table.set_column(index, table.schema.field("fps"), pa.array([-5.0]))
    with pytest.raises(schema.LabelError, match="fps"):
        schema.table_to_labels(table)


def test_missing_column_is_refused_by_name():
    table = schema.labels_to_table([make_row(0)]).drop_columns(["betas"])
    with pytest.raises(schema.LabelError, match="one column 'betas', found 0"):
        schema.table_to_labels(table)


def test_hypothesis_out_of_range_is_refused():
    bad = schema.Hypothesis(name="h", weight=2.0, global_orient=np.zeros(3), body_pose=np.zeros(63), transl=np.zeros(3))
    with pytest.raises(schema.LabelError, match="weight"):
        schema.labels_to_table([make_row(0, hypotheses=(bad,))])


@pytest.mark.parametrize(
    ("changes", "was_looked_at"),
    [
        ({}, False),
        ({"origin": "human"}, True),
        ({"review": "rejected"}, True),
        ({"review_by_part": {"left_foot": "wrong"}}, True),
        ({"placed_points": ()}, True),
    ],
)
def test_label_was_looked_at_where_a_person_said_anything_of_it_or_its_points(changes, was_looked_at):
    assert make_row(0, **changes).was_looked_at == was_looked_at
