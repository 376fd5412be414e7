"""Weak cameras to translations and back: the published arrays, round trips, and the same place in the picture."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import test_util

from hardmo_jax.geometry import cameras, crop_cameras
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.geometry.crop_cameras import CropBox

#: Relative, in float64, against arithmetic in float64.
EXACT = 1e-9
#: Relative; the published arrays are float32.
SINGLE = 3e-7


@pytest.fixture(scope="module")
def published(reference_data):
    file = reference_data.parent / "parity" / "hmr2_small_seed1.npz"
    if not file.is_file():
        pytest.skip(f"no reference arrays at {file}")
    return np.load(file, allow_pickle=False)


def drawn(rng, *batch):
    """Weak cameras, boxes and cameras of people somewhere in a picture."""
    weak = np.stack([rng.uniform(0.3, 1.2, batch), *rng.normal(0, 0.2, (2, *batch))], -1)
    box = CropBox(center=rng.uniform(0, 1000, (*batch, 2)), size=rng.uniform(60, 900, batch))
    camera = Camera(
        focal_length=np.broadcast_to(rng.uniform(500, 3000, (*batch, 1)), (*batch, 2)),
        principal_point=rng.uniform(300, 700, (*batch, 2)),
    )
    return weak, box, camera


def published_box(published, dtype=np.float64):
    return CropBox(center=published["inp/box_center"].astype(dtype), size=published["inp/box_size"].astype(dtype))


def test_crop_translation_is_the_published_one(published):
    ours = crop_cameras.crop_transl(published["out/pred_cam"], crop_size=256)
    assert ours.dtype == jnp.float32
    np.testing.assert_allclose(ours, published["out/pred_cam_t"], rtol=SINGLE)


def test_full_translation_is_the_published_one(published):
    camera = crop_cameras.hmr2_camera(published["inp/img_size"])
    ours = crop_cameras.full_transl(published["out/pred_cam"], published_box(published, np.float32), camera)
    np.testing.assert_allclose(ours, published["out/pred_cam_t_full"], rtol=SINGLE)


def test_translations_in_double_are_the_published_formulas(published, figure):
    """The arrays of the network are in float32; the formulas themselves are held to float64 here, in plain NumPy."""
    weak = published["out64/pred_cam"]
    scale, x, y = weak.T
    width, height = published["inp/img_size"].astype(np.float64).T
    center_x, center_y = published["inp/box_center"].astype(np.float64).T
    side = published["inp/box_size"].astype(np.float64)
    focal_length = 5000 / 256 * np.maximum(width, height)
    pixels = side * scale + 1e-9
    crop = np.stack([x, y, 2 * 5000 / (256 * scale + 1e-9)], -1)
    full = np.stack(
        [x + 2 * (center_x - width / 2) / pixels, y + 2 * (center_y - height / 2) / pixels, 2 * focal_length / pixels],
        -1,
    )
    with jax.enable_x64(True):
        ours_crop = np.asarray(crop_cameras.crop_transl(weak, crop_size=256))
        camera = crop_cameras.hmr2_camera(published["inp/img_size"].astype(np.float64))
        ours_full = np.asarray(crop_cameras.full_transl(weak, published_box(published), camera))
    assert ours_crop.dtype == ours_full.dtype == np.float64
    np.testing.assert_allclose(ours_crop, crop, rtol=EXACT)
    np.testing.assert_allclose(ours_full, full, rtol=EXACT)
    # And the published float32 ones are these, as far as float32 goes.
    np.testing.assert_allclose(published["out/pred_cam_t"], crop, rtol=2e-6)
    np.testing.assert_allclose(published["out/pred_cam_t_full"], full, rtol=2e-6)
    worst = max(np.abs(ours_crop / crop - 1).max(), np.abs(ours_full / full - 1).max())
    figure(f"crop cameras: {worst:.1e} relative from the published formulas in float64")


def test_crop_projection_is_the_published_one(published):
    ours = crop_cameras.project_to_crop(published["out/pred_keypoints_3d"], published["out/pred_cam_t"], crop_size=256)
    np.testing.assert_allclose(ours, published["out/pred_keypoints_2d"], atol=1e-7)


@pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 3)])
def test_weak_cameras_come_back(batch, rng):
    weak, box, camera = drawn(rng, *batch)
    with jax.enable_x64(True):
        full = crop_cameras.full_transl(weak, box, camera)
        crop = crop_cameras.crop_transl(weak, crop_size=224)
        np.testing.assert_allclose(crop_cameras.weak_camera_from_full_transl(full, box, camera), weak, atol=1e-12)
        np.testing.assert_allclose(crop_cameras.weak_camera_from_crop_transl(crop, crop_size=224), weak, atol=1e-12)
        points = rng.normal(size=(*batch, 5, 2))
        there = crop_cameras.full_from_crop(points, box)
        np.testing.assert_allclose(crop_cameras.crop_from_full(there, box), points, atol=1e-12)
    assert full.shape == crop.shape == (*batch, 3)


def test_one_camera_serves_many_people(rng):
    weak, box, camera = drawn(rng, 4)
    first = jax.tree.map(lambda leaf: leaf[0], camera)
    many = jax.tree.map(lambda leaf: np.broadcast_to(leaf[0], leaf.shape), camera)
    np.testing.assert_allclose(
        crop_cameras.full_transl(weak, box, first), crop_cameras.full_transl(weak, box, many), rtol=1e-6
    )


def test_root_lies_where_the_weak_camera_says(rng):
    """Crop camera, picture camera and the weak camera itself agree about the root, wherever it is."""
    weak, box, camera = drawn(rng, 6)
    with jax.enable_x64(True):
        said = crop_cameras.full_from_crop(weak[:, None, 1:] * weak[:, None, :1] / 2, box)[:, 0]
        root = np.zeros((6, 1, 3))
        full = crop_cameras.full_transl(weak, box, camera)
        in_picture = cameras.project_points(camera, full[:, None] + root)[:, 0]
        crop = crop_cameras.crop_transl(weak, crop_size=256)
        in_crop = crop_cameras.full_from_crop(crop_cameras.project_to_crop(root, crop, crop_size=256), box)[:, 0]
    # The 1e-9 of the two formulas are of different sizes in the picture.
    np.testing.assert_allclose(in_picture, said, atol=1e-6)
    np.testing.assert_allclose(in_crop, said, atol=1e-6)


def test_size_in_the_picture_is_that_of_the_weak_camera_where_focal_lengths_differ():
    camera = Camera(focal_length=np.array([800.0, 1250.0]), principal_point=np.array([100.0, 50.0]))
    box = CropBox(center=np.array([400.0, 300.0]), size=np.array(200.0))
    with jax.enable_x64(True):
        full = crop_cameras.full_transl(np.array([0.8, 0.1, -0.2]), box, camera)
        corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]]) + np.asarray(full)
        origin, right, down = np.asarray(cameras.project_points(camera, corners))
    assert (right - origin)[0] * (down - origin)[1] == pytest.approx((0.8 * 200 / 2) ** 2)


def test_cliff_camera_is_the_diagonal_about_half_the_size():
    camera = crop_cameras.cliff_camera(np.array([[300.0, 400.0]]))
    np.testing.assert_allclose(camera.focal_length, [[500, 500]])
    np.testing.assert_allclose(camera.principal_point, [[150, 200]])


def test_gradients_are_finite_and_those_of_differences(rng):
    weak, box, camera = drawn(rng, 2)
    with jax.enable_x64(True):
        test_util.check_grads(lambda w: crop_cameras.full_transl(w, box, camera), (jnp.asarray(weak),), order=1)
        test_util.check_grads(lambda w: crop_cameras.crop_transl(w, crop_size=256), (jnp.asarray(weak),), order=1)


def test_points_behind_the_crop_camera_are_projected_as_if_they_were_just_before_it():
    points = np.array([[0.01, 0.02, depth] for depth in (0.05, 0.04, 0.0, -2.0, 0.1)], np.float32)
    found = crop_cameras.project_to_crop(points, np.zeros(3, np.float32), crop_size=200, focal_length=1000.0)
    np.testing.assert_allclose(found[:4], [[1.0, 2.0]] * 4, rtol=1e-6)
    np.testing.assert_allclose(found[4], [0.5, 1.0], rtol=1e-6)


def test_the_camera_of_the_demo_is_of_the_longer_side():
    camera = crop_cameras.hmr2_camera(np.array([[300.0, 400], [500, 200]]), crop_size=100, focal_length=1000.0)
    np.testing.assert_allclose(camera.focal_length, [[4000, 4000], [5000, 5000]])
    np.testing.assert_allclose(camera.principal_point, [[150, 200], [250, 100]])
    np.testing.assert_allclose(crop_cameras.hmr2_camera(np.array([256.0, 1])).focal_length, [5000, 5000])


def test_translations_of_given_crops_are_those_of_the_formula():
    weak = np.array([0.5, 0.1, -0.2], np.float32)
    np.testing.assert_allclose(crop_cameras.crop_transl(weak, crop_size=100, focal_length=1000.0), [0.1, -0.2, 40])
    np.testing.assert_allclose(crop_cameras.crop_transl(weak, crop_size=250), [0.1, -0.2, 80])
    behind = crop_cameras.crop_transl(-weak, crop_size=100, focal_length=1000.0)
    np.testing.assert_allclose(behind, [-0.1, 0.2, -40])
    # Without a scale the depth is a large number and not infinite.
    with jax.enable_x64(True):
        far = crop_cameras.crop_transl(np.zeros(3), crop_size=100, focal_length=1000.0)
        np.testing.assert_allclose(far, [0, 0, 2e12])
        one = np.array([0.1, -0.2, 2.0])
        near = crop_cameras.weak_camera_from_crop_transl(one, crop_size=100, focal_length=1000.0)
    np.testing.assert_allclose(near, [10, 0.1, -0.2])


@pytest.mark.parametrize("make", ["crop_transl", "weak_camera_from_crop_transl", "project_to_crop", "hmr2_camera"])
@pytest.mark.parametrize(("crop_size", "focal_length"), [(0, 5000), (256, 0), (256, -1), (float("nan"), 5000)])
def test_impossible_crop_cameras_are_refused(make, crop_size, focal_length):
    given = {
        "project_to_crop": (np.ones((1, 3), np.float32), np.ones(3, np.float32)),
        "hmr2_camera": (np.ones(2, np.float32),),
    }.get(make, (np.ones(3, np.float32),))
    with pytest.raises(ValueError, match="must be positive"):
        getattr(crop_cameras, make)(*given, crop_size=crop_size, focal_length=focal_length)


def test_small_crops_and_short_lenses_are_cameras():
    assert np.isfinite(crop_cameras.crop_transl(np.ones(3, np.float32), crop_size=0.5, focal_length=0.5)).all()
