"""Time against batch size, all contestants, as a picture."""

import pathlib
from typing import Any

_TITLES = {"mesh": "full mesh", "keypoint_gradient": "45 keypoints, value and gradient"}


def draw(result: dict[str, Any], target: pathlib.Path) -> None:
    """Write the picture of a result of the body suite; needs matplotlib, of the `bench` extra."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(_TITLES), figsize=(11, 4.2), sharey=True)
    for axis, (measure, title) in zip(axes, _TITLES.items(), strict=True):
        rows = [row for row in result["rows"] if row["measure"] == measure and row["name"] != "matrix product"]
        for name in dict.fromkeys(row["name"] for row in rows):
            # This package is measured beside each peer: the best of its figures, as of each peer's only one.
            batches = sorted({row["batch"] for row in rows if row["name"] == name})
            seconds = [
                min(row["median_seconds"] for row in rows if row["name"] == name and row["batch"] == batch)
                for batch in batches
            ]
            is_ours = name == "hardmo_jax"
            axis.loglog(batches, [1e3 * value for value in seconds], marker="o", lw=2.5 if is_ours else 1.2, label=name)
        axis.set_title(title)
        axis.set_xlabel("batch size")
        axis.grid(True, which="major", alpha=0.3)
    axes[0].set_ylabel("median of a call, ms")
    axes[0].legend(fontsize=8)
    machine = result["machine"]
    figure.suptitle(f"SMPL, one core of {machine['processor']}, {machine['date']}", fontsize=9)
    figure.tight_layout()
    figure.savefig(target, dpi=110)
