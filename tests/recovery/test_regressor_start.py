"""What a regressor says of crops as starts: the same person comes back, before any camera and in any body."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import hardmo_jax as hm
from hardmo_jax.fitting import priors, variables
from hardmo_jax.fitting.guess import Guess
from hardmo_jax.fitting.result import FitStatus
from hardmo_jax.geometry import cameras, crop_cameras, rotations
from hardmo_jax.geometry.crop_cameras import CropBox
from hardmo_jax.networks.lifter_input import looking_at
from hardmo_jax.networks.regressor_output import RegressorOutput
from hardmo_jax.observations import ObservationError
from hardmo_jax.recovery import regressor_start
from hardmo_jax.recovery.lift_and_fit import FROM_LIFTER, lift_and_fit
from hardmo_jax.recovery.regressor_start import RegressorTrust, start_from_regressor
from hardmo_jax.recovery.starts import StartOptions
from hardmo_jax.skeleton import layouts
from tests.fitting import synthetic_people

COUNT = 8
#: Pixels; float32 of a person of some hundred pixels.
SAME_PLACE = 0.05


def as_smpl(body):
    """The open body under the name of a model whose betas the networks know."""
    return dataclasses.replace(body, name="neutral body")


@pytest.fixture(scope="module")
def body():
    return hm.open_body()


@pytest.fixture(scope="module")
def smpl():
    return as_smpl(hm.open_body(view="smpl"))


def drawn(body, *, seed=3, shaped=True):
    """People beside the axis of the camera, whose fingers have their usual pose."""
    people = synthetic_people.draw(body, "smpl24", count=COUNT, seed=seed)
    params = jax.tree.map(np.asarray, people.params)
    pose = np.asarray(params.full_pose()).copy()
    usual = np.concatenate([np.zeros((1, 3)), priors.pose_prior(body.joint_names).mean])
    for index, joint in enumerate(body.joint_names):
        if joint not in layouts.SMPL_JOINTS:
            pose[:, index] = usual[index]
    rng = np.random.default_rng(seed)
    transl = params.transl + np.stack([rng.uniform(-1.2, 1.2, COUNT), np.zeros(COUNT), np.zeros(COUNT)], -1)
    betas = params.betas if shaped else np.zeros_like(params.betas)
    made = hm.BodyParams.from_full_pose(body, pose, betas=betas, transl=transl.astype(np.float32))
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), made)


def boxes_of(body, params, camera):
    pixels = np.asarray(cameras.project_points(camera, body.joints(params)))
    low, high = pixels.min(-2), pixels.max(-2)
    return CropBox(center=((low + high) / 2).astype(np.float32), size=1.2 * (high - low).max(-1).astype(np.float32))


def as_network(body, params, camera, box, *, joints=23, turns=True):
    """What a network without errors would say: the person turned into the view of the crop, by a weak camera."""
    root = np.asarray(body.joints(params))[:, 0]
    seen = np.asarray(looking_at(jnp.asarray(root[:, :2] / root[:, 2:]))) if turns else np.eye(3, dtype=np.float32)
    full_pose = dict(zip(body.joint_names, np.moveaxis(np.asarray(params.full_pose()), 1, 0), strict=True))
    nothing = np.zeros((len(root), 3), np.float32)
    pose = np.stack([full_pose.get(joint, nothing) for joint in layouts.SMPL_JOINTS[: joints + 1]], 1)
    matrices = np.asarray(rotations.axis_angle_to_matrix(jnp.asarray(pose)))
    return RegressorOutput(
        global_orient=seen @ matrices[:, 0],
        body_pose=matrices[:, 1:],
        betas=np.asarray(params.betas),
        weak_camera=np.asarray(crop_cameras.weak_camera_from_full_transl(params.transl, box, camera)),
    )


def pixels_of(body, params, camera):
    return np.asarray(cameras.project_points(camera, body.joints(params)))


@pytest.fixture(scope="module")
def camera():
    return cameras.camera_from_image_size(synthetic_people.WIDTH, synthetic_people.HEIGHT)


@pytest.mark.parametrize("sees_picture", [False, True])
def test_people_come_back_in_a_body_whose_betas_are_known(smpl, camera, sees_picture, figure):
    params = drawn(smpl)
    box = boxes_of(smpl, params, camera)
    output = as_network(smpl, params, camera, box, turns=not sees_picture)
    told = np.full(COUNT, np.mean(camera.focal_length), np.float32) if sees_picture else None
    start = start_from_regressor(smpl, output, box, camera, told_focal_length=told)
    assert start.is_usable.all()
    found = start.guess.params
    np.testing.assert_allclose(found.betas, params.betas, atol=1e-6)
    np.testing.assert_allclose(found.transl, params.transl, atol=1e-4)
    np.testing.assert_allclose(smpl.joints(found), smpl.joints(params), atol=1e-4)
    error = np.abs(pixels_of(smpl, found, camera) - pixels_of(smpl, params, camera)).max()
    figure(f"regressor to start, {'picture' if sees_picture else 'crop'} orientation: {error:.4f} pixels")
    assert error < SAME_PLACE


def test_people_come_back_in_the_open_body_with_usual_fingers_and_mean_shape(body, camera):
    params = drawn(body, shaped=False)
    box = boxes_of(body, params, camera)
    output = dataclasses.replace(as_network(body, params, camera, box), betas=np.full((COUNT, 10), 2.0, np.float32))
    found = start_from_regressor(body, output, box, camera).guess.params
    assert not np.asarray(found.betas).any()
    assert np.abs(pixels_of(body, found, camera) - pixels_of(body, params, camera)).max() < 0.5
    np.testing.assert_allclose(found.left_hand_pose, params.left_hand_pose, atol=1e-6)


@pytest.mark.parametrize("gender", ["female", "unknown"])
def test_betas_of_other_shape_spaces_are_not_taken(smpl, camera, gender):
    params = drawn(smpl)
    box = boxes_of(smpl, params, camera)
    other = dataclasses.replace(smpl, gender=gender)
    found = start_from_regressor(other, as_network(smpl, params, camera, box), box, camera)
    assert not np.asarray(found.guess.params.betas).any()
    shape = variables.Layout.of(smpl).group_mask(("betas",))
    assert (found.guess.spread[:, shape] == 1).all()


def test_roots_of_another_body_stand_where_those_of_the_network_would(smpl, camera):
    """Translations are added to bodies that rest elsewhere: a model whose root is moved gives the same pictures."""
    params = drawn(smpl, shaped=False)
    box = boxes_of(smpl, params, camera)
    output = as_network(smpl, params, camera, box)
    moved = hm.open_body(view="smpl")
    shift = np.array([0.1, 0.3, -0.2], np.float32)
    moved = dataclasses.replace(moved, joint_template=moved.joint_template + shift)
    ours, theirs = (
        start_from_regressor(some, output, box, camera).guess.params for some in (hm.open_body(view="smpl"), moved)
    )
    np.testing.assert_allclose(theirs.transl, ours.transl - shift, atol=1e-5)
    np.testing.assert_allclose(theirs.global_orient, ours.global_orient, atol=1e-5)


def test_focal_length_changes_the_distance_and_not_the_place_in_the_picture(smpl, camera):
    params = drawn(smpl, shaped=False)
    box = boxes_of(smpl, params, camera)
    output = as_network(smpl, params, camera, box)
    wide = dataclasses.replace(camera, focal_length=camera.focal_length * np.float32(0.7))
    ours, theirs = (start_from_regressor(smpl, output, box, some).guess.params for some in (camera, wide))
    # Of the origin that the weak camera is about.
    origin = [
        np.asarray(cameras.project_points(some, p.transl[:, None])) for some, p in ((camera, ours), (wide, theirs))
    ]
    np.testing.assert_allclose(origin[0], origin[1], atol=SAME_PLACE)
    np.testing.assert_allclose(theirs.transl[:, 2] / ours.transl[:, 2], 0.7, rtol=1e-5)


def test_turned_people_look_more_like_the_crop(smpl, camera, figure):
    """The crop is looked at straight; before the picture's camera its person would be seen from the side."""
    params = drawn(smpl)
    box = boxes_of(smpl, params, camera)
    output = as_network(smpl, params, camera, box)
    in_crop = dataclasses.replace(
        params, global_orient=np.asarray(rotations.matrix_to_axis_angle(jnp.asarray(output.global_orient)))
    )
    in_crop = dataclasses.replace(in_crop, transl=np.zeros_like(params.transl))
    seen = crop_cameras.project_to_crop(
        smpl.joints(in_crop), crop_cameras.crop_transl(output.weak_camera, crop_size=256), crop_size=256
    )
    seen = np.asarray(crop_cameras.full_from_crop(seen, box))
    apart = {}
    for sees_picture in (False, True):
        told = np.full(COUNT, np.mean(camera.focal_length), np.float32) if sees_picture else None
        found = start_from_regressor(smpl, output, box, camera, told_focal_length=told).guess.params
        # About the root, in sides of the box: what is left with the turn is the perspective of a near camera.
        there = pixels_of(smpl, found, camera)
        off = (there - there[:, :1]) - (seen - seen[:, :1])
        apart[sees_picture] = float(np.mean(np.linalg.norm(off, axis=-1) / box.size[:, None]))
    figure(f"joints off the network's own crop: {apart[False]:.4f} box sides turned, {apart[True]:.4f} not")
    assert apart[False] < 0.8 * apart[True]


