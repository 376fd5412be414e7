"""What labels tell of themselves as a data set, in numbers and words: the one source of its card and its metadata.

Nothing is invented: what labels do not say is said to be unknown.
"""

import dataclasses
import functools
import pathlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from hardmo_jax.export.source_names import ExportError, is_frame_of_video, published_source
from hardmo_jax.labels import schema
from hardmo_jax.labels.private_text import public_text
from hardmo_jax.labels.schema import LabelRow
from hardmo_jax.skeleton import layouts

UNKNOWN = "unknown"
#: Words that say nothing of a licence.
_NO_LICENCE = ("", "none", "n/a", "?", UNKNOWN)
#: Values of a column that are told one by one; the rest is summed up.
_MOST_NAMED = 12
#: Probability from which a foot or hand counts as probably wrong.
_PROBABLY_WRONG = 0.5
#: Folders whose children are called after people.


class DatasetExportError(ExportError):
    """Labels that cannot become a data set, or a folder that is none; the message says what to do."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetWords:
    """What labels cannot tell and whoever publishes them may know; None is said to be unknown."""

    name: str = "hardmo_jax labels"
    licence: str | None = None
    """Licence of the labels, best as the Hub names it, such as `cc-by-4.0`; that of each source stays in its rows."""
    creator: str | None = None
    """Who made the data set."""
    url: str | None = None
    """Where it is published."""
    citation: str | None = None
    """How it is to be cited, best as BibTeX."""
    has_synthetic_pictures: bool | None = None
    """Whether pictures that were labelled are rendered or generated."""
    version: str = "1.0.0"
    """Of the data set: MAJOR.MINOR.PATCH."""

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise DatasetExportError("a data set needs a name, such as --name='Dance labels'")
        if not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", self.version):
            raise DatasetExportError(
                f"the version of a data set is MAJOR.MINOR.PATCH, such as 1.0.0; got {self.version!r}"
            )
        if self.url is not None and not re.match(r"https?://", self.url):
            raise DatasetExportError(f"the address of a data set begins with https://, got {self.url!r}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """Counts over the labels of a data set; `None` as a key stands for rows that do not say."""

    num_labels: int
    num_sources: int
    num_videos: int
    num_pictures: int
    """Photos and frames with a label."""
    num_people: int
    """Tracks: one person seen twice may be two."""
    num_with_pixels: int
    """Rows that hold their picture."""
    has_pixels: bool
    """Whether there is a column of pictures at all."""
    categories: Mapping[str | None, int]
    licences: Mapping[str | None, int]
    origins: Mapping[str, int]
    reviews: Mapping[str, int]
    num_marked: int
    """Labels of which a person called a foot or hand right or wrong."""
    statuses: Mapping[str, int]
    body_models: Mapping[tuple[str, str], int]
    """By name and SHA-256 of the file."""
    keypoint_sources: Mapping[str, int]
    camera_sources: Mapping[str, int]
    code_versions: Mapping[str | None, int]
    quality_reasons: Mapping[str, int]
    num_probably_wrong: Mapping[str, int]
    """Labels by foot and hand that is wrong with a probability of one half or more."""
    num_not_scored: int
    """Labels of which no foot or hand was scored."""
    most_versions: int
    """Highest version of a label."""
    labelled: tuple[str, str] | None
    """Dates of the oldest and the newest label; None without labels."""


def dataset_facts(rows: Sequence[LabelRow], *, num_with_pixels: int = 0, has_pixels: bool = False) -> DatasetFacts:
    """Count what labels say.

    Args:
        rows: One version of each label.
        num_with_pixels: Rows that hold their picture.
        has_pixels: Whether there is a column of pictures.
    """
    sources = {(row.source_path, row.source_sha256) for row in rows}
    dates = sorted(row.created_utc for row in rows)
    parts = [part for part in layouts.PARTS if part != "body"]
    return DatasetFacts(
        num_labels=len(rows),
        num_sources=len(sources),
        num_videos=len({(row.source_path, row.source_sha256) for row in rows if is_frame_of_video(row)}),
        num_pictures=len({(row.source_path, row.source_sha256, row.frame_index) for row in rows}),
        num_people=len({(row.source_path, row.source_sha256, row.track_id) for row in rows}),
        num_with_pixels=num_with_pixels,
        has_pixels=has_pixels,
        categories=_counted(row.category for row in rows),
        licences=_counted(row.licence if has_licence(row) else None for row in rows),
        origins=_counted(row.origin for row in rows),
        reviews=_counted(row.review for row in rows),
        num_marked=sum(any(word is not None for word in row.review_by_part.values()) for row in rows),
        statuses=_counted(row.status for row in rows),
        body_models=_counted((row.body_model, row.body_model_sha256) for row in rows),
        keypoint_sources=_counted(row.keypoint_source for row in rows),
        camera_sources=_counted(row.camera_source for row in rows),
        code_versions=_counted(row.code_version for row in rows),
        quality_reasons=_counted(reason for row in rows for reason in row.quality_reasons or ()),
        num_probably_wrong={
            part: sum((row.probability_wrong(part) or 0) >= _PROBABLY_WRONG for row in rows) for part in parts
        },
        num_not_scored=sum(all(row.wrong_by_part[part] is None for part in parts) for row in rows),
        most_versions=max((row.label_version for row in rows), default=0),
        labelled=(dates[0].date().isoformat(), dates[-1].date().isoformat()) if dates else None,
    )


def _counted(values: Iterable) -> dict:
    """How often each value occurs, the most frequent first."""
    return dict(Counter(values).most_common())


def has_licence(row: LabelRow) -> bool:
    """Whether the licence of the picture is known."""
    return row.licence is not None and row.licence.strip().casefold() not in _NO_LICENCE


def public_label(row: LabelRow) -> LabelRow:
    """A label without the folders of somebody's disk: paths below what was labelled stay, others lose their folders."""
    changes: dict[str, str] = {}
    path = _public_path(row.source_path)
    if path != row.source_path:
        changes["source_path"] = path
    for name in ("category", "licence", "keypoint_source", "camera_source", "body_model", "code_version"):
        text = getattr(row, name)
        if text is not None and (public := public_text(text)) != text:
            changes[name] = public
    return dataclasses.replace(row, **changes) if changes else row


