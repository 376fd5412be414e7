"""Files for robots: joints of the file against the body's own, and against its quaternions composed anew."""

import dataclasses

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import hardmo_jax as hm
from hardmo_jax.export.motion.robot_npz import write_robot_npz
from hardmo_jax.skeleton import layouts
from tests.export.motion import scenes_to_write


def loaded(path):
    with np.load(path, allow_pickle=False) as arrays:
        return {key: arrays[key] for key in arrays.files}


@pytest.fixture(scope="module")
def scene():
    return scenes_to_write.two_people()


def test_joints_are_where_the_body_has_them_and_follow_from_the_quaternions(tmp_path, scene):
    for track in scene.tracks:
        write_robot_npz(tmp_path / "one.npz", scene, track)
        arrays = loaded(tmp_path / "one.npz")
        assert tuple(arrays["joint_names"].tolist()) == scene.body.joint_names
        places, rest = arrays["joint_positions"], arrays["rest_joint_positions"]
        np.testing.assert_allclose(places, scene.body.joints(track.params), atol=3e-6)
        np.testing.assert_array_equal(arrays["root_trans"], places[:, 0])
        quaternions = arrays["joint_rotations_xyzw"]
        np.testing.assert_allclose(np.linalg.norm(quaternions, axis=-1), 1, atol=1e-12)
        assert np.sum(quaternions[1:] * quaternions[:-1], axis=-1).min() > 0
        for joint, parent in enumerate(arrays["joint_parents"].tolist()):
            turned = Rotation.from_quat(quaternions[:, joint])
            local = Rotation.from_rotvec(np.asarray(track.params.full_pose(), np.float64)[:, joint])
            before = Rotation.identity(len(places)) if parent < 0 else Rotation.from_quat(quaternions[:, parent])
            assert ((before * local).inv() * turned).magnitude().max() < 1e-7
            if parent >= 0:
                bone = before.apply(rest[joint] - rest[parent])
                np.testing.assert_allclose(places[:, joint] - places[:, parent], bone, atol=1e-9)


def test_programs_with_a_body_file_find_the_parameters_they_look_for(tmp_path, scene):
    track = scene.tracks[0]
    write_robot_npz(tmp_path / "one.npz", scene, track)
    arrays, params, count = loaded(tmp_path / "one.npz"), track.params, track.num_frames
    np.testing.assert_array_equal(arrays["root_orient"], params.global_orient)
    np.testing.assert_array_equal(arrays["pose_body"], params.body_pose.reshape(count, 63))
    np.testing.assert_array_equal(arrays["pose_hand"][:, :45], params.left_hand_pose.reshape(count, 45))
    np.testing.assert_array_equal(arrays["trans"], params.transl)
    assert arrays["mocap_frame_rate"].item() == arrays["fps"].item() == 30.0
    assert int(arrays["num_betas"]) == len(arrays["betas"]) == 16
    assert [str(arrays["up_axis"]), str(arrays["gender"])] == ["z", "neutral"]


def test_height_is_that_of_the_person_at_rest(tmp_path, scene):
    for track in scene.tracks:
        write_robot_npz(tmp_path / "one.npz", scene, track)
        heights = np.asarray(scene.body(hm.BodyParams(**{
            **vars(hm.BodyParams.rest(scene.body)), "betas": track.betas,
        })).vertices)[:, 1]  # fmt: skip
        found = loaded(tmp_path / "one.npz")["height"]
        assert found.shape == ()
        assert found == pytest.approx(heights.max() - heights.min(), abs=1e-5)
        assert 1.3 < found < 2.2


def test_feet_of_somebody_who_stands_are_in_contact_and_of_a_raised_leg_are_not(tmp_path):
    body, frames = hm.open_body(view="smpl"), 20
    params = jax.tree.map(np.array, hm.BodyParams.rest(body, batch=(frames,)))
    params.global_orient[:] = Rotation.from_euler("x", 90, degrees=True).as_rotvec()
    params.body_pose[:, 0, 0] = -1.5
    track = dataclasses.replace(scenes_to_write.track(body, frames), params=params)
    write_robot_npz(tmp_path / "one.npz", scenes_to_write.scene(body, (track,), frames), track)
    arrays = loaded(tmp_path / "one.npz")
    assert tuple(arrays["foot_contact_names"].tolist()) == layouts.CONTACT_POINTS
    np.testing.assert_array_equal(arrays["foot_contact"], np.tile([False, False, True, True], (frames, 1)))
    assert arrays["foot_contact_positions"].shape == (frames, 4, 3)
