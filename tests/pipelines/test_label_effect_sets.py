"""Labels with wrong hands and feet, their repair, and the truth; and networks that are trained on them."""

import dataclasses

import numpy as np
import pytest

from hardmo_jax.body.load import open_body
from hardmo_jax.labels import store
from hardmo_jax.networks.backbones.resnet import ResnetOptions
from hardmo_jax.networks.heads.iterative import IterativeOptions
from hardmo_jax.networks.hmr import HmrOptions
from hardmo_jax.networks.lifter import LifterOptions
from hardmo_jax.pipelines import label_effect_lifter, label_effect_network, label_effect_sets, render_training
from hardmo_jax.pipelines.render_training import RenderTrainingOptions
from hardmo_jax.skeleton import layouts

PEOPLE = 16
JOINTS = layouts.SMPL_JOINTS[1:22]
ENDS = [JOINTS.index(f"{side}_{joint}") for side in layouts.SIDES for joint in ("ankle", "foot", "wrist")]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("effect")
    options = RenderTrainingOptions(people=PEOPLE, side=48, poses="written", keypoints="detected", clothes="suits")
    found = render_training.render_training(options, folder, mocap=folder / "none", cache=folder)
    rows, body = store.read_labels(found.labels).rows, open_body(view="smplh")
    return rows, label_effect_sets.label_sets(rows, body), body, found.photos


def turns(rows):
    return np.stack([row.body_pose for row in rows])


def test_normal_labels_are_wrong_at_hands_and_feet_alone(made):
    rows, sets, _, _ = made
    true, normal = turns(sets.true), turns(sets.normal)
    np.testing.assert_array_equal(true, turns(rows))
    rest = [joint for joint in range(21) if joint not in ENDS]
    np.testing.assert_array_equal(normal[:, rest], true[:, rest])
    assert np.abs(normal[:, ENDS] - true[:, ENDS]).max(-1).mean() > 0.2
    points = layouts.get_layout(rows[0].keypoint_layout).points
    is_body = np.array([point in layouts.get_layout("coco17").points for point in points])
    seen = np.array([row.keypoint_confidence for row in sets.normal])
    assert not seen[:, ~is_body].any()
    assert seen[:, is_body].mean() > 0.5
    assert all(row.wrong_by_part["left_hand"] is None for row in sets.normal)


def test_repair_brings_hands_nearer_and_leaves_the_body(made):
    rows, sets, _, _ = made
    true, normal, refined = (turns(each) for each in (sets.true, sets.normal, sets.refined))
    arms = [JOINTS.index(f"{side}_{joint}") for side in layouts.SIDES for joint in ("elbow", "wrist")]
    rest = [joint for joint in range(21) if joint not in (*ENDS, *arms)]
    np.testing.assert_array_equal(refined[:, rest], true[:, rest])
    wrists = arms[1::2]
    assert np.abs(refined - true)[:, wrists].mean() < np.abs(normal - true)[:, wrists].mean()
    assert sum(sets.outcomes["hand"].values()) > 0
    assert [row.label_id for row in sets.refined] == [row.label_id for row in rows]


def test_true_labels_have_the_points_of_their_bodies(made):
    _, sets, _, _ = made
    assert max(max(row.error_by_part.values()) for row in sets.true) < 1e-3


@pytest.mark.slow
def test_networks_learn_from_a_set_and_are_scored(made):
    _, sets, body, photos = made
    backbone = ResnetOptions(blocks=(1, 1), width=4)
    options = label_effect_network.EffectNetworkOptions(
        network=HmrOptions(
            backbone=backbone, head=IterativeOptions(features=backbone.features, hidden=16), image_size=32
        ),
        keypoints=label_effect_network.EffectStage(steps=3, learning_rate=1e-3),
        then=label_effect_network.EffectStage(steps=3, learning_rate=1e-3), batch_size=4,
    )  # fmt: skip
    source = label_effect_network.records_of(sets.refined, body, photos)
    read = label_effect_network.pictures_of(photos)
    start = label_effect_network.pretrained_on_keypoints(source, read, options, seed=0)
    network = label_effect_network.train_on_labels(source, read, start, options, options.then, seed=0)
    truth = label_effect_network.records_of(sets.true, body, photos)
    scored = label_effect_network.score_network(network, truth, read, method="refined")
    assert scored.num_samples == PEOPLE
    assert np.isfinite(scored.means["pa_mpjpe/foot_6"])


@pytest.mark.slow
def test_lifters_learn_from_a_set_and_are_scored(made):
    rows, sets, body, _ = made
    usual = label_effect_lifter.EffectLifterOptions()
    options = dataclasses.replace(
        usual, network=LifterOptions(), loop=dataclasses.replace(usual.loop, steps=150, batch=32, checkpoint_every=150)
    )
    errors = {}
    for steps in (1, 150):
        own = dataclasses.replace(options, loop=dataclasses.replace(options.loop, steps=steps, warmup_steps=1))
        trained = label_effect_lifter.train_lifter_on_labels(sets.true, rows, body, own, seed=0)
        scored = label_effect_lifter.score_lifter(trained, sets.true, rows, body, method="true")
        errors[steps] = scored.means["pa_mpjpe/body_17"]
    assert errors[150] < 0.6 * errors[1]
