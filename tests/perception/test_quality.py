"""How well people are seen: known answers on drawn pictures, what must not change them, and what only thresholds do."""

import dataclasses
import pathlib
import types

import cv2
import numpy as np
import pytest

from hardmo_jax.labels import schema
from hardmo_jax.perception import hidden_places, quality, sharpness
from hardmo_jax.perception.quality import QualityOptions, box_qualities
from hardmo_jax.pipelines import box_quality
from hardmo_jax.pipelines.sightings import Picture, Sighting
from hardmo_jax.skeleton import layouts

LAYOUT = layouts.get_layout("openpose67")
#: Of somebody who stands upright and faces the camera: right and left of the middle, and down, in body heights.
STANDING = {
    "nose": (0.0, 0.08), "eye": (0.017, 0.065), "ear": (0.04, 0.07), "shoulder": (0.11, 0.18), "elbow": (0.14, 0.37),
    "wrist": (0.16, 0.52), "hip": (0.06, 0.47), "knee": (0.07, 0.715), "ankle": (0.07, 0.96), "heel": (0.065, 0.985),
    "big_toe": (0.08, 1.0), "small_toe": (0.1, 0.995),
}  # fmt: skip
WIDTH, HEIGHT = 640, 720
#: Sharpness of a picture that was made larger or smaller changes by so much: pixels fall otherwise.
SCALE_TOLERANCE = 0.15


def person(height=600.0, middle=320.0, top=60.0, *, unsure=(), absent=(), confidence=0.95):
    """Somebody who stands, with names of points that are unsure, or that are absent as in OpenPose's files."""
    points, trust = np.zeros((len(LAYOUT), 2), np.float32), np.zeros(len(LAYOUT), np.float32)
    for name, (across, down) in STANDING.items():
        sides = {"": 0.0} if name == "nose" else {"left_": 1.0, "right_": -1.0}
        for side, sign in sides.items():
            at = LAYOUT.index(side + name)
            points[at] = middle + sign * across * height, top + down * height
            trust[at] = 0.2 if side + name in unsure else confidence
            if side + name in absent:
                points[at], trust[at] = 0, 0
    kept = points[trust >= 0.3]
    box = np.concatenate([kept.min(0), kept.max(0)])
    return types.SimpleNamespace(keypoints_2d=points, confidence=trust, bbox=box.astype(np.float32))


def limits(one, width=WIDTH, height=HEIGHT):
    """A person as a detector gives it that knows the picture's edge: hardly any trust in what lies outside."""
    is_inside = ((one.keypoints_2d >= 0) & (one.keypoints_2d <= (width - 1, height - 1))).all(-1)
    box = np.clip(one.bbox, 0, [width - 1, height - 1] * 2).astype(np.float32)
    trust = np.where(is_inside, one.confidence, np.minimum(one.confidence, 0.05)).astype(np.float32)
    return types.SimpleNamespace(keypoints_2d=one.keypoints_2d, confidence=trust, bbox=box)


def judged(*people, image=None, width=WIDTH, height=HEIGHT, **options):
    return box_qualities(people, width=width, height=height, image=image, options=QualityOptions(**options))


@pytest.fixture(scope="module")
def picture():
    """Boxes of all greys with sharp edges, everywhere."""
    rng = np.random.default_rng(0)
    image = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    for _ in range(900):
        begin = rng.integers((0, 0), (WIDTH, HEIGHT))
        grey = int(rng.integers(256))
        cv2.ellipse(
            image, begin.tolist(), rng.integers(8, 40, 2).tolist(), float(rng.uniform(0, 180)), 0, 360, (grey,) * 3, -1,
            cv2.LINE_AA,
        )  # fmt: skip
    return image


def along_x(image, spread):
    """Blurred by a movement of this standard deviation across the picture, pixels."""
    length = round(spread * 12**0.5)
    return cv2.filter2D(image, -1, np.full((1, length), 1 / length, np.float32))


# ---- whom nothing speaks against ---------------------------------------------------------------------------------


def test_somebody_seen_in_full_carries_no_reason(picture):
    (found,) = judged(person(), image=picture)
    assert found.reasons == ()
    assert (found.truncated_share, found.occluded_share, found.num_points) == (0, 0, 17)
    assert found.height_pixels == pytest.approx(0.935 * 600, abs=1)


