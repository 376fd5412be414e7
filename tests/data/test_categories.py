"""Categories of collected media: as many as HardMo has, and names that are nearly right are helped."""

import re

import pytest

from hardmo_jax.data import categories
from hardmo_jax.data.categories import CATEGORIES


def test_there_are_as_many_as_hardmo_has():
    count = {family: [c for c in CATEGORIES if c.family == family] for family in ("dance", "martial_arts")}
    assert {family: len(found) for family, found in count.items()} == {"dance": 15, "martial_arts": 14}
    assert {family: sum(c.is_recovered for c in found) for family, found in count.items()} == {
        "dance": 13,
        "martial_arts": 8,
    }


def test_names_are_fit_for_folders_and_unique():
    names = [category.name for category in CATEGORIES]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", name) for name in names)


@pytest.mark.parametrize(("given", "name"), [("K-Pop", "k_pop"), (" hip hop ", "hip_hop"), ("tango", "tango")])
def test_case_hyphens_and_spaces_do_not_matter(given, name):
    assert categories.category_named(given).name == name


@pytest.mark.parametrize(("given", "near"), [("balet", "ballet"), ("taiji", "taijiquan"), ("baguazhang", "bagua")])
def test_the_nearest_name_is_told(given, near):
    with pytest.raises(categories.CategoryError, match=f"did you mean '{near}'"):
        categories.category_named(given)


def test_names_like_none_get_the_list():
    with pytest.raises(categories.CategoryError, match="known: ballet, breaking"):
        categories.category_named("9" * 300)
