import numpy as np

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
