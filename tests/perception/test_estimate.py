"""The whole estimator on real photographs."""

import dataclasses
import importlib.util
import math
import pathlib

import cv2
import numpy as np
import pytest

from hardmo_jax.perception import (
    assembled_people,
    crops,
    hand_hints,
    keypoint_files,
    keypoints_blazepose,
    load_source,
    people,
)
from hardmo_jax.perception.source_options import PerceptionOptions
from hardmo_jax.skeleton import layouts

LAYOUT = layouts.get_layout("openpose67")
BODY_POINTS = len(layouts.get_layout("openpose25"))
HAND_POINTS = {side: list(LAYOUT.indices(layouts.get_layout(f"{side}_hand21").points)) for side in layouts.SIDES}
#: A point is right within this part of the person's longer side.
PCK_RADIUS = 0.05
#: The packaged models reach 1.00 and 0.95 (one ear in dispute with OpenPose).
MIN_PCK = 0.9
#: Turning a photo resamples it and the model sees another crop: points move by some hundredths of the person.
MAX_TURN_SHIFT = 0.03


@pytest.fixture(scope="module")
def estimator(perception_models):
    return load_source.load_estimator(perception_models, PerceptionOptions())


@pytest.fixture(scope="module")
def body_estimator(perception_models):
    """Bodies only, the whole picture only: quick, for one person who fills it."""
    return load_source.load_estimator(perception_models, PerceptionOptions(hands=False, tiles=()))


def _read(path):
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


@pytest.fixture(scope="module")
def skier(reference_data):
    return _read(reference_data / "keypoints2d" / "mmpose_tests" / "coco" / "000000000785.jpg")


@pytest.fixture(scope="module")
def skier_person(body_estimator, skier):
    (person,) = body_estimator(skier)
    return person


@pytest.fixture(scope="module")
def lifter_people(estimator, reference_data):
    return estimator(_read(reference_data / "keypoints2d" / "prohmr_openpose" / "pexels-anete-lusina-4793258.jpg"))


def _packaged_photo(name):
    spec = importlib.util.find_spec("ultralytics")
    if spec is None or spec.origin is None:
        pytest.skip("ultralytics, whose pictures these are, is not installed")
    return _read(pathlib.Path(spec.origin).parent / "assets" / name)


def _pck(person, truth):
    """Share of the confident body points that lie near the truth, and how many there were."""
    seen = truth.keypoints_2d[:BODY_POINTS][truth.confidence[:BODY_POINTS] > 0]
    box = truth.bbox if truth.bbox is not None else np.concatenate([seen.min(0), seen.max(0)])
    size = float((box[2:] - box[:2]).max())
    is_judged = (truth.confidence[:BODY_POINTS] > 0) & (person.confidence[:BODY_POINTS] >= 0.5)
    error = np.linalg.norm(person.keypoints_2d - truth.keypoints_2d, axis=1)[:BODY_POINTS][is_judged]
    return float((error < PCK_RADIUS * size).mean()), int(is_judged.sum())


def _shift(first, second):
    """Median distance of points that both trust, as part of the person's longer side."""
    is_both = (first.confidence >= 0.5) & (second.confidence >= 0.5)
    assert is_both.sum() >= 15
    distance = np.linalg.norm(first.keypoints_2d - second.keypoints_2d, axis=1)[is_both]
    return float(np.median(distance) / (first.bbox[2:] - first.bbox[:2]).max())


def _turned(image, degrees):
    """Photo turned about its centre on a larger canvas, and the 2x3 matrix from old to new pixels."""
    height, width = image.shape[:2]
    side = int(math.hypot(height, width))
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    matrix[:, 2] += [(side - width) / 2, (side - height) / 2]
    return cv2.warpAffine(image, matrix, (side, side)), matrix


def test_skier_matches_the_annotation(estimator, skier, reference_data):
    truth = next(
        person
        for person in keypoint_files.read_keypoint_file(
            reference_data / "keypoints2d" / "mmpose_tests" / "coco" / "test_coco_wholebody.json"
        ).people
        if person.image_file == "000000000785.jpg"
    )
    (person,) = estimator(skier)
    pck, count = _pck(person, truth)
    assert pck >= MIN_PCK
    assert count >= 17
    assert person.confidence[list(LAYOUT.indices(("left_small_toe", "right_small_toe")))].max() == 0.0


