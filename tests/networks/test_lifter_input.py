"""What the lifter sees: against NumPy, under turns of the camera and scales of the picture, and with points missing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.networks import lifter_input
from hardmo_jax.skeleton import layouts

POINTS = layouts.get_layout(lifter_input.LAYOUT).points
NUM_POINTS = len(POINTS)
COUNT = 24
FOCAL, MIDDLE = np.array([900.0, 910.0]), np.array([631.0, 344.0])
#: Places of points that are known under another name: the root of the hand, the big toe, and knuckles.
OTHER_NAMES = {
    "hand_root": "wrist",
    "big_toe": "foot_index",
    "thumb2": "thumb_knuckle",
    "index1": "index_knuckle",
    "pinky1": "pinky_knuckle",
}


@pytest.fixture(scope="module")
def people():
    """Points of people before a camera, (N, 65, 3): some far at the side, all about as large as a person."""
    rng = np.random.default_rng(1)
    place = np.stack([rng.uniform(-1.5, 1.5, COUNT), rng.uniform(-0.8, 0.8, COUNT), rng.uniform(3, 7, COUNT)], -1)
    return place[:, None] + rng.normal(size=(COUNT, NUM_POINTS, 3)) * np.array([0.25, 0.45, 0.2])


@pytest.fixture(scope="module")
def confidence():
    rng = np.random.default_rng(2)
    return rng.uniform(0.2, 1, (COUNT, NUM_POINTS)) * (rng.random((COUNT, NUM_POINTS)) > 0.2)


@jax.jit
def _encode(keypoints_2d, confidence, focal_length, principal_point):
    camera = Camera(focal_length=focal_length, principal_point=principal_point)
    return lifter_input.encode(keypoints_2d, confidence, camera)


def encode(keypoints_2d, confidence, focal_length=FOCAL, principal_point=MIDDLE, dtype=np.float64):
    """Features of each point, features of the whole, rotation and size."""
    with jax.enable_x64(dtype is np.float64):
        values = [np.asarray(value, dtype) for value in (keypoints_2d, confidence, focal_length, principal_point)]
        found = _encode(*values)
        features, rotation, size = (np.asarray(value) for value in (found.features, found.rotation, found.size))
    assert features.shape == (*values[0].shape[:-2], lifter_input.NUM_FEATURES)
    assert np.isfinite(features).all()
    return features[..., :-3].reshape(*features.shape[:-1], NUM_POINTS, 4), features[..., -3:], rotation, size


def project(points, focal_length=FOCAL, principal_point=MIDDLE):
    return points[..., :2] / points[..., 2:] * focal_length + principal_point


def turn(axis_angle):
    """Rotation matrix, by Rodrigues' formula."""
    angle = np.linalg.norm(axis_angle)
    if angle == 0:
        return np.eye(3)
    x, y, z = axis_angle / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def turn_to_sight(ray):
    """The smallest rotation of a ray to (0, 0, 1): about the axis that is at right angles to both."""
    ray = ray / np.linalg.norm(ray)
    axis = np.cross(ray, [0.0, 0.0, 1.0])
    sine = np.linalg.norm(axis)
    return np.eye(3) if sine == 0 else turn(axis / sine * np.arctan2(sine, ray[2]))


def body_weights(confidence):
    is_hand = np.array([(layouts.part_of(point) or "").endswith("hand") for point in POINTS])
    return confidence * np.where(is_hand, 1e-3, 1.0)


# ---- the camera that looks at the person ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def looks():
    rng = np.random.default_rng(3)
    directions = np.concatenate([rng.normal(size=(30, 2)) * 0.7, [[0, 0], [1e-9, 0], [0, -1e-7], [40, -30], [3, 0]]])
    with jax.enable_x64(True):
        return directions, np.asarray(jax.jit(lifter_input.looking_at)(jnp.asarray(directions)))


def test_looking_at_is_a_proper_rotation(looks):
    _, found = looks
    np.testing.assert_allclose(found @ found.swapaxes(-1, -2), np.broadcast_to(np.eye(3), found.shape), atol=1e-14)
    np.testing.assert_allclose(np.linalg.det(found), 1, atol=1e-14)


def test_looking_at_turns_the_ray_to_the_line_of_sight_by_the_smallest_angle(looks):
    for direction, found in zip(*looks, strict=True):
        ray = np.append(direction, 1.0)
        np.testing.assert_allclose(found @ ray, [0, 0, np.linalg.norm(ray)], atol=1e-13)
        np.testing.assert_allclose(found, turn_to_sight(ray), atol=1e-13)


