"""Labels in the files that other people's trainers read, with their pictures where these lie inside."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

from hardmo_jax.export.training_sets import hardmo_tars, hmr2_tars, mocap_npz, spin_npz, training_labels
from hardmo_jax.export.training_sets.training_labels import TrainingExport, TrainingLabelOptions
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.pipelines.exports.dataset_pixels import LabelledPictures
from hardmo_jax.whole_files import replacing

#: Formats of one file, with its pictures beside it, and of tars with the pictures in them.
TRAINING_FORMATS: Mapping[str, str] = {
    "spin": "SPIN's npz; HMR, SPIN, PARE and their like",
    "cliff": "CLIFF's npz of pseudo ground truth",
    "hmr2": "WebDataset tars of 4DHumans",
    "hardmo": "tars of HardMo",
}
_NPZ = {"spin": spin_npz.write_spin_npz, "cliff": spin_npz.write_cliff_npz}
_TARS = {"hmr2": hmr2_tars.write_hmr2_tars, "hardmo": hardmo_tars.write_hardmo_tars}


@dataclasses.dataclass(frozen=True, kw_only=True)
class WrittenTraining:
    """What was written, and what its user should know."""

    export: TrainingExport
    num_files: int
    notes: tuple[str, ...]


def write_training(
    folder: pathlib.Path,
    rows: Sequence[LabelRow],
    format_name: str,
    *,
    pictures: pathlib.Path,
    options: TrainingLabelOptions,
    progress: Callable[[str, int, int | None], None],
) -> WrittenTraining:
    """Write labels for a trainer.

    Args:
        folder: Gets the npz and `images/`, the pictures that it names; or the tars.
        rows: Newest version of each label, of one body.
        format_name: Of `TRAINING_FORMATS`.
        pictures: Folder that the paths of pictures are relative to.
        options: Which labels.
        progress: Told pictures that are read, and of how many.

    Raises:
        hardmo_jax.export.training_sets.training_labels.TrainingExportError: If nothing can be written.
        hardmo_jax.export.dataset.dataset_facts.DatasetExportError: If a picture is missing, or another one.
        hardmo_jax.labels.schema.LabelError: If a label says something impossible.
    """
    folder.mkdir(parents=True)
    chosen = training_labels.select_training_labels(rows, options).rows
    told = _Told(format_name, len({training_labels.sample_key(row) for row in chosen}), progress)
    read = LabelledPictures(chosen, pictures)

    def picture_of(row: LabelRow) -> bytes:
        told.another()
        return read(row)

    if format_name in _TARS:
        export = _TARS[format_name](rows, folder, picture_of, options=options)
        num_files = len(export.paths)
        if format_name == "hmr2":
            # Poses for its discriminator, which 4DHumans reads from a file of their own.
            num_files += len(mocap_npz.write_mocap_npz(rows, folder / "mocap.npz", options=options).paths)
        return WrittenTraining(export=export, num_files=num_files, notes=_notes(export, format_name))
    export = _NPZ[format_name](rows, folder / f"{format_name}.npz", options=options)
    # As the labels saw them: upright, whatever a reader makes of EXIF, and under names that every disk takes.
    named = {training_labels.picture_name(row): row for row in chosen}
    for name, row in named.items():
        with replacing(folder / "images" / name) as scratch:
            scratch.write_bytes(picture_of(row))
    num_files = len(export.paths) + len(named)
    return WrittenTraining(export=export, num_files=num_files, notes=_notes(export, format_name))


def _notes(export: TrainingExport, format_name: str) -> tuple[str, ...]:
    flags = {"badly seen": " (--take_doubtful takes them)", "filled": " (--take_filled takes them)"}
    notes = [
        f"{count} labels were left out: {reason}"
        + next((flag for words, flag in flags.items() if reason.startswith(words)), "")
        for reason, count in export.left_out.items()
    ]
    if export.num_without_betas:
        what = f"{export.num_without_betas} of {export.num_people} people have no shape of SMPL's neutral body"
        if format_name == "hmr2":
            what += "; 4DHumans forgets their poses too unless its config says POSES_BETAS_SIMULTANEOUS: False"
        notes.append(f"{what}; --to_body with the file of SMPL's neutral body gives them one")
    return tuple(notes)


class _Told:
    """Counts pictures for the bar."""

    def __init__(self, stage: str, total: int, progress: Callable[[str, int, int | None], None]) -> None:
        self._stage, self._total, self._progress = stage, total, progress
        self._done = 0

    def another(self) -> None:
        """One more picture is read."""
        self._done += 1
        self._progress(self._stage, self._done, self._total)
