"""Pictures of a training run: curves of its scalars, and what the network says of some crops."""

import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8

from hardmo_jax.array_types import Bool, Float
from hardmo_jax.perception.crop_rules import IMAGENET_MEAN, IMAGENET_STD

#: Colours of truth and of the network, RGB.
_TRUTH, _FOUND = (60, 200, 60), (230, 60, 50)
#: Bones of the first 25 keypoints of `hmr2_44`.
_BONES = (
    (0, 1), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (10, 11), (8, 12), (12, 13),
    (13, 14), (14, 19), (19, 20), (14, 21), (11, 22), (22, 23), (11, 24), (0, 15), (0, 16), (15, 17), (16, 18),
)  # fmt: skip


def draw_crops(
    path: str | os.PathLike[str],
    images: Float[np.ndarray, "N H W 3"],
    wanted: Float[np.ndarray, "N K 2"],
    is_wanted: Bool[np.ndarray, "N K"],
    found: Float[np.ndarray, "N K 2"],
    *,
    columns: int = 8,
) -> pathlib.Path:
    """Crops with keypoints of the labels in green and of the network in red.

    Args:
        path: PNG to write.
        images: Normalised crops.
        wanted: Of labels, heights of the crop from its middle; of `hmr2_44`.
        is_wanted: Which of them are there.
        found: Of the network.
        columns: Crops a row.
    """
    import cv2

    tiles = [_tile(*each) for each in zip(images, wanted, is_wanted, found, strict=True)]
    columns = min(columns, len(tiles))
    blank = np.full_like(tiles[0], 255)
    tiles += [blank] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[first : first + columns], 1) for first in range(0, len(tiles), columns)]
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.concatenate(rows)[..., ::-1])
    return path


def _tile(
    image: Float[np.ndarray, "H W 3"],
    wanted: Float[np.ndarray, "K 2"],
    is_wanted: Bool[np.ndarray, "K"],
    found: Float[np.ndarray, "K 2"],
) -> UInt8[np.ndarray, "H W 3"]:
    import cv2

    picture = np.clip((image * np.array(IMAGENET_STD) + np.array(IMAGENET_MEAN)) * 255, 0, 255).astype(np.uint8).copy()
    high, wide = picture.shape[:2]

    def pixels(points: Float[np.ndarray, "K 2"]) -> list[tuple[int, int]]:
        places = np.clip(np.nan_to_num(points) * high + 0.5 * np.array([wide, high]), -high, 2 * high)
        return [(round(float(x)), round(float(y))) for x, y in places]

    for points, colour, is_there in ((wanted, _TRUTH, is_wanted), (found, _FOUND, np.ones(len(found), bool))):
        at = pixels(points)
        # A dark edge first: colours of pictures are changed, to red and green among others.
        for width, shade in ((3, (20, 20, 20)), (1, colour)):
            for first, second in _BONES:
                if is_there[first] and is_there[second]:
                    cv2.line(picture, at[first], at[second], shade, width, cv2.LINE_AA)
    for row, (word, colour) in enumerate((("label", _TRUTH), ("network", _FOUND))):
        place = (3, 11 + 12 * row)
        for width, shade in ((3, (20, 20, 20)), (1, colour)):
            cv2.putText(picture, word, place, cv2.FONT_HERSHEY_SIMPLEX, 0.36, shade, width, cv2.LINE_AA)
    picture[-1:], picture[:, -1:] = 255, 255
    return picture


def draw_training_curves(
    path: str | os.PathLike[str],
    curves: Mapping[str, tuple[Sequence[float | int], Sequence[float | int]]],
    *,
    title: str,
) -> pathlib.Path:
    """Scalars over steps, one small chart each.

    Args:
        path: PNG to write.
        curves: Steps and values by name.
        title: Words above.

    Raises:
        ModuleNotFoundError: If matplotlib is not installed (extras `train` and `viz`).
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    columns = 4
    count = max(len(curves), 1)
    rows = -(-count // columns)
    figure, grid = pyplot.subplots(rows, columns, figsize=(4 * columns, 2.8 * rows), squeeze=False)
    for axis in grid.flat[count:]:
        axis.set_visible(False)
    for axis, (name, (steps, values)) in zip(grid.flat, curves.items(), strict=False):
        axis.plot(steps, values, linewidth=1.2, marker="o" if len(values) == 1 else None)
        if len(values) > 1 and min(values) > 0 and max(values) > 50 * min(values):
            axis.set_yscale("log")
        axis.set_title(name, fontsize=10)
        axis.grid(alpha=0.3)
        axis.tick_params(labelsize=8)
    figure.suptitle(title)
    figure.tight_layout()
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
    return path
