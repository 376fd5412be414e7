"""Somebody at work on labels: what is asked for is shown, what is said is kept, and nothing that was placed is lost."""

import contextlib
import dataclasses
import threading
import time

import numpy as np
import pytest

from hardmo_jax.labels import provenance, store
from hardmo_jax.perception import video
from hardmo_jax.pipelines.label_editor import LabelEditor
from hardmo_jax.pipelines.labelled_pictures import picture_root
from hardmo_jax.pipelines.view_pictures import PictureSource
from hardmo_jax.pipelines.view_session import ViewSession, ViewSessionError
from hardmo_jax.pipelines.viewed_labels import ViewedLabels
from hardmo_jax.skeleton import layouts
from tests.pipelines import refined_people

POINTS = layouts.get_layout("openpose67").points


class Stage:
    """Keeps what is shown."""

    def __init__(self):
        self.scene = self.panel = None
        self.handles = {}

    def show_scene(self, scene):
        self.scene = scene

    def show_panel(self, panel):
        self.panel = panel

    def show_handles(self, handles):
        self.handles = handles

    def facts(self):
        return dict(self.panel.facts)


@pytest.fixture(scope="module")
def labels():
    return refined_people.planted_labels(4)[0]


@contextlib.contextmanager
def at_work(rows, path=None, picture=lambda viewed: (None, "no picture here")):
    """A session whose word goes into a file, or into a list."""
    stage, kept = Stage(), []
    if path is not None and not path.exists():
        store.write_labels(path, rows)
    editor = None if path is None else LabelEditor(path, report=lambda told: session.saved(told.outcomes, told.trouble))
    session = ViewSession(
        rows, refined_people.open_body(), picture=picture, keep=kept.append if editor is None else editor.put
    )
    session.begin(stage)
    assert session.wait()
    try:
        yield session, stage, kept
    finally:
        session.close()
        if editor is not None:
            editor.close()


def done(session, action, *arguments):
    action(*arguments)
    assert session.wait()


def say(session, stage, word):
    done(session, session.review, word, stage.panel.label)


def moved(stage, name, pixels):
    """Where a handle is on the picture, and so many pixels from there."""
    place = stage.handles[name].place
    return place[:2] / place[2] * stage.scene.focal_length + stage.scene.principal_point + np.asarray(pixels)


def test_going_on_and_back_shows_one_label_after_the_other_and_says_where_it_ends(labels):
    with at_work(labels) as (session, stage, _):
        assert stage.panel.case.startswith("in order, 1 of 4")
        assert stage.scene.selected == labels[0].label_id
        assert stage.panel.message == "no picture here"
        done(session, session.step, 1)
        assert stage.scene.selected == labels[1].label_id
        done(session, session.step, -1)
        done(session, session.step, -1)
        assert stage.panel.message == "this is the first one"
        done(session, session.show_picture, 3)
        assert (stage.scene.selected, stage.panel.picture) == (labels[3].label_id, 3)


def test_the_worst_feet_come_first_and_settled_ones_do_not_come_again(labels):
    rows = [
        dataclasses.replace(row, wrong_by_part={"left_foot": 0.2 * at, "right_foot": 0.05})
        for at, row in enumerate(labels)
    ]
    viewed = ViewedLabels(rows)
    assert [case.label_id for case in viewed.cases("feet")][:3] == [rows[at].label_id for at in (3, 2, 1)]
    said = dataclasses.replace(rows[3], review_by_part={"left_foot": "wrong"})
    cases = ViewedLabels([*rows[:3], said]).cases("feet")
    assert (said.label_id, "left_foot") not in {(case.label_id, case.part) for case in cases}
    assert [case.part for case in ViewedLabels([*rows[:3], said]).cases("marked wrong")] == ["left_foot"]


def test_words_go_into_the_store_and_into_what_is_shown(labels, tmp_path):
    path = tmp_path / "labels.parquet"
    with at_work(labels, path) as (session, stage, _):
        say(session, stage, "accepted")
        done(session, session.step, 1)
        done(session, session.mark, "left_foot", "wrong", stage.panel.label)
        done(session, session.step, 1)
        say(session, stage, "rejected")
        assert stage.facts()["a person says"] == "rejected"
        done(session, session.go_through, "rejected")
        assert stage.panel.case.startswith("rejected, 1 of 1")
        done(session, session.go_through, "corrected")
        assert "nothing is corrected" in stage.panel.message
    found = {row.label_id: row for row in store.read_labels(path).rows}
    assert found[labels[0].label_id].review == "accepted"
    assert found[labels[1].label_id].review_by_part["left_foot"] == "wrong"
    assert found[labels[2].label_id].review == "rejected"
    assert found[labels[3].label_id].same_as(labels[3])


