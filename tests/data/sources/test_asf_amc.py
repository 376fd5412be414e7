"""Acclaim captures against the BVH of the same take, matrices by hand, and damaged files."""

import numpy as np
import pytest

from hardmo_jax.data.sources import asf_amc, bvh
from hardmo_jax.data.sources.clip import MotionFileError
from tests.data.sources.motion_texts import AMC, ASF

#: Rounding of the BVH: five significant digits of the root's place, four decimals of degrees.
PARITY_MM = 0.01

UNIT = 0.0254 / 0.45

_LEG = {"UpLeg": "femur", "Leg": "tibia", "Foot": "foot", "ToeBase": "toes", "ToeBase_end": "toes_end"}
_ARM = {"Shoulder": "clavicle", "Arm": "humerus", "ForeArm": "radius", "Hand": "wrist", "FingerBase": "hand"}
_LOWER = {"Hips": "root", "LowerBack": "lowerback", "Spine": "upperback", "Spine1": "thorax"}
_UPPER = {"Neck": "lowerneck", "Neck1": "upperneck", "Head": "head", "Head_end": "head_end"}


def both_sides(table):
    return {f"{side}{b}": f"{side[0].lower()}{a}" for side in ("Left", "Right") for b, a in table.items()}


def turn(axis, degrees):
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = c, -s, s, c
    return matrix


@pytest.fixture
def read(tmp_path):
    def read_text(asf=ASF, amc=AMC, **options):
        (tmp_path / "01.asf").write_text(asf)
        (tmp_path / "01_01.amc").write_text(amc)
        return asf_amc.read_asf_amc(tmp_path / "01.asf", tmp_path / "01_01.amc", **options)

    return read_text


@pytest.fixture(scope="module")
def take(reference_data):
    folder = reference_data / "mocap" / "cmu_amc" / "fairmotion"
    if not (folder / "01_01.bvh").is_file():
        pytest.skip(f"no {folder / '01_01.bvh'}")
    first = bvh.read_bvh(folder / "01_01.bvh")
    # cgspeed's conversion puts a T-pose before the take.
    return asf_amc.read_asf_amc(folder / "01.asf", folder / "01_01.amc"), first.frames(range(1, first.num_frames))


def test_bone_turns_in_its_own_axes(read):
    clip = read()
    assert clip.joint_names == ("root", "thigh", "shin", "shin_end")
    assert clip.parents == (-1, 0, 1, 2)
    np.testing.assert_allclose(clip.offsets * [1, 1, 1] / UNIT, [[0] * 3, [0] * 3, [0, -7, 0], [0, -7.5, 0]])
    np.testing.assert_allclose(clip.translations[0, 0] / UNIT, [1, 2, 3])
    np.testing.assert_allclose(clip.rotations[0, 0], turn("z", 30) @ turn("y", 20) @ turn("x", 10), atol=1e-12)
    axes = turn("z", 30) @ turn("y", 20) @ turn("x", 10)
    motion = turn("z", 60) @ turn("y", 50) @ turn("x", 40)
    np.testing.assert_allclose(clip.rotations[0, 1], axes @ motion @ axes.T, atol=1e-12)
    axes = turn("z", 20)
    np.testing.assert_allclose(clip.rotations[0, 2], axes @ turn("x", 70) @ axes.T, atol=1e-12)
    np.testing.assert_allclose(clip.rotations[1], np.tile(np.eye(3), (4, 1, 1)), atol=1e-12)
    assert clip.frames_per_second == 120


def test_radians_are_read(read):
    numbers = "root 1 2 3 {:.9f} {:.9f} {:.9f}\nthigh {:.9f} {:.9f} {:.9f}\nshin {:.9f}\n"
    radians = ":RADIANS\n1\n" + numbers.format(*np.deg2rad([10, 20, 30, 40, 50, 60, 70]))
    np.testing.assert_allclose(read(amc=radians).rotations[0], read().rotations[0], atol=1e-8)


