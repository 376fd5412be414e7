"""Write the measured keypoints of stored labels as OpenPose or COCO-WholeBody files.

python -m tools.export --labels=out/annotate --format=openpose --output_dir=out/openpose
python -m tools.export --labels=out/annotate/labels.parquet --format=coco_wholebody --output_dir=out/coco

OpenPose: `openpose/`, one file a picture (BODY_25 and both hands). COCO-WholeBody: one `coco_wholebody.json`, with
confidences kept beside the visibility flags. Only the newest version of each label counts.
"""

import sys
from collections.abc import Sequence

from absl import flags

from hardmo_jax.pipelines import export_keypoints as pipeline
from tools import _cli

_LABELS = flags.DEFINE_string("labels", "out/annotate", "Label file, or a folder with labels.parquet or of shards.")
_FORMAT = flags.DEFINE_string("format", None, "What is written: openpose or coco_wholebody.")
_OUTPUT_DIR = flags.DEFINE_string("output_dir", None, "Folder for the files; default: out/export_<format>.")


def main(argv: Sequence[str]) -> int:
    """Write the files and say where they are."""
    del argv
    if _FORMAT.value is None:
        return _cli.fail("--format is missing; give --format=openpose or --format=coco_wholebody")
    format_name = pipeline.check_export_format(_FORMAT.value)
    summary = pipeline.export_keypoints(
        _LABELS.value,
        _OUTPUT_DIR.value or f"out/export_{format_name}",
        format_name=format_name,
        command=tuple(sys.argv),
    )
    print(f"{summary.num_people} people in {summary.num_pictures} pictures are in {summary.path}")
    if summary.num_left_out:
        print(f"{summary.num_left_out} labels were left out: no keypoint of theirs was measured")
    return 0


if __name__ == "__main__":
    _cli.run(main, compiles=False)
