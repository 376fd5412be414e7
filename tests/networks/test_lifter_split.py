"""Nothing that ships has seen a take by which it is tested: proved by the takes that its own record names."""

import json
import pathlib

import numpy as np
import pytest

import hardmo_jax
from hardmo_jax.data import splits
from hardmo_jax.networks.lifter_file import read_lifter

PACKAGE = pathlib.Path(hardmo_jax.__file__).parent
LIFTER = PACKAGE / "networks" / "assets" / "lifter.npz"
PRIOR = PACKAGE / "fitting" / "assets" / "pose_prior.npz"
#: Written down once more, as `data.splits` might be changed together with what it guards.
HELD_OUT = {
    "martial/07", "martial/04", "indian/08", "indian/07", "salsa/10", "salsa/11", "salsa/25", "salsa/26", "salsa/09",
    "salsa/24",
}  # fmt: skip
MAX_BYTES = 8 * 2**20


@pytest.fixture(scope="module")
def lifter_record():
    return read_lifter(LIFTER.read_bytes(), source=LIFTER.name)[1]


@pytest.fixture(scope="module")
def prior_record():
    with np.load(PRIOR) as file:
        return json.loads(str(file["record"]))


def held_out_by_the_split():
    return {
        f"{style}/{take}"
        for split in ("test", "validation")
        for style in splits.STYLES
        for take in splits.held_out_takes(split, style)
    }


def test_the_split_is_the_one_written_down_here():
    assert held_out_by_the_split() == HELD_OUT


def check_takes(takes):
    assert len(takes) == len(set(takes)) > 0
    assert not set(takes) & HELD_OUT
    of_styles = [take.partition("/")[::2] for take in takes if take.partition("/")[0] in splits.STYLES]
    assert {style for style, _ in of_styles} == set(splits.STYLES)
    for style, take in of_styles:
        assert splits.split_of(style, take) == "train"
    # Whatever else there is comes from folders without a split, and under no name that would hide one of the styles.
    others = [take for take in takes if take.partition("/")[0] not in splits.STYLES]
    assert all(take.startswith(("cmu_amc/", "deepmimic/")) for take in others)


def test_lifter_has_seen_no_take_of_test_or_validation(lifter_record):
    check_takes(lifter_record["takes"])


def test_prior_has_seen_no_take_of_test_or_validation(prior_record):
    check_takes(prior_record["takes"])


def test_lifter_records_what_was_held_out(lifter_record):
    found = lifter_record["held_out"]
    assert set(found) == {"test", "validation"}
    assert {take for takes in found.values() for take in takes} == HELD_OUT


def test_lifter_and_prior_are_of_the_same_poses(lifter_record, prior_record):
    assert lifter_record["poses_sha256"] == prior_record["poses_sha256"]
    assert sorted(lifter_record["takes"]) == sorted(prior_record["takes"])


def test_lifter_is_small_enough_to_ship():
    assert LIFTER.stat().st_size <= MAX_BYTES
