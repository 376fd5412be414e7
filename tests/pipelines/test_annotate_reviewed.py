"""A folder in which a person looked at labels is not annotated anew, also if that was while it was annotated."""

from unittest import mock

import cv2
import numpy as np
import pytest

from hardmo_jax.labels import store
from hardmo_jax.pipelines import annotate
from hardmo_jax.pipelines.annotate import AnnotateOptions
from hardmo_jax.pipelines.label_editor import LabelEditor
from hardmo_jax.pipelines.label_edits import LabelEdit
from hardmo_jax.pipelines.output_folders import OutputFolderError
from tests.labels.test_schema import make_row


def mark(path):
    row = make_row(0)
    with LabelEditor(path) as editor:
        editor.put(LabelEdit(label_id=row.label_id, label_version=1, review_by_part={"left_foot": "wrong"}))


def test_folder_with_a_marked_part_is_refused_before_any_work(tmp_path):
    store.write_labels(tmp_path / "out" / "labels.parquet", [make_row(0)])
    mark(tmp_path / "out")
    before = (tmp_path / "out" / "labels.parquet").read_bytes()
    with pytest.raises(OutputFolderError, match=r"a person made or reviewed; give another --output_dir"):
        annotate.annotate(tmp_path / "nothing.jpg", tmp_path / "out", options=AnnotateOptions(), model_folder=tmp_path)
    assert (tmp_path / "out" / "labels.parquet").read_bytes() == before


def test_run_during_which_a_part_was_marked_is_kept_beside(tmp_path, monkeypatch):
    store.write_labels(tmp_path / "out" / "labels.parquet", [make_row(0)])
    cv2.imwrite(str(tmp_path / "in.png"), np.zeros((8, 8, 3), np.uint8))

    def annotated(scratch, *_):
        store.write_labels(scratch / "labels.parquet", [make_row(1)])
        (scratch / "run.json").write_text("{}")
        mark(tmp_path / "out")

    monkeypatch.setattr(annotate, "_annotate_into", annotated)
    monkeypatch.setattr(annotate.load_source, "load_source", lambda *_, **__: mock.MagicMock())
    monkeypatch.setattr(annotate.load_source, "own_files", lambda *_, **__: [])
    with pytest.raises(OutputFolderError, match=r"during this run, which is in .*out-\w+"):
        annotate.annotate(tmp_path / "in.png", tmp_path / "out", options=AnnotateOptions(), model_folder=tmp_path)
    (row,) = store.read_labels(tmp_path / "out" / "labels.parquet").rows
    assert row.review_by_part["left_foot"] == "wrong"
    kept = [path for path in tmp_path.iterdir() if path.name.startswith("out-")]
    (made,) = store.read_labels(kept[0] / "labels.parquet").rows
    assert made.label_id == make_row(1).label_id
    assert not list(tmp_path.glob(".annotate-*"))
