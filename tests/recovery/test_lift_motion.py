"""Tracks are lifted by two networks that belong together."""

import dataclasses

import jax
import numpy as np
import pytest

from hardmo_jax.body import load
from hardmo_jax.geometry.cameras import Camera
from hardmo_jax.networks import lifter_file, motion_lifter_file
from hardmo_jax.networks.motion_lifter_file import OtherLifterError
from hardmo_jax.observations import Observations
from hardmo_jax.recovery.lift_motion import lift_motion


def test_a_motion_lifter_of_another_lifter_is_refused():
    """Its corrections would be of errors that this lifter does not make, and nobody would know."""
    packaged = lifter_file.packaged_lifter()
    other = dataclasses.replace(packaged, weights=jax.tree.map(lambda leaf: leaf * 1.5, packaged.weights))
    track = Observations(
        keypoints_2d=np.zeros((2, 65, 2), np.float32),
        confidence=np.ones((2, 65), np.float32),
        camera=Camera(focal_length=np.array([900.0, 900.0]), principal_point=np.array([500.0, 500.0])),
        layout="coco_wholebody65",
    )
    with pytest.raises(OtherLifterError) as caught:
        lift_motion(load.open_body(view="smplh"), track, trained=other)
    assert other.weights_sha256 in str(caught.value)
    assert motion_lifter_file.packaged_motion_lifter().lifter_weights_sha256 in str(caught.value)
