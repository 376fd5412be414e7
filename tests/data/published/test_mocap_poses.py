"""Poses of motion capture for a discriminator, in 4DHumans' layout."""

import numpy as np
import pytest

from hardmo_jax.data.published.mocap_poses import MocapPoses
from hardmo_jax.data.training_records import TrainingDataError


def write(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_the_root_is_left_out(tmp_path, rng):
    pose, betas = rng.normal(size=(5, 72)).astype(np.float32), rng.normal(size=(5, 10)).astype(np.float32)
    mocap = MocapPoses(write(tmp_path / "mocap.npz", body_pose=pose, betas=betas))
    assert len(mocap) == 5
    found, shapes = mocap.rows(np.array([4, 0, 4]))
    np.testing.assert_allclose(found, pose[[4, 0, 4], 3:])
    np.testing.assert_allclose(shapes, betas[[4, 0, 4]])


@pytest.mark.parametrize(
    "arrays",
    [
        {"body_pose": np.zeros((3, 72))},
        {"body_pose": np.zeros((3, 69)), "betas": np.zeros((3, 10))},
        {"body_pose": np.zeros((3, 72)), "betas": np.zeros((2, 10))},
        {"body_pose": np.full((3, 72), np.nan), "betas": np.zeros((3, 10))},
        {"body_pose": np.zeros((0, 72)), "betas": np.zeros((0, 10))},
    ],
)
def test_other_files_are_refused(arrays, tmp_path):
    with pytest.raises(TrainingDataError, match="mocap"):
        MocapPoses(write(tmp_path / "mocap.npz", **arrays))
    with pytest.raises(FileNotFoundError):
        MocapPoses(tmp_path / "none.npz")
