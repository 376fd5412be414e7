import dataclasses

import numpy as np
import pytest

from hardmo_jax.hardcase import mine
from hardmo_jax.hardcase.mine import MineOptions
from hardmo_jax.skeleton import layouts
from tests.labels.test_schema import make_row

OPTIONS = MineOptions(apart_seconds=0.5)


def scored(seed=0, probability=0.95, part="left_hand", reason="points_elsewhere", confidence=0.9, **changes):
    """A label with one scored part, of a photo of its own."""
    points = layouts.get_layout("openpose67").points
    own = np.array([layouts.part_of(point) == part for point in points])
    fields = {
        "error_by_part": {"body": 0.01, part: 0.05},
        "wrong_by_part": {part: probability},
        "reason_by_part": {part: reason},
        "keypoint_confidence": np.where(own, confidence, 0.9),
        "time_seconds": None,
        "fps": None,
        "source_path": f"{seed:03d}.jpg",
        "category": None,
    }
    return make_row(seed, **(fields | changes))


def video(times, probabilities, **changes):
    """Frames of one person of one video."""
    return [
        scored(
            probability=probability, source_path="clip.mp4", source_sha256="a" * 64, frame_index=round(30 * time),
            time_seconds=time, fps=30.0, **changes,
        )
        for time, probability in zip(times, probabilities, strict=True)
    ]  # fmt: skip


def places(found):
    return [one.row for one in found]


def test_wrong_parts_of_right_bodies_are_ranked_by_their_probability():
    rows = [scored(0, 0.91), scored(1, 0.99), scored(2, 0.5), scored(3, 0.95)]
    found = mine.mine(rows, "hand", OPTIONS)
    assert places(found.wrong) == places(found.chosen) == [1, 3, 0]
    assert places(found.right) == [2]
    assert [one.part for one in found.wrong] == ["left_hand"] * 3
    assert found.bodies_wrong == 0


def test_limits_belong_to_what_they_let_in():
    rows = [scored(0, 0.9, error_by_part={"body": 0.03})]
    limits = dataclasses.replace(OPTIONS, min_probability=rows[0].wrong_by_part["left_hand"],
                                 most_body_error=rows[0].error_by_part["body"])  # fmt: skip
    assert places(mine.mine(rows, "hand", limits).wrong) == [0]
    stricter = dataclasses.replace(limits, most_body_error=0.029)
    assert places(mine.mine(rows, "hand", stricter).wrong) == []


@pytest.mark.parametrize("error", [0.2, None])
def test_wrong_bodies_are_counted_and_not_mined(error):
    found = mine.mine([scored(error_by_part={"body": error})], "hand", OPTIONS)
    assert (found.wrong, found.right, found.bodies_wrong) == ((), (), 1)


@pytest.mark.parametrize(
    "changes",
    [
        {"reason": "unrepairable"},
        {"reason": "unrepairable", "probability": 0.01},
        {"reason": "unrepairable", "probability": None},
        {"confidence": 0.3},
        {"confidence": 0.0},
        {"reason": "unrepairable", "error_by_part": {"body": 0.5}},
    ],
)
def test_parts_of_which_too_little_was_seen_are_listed_and_neither_right_nor_wrong(changes):
    found = mine.mine([scored(**changes)], "hand", OPTIONS)
    assert places(found.unrepairable) == [0]
    assert found.wrong == found.right == ()


@pytest.mark.parametrize(
    "changes", [{"origin": "human"}, {"review": "accepted"}, {"status": "DIVERGED"}, {"reason": None}]
)
def test_labels_of_people_failed_fits_and_labels_without_scores_are_left_out(changes):
    found = mine.mine([scored(**changes)], "hand", OPTIONS)
    assert found.wrong == found.right == found.unrepairable == ()


@pytest.mark.parametrize("words", [{"origin": "human"}, {"review": "accepted"}])
def test_part_that_a_person_called_wrong_in_an_own_label_is_the_only_one_mined_of_it(words):
    row = scored(
        **words, probability=0.01, review_by_part={"left_hand": "wrong"}, wrong_by_part={"right_hand": 0.99},
        reason_by_part={"right_hand": "points_elsewhere"},
    )  # fmt: skip
    found = mine.mine([row], "hand", OPTIONS)
    assert [(one.part, one.probability) for one in found.wrong] == [("left_hand", 1.0)]
    assert found.right == found.unrepairable == ()
    assert mine.mine([row], "foot", OPTIONS).wrong == ()


