"""The README of a data set: front matter that the Hub and `datasets` read, and a card that people read."""

import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from hardmo_jax.export.dataset.dataset_facts import UNKNOWN, DatasetFacts, DatasetWords, counts_in_words, responsible_ai
from hardmo_jax.export.dataset.dataset_files import DATA_FOLDER, IMAGE_COLUMN, DatasetShard, dataset_schema, type_name
from hardmo_jax.labels import schema
from hardmo_jax.whole_files import replacing

CARD_FILE = "README.md"
TASK_CATEGORIES = ("keypoint-detection", "image-to-3d")

#: Licences that the Hub knows by these names; others are `other` with a name of their own.
_LICENCES_OF_HUB = (
    "apache-2.0", "mit", "cc", "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cdla-sharing-1.0",
    "cdla-permissive-1.0", "cdla-permissive-2.0", "odc-by", "odbl", "pddl", "gpl-3.0", "unlicense", "wtfpl", UNKNOWN,
)  # fmt: skip
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
#: Characters that no reader of YAML takes raw; JSON itself escapes those below 0x20 only.
_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")
_TITLES = {
    "dataCollection": "Collection", "dataCollectionMissingData": "What is missing",
    "dataCollectionRawData": "Pictures", "dataAnnotationProtocol": "How labels were made",
    "annotationsPerItem": "Labels a picture", "annotatorDemographics": "People who labelled",
    "machineAnnotationTools": "Tools", "dataImputationProtocol": "What was filled in", "dataBiases": "Biases",
    "dataLimitations": "Limitations", "personalSensitiveInformation": "Personal and sensitive information",
    "dataUseCases": "Uses", "dataSocialImpact": "Social impact",
    "dataReleaseMaintenancePlan": "Maintenance and removal",
}  # fmt: skip


def write_dataset_card(
    folder: pathlib.Path, *, facts: DatasetFacts, words: DatasetWords, shards: Sequence[DatasetShard]
) -> pathlib.Path:
    """Write `README.md` into the folder of a data set.

    Args:
        folder: Of the data set.
        facts: Of its labels.
        words: Of whoever publishes it.
        shards: Its files.

    Returns:
        The file.
    """
    path = folder / CARD_FILE
    with replacing(path) as temporary:
        temporary.write_text(dataset_card(facts=facts, words=words, shards=shards), encoding="utf-8", newline="\n")
    return path


def dataset_card(*, facts: DatasetFacts, words: DatasetWords, shards: Sequence[DatasetShard]) -> str:
    """Content of `README.md`, see `write_dataset_card`."""
    front = "\n".join(_yaml_lines(card_metadata(facts=facts, words=words, shards=shards)))
    return f"---\n{front}\n---\n\n{_text(facts, words)}"


def card_metadata(*, facts: DatasetFacts, words: DatasetWords, shards: Sequence[DatasetShard]) -> dict[str, Any]:
    """Front matter as the Hub defines it.

    Args:
        facts: Of the labels.
        words: Of whoever publishes them.
        shards: Files of the data set.
    """
    num_bytes = sum(shard.num_bytes for shard in shards)
    features = [_feature(field) for field in dataset_schema(with_pixels=facts.has_pixels)]
    return {
        "pretty_name": words.name,
        **_licence_of_hub(words.licence),
        "task_categories": list(TASK_CATEGORIES),
        "size_categories": [next((name for limit, name in _SIZES if facts.num_labels < limit), "n>10M")],
        "tags": ["smpl", "human-pose-estimation", "3d-human-pose", "hardmo_jax"],
        "configs": [
            {"config_name": "default", "data_files": [{"split": "train", "path": f"{DATA_FOLDER}/train-*"}]},
        ],
        "dataset_info": {
            "features": features,
            "splits": [{"name": "train", "num_bytes": num_bytes, "num_examples": facts.num_labels}],
            "download_size": num_bytes,
            "dataset_size": num_bytes,
        },
    }


def _licence_of_hub(licence: str | None) -> dict[str, str]:
    name = (licence or UNKNOWN).strip()
    if name.casefold() in _LICENCES_OF_HUB:
        return {"license": name.casefold()}
    slug = re.sub(r"[^a-z0-9.]+", "-", name.casefold()).strip("-") or UNKNOWN
    return {"license": "other", "license_name": slug, "license_details": name}


def _feature(field: pa.Field) -> dict[str, Any]:
    """A column as `datasets` writes it into the front matter."""
    if field.name == IMAGE_COLUMN:
        return {"name": field.name, "dtype": "image"}
    return {"name": field.name, **_feature_type(field.type)}


