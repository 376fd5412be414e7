"""The floor from standing feet: known floors are found, unsure ones say so, and the world has it at zero."""

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import hardmo_jax as hm
from hardmo_jax.body import placement
from hardmo_jax.recovery import ground as ground_module
from hardmo_jax.recovery.ground import GroundError, estimate_ground, in_world
from hardmo_jax.skeleton import layouts

FRAMES = 60


@pytest.fixture(scope="module")
def body():
    return hm.open_body()


def people(body, pitch_degrees, *, spots, lean_degrees=0.0, height=1.4, roll_degrees=0.0):
    """People at rest who stand on a floor below a camera that looks down; parameters and the true normal."""
    rest = hm.BodyParams.rest(body, batch=(FRAMES,))
    lowest = float(np.asarray(body(hm.BodyParams.rest(body, batch=(1,))).vertices)[0, :, 1].min())
    turn = Rotation.from_euler("x", lean_degrees, degrees=True).as_matrix()
    where = np.asarray(spots)[np.arange(FRAMES) % len(spots)]
    world = placement.moved(body, rest, np.broadcast_to(turn, (FRAMES, 3, 3)), np.zeros((FRAMES, 3)))
    world = placement.moved(
        body, world, np.broadcast_to(np.eye(3), (FRAMES, 3, 3)),
        np.stack([where[:, 0], np.full(FRAMES, -lowest), where[:, 1]], -1),
    )  # fmt: skip
    # World: y up, the camera at `height` before the origin, looking along -z and down.
    look = Rotation.from_euler("zx", [roll_degrees, pitch_degrees], degrees=True).as_matrix()
    look = look @ np.diag([1.0, -1.0, -1.0])
    camera = np.array([0.0, height, 4.0])
    params = placement.moved(
        body, world, np.broadcast_to(look, (FRAMES, 3, 3)), np.broadcast_to(-look @ camera, (FRAMES, 3))
    )
    return jax.tree.map(np.asarray, params), look @ np.array([0.0, 1.0, 0.0])


SPOTS = [(-1.0, 0.0), (1.0, 0.5), (0.2, -1.5), (-0.4, 1.0)]
ALL = np.ones((FRAMES, 4))


def angle(first, second):
    return float(np.degrees(np.arccos(np.clip(first @ second, -1, 1))))


@pytest.mark.parametrize("pitch", [-10.0, 0.0, 25.0])
def test_a_known_floor_is_found(body, pitch):
    params, up = people(body, pitch, spots=SPOTS, roll_degrees=4.0)
    found = estimate_ground(body, params, ALL)
    assert angle(found.up, up) < 2.0
    assert found.camera_height == pytest.approx(1.4, abs=0.08)
    assert found.height_residual < 0.03
    assert found.up_spread_degrees < 5


def test_people_who_lean_do_not_tilt_a_floor_that_their_feet_tell(body):
    params, up = people(body, 15.0, spots=[(4 * x, 4 * z) for x, z in SPOTS], lean_degrees=0.0)
    pose = params.body_pose.copy()
    pose[:, layouts.SMPL_JOINTS.index("spine1") - 1, 0] = np.radians(25)
    bent = jax.tree.map(lambda leaf: leaf, params)
    bent = type(bent)(**{**vars(bent), "body_pose": pose})
    assert angle(estimate_ground(body, bent, ALL).up, up) < 4.0


def test_one_place_alone_is_told_by_the_trunk_and_less_surely(body):
    params, up = people(body, 20.0, spots=[(0.0, 0.0)])
    one, many = estimate_ground(body, params, ALL), estimate_ground(body, people(body, 20.0, spots=SPOTS)[0], ALL)
    assert angle(one.up, up) < 8.0
    assert one.up_spread_degrees > many.up_spread_degrees


def test_feet_in_the_air_do_not_count(body):
    params, up = people(body, 10.0, spots=SPOTS)
    stands = ALL.copy()
    stands[::4] = 0
    lifted = params.transl.copy()
    lifted[::4] += 1.5 * up
    found = estimate_ground(body, type(params)(**{**vars(params), "transl": lifted}), stands)
    assert angle(found.up, up) < 2.0
    assert found.num_stances == 4 * 45


def test_in_the_world_z_is_up_and_the_floor_is_zero(body):
    params, _ = people(body, 12.0, spots=SPOTS)
    found = estimate_ground(body, params, ALL)
    np.testing.assert_allclose(found.rotation @ found.rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(found.rotation) == pytest.approx(1)
    np.testing.assert_allclose(found.rotation @ found.up, [0, 0, 1], atol=1e-9)
    world = in_world(body, params, found)
    vertices = np.asarray(body(jax.tree.map(lambda leaf: leaf[:4], world)).vertices)
    assert abs(vertices[..., 2].min()) < 0.08
    assert vertices[..., 2].max() > 1.5, "people stand"
    assert vertices[..., 1].min() > 0, "they are before the camera"


def test_a_camera_that_looks_straight_down_has_a_world_too(body):
    ground = ground_module.Ground(
        up=np.array([0.0, 0.0, -1.0]), camera_height=3.0, up_spread_degrees=1.0, num_stances=9, height_residual=0.0
    )
    np.testing.assert_allclose(ground.rotation @ ground.rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(ground.rotation) == pytest.approx(1)


def test_where_nobody_stands_there_is_no_floor(body):
    params, _ = people(body, 0.0, spots=SPOTS)
    with pytest.raises(GroundError, match="no foot stands"):
        estimate_ground(body, params, 0.1 * ALL)


def test_frames_that_are_not_finite_are_left_out(body):
    params, up = people(body, 10.0, spots=SPOTS)
    broken = params.transl.copy()
    broken[3] = np.nan
    found = estimate_ground(body, type(params)(**{**vars(params), "transl": broken}), ALL)
    assert angle(found.up, up) < 2.0
