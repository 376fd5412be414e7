"""Labels of synthetic people with planted errors are mined and repaired; right ones stay bit for bit."""

import collections
import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hardmo_jax.body.array_files import BodyFileError
from hardmo_jax.hardcase.mine import MineOptions
from hardmo_jax.labels import store
from hardmo_jax.pipelines import label_rows, refine_labels, score_labels
from hardmo_jax.pipelines.refine_labels import LabelRefineOptions
from hardmo_jax.skeleton import flips, layouts
from tests.pipelines import refined_people

OPTIONS = {subset: LabelRefineOptions(subset=subset) for subset in ("hand", "foot")}
#: Of the people with planted errors.
MOST_LEFT_OF_ERROR, LEAST_PRECISION, LEAST_RECALL = 0.4, 0.95, 0.6


def run(rows, subset="hand", **changes):
    return refine_labels.refine_labels(
        rows, refined_people.open_body(), dataclasses.replace(OPTIONS[subset], **changes), origin={}
    )


@pytest.fixture(scope="module")
def planted():
    """Labels with scores, and which of their parts are wrong."""
    labels, is_planted = refined_people.planted_labels(32)
    return score_labels.score_labels(labels, refined_people.open_body()), is_planted


@pytest.fixture(scope="module")
def hands(planted):
    return run(planted[0], "hand")


@pytest.fixture(scope="module")
def feet(planted):
    return run(planted[0], "foot")


def test_scores_find_what_was_planted(planted, figure):
    labels, is_planted = planted
    for kind in ("hand", "foot"):
        found = [
            (row.wrong_by_part[f"{side}_{kind}"], is_planted[f"{side}_{kind}"][place])
            for side in layouts.SIDES
            for place, row in enumerate(labels)
            if row.wrong_by_part[f"{side}_{kind}"] is not None
        ]
        wrong = np.array([probability for probability, is_wrong in found if is_wrong])
        right = np.array([probability for probability, is_wrong in found if not is_wrong])
        area = (wrong[:, None] > right[None]).mean()
        figure(f"refine          {kind}: probability of planted errors above that of right parts {area:.3f}")
        assert area > 0.95


def test_scores_are_kept_in_the_label_and_not_computed_again(planted):
    labels, _ = planted
    changed = score_labels.with_part(labels[0], "left_hand", {"wrong_by_part": 0.125})
    again = score_labels.score_labels([changed, *labels[1:]], refined_people.open_body())
    assert all(first is second for first, second in zip([changed, *labels[1:]], again, strict=True))


def test_part_that_is_yet_to_be_scored_has_no_number_of_its_former_pose(planted):
    row = score_labels.with_part(planted[0][0], "left_foot", {"inconsistency_by_part": 77.0})
    made = score_labels.without_scores(row, "left_foot")
    assert made.inconsistency_by_part["left_foot"] is None
    assert (made.probability_wrong("left_foot"), made.reason_by_part["left_foot"]) == (None, None)
    assert made.wrong_by_part["right_foot"] == row.wrong_by_part["right_foot"]


@pytest.mark.parametrize("subset", ["hand", "foot"])
def test_planted_errors_are_mined_and_repaired_and_bodies_stay(planted, hands, feet, subset, figure):
    _, is_planted = planted
    found = {"hand": hands, "foot": feet}[subset]
    is_wrong = np.array([is_planted[part.found.part][part.found.row] for part in found.parts])
    words = collections.Counter(part.outcome for part in found.parts)
    repaired = [part for part in found.parts if part.outcome == "refined"]
    errors = np.array(
        [[row.error_by_part[part.found.part] or np.nan for row in (part.before, part.after)] for part in repaired]
    )
    before, after = np.nanmedian(errors, axis=0)
    total = sum(is_planted[f"{side}_{subset}"].sum() for side in layouts.SIDES)
    figure(
        f"refine          {subset}: {total} planted, {len(found.parts)} mined ({is_wrong.mean():.2f} right), "
        f"{dict(words)}, error {100 * before:.2f} to {100 * after:.2f} % of the box"
    )
    assert is_wrong.mean() >= LEAST_PRECISION
    assert words["refined"] >= LEAST_RECALL * (total - len(found.mined.unrepairable))
    assert after <= MOST_LEFT_OF_ERROR * before
    body = [abs(part.before.error_by_part["body"] - part.after.error_by_part["body"]) for part in repaired]
    assert max(body) < 1e-4


