"""`python -m tools.correct` as a user runs it: a toe moved in an exported file moves the foot of the label for good."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from hardmo_jax.labels import store
from hardmo_jax.pipelines.correct_by_keypoints import correct_by_keypoints
from hardmo_jax.pipelines.exports import export_keypoints
from hardmo_jax.skeleton import layouts
from tests.pipelines import refined_people
from tests.tools.command_line import run_each

POINTS = layouts.get_layout("openpose67").points
USAGE_STATUS = 2


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store of three people, its keypoints exported, and those after somebody moved a foot and took a finger away."""
    folder = tmp_path_factory.mktemp("correct")
    rows = refined_people.planted_labels(4)[0][:3]
    store.write_labels(folder / "labels" / "labels.parquet", rows)
    export_keypoints.write_keypoints(folder / "exported.json", rows, "coco_named")
    content = json.loads((folder / "exported.json").read_text())
    names = content["categories"][0]["keypoints"]
    by_label = {one["attributes"]["label_id"]: one for one in content["annotations"]}
    for name, shift in (("left_big_toe", 25), ("left_heel", 5), ("nose", 30)):
        at = 3 * names.index(name)
        keypoints = by_label[rows[0].label_id]["keypoints"]
        keypoints[at : at + 3] = [keypoints[at] + shift, keypoints[at + 1] - 4, 2]
    at = 3 * names.index("right_index_tip")
    by_label[rows[1].label_id]["keypoints"][at : at + 3] = [0, 0, 0]
    (folder / "moved.json").write_text(json.dumps(content))
    return folder, rows


@pytest.fixture
def folder(made, tmp_path):
    shutil.copytree(made[0] / "labels", tmp_path / "labels")
    for name in ("exported.json", "moved.json"):
        shutil.copy(made[0] / name, tmp_path / name)
    return tmp_path


def test_moved_points_become_versions_of_a_person_once(made, folder):
    rows = made[1]
    store_file = folder / "labels" / "labels.parquet"
    before = store_file.read_bytes()
    arguments = (f"--labels={folder / 'labels'}", f"--keypoints={folder / 'moved.json'}")
    dry, done, again = run_each("correct", [(*arguments, "--dry_run"), arguments, arguments], cwd=folder)
    assert [one.returncode for one in (dry, done, again)] == [0, 0, 0], (dry.stderr, done.stderr, again.stderr)
    assert "nothing was changed" in dry.stdout
    assert "3 of 3 annotations are labels; 2 labels have a new version" in done.stdout
    assert "nose: not a point of an arm or leg" in done.stdout
    for line, words in (("left_foot", "2"), ("right_hand", "-")):
        assert any(line in told and words in told.split() for told in done.stdout.splitlines())
    assert "3 of 3 annotations are labels; there is nothing to correct" in again.stdout
    assert "labels have a new version" not in again.stdout
    assert store_file.read_bytes() != before
    found = store.read_labels(store_file).rows
    assert [row.label_version for row in found] == [1, 2, 1, 2, 1]
    foot, hand = found[1], found[3]
    assert (foot.origin, foot.review, foot.placed_points) == ("human", "none", ("left_big_toe", "left_heel"))
    at = POINTS.index("left_big_toe")
    np.testing.assert_allclose(foot.keypoints_2d[at], rows[0].keypoints_2d[at] + [25, -4], atol=1e-3)
    assert foot.keypoint_confidence[at] == 1
    nose = POINTS.index("nose")
    np.testing.assert_array_equal(foot.keypoints_2d[nose], rows[0].keypoints_2d[nose])
    joints = layouts.SMPL_JOINTS[1:22]
    changed = {
        joint for joint, was, now in zip(joints, rows[0].body_pose, foot.body_pose, strict=True) if (was != now).any()
    }
    assert changed <= {"left_ankle", "left_foot"}
    assert "left_ankle" in changed
    tip = POINTS.index("right_index_tip")
    assert (hand.origin, hand.review, hand.keypoint_confidence[tip], hand.placed_points) == ("machine", "none", 0, ())
    np.testing.assert_array_equal(hand.body_pose, rows[1].body_pose)


def test_errors_before_and_after_are_told_in_pixels(made, folder):
    found = correct_by_keypoints(folder / "labels", folder / "moved.json", dry_run=True)
    (foot,) = [part for part in found.parts if part.part == "left_foot"]
    assert foot.error_before is not None
    assert foot.error_after is not None
    assert foot.error_after < 0.6 * foot.error_before
    assert (foot.num_moved, foot.num_removed) == (2, 0)
    assert found.num_saved == 0


def with_points(folder, label_id, **places):
    """The exported file with points of a label shifted by pixels, or taken away (None)."""
    content = json.loads((folder / "exported.json").read_text())
    names = content["categories"][0]["keypoints"]
    (own,) = [one["keypoints"] for one in content["annotations"] if one["attributes"]["label_id"] == label_id]
    for name, shift in places.items():
        at = 3 * names.index(name)
        own[at : at + 3] = [0, 0, 0] if shift is None else [own[at] + shift[0], own[at + 1] + shift[1], 2]
    (folder / "points.json").write_text(json.dumps(content))
    return folder / "points.json"


