"""Crops of regressors: the published arrays, the packages that the published loaders call, and what is refused."""

import dataclasses
import time

import cv2
import jax
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from hardmo_jax.geometry.crop_cameras import CropBox
from hardmo_jax.perception import crop_rules, crop_sampling, regressor_crops
from hardmo_jax.perception.crop_rules import CLIFF, HMR, HMR2, PROHMR

#: Normalised units; the arrays are float32, of values up to 2.7.
PUBLISHED = 1e-6
#: Grey values: the published blur is in double precision, this one in single.
BLURRED = 2e-4
RULES = (HMR2, HMR, PROHMR, CLIFF)


@pytest.fixture(scope="module")
def published(reference_data):
    file = reference_data.parent / "parity" / "preproc_hmr2_seed1.npz"
    if not file.is_file():
        pytest.skip(f"no reference arrays at {file}")
    return np.load(file, allow_pickle=False)


def picture(rng, height, width, blur=1.5):
    noise = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), blur) if blur else noise


def raw(crops, rule):
    """Crops before normalisation, as whole numbers where they were."""
    return (crops.image.astype(np.float64) * rule.std + rule.mean) * 255


def as_box(center, size):
    return CropBox(center=np.array([center], np.float64), size=np.array([size], np.float64))


# Boxes


def test_hmr2_boxes_are_the_published_ones(published):
    boxes = crop_rules.crop_boxes(published["inp/boxes_xyxy"], HMR2)
    np.testing.assert_array_equal(boxes.center, published["vitdet/box_center"])
    np.testing.assert_array_equal(boxes.size, published["vitdet/box_size"])


@pytest.mark.parametrize(
    ("rule", "tall", "wide"), [(HMR2, 300, 400), (HMR, 360, 360), (PROHMR, 360, 360), (CLIFF, 330, 440)]
)
def test_boxes_follow_the_rule(rule, tall, wide):
    boxes = crop_rules.crop_boxes(np.array([[10.0, 20, 110, 320], [10, 20, 310, 120]]), rule)
    np.testing.assert_allclose(boxes.size, [tall, wide], rtol=1e-6)
    np.testing.assert_allclose(boxes.center, [[60, 170], [160, 70]])


def test_rules_are_found_by_name_and_the_closest_is_named():
    assert [crop_rules.crop_rule(rule.name) for rule in RULES] == list(RULES)
    with pytest.raises(KeyError, match="did you mean 'hmr2'"):
        crop_rules.crop_rule("hmr2a")


@pytest.mark.parametrize("wrong", [{"size": (256, 192)}, {"growth": 0.0}, {"std": (1.0, 0.0, 1.0)}])
def test_rules_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValueError, match=r"square|positive"):
        dataclasses.replace(HMR2, **wrong)


# HMR2


def test_hmr2_demo_crops_are_the_published_ones(published, figure):
    crops = regressor_crops.cut_people(published["inp/img_rgb"], published["inp/boxes_xyxy"], HMR2)
    wanted = published["vitdet/img"].transpose(0, 2, 3, 1)
    assert crops.image.dtype == np.float32
    assert crops.image.shape == wanted.shape
    error = np.abs(crops.image - wanted).max()
    np.testing.assert_array_equal(crops.image_size, published["vitdet/img_size"])
    figure(f"HMR2 demo crops: {error:.1e} normalised units from the published ones")
    assert error < PUBLISHED


def test_hmr2_training_crops_are_the_published_ones(published, figure):
    matrix = published["get_example/none/trans"]
    size = float(published["get_example/none/bbox_size"])
    center = (128 - matrix[:, 2]) / np.diag(matrix)
    rule = dataclasses.replace(HMR2, sampling="warp")
    crops = regressor_crops.cut_boxes(published["inp/img_rgb"], as_box(center, size), rule)
    error = np.abs(crops.image[0] - published["get_example/none/img"].transpose(1, 2, 0)).max()
    figure(f"HMR2 training crop: {error:.1e} normalised units from the published one")
    assert error < PUBLISHED


