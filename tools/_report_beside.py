"""The report that a tool leaves beside the labels it wrote."""

import os
import pathlib

import rich.console

from hardmo_jax.labels.schema import LabelError
from hardmo_jax.pipelines import report_labels


def report_beside(
    labels: str | os.PathLike[str], *, pictures: str | os.PathLike[str] | None = None, only_again: bool = False
) -> None:
    """Write `report.html` beside labels and say where it is; that it cannot be written fails no run.

    Args:
        labels: Folder of labels, or their file.
        pictures: Folder or file that was labelled; None takes what `run.json` says.
        only_again: Whether only a report that lies there is replaced, which would tell of labels that are no more.
    """
    folder = pathlib.Path(labels)
    folder = folder if folder.is_dir() else folder.parent
    if only_again and not (folder / report_labels.REPORT_NAME).is_file():
        return
    console = rich.console.Console(highlight=False, markup=False)
    try:
        told = report_labels.write_report(folder, pictures=pictures)
    except report_labels.ReportError:
        return  # nobody was found, which the tool says
    except (LabelError, OSError) as error:
        console.print(f"warning: no report was written: {error}", soft_wrap=True)
        return
    console.print(f"numbers, worst hands and feet: {told.path}, for any browser", soft_wrap=True)