def test_without_pixels_nothing_is_said_of_sharpness():
    (found,) = judged(person())
    assert found.sharpness is None
    assert found.reasons == ()


def test_nobody_is_nobody():
    assert judged() == ()


# ---- small, few points -------------------------------------------------------------------------------------------


def test_a_small_box_is_small_by_its_longer_side():
    assert judged(person(height=60.0))[0].reasons == ("small",)
    lying = person(height=100.0)
    lying = types.SimpleNamespace(
        keypoints_2d=lying.keypoints_2d[:, ::-1].copy(), confidence=lying.confidence, bbox=lying.bbox[[1, 0, 3, 2]]
    )
    assert "small" not in judged(lying)[0].reasons


def test_a_face_and_shoulders_are_few_points():
    rest = [f"{side}_{name}" for side in layouts.SIDES for name in STANDING if name not in ("eye", "ear", "shoulder")]
    (found,) = judged(person(unsure=[*rest, "nose"]))
    assert found.num_points == 6
    assert "few_points" in found.reasons


# ---- blurred -----------------------------------------------------------------------------------------------------


def test_blur_is_measured_in_pixels_of_the_shrunk_box():
    """Of edges that stand apart the number is one over the blur that was put in."""
    squares = np.indices((HEIGHT, WIDTH)) // 120
    board = np.repeat((60 + 120 * (squares.sum(0) % 2)).astype(np.uint8)[..., None], 3, axis=-1)
    one = person()
    shrunk = sharpness.PATCH_SIDE / float(np.max(one.bbox[2:] - one.bbox[:2]))
    moved = [(3.0, along_x(board, 3.0))]
    for spread, blurred in [*((own, cv2.GaussianBlur(board, (0, 0), own)) for own in (3.0, 6.0, 9.0)), *moved]:
        (found,) = judged(one, image=blurred)
        assert 1 / found.sharpness == pytest.approx(spread * shrunk, rel=0.1)


@pytest.mark.parametrize("share_of_head", [0.035, 0.05, 0.1])
def test_blurred_and_moved_people_are_blurred(picture, share_of_head):
    spread = share_of_head * 0.13 * 600
    moved = along_x(picture, spread)
    for blurred in (
        cv2.GaussianBlur(picture, (0, 0), spread),
        moved,
        np.swapaxes(along_x(np.swapaxes(picture, 0, 1), spread), 0, 1),
    ):
        assert judged(person(), image=np.ascontiguousarray(blurred))[0].reasons == ("blurred",)


def test_sharpness_is_that_of_any_contrast_brightness_and_noise(picture):
    (plain,) = judged(person(), image=picture)
    rng = np.random.default_rng(1)
    dark = (0.2 * picture + 10).astype(np.uint8)
    noisy = np.clip(picture + rng.normal(0, 8, picture.shape), 0, 255).astype(np.uint8)
    for image in (dark, noisy):
        (found,) = judged(person(), image=image)
        assert found.sharpness == pytest.approx(plain.sharpness, rel=SCALE_TOLERANCE)
    assert judged(person(), image=cv2.GaussianBlur(noisy, (0, 0), 5.0))[0].reasons == ("blurred",)


