"""BVH against matrices written out by hand, real files, and files that mean harm."""

import itertools

import numpy as np
import pytest

from hardmo_jax.data.sources import bvh
from hardmo_jax.data.sources.clip import MotionFileError
from tests.data.sources.motion_texts import BVH as TINY

ORDERS = ["".join(order) for order in itertools.permutations("XYZ")]


def turn(axis, degrees):
    """Rotation about one axis, from its definition."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return {
        "X": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "Y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "Z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


@pytest.fixture
def write(tmp_path):
    def write_text(text, name="take.bvh"):
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write_text


def test_tiny_file_is_read_as_written(write):
    clip = bvh.read_bvh(write(TINY))
    assert clip.joint_names == ("mixamorig:Hips", "Left Arm", "Left Arm_end")
    assert clip.parents == (-1, 0, 1)
    assert (clip.name, clip.num_frames) == ("take", 2)
    assert clip.frames_per_second == pytest.approx(20)
    np.testing.assert_allclose(clip.offsets, [[0, 0, 0], [0, 1, 0], [0, 0.7, 0]])
    np.testing.assert_allclose(clip.translations[1], [[1, 2, 3], [0, 1, 0], [0, 0.7, 0]])
    root = turn("Z", 10) @ turn("Y", 20) @ turn("X", 30)
    arm = turn("Z", 40) @ turn("X", 50) @ turn("Y", 60)
    np.testing.assert_allclose(clip.rotations[1], [root, arm, np.eye(3)], atol=1e-12)
    places = clip.world_motion()[1][1]
    np.testing.assert_allclose(places[2], [1, 2, 3] + root @ ([0, 1, 0] + arm @ [0, 0.7, 0]), atol=1e-12)


@pytest.mark.parametrize("order", ORDERS)
def test_euler_order_is_the_order_of_the_channels(write, order):
    channels = " ".join(f"{axis}rotation" for axis in order)
    clip = bvh.read_bvh(write(TINY.replace("3 Zrotation Xrotation Yrotation", f"3 {channels}")))
    expected = turn(order[0], 40) @ turn(order[1], 50) @ turn(order[2], 60)
    np.testing.assert_allclose(clip.rotations[1, 1], expected, atol=1e-12)


def test_joint_may_turn_about_fewer_axes(write):
    text = TINY.replace("3 Zrotation Xrotation Yrotation", "1 Yrotation").replace("40 50 60", "40")
    clip = bvh.read_bvh(write(text.replace("0 0 0 0 0 0 0 0 0", "0 0 0 0 0 0 0")))
    np.testing.assert_allclose(clip.rotations[1, 1], turn("Y", 40), atol=1e-12)


def test_position_channels_replace_offsets_where_they_are(write):
    text = TINY.replace("3 Zrotation Xrotation Yrotation", "4 Yposition Zrotation Xrotation Yrotation")
    text = text.replace("OFFSET 0 0 0", "OFFSET 5 5 5").replace("0 0 0 0 0 0 0 0 0", "0 0 0 0 0 0 1 0 0 0")
    clip = bvh.read_bvh(write(text.replace("40 50 60", "1.5 40 50 60")))
    np.testing.assert_allclose(clip.translations[1, :2], [[1, 2, 3], [0, 1.5, 0]])
    np.testing.assert_allclose(clip.offsets[:2], [[0, 0, 0], [0, 1, 0]])


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\t", "    ").replace(" 0 0 0\n", "\t0  0 0 \n"),
        lambda text: text.replace("\n\t{", " {").replace("\n{", " {"),
        lambda text: "\ufeff" + text + "\n\n",
        lambda text: text.replace("Frames: 2", "Frames:\t2").replace("Frame Time: ", "Frame Time:\t"),
    ],
    ids=["crlf", "spaces", "brace on the line", "byte order mark", "tabs in the header"],
)
def test_layout_of_the_text_does_not_matter(write, change):
    plain, changed = bvh.read_bvh(write(TINY)), bvh.read_bvh(write(change(TINY)))
    assert changed.joint_names == plain.joint_names
    np.testing.assert_array_equal(changed.rotations, plain.rotations)
    np.testing.assert_array_equal(changed.translations, plain.translations)


@pytest.mark.parametrize("unit", bvh.UNITS.values(), ids=list(bvh.UNITS))
def test_unit_is_found_from_the_height(write, unit):
    text = TINY.replace("OFFSET 0 1 0", f"OFFSET 0 {1 / unit} 0").replace("OFFSET 0 0.7", f"OFFSET 0 {0.7 / unit}")
    assert np.ptp(bvh.read_bvh(write(text)).rest_positions()[:, 1]) == pytest.approx(1.7)


def test_unit_of_a_lying_rest_is_found_from_leg_and_spine(write):
    lying = TINY.replace("Left Arm", "Head").replace("OFFSET 0 1 0", "OFFSET 0 0 80").replace("0 0.7 0", "0 0 5")
    foot = "\tJOINT Foot\n\t{\n\t\tOFFSET 0 0 -90\n\t\tCHANNELS 0\n\t}\n}\nMOTION"
    clip = bvh.read_bvh(write(lying.replace("}\nMOTION", foot)))
    assert clip.offsets[1, 2] == pytest.approx(0.8)


def test_unit_that_makes_no_person_is_asked_for(write):
    text = TINY.replace("OFFSET 0 1 0", "OFFSET 0 9 0")
    with pytest.raises(MotionFileError, match="unit="):
        bvh.read_bvh(write(text))
    assert bvh.read_bvh(write(text), unit=0.1).offsets[1, 1] == pytest.approx(0.9)


def test_rate_of_the_caller_stands_over_the_header(write):
    assert bvh.read_bvh(write(TINY), frames_per_second=60.0).frames_per_second == 60
    assert bvh.read_bvh(write(TINY.replace("0.05", "0")), frames_per_second=60.0).frames_per_second == 60
    with pytest.raises(MotionFileError, match="frames_per_second"):
        bvh.read_bvh(write(TINY.replace("0.05", "0")))


@pytest.mark.parametrize("option", ["unit", "frames_per_second"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_options_must_be_positive(write, option, value):
    with pytest.raises(ValueError, match=option):
        bvh.read_bvh(write(TINY), **{option: value})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("HIERARCHY", "BINARY", "HIERARCHY"),
        ("Frames: 2", "Frames: 3", "states 3 frames and has 2"),
        ("Frames: 2", "Frames: 1", "states 1 frames and has 2"),
        ("Frames: 2", "Frames: 999999999999", "states"),
        ("Frames: 2", "Frames: 1e400", "finite"),
        ("Frames: 2", "Frames: -2", "number of frames"),
        ("1 2 3 10", "1 2 x 10", "take.bvh:20: expected a finite number, got 'x'"),
        ("1 2 3 10", "1 2 nan 10", "take.bvh:20: .*'nan'"),
        ("1 2 3 10", "1 2 inf 10", "take.bvh:20: .*'inf'"),
        ("1 2 3 10", "1 2 3 4 10", "take.bvh:20: 10 numbers for 9 channels"),
        ("40 50 60", "40 50", "8 numbers for 9 channels"),
        ("MOTION", "", "take.bvh"),
        ("CHANNELS 6", "CHANNELS 5", "CHANNELS states 5 and names 6"),
        ("Xposition", "Xscale", "unknown channel"),
        ("Xposition", "Yposition", "named twice"),
        ("Left Arm", "mixamorig:Hips", "second joint named"),
        ("End Site", "ROOT other", "second ROOT"),
        ("OFFSET 0 1 0", "OFFSET 0 1", "OFFSET needs 3"),
        ("OFFSET 0 1 0", "", "no OFFSET"),
        ("JOINT Left Arm", "JOINT", "without a name"),
        ("}\nMOTION", "MOTION", "still open"),
        ("}\nMOTION", "}\n}\nMOTION", "too many"),
    ],
)
def test_damage_is_named(write, old, new, message):
    with pytest.raises(MotionFileError, match=message):
        bvh.read_bvh(write(TINY.replace(old, new, 1)))


def test_every_cut_is_an_error(write):
    for end in range(0, len(TINY) - len("0\n"), 7):
        if TINY[:end].split() != TINY.split() and not TINY[:end].endswith(("6", "60")):
            with pytest.raises(MotionFileError):
                bvh.read_bvh(write(TINY[:end]))


def test_deep_nesting_and_huge_files_are_refused(write, tmp_path, monkeypatch):
    deep = "HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\n" + "".join(f"JOINT j{i}\n{{\nOFFSET 0 1 0\n" for i in range(20000))
    with pytest.raises(MotionFileError, match="cap"):
        bvh.read_bvh(write(deep))
    monkeypatch.setattr("hardmo_jax.data.sources.motion_text.MAX_FILE_BYTES", 100)
    with pytest.raises(MotionFileError, match="more than"):
        bvh.read_bvh(write(TINY))


def test_frames_are_counted_before_they_are_allocated(write, monkeypatch):
    monkeypatch.setattr("hardmo_jax.data.sources.motion_text.MAX_POSES", 5)
    with pytest.raises(MotionFileError, match="cap of 5 rotations"):
        bvh.read_bvh(write(TINY))


def test_binary_and_missing_files_are_refused(write, tmp_path):
    with pytest.raises(MotionFileError, match="binary"):
        bvh.read_bvh(write(b"HIERARCHY\0\0"))
    with pytest.raises(MotionFileError, match="no such file"):
        bvh.read_bvh(tmp_path / "none.bvh")


def test_real_files_are_people_with_all_their_frames(reference_data, figure):
    paths = sorted((reference_data / "mocap" / "cmu_bvh_30fps").glob("*/*.bvh"))
    if not paths:
        pytest.skip("no BVH files in the reference data")
    for path in paths:
        clip = bvh.read_bvh(path)
        stated = next(line for line in path.read_text().splitlines() if line.startswith("Frames:"))
        assert clip.num_frames == int(stated.split()[1])
        assert clip.frames_per_second == pytest.approx(30, rel=1e-4)
        height = np.ptp(clip.rest_positions()[:, 1])
        assert 1.35 < height < 1.65, path  # toes to eyes, or to the top of the head in subject 12
        ground = np.median(clip.world_motion()[1][..., 1].min(axis=1))
        assert -0.1 < ground < 0.1, path  # the lowest joint is at a foot, near the floor
    figure(f"BVH: {len(paths)} real files read, units found")


def test_at_rate_takes_captured_frames(write):
    rows = "\n".join(f"{frame} 0 0 0 0 0 0 0 0" for frame in range(12))
    text = TINY.split("Frames:")[0] + f"Frames: 12\nFrame Time: 0.008333333\n{rows}\n"
    clip = bvh.read_bvh(write(text)).at_rate(30.0)
    np.testing.assert_allclose(clip.translations[:, 0, 0], [0, 4, 8])
    assert clip.frames_per_second == pytest.approx(30, rel=1e-6)
    with pytest.raises(ValueError, match="frames_per_second"):
        clip.at_rate(0.0)