def test_lifter_matches_openpose_and_has_both_hands(lifter_people, reference_data):
    (truth,) = keypoint_files.read_keypoint_file(
        reference_data / "keypoints2d" / "prohmr_openpose" / "pexels-anete-lusina-4793258_keypoints.json"
    ).people
    truth = dataclasses.replace(truth, confidence=np.where(truth.confidence >= 0.3, truth.confidence, 0))
    (person,) = lifter_people
    pck, count = _pck(person, truth)
    assert pck >= MIN_PCK
    assert count >= 17
    for side, points in HAND_POINTS.items():
        assert (person.confidence[points] >= 0.5).mean() > 0.8
        wrist = person.keypoints_2d[LAYOUT.index(f"{side}_wrist")]
        elbow = person.keypoints_2d[LAYOUT.index(f"{side}_elbow")]
        reach = np.linalg.norm(person.keypoints_2d[points] - wrist, axis=1)
        assert reach.max() < 1.2 * np.linalg.norm(wrist - elbow)
        assert reach[0] < 0.3 * np.linalg.norm(wrist - elbow)


def test_result_is_well_formed(lifter_people):
    (person,) = lifter_people
    assert isinstance(person, people.PersonKeypoints)
    assert person.keypoints_2d.shape == (67, 2)
    assert person.keypoints_3d.shape == (67, 3)
    assert ((person.confidence >= 0) & (person.confidence <= 1)).all()
    assert np.isfinite(person.keypoints_2d).all()
    assert np.isfinite(person.keypoints_3d).all()
    np.testing.assert_allclose(person.keypoints_3d[LAYOUT.index("mid_hip")], 0.0, atol=1e-5)
    trusted = person.keypoints_2d[person.confidence >= 0.3]
    np.testing.assert_allclose(person.bbox, [*trusted.min(0), *trusted.max(0)], rtol=1e-5)


def test_world_points_agree_with_the_picture_and_look_forward(lifter_people):
    """A man seen from behind: his left is to the left, up is up, and the back of the head is nearer than the nose."""
    (person,) = lifter_people

    def world(name):
        return person.keypoints_3d[LAYOUT.index(name)]

    assert world("left_shoulder")[0] < world("right_shoulder")[0]
    assert world("nose")[1] < world("mid_hip")[1] < world("left_ankle")[1]
    assert world("nose")[2] > world("neck")[2]
    assert 1.0 < np.ptp(person.keypoints_3d[person.confidence_3d > 0.3][:, 1]) < 2.2


@pytest.mark.parametrize("degrees", [30, 90])
def test_turned_photo_gives_the_same_points(body_estimator, skier, skier_person, degrees):
    image, matrix = _turned(skier, degrees)
    found = body_estimator(image)
    assert len(found) == 1
    back = cv2.invertAffineTransform(matrix)
    points = found[0].keypoints_2d @ back[:, :2].T + back[:, 2]
    assert _shift(skier_person, dataclasses.replace(found[0], keypoints_2d=points.astype(np.float32))) < MAX_TURN_SHIFT
    # World points turn with the picture.
    linear = matrix[:, :2]
    np.testing.assert_allclose(
        found[0].keypoints_3d[LAYOUT.index("neck"), :2],
        linear @ skier_person.keypoints_3d[LAYOUT.index("neck"), :2],
        atol=0.06,
    )


def test_person_upside_down_is_found_by_turned_looks(body_estimator, skier, skier_person):
    image, matrix = _turned(skier, 180)
    options = dataclasses.replace(body_estimator.options, turned="always")
    body_estimator.options, before = options, body_estimator.options
    try:
        found = body_estimator(image)
    finally:
        body_estimator.options = before
    assert len(found) == 1
    back = cv2.invertAffineTransform(matrix)
    points = found[0].keypoints_2d @ back[:, :2].T + back[:, 2]
    assert _shift(skier_person, dataclasses.replace(found[0], keypoints_2d=points.astype(np.float32))) < MAX_TURN_SHIFT


def test_mirrored_photo_swaps_left_and_right(body_estimator, skier, skier_person):
    (person,) = body_estimator(np.ascontiguousarray(skier[:, ::-1]))
    swap = {"left": "right", "right": "left"}
    order = []
    for point in LAYOUT.points:
        side, _, rest = point.partition("_")
        order.append(LAYOUT.index(f"{swap[side]}_{rest}" if side in swap else point))
    points = person.keypoints_2d[order] * np.array([-1, 1]) + np.array([skier.shape[1] - 1, 0])
    mirrored = dataclasses.replace(person, keypoints_2d=points.astype(np.float32), confidence=person.confidence[order])
    assert _shift(skier_person, mirrored) < MAX_TURN_SHIFT


