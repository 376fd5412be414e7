"""Batches for training: records of several sources, drawn by weights, cut out, augmented, and stacked.

Sample by number: what is drawn for a number does not hang on threads or on where a run was stopped, so that a loader
whose state was kept goes on with the same numbers (grain).
"""

import dataclasses
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8
from scipy.spatial.transform import Rotation

from hardmo_jax.array_types import Float
from hardmo_jax.data import hmr2_augmentation
from hardmo_jax.data.hmr2_augmentation import Augmentation, Hmr2AugmentationOptions
from hardmo_jax.data.training_records import (
    PixelReference,
    TrainingDataError,
    TrainingRecord,
    TrainingSource,
)
from hardmo_jax.missing_packages import MissingPackageError

#: Samples that are looked at before a share of broken ones is believed.
_FEW = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleOptions:
    """How people are cut out and changed."""

    crop_shape: tuple[int, int] = (256, 256)
    """(height, width) that the network takes, pixels."""
    stretches_contrast: bool = False
    """Whether the darkest and the brightest value of a crop become 0 and 255, as SPIN's loader makes them."""
    augmentation: Hmr2AugmentationOptions = Hmr2AugmentationOptions()
    occlusion_rate: float = 0.0
    """Share of people before whom a rectangle of one colour is put (Sarandi et al., 2018); labels stay."""
    occlusion_size: float = 0.4
    """Largest side of it, sides of the crop."""
    most_broken: float = 0.05
    """Share of samples without pixels or labels above which training stops; fewer are counted and left out."""

    def __post_init__(self) -> None:
        if not (0 <= self.occlusion_rate <= 1 and 0 < self.occlusion_size <= 1 and 0 <= self.most_broken <= 1):
            raise ValueError(f"rates and sizes must be within [0, 1], got {self}")


#: What is done where nothing is drawn: for validation.
PLAIN = Hmr2AugmentationOptions(
    shift=0.0, scale=0.0, rotation_degrees=0.0, rotation_rate=0.0, flip_rate=0.0, colour=0.0, part_rate=0.0
)


class BrokenCount:
    """Samples that could not be made; raises where they are too many, as a loader that skips all would wait forever."""

    def __init__(self, most: float) -> None:
        self._most, self._lock = most, threading.Lock()
        self.seen = self.broken = 0
        self.reasons: list[str] = []
        """Of the first ones."""

    def add(self, reason: str | None) -> None:
        """Count one sample.

        Args:
            reason: What is wrong with it; None for nothing.

        Raises:
            TrainingDataError: If too many are broken.
        """
        with self._lock:
            self.seen += 1
            if reason is None:
                return
            self.broken += 1
            if len(self.reasons) < 5 and reason not in self.reasons:
                self.reasons.append(reason)
            # Beyond what chance makes of a share that is still allowed.
            allowed = self._most * self.seen
            if self.seen >= _FEW and self.broken > allowed + 3 * math.sqrt(allowed):
                raise TrainingDataError(
                    f"{self.broken} of {self.seen} samples cannot be used, more than `most_broken` {self._most:g} "
                    f"allows; such as: {'; '.join(self.reasons[:2])}"
                )


