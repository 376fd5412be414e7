"""The scorer of parts: against a network written out in NumPy, and its file."""

import itertools

import numpy as np
import pytest

from hardmo_jax.networks.part_scorer import (
    FEATURES,
    KINDS,
    PartNetwork,
    PartScorer,
    PartScorerFileError,
    packaged_part_scorer,
    read_part_scorer,
    save_part_scorer,
)

F = len(FEATURES)


def make_scorer(seed=0, members=2):
    rng = np.random.default_rng(seed)

    def layers():
        return tuple(
            (rng.normal(size=(a, b)).astype(np.float32), rng.normal(size=b).astype(np.float32))
            for a, b in itertools.pairwise((F, 5, 4, 1))
        )

    return PartScorer(
        networks={
            kind: PartNetwork(
                mean=rng.normal(size=F), spread=rng.uniform(0.5, 2, F),
                members=tuple(layers() for _ in range(members)),
            )
            for kind in KINDS
        }
    )  # fmt: skip


def test_probabilities_are_those_of_the_network_written_out():
    scorer, features = make_scorer(), np.random.default_rng(1).normal(size=(20, F))
    network = scorer.networks["foot"]
    odds = []
    for row in features:
        values = []
        for (first, a), (second, b), (third, c) in network.members:
            scaled = np.clip((row - network.mean) / network.spread, -5, 5)
            values.append((np.tanh(np.tanh(scaled @ first + a) @ second + b) @ third + c)[0])
        odds.append(np.mean(values))
    np.testing.assert_allclose(scorer("foot", features), 1 / (1 + np.exp(-np.array(odds))), rtol=1e-6)


def test_a_file_holds_the_same_scorer(tmp_path):
    scorer = make_scorer()
    save_part_scorer(tmp_path / "part_scorer.npz", scorer, {"from": "a test"})
    back = read_part_scorer((tmp_path / "part_scorer.npz").read_bytes(), source="a file")
    features = np.random.default_rng(2).normal(size=(8, F))
    for kind in KINDS:
        np.testing.assert_allclose(back(kind, features), scorer(kind, features), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda arrays: arrays.pop("foot.mean"), "lacks"),
        (lambda arrays: arrays.update(features=np.array(["cost_drop"])), "other features"),
        (lambda arrays: arrays.update({"hand.spread": np.zeros(F)}), "positive"),
        (lambda arrays: arrays.update({"hand.0.kernel_0": np.zeros((3, 5), np.float32)}), "kernel_0"),
        (lambda arrays: [arrays.pop(name) for name in list(arrays) if name.startswith("foot.")and "kernel_2" in name],
         "one number"),
    ],
)  # fmt: skip
def test_other_files_are_refused(tmp_path, change, words):
    path = tmp_path / "part_scorer.npz"
    save_part_scorer(path, make_scorer(), {})
    with np.load(path) as file:
        arrays = dict(file)
    change(arrays)
    np.savez(path, **arrays)
    with pytest.raises(PartScorerFileError, match=words):
        read_part_scorer(path.read_bytes(), source="a file")


def test_damaged_files_are_refused():
    with pytest.raises(PartScorerFileError, match="train_part_scorer"):
        read_part_scorer(b"PK nothing", source="a file")


def test_the_packaged_scorer_thinks_worse_of_larger_errors():
    scorer = packaged_part_scorer()
    for kind in KINDS:
        usual = scorer.networks[kind].mean
        worse = usual.copy()
        for name in ("cost_drop", "turn_to_refit", "turn_to_second_opinion"):
            worse[FEATURES.index(name)] += 2 * scorer.networks[kind].spread[FEATURES.index(name)]
        few, many = scorer(kind, np.stack([usual, worse]))
        assert few < 0.5 < many
