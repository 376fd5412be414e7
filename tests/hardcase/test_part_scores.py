"""Scores of feet and hands: what speaks against planted errors, and for right ones."""

import numpy as np
import pytest

from hardmo_jax.body import load
from hardmo_jax.fitting.limb_ends import LIMB_ENDS, LimbEndOptions
from hardmo_jax.hardcase.part_scores import REASONS, degrees_between, joint_rotations, labelled_people, score_part
from hardmo_jax.networks.part_scorer import packaged_part_scorer
from hardmo_jax.pipelines import planted_labels
from hardmo_jax.pipelines.second_opinion import second_opinion
from tests import staged_people

PEOPLE = 30


@pytest.fixture(scope="module")
def body():
    return load.open_body(view="smplh")


@pytest.fixture(scope="module")
def people(body):
    return staged_people.people_in_hard_poses(body, PEOPLE, seed=9, staging_seed=3, name="scores")


@pytest.fixture(scope="module")
def second(body, people):
    return second_opinion(body, people.observations())


@pytest.mark.parametrize("part", LIMB_ENDS)
def test_right_parts_are_seldom_thought_wrong_and_what_is_thought_wrong_has_a_reason(body, people, second, part):
    truth = planted_labels.clean_labels(body, people, "truth", seed=0)
    labelled = labelled_people(body, people.observations(), truth, second)
    scores = score_part(labelled, part, scorer=packaged_part_scorer(), options=LimbEndOptions())
    assert (scores.wrong < 0.5).mean() > 0.9
    assert set(scores.reason) <= set(REASONS)
    assert all(reason != "none" for reason, wrong in zip(scores.reason, scores.wrong, strict=True) if wrong >= 0.5)
    assert np.isfinite(scores.features).all()


def test_angles_between_rotations_are_exact_near_zero_and_at_half_a_turn(body, people):
    eye = np.eye(3)[None]
    half = np.diag([1.0, -1.0, -1.0])[None]
    assert degrees_between(eye, half)[0] == pytest.approx(180, abs=1e-5)
    assert degrees_between(eye, eye)[0] == 0
    turned = joint_rotations(body, people.params, body.joint_names.index("left_ankle"))
    np.testing.assert_allclose(turned @ turned.swapaxes(-1, -2), np.broadcast_to(np.eye(3), turned.shape), atol=2e-5)
