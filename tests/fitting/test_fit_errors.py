"""What `hm.fit` refuses, in one line that says what to do. Nothing here compiles."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.fitting.evidence import UserResidual
from hardmo_jax.geometry import cameras
from tests.fitting import synthetic_people


@pytest.fixture(scope="module")
def body():
    return hm.open_body()


def observe(count=2, **changes):
    rng = np.random.default_rng(3)
    given = {
        "keypoints_2d": rng.uniform(0, 500, (count, 25, 2)),
        "confidence": np.ones((count, 25)),
        "camera": cameras.camera_from_image_size(640, 480),
    }
    return synthetic_people.unchecked(hm.Observations, **{**given, **changes})


def refused(body, observations, **options):
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        hm.fit(body, observations, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_no_keypoints(body):
    assert "neither `keypoints_2d` nor `keypoints_3d`" in refused(body, hm.Observations())


def test_picture_without_a_camera(body):
    assert "camera_from_image_size(width, height)" in refused(body, observe(camera=None))


@pytest.mark.parametrize("value", [-0.1, 1.5, 97.0, np.inf])
def test_confidence_outside_its_range(body, value):
    confidence = np.ones((2, 25))
    confidence[1, 3] = value
    message = refused(body, observe(confidence=confidence))
    assert "`confidence` must lie in [0, 1]" in message
    assert f"{value:g}" in message
    assert "divide detector scores" in message


def test_confidence_of_3d_points_is_named(body):
    observed = hm.Observations(keypoints_3d=np.zeros((1, 25, 3)), confidence_3d=np.full((1, 25), 2.0))
    assert "`confidence_3d` must lie in [0, 1]" in refused(body, observed)


@pytest.mark.parametrize("shape", [(25,), (3, 25), (2, 24), (2, 25, 1)])
def test_confidence_of_another_shape(body, shape):
    message = refused(body, observe(confidence=np.ones(shape)))
    assert "`confidence`" in message
    assert str(shape) in message


def test_3d_points_of_other_people(body):
    observed = observe(keypoints_3d=np.zeros((3, 25, 3)))
    assert "(3, 25, 3)" in refused(body, observed)


def test_camera_of_other_people(body):
    camera = hm.Camera(focal_length=np.full((3, 2), 500.0), principal_point=np.zeros((3, 2)))
    message = refused(body, observe(camera=camera))
    assert "`camera.focal_length` (3, 2) does not broadcast to (2, 2)" in message


@pytest.mark.parametrize("focal_length", [0.0, -500.0, np.nan, np.inf])
def test_impossible_camera(body, focal_length):
    camera = hm.Camera(focal_length=np.full(2, focal_length), principal_point=np.zeros(2))
    assert "positive focal lengths" in refused(body, observe(camera=camera))


def test_boxes_of_other_people(body):
    assert "`bbox` (3, 4) does not broadcast" in refused(body, observe(bbox=np.ones((3, 4))))


def test_empty_batch(body):
    assert "nobody to fit" in refused(body, observe(count=0))


def test_body_without_landmarks_for_the_layout():
    observed = hm.Observations(keypoints_3d=np.zeros((1, 21, 3)), layout="left_hand21")
    bare = dataclasses.replace(hm.open_body(view="smpl"), landmarks=())
    message = refused(bare, observed)
    assert "no named landmarks" in message
    assert "left_hand21" in message


def test_start_of_another_family(body):
    other = hm.BodyParams.rest(hm.open_body(view="smpl"), batch=(2,))
    assert "`body_pose` must end in (21, 3)" in refused(body, observe(), initial=other)


def nothing(params, joints, data):
    return joints[:, 0] * 0


@pytest.mark.parametrize("shape", [(), (3,), (1, 2), (24, 3)])
def test_data_of_a_residual_of_other_people(body, shape):
    extra = UserResidual(function=nothing, data={"good": np.zeros((2, 24)), "bad": np.zeros(shape)})
    message = refused(body, observe(), residuals=(extra,))
    assert "`data` of a residual must have the batch axes (2,)" in message
    assert str(shape) in message


@pytest.mark.parametrize(
    "wrong",
    [
        lambda params, joints, data: joints,
        lambda params, joints, data: joints[0, 0],
        lambda params, joints, data: (joints[:, 0],),
        lambda params, joints, data: joints[:, 0] > 0,
        lambda params, joints, data: joints[:, 0].astype("float16"),
    ],
    ids=["matrix", "scalar", "tuple", "booleans", "half precision"],
)
def test_residual_that_is_no_row_of_numbers(body, wrong):
    message = refused(body, observe(), residuals=(UserResidual(function=wrong),))
    assert "must return one array (R,) of float32" in message


#: Run by itself: in tests every call is checked for its types, at a user's it is not.
OF_OTHER_TYPES = """
import jax, numpy as np, hardmo_jax as hm
from hardmo_jax.observations import ObservationError
def nothing(params, joints, data): return joints[:, 0]
points = {"keypoints_3d": np.zeros((2, 25, 3)), "confidence_3d": np.ones((2, 25)), "layout": "openpose25"}
residual = hm.UserResidual(function=nothing)
for given in ({"residuals": residual}, {"residuals": [nothing]}, {"devices": jax.devices()[0]}):
    try:
        hm.fit(hm.open_body(), hm.Observations(**points), **given)
    except ObservationError as error:
        print(error)
"""


def test_residuals_and_devices_of_other_types():
    done = subprocess.run([sys.executable, "-c", OF_OTHER_TYPES], capture_output=True, text=True, check=True)
    messages = done.stdout.splitlines()
    assert len(messages) == 3
    assert messages[0].startswith("`residuals` must be a list of")
    assert messages[1].startswith("`residuals` must be a list of")
    assert messages[2].startswith("`devices` must be some of")


def test_inputs_are_left_as_they_were(body):
    observed = observe(confidence=np.full((2, 25), 3.0))
    before = observed.keypoints_2d.copy()
    refused(body, observed)
    np.testing.assert_array_equal(observed.keypoints_2d, before)
