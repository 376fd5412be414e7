"""Which body stored labels are of."""

import collections
import os
from collections.abc import Mapping, Sequence
from typing import Any

from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.pipelines.annotate_options import BodyOptions


def body_option_of_labels(
    rows: Sequence[LabelRow], run: Mapping[str, Any], given: str | os.PathLike[str] | None = None
) -> BodyOptions:
    """The body that most labels are of, as options.

    Args:
        rows: One label at least.
        run: What `run.json` beside the labels says, which knows files of licensed bodies.
        given: File of a body, which wins.
    """
    if given is not None:
        return BodyOptions(model=os.fspath(given))
    most = collections.Counter(row.body_model for row in rows).most_common(1)[0][0]
    if most.startswith("open_body_"):
        return BodyOptions(view="smpl" if most.endswith("_smpl") else "smplh")
    config = run.get("config")
    section = config.get("body") if isinstance(config, dict) else None
    model = section.get("model") if isinstance(section, dict) else None
    return BodyOptions(model=os.path.expanduser(model) if isinstance(model, str) else "open_body")