@pytest.mark.parametrize("review", ["none", "accepted", "rejected"])
def test_points_taken_away_are_a_persons_word_and_the_pose_is_not(made, folder, review):
    first = dataclasses.replace(made[1][0], review=review)
    path = store.write_labels(folder / "labels" / "labels.parquet", [first, *made[1][1:]])
    found = correct_by_keypoints(folder / "labels", with_points(folder, first.label_id, left_heel=None))
    (part,) = found.parts
    assert (found.num_saved, part.num_removed, part.num_moved, part.error_after) == (1, 1, 0, None)
    heel, row = POINTS.index("left_heel"), store.read_labels(path).rows[1]
    assert (row.label_version, row.origin, row.review) == (2, "machine", review)
    assert (row.keypoint_confidence[heel], row.placed_points) == (0, ())
    np.testing.assert_array_equal(row.body_pose, first.body_pose)


def test_corrected_pose_of_a_rejected_label_stays_rejected_and_that_of_an_accepted_one_is_not_accepted(made, folder):
    rows = [
        dataclasses.replace(row, review=word)
        for row, word in zip(made[1], ("rejected", "accepted", "none"), strict=True)
    ]
    path = store.write_labels(folder / "labels" / "labels.parquet", rows)
    for row in rows[:2]:
        correct_by_keypoints(folder / "labels", with_points(folder, row.label_id, left_big_toe=(4, -3)))
    found = {row.label_id: row for row in store.read_labels(path).rows}
    assert [(found[row.label_id].origin, found[row.label_id].review) for row in rows] == [
        ("human", "rejected"), ("human", "none"), ("machine", "none"),
    ]  # fmt: skip


def test_points_out_of_reach_are_told_and_left_and_the_others_are_saved(made, folder):
    row = made[1][0]
    path, before = folder / "labels" / "labels.parquet", (folder / "labels" / "labels.parquet").read_bytes()
    slipped = with_points(folder, row.label_id, left_big_toe=(900, 0))
    found = correct_by_keypoints(folder / "labels", slipped)
    (part,) = found.parts
    assert (found.num_saved, part.num_moved, part.num_out_of_reach) == (0, 0, 1)
    assert part.error_before is not None
    assert part.error_after is not None
    assert part.error_before > part.error_after > 700
    assert any("left_big_toe: " in note and "px from where the body can have it" in note for note in found.notes)
    assert path.read_bytes() == before
    (done,) = run_each("correct", [(f"--labels={folder / 'labels'}", f"--keypoints={slipped}")], cwd=folder)
    assert "out of reach" in done.stdout
    assert "0 labels have a new version" in done.stdout
    # Beside it a heel that is near, and a finger that is not seen.
    mixed = with_points(folder, row.label_id, left_big_toe=(900, 0), left_heel=(4, 2), right_index_tip=None)
    found = correct_by_keypoints(folder / "labels", mixed)
    counts = {one.part: (one.num_moved, one.num_removed, one.num_out_of_reach) for one in found.parts}
    assert counts == {"left_foot": (1, 0, 1), "right_hand": (0, 1, 0)}
    saved = store.read_labels(path).rows[1]
    assert (saved.origin, saved.placed_points) == ("human", ("left_heel",))
    toe = POINTS.index("left_big_toe")
    np.testing.assert_array_equal(saved.keypoints_2d[toe], row.keypoints_2d[toe])
    assert saved.keypoint_confidence[POINTS.index("right_index_tip")] == 0


def test_labels_without_a_pose_and_of_other_bodies_are_told(made, folder):
    rows = made[1]
    failed = dataclasses.replace(rows[0], status="NO_EVIDENCE")
    other = dataclasses.replace(rows[1], body_model="smpl_neutral_smpl", body_model_sha256="f" * 64)
    path = store.write_labels(folder / "labels" / "labels.parquet", [failed, other, rows[2]])
    before = path.read_bytes()
    found = correct_by_keypoints(folder / "labels", folder / "moved.json")
    assert found.num_saved == 0
    told = "; ".join(found.notes)
    assert "no pose to correct: its fit ended as NO_EVIDENCE" in told
    assert "is of the body smpl_neutral_smpl" in told
    assert path.read_bytes() == before


def test_mistakes_are_told_in_a_line(folder):
    (folder / "broken.json").write_text("{")
    labels = f"--labels={folder / 'labels'}"
    lines = [
        (labels,),
        (labels, "--keypoints=absent.json"),
        (labels, "--keypoints=broken.json"),
        ("--keypoints=moved.json",),
    ]
    done = run_each("correct", lines, cwd=folder)
    for one, words in zip(
        done, ("--keypoints is missing", "absent.json", "expected JSON", "no such label file"), strict=True
    ):
        assert one.returncode == USAGE_STATUS
        assert words in one.stderr
        assert "Traceback" not in one.stderr