def test_a_camera_of_another_focal_length_than_the_network_was_told_turns_nobody_to_its_ray(smpl, camera):
    """Who was seen straight on at one focal length is seen straight on at the other: the ray there is another one."""
    params = drawn(smpl)
    box = boxes_of(smpl, params, camera)
    told = 1.7 * float(np.mean(camera.focal_length))
    told_camera = dataclasses.replace(camera, focal_length=np.full(2, told, np.float32))
    output = as_network(smpl, params, camera, box)  # before the crop, turned by the ray
    pelvis = np.asarray(params.transl) + np.asarray(smpl.joint_template)[0]
    ray = pelvis[:, :2] / pelvis[:, 2:] * np.asarray(camera.focal_length) / np.asarray(told_camera.focal_length)
    seen = np.swapaxes(looking_at(jnp.asarray(ray)), -1, -2) @ np.asarray(output.global_orient)
    output = dataclasses.replace(output, global_orient=seen)
    start = start_from_regressor(smpl, output, box, camera, told_focal_length=np.full(COUNT, told, np.float32))
    # The place of the pelvis is that of a body of mean shape up to millimetres, and so is the ray.
    found = rotations.axis_angle_to_matrix(jnp.asarray(start.guess.params.global_orient))
    wanted = rotations.axis_angle_to_matrix(jnp.asarray(params.global_orient))
    np.testing.assert_allclose(found, wanted, atol=5e-3)