def _feature_type(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_fixed_size_list(kind):
        return {"list": type_name(kind.value_type), "length": kind.list_size}
    if pa.types.is_list(kind):
        inner = kind.value_type
        if pa.types.is_struct(inner):
            members = [inner.field(at) for at in range(inner.num_fields)]
            return {"list": [{"name": member.name, **_feature_type(member.type)} for member in members]}
        return {"list": type_name(inner)}
    return {"dtype": type_name(kind)}


# Text ----------------------------------------------------------------------------------------------------


def _text(facts: DatasetFacts, words: DatasetWords) -> str:
    told = responsible_ai(facts, words)
    parts = [f"# {_plain(words.name)}", _overview(facts, words), _reading(facts), _columns(facts)]
    for name, said in told.items():
        lines = [_plain(said)] if isinstance(said, str) else [f"- {_plain(line)}" for line in said]
        parts.append(f"## {_TITLES[name]}\n\n" + "\n".join(lines))
    parts.append(
        "Removal takes labels, pictures and drawings out of the folders that it is told of. Videos and photos that "
        "were labelled are never deleted by it, nor are copies of this data set elsewhere."
    )
    citation = (words.citation or UNKNOWN).replace("```", "")
    parts.append(f"## Citation\n\n```\n{citation}\n```")
    return "\n\n".join(parts) + "\n"


def _overview(facts: DatasetFacts, words: DatasetWords) -> str:
    made = f"{facts.labelled[0]} to {facts.labelled[1]}" if facts.labelled else UNKNOWN
    rows = {
        "labels": str(facts.num_labels),
        "tracks of people": str(facts.num_people),
        "photos and frames": str(facts.num_pictures),
        "videos": str(facts.num_videos),
        "rows with a picture": str(facts.num_with_pixels) if facts.has_pixels else "0: labels only",
        "labels made": made,
        "licence of the labels": words.licence or UNKNOWN,
        "licences of the sources": counts_in_words(facts.licences, of=None) or UNKNOWN,
        "categories": counts_in_words(facts.categories, of=None) or UNKNOWN,
        "made by": words.creator or UNKNOWN,
        "rendered or generated pictures":
            UNKNOWN if words.has_synthetic_pictures is None else "yes" if words.has_synthetic_pictures else "no",
    }  # fmt: skip
    return (
        "SMPL-family body models fitted to people in photos and videos with `hardmo_jax`, one row a person and "
        "picture.\n\n" + _table(("", ""), rows.items())
    )


def _reading(facts: DatasetFacts) -> str:
    picture = f'\nrows[0]["{IMAGE_COLUMN}"]                # upright RGB' if facts.has_pixels else ""
    return (
        "## Reading\n\n```python\nimport datasets\n\n"
        'rows = datasets.load_dataset("PATH_OR_NAME", split="train")\n'
        f'rows[0]["body_pose"]            # 63 numbers: axis-angle of 21 joints{picture}\n```\n\n'
        "Or with `hardmo_jax.labels.store.read_labels` on the folder `data`, or with `mlcroissant` on "
        "`croissant.json`. `sha256sum -c SHA256SUMS` checks the files."
    )


def _columns(facts: DatasetFacts) -> str:
    """Columns with units; those of parts, which are many, by what they have in common."""
    rows = []
    for field in dataset_schema(with_pixels=facts.has_pixels):
        told = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
        unit = told.get("unit", "none")
        shape = told.get("shape", "").replace(",", " × ")
        notes = [told.get("description", ""), told.get("frame", "")]
        rows.append((f"`{field.name}`", shape, "" if unit == "none" else unit, "; ".join(filter(None, notes))))
    points = schema.label_schema().metadata[b"keypoint_names"].decode()
    joints = schema.label_schema().metadata[b"body_pose_names"].decode()
    return (
        "## Columns\n\nCamera axes: x right, y down, z forward; metres, radians and pixels of the full upright "
        "picture. Lists of more than one dimension are stored flat, the last dimension fastest.\n\n"
        + _table(("column", "shape", "unit", "meaning"), rows)
        + f"\n\nPoints of `keypoints_2d`: {points}.\n\nJoints of `body_pose`: {joints}."
    )


def _table(head: Sequence[str], rows: Any) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    lines += ["| " + " | ".join(_plain(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Text of strangers in one line that is neither HTML nor ends a cell."""
    line = " ".join(text.split())
    return line.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


# YAML ----------------------------------------------------------------------------------------------------


def _yaml_lines(value: Any, indent: str = "") -> list[str]:
    """Mappings and lists of scalars as lines of YAML, in which JSON's strings and numbers are scalars."""
    lines: list[str] = []
    if isinstance(value, Mapping):
        for key, item in value.items():
            if isinstance(item, Mapping | list):
                lines += [f"{indent}{key}:", *_yaml_lines(item, indent + ("  " if isinstance(item, Mapping) else ""))]
            else:
                lines.append(f"{indent}{key}: {_scalar(item)}")
        return lines
    for item in value:
        if isinstance(item, Mapping):
            first, *rest = _yaml_lines(item, indent + "  ")
            lines += [f"{indent}- {first.strip()}", *rest]
        else:
            lines.append(f"{indent}- {_scalar(item)}")
    return lines


def _scalar(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if isinstance(value, str):
        if re.fullmatch(r"[A-Za-z_][\w]*(-[\w.]+)*", value, re.ASCII) and value.casefold() not in _WORDS_OF_YAML:
            return value
        return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
    return text


#: Words that YAML takes for something else than text.
_WORDS_OF_YAML = ("true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf")