@pytest.mark.parametrize("scale", [0.6, 2.0])
def test_numbers_are_those_of_the_same_picture_in_another_size(picture, scale):
    blurred = cv2.GaussianBlur(picture, (0, 0), 3.0)
    size = (round(scale * WIDTH), round(scale * HEIGHT))
    resized = cv2.resize(blurred, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    one, other = person(), person(height=scale * 600, middle=scale * 320, top=scale * 60)
    (before,) = judged(one, image=blurred)
    (after,) = judged(other, image=resized, width=size[0], height=size[1])
    assert after.sharpness == pytest.approx(before.sharpness, rel=SCALE_TOLERANCE)
    assert (after.truncated_share, after.occluded_share) == (before.truncated_share, before.occluded_share)


def test_a_sharp_background_does_not_hide_a_blurred_person(picture):
    (sharp,) = judged(person(), image=picture)
    image = cv2.GaussianBlur(picture, (0, 0), 6.0)
    image[:, :210], image[:, 430:] = picture[:, :210], picture[:, 430:]
    (found,) = judged(person(), image=image)
    assert found.sharpness < 0.5 * sharp.sharpness


@pytest.mark.filterwarnings("error")
def test_a_picture_of_one_colour_is_blurred_and_a_box_outside_has_no_sharpness(picture):
    assert judged(person(), image=np.full_like(picture, 90))[0].reasons == ("blurred",)
    assert judged(person(middle=-900.0), image=picture)[0].sharpness is None


# ---- truncated ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "cut"),
    [
        ({"top": 140.0}, {"left_foot", "right_foot"}),
        ({"top": 330.0}, {f"{side}_{place}" for side in layouts.SIDES for place in ("knee", "ankle", "foot")}),
        ({"top": -90.0}, {"head"}),
        ({"middle": 60.0}, {f"right_{place}" for place in ("elbow", "wrist", "shoulder")}),
    ],
)
def test_places_beyond_the_edge_are_cut(changes, cut):
    one = limits(person(**changes))
    places = hidden_places.body_places(one.keypoints_2d, one.confidence, one.bbox)
    found = hidden_places.cut_places(places, WIDTH, HEIGHT)
    assert {place for place, own in zip(hidden_places.PLACES, found, strict=True) if own} == cut
    (quality_found,) = judged(one)
    assert quality_found.truncated_share == pytest.approx(len(cut) / 15)
    assert ("truncated" in quality_found.reasons) == (len(cut) > 1)
    assert quality_found.occluded_share == 0, "a place is cut or covered, not both"


def test_legs_that_a_file_leaves_out_are_cut_where_they_would_reach_beyond_the_edge():
    below = [f"{side}_{name}" for side in layouts.SIDES for name in ("knee", "ankle", "heel", "big_toe", "small_toe")]
    (found,) = judged(person(top=400.0, absent=below))
    assert found.reasons == ("truncated",)
    assert found.truncated_share == pytest.approx(6 / 15)
    (inside,) = judged(person(top=60.0, absent=below))
    assert (inside.reasons, inside.truncated_share) == (("occluded",), 0)


@pytest.mark.parametrize("height", [80.0, 300.0, 700.0])
def test_somebody_wholly_inside_is_not_truncated_however_near_the_edge(height):
    for one in (
        person(height=height, top=HEIGHT - 1 - 1.005 * height),
        person(height=height, top=-0.06 * height),
        person(height=height, middle=0.165 * height, top=10.0),
        person(height=height, middle=WIDTH - 1 - 0.165 * height, top=HEIGHT - 1 - 1.005 * height),
        # As COCO's 17 points, without feet.
        person(
            height=height, top=HEIGHT - 1 - 1.005 * height,
            absent=[f"{side}_{point}" for side in layouts.SIDES for point in ("heel", "big_toe", "small_toe")],
        ),
    ):  # fmt: skip
        (found,) = judged(one)
        assert "truncated" not in found.reasons
        assert found.truncated_share == 0


def test_a_hidden_hand_near_the_edge_is_covered_and_not_cut():
    (found,) = judged(person(middle=140.0, unsure=["right_wrist"]))
    assert (found.truncated_share, found.occluded_share) == (0, pytest.approx(1 / 15))


# ---- occluded ----------------------------------------------------------------------------------------------------


def test_unsure_places_inside_are_covered():
    hidden = [f"left_{name}" for name in ("shoulder", "elbow", "wrist", "hip", "knee")]
    (found,) = judged(person(unsure=hidden))
    assert found.occluded_share == pytest.approx(5 / 15)
    assert found.reasons == ("occluded",)
    assert judged(person(unsure=hidden[:3]))[0].reasons == ()


def test_of_two_who_overlap_the_one_behind_is_occluded():
    """Who reaches lower stands nearer; who is surer of what is there, too."""
    front, behind = person(top=110.0), person(middle=340.0, top=60.0)
    for order in ((front, behind), (behind, front)):
        reasons = {id(one): found.reasons for one, found in zip(order, judged(*order), strict=True)}
        assert reasons == {id(front): (), id(behind): ("occluded",)}
    unsure, sure = person(confidence=0.55), person(middle=340.0)
    assert [found.reasons for found in judged(unsure, sure)] == [("occluded",), ()]


