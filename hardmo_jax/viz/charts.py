"""Charts of an evaluation."""

import math
import os
import pathlib
from collections.abc import Mapping, Sequence


def draw_evaluation(
    path: str | os.PathLike[str],
    thresholds: Sequence[float],
    curves: Mapping[str, Mapping[str, Sequence[float]]],
    joint_errors: Mapping[str, Mapping[str, float]],
    *,
    title: str,
    marks: Sequence[float] = (),
) -> pathlib.Path:
    """Draw PCK curves by part, and the error of each joint, of one or several methods.

    Args:
        path: PNG to write.
        thresholds: Shares of the box side.
        curves: PCK at the thresholds, by point set and then by method.
        joint_errors: Metres by joint, by method.
        title: Words above.
        marks: Thresholds that tables print.

    Raises:
        ModuleNotFoundError: If matplotlib is not installed (extra `viz`).
    """
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, grid = pyplot.subplots(
        1,
        len(curves) + 1,
        figsize=(4 * (len(curves) + 1) + 2, 5.2),
        width_ratios=[1] * len(curves) + [1.6],
        squeeze=False,
    )
    axes = grid[0]
    colours = [f"C{index}" for index in range(10)]
    methods = list(joint_errors)
    for axis, (part, by_method) in zip(axes, curves.items(), strict=False):
        for method, values in by_method.items():
            axis.plot(thresholds, values, label=method, color=colours[methods.index(method) % 10])
        for mark in marks:
            axis.axvline(mark, color="grey", linestyle=":", linewidth=1)
        axis.set(title=f"PCK {part}", xlabel="threshold, share of the box side", ylim=(0, 1), xlim=(0, max(thresholds)))
        axis.grid(alpha=0.3)
    if curves:
        axes[0].set_ylabel("PCK")
    last = axes[-1]
    joints = [
        joint for joint in next(iter(joint_errors.values()), {}) if math.isfinite(joint_errors[methods[0]][joint])
    ]
    height = 0.8 / max(len(methods), 1)
    for row, method in enumerate(methods):
        places = [index + row * height for index in range(len(joints))]
        values = [1000 * joint_errors[method].get(joint, math.nan) for joint in joints]
        last.barh(places, values, height=height, label=method, color=colours[row % 10])
    last.set_yticks([index + 0.4 - height / 2 for index in range(len(joints))], joints, fontsize=6)
    last.invert_yaxis()
    last.set(title="error of each joint", xlabel="mm, root-aligned")
    last.grid(alpha=0.3, axis="x")
    figure.suptitle(title)
    figure.legend(*last.get_legend_handles_labels(), loc="lower center", ncols=4)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    path = pathlib.Path(path)
    temporary = path.with_name(f".{path.stem}.tmp.png")
    # No date in the file: equal charts are equal files.
    figure.savefig(temporary, dpi=110, metadata={"Software": None})
    pyplot.close(figure)
    temporary.replace(path)
    return path