def as_demo(image, center, size):
    """The blur and warp of the demo by the calls it makes: scikit-image's blur is SciPy's, of the whole picture."""
    shrink = np.float32(size) / np.float32(256) / np.float32(2)
    assert shrink > 1.1
    spread = float((shrink - 1) / 2)
    blurred = ndimage.gaussian_filter(image.astype(np.float64), [spread, spread, 0], mode="nearest", truncate=4.0)
    matrix = crop_sampling.affine_from_box(np.asarray(center), size, 256)
    return cv2.warpAffine(blurred, matrix, (256, 256), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)


@pytest.mark.parametrize(
    ("center", "size"),
    [
        ((600.3, 450.7), 900.1),
        ((600.5, 450.0), 640.0),
        ((611.1, 399.9), 563.3),
        ((90.25, 800.1), 1500.0),
        ((1100.0, -20.0), 700.7),
        ((600.0, 450.0), 3333.3),
    ],
)
def test_blurred_crops_are_those_of_the_whole_picture_blurred(rng, center, size, figure):
    image = picture(rng, 900, 1200)
    ours = crop_sampling.sample_crop(image, np.array(center), size, HMR2)
    error = np.abs(ours - as_demo(image, center, size)).max()
    figure(f"HMR2 blur, box {size:g} at {center}: {error:.1e} grey values from SciPy and OpenCV")
    assert error < BLURRED


def test_many_blurred_boxes_are_those_of_the_whole_picture_blurred(rng):
    """Positions are rounded to 1/32 of a pixel: every box has some that are nearly halfway."""
    image = picture(rng, 300, 400, blur=0)
    for _ in range(40):
        center, size = np.float32(rng.uniform([0, 0], [400, 300])), float(np.float32(rng.uniform(564, 1200)))
        ours = crop_sampling.sample_crop(image, center, size, HMR2)
        np.testing.assert_allclose(ours, as_demo(image, center, size), atol=BLURRED)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize("size", [40.0, 150.5, 700.0])
def test_what_lies_far_from_the_box_changes_nothing(rng, rule, size):
    image = picture(rng, 1200, 1400)
    other = picture(rng, 1200, 1400)
    center = np.array([701.3, 598.6])
    near = int(size / 2 + 20)
    rows, columns = slice(598 - near, 599 + near), slice(701 - near, 702 + near)
    other[rows, columns] = image[rows, columns]
    ours, theirs = (crop_sampling.sample_crop(some, center, size, rule) for some in (image, other))
    np.testing.assert_array_equal(ours, theirs)


def test_pictures_beyond_what_opencv_counts_are_cut_as_well(rng):
    wide = np.zeros((40, 40_000, 3), np.uint8)
    wide[:, 39_900:] = picture(rng, 40, 100)
    beside = np.ascontiguousarray(wide[:, 39_800:])
    for size in (30.0, 600.0):
        ours = crop_sampling.sample_crop(wide, np.array([39_950.0, 20.0]), size, HMR2)
        theirs = crop_sampling.sample_crop(beside, np.array([150.0, 20.0]), size, HMR2)
        np.testing.assert_allclose(ours, theirs, atol=1.0)


# HMR and CLIFF


def as_spin(image, center, scale, res=224):
    """SPIN's crop in plain NumPy and Pillow; what `scipy.misc.imresize` did to floats is written out."""
    side = 200 * scale
    matrix = np.diag([res / side, res / side, 1.0])
    matrix[:2, 2] = res * (-np.asarray(center) / side + 0.5)
    back = np.linalg.inv(matrix)
    low = np.dot(back, [0, 0, 1])[:2].astype(int)
    high = np.dot(back, [res, res, 1])[:2].astype(int)
    canvas = np.zeros((high[1] - low[1], high[0] - low[0], 3))
    for row in range(max(low[1], 0), min(high[1], image.shape[0])):
        for column in range(max(low[0], 0), min(high[0], image.shape[1])):
            canvas[row - low[1], column - low[0]] = image[row, column]
    stretched = (canvas - canvas.min()) * (255 / ((canvas.max() - canvas.min()) or 1))
    stretched = (stretched.clip(0, 255) + 0.5).astype(np.uint8)
    return np.asarray(Image.fromarray(stretched).resize((res, res), Image.Resampling.BILINEAR))


