"""Lifters at rest: what was saved comes back in half precision, and what is damaged is refused in words."""

import dataclasses
import hashlib
import io
import json

import jax
import numpy as np
import pytest

from hardmo_jax.networks import lifter, lifter_file
from hardmo_jax.networks.lifter import LifterOptions
from hardmo_jax.networks.lifter_file import LifterFileError, TrainedLifter, read_lifter, save_lifter

SMALL = LifterOptions(width=8, blocks=1, guesses=2)
RECORD = {"seed": 3, "takes": ["martial/01"], "note": "é"}


@pytest.fixture(scope="module")
def trained():
    rng = np.random.default_rng(1)
    root = rng.normal(size=(lifter.NUM_SPREAD, lifter.NUM_SPREAD)) / np.sqrt(lifter.NUM_SPREAD)
    precision = (root @ root.T + np.eye(lifter.NUM_SPREAD)).astype(np.float32)
    weights = lifter_file.initial_weights(SMALL, 5)
    return TrainedLifter(weights=weights, error_precision=precision, options=SMALL)


@pytest.fixture(scope="module")
def data(trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("lifter") / "deep" / "lifter.npz"
    save_lifter(path, trained, RECORD)
    assert [child.name for child in path.parent.iterdir()] == ["lifter.npz"]
    return path.read_bytes()


def rewritten(data, **changes):
    """The file with other entries; None takes one away, `meta` is a mapping of changes."""
    with np.load(io.BytesIO(data)) as file:
        arrays = dict(file)
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    if isinstance(changes.get("meta"), dict):
        changes["meta"] = np.array(json.dumps(json.loads(str(arrays["meta"])) | changes["meta"]))
    arrays |= changes
    buffer = io.BytesIO()
    np.savez(buffer, **{key: value for key, value in arrays.items() if value is not None})
    return buffer.getvalue()


def test_what_was_saved_comes_back_in_half_precision(trained, data):
    again, record = read_lifter(data, source="lifter.npz")
    assert record == RECORD
    assert again.options == SMALL
    assert jax.tree.structure(again.weights) == jax.tree.structure(trained.weights)
    for ours, theirs in zip(jax.tree.leaves(again.weights), jax.tree.leaves(trained.weights), strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_array_equal(ours, np.asarray(theirs, np.float16))
    np.testing.assert_array_equal(again.error_precision, trained.error_precision.astype(np.float16))


def test_lifter_says_after_reading_what_it_said_before(trained, data):
    features = np.random.default_rng(2).normal(size=(4, lifter.lifter_input.NUM_FEATURES)).astype(np.float32)
    again, _ = read_lifter(data, source="lifter.npz")
    for ours, theirs in zip(jax.tree.leaves(again(features)), jax.tree.leaves(trained(features)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=5e-3)


def test_the_checksum_is_that_of_the_file(trained, tmp_path, data):
    digest = save_lifter(tmp_path / "lifter.npz", trained, RECORD)
    assert digest == hashlib.sha256((tmp_path / "lifter.npz").read_bytes()).hexdigest()


def test_reading_twice_and_saving_gives_the_same_numbers(data, tmp_path):
    again, record = read_lifter(data, source="lifter.npz")
    save_lifter(tmp_path / "again.npz", again, record)
    twice, _ = read_lifter((tmp_path / "again.npz").read_bytes(), source="again.npz")
    for ours, theirs in zip(jax.tree.leaves(twice), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(ours, theirs)


ONES = np.ones((lifter.NUM_SPREAD,) * 2, np.float16)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weights__first__kernel__value": None}, "first.kernel"),
        ({"weights__first__kernel__value": np.zeros((3, 8), np.float16)}, "first.kernel"),
        ({"weights__scale__value": np.full(8, np.nan, np.float16)}, "finite"),
        ({"weights__scale__value": np.ones(8, np.int32)}, "finite numbers"),
        ({"weights__scale__value": np.array(["a"] * 8)}, "finite numbers"),
        ({"error_precision": None}, "error_precision"),
        ({"error_precision": ONES[:5]}, "169 x 169"),
        ({"error_precision": np.where(ONES > 0, np.inf, 0).astype(np.float16)}, "finite"),
        ({"error_precision": np.array("text")}, "not a lifter"),
        ({"meta": None}, "meta"),
        ({"meta": np.array("{")}, "not a lifter"),
        ({"meta": np.array("[]")}, "not a lifter"),
        ({"meta": np.array("[" * 100_000)}, "not a lifter"),
        ({"meta": {"format_version": 2}}, "format 2, this version reads 1"),
        ({"meta": {"options": {"width": 8, "blocks": 1, "guesses": 3}}}, "last"),
        ({"meta": {"options": {"width": 8, "blocks": 0, "guesses": 2}}}, "blocks"),
        ({"meta": {"options": {"width": 10**9, "blocks": 1, "guesses": 2}}}, "no lifter"),
        ({"meta": {"options": {"depth": 8}}}, "depth"),
        ({"meta": {"options": [8, 1, 2]}}, "not a lifter"),
        ({"meta": {"options": {"width": None, "blocks": 1, "guesses": 2}}}, "not a lifter"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(data, changes, words):
    with pytest.raises(LifterFileError, match=words) as caught:
        read_lifter(rewritten(data, **changes), source="mine.npz")
    assert "mine.npz" in str(caught.value)


@pytest.mark.parametrize("spoil", [lambda data: data[:-300], lambda data: b"", lambda data: b"PK\x03\x04" + bytes(50)])
def test_cut_off_and_foreign_files_are_refused(data, spoil):
    with pytest.raises(LifterFileError, match=r"mine\.npz: not a lifter .*tools\.train"):
        read_lifter(spoil(data), source="mine.npz")


def test_a_flipped_bit_is_noticed(data):
    spoilt = bytearray(data)
    spoilt[len(data) // 2] ^= 0x10
    with pytest.raises(LifterFileError):
        read_lifter(bytes(spoilt), source="mine.npz")


def test_a_lifter_that_could_not_be_written_leaves_the_old_one(trained, data, tmp_path):
    path = tmp_path / "lifter.npz"
    path.write_bytes(data)
    with pytest.raises(TypeError):
        save_lifter(path, trained, {"record": object()})
    assert path.read_bytes() == data


# ---- the one that ships -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def packaged():
    return lifter_file.packaged_lifter()


def test_packaged_lifter_is_read_once(packaged):
    assert lifter_file.packaged_lifter() is packaged
    assert packaged.options.guesses >= 4


def test_packaged_precision_is_symmetric_and_well_positive_definite(packaged):
    """It is stored in half precision, and a fit inverts it: rounding must not be what decides about it."""
    precision = np.asarray(packaged.error_precision, np.float64)
    np.testing.assert_allclose(precision, precision.T, atol=1e-6)
    least = np.linalg.eigvalsh(precision)[0]
    rounding = np.linalg.norm(np.abs(precision) * 2.0**-11, 2)
    assert least > 3 * rounding


def test_packaged_precision_is_of_errors_in_units_of_their_spread(packaged):
    covariance = np.linalg.inv(np.asarray(packaged.error_precision, np.float64))
    spread = np.sqrt(np.diag(covariance))
    assert np.all((spread > 0.3) & (spread < 3))


def test_without_the_asset_the_message_says_how_to_make_it(monkeypatch):
    monkeypatch.setattr(lifter_file, "_ASSET", "absent.npz")
    lifter_file.packaged_lifter.cache_clear()
    try:
        with pytest.raises(FileNotFoundError, match=r"train_lifter\.py"):
            lifter_file.packaged_lifter()
    finally:
        lifter_file.packaged_lifter.cache_clear()


def test_options_are_part_of_the_program_and_arrays_are_not(trained):
    leaves = jax.tree.leaves(trained)
    assert len(leaves) == len(jax.tree.leaves(trained.weights)) + 1
    other = dataclasses.replace(trained, options=LifterOptions(width=8, blocks=1, guesses=3))
    assert jax.tree.structure(other) != jax.tree.structure(trained)
