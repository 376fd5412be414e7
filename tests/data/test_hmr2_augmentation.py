"""Augmentation of 4DHumans: the published arrays, what mirrors and turns must keep, and how often what is drawn."""

import dataclasses

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from hardmo_jax.data import hmr2_augmentation as augmentation_module
from hardmo_jax.data.hmr2_augmentation import (
    PART_NAMES,
    Augmentation,
    Hmr2AugmentationOptions,
    TrainingPerson,
    augment,
    augmented_matrix,
    cut_down,
    draw_augmentation,
    draw_part,
    part_box,
)
from hardmo_jax.skeleton import layouts

#: As the published loader calls its functions.
PUBLISHED_PARTS = {
    "hips": "crop_to_hips",
    "shoulders": "crop_to_shoulders",
    "head": "crop_to_head",
    "torso": "crop_torso_only",
    "right_arm": "crop_rightarm_only",
    "left_arm": "crop_leftarm_only",
    "legs": "crop_legs_only",
    "right_leg": "crop_rightleg_only",
    "left_leg": "crop_leftleg_only",
}
CENTER, SIZE = np.array([230.0, 190.0]), 280.0


@pytest.fixture(scope="module")
def published(reference_data):
    file = reference_data.parent / "parity" / "preproc_hmr2_seed1.npz"
    if not file.is_file():
        pytest.skip(f"no reference arrays at {file}")
    return np.load(file, allow_pickle=False)


def person_of(published):
    pose = published["inp/pose"].astype(np.float64).reshape(24, 3)
    return TrainingPerson(
        keypoints_2d=published["inp/kp2"][:, :2].astype(np.float64),
        confidence=published["inp/kp2"][:, 2].astype(np.float64),
        keypoints_3d=published["inp/kp3"][:, :3].astype(np.float64),
        confidence_3d=published["inp/kp3"][:, 3].astype(np.float64),
        global_orient=pose[0],
        body_pose=pose[1:],
    )


def made_up(rng):
    return TrainingPerson(
        keypoints_2d=rng.uniform(0, 300, (44, 2)),
        confidence=rng.uniform(0.5, 1, 44),
        keypoints_3d=rng.normal(size=(44, 3)),
        confidence_3d=rng.uniform(0.5, 1, 44),
        global_orient=rng.normal(size=3),
        body_pose=rng.normal(size=(23, 3)),
    )


def published_augmentation(row):
    if len(row) == 1:
        return Augmentation()
    scale, degrees, is_flipped, red, green, blue, x, y = row.tolist()
    return Augmentation(
        shift=(x, y),
        scale=scale,
        angle=float(np.radians(degrees)),
        is_flipped=bool(is_flipped),
        colour=(red, green, blue),
    )


@pytest.mark.parametrize("name", ["none", "scale_rot", "flip", "flip_rot"])
def test_augmented_samples_are_the_published_ones(published, name, figure):
    def wanted(key):
        return published[f"get_example/{name}/{key}"]

    change = published_augmentation(wanted("aug"))
    image = published["inp/img_rgb"]
    matrix = augmented_matrix(CENTER, SIZE, change, width=image.shape[1])
    np.testing.assert_allclose(matrix, wanted("trans"), rtol=1e-6, atol=1e-9)
    crop, person = augment(image, CENTER, SIZE, person_of(published), change)
    error = np.abs(crop - wanted("img").transpose(1, 2, 0)).max()
    figure(f"HMR2 augmented crop {name}: {error:.1e} normalised units from the published one")
    assert error < 1e-6
    np.testing.assert_allclose(person.keypoints_2d, wanted("keypoints_2d")[:, :2], atol=1e-6)
    np.testing.assert_allclose(person.confidence, wanted("keypoints_2d")[:, 2], atol=1e-7)
    np.testing.assert_allclose(person.keypoints_3d, wanted("keypoints_3d")[:, :3], atol=1e-6)
    np.testing.assert_allclose(person.confidence_3d, wanted("keypoints_3d")[:, 3], atol=1e-7)
    np.testing.assert_allclose(person.body_pose.ravel(), wanted("smpl_params/body_pose"), atol=1e-6)
    ours, theirs = (Rotation.from_rotvec(turn) for turn in (person.global_orient, wanted("smpl_params/global_orient")))
    assert (ours * theirs.inv()).magnitude() < 1e-6


@pytest.mark.parametrize("part", PART_NAMES)
def test_boxes_of_parts_are_the_published_ones(published, part):
    person = person_of(published)
    box = part_box(part, person.keypoints_2d, person.confidence)
    np.testing.assert_allclose(box, published[f"extreme/{PUBLISHED_PARTS[part]}"], rtol=1e-6)
    center, size = cut_down(CENTER, SIZE, part, person.keypoints_2d, person.confidence)
    np.testing.assert_array_equal(center, box[:2])
    assert size == box[2:].max()