def test_repaired_label_is_a_new_version_beside_the_old_one(planted, hands):
    labels, _ = planted
    versions = collections.defaultdict(list)
    for row in hands.rows:
        versions[row.label_id].append(row)
    assert hands.num_refined == sum(len(rows) == 2 for rows in versions.values()) > 0
    for row in labels:
        own = versions[row.label_id]
        words = [own[-1].outcome_by_part[f"{side}_hand"] for side in layouts.SIDES]
        assert (len(own) == 2) == ("refined" in words)
        np.testing.assert_array_equal(own[0].body_pose, row.body_pose)
        if len(own) == 2:
            assert (own[1].label_version, own[1].parent_version) == (2, 1)
            assert set(own[0].outcome_by_part.values()) == {None}


def test_nothing_but_wrist_elbow_and_fingers_of_a_repaired_hand_moves(hands):
    names = layouts.SMPL_JOINTS[1:22]
    for part in hands.parts:
        if part.outcome != "refined":
            continue
        moved = np.abs(part.before.body_pose - part.after.body_pose).max(-1) > 0
        allowed = {f"{side}_{joint}" for side in layouts.SIDES for joint in ("wrist", "elbow")}
        assert {name for name, is_moved in zip(names, moved, strict=True) if is_moved} <= allowed
        still = [f"{side}_hand" for side in layouts.SIDES if part.after.outcome_by_part[f"{side}_hand"] != "refined"]
        for name in ("global_orient", "transl", "betas", *(f"{hand}_pose" for hand in still)):
            np.testing.assert_array_equal(getattr(part.before, name), getattr(part.after, name))


def test_errors_and_points_of_repaired_labels_are_those_of_the_body(hands):
    after = [part.after for part in hands.parts if part.outcome == "refined"][:8]
    for row, measured in zip(after, label_rows.measured_again(after, refined_people.open_body()), strict=True):
        assert row.error_by_part == pytest.approx(measured.error_by_part, abs=1e-6)
        np.testing.assert_allclose(row.keypoints_3d, measured.keypoints_3d, atol=1e-5)


def test_repaired_part_is_scored_anew(hands):
    repaired = [part for part in hands.parts if part.outcome == "refined"]
    wrong = np.array([[row.wrong_by_part[part.found.part] for row in (part.before, part.after)] for part in repaired])
    assert (wrong[:, 1] < wrong[:, 0]).all()
    assert np.median(wrong[:, 1]) < 0.1


@pytest.mark.parametrize("subset", ["hand", "foot"])
def test_right_labels_stay_bit_for_bit(subset):
    """Of truth by a perfect detector nothing is taken for wrong."""
    found = refined_people.people(32)
    perfect = dataclasses.replace(
        found, keypoints_2d=found.true_keypoints_2d, confidence=np.ones_like(found.confidence)
    )
    rows = refined_people.labels_of(perfect, perfect.params)
    made = run(rows, subset)
    assert made.num_refined == 0
    for before, after in zip(rows, made.rows, strict=True):
        for name in ("body_pose", "global_orient", "transl", "keypoints_3d", "error_by_part", "label_version"):
            np.testing.assert_equal(getattr(before, name), getattr(after, name))
        words = {after.outcome_by_part[f"{side}_{subset}"] for side in layouts.SIDES}
        assert words <= {"right", "unrepairable"}


@pytest.mark.parametrize("confidence", [0.0, 0.1])
def test_wrong_hand_of_which_nothing_was_seen_is_left_and_called_unrepairable(planted, confidence):
    labels, _ = refined_people.planted_labels(32)
    points = layouts.get_layout(labels[0].keypoint_layout).points
    is_hand = np.array([(layouts.part_of(point) or "").endswith("hand") for point in points])
    blind = [
        dataclasses.replace(row, keypoint_confidence=np.where(is_hand, confidence, row.keypoint_confidence))
        for row in labels
    ]
    made = run(blind)
    assert (made.num_refined, made.parts) == (0, ())
    for before, after in zip(blind, made.rows, strict=True):
        np.testing.assert_array_equal(before.body_pose, after.body_pose)
        for side in layouts.SIDES:
            assert after.outcome_by_part[f"{side}_hand"] == after.reason_by_part[f"{side}_hand"] == "unrepairable"


