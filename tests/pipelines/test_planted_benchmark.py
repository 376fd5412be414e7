"""Planted errors of people whose truth is known: found, repaired, and counted."""

import itertools
import json

import numpy as np
import pytest

from hardmo_jax.body import load
from hardmo_jax.data import synthetic
from hardmo_jax.data.pose_pool import JOINTS, PosePool
from hardmo_jax.fitting import limb_ends
from hardmo_jax.networks.part_scorer import FEATURES, KINDS, PartNetwork, PartScorer
from hardmo_jax.pipelines import planted_labels, planted_report
from hardmo_jax.pipelines.planted_benchmark import PlantedOptions, run_both
from hardmo_jax.pipelines.train_part_scorer import area_under_curve
from tests import staged_people

PEOPLE = 60
F = len(FEATURES)
_ZERO = ((np.zeros((F, 1)), np.zeros(1)),)


@pytest.fixture(scope="module")
def body():
    return load.open_body(view="smplh")


@pytest.fixture(scope="module")
def pool():
    pose = synthetic.sample_hard_poses(50, 200).full_pose[:, : len(JOINTS)]
    return PosePool(
        body_pose=pose.astype(np.float32), styles=("written",), takes=("all",), take_of=np.zeros(len(pose), np.int64)
    )


@pytest.fixture(scope="module")
def people(body):
    return staged_people.people_in_hard_poses(body, PEOPLE, seed=4, staging_seed=1, name="planted")


def test_area_under_the_curve_is_how_often_a_positive_scores_higher():
    rng = np.random.default_rng(0)
    score, truth = rng.integers(0, 8, 200).astype(float), rng.random(200) < 0.3
    pairs = score[truth][:, None] - score[~truth][None]
    assert area_under_curve(score, truth) == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    assert np.isnan(area_under_curve(score, np.zeros(200, bool)))


def test_labels_are_planted_in_the_named_joints_only(body, people, pool):
    clean = planted_labels.clean_labels(body, people, "truth", seed=0)
    labels = planted_labels.planted_labels(body, clean, pool, PlantedOptions().plant, seed=0, name="a test")
    moved = np.linalg.norm(np.asarray(labels.params.full_pose()) - np.asarray(clean.full_pose()), axis=-1) > 1e-4
    joints = {body.joint_names.index(limb_ends.joints_of(part)[0]): part for part in labels.is_planted}
    for joint in range(body.num_joints):
        expected = labels.is_planted[joints[joint]] if joint in joints else np.zeros(len(people), bool)
        np.testing.assert_array_equal(moved[:, joint], expected)


@pytest.mark.slow
def test_planted_errors_are_found_and_repaired(body, people, pool, figure):
    blind = PartScorer(
        networks={kind: PartNetwork(mean=np.zeros(F), spread=np.ones(F), members=(_ZERO,)) for kind in KINDS}
    )
    scores, ungated = run_both(body, people, pool, PlantedOptions(), others={"blind": blind})
    assert [(score.kind, score.label_kind) for score in scores] == [
        ("foot", "truth"), ("hand", "truth"), ("foot", "pseudo"), ("hand", "pseudo"),
    ]  # fmt: skip
    for score in scores:
        figure(
            f"planted {score.kind} on {score.label_kind}: AUC {score.area_under_curve:.3f}, refined "
            f"{100 * score.refined:.0f} %, {score.before['from_base']:.0f} -> {score.after['from_base']:.0f} mm, "
            f"right ones changed {100 * score.good_changed:.1f} %"
        )
        assert score.area_under_curve > 0.9
        assert score.refined > 0.4
        assert score.after["from_base"] < 0.55 * score.before["from_base"]
        assert score.after["body"] == pytest.approx(score.before["body"], abs=0.5)
        assert score.good_changed < 0.05
        assert score.other_areas["blind"] == pytest.approx(0.5), "who knows nothing is right half of the time"
    for gated, everything in zip(scores, ungated, strict=True):
        assert everything.good_changed > 10 * max(gated.good_changed, 0.01), "the gate keeps right parts"
    titles = [table.title for table in planted_report.planted_report(scores, ungated=ungated)]
    assert len(titles) == len(set(titles)) == 5
    json.dumps(planted_report.planted_mapping(scores), allow_nan=False)


def test_the_ablation_names_every_feature():
    known = list(planted_report.known_features().values())
    assert all(set(few) < set(more) for few, more in itertools.pairwise(known))
    assert set(known[-1]) == set(FEATURES)