@pytest.mark.parametrize("origin", ["machine", "human"])
def test_nothing_of_a_rejected_label_is_mined(origin):
    row = scored(origin=origin, review="rejected", review_by_part={"left_hand": "wrong"})
    found = mine.mine([row], "hand", OPTIONS)
    assert found.wrong == found.right == found.unrepairable == ()


def test_hands_are_no_feet():
    rows = [scored(0), scored(1, part="right_foot")]
    assert [one.part for one in mine.mine(rows, "foot", OPTIONS).wrong] == ["right_foot"]
    assert [one.part for one in mine.mine(rows, "hand", OPTIONS).wrong] == ["left_hand"]


def test_near_duplicates_of_a_video_are_thinned_to_the_surest():
    rows = video([0.0, 0.1, 0.2, 0.6, 0.7, 1.2], [0.92, 0.99, 0.95, 0.93, 0.94, 0.91])
    found = mine.mine(rows, "hand", OPTIONS)
    assert len(found.wrong) == 6
    assert places(found.chosen) == [1, 4, 5]
    kept = sorted(rows[place].time_seconds for place in places(found.chosen))
    assert min(np.diff(kept)) >= OPTIONS.apart_seconds


def test_other_people_other_parts_and_photos_are_no_duplicates():
    two = [*video([0.0], [0.95]), *video([0.0], [0.95], track_id=9), *video([0.1], [0.95], part="right_hand")]
    assert len(mine.mine(two, "hand", OPTIONS).chosen) == 3
    photos = [scored(seed, source_path=f"{seed}.jpg") for seed in range(3)]
    assert len(mine.mine(photos, "hand", OPTIONS).chosen) == 3


def test_quotas_keep_the_surest_of_each_video_and_category():
    rows = [
        *video(np.arange(5.0), [0.91, 0.92, 0.93, 0.94, 0.95], category="ballet"),
        *[scored(seed, 0.96, category="karate") for seed in range(10, 14)],
    ]
    options = dataclasses.replace(OPTIONS, most_per_video=2, most_per_category=3)
    found = mine.mine(rows, "hand", options)
    assert [rows[place].category for place in places(found.chosen)] == ["karate"] * 3 + ["ballet"] * 2
    assert places(found.chosen)[3:] == [4, 3]
    assert len(found.wrong) == 9


def test_order_of_labels_does_not_matter():
    rows = [scored(seed, 0.95) for seed in range(6)] + video(np.arange(6) / 5, [0.95] * 6)
    options = dataclasses.replace(OPTIONS, most_per_video=2)
    found = mine.mine(rows, "hand", options)
    turned = mine.mine(rows[::-1], "hand", options)
    assert [rows[place].label_id for place in places(found.chosen)] == [
        rows[::-1][place].label_id for place in places(turned.chosen)
    ]


def test_nothing_is_found_among_no_labels():
    found = mine.mine([], "foot", OPTIONS)
    assert found.wrong == found.chosen == found.right == found.unrepairable == ()


def test_impossible_limits_are_refused_in_words():
    for change in ({"min_probability": 1.2}, {"most_body_error": 0.0}, {"apart_seconds": -1.0}, {"most_per_video": 0}):
        with pytest.raises(ValueError, match=next(iter(change)).replace("min_probability", "probabilities")):
            dataclasses.replace(OPTIONS, **change)


def test_what_a_person_said_of_a_part_stands_above_its_probability():
    rows = [
        scored(0, 0.01, review_by_part={"left_hand": "wrong"}),
        scored(1, 0.99, review_by_part={"left_hand": "right"}),
        scored(2, 0.99, review_by_part={"right_hand": "wrong"}),
        scored(3, 0.01, review_by_part={"left_hand": "wrong"}, error_by_part={"body": 0.5}),
        scored(4, 0.01, review_by_part={"left_hand": "wrong"}, error_by_part={}),
        scored(5, 0.01, review_by_part={"left_hand": "wrong"}, confidence=0.0),
        scored(6, None, review_by_part={"left_hand": "right"}, confidence=0.0),
    ]
    found = mine.mine(rows, "hand", OPTIONS)
    assert [(one.row, one.part, one.probability) for one in found.wrong] == [
        (0, "left_hand", 1.0),
        (2, "right_hand", 1.0),
        (3, "left_hand", 1.0),
        (2, "left_hand", pytest.approx(0.99)),
    ]
    assert [(one.row, one.part) for one in found.right] == [(1, "left_hand"), (6, "left_hand")]
    assert [one.row for one in found.unrepairable] == [5]
    strict = dataclasses.replace(OPTIONS, min_probability=1.0)
    assert [one.row for one in mine.mine(rows, "hand", strict).wrong] == [0, 2, 3]