def test_a_dragged_point_is_solved_live_undone_and_saved_as_a_persons_version(labels, tmp_path):
    path = tmp_path / "labels.parquet"
    with at_work(labels, path) as (session, stage, _):
        done(session, session.correct_by_hand, True, False)
        assert {"left_big_toe", "right_wrist", "left_ankle"} <= set(stage.handles)
        assert "left_index_tip" not in stage.handles
        before = stage.scene.people[0].vertices
        goal = moved(stage, "left_big_toe", [6.0, 3.0])
        session.drag("left_big_toe", goal - 2.0, "start", stage.scene.selected)
        session.drag("left_big_toe", goal - 1.0, "update", stage.scene.selected)
        done(session, session.drag, "left_big_toe", goal, "end", stage.scene.selected)
        assert np.abs(stage.scene.people[0].vertices - before).max() > 0.005
        assert stage.panel.can_undo
        assert "left big toe: 0." in stage.panel.correction[0]
        assert stage.handles["left_big_toe"].is_placed
        other = moved(stage, "left_heel", [-4.0, 0.0])
        session.drag("left_heel", other, "start", stage.scene.selected)
        done(session, session.drag, "left_heel", other, "end", stage.scene.selected)
        assert session.placed == {"left_big_toe", "left_heel"}
        done(session, session.undo)
        assert session.placed == {"left_big_toe"}
        done(session, session.save)
        assert session.placed == frozenset()
    versions = [row for row in store.read_labels(path).rows if row.label_id == labels[0].label_id]
    assert [row.label_version for row in versions] == [1, 2]
    assert (versions[1].origin, versions[1].placed_points, versions[1].parent_version) == (
        "human", ("left_big_toe",), 1,
    )  # fmt: skip
    assert (versions[1].review, versions[1].review_by_part["left_foot"]) == ("none", "right")
    assert versions[1].review_by_part["right_hand"] is None
    np.testing.assert_allclose(versions[1].keypoints_2d[POINTS.index("left_big_toe")], goal, atol=1e-3)
    assert versions[0].same_as(labels[0])


def test_undo_of_everything_leaves_the_label_as_it_was(labels):
    with at_work(labels) as (session, stage, kept):
        done(session, session.correct_by_hand, True, False)
        before = stage.scene.people[0].vertices
        session.drag("right_heel", moved(stage, "right_heel", [5, 5]), "start", stage.scene.selected)
        done(session, session.undo)
        np.testing.assert_array_equal(stage.scene.people[0].vertices, before)
        done(session, session.undo)
        assert "nothing to take back" in stage.panel.message
        done(session, session.save)
        assert "drag a point first" in stage.panel.message
    assert kept == []


@pytest.mark.parametrize("way", ["step", "close", "review"])
def test_a_correction_is_kept_whatever_comes_next(labels, tmp_path, way):
    path = tmp_path / "labels.parquet"
    with at_work(labels, path) as (session, stage, _):
        done(session, session.correct_by_hand, True, False)
        done(session, session.drag, "left_heel", moved(stage, "left_heel", [4, 0]), "start", stage.scene.selected)
        if way == "step":
            done(session, session.step, 1)
        if way == "review":
            say(session, stage, "rejected")
    versions = [row for row in store.read_labels(path).rows if row.label_id == labels[0].label_id]
    assert [row.origin for row in versions] == ["machine", "human"]
    assert versions[1].review == ("rejected" if way == "review" else "none")
    assert versions[1].review_by_part["left_foot"] is None