def test_joints_cut_off_by_the_edge_are_not_trusted(body_estimator, skier):
    """Cut above the knees: whatever the model says of the feet is a guess."""
    found = body_estimator(np.ascontiguousarray(skier[:215]))
    assert len(found) == 1
    is_outside = found[0].keypoints_2d[:, 1] > 214.5
    assert found[0].confidence[is_outside].max(initial=0) <= 0.05
    feet = [LAYOUT.index(f"{side}_{point}") for side in layouts.SIDES for point in ("ankle", "heel", "big_toe")]
    assert found[0].confidence[feet].max() < 0.3


def test_several_people_are_found(estimator):
    found = estimator(_packaged_photo("zidane.jpg"))
    if len(found) == 1:
        # Seen with AVX-512: other kernels of the runtime, and the second person scores below the threshold.
        pytest.xfail("one of two people is found on this processor")
    assert len(found) == 2
    noses = sorted(float(person.keypoints_2d[LAYOUT.index("nose"), 0]) for person in found)
    assert noses[0] < 640 < noses[1]


def test_pedestrians_are_found_and_nobody_twice(body_estimator, perception_models):
    options = PerceptionOptions(hands=False)
    found = load_source.load_estimator(perception_models, options)(_packaged_photo("bus.jpg"))
    necks = np.array([person.keypoints_2d[LAYOUT.index("neck")] for person in found])
    # Two stand free, the third walks out of the picture; of a fourth only a sleeve is in it.
    for place in ((123, 500), (285, 500), (800, 500)):
        assert (np.linalg.norm(necks - np.array(place), axis=1) < 30).sum() == 1


def test_pictures_without_people_give_nobody(estimator, rng):
    facade = np.ascontiguousarray(_packaged_photo("bus.jpg")[:400, 300:])
    noise = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    assert estimator(facade) == []
    assert estimator(noise) == []


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (2, 3)])
def test_tiny_pictures_give_nobody(estimator, shape):
    assert estimator(np.full((*shape, 3), 128, np.uint8)) == []


def test_result_is_the_same_every_time(body_estimator, skier, skier_person):
    (again,) = body_estimator(skier)
    np.testing.assert_array_equal(again.keypoints_2d, skier_person.keypoints_2d)
    np.testing.assert_array_equal(again.confidence, skier_person.confidence)


def test_video_follows_a_person_and_gives_one_number(body_estimator, skier):
    frames = [np.ascontiguousarray(np.roll(skier, 6 * step, axis=1)) for step in range(4)]
    calls = []
    search = body_estimator._search
    body_estimator._search = lambda *arguments: calls.append(1) or search(*arguments)
    try:
        tracked = list(body_estimator.track(iter(frames)))
    finally:
        del body_estimator._search
    assert [[person.track_id for person in found] for found in tracked] == [[0]] * 4
    assert len(calls) == 1
    first, last = tracked[0][0], tracked[3][0]
    is_both = np.minimum(first.confidence, last.confidence) >= 0.5
    moved = (last.keypoints_2d - first.keypoints_2d)[is_both]
    np.testing.assert_allclose(np.median(moved, axis=0), [18, 0], atol=3)


def test_missing_models_name_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"python -m tools\.fetch_models"):
        load_source.load_estimator(tmp_path)


@pytest.mark.parametrize(
    "fields", [{"turned": "often"}, {"tiles": (0.5,)}, {"overhang": 0.5}, {"num_threads": 0}, {"extra_looks": 9}]
)
def test_options_out_of_range_are_refused(fields):
    with pytest.raises(ValueError, match=next(iter(fields))):
        PerceptionOptions(**fields)


def test_inside_confidence_fades_at_the_edge():
    points = np.array([[50.0, 50], [99.5, 50], [94.5, 50], [100, 50], [-3, 50]])
    np.testing.assert_allclose(
        assembled_people.inside_confidence(points, 100, 100, strip=10.0), [1.0, 0.5, 0.75, 0.05, 0.05]
    )


def test_pixels_per_metre_of_a_known_scale(rng):
    world = rng.normal(0, 0.4, (33, 3)).astype(np.float32)
    region = crops.SquareRegion(center=(0.0, 0.0), size=1.0)
    landmarks = keypoints_blazepose.BodyLandmarks(
        keypoints_2d=world[:, :2] * 250 + 40,
        keypoints_3d=world,
        visibility=np.ones(33, np.float32),
        presence=np.ones(33, np.float32),
        score=1.0,
        region=region,
        next_region=region,
    )
    assert hand_hints.pixels_per_metre(landmarks, np.ones(33)) == pytest.approx(250, rel=1e-4)


def test_people_become_observations(lifter_people):
    observations = people.observations_from_people(lifter_people * 2)
    assert observations.batch_shape == (2,)
    assert observations.layout == "openpose67"
    with pytest.raises(ValueError, match="no people"):
        people.observations_from_people([])
