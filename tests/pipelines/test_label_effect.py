"""Shares of a gap that come back: of made-up scores, for which they are known."""

import dataclasses

import numpy as np
import pytest

from hardmo_jax.metrics import protocols
from hardmo_jax.pipelines import label_effect
from hardmo_jax.pipelines.set_scores import ScoreError, SetScore

PEOPLE = 400


def scored(foot, hand=0.05, *, seed=0, body=0.04):
    """Scores of a network whose people err by so much, metres, with chance."""
    rng = np.random.default_rng(seed)

    def errors(mean):
        return mean + 0.01 * rng.normal(size=PEOPLE)

    values = {
        f"{metric}/{name}": errors(mean)
        for metric in ("mpjpe", "pa_mpjpe")
        for name, mean in (("body_17", body), ("hand_12", hand), ("foot_6", foot), ("left_foot_3", 9.0))
    }
    return SetScore(
        method="m", set_name="s", protocol=protocols.PROTOCOLS["hardmo"], num_samples=PEOPLE, num_missing=0,
        num_nonfinite=0, status_counts={}, means={name: float(each.mean()) for name, each in values.items()},
        pck={name: (0.1 + seed, 0.5) for name in ("body_17", "hand_12", "foot_6")}, curves={}, auc={}, joint_errors={},
        errors=values, ids=tuple(map(str, range(PEOPLE))), groups=tuple(map(str, range(PEOPLE))),
        styles=("x",) * PEOPLE,
    )  # fmt: skip


def test_share_of_the_gap_is_found_with_its_interval():
    normal, refined, true = ([scored(foot, seed=seed) for seed in (0, 1)] for foot in (0.08, 0.06, 0.055))
    found = label_effect.recovered(normal, refined, true)
    share = found.shares["pa_mpjpe_foot"]
    assert share is not None
    assert share.low <= share.value <= share.high
    assert share.value == pytest.approx(20 / 25, abs=1e-9)
    assert found.gaps_mm["mpjpe_foot"].value == pytest.approx(25)
    assert found.gains_mm["mpjpe_foot"].value == pytest.approx(20)


def test_interval_widens_with_the_chance_of_people_and_holds_the_truth():
    normal, refined, true = [scored(0.08, seed=1)], [scored(0.06, seed=2)], [scored(0.055, seed=3)]
    found = label_effect.recovered(normal, refined, true)
    share = found.shares["pa_mpjpe_foot"]
    assert share is not None
    assert share.low < 0.8 < share.high
    assert share.high - share.low < 0.3
    # There is no gap at the hands, of which a share would say nothing.
    assert found.gaps_mm["pa_mpjpe_hand"].low < 0 < found.gaps_mm["pa_mpjpe_hand"].high
    assert found.shares["pa_mpjpe_hand"] is None


def test_what_became_worse_is_not_told_as_recovered():
    found = label_effect.recovered([scored(0.050)], [scored(0.054)], [scored(0.055)])
    assert found.gaps_mm["mpjpe_foot"].high < 0
    assert found.shares["mpjpe_foot"] is None


def test_row_averages_seeds_and_says_how_far_they_lie_apart():
    row = label_effect.effect_row("true", [scored(0.08, seed=0), scored(0.06, seed=1)])
    assert row.num_seeds == 2
    assert row.errors_mm["pa_mpjpe_foot"].value == pytest.approx(70, abs=1)
    assert row.seed_spreads_mm["pa_mpjpe_foot"] == pytest.approx(20 / np.sqrt(2), abs=1)
    expected = {f"pck{at}_{part}": hit for part in ("body", "hand", "foot") for at, hit in (("01", 0.6), ("05", 0.5))}
    assert row.pck == pytest.approx(expected)
    assert np.isnan(label_effect.effect_row("true", [scored(0.08)]).seed_spreads_mm["mpjpe_body"])


def test_scores_of_other_people_or_without_somebody_are_refused():
    one, other = scored(0.08), scored(0.06)
    with pytest.raises(ScoreError, match="different people"):
        label_effect.effect_row("true", [one, dataclasses.replace(other, ids=("0",) * PEOPLE)])
    with pytest.raises(ScoreError, match="different people"):
        label_effect.recovered([one], [other], [dataclasses.replace(other, ids=("0",) * PEOPLE)])
    errors = {name: values.copy() for name, values in one.errors.items()}
    errors["mpjpe/foot_6"][3] = np.nan
    with pytest.raises(ScoreError, match="mpjpe of foot"):
        label_effect.effect_row("true", [dataclasses.replace(one, errors=errors)])
