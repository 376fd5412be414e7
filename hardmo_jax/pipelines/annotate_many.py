"""Several videos, photos or folders one after the other, each into a folder of its own; what is done stays done."""

import dataclasses
import json
import logging
import os
import pathlib
import re
from collections.abc import Callable, Iterator, Sequence

from hardmo_jax.labels import provenance
from hardmo_jax.perception import load_source, media_files, video
from hardmo_jax.pipelines.annotate import (
    AnnotateOptions,
    AnnotateSummary,
    Progress,
    annotate,
    depends_on,
    load_body_option,
)

_LOG = logging.getLogger(__name__)
#: What stays of a name in that of a folder.
_PLAIN = re.compile(r"[^\w.-]+")
_LONGEST_NAME = 80


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one of several sources."""

    source: pathlib.Path
    """What was to be labelled."""
    output: pathlib.Path
    """Its folder."""
    summary: AnnotateSummary | None = None
    """Counts, if it was labelled now."""
    error: str | None = None
    """Why it could not be."""
    num_unusable: int = 0
    """Pictures of it that could not be used, now or by the earlier run."""

    @property
    def was_done(self) -> bool:
        """Whether an earlier run had labelled it in the same way."""
        return self.summary is None and self.error is None


def annotate_many(
    sources: Sequence[str | os.PathLike[str]],
    output_folder: str | os.PathLike[str],
    *,
    options: AnnotateOptions,
    model_folder: str | os.PathLike[str],
    command: tuple[str, ...] = (),
    progress: Progress | None = None,
    begun: Callable[[int, int, pathlib.Path], None] = lambda place, total, source: None,
) -> Iterator[Outcome]:
    """Label sources one after the other; one that fails does not stop the others.

    Args:
        sources: Videos, photos, keypoint files, folders of photos; a folder of videos is all of them.
        output_folder: Gets a folder for each, called after it.
        options: Of all of them.
        model_folder: Where the packaged perception models are.
        command: Command line, for `run.json`.
        progress: Called as work goes on.
        begun: Told place, number and name of each source as its work begins.

    Yields:
        What became of each, in order.
    """
    whole = sources_below(sources, output_folder)
    for place, (source, name) in enumerate(zip(whole, folder_names(whole), strict=True)):
        output = pathlib.Path(output_folder) / name
        begun(place, len(whole), source)
        try:
            if is_labelled(source, output, options, model_folder):
                yield Outcome(source=source, output=output, num_unusable=_unusable_before(output))
                continue
            summary = annotate(
                source, output, options=options, model_folder=model_folder, command=command, progress=progress
            )
        except Exception as error:
            # One that fails stops nobody; what is no mistake of the user's is told whole.
            is_ours = type(error).__module__.startswith("hardmo_jax.") or isinstance(error, OSError)
            if not is_ours:
                _LOG.exception("%s: an error that is no mistake of the input", source)
            text = " ".join(str(error).split()) or type(error).__name__
            yield Outcome(source=source, output=output, error=text if is_ours else f"{source}: {text}")
            continue
        yield Outcome(source=source, output=output, summary=summary, num_unusable=summary.num_unusable)


def sources_below(
    sources: Sequence[str | os.PathLike[str]], output_folder: str | os.PathLike[str]
) -> list[pathlib.Path]:
    """Inputs with folders of videos as all of them, without the overlays of earlier runs.

    Args:
        sources: As of `annotate_many`.
        output_folder: What lies below it is no input, unless it is named itself.
    """
    output = os.path.realpath(output_folder)
    found = []
    for source in map(pathlib.Path, sources):
        videos = media_files.videos_of_folder(source)
        if videos == [source]:
            found.append(source)
        else:
            # A link that leads back to itself is refused when it is opened, alone.
            found += [path for path in videos if not pathlib.Path(os.path.realpath(path)).is_relative_to(output)]
    return found


def folder_names(sources: Sequence[pathlib.Path]) -> list[str]:
    """A name for the folder of each source: its own, with a number where several have the same."""
    names: list[str] = []
    for source in sources:
        plain = _PLAIN.sub("_", source.stem or source.resolve().name).strip("._") or "source"
        plain, number = plain[:_LONGEST_NAME], 1
        name = plain
        # Names that differ in case alone are one folder on many disks.
        while name.casefold() in {other.casefold() for other in names}:
            number += 1
            name = f"{plain}_{number}"
        names.append(name)
    return names


def is_labelled(
    source: pathlib.Path,
    output: pathlib.Path,
    options: AnnotateOptions,
    model_folder: str | os.PathLike[str],
) -> bool:
    """Whether a complete run of the same options, by the same code, on the same files lies in a folder.

    Args:
        source: What was labelled.
        output: Where.
        options: By which.
        model_folder: Where weights of the user's may lie.
    """
    record = provenance.read_run(output / "run.json")
    if not record or not (output / "labels.parquet").is_file():
        return False
    now = provenance.RunRecord(config=dataclasses.asdict(options))
    for own in load_source.own_files(options.perception, model_folder):
        now.add_file(own.name, own)
    told = json.loads(json.dumps(now.to_dict()))
    then = record.get("files")
    if record.get("config") != told["config"] or not isinstance(then, dict):
        return False
    if any(then.get(name, {}).get("sha256") != file["sha256"] for name, file in told["files"].items()):
        return False
    results = record.get("results")
    if not isinstance(results, dict) or record.get("packages", {}).get("hardmo_jax") != told["packages"]["hardmo_jax"]:
        return False
    if results.get("depends_on") != json.loads(json.dumps(depends_on(options, load_body_option(options.body)))):
        return False
    known = results.get("sources") if isinstance(results, dict) else None
    media = video.open_media(source)
    return media.kind == "video" and isinstance(known, dict) and set(known.values()) == set(media.sha256)


def _unusable_before(output: pathlib.Path) -> int:
    """Pictures that the run which lies in a folder could not use."""
    results = provenance.read_run(output / "run.json").get("results")
    summary = results.get("summary") if isinstance(results, dict) else None
    count = summary.get("unusable") if isinstance(summary, dict) else None
    return count if isinstance(count, int) else 0
