"""Tables of capture conventions: complete, symmetric, and never guessed."""

import pytest

from hardmo_jax.skeleton import captures, layouts

MIXAMO = captures.CONVENTIONS["mixamo"]


@pytest.mark.parametrize("convention", captures.CONVENTIONS.values(), ids=list(captures.CONVENTIONS))
def test_tables_name_known_places_once_and_both_sides(convention):
    assert set(convention.joints) <= set(layouts.SMPL_JOINTS)
    assert set(convention.tips) <= set(captures.TIPS)
    assert len(set(convention.joints.values())) == len(convention.joints)
    for table in (convention.joints, convention.tips):
        lefts = {name.removeprefix("left_") for name in table if name.startswith("left_")}
        assert lefts == {name.removeprefix("right_") for name in table if name.startswith("right_")}
    assert captures.find_convention(convention.joints.values()).joints == convention.joints


def test_joints_without_rotation_are_told():
    assert captures.CONVENTIONS["daz"].joints_without_rotation == ("spine2", "left_foot", "right_foot")
    assert captures.CONVENTIONS["acclaim"].joints_without_rotation == ()
    assert "left_wrist" in captures.CONVENTIONS["deepmimic"].joints_without_rotation


@pytest.mark.parametrize("prefix", ["mixamorig:", "mixamorig1:", "mixamorig_", "mixamorig", "Bob:mixamorig:", ""])
def test_name_space_is_looked_past_and_kept(prefix):
    found = captures.find_convention([f"{prefix}{name}" for name in MIXAMO.joints.values()])
    assert found.name == "mixamo"
    assert found.joints["left_hip"] == f"{prefix}LeftUpLeg"
    assert found.tips == {}


def test_ends_without_a_name_are_found():
    found = captures.find_convention([*MIXAMO.joints.values(), "LeftToeBase_end"])
    assert found.tips == {"left_foot_tip": "LeftToeBase_end"}


def test_missing_joints_and_unknown_skeletons_are_named():
    with pytest.raises(ValueError, match=r"'mixamo' but has no joint LeftUpLeg"):
        captures.find_convention(name for name in MIXAMO.joints.values() if name != "LeftUpLeg")
    with pytest.raises(ValueError, match="known: daz, cmu"):
        captures.find_convention(["a", "b"])
    with pytest.raises(ValueError, match="same name"):
        captures.find_convention(["a:Hips", "b:Hips"])