def test_person_of_whom_nothing_was_seen_is_unrepairable(planted):
    row = dataclasses.replace(refined_people.planted_labels(32)[0][0], keypoint_confidence=np.zeros(67))
    scored = score_labels.score_labels([row], refined_people.open_body())[0]
    assert set(scored.reason_by_part.values()) == {None, "unrepairable"}
    assert set(scored.wrong_by_part.values()) == {None}


@pytest.mark.parametrize("subset", ["hand", pytest.param("foot", marks=pytest.mark.slow)])
def test_mirrored_labels_give_mirrored_repairs(hands, feet, subset):
    labels, _ = refined_people.planted_labels(32)
    plain = {"hand": hands, "foot": feet}[subset]
    turned = run([refined_people.mirrored(row) for row in labels], subset)
    ours = {(part.before.source_path, part.found.part): part for part in plain.parts}
    theirs = {(part.before.source_path, flips.mirrored_point(part.found.part)): part for part in turned.parts}
    # Nearly all: a probability at the limit may fall on either side of it.
    shared = set(ours) & set(theirs)
    assert len(shared) >= 0.9 * max(len(ours), len(theirs)) > 3
    assert np.mean([ours[key].outcome == theirs[key].outcome for key in shared]) >= 0.9
    names = layouts.SMPL_JOINTS[1:22]
    sides = [names.index(flips.mirrored_point(name)) for name in names]
    apart = [
        np.abs(ours[key].after.body_pose - theirs[key].after.body_pose[sides] * [1, -1, -1]).max()
        for key in shared
        if ours[key].outcome == theirs[key].outcome == "refined"
    ]
    assert np.median(apart) < 0.01
    assert max(apart) < 0.2


def test_second_run_changes_nothing(hands):
    again = run(hands.rows)
    assert not again.is_changed
    assert (again.num_refined, again.num_scored) == (0, 0)
    assert [part.outcome for part in again.parts] == [part.outcome for part in hands.parts]
    assert [part.found for part in again.parts] == [part.found for part in hands.parts]
    for first, second in zip(hands.parts, again.parts, strict=True):
        np.testing.assert_array_equal(first.before.body_pose, second.before.body_pose)
        assert first.after.same_as(second.after)
    assert all(first is second for first, second in zip(hands.rows, again.rows, strict=True))


def test_feet_are_repaired_on_top_of_hands(hands):
    both = run(hands.rows, "foot")
    assert both.num_refined > 0
    newest = {row.label_id: row for row in both.rows}
    for part in hands.parts:
        assert newest[part.after.label_id].outcome_by_part[part.found.part] == part.outcome
    assert max(row.label_version for row in both.rows) == 3
    assert not run(both.rows, "hand").is_changed
    assert not run(both.rows, "foot").is_changed


@pytest.mark.parametrize("words", [{"origin": "human"}, {"review": "accepted"}, {"review": "rejected"}])
def test_what_a_person_made_or_reviewed_is_not_touched(planted, words):
    rows = [dataclasses.replace(row, **words) for row in refined_people.planted_labels(32)[0][:12]]
    made = run(rows)
    assert not made.is_changed
    assert all(first is second for first, second in zip(rows, made.rows, strict=True))


def marked(rows, places, part, word, **values):
    """Labels of which a person called a part right or wrong."""
    changes = {"review_by_part": word, **values}
    return [score_labels.with_part(row, part, changes) if place in places else row for place, row in enumerate(rows)]


def test_part_that_a_person_called_wrong_is_repaired_whatever_its_probability_and_one_called_right_never(
    planted, hands
):
    repaired = [part.found for part in hands.parts if part.outcome == "refined" and part.found.part == "left_hand"]
    wrong, right = repaired[0].row, repaired[1].row
    rows = marked(planted[0], {wrong}, "left_hand", "wrong", wrong_by_part=0.01)
    rows = marked(rows, {wrong}, "left_foot", "right")
    rows = marked(rows, {right}, "left_hand", "right")
    made = run([rows[wrong], rows[right]])
    (part,) = [part for part in made.parts if part.found.part == "left_hand"]
    assert (part.found.probability, part.outcome, part.found.row) == (1.0, "refined", 0)
    assert part.before.review_by_part["left_hand"] == "wrong"
    # The mark was of the pose that was; the other one still is of what is there.
    assert (part.after.review_by_part["left_hand"], part.after.review_by_part["left_foot"]) == (None, "right")
    newest = {row.label_id: row for row in made.rows}
    kept = newest[rows[right].label_id]
    assert (kept.outcome_by_part["left_hand"], kept.review_by_part["left_hand"]) == ("right", "right")
    np.testing.assert_array_equal(kept.left_hand_pose, rows[right].left_hand_pose)
    again = run(made.rows)
    assert not again.is_changed
    assert [part.outcome for part in again.parts] == [part.outcome for part in made.parts]


