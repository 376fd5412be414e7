import dataclasses

import numpy as np
import pytest

from hardmo_jax.perception import crops, people, track


def _person(x, score=0.9):
    rng = np.random.default_rng(0)
    points = (rng.uniform(0, 100, (67, 2)) + np.array([x, 0])).astype(np.float32)
    return people.PersonKeypoints(
        keypoints_2d=points,
        confidence=np.full(67, 0.8, np.float32),
        keypoints_3d=np.zeros((67, 3), np.float32),
        confidence_3d=np.full(67, 0.8, np.float32),
        bbox=np.concatenate([points.min(0), points.max(0)]),
        detector_bbox=np.concatenate([points.min(0), points.max(0)]),
        score=score,
        region=crops.SquareRegion(center=(float(x), 50.0), size=120.0),
    )


def _ids(frames):
    return [[person.track_id for person in frame] for frame in frames]


def test_people_keep_their_numbers_when_the_order_changes():
    frames = [[_person(0), _person(200)], [_person(204), _person(3)], [_person(6), _person(208)]]
    assert _ids(track.assign_tracks(frames)) == [[0, 1], [1, 0], [0, 1]]


def test_a_person_who_is_missed_for_a_moment_keeps_the_number():
    frames = [[_person(0)], [], [], [_person(4)]]
    assert _ids(track.assign_tracks(frames, track.TrackOptions(max_gap=2))) == [[0], [], [], [0]]
    assert _ids(track.assign_tracks(frames, track.TrackOptions(max_gap=1))) == [[0], [], [], [1]]


def test_a_newcomer_gets_a_new_number_and_short_tracks_can_be_dropped():
    frames = [[_person(0)], [_person(1), _person(500)], [_person(2)]]
    assert _ids(track.assign_tracks(frames)) == [[0], [0, 1], [0]]
    assert _ids(track.assign_tracks(frames, track.TrackOptions(min_length=2))) == [[0], [0], [0]]


def test_similarity_is_one_for_the_same_and_zero_far_away():
    assert track.similarity(_person(0), _person(0)) == 1.0
    assert track.similarity(_person(0), _person(1000)) < 1e-6


def test_unsure_moments_of_a_long_video_are_nobody_and_sure_ones_are_somebody():
    def moment(confidence):
        return dataclasses.replace(_person(500), confidence=np.full(67, confidence, np.float32))

    def numbers(last, count, length=1):
        frames = [[_person(at)] for at in range(count - length)]
        return {number for frame in _ids(track.assign_tracks([*frames, *[[last]] * length])) for number in frame}

    assert numbers(moment(0.4), 40) == {0}
    assert numbers(moment(0.4), 40, length=2) == {0}
    assert numbers(moment(0.4), 40, length=3) == {0, 1}
    assert numbers(moment(0.8), 40) == {0, 1}
    assert numbers(moment(0.4), 5) == {0, 1}, "a short video has short tracks"
    assert numbers(moment(0.4), 1) == {0}


def test_of_a_single_frame_everybody_is_kept():
    unsure = dataclasses.replace(_person(0), confidence=np.full(67, 0.31, np.float32))
    assert _ids(track.assign_tracks([[unsure]])) == [[0]]


def test_lengths_out_of_range_are_refused():
    with pytest.raises(ValueError, match="out of range"):
        track.TrackOptions(min_doubtful_length=0)
