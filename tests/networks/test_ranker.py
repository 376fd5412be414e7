"""The ranker: against a network written out in NumPy, and its file."""

import dataclasses
import io
import itertools

import numpy as np
import pytest

from hardmo_jax.networks import ranker as ranker_module
from hardmo_jax.networks.ranker import CONTEXT, FEATURES, Ranker, RankerFileError, read_ranker, save_ranker
from hardmo_jax.recovery.starts import START_NAMES

NAMES = ("guess_1", "guess_2", "swapped")
WIDTH = 2 * len(FEATURES) + len(NAMES) + len(CONTEXT)
PEOPLE = 50
F, C = len(FEATURES), len(CONTEXT)


def make_ranker(seed=0, hidden=7):
    rng = np.random.default_rng(seed)
    sizes = [WIDTH, hidden, hidden, 1]
    return Ranker(
        mean=rng.normal(size=F),
        spread=rng.uniform(0.5, 2, F),
        context_mean=rng.normal(size=C),
        context_spread=rng.uniform(0.5, 2, C),
        hypotheses=NAMES,
        caution=0.25,
        layers=tuple(
            (
                rng.normal(size=(before, after)).astype(np.float32),
                rng.normal(size=after).astype(np.float32),
            )
            for before, after in itertools.pairwise(sizes)
        ),
    )


@pytest.fixture(scope="module")
def ranker():
    return make_ranker()


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(1)
    features, context = rng.normal(size=(PEOPLE, len(NAMES), F)) * 2, rng.normal(size=(PEOPLE, C)) * 2
    is_there = rng.random((PEOPLE, len(NAMES))) > 0.3
    is_there[:, 0] = True
    return features, context, is_there


def test_probabilities_are_those_of_the_network_written_out(ranker, people):
    features, context, is_there = people
    found = ranker(features, context, NAMES, is_there)
    for person in range(PEOPLE):
        scores = []
        scaled = [np.clip((row - ranker.mean) / ranker.spread, -5, 5) for row in features[person]]
        around = np.clip((context[person] - ranker.context_mean) / ranker.context_spread, -5, 5)
        for place in range(len(NAMES)):
            start = [float(place == other) for other in range(len(NAMES))]
            hidden = np.concatenate([scaled[place], scaled[place] - scaled[0], start, around])
            for kernel, bias in ranker.layers[:-1]:
                hidden = np.maximum(kernel.T @ hidden + bias, 0)
            scores.append(float(ranker.layers[-1][0][:, 0] @ hidden + ranker.layers[-1][1][0]) + 0.25 * (place == 0))
        chances = np.where(is_there[person], np.exp(np.array(scores) - max(scores)), 0)
        np.testing.assert_allclose(found[person], chances / chances.sum(), rtol=1e-5, atol=1e-12)


def test_probabilities_sum_to_one_and_are_zero_for_fits_that_are_not_there(ranker, people):
    features, context, is_there = people
    found = ranker(features, context, NAMES, is_there)
    np.testing.assert_allclose(found.sum(-1), 1, rtol=1e-12)
    np.testing.assert_array_equal(found[~is_there], 0)
    assert np.all(found[is_there] >= 0)


def test_order_of_the_fits_does_not_matter(ranker, people):
    features, context, is_there = people
    order = [2, 0, 1]
    names = tuple(NAMES[place] for place in order)
    found = ranker(features[:, order], context, names, is_there[:, order])
    np.testing.assert_allclose(found, ranker(features, context, NAMES, is_there)[:, order], rtol=1e-9)


def test_fits_that_nobody_asked_for_may_be_left_out(ranker, people):
    """The odds between two fits are their own affair."""
    features, context, _ = people
    everybody = np.ones((PEOPLE, len(NAMES)), bool)
    all_three = ranker(features, context, NAMES, everybody)
    two = ranker(features[:, :2], context, NAMES[:2], everybody[:, :2])
    np.testing.assert_allclose(two, all_three[:, :2] / all_three[:, :2].sum(-1, keepdims=True), rtol=1e-6)