def test_parts_that_are_not_seen_or_tiny_leave_the_box(rng):
    person = made_up(rng)
    for confidence, points in (
        (np.zeros(44), person.keypoints_2d),
        (np.full(44, 0.01), person.keypoints_2d),
        (np.ones(44), np.full((44, 2), 50.0)),
    ):
        center, size = cut_down(CENTER, SIZE, "head", points, confidence)
        np.testing.assert_array_equal(center, CENTER)
        assert size == SIZE


def test_left_and_right_parts_are_mirror_images():
    flip = np.array(augmentation_module.flips.flip_permutation(layouts.get_layout("hmr2_44")))
    for part in PART_NAMES:
        other = {"left": "right", "right": "left"}.get(part.partition("_")[0], "")
        mirrored = f"{other}_{part.partition('_')[2]}" if other else part
        np.testing.assert_array_equal(
            augmentation_module.part_points(part)[flip], augmentation_module.part_points(mirrored)
        )


def test_two_mirrors_are_none(rng):
    image = rng.integers(0, 256, (200, 300, 3), dtype=np.uint8)
    person = made_up(rng)
    once = augmentation_module._mirrored(person, image.shape[1])
    twice = augmentation_module._mirrored(once, image.shape[1])
    for field in dataclasses.fields(person):
        np.testing.assert_allclose(getattr(twice, field.name), getattr(person, field.name), atol=1e-9)


@pytest.mark.parametrize("is_flipped", [False, True])
def test_keypoints_stay_on_what_they_mark(rng, is_flipped):
    """A white spot under a keypoint is under it in the crop as well."""
    image = np.zeros((400, 400, 3), np.uint8)
    person = made_up(rng)
    spots = rng.uniform(150, 250, (44, 2)).round()
    place = layouts.get_layout("hmr2_44").points.index("left_wrist")
    cv2.circle(image, tuple(spots[place].astype(int).tolist()), 2, (255, 255, 255), -1)
    person = dataclasses.replace(person, keypoints_2d=spots)
    change = Augmentation(shift=(0.05, -0.03), scale=1.2, angle=0.6, is_flipped=is_flipped)
    crop, after = augment(image, np.array([200.0, 200.0]), 240.0, person, change)
    bright = np.argwhere(crop[..., 0] > 1.5)[:, ::-1].mean(0)
    marked = layouts.get_layout("hmr2_44").points.index("right_wrist" if is_flipped else "left_wrist")
    np.testing.assert_allclose((after.keypoints_2d[marked] + 0.5) * 256, bright, atol=0.5)


def test_what_is_drawn_follows_the_options():
    rng = np.random.default_rng(0)
    options = Hmr2AugmentationOptions()
    drawn = [draw_augmentation(rng, options) for _ in range(4000)]
    angles = np.degrees([one.angle for one in drawn])
    assert np.mean(angles != 0) == pytest.approx(0.6, abs=0.03)
    assert np.abs(angles).max() <= 60 + 1e-9
    assert np.mean([one.is_flipped for one in drawn]) == pytest.approx(0.5, abs=0.03)
    scales, shifts, colours = (np.array([getattr(one, name) for one in drawn]) for name in ("scale", "shift", "colour"))
    assert scales.min() == pytest.approx(0.7)
    assert scales.max() == pytest.approx(1.3)
    assert np.abs(shifts).max() == pytest.approx(0.02)
    assert colours.min() > 0.8
    assert colours.max() < 1.2


def test_parts_are_drawn_by_what_is_seen():
    options = Hmr2AugmentationOptions(part_rate=1.0)
    points = layouts.get_layout("hmr2_44").points
    upper = np.array([not any(word in point for word in ("knee", "ankle")) for point in points], float)
    nothing = np.zeros(44)
    for confidence, shares in (
        (np.ones(44), augmentation_module.WHOLE_BODY_SHARES),
        (upper, augmentation_module.UPPER_BODY_SHARES),
    ):
        rng = np.random.default_rng(1)
        drawn = [draw_part(rng, confidence, options) for _ in range(3000)]
        found = [np.mean([one == part for one in drawn]) for part in PART_NAMES]
        np.testing.assert_allclose(found, shares, atol=0.03)
    assert draw_part(np.random.default_rng(2), nothing, options) is None
    never = Hmr2AugmentationOptions(part_rate=0.0)
    assert all(draw_part(np.random.default_rng(k), np.ones(44), never) is None for k in range(20))


@pytest.mark.parametrize("wrong", [{"flip_rate": 1.5}, {"scale": 1.0}, {"shift": -0.1}, {"colour": float("nan")}])
def test_options_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match="must"):
        Hmr2AugmentationOptions(**wrong)
