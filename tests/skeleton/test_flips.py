"""Mirroring swaps the two sides of a person, by name, and twice changes nothing."""

import importlib.util
import pathlib
import runpy

import numpy as np
import pytest

from hardmo_jax.skeleton import flips, layouts

BODY25_FLIP = (0, 1, 5, 6, 7, 2, 3, 4, 8, 12, 13, 14, 9, 10, 11, 16, 15, 18, 17, 22, 23, 24, 19, 20, 21)
ANNOTATED19_FLIP = (5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13, 14, 15, 16, 17, 18)
#: As published with SPIN and with 4DHumans.
PUBLISHED = {
    "openpose25": BODY25_FLIP,
    "smpl24": (0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20, 23, 22),
    "hmr2_44": (*BODY25_FLIP, *(25 + index for index in ANNOTATED19_FLIP)),
    "spin_49": (*BODY25_FLIP, *(25 + index for index in (*ANNOTATED19_FLIP, 19, 21, 20, 23, 22))),
}
HANDS = {name for name in layouts.LAYOUTS if "hand21" in name or name.startswith("mano")}


@pytest.mark.parametrize("name", list(layouts.LAYOUTS))
def test_flip_is_an_involution_that_swaps_the_sides(name):
    layout = layouts.get_layout(name)
    flip = np.array(flips.flip_permutation(layout))
    np.testing.assert_array_equal(flip[flip], np.arange(len(layout)))
    for point, index in zip(layout.points, flip, strict=True):
        other = layout.points[index]
        if name in HANDS:
            assert other == point
        elif point.startswith("left_"):
            assert other == "right_" + point.removeprefix("left_")
        elif not point.startswith(("right_", "face_")):
            assert other == point


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_flip_is_the_published_one(name):
    assert flips.flip_permutation(layouts.get_layout(name)) == PUBLISHED[name]


@pytest.mark.parametrize("name", ["hand21", "mano"])
def test_the_mirror_image_of_a_hand_is_the_other_hand_in_the_same_order(name):
    left, right = (layouts.get_layout({"hand21": f"{side}_hand21", "mano": f"mano_{side}16"}[name])
                   for side in layouts.SIDES)  # fmt: skip
    assert tuple(flips.mirrored_point(point) for point in left.points) == right.points
    assert flips.flip_permutation(left) == tuple(range(len(left)))


def test_a_layout_with_half_a_pair_is_refused():
    layout = layouts.KeypointLayout(name="half", points=("nose", "left_wrist"))
    with pytest.raises(ValueError, match="lacks the other side of left_wrist"):
        flips.flip_permutation(layout)


@pytest.mark.parametrize(
    ("point", "other"),
    [("face_00", "face_16"), ("face_08", "face_08"), ("face_17", "face_26"), ("face_30", "face_30"),
     ("face_31", "face_35"), ("face_36", "face_45"), ("face_39", "face_42"), ("face_40", "face_47"),
     ("face_41", "face_46"), ("face_48", "face_54"), ("face_51", "face_51"), ("face_57", "face_57"),
     ("face_60", "face_64"), ("face_65", "face_67"), ("face_66", "face_66")],
)  # fmt: skip
def test_face_points_swap_as_in_the_drawing_of_ibug(point, other):
    assert flips.mirrored_point(point) == other
    assert flips.mirrored_point(other) == point


def test_face_points_swap_as_the_smplx_package_names_them():
    spec = importlib.util.find_spec("smplx")
    if spec is None or spec.origin is None:
        pytest.skip("the smplx package is not installed")
    names = runpy.run_path(str(pathlib.Path(spec.origin).parent / "joint_names.py"))["JOINT_NAMES"]
    inner = names.index("right_eye_brow1")
    contour = names.index("right_contour_1")
    theirs = dict(zip(layouts.FACE51, names[inner:contour], strict=True))
    theirs |= {f"face_{index:02d}": name for index, name in enumerate(names[contour:])}
    assert len(theirs) == 68
    for point, name in theirs.items():
        side, _, rest = name.partition("_")
        mirrored = {"left": f"right_{rest}", "right": f"left_{rest}"}.get(side, name)
        assert theirs[flips.mirrored_point(point)] == mirrored