def test_spreads_are_wide_where_networks_are_weak_and_the_place_has_no_pull(body, camera):
    params = drawn(body)
    box = boxes_of(body, params, camera)
    trust = RegressorTrust(root=0.1, pose=0.2, ends=0.3, fingers=0.4)
    guess = start_from_regressor(body, as_network(body, params, camera, box), box, camera, trust=trust).guess
    layout = variables.Layout.of(body)
    assert guess.spread.shape == (COUNT, layout.size)
    assert np.isinf(guess.spread[:, :3]).all()
    np.testing.assert_allclose(guess.spread[:, 3:6], 0.1)
    by_joint = dict(zip(body.joint_names[1:], guess.spread[0, layout.pose_start :].reshape(-1, 3)[:, 0], strict=True))
    for joint, wanted in (("left_knee", 0.2), ("right_ankle", 0.3), ("left_wrist", 0.3), ("right_index2", 0.4)):
        assert by_joint[joint] == pytest.approx(wanted), joint
    np.testing.assert_array_equal(guess.precision, np.eye(layout.size))


@pytest.mark.parametrize("broken", ["weak_camera", "body_pose", "betas", "small", "behind"])
def test_answers_that_mean_nothing_are_told_and_harm_nobody_else(body, camera, broken):
    params = drawn(body)
    box = boxes_of(body, params, camera)
    output = as_network(body, params, camera, box)
    field = broken if broken in ("body_pose", "betas") else "weak_camera"
    values = np.array(getattr(output, field))
    if broken in ("small", "behind"):
        values[2, 0] = {"small": 1e-6, "behind": -0.8}[broken]
    else:
        values[2].flat[1] = np.nan
    start = start_from_regressor(body, dataclasses.replace(output, **{field: values}), box, camera)
    np.testing.assert_array_equal(start.is_usable, np.arange(COUNT) != 2)
    for leaf in jax.tree.leaves(start.guess.params):
        assert np.isfinite(leaf).all()
    usual = priors.pose_prior(body.joint_names).mean
    np.testing.assert_allclose(np.asarray(start.guess.params.full_pose())[2, 1:], usual, atol=1e-6)
    assert np.isinf(start.guess.spread[2, 3:6]).all()
    root = pixels_of(body, start.guess.params, camera)[2, 0]
    assert (np.abs(root - box.center[2]) < 0.5 * box.size[2]).all()
    whole = start_from_regressor(body, output, box, camera)
    for ours, theirs in zip(jax.tree.leaves(start.guess.params), jax.tree.leaves(whole.guess.params), strict=True):
        np.testing.assert_array_equal(np.delete(ours, 2, 0), np.delete(theirs, 2, 0))