def as_cliff(image, center, scale, res=(256, 192)):
    """CLIFF's crop in plain NumPy and OpenCV."""
    height = 200 * scale
    width = height / (res[0] / res[1])
    matrix = np.diag([res[1] / width, res[0] / height, 1.0])
    matrix[0, 2], matrix[1, 2] = res[1] * (-center[0] / width + 0.5), res[0] * (-center[1] / height + 0.5)
    back = np.linalg.inv(matrix)
    low = [round(value) for value in np.dot(back, [0, 0, 1])[:2]]
    high = [round(value) for value in np.dot(back, [res[1], res[0], 1])[:2]]
    canvas = np.zeros((high[1] - low[1], high[0] - low[0], 3), np.float32)
    for row in range(max(low[1], 0), min(high[1], image.shape[0])):
        for column in range(max(low[0], 0), min(high[0], image.shape[1])):
            canvas[row - low[1], column - low[0]] = image[row, column]
    return cv2.resize(canvas, (res[1], res[0]))


CENTERS = [(80.0, 60.0), (75.4, 61.7), (3.5, 2.5), (158.2, 119.9), (-9.3, 40.0)]
SIZES = [30.0, 77.7, 112.0, 224.0, 448.0, 520.9]


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("size", SIZES)
def test_hmr_crops_are_those_of_pillow_to_the_last_digit(rng, center, size):
    image = np.clip(picture(rng, 120, 160), 20, 200)
    ours = crop_sampling.sample_crop(image, np.array(center), size, HMR)
    np.testing.assert_array_equal(ours, as_spin(image, center, size / 200))


@pytest.mark.parametrize("center", CENTERS)
@pytest.mark.parametrize("size", [40.0, *SIZES])
def test_cliff_crops_are_those_of_opencv(rng, center, size):
    image = picture(rng, 120, 160, blur=0)
    ours = crop_sampling.sample_crop(image, np.array(center), size, CLIFF)
    np.testing.assert_allclose(ours, as_cliff(image, center, size / 200), atol=2e-4)


def test_contrast_is_stretched_by_the_crop_alone_and_only_where_the_rule_says(rng):
    image = np.full((200, 200, 3), 77, np.uint8)
    image[80:120, 80:120] = np.clip(picture(rng, 40, 40), 90, 160)
    box = as_box((100, 100), 60.0)
    stretched = raw(regressor_crops.cut_boxes(image, box, HMR), HMR)
    plain_rule = dataclasses.replace(HMR, stretches_contrast=False)
    plain = raw(regressor_crops.cut_boxes(image, box, plain_rule), plain_rule)
    assert stretched.min() == pytest.approx(0, abs=1e-3)
    assert stretched.max() > 250
    assert plain.min() == pytest.approx(77, abs=1e-3)
    assert plain.max() <= 160.001


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_one_colour_stays_itself_and_outside_is_black(rule):
    rule = dataclasses.replace(rule, stretches_contrast=False)
    image = np.full((100, 100, 3), (10, 120, 250), np.uint8)
    values = raw(regressor_crops.cut_boxes(image, as_box((50, 50), 60.0), rule), rule)
    np.testing.assert_allclose(values, np.broadcast_to([10, 120, 250], values.shape), atol=1e-3)
    beyond = raw(regressor_crops.cut_boxes(image, as_box((50, 50), 900.0), rule), rule)
    np.testing.assert_allclose(beyond[0, :20], 0, atol=1e-3)


def test_normalisation_is_per_channel():
    image = np.full((64, 64, 3), (255, 0, 128), np.uint8)
    crops = regressor_crops.cut_boxes(image, as_box((32, 32), 30.0), HMR2)
    wanted = (np.array([1, 0, 128 / 255]) - HMR2.mean) / HMR2.std
    np.testing.assert_allclose(crops.image[0, 128, 128], wanted, rtol=1e-5)


