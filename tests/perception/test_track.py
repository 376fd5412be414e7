import dataclasses

import numpy as np
import pytest

from hardmo_jax.metrics.identity import identity_score
from hardmo_jax.perception import crops, people, track
from hardmo_jax.skeleton import layouts


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


# ---- people who pass each other --------------------------------------------------------------------------------


def _walker(x, side=100.0):
    """Somebody whose points are where trunk and legs are, at a place across the picture."""
    layout = layouts.get_layout("openpose67")
    points = np.zeros((67, 2), np.float32)
    places = {
        "shoulder": (0.12, 0.2),
        "hip": (0.09, 0.55),
        "knee": (0.1, 0.78),
        "ankle": (0.1, 0.98),
        "nose": (0, 0.05),
    }
    for row, point in enumerate(layout.points):
        edge, _, rest = point.partition("_")
        sign = {"left": 1, "right": -1}.get(edge, 0)
        across, down = places.get(rest, (0.15, 0.4))
        points[row] = x + sign * across * side, 40 + down * side
    box = np.array([x - 0.2 * side, 40, x + 0.2 * side, 40 + side], np.float32)
    region = crops.SquareRegion(center=(float(x), 40 + 0.55 * side), size=1.25 * side)
    return dataclasses.replace(_person(0), keypoints_2d=points, bbox=box, detector_bbox=box, region=region)


def _painted(walkers):
    """A picture of walkers (person, shirt, trousers), the last one in front."""
    image = np.full((200, 700, 3), 128, np.uint8)
    for walker, shirt, trousers in walkers:
        left, top, right, bottom = walker.bbox.astype(int)
        middle = (top + bottom + 8) // 2
        image[top:middle, max(left, 0) : max(right, 0)] = shirt
        image[middle:bottom, max(left, 0) : max(right, 0)] = trousers
    return image


SHIRTS = [((200, 30, 30), (30, 30, 120)), ((30, 160, 60), (60, 50, 40)), ((230, 200, 40), (20, 20, 20)),
          ((90, 60, 160), (150, 150, 150)), ((240, 240, 240), (120, 40, 40))]  # fmt: skip


def _crossing(num_people, seed, num_frames=120, frames_hidden=25):
    """Frames with their pictures: each walks to and fro at a speed of their own; whoever is hidden is not found."""
    rng = np.random.default_rng(seed)
    phases, speeds = rng.uniform(0, 1, num_people), rng.uniform(1.5, 3.5, num_people) / 1000
    hidden_until = np.zeros(num_people)
    for frame in range(num_frames):
        place = phases + speeds * frame
        x = 60 + 580 * 2 * np.abs(place - np.floor(place + 0.5))
        walkers = [_walker(float(at) + rng.normal(0, 0.8)) for at in x]
        for behind in range(num_people):
            if any(abs(x[front] - x[behind]) < 22 for front in range(behind + 1, num_people)):
                hidden_until[behind] = max(hidden_until[behind], frame + frames_hidden // 4)
        found = [person for person in range(num_people) if hidden_until[person] <= frame]
        image = _painted([(walker, *SHIRTS[at]) for at, walker in enumerate(walkers)])
        order = rng.permutation(found)
        yield image, [(int(person), walkers[person]) for person in order]


def _idf1(num_people, seed, **fields):
    tracker, matches, total = track.Tracker(), [], 0
    for image, found in _crossing(num_people, seed, **fields):
        told = tracker.step([walker for _, walker in found], image)
        matches.append([(person, one.track_id) for (person, _), one in zip(found, told, strict=True)])
        total += len(found)
    return identity_score(matches, total, total).idf1


def test_people_who_pass_each_other_keep_their_numbers(figure):
    scores = {count: [_idf1(count, seed) for seed in range(2)] for count in (1, 2, 5)}
    figure("IDF1 of drawn people who cross: " + ", ".join(f"{n}: {np.mean(s):.3f}" for n, s in scores.items()))
    for count, own in scores.items():
        assert np.mean(own) >= 0.9, (count, own)


def test_whoever_was_hidden_for_a_second_is_the_same_and_another_one_there_is_not():
    red, green = SHIRTS[0], SHIRTS[1]
    for back, number in ((red, 0), (green, 1)):
        tracker = track.Tracker()
        for frame in range(20):
            walker = _walker(100 + 4.0 * frame)
            assert [one.track_id for one in tracker.step([walker], _painted([(walker, *red)]))] == [0]
        for _ in range(25):
            assert tracker.step([], np.full((200, 700, 3), 128, np.uint8)) == []
        walker = _walker(100 + 4.0 * 45)
        assert [one.track_id for one in tracker.step([walker], _painted([(walker, *back)]))] == [number]


def test_without_pictures_places_tell():
    tracker = track.Tracker()
    for frame in range(10):
        tracker.step([_walker(100 + 4.0 * frame)])
    for _ in range(5):
        tracker.step([])
    assert tracker.step([_walker(100 + 4.0 * 15)])[0].track_id == 0


def _part_of(walker, first, last):
    """Somebody of whom only the points between two heights of the body are trusted."""
    height = (walker.keypoints_2d[:, 1] - walker.bbox[1]) / (walker.bbox[3] - walker.bbox[1])
    trusted = (height >= first) & (height <= last)
    points = walker.keypoints_2d[trusted]
    return dataclasses.replace(
        walker,
        confidence=np.where(trusted, 0.8, 0.1).astype(np.float32),
        bbox=np.concatenate([points.min(0), points.max(0)]),
    )


def test_somebody_of_whom_other_parts_are_seen_in_each_frame_is_one_person():
    # Found on rendered clips: the box of the trusted points jumps from the head to the feet, and the number with it.
    tracker, walker = track.Tracker(), _walker(100.0)
    parts = ((0.0, 1.0), (0.0, 0.3), (0.7, 1.0), (0.0, 0.25), (0.5, 1.0))
    numbers = [tracker.step([_part_of(walker, *part)], _painted([(walker, *SHIRTS[0])])) for part in parts]
    assert _ids(numbers) == [[0]] * len(parts)


def test_whoever_turned_round_out_of_sight_is_known_again():
    tracker = track.Tracker()
    for frame in range(20):
        walker = _walker(100 + 4.0 * frame)
        tracker.step([walker], _painted([(walker, *SHIRTS[0])]))
    for _ in range(25):
        tracker.step([], np.full((200, 700, 3), 128, np.uint8))
    # The course leads to 276.
    back = _walker(150.0)
    assert [one.track_id for one in tracker.step([back], _painted([(back, *SHIRTS[0])]))] == [0]


def test_a_jump_of_the_body_is_no_course():
    tracker = track.Tracker()
    for frame in range(30):
        walker = _walker(100.0)
        rise = 40.0 * max(frame - 25, 0)
        region = dataclasses.replace(walker.region, center=(100.0, walker.region.center[1] - rise))
        points = walker.keypoints_2d - np.array([0, rise], np.float32)
        box = walker.bbox - np.array([0, rise, 0, rise], np.float32)
        tracker.step([dataclasses.replace(walker, keypoints_2d=points, region=region, bbox=box)])
    for _ in range(20):
        tracker.step([])
    assert tracker.step([_walker(100.0)])[0].track_id == 0
