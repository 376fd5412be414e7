"""Which formats there are, what each is called in the output folder, and how labels are exported."""

import dataclasses
from collections.abc import Sequence

from hardmo_jax.export.dataset.dataset_facts import DatasetWords
from hardmo_jax.export.source_names import ExportError
from hardmo_jax.export.training_sets.training_labels import TrainingLabelOptions
from hardmo_jax.pipelines.exports.export_motions import MOTION_FORMATS
from hardmo_jax.pipelines.exports.export_training import TRAINING_FORMATS
from hardmo_jax.pipelines.exports.label_motions import MotionOptions

#: What each format is called in the output folder.
OUTPUTS: dict[str, str] = {
    **{name: name for name in (*MOTION_FORMATS, *TRAINING_FORMATS)},
    "openpose": "openpose",
    "coco_wholebody": "coco_wholebody.json",
    "coco_named": "coco_named.json",
    "hf": "hf",
}


#: Endings of the files that a format puts into its folder; what ends otherwise is somebody's own.
ENDINGS: dict[str, tuple[str, ...]] = {
    **{name: (form.suffix,) for name, form in MOTION_FORMATS.items()},
    "spin": (".npz", ".jpg"),
    "cliff": (".npz", ".jpg"),
    "hmr2": (".tar", ".npz"),
    "hardmo": (".tar",),
    "openpose": (".json",),
    "hf": (".parquet", ".md", ".json", ""),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How labels are exported."""

    body: str | None = None
    """File of the body model of the labels, or `open_body`; None where there is no other."""
    to_body: str | None = None
    """File of the body model, or `open_body`, that labels are converted to; None leaves them as they are."""
    vertex_map: str | None = None
    """File of a transfer matrix between both meshes; None compares what both have."""
    motion: MotionOptions = dataclasses.field(default_factory=MotionOptions)
    """How labels become motion."""
    pictures: str | None = None
    """Folder that the paths of pictures are relative to; None takes what the run that made the labels looked at."""
    training: TrainingLabelOptions = dataclasses.field(default_factory=TrainingLabelOptions)
    """Which labels others are to learn from."""
    with_pixels: bool = False
    """Whether a data set holds pictures."""
    allow_unknown_licence: bool = False
    """Also pictures whose licence labels do not tell."""
    words: DatasetWords = dataclasses.field(default_factory=DatasetWords)
    """What is told of a data set that labels cannot tell."""


def check_formats(names: Sequence[str]) -> tuple[str, ...]:
    """Names of formats, each once.

    Raises:
        ExportError: If there is none, or one that is not known; the valid ones are told.
    """
    chosen = tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
    unknown = [name for name in chosen if name not in OUTPUTS]
    if unknown or not chosen:
        found = f"unknown format {unknown[0]!r}" if unknown else "no format is named"
        raise ExportError(f"{found}; known: {', '.join(OUTPUTS)}; several are given as --format=glb,bvh")
    return chosen