@pytest.mark.parametrize("words", [{"origin": "human"}, {"review": "accepted"}])
def test_hand_called_wrong_by_whoever_made_the_label_is_repaired_and_nothing_else_of_it(planted, hands, words):
    repaired = {part.found.row for part in hands.parts if part.outcome == "refined" and part.found.part == "left_hand"}
    also = {part.found.row for part in hands.parts if part.outcome == "refined" and part.found.part == "right_hand"}
    place = min(repaired & also)  # the other hand is as wrong, and nobody said so
    row = dataclasses.replace(planted[0][place], placed_points=("left_heel",), **words)
    row = score_labels.without_scores(row, "left_foot")
    (row,) = marked([row], {0}, "left_hand", "wrong")
    made = run([row])
    (part,) = made.parts
    assert (part.found.part, part.outcome) == ("left_hand", "refined")
    before, after = made.rows
    assert before is row
    assert (after.label_version, after.parent_version) == (2, 1)
    for name in ("origin", "review", "placed_points"):
        assert getattr(after, name) == getattr(row, name)
    assert (after.review_by_part["left_hand"], after.outcome_by_part["left_hand"]) == (None, "refined")
    names = layouts.SMPL_JOINTS[1:22]
    moved = {name for name, was, now in zip(names, row.body_pose, after.body_pose, strict=True) if (was != now).any()}
    assert "left_wrist" in moved <= {"left_wrist", "left_elbow"}
    for name in ("global_orient", "transl", "betas", "right_hand_pose", "keypoints_2d", "keypoint_confidence"):
        np.testing.assert_array_equal(getattr(after, name), getattr(row, name))
    for name in ("wrong_by_part", "reason_by_part", "error_by_part", "outcome_by_part", "inconsistency_by_part"):
        for other in ("left_foot", "right_foot", "right_hand", "body"):
            assert getattr(after, name)[other] == getattr(row, name)[other]
    # The same parts are the same subset, and no machine goes on from there, whatever it thinks of the new hand.
    again = run(made.rows)
    assert not again.is_changed
    assert [(one.found, one.outcome) for one in again.parts] == [(part.found, "refined")]
    doubtful = score_labels.with_part(after, "left_hand", {"wrong_by_part": 1.0})
    assert not run([before, doubtful]).is_changed
    assert not run([before, doubtful], "foot").is_changed


@pytest.mark.parametrize("words", [{"review": "rejected"}, {"origin": "human", "review": "rejected"}])
def test_part_called_wrong_in_a_rejected_label_is_left(planted, hands, words):
    found = next(part.found for part in hands.parts if part.outcome == "refined")
    (row,) = marked([dataclasses.replace(planted[0][found.row], **words)], {0}, found.part, "wrong")
    made = run([row])
    assert made.rows[0] is row
    assert made.parts == ()


def test_mark_of_a_persons_label_stays_where_solving_anew_is_no_better(planted, hands):
    right = hands.mined.right[0]
    (row,) = marked([dataclasses.replace(planted[0][right.row], origin="human")], {0}, right.part, "wrong")
    made = run([row])
    (kept,) = made.rows
    assert (kept.label_version, kept.origin, kept.outcome_by_part[right.part]) == (1, "human", "no_better")
    assert kept.review_by_part[right.part] == "wrong"
    assert not run(made.rows).is_changed


def test_mark_stays_where_solving_anew_is_no_better(planted, hands):
    right = hands.mined.right[0]
    rows = marked([planted[0][right.row]], {0}, right.part, "wrong")
    made = run(rows)
    (row,) = made.rows
    assert (row.label_version, row.outcome_by_part[right.part], row.review_by_part[right.part]) == (
        1, "no_better", "wrong",
    )  # fmt: skip
    np.testing.assert_array_equal(row.body_pose, rows[0].body_pose)
    assert not run(made.rows).is_changed


