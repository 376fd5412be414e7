"""AMASS files of both generations, and the turn to y up on a real body."""

import jax.numpy as jnp
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.body.params import BodyParams
from hardmo_jax.data.sources import amass
from hardmo_jax.data.sources.clip import MotionFileError


@pytest.fixture
def sequence(rng):
    return {
        "poses": rng.normal(0, 0.3, (4, 156)),
        "trans": rng.normal(0, 1, (4, 3)),
        "betas": rng.normal(0, 1, 16),
        "gender": np.array("female"),
        "mocap_framerate": np.array(120.0),
    }


@pytest.fixture
def write(tmp_path):
    def write_arrays(arrays):
        np.savez(tmp_path / "walk_poses.npz", **arrays)
        return tmp_path / "walk_poses.npz"

    return write_arrays


def test_smplh_file_is_read(write, sequence):
    clip = amass.read_amass(write(sequence))
    assert (clip.family, clip.gender, clip.frames_per_second, clip.up) == ("smplh", "female", 120, "z")
    np.testing.assert_array_equal(clip.poses.reshape(4, 156), sequence["poses"])


@pytest.mark.parametrize("gender", [np.array(b"male"), np.array("male"), np.array("b'male'"), np.array(["male"])])
def test_gender_may_be_text_or_bytes(write, sequence, gender):
    assert amass.read_amass(write(sequence | {"gender": gender})).gender == "male"


def test_smplx_parts_are_joined(write, sequence, rng):
    parts = {key: rng.normal(0, 0.3, (4, size)) for key, size in (("root_orient", 3), ("pose_body", 63))}
    parts["pose_hand"] = rng.normal(0, 0.3, (4, 90))
    del sequence["poses"], sequence["mocap_framerate"]
    more = {"surface_model_type": np.array("smplx"), "mocap_frame_rate": np.array(60)}
    clip = amass.read_amass(write(sequence | parts | more))
    assert (clip.family, clip.poses.shape, clip.frames_per_second) == ("smplx", (4, 55, 3), 60)
    np.testing.assert_array_equal(clip.poses[:, 22:25], 0)
    np.testing.assert_array_equal(clip.poses[:, 25:].reshape(4, 90), parts["pose_hand"])


def test_turned_joints_are_the_joints_turned(write, sequence):
    body = hm.open_body(view="smplh")
    clip = amass.read_amass(write(sequence))
    betas = jnp.asarray(np.resize(sequence["betas"], body.num_betas), jnp.float32)

    def joints(clip):
        params = BodyParams.from_full_pose(
            body,
            jnp.asarray(clip.poses, jnp.float32),
            betas=jnp.broadcast_to(betas, (4, len(betas))),
            transl=jnp.asarray(clip.transl, jnp.float32),
        )
        return np.asarray(body.joints(params))

    rest = body.joints(BodyParams.from_full_pose(body, jnp.zeros((52, 3), jnp.float32), betas=betas))
    turned = clip.to_y_up(np.asarray(rest[0], float))
    x, y, z = np.moveaxis(joints(clip), -1, 0)
    np.testing.assert_allclose(joints(turned), np.stack([x, z, -y], axis=-1), atol=5e-6)
    with pytest.raises(ValueError, match="already"):
        turned.to_y_up(np.zeros(3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"poses": np.zeros((4, 150))}, "poses of shape"),
        ({"poses": np.zeros((0, 156))}, "poses of shape"),
        ({"poses": np.full((4, 156), np.nan)}, "not finite"),
        ({"trans": np.zeros((3, 3))}, "trans of shape"),
        ({"betas": np.zeros((2, 2, 2))}, "betas of shape"),
        ({"mocap_framerate": np.array(0.0)}, "mocap_framerate"),
        ({"gender": np.array(["a", "b"])}, "one word"),
        ({"gender": np.array({"a": 1}, object)}, "Python object"),
        ({"surface_model_type": np.array("smplx")}, "states the model"),
    ],
)
def test_damage_is_named(write, sequence, change, message):
    with pytest.raises(MotionFileError, match=message):
        amass.read_amass(write(sequence | change))


@pytest.mark.parametrize("key", ["poses", "trans", "betas", "mocap_framerate"])
def test_missing_arrays_are_named(write, sequence, key):
    del sequence[key]
    with pytest.raises(MotionFileError, match="no array"):
        amass.read_amass(write(sequence))


def test_cut_off_file_is_refused(write, sequence):
    path = write(sequence)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(MotionFileError, match="damaged"):
        amass.read_amass(path)