# ---- features ---------------------------------------------------------------------------------------------------


def test_features_are_those_of_numpy(people, confidence):
    pixels = project(people)
    per_point, whole, rotation, size = encode(pixels, confidence)
    weight = body_weights(confidence)
    weight = weight / weight.sum(-1, keepdims=True)
    for person in range(COUNT):
        plane = (pixels[person] - MIDDLE) / FOCAL
        centre = weight[person] @ plane
        expected_rotation = turn_to_sight(np.append(centre, 1.0))
        rays = np.concatenate([plane, np.ones((NUM_POINTS, 1))], -1) @ expected_rotation.T
        plane = rays[:, :2] / rays[:, 2:]
        expected_size = np.sqrt(weight[person] @ np.sum(plane**2, -1))
        is_there = confidence[person] > 0
        np.testing.assert_allclose(rotation[person], expected_rotation, atol=1e-12)
        np.testing.assert_allclose(size[person], expected_size, rtol=1e-12)
        coordinates = np.clip(plane / expected_size, -6, 6) * is_there[:, None]
        np.testing.assert_allclose(per_point[person, :, :2], coordinates, atol=1e-11)
        np.testing.assert_array_equal(per_point[person, :, 2], confidence[person])
        np.testing.assert_array_equal(per_point[person, :, 3], is_there)
        np.testing.assert_allclose(whole[person], [(np.log(expected_size) + 2.3) / 0.5, *centre], atol=1e-12)


def test_coordinates_are_of_the_size_of_one(people, confidence):
    per_point, *_ = encode(project(people), confidence)
    seen = per_point[confidence > 0][:, :2]
    assert 0.5 < np.sqrt(np.mean(seen**2)) < 1.5


