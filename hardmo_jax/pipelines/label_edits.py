"""What a person says of labels, put into all versions of them: reviews in place, corrections as new versions.

A review is of the version that was looked at, and is refused where another has taken its place. A correction is a
person's work: it becomes the newest version whatever was written meanwhile, and nothing is taken away for it.

Whoever shows an edit before it is written numbers the version by what is known then; the store may number it otherwise.
An edit therefore bears the time at which it was made, which both versions get, and by which they are the same.
"""

import dataclasses
import datetime
from collections.abc import Mapping, Sequence

from hardmo_jax.labels import schema
from hardmo_jax.labels.schema import LabelError, LabelRow


class LabelEditError(ValueError):
    """An edit that says something impossible; the message says what."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LabelEdit:
    """What a person says of one version of a label."""

    label_id: str
    label_version: int
    """The version that the person saw."""
    review: str | None = None
    """One of `labels.schema.REVIEWS`, `none` to take an earlier word back; None says nothing: what was accepted was
    another pose than the corrected one, and what was rejected stays so."""
    review_by_part: Mapping[str, str | None] | None = None
    """One of `labels.schema.PART_REVIEWS`, or None to take an earlier word back, of each part that it names."""
    corrected: LabelRow | None = None
    """The whole label as the person left it, made of the version that was seen."""
    has_new_pose: bool = True
    """Whether the pose of `corrected` is a person's; else the person changed what was seen of the body alone, and its
    version has the origin, and the review, of the one that it was made of."""
    seen: LabelRow | None = None
    """What the person saw: with it a word that somebody else said meanwhile is told, and a label that was made anew
    under the same version is not taken for the one that was seen, and an own version is known whatever its number."""
    made_utc: datetime.datetime = dataclasses.field(default_factory=lambda: datetime.datetime.now(datetime.UTC))
    """When it was made, which is when its version was."""

    def check(self) -> None:
        """Refuse what cannot go into a label file, before it is queued.

        Raises:
            LabelEditError: If it says nothing, a word or part is not known, or the corrected label is another one or
                impossible.
        """
        told = f"label {self.label_id} version {self.label_version}"
        if self.review is None and not self.review_by_part and self.corrected is None:
            raise LabelEditError(f"{told}: an edit needs a `review`, `review_by_part` or a `corrected` label")
        if self.review is not None and self.review not in schema.REVIEWS:
            raise LabelEditError(f"{told}: `review` must be one of {', '.join(schema.REVIEWS)}, got {self.review!r}")
        for part, word in (self.review_by_part or {}).items():
            if part not in schema.layouts.PARTS or (word is not None and word not in schema.PART_REVIEWS):
                raise LabelEditError(
                    f"{told}: `review_by_part` must say {' or '.join(schema.PART_REVIEWS)}, or None, of "
                    f"{', '.join(schema.layouts.PARTS)}; got {word!r} of {part!r}"
                )
        if self.corrected is None:
            return
        if self.corrected.label_id != self.label_id:
            raise LabelEditError(f"{told}: the corrected label is another one, {self.corrected.label_id}")
        if not self.corrected.is_usable:
            raise LabelEditError(f"{told}: the corrected label has no pose, its fit ended as {self.corrected.status}")
        try:
            self.corrected.validate()
        except LabelError as error:
            raise LabelEditError(f"{told}: the corrected label says something impossible: {error}") from error


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class EditOutcome:
    """What became of one edit."""

    edit: LabelEdit
    row: LabelRow | None
    """The version that holds it; None if it could not be put anywhere."""
    before: LabelRow | None
    """The newest version until then; None if the label is gone."""
    note: str | None = None
    """Why not, or what a person must know of what somebody else wrote meanwhile."""

    @property
    def is_applied(self) -> bool:
        """Whether it went into the labels."""
        return self.row is not None


@dataclasses.dataclass(frozen=True, kw_only=True)
class EditedLabels:
    """Labels after some edits."""

    rows: tuple[LabelRow, ...]
    """All versions, new ones behind the last of their label."""
    outcomes: tuple[EditOutcome, ...]
    """One for each edit, in order."""


def with_edits(
    rows: Sequence[LabelRow],
    edits: Sequence[LabelEdit],
    *,
    code_version: str | None = None,
    before: Sequence[EditOutcome] = (),
) -> EditedLabels:
    """Put edits into labels, one after the other.

    Args:
        rows: Labels, any number of versions, at least all versions of those that are edited.
        edits: That were checked (`LabelEdit.check`).
        code_version: Of the program that the person used, for corrected versions.
        before: Outcomes of earlier edits of the same person: an edit of a version that this person has corrected since,
            without having been told yet which version that made, is of the corrected one.
    """
    versions: dict[str, list[LabelRow]] = {}
    for row in rows:
        versions.setdefault(row.label_id, []).append(row)
    earlier: dict[str, list[EditOutcome]] = {}
    for one in before:
        earlier.setdefault(one.edit.label_id, []).append(one)
    outcomes = []
    for edit in edits:
        own, by_same_person = versions.get(edit.label_id, []), earlier.setdefault(edit.label_id, [])
        outcome = _outcome(own, edit, by_same_person, code_version)
        outcomes.append(outcome)
        by_same_person.append(outcome)
        if outcome.row is not None:
            kept = [row for row in own if row.label_version != outcome.row.label_version]
            versions[edit.label_id] = [*kept, outcome.row]
    return EditedLabels(
        rows=tuple(row for own in versions.values() for row in sorted(own, key=lambda version: version.label_version)),
        outcomes=tuple(outcomes),
    )


def _outcome(
    versions: Sequence[LabelRow], edit: LabelEdit, earlier: Sequence[EditOutcome], code_version: str | None
) -> EditOutcome:
    """One edit of a label, whose versions are given."""
    if not versions:
        note = "the label is not in the store any more: somebody removed it meanwhile"
        return EditOutcome(edit=edit, row=None, before=None, note=note)
    newest = max(versions, key=lambda row: row.label_version)
    made = [one.row for one in earlier if one.row is not None and one.edit.corrected is not None]
    # What was seen may be an own version under the number that was expected of it.
    numbers = {row.created_utc: row.label_version for row in made}
    seen = edit.seen
    meant = edit.label_version if seen is None else numbers.get(seen.created_utc, edit.label_version)
    for row in made:
        if row.parent_version == meant:
            meant = row.label_version
    known = [
        row
        for row in (seen, *(one.row for one in earlier))
        if row is not None and numbers.get(row.created_utc, row.label_version) == meant
    ]
    # Reviews leave the time of a version as it is.
    is_other = bool(known) and newest.created_utc not in {row.created_utc for row in known}
    if edit.corrected is not None:
        # Somebody may have said something of that version since it was seen.
        is_of_newest = newest.label_version == meant and not is_other
        former_review = newest.review if is_of_newest else edit.corrected.review
        row = _corrected(edit.corrected, edit, max(newest.label_version, meant) + 1, meant, former_review, code_version)
        note = _said_of_newest(newest, meant, is_other=is_other)
    elif newest.label_version != meant:
        row = None
        note = f"version {meant} was replaced by version {newest.label_version} meanwhile; look at it again"
    elif is_other:
        row, note = None, "was made anew meanwhile; look at it again"
    else:
        review = newest.review if edit.review is None else edit.review
        row = dataclasses.replace(newest, review=review, review_by_part=_words(newest, edit))
        note = _said_meanwhile(newest, known, edit)
    return EditOutcome(edit=edit, row=row, before=newest, note=note)


def _corrected(
    corrected: LabelRow, edit: LabelEdit, version: int, meant: int, former_review: str, code_version: str | None
) -> LabelRow:
    """A correction as the version behind all that there are."""
    review = edit.review
    if review is None:
        review = former_review if former_review == "rejected" or not edit.has_new_pose else "none"
    return dataclasses.replace(
        corrected,
        label_version=version,
        parent_version=meant,
        origin="human" if edit.has_new_pose else corrected.origin,
        review=review,
        review_by_part=_words(corrected, edit),
        created_utc=edit.made_utc,
        code_version=code_version,
        config_sha256=None,
    )


def _words(row: LabelRow, edit: LabelEdit) -> dict[str, str | None]:
    return {**row.review_by_part, **(edit.review_by_part or {})}


def _said_of_newest(newest: LabelRow, meant: int, *, is_other: bool) -> str | None:
    """What is told of a version that a correction was not made of, and is put behind."""
    if newest.label_version == meant:
        return "the label was made anew meanwhile; that one is kept behind it" if is_other else None
    who = "a person" if newest.origin == "human" else "a machine"
    return (
        f"was made of version {meant}; version {newest.label_version}, which {who} wrote meanwhile, is kept behind it"
    )


def _said_meanwhile(newest: LabelRow, known: Sequence[LabelRow], edit: LabelEdit) -> str | None:
    """What is told of the word of somebody else that a review takes the place of; the person knows some states."""
    if not known:
        return None
    said = [
        f"{part} {newest.review_by_part[part] or 'neither right nor wrong'}"
        for part, word in (edit.review_by_part or {}).items()
        if newest.review_by_part[part] not in (word, *(row.review_by_part[part] for row in known))
    ]
    if edit.review is not None and newest.review not in (edit.review, *(row.review for row in known)):
        said.insert(0, "neither accepted nor rejected" if newest.review == "none" else newest.review)
    return f"somebody else had called it {', '.join(said)} meanwhile" if said else None
