"""People of new labels and of a store, put together by what was seen of them."""

import numpy as np

from hardmo_jax.labels import store
from hardmo_jax.pipelines.label_identities import with_known_people
from hardmo_jax.pipelines.loop_store import merge_into_store
from tests.pipelines.loop_of_fakes import body, label


def test_the_same_perception_gives_the_same_numbers():
    rows = [label(0, track=track, left=100.0 * track) for track in range(3)]
    again = with_known_people(rows, rows)
    assert all(ours is theirs for ours, theirs in zip(again, rows, strict=True))


def test_one_person_more_on_the_left_moves_nobody_to_a_neighbour():
    known = [label(0, track=0, left=100.0), label(0, track=1, left=200.0)]
    new = [label(0, track=track, left=100.0 * track) for track in range(3)]
    first, second, third = with_known_people(new, known)
    assert [second.label_id, third.label_id] == [row.label_id for row in known]
    assert (first.track_id, second.track_id, third.track_id) == (2, 0, 1)
    assert first.label_id not in {row.label_id for row in known}


def test_tracks_of_a_video_are_put_together_over_all_frames():
    """A frame in which the store has nobody gets the number of the others."""
    video = {"source_path": "a.mp4", "source_sha256": "a" * 64}
    known = [label(frame, track=5, frame_index=frame, **video) for frame in range(3)]
    known += [label(3, track=2, left=200.0, frame_index=3, **video)]
    new = [label(frame, track=2, frame_index=frame, **video) for frame in range(4)]
    found = with_known_people(new, known)
    assert [row.track_id for row in found] == [5] * 4
    assert [row.label_id for row in found[:3]] == [row.label_id for row in known[:3]]
    assert found[3].label_id != known[3].label_id


def test_two_who_hold_each_other_are_told_apart_by_their_bodies_and_not_by_their_boxes():
    points = [np.random.default_rng(seed).uniform(20, 80, (67, 2)) for seed in (1, 2)]
    known = [label(0, track=track, keypoints_2d=points[track]) for track in (0, 1)]
    new = [label(0, track=track, keypoints_2d=points[1 - track]) for track in (0, 1)]
    found = with_known_people(new, known)
    assert [row.track_id for row in found] == [1, 0]
    assert [row.label_id for row in found] == [known[1].label_id, known[0].label_id]


def test_people_of_whom_no_body_was_seen_keep_their_number_by_the_box():
    unseen = label(0, keypoint_confidence=np.zeros(67))
    assert with_known_people([unseen], [unseen])[0] is unseen


def test_merging_twice_changes_nothing(tmp_path):
    path = tmp_path / "labels.parquet"
    rows = [label(0, track=0, left=100.0, error=0.05)]
    new = [label(0, track=0), label(0, track=1, left=100.0, error=0.01)]
    merge_into_store(path, rows, body())
    merge_into_store(path, new, body())
    once = path.read_bytes()
    assert [(row.track_id, row.label_version) for row in store.read_labels(path).rows] == [(0, 1), (0, 2), (1, 1)]
    merge_into_store(path, new, body())
    assert path.read_bytes() == once
