"""The report of a store: what was repaired stands before and after, and what is missing is said."""

import dataclasses
import json
import re

import pytest
from hardmo_jax.pipelines.report_labels import ReportError, write_report

from hardmo_jax.labels import store
from hardmo_jax.labels.schema import LabelError
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
    rows = write_photos(planted_labels(48, 3)[0][:3], tmp_path / "films of Jane")
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
    assert "Jane" not in told.path.read_text(encoding="utf-8")


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
    for text in ("[1]", "{", '{"config": 3, "results": [], "command": {}}'):
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
