"""How probably the foot or hand of a label is wrong: a small network over what is known without the truth.

Trained on labels of which a fifth of the feet and hands had been turned to another plausible pose by 20 to 70 degrees,
half of them on true bodies and half on fitted ones: that is what its probabilities mean.
"""

import dataclasses
import functools
import os
from typing import Any

import numpy as np

from hardmo_jax.array_types import Float
from hardmo_jax.body import learnt_files

_ASSET = "networks/assets/part_scorer.npz"
#: What is known of a part, in the order for the network; `hardcase.part_scores` says what each is.
FEATURES = (
    "cost_drop", "turn_to_refit", "image_error", "refit_image_error", "from_guess", "refit_from_guess",
    "implausibility", "refit_implausibility", "evidence", "seen_points", "turn_to_second_opinion",
    "global_turn_to_second_opinion", "body_error", "direction", "length_ratio", "has_direction", "guess_spread",
    "refit_cost", "turn_to_guess",
)  # fmt: skip
KINDS = ("foot", "hand")


class PartScorerFileError(ValueError):
    """A file is no scorer of parts; the message says what to do."""


_KIND = learnt_files.FileKind(
    name="a scorer of parts",
    error=PartScorerFileError,
    remedy="`python -m tools.train --config=configs/train_part_scorer.py` makes one",
)
_Layers = tuple[tuple[Float[np.ndarray, "_ _"], Float[np.ndarray, "_"]], ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PartNetwork:
    """Two hidden layers over standardised features; the mean of several of them."""

    mean: Float[np.ndarray, "F"]
    spread: Float[np.ndarray, "F"]
    members: tuple[_Layers, ...]
    """Networks that began from other weights."""

    def inputs(self, features: Float[np.ndarray, "N F"]) -> Float[np.ndarray, "N F"]:
        """What the first layer sees."""
        return np.clip((features - self.mean) / self.spread, -5, 5)

    def __call__(self, features: Float[np.ndarray, "N F"]) -> Float[np.ndarray, "N"]:
        """Logarithmic odds that each part is wrong."""
        scores = []
        for layers in self.members:
            hidden = self.inputs(features)
            for place, (kernel, bias) in enumerate(layers):
                hidden = hidden @ kernel + bias
                if place + 1 < len(layers):
                    hidden = np.tanh(hidden)
            scores.append(hidden[:, 0])
        return np.mean(scores, 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PartScorer:
    """One network for feet and one for hands."""

    networks: dict[str, PartNetwork]

    def __call__(self, kind: str, features: Float[np.ndarray, "N F"]) -> Float[np.ndarray, "N"]:
        """Probability that each part is wrong.

        Args:
            kind: `foot` or `hand`.
            features: In the order of `FEATURES`.
        """
        return 1 / (1 + np.exp(-self.networks[kind](np.asarray(features, np.float64))))


def save_part_scorer(path: str | os.PathLike[str], scorer: PartScorer, record: dict[str, Any]) -> str:
    """Write a scorer whole or not at all.

    Args:
        path: `.npz`.
        scorer: What was learnt.
        record: Plain values that say where it comes from.

    Returns:
        SHA-256 of the file.
    """
    arrays = {"record": learnt_files.text(record), "features": np.array(FEATURES)}
    for kind, network in scorer.networks.items():
        arrays[f"{kind}.mean"], arrays[f"{kind}.spread"] = network.mean, network.spread
        for number, layers in enumerate(network.members):
            for place, (kernel, bias) in enumerate(layers):
                arrays[f"{kind}.{number}.kernel_{place}"] = kernel.astype(np.float32)
                arrays[f"{kind}.{number}.bias_{place}"] = bias.astype(np.float32)
    return learnt_files.save(path, arrays)


def read_part_scorer(data: bytes, *, source: str) -> PartScorer:
    """A scorer from its file.

    Raises:
        PartScorerFileError: If the file is damaged or its arrays do not fit each other.
    """
    return _KIND.read(data, _from_arrays, source=source)


def _from_arrays(arrays: dict[str, np.ndarray]) -> PartScorer:
    names = tuple(str(name) for name in arrays["features"])
    if names != FEATURES:
        raise ValueError(f"it knows other features: {', '.join(names)}")
    return PartScorer(networks={kind: _network(arrays, kind) for kind in KINDS})


def _network(arrays: dict[str, np.ndarray], kind: str) -> PartNetwork:
    mean, spread = (learnt_files.numbers(arrays, f"{kind}.{name}", (len(FEATURES),)) for name in ("mean", "spread"))
    if spread.min() <= 0:
        raise ValueError("spreads must be positive")
    members = []
    while f"{kind}.{len(members)}.kernel_0" in arrays:
        layers, width, start = [], len(FEATURES), f"{kind}.{len(members)}"
        while f"{start}.kernel_{len(layers)}" in arrays:
            kernel = learnt_files.numbers(arrays, f"{start}.kernel_{len(layers)}", (width, None))
            width = kernel.shape[1]
            layers.append((kernel, learnt_files.numbers(arrays, f"{start}.bias_{len(layers)}", (width,))))
        if width != 1:
            raise ValueError("its last layer must give one number")
        members.append(tuple(layers))
    if not members:
        raise ValueError(f"it holds no network for a {kind}")
    return PartNetwork(mean=mean, spread=spread, members=tuple(members))


@functools.lru_cache(maxsize=1)
def packaged_part_scorer() -> PartScorer:
    """The scorer that comes with the package.

    Raises:
        FileNotFoundError: If the package was installed without its data.
    """
    return _KIND.read_asset(_ASSET, _from_arrays)
