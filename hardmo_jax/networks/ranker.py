"""Which of several fits of a person is nearest to the truth: a small network over what is known without the truth.

The image error alone chooses worse than no choice: what overlaps the picture best is not what is right in depth. Here
the error is one feature beside how far a fit went from what the lifter expected, how certain the lifter was, and
where the fit started.
"""

import dataclasses
import functools
import os
from typing import Any

import numpy as np

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.body import learnt_files

_ASSET = "networks/assets/ranker.npz"
#: Features of one fit: names for people, the order for the network.
FEATURES = (
    "body_misfit", "ends_misfit", "cost", "root_from_lifter", "pose_from_lifter", "log_weight", "lifter_uncertainty",
    "root_uncertainty", "shape", "overstep", "strain",
)  # fmt: skip
#: Features of the person.
CONTEXT = ("seen_body", "seen_ends", "log_size")
_WIDTHS = {
    "mean": len(FEATURES), "spread": len(FEATURES), "context_mean": len(CONTEXT), "context_spread": len(CONTEXT),
}  # fmt: skip


class RankerFileError(ValueError):
    """A file is no ranker; the message says what to do."""


_KIND = learnt_files.FileKind(
    name="a ranker",
    error=RankerFileError,
    remedy="`python -m tools.train --config=configs/train_ranker.py` makes one",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ranker:
    """Two layers over standardised features, their difference from the first fit's, where it started, and context."""

    mean: Float[np.ndarray, "F"]
    spread: Float[np.ndarray, "F"]
    context_mean: Float[np.ndarray, "C"]
    context_spread: Float[np.ndarray, "C"]
    hypotheses: tuple[str, ...]
    """Names of starts that it knows, the first one that of the lifter's first guess."""
    layers: tuple[tuple[Float[np.ndarray, "_ _"], Float[np.ndarray, "_"]], ...]
    caution: float = 0.0
    """Added to the logarithmic odds of the first fit: people met later are not those of training."""

    def __call__(
        self,
        features: Float[np.ndarray, "N H F"],
        context: Float[np.ndarray, "N C"],
        names: tuple[str, ...],
        is_there: Bool[np.ndarray, "N H"],
    ) -> Float[np.ndarray, "N H"]:
        """Probability that each fit is the one to take; zero for fits that are not there.

        Raises:
            ValueError: If a start is unknown to the ranker, or nobody starts from the lifter's first guess.
        """
        hidden = self.inputs(features, context, names)
        for place, (kernel, bias) in enumerate(self.layers):
            hidden = hidden @ kernel + bias
            if place + 1 < len(self.layers):
                hidden = np.maximum(hidden, 0)
        is_first = np.array(names) == self.hypotheses[0]
        score = np.where(is_there, hidden[..., 0] + self.caution * is_first, -np.inf)
        score = np.exp(score - score.max(-1, keepdims=True))
        return score / score.sum(-1, keepdims=True)

    def inputs(
        self, features: Float[np.ndarray, "N H F"], context: Float[np.ndarray, "N C"], names: tuple[str, ...]
    ) -> Float[np.ndarray, "N H I"]:
        """What the first layer sees."""
        unknown = sorted(set(names) - set(self.hypotheses))
        if unknown or self.hypotheses[0] not in names:
            raise ValueError(
                f"the ranker knows {', '.join(self.hypotheses)}, the first of which must be there: {names}"
            )
        scaled = np.clip((features - self.mean) / self.spread, -5, 5)
        apart = scaled - scaled[:, [names.index(self.hypotheses[0])]]
        start = np.eye(len(self.hypotheses))[[self.hypotheses.index(name) for name in names]]
        around = np.clip((context - self.context_mean) / self.context_spread, -5, 5)
        shape = scaled.shape[:2]
        return np.concatenate(
            [
                scaled,
                apart,
                np.broadcast_to(start, (*shape, len(self.hypotheses))),
                np.broadcast_to(around[:, None], (*shape, around.shape[-1])),
            ],
            axis=-1,
        )


def save_ranker(path: str | os.PathLike[str], ranker: Ranker, record: dict[str, Any]) -> str:
    """Write a ranker whole or not at all.

    Args:
        path: `.npz`.
        ranker: What was learnt.
        record: Plain values that say where it comes from.

    Returns:
        SHA-256 of the file.
    """
    arrays = {
        "record": learnt_files.text(record),
        "hypotheses": np.array(ranker.hypotheses),
        "caution": np.array(ranker.caution, np.float64),
        **{name: getattr(ranker, name) for name in _WIDTHS},
    }
    for place, (kernel, bias) in enumerate(ranker.layers):
        arrays[f"kernel_{place}"], arrays[f"bias_{place}"] = kernel.astype(np.float32), bias.astype(np.float32)
    return learnt_files.save(path, arrays)


def read_ranker(data: bytes, *, source: str) -> Ranker:
    """A ranker from its file.

    Raises:
        RankerFileError: If the file is damaged or its arrays do not fit each other.
    """
    return _KIND.read(data, _from_arrays, source=source)


def _from_arrays(arrays: dict[str, np.ndarray]) -> Ranker:
    names = tuple(str(name) for name in arrays["hypotheses"])
    if not names or len(set(names)) != len(names):
        raise ValueError("`hypotheses` must be there, each once")
    scales = {name: learnt_files.numbers(arrays, name, (width,)) for name, width in _WIDTHS.items()}
    if min(scales["spread"].min(), scales["context_spread"].min()) <= 0:
        raise ValueError("spreads must be positive")
    layers, width = [], 2 * len(FEATURES) + len(names) + len(CONTEXT)
    for place in range(sum(name.startswith("kernel_") for name in arrays)):
        kernel = learnt_files.numbers(arrays, f"kernel_{place}", (width, None))
        width = kernel.shape[1]
        layers.append((kernel, learnt_files.numbers(arrays, f"bias_{place}", (width,))))
    if not layers or width != 1:
        raise ValueError("its last layer must give one number")
    caution = float(learnt_files.numbers(arrays, "caution", ()))
    return Ranker(hypotheses=names, layers=tuple(layers), caution=caution, **scales)


@functools.lru_cache(maxsize=1)
def packaged_ranker() -> Ranker:
    """The ranker that comes with the package.

    Raises:
        FileNotFoundError: If the package was installed without its data.
    """
    return _KIND.read_asset(_ASSET, _from_arrays)