def test_two_side_by_side_cover_nothing_of_each_other_though_their_boxes_overlap():
    pair = person(middle=200.0), person(height=280.0, middle=335.0, top=430.0)
    assert pair[0].bbox[2] > pair[1].bbox[0]
    assert [found.occluded_share for found in judged(*pair)] == [0, 0]


def test_the_same_person_twice_hides_nobody():
    assert [found.reasons for found in judged(person(), person())] == [(), ()]


# ---- thresholds --------------------------------------------------------------------------------------------------

RAISED = {
    "small_below_pixels": ("small", (0.0, 50.0, 90.0, 1e4), 1),
    "blurred_below": ("blurred", (0.0, 0.4, 1.0, 9.0), 1),
    "few_points_below": ("few_points", (0, 6, 12, 18), 1),
    "truncated_above": ("truncated", (0.0, 0.2, 0.5, 1.0), -1),
    "occluded_above": ("occluded", (0.0, 0.2, 0.5, 1.0), -1),
}  # fmt: skip


@pytest.mark.parametrize("name", RAISED)
def test_reasons_are_monotone_in_their_threshold_and_blind_to_the_others(name):
    reason, values, direction = RAISED[name]
    rng = np.random.default_rng(2)
    for _ in range(40):
        measures = {
            "height_pixels": rng.uniform(10, 200), "sharpness": rng.uniform(0.05, 3),
            "num_points": int(rng.integers(18)), "truncated_share": rng.uniform(), "occluded_share": rng.uniform(),
        }  # fmt: skip
        found = [quality.reasons_of(measures, QualityOptions(**{name: value})) for value in values]
        carried = [reason in own for own in found][::direction]
        assert carried == sorted(carried), "once given, never taken back"
        assert len({tuple(one for one in own if one != reason) for own in found}) == 1


def test_reasons_of_a_label_are_found_again_without_the_picture(picture):
    found = judged(person(height=60.0), limits(person(top=330.0)), image=picture)
    for one in found:
        assert quality.reasons_of(one.measures, QualityOptions()) == one.reasons
    assert quality.reasons_of(found[0].measures, QualityOptions(small_below_pixels=20.0)) == ()


def test_measures_are_those_of_labels():
    names = [field.name for field in dataclasses.fields(quality.BoxQuality)]
    assert names == [*schema.QUALITY_MEASURES, "reasons"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"drop": ("ugly",)}, "drop.*small, blurred.*ugly"),
        ({"small_below_pixels": -1.0}, "small_below_pixels.*-1"),
        ({"blurred_below": float("nan")}, "blurred_below.*nan"),
    ],
)
def test_impossible_options_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        QualityOptions(**changes)


# ---- leaving out -------------------------------------------------------------------------------------------------


def sighting(found):
    """What `without_badly_seen` looks at, and nothing else."""
    picture = Picture(
        position=0, source_path=pathlib.Path("a.png"), source_sha256="0" * 64, frame_index=0, time_seconds=None,
        width=WIDTH, height=HEIGHT,
    )  # fmt: skip
    return Sighting(
        picture=picture, track_id=0, keypoints_2d=np.zeros((67, 2)), confidence=np.zeros(67), keypoints_3d=None,
        confidence_3d=None, bbox=np.zeros(4), score=None, source="drawn", quality=found,
    )  # fmt: skip


def test_nobody_is_left_out_unless_a_reason_is_named():
    found = [
        sighting(one)
        for one in judged(person(height=60.0), limits(person(top=330.0)), person(middle=100.0, height=50.0))
    ]
    nobody = sighting(None)
    everybody = [*found, nobody]
    kept, left_out = box_quality.without_badly_seen(everybody, ())
    assert [id(one) for one in kept] == [id(one) for one in everybody]
    assert left_out == box_quality.LeftOut()
    kept, left_out = box_quality.without_badly_seen(everybody, ("small", "occluded"))
    assert [id(one) for one in kept] == [id(found[1]), id(nobody)]
    assert left_out.phrase == "2 people were left out (2 small)"
