"""ProHMR in the job: its mode is what fits start from, in photos of real people too."""

import dataclasses
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.labels import store
from hardmo_jax.networks import pose_samples, regressor_file, regressors
from hardmo_jax.observations import ObservationError
from hardmo_jax.perception import crop_rules, regressor_crops
from hardmo_jax.perception.source_options import PerceptionOptions
from hardmo_jax.pipelines import annotate, annotate_takes
from hardmo_jax.pipelines.convert_checkpoint import convert_checkpoint
from hardmo_jax.pipelines.regress_people import InitialiseOptions, PeopleRegressor
from hardmo_jax.pipelines.sightings import Picture, RegressedPerson, Sighting
from tests.fitting import synthetic_people

torch = pytest.importorskip("torch", reason="writes the checkpoint; the `bench` extra")
from tests.reference import torch_prohmr  # noqa: E402


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prohmr")
    network = torch_prohmr.randomised(1, blocks=(1, 1), width=4, hidden=16, layers=2, flow_blocks=1)
    torch.save({"state_dict": network.state_dict()}, folder / "checkpoint.pt")
    convert_checkpoint("prohmr", folder / "checkpoint.pt", folder / "converted")
    return folder / "converted"


def test_people_get_the_mode(converted):
    image = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    boxes = np.array([[20.0, 30, 120, 280], [150, 20, 260, 290]], np.float32)
    picture = Picture(
        position=0, source_path=pathlib.Path("a.png"), source_sha256="0" * 64, frame_index=0, time_seconds=None,
        width=400, height=300,
    )  # fmt: skip
    people = [
        Sighting(
            picture=picture, track_id=0, keypoints_2d=np.zeros((67, 2), np.float32),
            confidence=np.ones(67, np.float32), keypoints_3d=None, confidence_3d=None, bbox=box, score=None, source="x",
        )
        for box in boxes
    ]  # fmt: skip
    regressor = PeopleRegressor(InitialiseOptions(network="prohmr", checkpoint=str(converted)), hm.open_body())
    regressor.look(image, people)
    answers = regressor.answers()
    network, _ = regressor_file.load_converted(converted, "prohmr")
    crops = regressor_crops.cut_people(image, boxes, crop_rules.PROHMR)
    module = network.module()
    mode = module.from_noise(module.features(crops.image), np.zeros((2, 144), np.float32))
    for place, answer in enumerate(answers):
        np.testing.assert_allclose(answer.body_pose, mode.body_pose[place], atol=1e-4)
        np.testing.assert_allclose(answer.weak_camera, mode.weak_camera[place], atol=1e-4)
    assert regressors.ARCHITECTURES["prohmr"].image_size == crops.image.shape[1]


@pytest.mark.parametrize("chosen", [{"num_samples": 8}, {"flow_prior": True}], ids=["samples", "flow prior"])
def test_real_photos_are_labelled_by_a_network_of_random_weights(
    chosen, converted, reference_data, perception_models, tmp_path
):
    (tmp_path / "in").mkdir()
    photo = next((reference_data / "media" / "images").rglob("man-in-red*.png"))
    shutil.copy(photo, tmp_path / "in")
    options = annotate.AnnotateOptions(
        initialise=InitialiseOptions(network="prohmr", checkpoint=str(converted), **chosen),
        perception=PerceptionOptions(tiles=(), extra_looks=0),
        output=annotate.OutputOptions(overlay=False, part_scores=False),
    )
    annotate.annotate(tmp_path / "in", tmp_path / "out", options=options, model_folder=perception_models)
    rows = store.read_labels(tmp_path / "out" / "labels.parquet").rows
    assert rows
    assert all(row.is_usable for row in rows)
    record = json.loads((tmp_path / "out" / "run.json").read_text())["results"]
    assert record["network"]["model"] == "prohmr"


def test_density_is_a_prior_of_single_pictures_only(converted, reference_data, perception_models, tmp_path):
    clip = next((reference_data / "media").rglob("*.mp4"))
    options = annotate.AnnotateOptions(
        initialise=InitialiseOptions(network="prohmr", checkpoint=str(converted), flow_prior=True)
    )
    with pytest.raises(ObservationError, match=r"fit\.temporal=False"):
        annotate.annotate(clip, tmp_path / "out", options=options, model_folder=perception_models)
    with pytest.raises(ValueError, match="prohmr"):
        InitialiseOptions(network="hmr", checkpoint=str(converted), flow_prior=True)


def test_nobodys_samples_depend_on_who_else_is_asked_about(converted):
    network, _ = regressor_file.load_converted(converted, "prohmr")
    crops = np.random.default_rng(0).normal(size=(3, 224, 224, 3)).astype(np.float32)
    together = pose_samples.sample_bodies(network, crops, jax.random.key(1), num_samples=4)
    alone = pose_samples.sample_bodies(network, crops[2:], jax.random.key(1), num_samples=4)
    np.testing.assert_allclose(together.body_pose[2:], alone.body_pose, atol=1e-4)


def test_a_piece_of_whom_nobody_was_asked_is_fitted_as_the_others(converted):
    body, options = hm.open_body(), annotate.AnnotateOptions()
    options = dataclasses.replace(options, fit=dataclasses.replace(options.fit, max_batch=1))
    asked, unasked = sightings_of_somebody(body)
    network, _ = regressor_file.load_converted(converted, "prohmr")
    told = RegressedPerson(
        global_orient=np.diag([1.0, -1, -1]), body_pose=np.tile(np.eye(3), (23, 1, 1)), betas=np.zeros(10),
        weak_camera=np.array([0.9, 0, 0]), box_center=asked.bbox.reshape(2, 2).mean(0), box_size=300.0,
        features=np.zeros(network.options.flow.context, np.float32),
    )  # fmt: skip
    people = [dataclasses.replace(asked, regressed=told), unasked]
    fitted = annotate_takes._fit_alone(body, people, network, options, lambda *_: None)
    assert len(fitted.sightings) == 2
    assert fitted.num_from_lifter >= 1


def sightings_of_somebody(body):
    people = synthetic_people.draw(body, "openpose67", count=2, seed=5)
    seen = people.observe("2d")
    picture = Picture(
        position=0, source_path=pathlib.Path("a.png"), source_sha256="0" * 64, frame_index=0, time_seconds=None,
        width=synthetic_people.WIDTH, height=synthetic_people.HEIGHT,
    )  # fmt: skip
    points = np.asarray(seen.keypoints_2d, np.float32)
    boxes = np.concatenate([points.min(1), points.max(1)], -1)
    return [
        Sighting(
            picture=picture, track_id=at, keypoints_2d=points[at], confidence=np.ones(67, np.float32),
            keypoints_3d=None, confidence_3d=None, bbox=boxes[at], score=None, source="x",
        )
        for at in range(2)
    ]  # fmt: skip
