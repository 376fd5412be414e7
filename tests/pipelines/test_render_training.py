"""Rendered people: labels that are true, pictures that show them, and folders that are gone on with."""

import dataclasses

import cv2
import numpy as np
import pytest

from hardmo_jax.body.load import open_body
from hardmo_jax.labels import store
from hardmo_jax.pipelines import render_training
from hardmo_jax.pipelines.label_records import LabelRecordOptions
from hardmo_jax.pipelines.label_rows import params_of_labels
from hardmo_jax.pipelines.render_training import RenderError, RenderTrainingOptions
from hardmo_jax.pipelines.training_sources import TrainingSourceOptions, open_sources
from hardmo_jax.training.loop import TrainingError

OPTIONS = RenderTrainingOptions(people=6, side=96, poses="written", seed=3)


def rendered(folder, options=OPTIONS):
    return render_training.render_training(options, folder, mocap=folder / "none", cache=folder / "cache")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rendered")
    return rendered(folder), folder


def test_labels_lie_on_the_people_who_are_drawn(made):
    found, _ = made
    rows = store.read_labels(found.labels).rows
    assert len(rows) == OPTIONS.people
    body = open_body(view="smplh")
    vertices = np.asarray(body(params_of_labels(rows, body)).vertices)
    for row, own in zip(rows, vertices, strict=True):
        picture = cv2.imread(str(found.photos / row.source_path)).astype(float)
        assert picture.shape == (96, 96, 3)
        assert max(row.error_by_part.values()) < 1e-3
        pixels = row.focal_length * own[:, :2] / own[:, 2:] + row.principal_point
        inside = np.all((pixels > 1) & (pixels < 94), -1)
        assert inside.mean() > 0.9
        # What the body covers is another colour than the border of the picture.
        at = pixels[inside].round().astype(int)
        border = np.concatenate([picture[0], picture[-1]]).mean(0)
        assert np.abs(picture[at[:, 1], at[:, 0]] - border).max(-1).mean() > 8
    seen = np.array([row.keypoint_confidence for row in rows])
    assert set(np.unique(seen)) <= {0.0, 1.0}
    assert seen.mean() > 0.8


def test_a_second_run_makes_nothing_again_and_another_is_refused(made):
    found, folder = made
    times = {path: path.stat().st_mtime_ns for path in found.photos.iterdir()}
    (found.photos / "000002.jpg").unlink()
    again = rendered(folder)
    assert {path: path.stat().st_mtime_ns for path in again.photos.iterdir() if path.name != "000002.jpg"} == {
        path: time for path, time in times.items() if path.name != "000002.jpg"
    }
    digests = {row.source_path: row.source_sha256 for row in store.read_labels(again.labels).rows}
    assert len(set(digests.values())) == OPTIONS.people
    with pytest.raises(TrainingError, match="other options"):
        rendered(folder, dataclasses.replace(OPTIONS, seed=4))


def test_networks_can_be_trained_on_them(made):
    found, folder = made
    source = TrainingSourceOptions(path=str(folder), images=str(found.photos))
    opened = open_sources([source], open_body(), labels=LabelRecordOptions(), validation_share=0.3)
    assert len(opened.training[0]) + len(opened.validation[0]) == OPTIONS.people
    record = opened.training[0].record(0)
    assert record.fingertips_confidence.sum() > 0
    assert record.weight == 1.0


def test_what_cannot_be_rendered_is_told(tmp_path):
    with pytest.raises(RenderError, match="--mocap"):
        rendered(tmp_path, dataclasses.replace(OPTIONS, poses="mocap"))
    for changes in ({"people": 0}, {"side": 8}):
        with pytest.raises(ValueError, match="must be"):
            dataclasses.replace(OPTIONS, **changes)
