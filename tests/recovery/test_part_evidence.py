"""What parts of a person rest on, frame by frame, and how sure they are."""

import dataclasses

import jax
import numpy as np
import pytest

from hardmo_jax.body import load
from hardmo_jax.recovery.part_evidence import part_evidence
from hardmo_jax.recovery.recover_motion import recover_motion
from hardmo_jax.skeleton import layouts
from tests import staged_people

LAYOUT = layouts.get_layout("openpose67")
PART_OF = np.array([layouts.part_of(point) or "" for point in LAYOUT.points])
RATE, FRAMES = 30.0, 120


def confidences(part, hidden):
    values = np.ones((FRAMES, len(LAYOUT)))
    values[np.ix_(hidden, part == PART_OF)] = 0
    return values


def told(confidence, **changes):
    options = {"frames_per_second": RATE, "longest_gap_seconds": 1.0, **changes}
    return part_evidence(LAYOUT, confidence, **options)


@pytest.mark.parametrize("part", layouts.PARTS)
def test_a_part_is_carried_over_a_gap_with_a_growing_spread(part):
    found = told(confidences(part, np.arange(20, 41)))
    words, spread = np.array(found.status[part]), found.spread[part]
    assert (words[20:41] == "carried").all()
    assert (np.delete(words, np.arange(20, 41)) == "seen").all()
    assert (np.diff(spread[19:31]) > 0).all()
    assert (np.diff(spread[30:42]) < 0).all()
    np.testing.assert_allclose(spread[20:41], spread[20:41][::-1])
    for other in set(layouts.PARTS) - {part}:
        assert set(found.status[other]) == {"seen"}


def test_far_from_all_frames_that_saw_it_a_part_is_not_carried():
    found = told(confidences("left_foot", np.arange(20, 110)))
    words = np.array(found.status["left_foot"])
    assert (words[20:50] == "carried").all()
    assert (words[50:80] == "unseen").all()
    assert found.spread["left_foot"][60] >= found.spread["left_foot"][49]


def test_frames_by_themselves_carry_nothing():
    found = told(confidences("right_hand", np.arange(5)), frames_per_second=None)
    assert found.status["right_hand"][:6] == ("unseen",) * 5 + ("seen",)
    assert found.spread["right_hand"][0] > 2 * found.spread["right_hand"][5]


def test_few_or_doubtful_points_do_not_make_a_part_seen():
    confidence = np.ones((1, len(LAYOUT)))
    foot = np.flatnonzero(PART_OF == "left_foot")
    confidence[0, foot] = [0.9, 0.4, np.nan]
    assert told(confidence).status["left_foot"] == ("unseen",)
    confidence[0, foot] = [0.9, 0.6, 0]
    assert told(confidence).status["left_foot"] == ("seen",)


def test_a_layout_without_the_part_never_sees_it():
    coco = layouts.get_layout("coco17")
    found = part_evidence(coco, np.ones((3, 17)), frames_per_second=RATE, longest_gap_seconds=1.0)
    assert found.status["left_foot"] == ("unseen",) * 3
    assert found.status["body"] == ("seen",) * 3


def test_the_spread_of_hidden_feet_is_about_their_error(figure):
    body = load.open_body(view="smplh")
    people = staged_people.people_in_hard_motion(body, 4, 60, RATE, seed=11, staging_seed=2, name="carried")
    layout = layouts.get_layout(people.layout)
    is_foot = np.array([(layouts.part_of(point) or "").endswith("foot") for point in layout.points])
    errors, spreads = [], []
    for row in range(4):
        clip = people.select(np.arange(60 * row, 60 * row + 60))
        seen = clip.observations()
        confidence = np.array(seen.confidence)
        confidence[20:40, is_foot] = 0
        seen = dataclasses.replace(seen, confidence=confidence)
        params = recover_motion(body, seen, frames_per_second=RATE).result.params
        ours, truth = np.asarray(body.joints(jax.tree.map(np.asarray, params))), np.asarray(clip.joints)
        for side in layouts.SIDES:
            ankle, foot = (layouts.SMPLH_JOINTS.index(f"{side}_{joint}") for joint in ("ankle", "foot"))
            apart = (ours[:, foot] - ours[:, ankle]) - (truth[:, foot] - truth[:, ankle])
            errors.append(np.linalg.norm(apart, axis=-1)[20:40])
            found = part_evidence(layout, confidence, frames_per_second=RATE, longest_gap_seconds=1.0)
            spreads.append(found.spread[f"{side}_foot"][20:40])
    error, spread = (float(np.sqrt(np.mean(np.square(values)))) for values in (errors, spreads))
    figure(f"part_evidence: hidden feet {1000 * error:.0f} mm from the truth, said to be {1000 * spread:.0f} mm")
    assert 0.5 < error / spread < 2