def test_networks_of_smplx_leave_the_hands_at_their_usual_pose(smpl, camera):
    params = drawn(smpl, shaped=False)
    box = boxes_of(smpl, params, camera)
    found = start_from_regressor(smpl, as_network(smpl, params, camera, box, joints=21), box, camera).guess.params
    usual = priors.pose_prior(smpl.joint_names).mean
    np.testing.assert_allclose(
        np.asarray(found.body_pose)[:, -2:], np.broadcast_to(usual[-2:], (COUNT, 2, 3)), atol=1e-6
    )
    np.testing.assert_allclose(np.asarray(found.body_pose)[:, :-2], np.asarray(params.body_pose)[:, :-2], atol=1e-4)


def test_wrong_numbers_of_joints_boxes_and_samples_are_refused(smpl, camera):
    params = drawn(smpl)
    box = boxes_of(smpl, params, camera)
    output = as_network(smpl, params, camera, box)
    with pytest.raises(ValueError, match="23 joints"):
        start_from_regressor(smpl, dataclasses.replace(output, body_pose=output.body_pose[:, :5]), box, camera)
    with pytest.raises(ValueError, match="one answer for each box"):
        start_from_regressor(smpl, output, jax.tree.map(lambda leaf: leaf[1:], box), camera)
    with pytest.raises(ValueError, match="choose one"):
        start_from_regressor(smpl, jax.tree.map(lambda leaf: leaf[:, None], output), box, camera)
    hand = dataclasses.replace(smpl, joint_names=tuple(f"joint{k}" for k in range(24)))
    with pytest.raises(ObservationError, match="single hand"):
        start_from_regressor(hand, output, box, camera)
    with pytest.raises(ValueError, match="positive"):
        RegressorTrust(pose=0.0)


def test_fits_start_from_it(body, figure):
    """A network that is off by what it is trusted for, and a fit from there."""
    people = synthetic_people.draw(body, "openpose67", count=COUNT, seed=5)
    params = jax.tree.map(np.asarray, people.params)
    box = boxes_of(body, params, people.camera)
    output = as_network(body, params, people.camera, box)
    noise = np.random.default_rng(0).normal(0, 0.15, (COUNT, 23, 3)).astype(np.float32)
    turned = np.asarray(rotations.axis_angle_to_matrix(jnp.asarray(noise))) @ np.asarray(output.body_pose)
    output = dataclasses.replace(output, body_pose=turned)
    start = start_from_regressor(body, output, box, people.camera)
    result = hm.fit(body, people.observe("2d"), options=FROM_LIFTER, initial=start.guess)
    assert np.isin(result.status, [FitStatus.CONVERGED, FitStatus.MAX_STEPS]).all()

    def error_mm(found):
        ours, theirs = np.asarray(body.joints(found)), np.asarray(body.joints(params))
        off = (ours - ours[:, :1]) - (theirs - theirs[:, :1])
        return 1e3 * np.linalg.norm(off[:, :22], axis=-1).mean()

    before, after = error_mm(start.guess.params), error_mm(result.params)
    figure(f"fit from a regressor's start: {before:.0f} mm before, {after:.0f} mm after")
    assert after < before
    assert after < 60


@pytest.mark.parametrize("count", [0, 1, 300])
def test_any_number_of_people_gives_what_each_gives_alone(smpl, camera, count):
    params = drawn(smpl)
    box = boxes_of(smpl, params, camera)
    output = as_network(smpl, params, camera, box)
    rows = np.arange(count) % COUNT
    many = start_from_regressor(smpl, *jax.tree.map(lambda leaf: leaf[rows], (output, box)), camera)
    some = start_from_regressor(smpl, output, box, camera)
    assert many.is_usable.shape == (count,)
    for name in ("params", "spread", "axes"):
        pair = (jax.tree.leaves(getattr(start.guess, name)) for start in (many, some))
        for ours, theirs in zip(*pair, strict=True):
            np.testing.assert_array_equal(ours, theirs[rows])


def test_usable_people_are_counted_without_a_body(smpl, camera):
    params = drawn(smpl)
    output = as_network(smpl, params, camera, boxes_of(smpl, params, camera))
    assert regressor_start.usable_people(output).all()