def _public_path(text: str) -> str:
    try:
        path = published_source(text)
    except ExportError:
        return UNKNOWN
    return text if path == pathlib.PurePosixPath(text.replace("\\", "/")) else str(path)


def responsible_ai(facts: DatasetFacts, words: DatasetWords) -> dict[str, str | list[str]]:
    """What a reader must know to use the data responsibly, by field of Croissant's extension for that.

    Args:
        facts: Of the labels.
        words: Of whoever publishes them.

    Returns:
        Sentences by name of the field, such as `dataBiases`, in the order in which they are told.
    """
    say = functools.partial(counts_in_words, of=facts.num_labels)
    return {
        "dataCollection": (
            f"Labels of {facts.num_people} tracks of people in {facts.num_pictures} pictures: {facts.num_videos} "
            f"videos and {facts.num_sources - facts.num_videos} photos. How, where and when these were taken or "
            f"collected, and whether the people in them agreed, is not recorded: {UNKNOWN}."
        ),
        "dataCollectionMissingData": (
            "People who were not found in a picture, or seen too badly, have no label, and the labels do not tell how "
            f"many: {UNKNOWN}. {facts.statuses.get('FILLED', 0)} labels are of people in frames in which nobody saw "
            "them (status FILLED), from the frames around; "
            f"{sum(facts.statuses.get(name, 0) for name in schema.FAILED_STATUSES)} have no usable pose (status "
            f"{', '.join(schema.FAILED_STATUSES)})."
        ),
        "dataCollectionRawData": (
            f"Pictures are in {facts.num_with_pixels} of {facts.num_labels} rows, decoded, turned upright and encoded "
            "anew without their metadata; source_sha256 is the checksum of the file that was labelled."
            if facts.has_pixels
            else "No pictures are included; source_sha256 is the checksum of the file that was labelled."
        ),
        "dataAnnotationProtocol": [
            f"By origin: {say(facts.origins)}.",
            f"By review of a person: {say(facts.reviews)}; a foot or hand was called right or wrong by one in "
            f"{facts.num_marked}.",
            f"By outcome of the fit: {say(facts.statuses)}.",
            "Machine labels: keypoints are measured in the picture and a body model is fitted to them. Each row names "
            "what measured, the body model and its checksum, the version of the code and the digest of the "
            "configuration.",
        ],
        "annotationsPerItem": "One label a person and picture: the newest of its versions "
        f"(the highest is {facts.most_versions}).",
        "annotatorDemographics": [UNKNOWN if _has_a_persons_word(facts) else "no person made or reviewed a label"],
        "machineAnnotationTools": [
            *(f"keypoints: {name} ({count} labels)" for name, count in _first(facts.keypoint_sources)),
            *(f"body model: {name}, SHA-256 {sha} ({count} labels)"
              for (name, sha), count in facts.body_models.items()),
            *(f"code: {version or UNKNOWN} ({count} labels)" for version, count in _first(facts.code_versions)),
        ],
        "dataImputationProtocol": "Frames between those in which a person was seen carry status FILLED; parts without "
        "evidence of their own say so in the columns evidence_*.",
        "dataBiases": [
            f"By category of motion: {say(facts.categories)}.",
            f"By licence of the source: {say(facts.licences)}.",
            f"By source of the camera: {say(facts.camera_sources)}; `diagonal` is an assumed focal length, which "
            "biases depth and size.",
            f"Age, sex, skin colour, build, clothing and origin of the people: {UNKNOWN}. The column `gender` is the "
            "variant of the body model, not that of the person.",
        ],
        "dataLimitations": [
            _wrong_in_words(facts),
            "Doubts that a person was seen well enough, in labels: "
            + (counts_in_words(facts.quality_reasons, of=None) or "none noted") + ".",
            "Depth along the viewing ray, and with it absolute size, is not measured by one camera.",
            "Errors are of the fit against measured keypoints, which may be wrong themselves; truth is not known.",
        ],
        "personalSensitiveInformation": [
            "Shape and motion of people" + (", and pictures that show them and whoever stands beside them."
                                            if facts.has_pixels else "; no pictures."),
            f"Consent of the people: {UNKNOWN}. Names, places and metadata of pictures are not included; names of "
            "files and their checksums are.",
        ],
        "dataUseCases": [
            "Labels in this form are for training and measuring estimators of human pose and shape, and for the study "
            "of motion.",
            f"What else they are fit for is not known: {UNKNOWN}. They are not meant to identify people.",
        ],
        "dataSocialImpact": f"Not assessed: {UNKNOWN}.",
        "dataReleaseMaintenancePlan": "A source, or one person in it, is taken out of labels, data set and drawings by "
        "`python -m tools.remove`; who maintains the data set: " + (words.creator or UNKNOWN) + ".",
    }  # fmt: skip