def test_scaling_picture_and_focal_length_together_changes_nothing(people, confidence):
    pixels = project(people)
    before = encode(pixels, confidence)
    for factor in (0.25, 3.0):
        after = encode(pixels * factor, confidence, FOCAL * factor, MIDDLE * factor)
        for ours, theirs in zip(after, before, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_moving_picture_and_principal_point_together_changes_nothing(people, confidence):
    pixels, shift = project(people), np.array([-310.0, 77.0])
    before, after = encode(pixels, confidence), encode(pixels + shift, confidence, FOCAL, MIDDLE + shift)
    for ours, theirs in zip(after, before, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_a_camera_for_all_is_that_camera_for_each(people, confidence):
    pixels = project(people)
    each = encode(pixels, confidence, np.tile(FOCAL, (COUNT, 1)), np.tile(MIDDLE, (COUNT, 1)))
    for ours, theirs in zip(each, encode(pixels, confidence), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-13)


def test_size_is_that_of_the_person_over_the_distance(people, confidence):
    """Twice as far away (with everything about the person twice as far) is half as large."""
    near = encode(project(people), confidence)
    far = encode(project(people * np.array([1, 1, 2.0])), confidence)
    ratio = far[3] / near[3]
    assert np.all(np.abs(ratio - 0.5) < 0.06)
    # Sizes that nobody has are kept at the ends of those that people have.
    is_usual = np.abs(far[1][:, 0]) < 1.9
    assert is_usual.sum() > 5
    np.testing.assert_allclose((far[1] - near[1])[is_usual, 0], np.log(ratio[is_usual]) / 0.5, atol=1e-12)


# ---- turns of the camera ----------------------------------------------------------------------------------------

#: The mean of image points is not the image of a fixed place in space: by up to so much a degree, in sizes of the
#: person, do coordinates change when the camera is turned. Not looking at the person would cost a size every 6 degrees.
PERSPECTIVE = 0.005


def turned_along_the_line_to_the_person(people, degrees):
    """Points seen by cameras that were turned, in the plane of the line of sight and the person, about their centre."""
    rays = people.mean(1)
    axes = np.cross(rays, [0.0, 0.0, 1.0])
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    turns = np.stack([turn(axis * np.radians(degrees)) for axis in axes])
    return turns, np.einsum("nij,nkj->nki", turns, people)


@pytest.mark.parametrize("degrees", [-20.0, -5.0, 8.0])
def test_turning_the_camera_changes_direction_and_rotation_but_no_point(people, confidence, degrees, figure):
    turns, moved = turned_along_the_line_to_the_person(people, degrees)
    before, after = encode(project(people), confidence), encode(project(moved), confidence)
    seen = (confidence > 0)[..., None] & (np.abs(before[0][..., :2]) < 3)
    apart = np.abs(after[0] - before[0])[..., :2][np.broadcast_to(seen, before[0][..., :2].shape)]
    figure(f"lifter input: a camera turned by {degrees:g} degrees moves points by at most {apart.max():.3f} sizes")
    tolerance = PERSPECTIVE * abs(degrees)
    assert apart.max() < tolerance
    assert np.abs(np.log(after[3] / before[3])).max() < tolerance
    # What the lifter says of the person, in the axes of the camera that looks at it, is the same in the world.
    aligned = after[2] @ turns @ before[2].swapaxes(-1, -2)
    assert np.abs(aligned - np.eye(3)).max() < tolerance
    moved_direction = np.abs(after[1][:, 1:] - before[1][:, 1:]).max(-1)
    assert np.all(moved_direction > 0.5 * np.radians(abs(degrees)))


def test_any_turn_of_the_camera_only_rolls_the_points(people, confidence):
    """Turned across the line to the person the view is the same but for a turn about the line of sight."""
    rng = np.random.default_rng(4)
    angles = rng.uniform(-1, 1, (COUNT, 3)) * [0.15, 0.15, 1.0]
    turns, tolerance = np.stack([turn(angle) for angle in angles]), PERSPECTIVE * np.degrees(0.2)
    before = encode(project(people), confidence)
    after = encode(project(np.einsum("nij,nkj->nki", turns, people)), confidence)
    roll = after[2] @ turns @ before[2].swapaxes(-1, -2)
    assert np.abs(roll[:, 2, 2] - 1).max() < tolerance**2
    rolled = np.einsum("nij,nkj->nki", roll[:, :2, :2], before[0][..., :2])
    seen = (confidence > 0)[..., None] & (np.abs(rolled) < 3) & (np.abs(before[0][..., :2]) < 3)
    assert np.abs(rolled - after[0][..., :2])[seen].max() < tolerance


# ---- missing points ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("far", [0.0, 1e6, -1e25])
def test_coordinates_of_missing_points_change_nothing(people, confidence, far, dtype):
    pixels = project(people)
    before = encode(pixels, confidence, dtype=dtype)
    after = encode(np.where((confidence > 0)[..., None], pixels, far), confidence, dtype=dtype)
    for ours, theirs in zip(after, before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_nobody_at_all_is_finite(people):
    per_point, whole, rotation, size = encode(project(people), np.zeros((COUNT, NUM_POINTS)))
    assert not per_point.any()
    np.testing.assert_array_equal(rotation, np.broadcast_to(np.eye(3), rotation.shape))
    assert np.all(size > 0)
    np.testing.assert_array_equal(whole[:, 1:], 0)


def test_fingers_alone_count_where_there_is_nothing_else(people):
    is_hand = np.array([(layouts.part_of(point) or "").endswith("hand") for point in POINTS])
    both, hands = np.ones((COUNT, NUM_POINTS)), np.tile(is_hand, (COUNT, 1)).astype(float)
    pixels = project(people)
    plane = (pixels - MIDDLE) / FOCAL
    np.testing.assert_allclose(encode(pixels, hands)[1][:, 1:], plane[:, is_hand].mean(1), atol=1e-9)
    np.testing.assert_allclose(encode(pixels, both)[1][:, 1:], plane[:, ~is_hand].mean(1), atol=5e-3)


def test_outliers_are_kept_within_six_sizes(people):
    pixels = project(people)
    pixels[:, 0] += 1e5
    per_point, *_ = encode(pixels, np.ones((COUNT, NUM_POINTS)))
    assert np.abs(per_point[..., :2]).max() <= 6


def test_derivative_by_keypoints_is_that_of_finite_differences(people, confidence):
    rng = np.random.default_rng(6)
    pixels, direction = project(people), rng.normal(size=(COUNT, NUM_POINTS, 2))

    @jax.jit
    def slope(pixels):
        def features(pixels):
            return lifter_input.encode(pixels, confidence, Camera(focal_length=FOCAL, principal_point=MIDDLE)).features

        return jax.jvp(features, (pixels,), (direction,))[1]

    with jax.enable_x64(True):
        found = np.asarray(slope(jnp.asarray(pixels)))
    step = 1e-4
    ahead, behind = (
        np.concatenate([part[0].reshape(COUNT, -1), part[1]], -1)
        for part in (encode(pixels + sign * step * direction, confidence) for sign in (1, -1))
    )
    np.testing.assert_allclose(found, (ahead - behind) / (2 * step), atol=1e-8)


# ---- other layouts ----------------------------------------------------------------------------------------------


def numbered(layout, batch=(2, 3)):
    """Points whose coordinates say which they are, of people who differ."""
    names = layouts.get_layout(layout).points
    number = np.arange(len(names), dtype=np.float64)
    person = np.arange(np.prod(batch)).reshape(batch)[..., None]
    points = np.stack([number + 1000 * person, -number - 7 * person], -1)
    return names, points, np.broadcast_to((number + 1) / (len(names) + 1), points.shape[:-1])


def source_of(point, names):
    """Name under which a layout has a point of the lifter's, or None."""
    side, _, rest = point.partition("_")
    if point in names:
        return point
    other = f"{side}_{OTHER_NAMES.get(rest)}"
    return other if other in names else None


@pytest.mark.parametrize(
    ("layout", "lacks"),
    [
        ("openpose25", 40), ("openpose67", 0), ("coco17", 46), ("coco_feet23", 40), ("blazepose33", 36),
        ("coco_wholebody133", 0), ("coco_wholebody65", 0),
    ],
)  # fmt: skip
def test_points_of_other_layouts_are_found_by_name(layout, lacks):
    names, points, confidence = numbered(layout)
    found, found_confidence = lifter_input.from_layout(points, confidence, layout)
    assert found.shape == (2, 3, NUM_POINTS, 2)
    missing = 0
    for place, point in enumerate(POINTS):
        source = source_of(point, names)
        if source is None:
            missing += 1
            np.testing.assert_array_equal(found_confidence[..., place], 0)
        else:
            np.testing.assert_array_equal(found[..., place, :], points[..., names.index(source), :])
            np.testing.assert_array_equal(found_confidence[..., place], confidence[..., names.index(source)])
    assert missing == lacks


def test_sides_are_never_exchanged():
    for layout in ("openpose67", "coco17", "blazepose33"):
        names = layouts.get_layout(layout).points
        for point in POINTS:
            source = source_of(point, names)
            assert source is None or source.startswith(("left_", "right_")) == point.startswith(("left_", "right_"))
            assert source is None or source.partition("_")[0] == point.partition("_")[0]


@pytest.mark.parametrize("layout", ["openpose67", "blazepose33"])
def test_order_of_a_layouts_points_does_not_matter(layout, monkeypatch):
    names, points, confidence = numbered(layout)
    order = np.random.default_rng(5).permutation(len(names))
    other = layouts.KeypointLayout(name="other", points=tuple(names[index] for index in order))
    monkeypatch.setitem(layouts.LAYOUTS, "other", other)
    found, found_confidence = lifter_input.from_layout(points[..., order, :], confidence[..., order], "other")
    expected, expected_confidence = lifter_input.from_layout(points, confidence, layout)
    np.testing.assert_array_equal(found_confidence, expected_confidence)
    np.testing.assert_array_equal(found[found_confidence > 0], expected[found_confidence > 0])


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_points_that_are_no_numbers_count_as_missing(bad):
    _, points, confidence = numbered("openpose67", (2,))
    points, confidence = points.copy(), confidence.copy()
    before = lifter_input.from_layout(points, confidence, "openpose67")
    names = layouts.get_layout("openpose67").points
    points[0, names.index("nose"), 1] = bad
    confidence[1, names.index("left_knee")] = bad
    found, found_confidence = lifter_input.from_layout(points, confidence, "openpose67")
    assert np.isfinite(found).all()
    assert np.isfinite(found_confidence).all()
    is_lost = np.zeros((2, NUM_POINTS), bool)
    is_lost[0, POINTS.index("nose")] = is_lost[1, POINTS.index("left_knee")] = True
    np.testing.assert_array_equal(found_confidence, np.where(is_lost, 0, before[1]))
    np.testing.assert_array_equal(found[~is_lost], before[0][~is_lost])


def test_unknown_layouts_are_named():
    with pytest.raises(KeyError, match="openpose25"):
        lifter_input.from_layout(np.zeros((25, 2)), np.zeros(25), "openpose_25")
