"""Which of several fits of a person is nearest to the truth: a small network over what is known without the truth.

The image error alone chooses worse than no choice: what overlaps the picture best is not what is right in depth. Here
the error is one feature beside how far a fit went from what the lifter expected, how certain the lifter was, and
where the fit started.
"""

import dataclasses
import functools
import itertools
import os
from importlib import resources

import numpy as np

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.body.array_files import BodyFileError, read_npz
from hardmo_jax.labels import provenance

_ASSET = "ranker.npz"
#: Features of one fit: names for people, the order for the network.
FEATURES = (
    "body_misfit", "ends_misfit", "cost", "root_from_lifter", "pose_from_lifter", "log_weight", "lifter_uncertainty",
    "root_uncertainty", "shape", "overstep", "strain",
)  # fmt: skip
#: Features of the person.
CONTEXT = ("seen_body", "seen_ends", "log_size")


class RankerFileError(ValueError):
    """A file is no ranker; the message says what to do."""


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


def save_ranker(path: str | os.PathLike[str], ranker: Ranker, record: str) -> str:
    """Write a ranker whole or not at all.

    Args:
        path: `.npz`.
        ranker: What was learnt.
        record: JSON text that says where it comes from.

    Returns:
        SHA-256 of the file.
    """
    arrays = {
        "record": np.array(record),
        "hypotheses": np.array(ranker.hypotheses),
        "caution": np.array(ranker.caution),
        **{name: getattr(ranker, name) for name in ("mean", "spread", "context_mean", "context_spread")},
    }
    for place, (kernel, bias) in enumerate(ranker.layers):
        arrays[f"kernel_{place}"], arrays[f"bias_{place}"] = kernel.astype(np.float32), bias.astype(np.float32)
    with provenance.replacing(path) as temporary:
        np.savez(temporary, **arrays)  # pyright: ignore[reportArgumentType]
    return provenance.file_sha256(path)


def read_ranker(data: bytes, *, source: str) -> Ranker:
    """A ranker from its file.

    Raises:
        RankerFileError: If the file is damaged or its arrays do not fit each other.
    """
    try:
        arrays = read_npz(data, source=source)
        names = tuple(str(name) for name in arrays["hypotheses"])
        if not names or len(set(names)) != len(names):
            raise ValueError("`hypotheses` must be there, each once")
        widths = {"mean": len(FEATURES), "spread": len(FEATURES), "context_mean": len(CONTEXT)}
        widths["context_spread"] = len(CONTEXT)
        for name, width in widths.items():
            if arrays[name].shape != (width,) or not np.isfinite(arrays[name]).all():
                raise ValueError(f"`{name}` must hold {width} numbers")
        count = sum(1 for name in arrays if name.startswith("kernel_"))
        layers = tuple((arrays[f"kernel_{place}"], arrays[f"bias_{place}"]) for place in range(count))
        if min(arrays["spread"].min(), arrays["context_spread"].min()) <= 0:
            raise ValueError("spreads must be positive")
        if not all(np.isfinite(array).all() for layer in layers for array in layer):
            raise ValueError("its weights must be finite")
        sizes = [2 * len(FEATURES) + len(names) + len(CONTEXT), *(len(bias) for _, bias in layers)]
        shapes = [(kernel.shape, bias.ndim) for kernel, bias in layers]
        if not count or sizes[-1] != 1 or shapes != [((a, b), 1) for a, b in itertools.pairwise(sizes)]:
            raise ValueError("its layers do not fit each other")
        return Ranker(
            mean=arrays["mean"],
            spread=arrays["spread"],
            context_mean=arrays["context_mean"],
            context_spread=arrays["context_spread"],
            hypotheses=names,
            layers=layers,
            caution=_finite(arrays["caution"]),
        )
    except (BodyFileError, KeyError, ValueError, TypeError) as error:
        raise RankerFileError(f"{source}: not a ranker ({error}); `python -m tools.train` makes one") from error


def _finite(value: np.ndarray) -> float:
    if value.shape or not np.isfinite(value):
        raise ValueError("`caution` must be one finite number")
    return float(value)


@functools.lru_cache(maxsize=1)
def packaged_ranker() -> Ranker:
    """The ranker that comes with the package.

    Raises:
        FileNotFoundError: If the package was installed without its data.
    """
    asset = resources.files("hardmo_jax").joinpath("networks", "assets", _ASSET)
    if not asset.is_file():
        raise FileNotFoundError(
            f"the package lacks networks/assets/{_ASSET}; reinstall hardmo_jax, or train one with "
            "`python -m tools.train --config=configs/train_ranker.py`"
        )
    return read_ranker(asset.read_bytes(), source=_ASSET)