def lifted_of(body, people):
    """Somebody's guess of the same people."""
    pose = np.asarray(people.params.full_pose()) * np.float32(0.5)
    params = hm.BodyParams.from_full_pose(
        body, pose, betas=np.full_like(people.params.betas, 0.3), transl=np.asarray(people.params.transl) + 1
    )
    size = variables.Layout.of(body).size
    return Guess(
        params=jax.tree.map(np.asarray, params), spread=np.full((COUNT, size), 0.2, np.float32),
        precision=2 * np.eye(size), axes=None,
    )  # fmt: skip


def test_whom_the_network_says_nothing_of_the_lifter_says(body):
    people = synthetic_people.draw(body, "openpose67", count=COUNT, seed=5)
    box = boxes_of(body, people.params, people.camera)
    output = as_network(body, people.params, people.camera, box)
    weak_camera = output.weak_camera.copy()
    weak_camera[2] = np.nan
    start = start_from_regressor(body, dataclasses.replace(output, weak_camera=weak_camera), box, people.camera)
    lifted = lifted_of(body, people)
    guess = regressor_start.with_lifted(start, lifted)
    others = np.arange(COUNT) != 2
    np.testing.assert_array_equal(guess.params.body_pose[2], lifted.params.body_pose[2])
    np.testing.assert_array_equal(guess.spread[2], lifted.spread[2])
    np.testing.assert_array_equal(guess.params.body_pose[others], start.guess.params.body_pose[others])
    np.testing.assert_array_equal(guess.params.transl[others], start.guess.params.transl[others])
    np.testing.assert_array_equal(guess.axes[2], np.eye(3))
    # The open body's shape is not one that networks know.
    assert not start.knows_shape
    np.testing.assert_array_equal(guess.params.betas, lifted.params.betas)
    np.testing.assert_array_equal(guess.precision, np.eye(guess.spread.shape[-1]))


def test_some_of_the_people_are_those_people(smpl, camera):
    params = drawn(smpl)
    start = start_from_regressor(
        smpl, as_network(smpl, params, camera, boxes_of(smpl, params, camera)), boxes_of(smpl, params, camera), camera
    )
    some = regressor_start.rows_of_start(start, np.array([5, 1]))
    np.testing.assert_array_equal(some.guess.params.transl, np.asarray(start.guess.params.transl)[[5, 1]])
    assert len(some.is_usable) == len(some.guess.spread) == 2
    assert some.knows_shape


def test_a_fit_that_explains_nothing_begins_at_the_lifters_guess(body, figure):
    """A network that says the same pose, far away, of everybody but the first one."""
    people = synthetic_people.draw(body, "openpose67", count=COUNT, seed=5)
    box = boxes_of(body, people.params, people.camera)
    output = as_network(body, people.params, people.camera, box)
    wrong = jax.tree.map(np.array, output)
    wrong.global_orient[1:] = np.diag([1.0, -1.0, -1.0]) @ np.diag([-1.0, -1.0, 1.0])
    wrong.body_pose[1:] = wrong.body_pose[:1] @ wrong.body_pose[:1]
    wrong.weak_camera[1:] = (0.3, 2.0, 2.0)
    wrong.weak_camera[3] = np.nan
    start = start_from_regressor(body, wrong, box, people.camera)
    found = lift_and_fit(body, people.observe("2d"), regressed=start)
    assert np.isin(found.result.status, [FitStatus.CONVERGED, FitStatus.MAX_STEPS, FitStatus.NO_BETTER]).all()
    assert not found.is_from_lifter[0]
    assert found.is_from_lifter[3]
    figure(f"{found.is_from_lifter.sum()} of {COUNT} begin at the lifter's guess")
    alone = lift_and_fit(body, people.observe("2d"), start=StartOptions(second_look=False))
    for row in np.flatnonzero(found.is_from_lifter):
        np.testing.assert_allclose(found.result.params.transl[row], alone.result.params.transl[row], atol=1e-4)


def test_answers_of_others_than_the_people_are_refused(body):
    people = synthetic_people.draw(body, "openpose67", count=COUNT, seed=5)
    box = boxes_of(body, people.params, people.camera)
    start = start_from_regressor(body, as_network(body, people.params, people.camera, box), box, people.camera)
    with pytest.raises(ObservationError, match="one a person"):
        lift_and_fit(body, people.observe("2d"), regressed=regressor_start.rows_of_start(start, np.arange(3)))
    with pytest.raises(ObservationError, match="hypotheses"):
        lift_and_fit(body, people.observe("2d"), regressed=start, start=StartOptions(hypotheses=("guess_1", "plain")))