def test_two_viewers_of_one_store_lose_nothing(labels, tmp_path):
    path = tmp_path / "labels.parquet"
    with at_work(labels, path) as (first, one, _), at_work(labels, path) as (second, other, _):
        for session, stage, name in ((first, one, "left_heel"), (second, other, "right_heel")):
            done(session, session.correct_by_hand, True, False)
            done(session, session.drag, name, moved(stage, name, [4, 0]), "start", stage.scene.selected)
        threads = [threading.Thread(target=session.save) for session in (first, second)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        done(first, first.step, 1)
        say(first, one, "accepted")
    versions = [row for row in store.read_labels(path).rows if row.label_id == labels[0].label_id]
    assert [row.label_version for row in versions] == [1, 2, 3]
    assert {row.placed_points for row in versions[1:]} == {("left_heel",), ("right_heel",)}


def test_a_label_without_a_pose_and_fingers_that_are_not_there_are_told(labels):
    failed = dataclasses.replace(labels[0], status="NO_EVIDENCE")
    with at_work([failed]) as (session, stage, _):
        assert stage.scene.people == ()
        done(session, session.correct_by_hand, True, False)
        assert "no pose to correct" in stage.panel.message
        assert stage.panel.is_wrong
        assert stage.handles == {}


def test_a_point_that_cannot_be_placed_is_told_and_nothing_breaks(labels):
    with at_work(labels) as (session, stage, _):
        done(session, session.correct_by_hand, True, False)
        done(session, session.drag, "nose", np.array([3.0, 4.0]), "start", stage.scene.selected)
        assert "'nose' cannot be placed" in stage.panel.message
        done(session, session.drag, "left_heel", np.array([np.nan, 4.0]), "start", stage.scene.selected)
        assert "finite" in stage.panel.message
        done(session, session.step, 1)
        assert stage.scene.selected == labels[1].label_id


def test_pictures_that_are_not_there_or_others_are_told(labels, tmp_path):
    rows = refined_people.write_photos(labels[:2], tmp_path)
    source = PictureSource(tmp_path)
    viewed = ViewedLabels(rows).pictures
    image, why = source(viewed[0])
    assert image.shape == (rows[0].image_height, rows[0].image_width, 3)
    assert why == ""
    (tmp_path / rows[1].source_path).write_bytes((tmp_path / rows[0].source_path).read_bytes())
    assert "another file than the one that was labelled" in source(viewed[1])[1]
    (tmp_path / rows[1].source_path).unlink()
    assert "--pictures" in PictureSource(tmp_path)(viewed[1])[1]
    outside = dataclasses.replace(viewed[0], source_path="../../etc/passwd")
    assert "outside" in source(outside)[1]
    assert "--pictures" in PictureSource(None)(viewed[0])[1]


def test_a_person_of_a_video_has_a_timeline_and_one_of_photos_has_none(labels):
    video = [
        dataclasses.replace(
            labels[at % 2], source_path="a.mp4", source_sha256="1" * 64, frame_index=3 * (at // 2),
            time_seconds=0.1 * (at // 2),
            track_id=at % 2, label_id="", wrong_by_part={"left_foot": 0.1 * at},
        )
        for at in range(8)
    ]  # fmt: skip
    with at_work([*video, labels[2]]) as (session, stage, _):
        done(session, session.show_picture, 0)
        timeline = stage.panel.timeline
        np.testing.assert_array_equal(timeline.pictures, [0, 1, 2, 3])
        np.testing.assert_allclose(timeline.badness["left_foot"], [0.0, 0.2, 0.4, 0.6], atol=1e-6)
        done(session, session.step, 1)
        np.testing.assert_allclose(stage.panel.timeline.badness["left_foot"], [0.1, 0.3, 0.5, 0.7], atol=1e-6)
        done(session, session.mark, "left_foot", "wrong", stage.panel.label)
        np.testing.assert_allclose(stage.panel.timeline.badness["left_foot"], [1.0, 0.3, 0.5, 0.7], atol=1e-6)
        done(session, session.show_picture, 4)
        assert stage.panel.timeline is None


def test_a_run_record_that_is_nested_without_end_is_none(tmp_path):
    (tmp_path / "run.json").write_text("[" * 200_000)
    assert provenance.read_run(tmp_path / "labels.parquet") == {}
    assert picture_root(tmp_path / "labels.parquet", None) is None


def test_a_drag_that_goes_on_over_another_label_moves_nothing_there(labels, tmp_path):
    path = tmp_path / "labels.parquet"
    with at_work(labels, path) as (session, stage, _):
        done(session, session.correct_by_hand, True, False)
        goal, seen = moved(stage, "left_heel", [4, 0]), stage.scene.selected
        session.drag("left_heel", goal, "start", seen)
        session.step(1)
        session.drag("left_heel", goal, "update", seen)
        done(session, session.drag, "left_heel", goal, "end", seen)
        assert stage.scene.selected == labels[1].label_id
        assert session.placed == frozenset()
        # A drag of which this correction saw no beginning is none either.
        done(session, session.drag, "left_heel", goal, "update", labels[1].label_id)
        assert session.placed == frozenset()
    human = [row for row in store.read_labels(path).rows if row.origin == "human"]
    assert [row.label_id for row in human] == [labels[0].label_id]


def test_a_word_is_for_the_label_that_was_seen(labels):
    with at_work(labels) as (session, stage, kept):
        seen = stage.panel.label
        session.step(1)
        done(session, session.review, "accepted", seen)
        assert kept == []
        assert "what was shown before" in stage.panel.message
        done(session, session.mark, "left_hand", "wrong", seen)
        assert kept == []


def test_what_another_wrote_meanwhile_is_shown_before_it_can_be_judged(labels, tmp_path):
    path = tmp_path / "labels.parquet"
    with at_work(labels, path) as (session, stage, _):
        before = stage.scene.people[0].vertices
        other = dataclasses.replace(
            labels[0], transl=labels[0].transl + np.array([0.5, 0, 0], np.float32), label_version=2, parent_version=1
        )
        store.write_labels(path, [labels[0], other, *labels[1:]])
        session.review("accepted", stage.panel.label)
        for _ in range(200):
            assert session.wait()
            if "replaced by version 2" in stage.panel.message:
                break
            time.sleep(0.05)
        assert "look at it again" in stage.panel.message
        assert stage.scene.people[0].vertices[:, 0].mean() - before[:, 0].mean() == pytest.approx(0.5, abs=0.01)
        assert stage.panel.label == (labels[0].label_id, 2)


def test_leaving_the_handles_shows_the_label_as_it_was_corrected(labels):
    with at_work(labels) as (session, stage, kept):
        done(session, session.correct_by_hand, True, False)
        session.drag("left_heel", moved(stage, "left_heel", [8, 0]), "start", stage.scene.selected)
        assert session.wait()
        corrected = stage.scene.people[0].vertices
        done(session, session.correct_by_hand, False, False)
        np.testing.assert_allclose(stage.scene.people[0].vertices, corrected, atol=1e-5)
        assert stage.handles == {}
        assert len(kept) == 1


def test_a_correction_that_cannot_be_kept_stays_and_is_told_at_the_end(labels):
    stage = Stage()

    def refuse(edit):
        raise OSError("no space")

    session = ViewSession(labels, refined_people.open_body(), picture=lambda viewed: (None, ""), keep=refuse)
    session.begin(stage)
    assert session.wait()
    done(session, session.correct_by_hand, True, False)
    session.drag("left_heel", moved(stage, "left_heel", [4, 0]), "start", stage.scene.selected)
    done(session, session.save)
    assert "no space" in stage.panel.message
    assert session.placed == {"left_heel"}
    assert dict(stage.panel.facts)["version"].startswith("1,")
    with pytest.raises(ViewSessionError, match="could not be kept"):
        session.close()


def test_a_stage_that_fails_does_not_end_the_work(labels):
    with at_work(labels) as (session, stage, kept):
        shown = stage.show_panel

        def fail(panel):
            raise RuntimeError("the browser is gone")

        stage.show_panel = fail
        done(session, session.step, 1)
        stage.show_panel = shown
        done(session, session.step, 1)
        assert stage.scene.selected == labels[2].label_id
        say(session, stage, "accepted")
        assert len(kept) == 1


def test_a_label_without_a_pose_cannot_be_accepted(labels):
    with at_work([dataclasses.replace(labels[0], status="NO_EVIDENCE")]) as (session, stage, kept):
        say(session, stage, "accepted")
        assert "nothing to accept" in stage.panel.message
        say(session, stage, "rejected")
        assert [edit.review for edit in kept] == ["rejected"]


def test_linked_pictures_are_shown_and_files_are_read_once(labels, tmp_path, monkeypatch):
    rows = refined_people.write_photos(labels[:3], tmp_path / "real")
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "photos").symlink_to(tmp_path / "real" / "photos")
    source, viewed = PictureSource(tmp_path / "media"), ViewedLabels(rows).pictures
    digests = []
    digest = video._sha256
    monkeypatch.setattr(video, "_sha256", lambda data: digests.append(len(data)) or digest(data))
    for _ in range(3):
        for picture in viewed:
            assert source(picture)[0] is not None
    assert len(digests) <= 2 * len(viewed)
