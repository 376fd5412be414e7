"""The report of a store: what was repaired stands before and after, and what is missing is said."""

import dataclasses
import json
import re

import pytest

from hardmo_jax.labels import store
from hardmo_jax.labels.schema import LabelError
from hardmo_jax.pipelines.report_labels import ReportError, write_report
from tests.labels.test_schema import make_row
from tests.pipelines.refined_people import planted_labels, write_photos


def data_of(path):
    text = path.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script id="data" type="application/json">(.*?)</script>', text, re.S)[1])


def repaired_store(folder, rows):
    """Labels of which the first has a second version with a repaired hand."""
    part = "left_hand"
    before = dataclasses.replace(
        rows[0], error_by_part={**rows[0].error_by_part, part: 0.08}, wrong_by_part={part: 0.97}
    )
    after = dataclasses.replace(
        before, error_by_part={**before.error_by_part, part: 0.01}, wrong_by_part={part: 0.02},
        outcome_by_part={part: "refined"}, label_version=2, parent_version=1,
    )  # fmt: skip
    store.write_labels(folder / "labels.parquet", [before, after, *rows[1:]])


def test_repaired_parts_are_drawn_before_and_after(tmp_path):
    rows = write_photos(planted_labels(8, 3)[0][:3], tmp_path / "films of Jane")
    repaired_store(tmp_path, rows)
    told = write_report(tmp_path, pictures=tmp_path / "films of Jane")
    assert told.path == tmp_path / "report.html"
    assert told.num_labels == 3
    assert 0 < told.num_close_ups <= 24
    data = data_of(told.path)
    first = data["close_ups"][0]
    assert (first["panels"], first["label"]) == (["seen", "before", "after"], 0)
    assert "wrong 97 % → 2 %, error 8.0 % → 1.0 %" in first["what"]
    assert all(len(one["image"]) < 41_000 for one in data["close_ups"])
    hand = next(one for one in data["part_summaries"] if one["part"] == "left_hand")
    assert (hand["refined"], hand["before"], hand["after"]) == (1, 8.0, 1.0)
    # The name of a photo in a folder of the labels is told; where that folder lies is not.
    assert data["labels"]["sources"][0] == "photos/000.jpg"
    assert str(tmp_path) not in told.path.read_text(encoding="utf-8")
    # With a blank: pictures are letters at random.
    assert "of Jane" not in told.path.read_text(encoding="utf-8")


def test_what_a_person_placed_stands_before_and_after_and_what_is_called_right_is_no_worst_case(tmp_path):
    rows = write_photos(planted_labels(8, 3)[0][:3], tmp_path / "films")
    wrong = {"left_foot": 0.9, "right_foot": 0.8}
    error = {"left_foot": 0.05, "right_foot": 0.04}
    rows = [dataclasses.replace(row, error_by_part=error, wrong_by_part=wrong, outcome_by_part={}) for row in rows]
    mended = dataclasses.replace(
        rows[0], error_by_part={**error, "left_foot": 0.01}, origin="human", placed_points=("left_heel",),
        review_by_part={"left_foot": "right"}, label_version=2, parent_version=1,
    )  # fmt: skip
    rows[1] = dataclasses.replace(rows[1], review_by_part={"left_foot": "right", "right_foot": "wrong"})
    rows[2] = dataclasses.replace(rows[2], review="accepted")
    store.write_labels(tmp_path / "labels.parquet", [rows[0], mended, *rows[1:]])
    write_report(tmp_path, pictures=tmp_path / "films")
    shots = data_of(tmp_path / "report.html")["close_ups"]
    told = [(one["label"], one["title"].split(", ")[-1], one["what"]) for one in shots]
    assert told == [
        (0, "left foot", "wrong 90 % → 90 %, error 5.0 % → 1.0 %, a person says right, repair: by hand"),
        (1, "right foot", "wrong 80 %, error 4.0 %, a person says wrong"),
        (0, "right foot", "wrong 80 %, error 4.0 %"),
    ]


def test_shards_and_the_folder_of_a_demo_are_found(tmp_path):
    store.write_labels(tmp_path / "shards" / "labels-00000-of-00002.parquet", [make_row()])
    store.write_labels(tmp_path / "shards" / "labels-00001-of-00002.parquet", [make_row(track_id=3)])
    store.write_labels(tmp_path / "demo" / "annotate" / "labels.parquet", [make_row()])
    assert write_report(tmp_path / "shards").num_labels == 2
    assert write_report(tmp_path / "demo").path == tmp_path / "demo" / "annotate" / "report.html"


def test_a_video_that_is_gone_or_another_one_leaves_the_numbers(tmp_path):
    rows = write_photos(planted_labels(8, 3)[0][:2], tmp_path / "films")
    store.write_labels(tmp_path / "labels.parquet", rows)
    films = [tmp_path / "films" / row.source_path for row in rows]
    films[0].unlink()
    films[1].write_bytes(b"no picture")
    told = write_report(tmp_path, pictures=tmp_path / "films")
    assert (told.num_labels, told.num_close_ups) == (2, 0)
    assert sum("close-ups left out" in warning for warning in told.warnings) == 2
    assert not any(str(tmp_path) in warning for warning in data_of(told.path)["warnings"])


def test_a_store_without_pictures_scores_or_record_has_a_report(tmp_path):
    rows = [make_row(track_id=place, wrong_by_part={}, outcome_by_part={}) for place in range(3)]
    store.write_labels(tmp_path / "labels.parquet", rows)
    told = write_report(tmp_path / "labels.parquet", tmp_path / "page.html")
    data = data_of(tmp_path / "page.html")
    assert told.num_close_ups == 0
    assert any("--pictures" in warning for warning in told.warnings)
    assert any("no run.json" in warning for warning in data["warnings"])
    assert data["close_up_note"]


def test_a_record_that_is_no_record_is_said(tmp_path):
    store.write_labels(tmp_path / "labels.parquet", [make_row()])
    endless = '{"command": ' + "[" * 100_000
    for text in ("[1]", "{", endless, '{"config": 3, "results": [], "command": {}}'):
        (tmp_path / "run.json").write_text(text)
        assert write_report(tmp_path).num_bytes > 0


def test_damaged_and_empty_stores_are_refused_and_leave_the_last_report(tmp_path):
    (tmp_path / "report.html").write_text("old")
    store.write_labels(tmp_path / "labels.parquet", [])
    with pytest.raises(ReportError, match="no label is in it"):
        write_report(tmp_path)
    (tmp_path / "labels.parquet").write_bytes(b"PAR1 no labels")
    with pytest.raises(LabelError):
        write_report(tmp_path)
    with pytest.raises(ReportError, match=r"ends in \.html"):
        write_report(tmp_path, tmp_path / "labels.parquet")
    assert (tmp_path / "report.html").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.parquet", "report.html"]