# Many, none and broken


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_people_are_cut_as_if_alone_and_nobody_is_no_error(rng, rule):
    image = picture(rng, 240, 320)
    bbox = np.array([[20.0, 30, 90, 200], [150, 10, 310, 230], [-30, 100, 60, 300]])
    before = image.copy()
    together = regressor_crops.cut_people(image, bbox, rule)
    alone = [regressor_crops.cut_people(image, one[None], rule) for one in bbox]
    joined = jax.tree.map(lambda *leaves: np.concatenate(leaves), *alone)
    for ours, theirs in zip(jax.tree.leaves(together), jax.tree.leaves(joined), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(image, before)
    nobody = regressor_crops.cut_people(image, np.zeros((0, 4)), rule)
    assert nobody.image.shape == (0, *rule.size, 3)
    assert nobody.image_size.shape == (0, 2)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@pytest.mark.parametrize(
    ("box", "told"),
    [
        ([10, 10, 10, 50], "no width"),
        ([50, 10, 10, 50], "no width"),
        ([10, np.nan, 20, 50], "not a number"),
        ([10, 10, np.inf, 50], "not a number"),
        ([-90, 10, -20, 50], "outside"),
        ([10, 300, 60, 500], "outside"),
        ([10, 10, 10.5, 11], "less than"),
        ([-1e7, -1e7, 1e7, 1e7], "more than"),
        ([1e30, 1e30, 3e38, 3e38], "outside|more than|not a number"),
    ],
)
def test_boxes_that_show_nobody_are_told(rng, rule, box, told):
    image = picture(rng, 100, 80)
    bbox = np.array([[5.0, 5, 60, 90], box])
    faults = crop_rules.box_faults(bbox, rule, width=80, height=100)
    assert faults[0] is None
    assert faults[1] is not None
    with pytest.raises(ValueError, match=f"box 1: .*({told})"):
        regressor_crops.cut_people(image, bbox, rule)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_crops_from_a_file_are_checked_as_well(rng, rule):
    image = picture(rng, 100, 80)
    for center, size in [((40, 50), 0.0), ((np.nan, 50), 30.0), ((500, 50), 30.0), ((40, 50), 1e9)]:
        with pytest.raises(ValueError, match="box 0"):
            regressor_crops.cut_boxes(image, as_box(center, size), rule)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_picture_of_one_pixel_is_cut_or_refused(rule):
    image = np.full((1, 1, 3), 200, np.uint8)
    bbox = np.array([[-4.0, -4, 5, 5]])
    crops = regressor_crops.cut_people(image, bbox, rule)
    assert np.isfinite(crops.image).all()
    assert raw(crops, rule).max() > 90


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((50, 50), np.uint8),
        np.zeros((50, 50, 1), np.uint8),
        np.zeros((50, 50, 4), np.uint8),
        np.zeros((50, 50, 3), np.float32),
        np.zeros((0, 50, 3), np.uint8),
    ],
    ids=["grey", "one channel", "alpha", "floats", "empty"],
)
def test_other_pictures_are_refused(image):
    with pytest.raises(ValueError, match="RGB bytes"):
        regressor_crops.cut_people(image, np.array([[5.0, 5, 30, 30]]), HMR2)
    with pytest.raises(ValueError, match="RGB bytes"):
        regressor_crops.cut_boxes(image, as_box((20, 20), 30.0), HMR2)


def test_boxes_of_another_shape_are_refused(rng):
    with pytest.raises(ValueError, match="bbox"):
        regressor_crops.cut_people(picture(rng, 40, 40), np.array([5.0, 5, 30, 30]), HMR2)


def test_small_boxes_of_large_pictures_are_quick(rng, figure):
    image = np.tile(picture(rng, 300, 400), (10, 10, 1))
    bbox = np.array([[1000.0, 1000, 1200, 1600]])
    for rule in RULES:
        regressor_crops.cut_people(image, bbox, rule)
        start = time.perf_counter()
        regressor_crops.cut_people(image, bbox, rule)
        taken = time.perf_counter() - start
        figure(f"{rule.name}: a box of 200 x 600 of 12 megapixels in {1e3 * taken:.1f} ms")
        # Blurring all of the picture takes over a second.
        assert taken < 0.5
