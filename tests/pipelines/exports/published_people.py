"""Folders of labels, drawings and a data set of people of whom one is to be removed, for the tests of removal."""

import hashlib
import io
import json
import shutil

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from hardmo_jax.labels import store
from hardmo_jax.perception import video
from hardmo_jax.pipelines.exports.export_dataset import export_dataset
from hardmo_jax.viz import overlay
from tests.export.dataset.labels_to_publish import label

#: Who is in a picture is told by its colour: of that of person 1 there is nothing else.
OTHERS, PERSON = (40, 60, 200), (240, 20, 200)
PHOTO, SOLO, CLIP = "day/group.png", "solo.png", "dance clip.mp4"


def picture(*, person):
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, :32] = OTHERS
    if person:
        image[:, 40:60] = PERSON
    return image


def write_picture(path, *, person):
    path.parent.mkdir(parents=True, exist_ok=True)
    overlay.write_png(path, picture(person=person))


def build(folder, rng):
    """`pictures`, `annotate`, `refine_hand` and `hf`; person 1 is in the group photo and in the clip."""
    pictures = folder / "pictures"
    write_picture(pictures / PHOTO, person=True)
    write_picture(pictures / SOLO, person=False)
    with overlay.VideoOverlayWriter(pictures / CLIP, 25.0) as writer:
        for _ in range(2):
            writer.add(picture(person=True))
    shas = {name: hashlib.sha256((pictures / name).read_bytes()).hexdigest() for name in (PHOTO, SOLO, CLIP)}

    rows = [label(rng, PHOTO, shas[PHOTO], track_id=track) for track in (0, 1)]
    rows += [label(rng, SOLO, shas[SOLO], track_id=1)]
    for frame in (0, 1):
        times = {"fps": 25.0, "time_seconds": frame / 25}
        rows += [label(rng, CLIP, shas[CLIP], frame, track, **times) for track in (0, 1)]
    rows += [label(rng, PHOTO, shas[PHOTO], track_id=1, label_version=2, parent_version=1)]
    annotate, refine = folder / "annotate", folder / "refine_hand"
    store.write_labels(annotate / "labels.parquet", rows)
    for name in ("group", "solo"):
        write_picture(annotate / "overlay" / f"{name}.png", person=name == "group")
    shutil.copy(pictures / CLIP, annotate / "overlay.mp4")
    record = {
        "command": ["annotate", f"--input=pictures/{CLIP}"],
        "results": {"sources": shas, "warnings": [f"{CLIP}: odd", "plain"], "shots": [{"first_frame": 0}]},
    }
    (annotate / "run.json").write_text(json.dumps(record))

    store.write_labels(refine / "labels.parquet", [rows[0], rows[1], rows[2], rows[-1], rows[3]])
    for place, (stem, frame, track) in enumerate(
        [("group", 0, 1), ("group", 0, 0), ("solo", 0, 1), ("dance_clip", 0, 0)]
    ):
        name = f"{place:04d}_{stem}_frame{frame:06d}_person{track}_left_hand.png"
        write_picture(refine / "closeups" / name, person=stem != "solo")
    write_picture(refine / "sheet.png", person=True)
    write_picture(refine / "dry_run.png", person=True)
    (refine / "run.json").write_text(json.dumps({"results": {"labels": "out/annotate/labels.parquet", "scored": 1}}))
    export_dataset(annotate, folder / "hf", pictures=pictures, with_pixels=True)
    return shas


def scan(folder):
    """All text and all pictures of a folder, out of whatever they are packed in."""
    texts, pictures = [], []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        data = path.read_bytes()
        texts += [str(path.relative_to(folder)), data.decode("latin-1")]
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            for row in table.to_pylist():
                image = row.pop("image", None)
                texts.append(repr(row))
                if image is not None:
                    pictures.append(np.asarray(Image.open(io.BytesIO(image["bytes"])).convert("RGB")))
        elif path.suffix == ".png":
            pictures.append(np.asarray(Image.open(path).convert("RGB")))
        elif path.suffix == ".mp4":
            pictures += [frame.image for frame in video.open_media(path).frames()]
        elif path.suffix == ".json":
            texts.append(repr(json.loads(data)))
    return texts, pictures


def shows_person(image):
    return bool((np.abs(image.astype(int) - PERSON).max(-1) < 40).any())