def test_absurd_features_are_taken_for_five_standard_deviations(ranker, people):
    features, context, is_there = people
    far = np.where(features > 0, 1e30, -1e30)
    near = ranker.mean + np.where(features > 0, 5, -5) * ranker.spread
    np.testing.assert_allclose(
        ranker(far, context, NAMES, is_there), ranker(near, context, NAMES, is_there), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("names", [("guess_1", "unheard_of"), ("guess_2", "swapped")])
def test_unknown_starts_and_a_missing_first_guess_are_refused(ranker, people, names):
    features, context, is_there = people
    with pytest.raises(ValueError, match="the ranker knows guess_1, guess_2, swapped"):
        ranker(features[:, :2], context, names, is_there[:, :2])


def test_caution_raises_the_odds_of_the_first_fit_by_its_exponential(ranker, people):
    features, context, is_there = people
    order = [1, 0, 2]
    names = tuple(NAMES[place] for place in order)
    careful = dataclasses.replace(ranker, caution=0.25 + 0.7)
    bold, found = (given(features[:, order], context, names, is_there[:, order]) for given in (ranker, careful))
    both = is_there[:, order][:, [0, 2]].all(-1)
    open_minded = (bold[:, 1] > 1e-6) & (bold[:, 1] < 1 - 1e-6)
    assert open_minded.sum() > 10
    odds, before = (given[open_minded, 1] / (1 - given[open_minded, 1]) for given in (found, bold))
    np.testing.assert_allclose(odds, np.exp(0.7) * before, rtol=1e-6)
    # The odds among the others are as they were.
    np.testing.assert_allclose((found[:, 0] * bold[:, 2])[both], (found[:, 2] * bold[:, 0])[both], rtol=1e-6)


# ---- files ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(ranker, tmp_path_factory):
    path = tmp_path_factory.mktemp("ranker") / "deep" / "ranker.npz"
    save_ranker(path, ranker, {"seed": 0})
    assert [child.name for child in path.parent.iterdir()] == ["ranker.npz"]
    return path.read_bytes()


def rewritten(data, **changes):
    with np.load(io.BytesIO(data)) as file:
        arrays = dict(file) | changes
    buffer = io.BytesIO()
    np.savez(buffer, **{key: value for key, value in arrays.items() if value is not None})
    return buffer.getvalue()


def test_what_was_saved_comes_back(ranker, data, people):
    again = read_ranker(data, source="ranker.npz")
    assert again.hypotheses == ranker.hypotheses
    assert again.caution == ranker.caution
    for name in ("mean", "spread", "context_mean", "context_spread"):
        np.testing.assert_array_equal(getattr(again, name), getattr(ranker, name))
    for ours, theirs in zip(again.layers, ranker.layers, strict=True):
        np.testing.assert_array_equal(ours[0], theirs[0])
        np.testing.assert_array_equal(ours[1], theirs[1])
    features, context, is_there = people
    np.testing.assert_array_equal(again(features, context, NAMES, is_there), ranker(features, context, NAMES, is_there))


@pytest.mark.parametrize(
    "changes",
    [
        {"mean": None},
        {"mean": np.zeros(F + 1)},
        {"spread": np.full(F, np.nan)},
        {"spread": np.zeros(F)},
        {"context_spread": np.full(C, -1.0)},
        {"context_mean": np.array("text")},
        {"caution": None},
        {"caution": np.array(np.nan)},
        {"caution": np.zeros(2)},
        {"caution": np.array("text")},
        {"hypotheses": None},
        {"hypotheses": np.array("guess_1")},
        {"hypotheses": np.array([], "U8")},
        {"hypotheses": np.array(NAMES[:2])},
        {"kernel_0": np.zeros((WIDTH, 3), np.float32)},
        {"kernel_0": np.full((WIDTH, 7), np.nan, np.float32)},
        {"kernel_0": None},
        {"kernel_1": None},
        {"bias_1": np.zeros((7, 7), np.float32)},
        {"bias_2": np.full(1, np.inf, np.float32)},
        {"kernel_3": np.zeros((1, 2), np.float32), "bias_3": np.zeros(2, np.float32)},
    ],
)
def test_what_does_not_fit_is_refused_in_words(data, changes):
    with pytest.raises(RankerFileError, match=r"mine\.npz: not a ranker .*tools\.train"):
        read_ranker(rewritten(data, **changes), source="mine.npz")


@pytest.mark.parametrize("spoil", [lambda data: data[:-300], lambda data: b"", lambda data: b"\x93NUMPY"])
def test_cut_off_and_foreign_files_are_refused(data, spoil):
    with pytest.raises(RankerFileError, match=r"mine\.npz"):
        read_ranker(spoil(data), source="mine.npz")


def test_packaged_ranker_knows_every_start_and_is_read_once():
    found = ranker_module.packaged_ranker()
    assert found is ranker_module.packaged_ranker()
    assert found.hypotheses == START_NAMES
    features = np.random.default_rng(0).normal(size=(20, len(START_NAMES), F))
    chances = found(features, np.zeros((20, C)), START_NAMES, np.ones((20, len(START_NAMES)), bool))
    np.testing.assert_allclose(chances.sum(-1), 1, rtol=1e-6)


def test_without_the_asset_the_message_says_how_to_make_it(monkeypatch):
    monkeypatch.setattr(ranker_module, "_ASSET", "absent.npz")
    ranker_module.packaged_ranker.cache_clear()
    try:
        with pytest.raises(FileNotFoundError, match=r"train_ranker\.py"):
            ranker_module.packaged_ranker()
    finally:
        ranker_module.packaged_ranker.cache_clear()


def test_a_ranker_that_only_knows_the_start_has_one_order_for_all(ranker, people):
    """With weights on nothing but the start, the same fit is taken for everybody, unless it is not there."""
    kernel = np.zeros((WIDTH, 1), np.float32)
    kernel[2 * F : 2 * F + len(NAMES), 0] = (1.0, 3.0, 2.0)
    fixed = dataclasses.replace(ranker, layers=((kernel, np.zeros(1, np.float32)),))
    features, context, is_there = people
    chosen = fixed(features, context, NAMES, is_there).argmax(-1)
    np.testing.assert_array_equal(chosen, np.where(is_there[:, 1], 1, np.where(is_there[:, 2], 2, 0)))
