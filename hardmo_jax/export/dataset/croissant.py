"""Croissant metadata of a data set (MLCommons Croissant 1.1, with the fields of its extension for responsible AI)."""

import datetime
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from hardmo_jax.export.dataset.dataset_facts import UNKNOWN, DatasetFacts, DatasetWords, responsible_ai
from hardmo_jax.export.dataset.dataset_files import DATA_FOLDER, IMAGE_COLUMN, DatasetShard, dataset_schema
from hardmo_jax.whole_files import replacing

CROISSANT_FILE = "croissant.json"
CONFORMS_TO = ("http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0")
RECORD_SET = "labels"

_FILES = "label-files"
_PARQUET = "application/x-parquet"
#: The context that the specification gives for version 1.1, and that of provenance.
_CONTEXT = {
    "@language": "en", "@vocab": "https://schema.org/", "arrayShape": "cr:arrayShape", "citeAs": "cr:citeAs",
    "column": "cr:column", "conformsTo": "dct:conformsTo", "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/", "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"}, "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"}, "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract", "field": "cr:field",
    "fileObject": "cr:fileObject", "fileProperty": "cr:fileProperty", "fileSet": "cr:fileSet", "format": "cr:format",
    "includes": "cr:includes", "isArray": "cr:isArray", "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath", "key": "cr:key", "md5": "cr:md5", "name": {"@container": "@language"},
    "parentField": "cr:parentField", "path": "cr:path", "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/", "recordSet": "cr:recordSet", "references": "cr:references",
    "regex": "cr:regex", "repeated": "cr:repeated", "replace": "cr:replace", "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/", "separator": "cr:separator", "source": "cr:source", "subField": "cr:subField",
    "transform": "cr:transform",
}  # fmt: skip


def write_croissant(
    folder: pathlib.Path,
    *,
    facts: DatasetFacts,
    words: DatasetWords,
    shards: Sequence[DatasetShard],
    date: datetime.date,
) -> pathlib.Path:
    """Write `croissant.json` into the folder of a data set.

    Args:
        folder: Of the data set.
        facts: Of its labels.
        words: Of whoever publishes it.
        shards: Its files.
        date: Day of the export.

    Returns:
        The file.
    """
    told = croissant(facts=facts, words=words, shards=shards, date=date)
    path = folder / CROISSANT_FILE
    with replacing(path) as temporary:
        text = json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False)
        temporary.write_text(text + "\n", encoding="utf-8", newline="\n")
    return path


def croissant(
    *, facts: DatasetFacts, words: DatasetWords, shards: Sequence[DatasetShard], date: datetime.date
) -> dict[str, Any]:
    """Metadata as JSON-LD, see `write_croissant`."""
    told: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": list(CONFORMS_TO),
        "name": words.name,
        "description": (
            f"SMPL-family body models fitted to people in photos and videos: {facts.num_labels} labels of "
            f"{facts.num_people} tracks of people in {facts.num_pictures} pictures, "
            + (f"{facts.num_with_pixels} of them with the picture." if facts.has_pixels else "without the pictures.")
        ),
        "license": words.licence or f"{UNKNOWN}: whoever publishes the labels named none",
        "creator": {"@type": "sc:Organization", "name": words.creator or UNKNOWN},
        "datePublished": date.isoformat(),
        "version": words.version,
        "citeAs": words.citation or f"{UNKNOWN}: no publication was named",
        "isLiveDataset": False,
        "keywords": ["SMPL", "human pose", "human motion"],
    }
    if words.url is not None:
        told["url"] = words.url
    told |= {f"rai:{name}": said for name, said in responsible_ai(facts, words).items()}
    if words.has_synthetic_pictures is not None:
        told["rai:hasSyntheticData"] = words.has_synthetic_pictures
    versions = ", ".join(version or UNKNOWN for version in facts.code_versions) or UNKNOWN
    told["prov:wasGeneratedBy"] = {
        "@type": "prov:Activity",
        "prov:label": "labelling",
        "description": f"People were found and body models fitted by hardmo_jax ({versions}).",
    }
    told["distribution"] = [
        {
            "@type": "cr:FileSet",
            "@id": _FILES,
            "name": _FILES,
            "description": "Rows of labels.",
            "encodingFormat": _PARQUET,
            "includes": f"{DATA_FOLDER}/*.parquet",
        },
        *(_file_object(shard) for shard in shards),
    ]
    told["recordSet"] = [
        {
            "@type": "cr:RecordSet",
            "@id": RECORD_SET,
            "name": RECORD_SET,
            "description": "One person in one picture a row.",
            "key": {"@id": f"{RECORD_SET}/label_id"},
            "field": [_field(field) for field in dataset_schema(with_pixels=facts.has_pixels)],
        }
    ]
    return told


def _file_object(shard: DatasetShard) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": shard.name,
        "name": pathlib.PurePosixPath(shard.name).name,
        "contentUrl": shard.name,
        "contentSize": f"{shard.num_bytes} B",
        "encodingFormat": _PARQUET,
        "sha256": shard.sha256,
    }


def _field(field: pa.Field) -> dict[str, Any]:
    told = {key.decode(): value.decode() for key, value in (field.metadata or {}).items()}
    unit, shape, frame = (told.get(name) for name in ("unit", "shape", "frame"))
    notes = [
        told.get("description"),
        None if unit in (None, "none") else f"unit: {unit}",
        f"shape: {shape}, stored flat" if shape is not None and "," in shape else None,
        None if frame is None else f"frame: {frame}",
    ]
    described = {"description": "; ".join(filter(None, notes))} if any(notes) else {}
    place = f"{RECORD_SET}/{field.name}"
    if field.name == IMAGE_COLUMN:
        return _leaf(place, field.name, "sc:ImageObject", column=field.name, member="bytes") | described
    kind = field.type
    if pa.types.is_list(kind) and pa.types.is_struct(kind.value_type):
        members = [kind.value_type.field(at) for at in range(kind.value_type.num_fields)]
        return {
            "@type": "cr:Field",
            "@id": place,
            "name": field.name,
            "isArray": True,
            "arrayShape": "-1",
            "subField": [
                _leaf(f"{place}/{one.name}", one.name, _data_type(one.type), column=field.name, member=one.name)
                | _array(one.type)
                for one in members
            ],
            **described,
        }
    return _leaf(place, field.name, _data_type(kind), column=field.name) | _array(kind) | described


def _leaf(place: str, name: str, data_type: str, *, column: str, member: str | None = None) -> dict[str, Any]:
    source: dict[str, Any] = {"fileSet": {"@id": _FILES}, "extract": {"column": column}}
    if member is not None:
        source["transform"] = {"jsonPath": member}
    return {"@type": "cr:Field", "@id": place, "name": name, "dataType": data_type, "source": source}


def _array(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_fixed_size_list(kind):
        return {"isArray": True, "arrayShape": str(kind.list_size)}
    return {"isArray": True, "arrayShape": "-1"} if pa.types.is_list(kind) else {}


def _data_type(kind: pa.DataType) -> str:
    """The type of a value, of an element where there are several."""
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        return _data_type(kind.value_type)
    if pa.types.is_timestamp(kind):
        return "sc:DateTime"
    return {pa.float32(): "cr:Float32", pa.float64(): "cr:Float64", pa.int32(): "cr:Int32"}.get(kind, "sc:Text")
