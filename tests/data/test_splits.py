"""The split of takes: the one that is published, and no other."""

import pytest

from hardmo_jax.data import splits

#: Indian, martial and salsa takes of the shared data, and the split of its README.
TEST = {"indian": ("08",), "martial": ("07",), "salsa": ("10", "11", "25", "26")}
VALIDATION = {"indian": ("07",), "martial": ("04",), "salsa": ("09", "24")}


@pytest.mark.parametrize(("split", "takes"), [("test", TEST), ("validation", VALIDATION)])
def test_held_out_takes_are_those_of_the_published_split(split, takes):
    assert set(splits.STYLES) == set(takes)
    for style, names in takes.items():
        assert splits.held_out_takes(split, style) == names
    splits.check_takes(split, takes)


def test_every_other_take_trains():
    for style in splits.STYLES:
        for number in range(1, 31):
            take = f"{number:02d}"
            expected = next((s for s, t in (("test", TEST), ("validation", VALIDATION)) if take in t[style]), "train")
            assert splits.split_of(style, take) == expected


def test_partners_of_a_dance_are_on_one_side():
    for number in range(1, 16):
        assert splits.split_of("salsa", f"{number:02d}") == splits.split_of("salsa", f"{number + 15:02d}")


@pytest.mark.parametrize(
    ("split", "takes", "message"),
    [
        ("train", {"salsa": ("01", "25")}, r"25 of salsa belongs to test, not to train"),
        ("test", {"martial": ("07", "04")}, r"04 of martial belongs to validation"),
        ("validation", {"indian": ("06",)}, r"06 of indian belongs to train"),
    ],
)
def test_takes_of_another_side_are_refused(split, takes, message):
    with pytest.raises(splits.SplitError, match=message):
        splits.check_takes(split, takes)


@pytest.mark.parametrize("take", ["8", "08.bvh", "008", " 08", "", "indian/08"])
def test_take_that_is_not_two_digits_does_not_pass_for_training(take):
    with pytest.raises(splits.SplitError, match="two digits"):
        splits.split_of("indian", take)


def test_unknown_styles_are_named():
    for call in (lambda: splits.split_of("tango", "01"), lambda: splits.held_out_takes("test", "tango")):
        with pytest.raises(splits.SplitError, match=r"'tango'.*martial, indian, salsa"):
            call()


def test_training_takes_are_not_listed():
    with pytest.raises(splits.SplitError, match="all other takes"):
        splits.held_out_takes("train", "salsa")