def _has_a_persons_word(facts: DatasetFacts) -> bool:
    return "human" in facts.origins or any(review != "none" for review in facts.reviews) or facts.num_marked > 0


def _wrong_in_words(facts: DatasetFacts) -> str:
    parts = ", ".join(f"{part.replace('_', ' ')} {count}" for part, count in facts.num_probably_wrong.items())
    not_scored = f"; {facts.num_not_scored} labels were not scored" if facts.num_not_scored else ""
    return f"Labels whose foot or hand is wrong with a probability of one half or more: {parts}{not_scored}."


def _first(counts: Mapping) -> list:
    return list(counts.items())[:_MOST_NAMED]


def counts_in_words(counts: Mapping, *, of: int | None, name: Callable = lambda key: key or UNKNOWN) -> str:
    """Counts as a phrase, such as `ballet 12 (60 %), unknown 8 (40 %)`.

    Args:
        counts: By value, the most frequent first.
        of: What a share is of; None tells none.
        name: Of a value.
    """
    told = [f"{name(key)} {count}" + (f" ({100 * count / of:.3g} %)" if of else "") for key, count in _first(counts)]
    rest = list(counts.values())[_MOST_NAMED:]
    if rest:
        told.append(f"{len(rest)} others {sum(rest)}")
    return ", ".join(told)