@pytest.mark.parametrize("has_history", [True, False])
def test_repair_that_a_person_called_wrong_is_tried_again_and_one_called_right_stays_mined(hands, has_history):
    refined = [part for part in hands.parts if part.outcome == "refined"]
    for word in ("wrong", "right"):
        part = next(part for part in refined if [other.after for other in refined].count(part.after) == 1)
        name = part.found.part
        versions = [row for row in hands.rows if row.label_id == part.after.label_id]
        rows = marked(versions, {len(versions) - 1}, name, word)[0 if has_history else -1 :]
        made = run(rows)
        newest = made.rows[-1]
        assert newest.label_version == 2
        assert newest.review_by_part[name] == word
        found = [one.outcome for one in made.parts if one.found.part == name]
        if word == "wrong":
            assert (newest.outcome_by_part[name], found) == ("no_better", ["no_better"])
        else:
            assert (newest.outcome_by_part[name], found) == ("refined", ["refined"] if has_history else [])
        assert not run(made.rows).is_changed


def test_failed_fits_are_not_touched():
    row = dataclasses.replace(
        refined_people.planted_labels(32)[0][0], status="DIVERGED", body_pose=np.full((21, 3), np.nan)
    )
    assert not run([row]).is_changed


def test_gate_that_lets_nothing_through_leaves_all_parts_and_says_so(planted):
    gate = dataclasses.replace(OPTIONS["hand"].gate, least_turn_degrees=180.0)
    made = run(planted[0], gate=gate)
    assert made.num_refined == 0
    assert {part.outcome for part in made.parts} == {"no_better"}
    # What was decided stays, until it is asked for again.
    assert not run(made.rows).is_changed
    assert run(made.rows, again=True).num_refined > 0


def film(labels):
    """Frames of one person of a video, each as one of the labels."""
    return [
        dataclasses.replace(
            own, source_path="clip.mp4", source_sha256="c" * 64, frame_index=frame, time_seconds=frame / 30, fps=30.0,
            label_id="",
        )
        for frame, own in enumerate(labels)
    ]  # fmt: skip


def test_single_wrong_frame_of_a_video_is_outvoted_and_a_wrong_stretch_is_repaired(feet):
    labels, _ = refined_people.planted_labels(32)
    clean = refined_people.labels_of(refined_people.people(32), refined_people.people(32).params)
    part = next(part for part in feet.parts if part.outcome == "refined")
    place, name = part.found.row, part.found.part
    wrong, right = labels[place], clean[place]
    single = run(film([right] * 4 + [wrong] + [right] * 4), "foot")
    assert [one.outcome for one in single.parts if one.found.part == name] == ["outvoted"]
    stretch = run(film([right] * 4 + [wrong] * 8 + [right] * 4), "foot")
    words = [one.outcome for one in stretch.parts if one.found.part == name]
    assert words.count("refined") >= 6
    # Of one stretch one part makes the subset, all are repaired.
    assert sum(one.part == name for one in stretch.mined.chosen) == 1
    assert not run(stretch.rows, "foot").is_changed


def test_repairs_around_a_stray_speak_when_it_is_asked_again(hands):
    """Eight frames that turn one way and one that turns otherwise: what was a stray stays one."""
    repaired = [part for part in hands.parts if part.outcome == "refined" and part.found.part == "left_hand"]
    wrist = layouts.SMPL_JOINTS.index("left_wrist") - 1
    turns = [Rotation.from_rotvec(part.after.body_pose[wrist]) for part in repaired]
    apart = np.array([[np.degrees((first.inv() * second).magnitude()) for second in turns] for first in turns])
    usual, odd = (repaired[place].before for place in np.unravel_index(apart.argmax(), apart.shape))
    first = run(film([usual] * 4 + [odd] + [usual] * 4), "hand")
    words = {part.before.frame_index: part.outcome for part in first.parts if part.found.part == "left_hand"}
    assert words[4] == "strays"
    assert sum(word == "refined" for word in words.values()) == 8
    again = run(first.rows, "hand", again=True)
    words = {part.before.frame_index: part.outcome for part in again.parts if part.found.part == "left_hand"}
    assert words[4] == "strays"