def test_amc_and_bvh_of_one_take_agree(take, figure):
    amc, converted = take
    assert amc.num_frames == converted.num_frames == 2751
    (amc_turns, amc_places), (bvh_turns, bvh_places) = amc.world_motion(), converted.world_motion()
    names = _LOWER | _UPPER | both_sides(_LEG) | both_sides(_ARM)
    names |= {f"{side}Fingers": f"{side.lower()}fingers" for side in "LR"}
    names |= {f"{side}Thumb": f"{side.lower()}thumb" for side in "LR"}
    at = {name: (amc.joint_names.index(a), converted.joint_names.index(name)) for name, a in names.items()}
    worst_turn = max(np.abs(amc_turns[:, a] - bvh_turns[:, b]).max() for a, b in at.values())
    assert worst_turn < 1e-4

    # The conversion loses the lengths of `thorax` and `lwrist`, so that what hangs on them is compared from there on.
    def worst_mm(joints, start):
        a0, b0 = at[start]
        ours = {name: amc_places[:, at[name][0]] - amc_places[:, a0] for name in joints}
        theirs = {name: bvh_places[:, at[name][1]] - bvh_places[:, b0] for name in joints}
        return 1000 * max(np.linalg.norm(ours[name] - theirs[name], axis=1).max() for name in joints)

    lower = [*_LOWER, *both_sides(_LEG)]
    root = 1000 * np.linalg.norm(amc_places[:, 0] - bvh_places[:, 0], axis=1).max()
    body = worst_mm(lower, "Hips")
    head = worst_mm([*_UPPER], "Neck")
    arms = max(
        worst_mm([f"{side}{joint}" for joint in ("Shoulder", "Arm", "ForeArm", "Hand")], "Neck")
        for side in ("Left", "Right")
    )
    hands = max(worst_mm([f"{side[0]}Fingers"], f"{side}FingerBase") for side in ("Left", "Right"))
    figure(
        f"AMC against BVH of 01_01, worst mm: root {root:.4f}, legs and back {body:.4f}, head {head:.4f}, "
        f"arms {arms:.4f}, hands {hands:.4f}; rotation matrices {worst_turn:.1e}"
    )
    assert max(root, body, head, arms, hands) < PARITY_MM


def test_bvh_of_cmu_lacks_the_length_of_the_thorax(take):
    amc, converted = take
    names = amc.joint_names
    lost = amc.offsets[names.index("lowerneck")]
    assert np.linalg.norm(lost) == pytest.approx(0.1166, abs=1e-4)
    np.testing.assert_array_equal(converted.offsets[converted.joint_names.index("Neck")], 0)


@pytest.mark.slow
def test_all_real_takes_stand_near_the_ground(reference_data):
    paths = sorted((reference_data / "mocap" / "cmu_amc").glob("*/*.amc"))
    if not paths:
        pytest.skip("no AMC files in the reference data")
    for path in paths:
        clip = asf_amc.read_asf_amc(path.parent / f"{path.stem.partition('_')[0]}.asf", path)
        assert 1.5 < np.ptp(clip.rest_positions()[:, 1]) < 1.7, path
        lowest = np.median(clip.world_motion()[1][..., 1].min(axis=1))
        assert 0 < lowest < 0.4, path  # subject 3 walks over uneven terrain


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("shin 70", "shin 70 1", "01_01.amc:6: expected 1 numbers, got 2"),
        ("shin 70", "shin x", "01_01.amc:6: .*finite number"),
        ("shin 70", "shin nan", "01_01.amc:6: .*finite number"),
        ("shin 70", "tail 70", "'tail' is no moving bone"),
        ("shin 70\n", "", "says nothing of 'shin'"),
        ("shin 70", "thigh 1 2 3", "comes twice"),
        ("\n2\n", "\n3\n", "frame 3 follows frame 1"),
        ("thigh 0 0 0\nshin 0\n", "", "cut off in frame 2"),
        (AMC, ":DEGREES\n", "no frames"),
        ("\n1\n", "\n", "number of a frame"),
    ],
)
def test_damage_of_the_motion_is_named(read, old, new, message):
    with pytest.raises(MotionFileError, match=message):
        read(amc=AMC.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (":hierarchy", ":other", "no section :hierarchy"),
        ("name shin", "name thigh", "second bone"),
        ("thigh shin", "thigh tail", "unknown bone 'tail'"),
        ("    thigh shin\n", "", "without a way to the root: shin"),
        ("thigh shin", "thigh shin shin", "two parents"),
        ("thigh shin", "thigh shin\n shin thigh", "two parents"),
        ("direction 0 -1 0", "direction 0 -5 0", "direction of length"),
        ("direction 0 -1 0", "direction 0 -1", "expected 3 numbers"),
        ("axis 0 0 20 XYZ", "axis 0 0 20 XXZ", "order of axes"),
        ("dof rx ry rz", "dof rx ry l", "expected some of"),
        ("length 0.45", "length 0", "unit of length"),
        (":version", "version", "section"),
    ],
)
def test_damage_of_the_skeleton_is_named(read, old, new, message):
    with pytest.raises(MotionFileError, match=message):
        read(asf=ASF.replace(old, new, 1))
