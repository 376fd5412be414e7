"""Rendered people: labels that are true, pictures that show them, and folders that are gone on with."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
from beartype.roar import BeartypeCallHintViolation
from jaxtyping import TypeCheckError

from hardmo_jax.body.load import open_body
from hardmo_jax.data import synthetic
from hardmo_jax.data.pose_pool import PosePool
from hardmo_jax.data.sampled_feet import lower_side, sole_tilt
from hardmo_jax.labels import store
from hardmo_jax.pipelines import planted_labels, render_training
from hardmo_jax.pipelines.label_records import LabelRecordOptions
from hardmo_jax.pipelines.label_rows import params_of_labels
from hardmo_jax.pipelines.render_training import RenderError, RenderTrainingOptions
from hardmo_jax.pipelines.training_sources import TrainingSourceOptions, open_sources
from hardmo_jax.skeleton import layouts
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
    for changes in ({"takes": (0.5, 0.5)}, {"sampled_feet": 2.0}, {"keypoints": "seen"}, {"clothes": "uniform"}):
        with pytest.raises((ValueError, BeartypeCallHintViolation, TypeCheckError)):
            dataclasses.replace(OPTIONS, **changes)


def test_a_detector_errs_about_the_same_people(made, tmp_path):
    found, _ = made
    seen = rendered(tmp_path, dataclasses.replace(OPTIONS, keypoints="detected"))
    apart, confidences = [], []
    for true, row in zip(store.read_labels(found.labels).rows, store.read_labels(seen.labels).rows, strict=True):
        np.testing.assert_array_equal(true.body_pose, row.body_pose)
        np.testing.assert_array_equal(true.bbox, row.bbox)
        both = (true.keypoint_confidence > 0) & (row.keypoint_confidence > 0)
        side = (row.bbox[2:] - row.bbox[:2]).max()
        apart.append(np.linalg.norm(true.keypoints_2d - row.keypoints_2d, axis=-1)[both] / side)
        confidences.append(row.keypoint_confidence[both])
    apart = np.concatenate(apart)
    assert 0.005 < np.median(apart) < 0.03
    assert len(np.unique(np.concatenate(confidences))) > 50


def test_written_poses_have_no_takes_and_no_feet_to_replace(tmp_path):
    for changes in ({"takes": (0.0, 0.8)}, {"sampled_feet": 0.5}):
        with pytest.raises(RenderError, match="motion capture"):
            rendered(tmp_path, dataclasses.replace(OPTIONS, **changes))
        with pytest.raises(RenderError, match="--mocap"):
            rendered(tmp_path, dataclasses.replace(OPTIONS, poses="auto", **changes))


def test_folders_of_before_an_option_are_of_its_default(made):
    _, folder = made
    told = json.loads((folder / "rendered.json").read_text())
    assert not {"takes", "sampled_feet", "keypoints", "clothes"} & set(told)


def pool_of(takes=40, poses=5):
    rng = np.random.default_rng(0)
    return PosePool(
        body_pose=0.1 * rng.normal(size=(takes * poses, 22, 3)),
        styles=("written",) * takes,
        takes=tuple(map(str, range(takes))),
        take_of=np.repeat(np.arange(takes), poses),
    )


def test_shares_of_takes_have_none_in_common_and_leave_none_out():
    pool = pool_of()
    first, second = (render_training._rows_of_takes(pool, takes) for takes in ((0.0, 0.7), (0.7, 1.0)))
    assert 0.5 < len(first) / len(pool) < 0.9
    assert not set(pool.take_of[first]) & set(pool.take_of[second])
    assert len(first) + len(second) == len(pool)
    with pytest.raises(RenderError, match="widen `takes`"):
        render_training._rows_of_takes(pool_of(takes=1), (0.0, 1e-9))


def test_sampled_feet_are_those_of_written_poses_and_all_else_stays():
    pool, rows = pool_of(), np.arange(60)
    own, sampled = (
        planted_labels.motion_of_pool(pool, rows, np.random.default_rng(1), sampled_feet=share).full_pose[:, 0]
        for share in (0.0, 0.5)
    )
    feet = [layouts.SMPLH_JOINTS.index(f"{side}_{joint}") for side in layouts.SIDES for joint in ("ankle", "foot")]
    changed = np.abs(own - sampled).max((1, 2)) > 0
    assert 0.3 < changed.mean() < 0.7
    rest = np.setdiff1d(np.arange(52), feet)
    np.testing.assert_array_equal(own[:, rest], sampled[:, rest])
    written = np.linalg.norm(synthetic.sample_hard_poses(0, 500).full_pose[:, feet[0]], axis=-1)
    turned = np.linalg.norm(sampled[changed][:, feet[0]], axis=-1)
    # Nobody hangs: the foot that was lower stands on its toes or sole.
    carrying, standing = lower_side(sampled), []
    for place, side in enumerate(layouts.SIDES):
        own_feet = sampled[:, feet[2 * place : 2 * place + 2]]
        standing.append(sole_tilt(sampled, side, own_feet)[changed & (carrying == place)])
    assert np.quantile(np.concatenate(standing), 0.9) < 0.4
    assert np.quantile(written, 0.2) < np.median(turned) < np.quantile(written, 0.8)