def test_repaired_part_rests_on_what_was_seen(planted):
    unseen = {"evidence_by_part": dict.fromkeys(layouts.PARTS, "unseen")}
    spread = {"spread_by_part": dict.fromkeys(layouts.PARTS, 0.2)}
    found = run([dataclasses.replace(row, **unseen, **spread) for row in planted[0]], "hand")
    repaired = [part for part in found.parts if part.outcome == "refined"]
    assert repaired
    for part in repaired:
        assert part.after.evidence_by_part[part.found.part] == "seen"
        assert part.after.spread_by_part[part.found.part] < 0.1
        assert part.after.evidence_by_part["left_foot"] == "unseen"


def test_ankle_alone_says_nothing_of_a_foot():
    points = layouts.get_layout("openpose67").points
    is_foot = np.array([(layouts.part_of(point) or "").endswith("foot") for point in points])
    labels = [
        dataclasses.replace(row, keypoint_confidence=np.where(is_foot, 0, row.keypoint_confidence))
        for row in refined_people.planted_labels(32)[0]
    ]
    found = run(labels, "foot")
    assert found.parts == ()
    for row in found.rows:
        for side in layouts.SIDES:
            assert row.wrong_by_part[f"{side}_foot"] is None
            assert row.reason_by_part[f"{side}_foot"] == "unrepairable"


def test_one_part_that_gets_worse_does_not_cost_the_other_its_repair(planted, monkeypatch):
    def is_better(existing, candidate, *arguments):
        # As if the right one had become worse.
        return [candidate.outcome_by_part[f"{side}_hand"] == "refined" for side in layouts.SIDES] == [True, False]

    monkeypatch.setattr(store, "_is_better", is_better)
    found = run(planted[0], "hand")
    outcome = {(part.before.label_id, part.found.part): part for part in found.parts}
    both = [row for row in found.examined if all((row.label_id, f"{side}_hand") in outcome for side in layouts.SIDES)]
    kept = [row for row in both if outcome[row.label_id, "left_hand"].outcome == "refined"]
    assert kept
    for row in kept:
        part = outcome[row.label_id, "right_hand"]
        assert part.outcome == "no_better"
        wrist = layouts.SMPL_JOINTS.index("right_wrist") - 1
        np.testing.assert_array_equal(part.after.body_pose[wrist], row.body_pose[wrist])
        np.testing.assert_array_equal(part.after.right_hand_pose, row.right_hand_pose)


def test_mining_limits_are_those_of_the_options(planted):
    strict = run(planted[0], mine=MineOptions(most_body_error=1e-6))
    assert strict.parts == ()
    assert strict.mined.bodies_wrong == len(planted[0])


def test_labels_of_another_body_are_refused_by_name():
    import hardmo_jax as hm

    row = refined_people.planted_labels(32)[0][0]
    with pytest.raises(label_rows.LabelBodyError, match=r"open_body_smplh .*open_body_smpl .*body\.view=smplh"):
        label_rows.check_body_of_labels([row], hm.open_body(view="smpl"), source="here.parquet")
    other = dataclasses.replace(row, body_model="SMPL_NEUTRAL_smpl", body_model_sha256="0" * 64)
    with pytest.raises(label_rows.LabelBodyError, match=r"SMPL_NEUTRAL_smpl \(000000000000\).*--config\.body\.model"):
        label_rows.check_body_of_labels([row, other], refined_people.open_body(), source="here.parquet")
    assert not issubclass(label_rows.LabelBodyError, BodyFileError)


@pytest.mark.parametrize("view", ["smpl", "smplh"])
def test_parameters_go_into_a_label_and_come_out_unchanged(view, rng):
    import hardmo_jax as hm

    body = hm.open_body(view=view)
    rest = hm.BodyParams.rest(body, batch=(1,))
    params = {
        field.name: None if value is None else rng.normal(size=np.shape(value)).astype(np.float32)
        for field in dataclasses.fields(rest)
        for value in [getattr(rest, field.name)]
    }
    given = hm.BodyParams(**params)
    one = hm.BodyParams(**{name: None if value is None else value[0] for name, value in params.items()})
    row = dataclasses.replace(refined_people.planted_labels(32)[0][0], **label_rows.pose_columns(one))
    back = label_rows.params_of_labels([row], body)
    for field in dataclasses.fields(rest):
        expected = getattr(given, field.name)
        if expected is not None:
            np.testing.assert_array_equal(getattr(back, field.name), expected)
