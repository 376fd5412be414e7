"""Cameras that stand still and cameras that move, over textures that are shifted by a known amount."""

import cv2
import numpy as np
import pytest

from hardmo_jax.perception import camera_motion

WIDTH, HEIGHT, RATE = 640, 360, 30.0
FRAMES = 40
NOBODY = ()


@pytest.fixture(scope="module")
def wall():
    """A texture larger than the picture: blobs of many sizes."""
    rng = np.random.default_rng(3)
    levels = [
        cv2.resize(rng.normal(size=(40 * 2**level, 60 * 2**level)), (1200, 800), interpolation=cv2.INTER_CUBIC)
        for level in range(4)
    ]
    picture = np.clip(127 + 40 * np.sum(levels, axis=0), 0, 255)
    return picture.astype(np.uint8)[..., None].repeat(3, -1)


def seen(wall, shift=(0.0, 0.0), turn=0.0, scale=1.0, noise=2.0, seed=0):
    """The wall by a camera that is shifted (pixels), turned (radians) and has zoomed in."""
    along, across = scale * np.cos(turn), scale * np.sin(turn)
    middle = np.array([WIDTH - 1, HEIGHT - 1]) / 2
    matrix = np.array([[along, -across, 0], [across, along, 0]])
    matrix[:, 2] = middle + shift - matrix[:, :2] @ np.array([600.0, 400.0])
    picture = cv2.warpAffine(wall, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_LINEAR)
    sensor = np.random.default_rng(seed).normal(0, noise, picture.shape)
    return np.uint8(np.clip(picture + sensor, 0, 255))


def path_of(images, boxes=None):
    watch = camera_motion.CameraWatch()
    for at, image in enumerate(images):
        watch.step(image, NOBODY if boxes is None else boxes[at])
    return watch.path


def judged(images, boxes=None, rate=RATE):
    return camera_motion.judge_motion(path_of(images, boxes), rate)


def with_person(image, at):
    """Somebody in stripes who walks through the picture, and the box."""
    left = 40 + 10 * at
    image = image.copy()
    image[60:340, left : left + 90] = (
        np.random.default_rng(7).integers(0, 255, (28, 9, 3), np.uint8).repeat(10, 0).repeat(10, 1)
    )
    return image, (np.array([left, 60, left + 89, 339], np.float32),)


def test_a_camera_that_stands_still_does_not_move(wall):
    found = judged([seen(wall, seed=at) for at in range(FRAMES)])
    assert found.moves is False
    assert found.known == 1.0
    assert found.per_stance < 0.2 * camera_motion.LARGEST_MOTION
    assert found.drift < 0.2 * camera_motion.LARGEST_DRIFT


def test_shift_turn_and_growth_are_measured(wall):
    path = path_of([seen(wall), seen(wall, shift=(6.4, -3.2), turn=0.01, scale=1.02, seed=1)])
    assert path.shift[1] == pytest.approx(0.01 - 0.005j, abs=1e-3)
    assert path.turn[1] == pytest.approx(1.02 * np.exp(0.01j), abs=2e-3)


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(lambda at: {"shift": (0.3 * at, 0)}, id="pan"),
        pytest.param(lambda at: {"shift": (0, 0.05 * at * at)}, id="ever faster"),
        pytest.param(lambda at: {"shift": (3 * np.sin(0.7 * at), 2 * np.cos(0.9 * at))}, id="shake"),
        pytest.param(lambda at: {"scale": 1 + 0.001 * at}, id="zoom"),
        pytest.param(lambda at: {"turn": 0.001 * at}, id="roll"),
        pytest.param(lambda at: {"shift": (40.0 * (at % 14), 0)}, id="too fast to see the first frame for long"),
    ],
)
def test_a_camera_that_moves_does(wall, way):
    assert judged([seen(wall, seed=at, **way(at)) for at in range(FRAMES)]).moves is True


def test_slow_drift_adds_up_to_motion(wall):
    """Too slow to matter while a foot stands, and far from where it was at the end."""
    found = judged([seen(wall, shift=(0.4 * at, 0), seed=at) for at in range(0, 120, 2)], rate=4.0)
    assert found.per_stance < camera_motion.LARGEST_MOTION
    assert found.drift > camera_motion.LARGEST_DRIFT
    assert found.moves is True


def test_who_walks_by_is_not_the_camera(wall):
    pictures = [with_person(seen(wall, seed=at), at) for at in range(FRAMES)]
    images, boxes = zip(*pictures, strict=True)
    assert judged(images, boxes).moves is False
    assert judged(images).moves is False, "even if nobody was found"


def test_a_background_without_texture_is_not_known():
    plain = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    pictures = [with_person(plain, at) for at in range(FRAMES)]
    images, boxes = zip(*pictures, strict=True)
    path = path_of(images, boxes)
    assert np.isnan(path.shift).all()
    assert np.isnan(path.motion(1)).all()
    found = camera_motion.judge_motion(path, RATE)
    assert found.moves is None
    assert found.known == 0.0
    assert np.isnan(found.per_frame)


def test_a_cut_is_not_motion(wall):
    other = np.ascontiguousarray(wall[::-1, ::-1])
    images = [seen(wall if at < 20 else other, seed=at) for at in range(FRAMES)]
    path = path_of(images)
    assert len(np.unique(path.scene)) == 2
    assert np.isnan(path.motion(1)).sum() == 1
    assert camera_motion.judge_motion(path, RATE).moves is False


def test_a_flash_is_not_motion(wall):
    white = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    images = [white if at == 20 else seen(wall, seed=at) for at in range(FRAMES)]
    assert judged(images).moves is False


@pytest.mark.parametrize("count", [0, 1, 2])
def test_videos_of_hardly_a_frame_are_judged(wall, count):
    found = judged([seen(wall, seed=at) for at in range(count)])
    assert found.moves is (False if count == 2 else None)


def test_everybody_fills_the_picture(wall):
    box = (np.array([0, 0, WIDTH - 1, HEIGHT - 1], np.float32),)
    assert judged([seen(wall, seed=at) for at in range(5)], [box] * 5).moves is None


def test_a_tiny_picture_is_not_known():
    rng = np.random.default_rng(0)
    assert judged([rng.integers(0, 255, (1, 1, 3), np.uint8)] * 4).moves is None


def test_the_picture_is_left_as_it_was(wall):
    image = seen(wall)
    before = image.copy()
    path_of([image, image])
    np.testing.assert_array_equal(image, before)


def test_another_size_is_another_scene(rng):
    image = np.kron(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8), np.ones((20, 20, 1), np.uint8))
    watch = camera_motion.CameraWatch()
    for one in (image, image, np.ascontiguousarray(image[::2, ::2]), np.ascontiguousarray(image[::2, ::2])):
        watch.step(one, [])
    assert watch.path.scene.tolist() == [0, 0, 1, 1]