def make_sample(
    record: TrainingRecord,
    image: UInt8[np.ndarray, "rows columns 3"],
    rng: np.random.Generator,
    options: SampleOptions,
) -> dict[str, np.ndarray]:
    """One person as a network is trained on it; a function of its arguments alone.

    Args:
        record: With labels in pixels of the picture.
        image: RGB.
        rng: Of what is drawn.
        options: What may be done.

    Returns:
        Arrays by name, float32; rotations as axis-angle, keypoints in crop units.

    Raises:
        TrainingDataError: If the box lies outside of the picture, or a number is none.
    """
    chosen = options.augmentation
    drawn = hmr2_augmentation.draw_augmentation(rng, chosen)
    center, size = np.asarray(record.center, np.float64), float(record.size)
    high, wide = options.crop_shape
    if high != wide and record.extent is not None:
        # The size of a crop that is no square is its height.
        size = float(max(record.extent[1], record.extent[0] * high / wide))
    _check_box(record, image)
    part = hmr2_augmentation.draw_part(rng, record.person.confidence, chosen)
    if part is not None:
        center, size = hmr2_augmentation.cut_down(
            center, size, part, record.person.keypoints_2d, record.person.confidence
        )
    crop, person = hmr2_augmentation.augment(
        image, center, size, record.person, drawn, crop_shape=options.crop_shape,
        stretches_contrast=options.stretches_contrast,
    )  # fmt: skip
    if rng.random() < options.occlusion_rate:
        _occlude(crop, rng, options.occlusion_size)
    height, width = image.shape[:2]
    matrix = hmr2_augmentation.augmented_matrix(center, size, drawn, width=width, crop_shape=options.crop_shape)
    tips = _fingertips(record, drawn, matrix, width, options.crop_shape)
    moved = center + size * np.array(drawn.shift)
    if drawn.is_flipped:
        moved[0] = width - moved[0] - 1
    # As if the camera had been turned about its axis, with all that is seen.
    middle = 0.5 * np.array([width, height])
    cosine, sine = np.cos(drawn.angle), np.sin(drawn.angle)
    moved = middle + (moved - middle) @ np.array([[cosine, -sine], [sine, cosine]])
    focal = record.focal_length or float(np.hypot(width, height))
    sample = {
        "image": crop,
        "keypoints_2d": person.keypoints_2d,
        "confidence_2d": person.confidence,
        "keypoints_3d": person.keypoints_3d,
        "confidence_3d": person.confidence_3d,
        "global_orient": person.global_orient,
        "body_pose": person.body_pose,
        "betas": record.betas,
        "has_pose": np.array(record.has_pose),
        "has_betas": np.array(record.has_betas),
        "box_center": moved,
        "box_size": np.array(size * drawn.scale),
        "image_size": np.array([width, height]),
        "focal_length": np.array(focal),
        "weight": np.array(record.weight),
        **tips,
    }
    sample = {name: np.asarray(value, np.float32) for name, value in sample.items()}
    wrong = [name for name, value in sample.items() if not np.isfinite(value).all()]
    if wrong:
        raise TrainingDataError(f"{record.name}: {', '.join(wrong)} hold numbers that are none")
    return sample


def _check_box(record: TrainingRecord, image: UInt8[np.ndarray, "rows columns 3"]) -> None:
    height, width = image.shape[:2]
    low, high = record.center - 0.5 * record.size, record.center + 0.5 * record.size
    if not np.isfinite(low).all() or not record.size > 1 or (high < 0).any() or (low > [width, height]).any():
        raise TrainingDataError(
            f"{record.name}: a box about {np.asarray(record.center).tolist()} of side {record.size:g} shows nothing of "
            f"a picture of {width} x {height}"
        )


def _fingertips(
    record: TrainingRecord, drawn: Augmentation, matrix: np.ndarray, width: int, crop_shape: tuple[int, int]
) -> dict[str, np.ndarray]:
    """Fingertips as the keypoints are treated."""
    points, depth = record.fingertips_2d, record.fingertips_3d
    points_2d = np.zeros((10, 2)) if points is None else np.array(points, np.float64)
    points_3d = np.zeros((10, 3)) if depth is None else np.array(depth, np.float64)
    confidence = np.zeros(10) if points is None else np.asarray(record.fingertips_confidence)
    confidence_3d = np.zeros(10) if depth is None else np.asarray(record.fingertips_confidence_3d)
    if drawn.is_flipped:
        # Five of the left hand, then five of the right one.
        other = np.r_[5:10, 0:5]
        points_2d = (np.array([width - 1, 0]) + np.array([-1, 1]) * points_2d)[other]
        points_3d = (np.array([-1, 1, 1]) * points_3d)[other]
        confidence, confidence_3d = confidence[other], confidence_3d[other]
    turn = Rotation.from_rotvec([0, 0, -drawn.angle]).as_matrix()
    return {
        "fingertips_2d": hmr2_augmentation.in_crop_units(points_2d, matrix, crop_shape),
        "fingertips_confidence_2d": confidence,
        "fingertips_3d": points_3d @ turn.T,
        "fingertips_confidence_3d": confidence_3d,
    }


def _occlude(crop: Float[np.ndarray, "H W 3"], rng: np.random.Generator, largest: float) -> None:
    high, wide = crop.shape[:2]
    sides = np.maximum(rng.uniform(0.1, largest, 2) * high, 1).astype(int)
    first = (rng.uniform(0, 1, 2) * np.array([high, wide]) - 0.5 * sides).astype(int)
    low, top = np.maximum(first, 0), np.maximum(first + sides, 0)
    crop[low[0] : top[0], low[1] : top[1]] = rng.normal(size=3).astype(np.float32)


def batches(
    sources: Sequence[TrainingSource],
    weights: Mapping[str, float],
    read_pixels: Callable[[PixelReference], np.ndarray],
    options: SampleOptions,
    *,
    batch_size: int,
    seed: int,
    broken: BrokenCount,
    threads: int = 2,
    shard: tuple[int, int] = (0, 1),
) -> Any:
    """Endless batches.

    Args:
        sources: At least one.
        weights: Of sources by name: share of samples; names that are not given count by their size.
        read_pixels: RGB of a picture; raises `TrainingDataError` where it cannot be read.
        options: How samples are made.
        batch_size: Samples a batch of this process.
        seed: Of the order and of what is drawn.
        broken: Told of every sample.
        threads: That read and cut out ahead.
        shard: Number of this process, and how many there are.

    Returns:
        A grain iterator of dictionaries of stacked arrays, with `get_state` and `set_state`.

    Raises:
        TrainingDataError: If there is nothing to draw from, or a weight names no source.
    """
    try:
        import grain
    except ImportError as error:
        raise MissingPackageError("batches for training need grain: pip install 'hardmo_jax[train]'") from error
    known = [source.name for source in sources]
    unknown = sorted(set(weights) - set(known))
    if not sources or unknown or any(not value >= 0 for value in weights.values()):
        raise TrainingDataError(
            f"weights of a mix must not be negative and name its sources ({', '.join(known) or 'there are none'}); got "
            f"{dict(weights)}"
        )
    sizes = {source.name: float(weights.get(source.name, len(source))) for source in sources}
    drawn = [source for source in sources if sizes[source.name] > 0 and len(source)]
    if 0 < len(weights) < len(known):
        raise TrainingDataError(
            f"of the sources {', '.join(known)} only {', '.join(weights)} have a weight: give all of them "
            "one, or none, which counts people"
        )
    if not drawn:
        raise TrainingDataError("the mix is empty: no source with people in it has a weight above zero")
    parts = []
    for place, source in enumerate(drawn):
        own = grain.MapDataset.range(len(source)).seed(seed + place).shuffle()
        own = own.repeat()[shard[0] :: shard[1]] if shard[1] > 1 else own.repeat()
        parts.append(own.map(_Numbered(source)))
    total = sum(sizes[source.name] for source in drawn)
    mixed = parts[0]
    if len(parts) > 1:
        mixed = grain.MapDataset.mix(parts, [sizes[source.name] / total for source in drawn])
    # Every process draws for itself.
    made = mixed.seed(seed + 1_000_003 * shard[0]).random_map(_Maker(read_pixels, options, broken)).filter(_is_made)
    reading = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(2 * batch_size, 1))
    return iter(made.to_iter_dataset(reading).batch(batch_size, drop_remainder=True))


@dataclasses.dataclass(frozen=True)
class _Numbered:
    source: TrainingSource

    def __call__(self, index: int) -> tuple[TrainingSource, int]:
        return self.source, index


@dataclasses.dataclass(frozen=True)
class _Maker:
    read_pixels: Callable[[PixelReference], np.ndarray]
    options: SampleOptions
    broken: BrokenCount

    def __call__(self, numbered: tuple[TrainingSource, int], rng: np.random.Generator) -> dict[str, np.ndarray] | None:
        source, index = numbered
        try:
            record = source.record(index)
            sample = make_sample(record, self.read_pixels(record.pixels), rng, self.options)
        except (TrainingDataError, OSError) as error:
            self.broken.add(str(error))
            return None
        self.broken.add(None)
        return sample


def _is_made(sample: dict[str, np.ndarray] | None) -> bool:
    return sample is not None


def in_order(
    source: TrainingSource,
    read_pixels: Callable[[PixelReference], np.ndarray],
    options: SampleOptions,
    *,
    batch_size: int,
    broken: BrokenCount,
) -> Iterator[dict[str, np.ndarray]]:
    """All people of a source once, as they are: for validation.

    `row` is the number of each; the last batch is filled with its first sample, weight 0 and row -1.

    Args:
        source: Of the people.
        read_pixels: As in `batches`.
        options: How people are cut out; nothing is changed.
        batch_size: Samples a batch.
        broken: Told of every sample.
    """
    plain = dataclasses.replace(options, augmentation=PLAIN, occlusion_rate=0.0)
    maker, waiting = _Maker(read_pixels, plain, broken), []
    for index in range(len(source)):
        sample = maker((source, index), np.random.default_rng(index))
        if sample is not None:
            waiting.append(sample | {"row": np.array(index)})
        is_last = index + 1 == len(source)
        if waiting and (len(waiting) == batch_size or is_last):
            nobody = waiting[0] | {"weight": np.zeros((), np.float32), "row": np.array(-1)}
            waiting += [nobody] * (batch_size - len(waiting))
            yield {name: np.stack([one[name] for one in waiting]) for name in waiting[0]}
            waiting = []
