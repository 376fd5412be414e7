"""Keypoints that another program wrote (`read_keypoint_file`) or reads (`write_openpose`, `write_coco_wholebody`)."""

from hardmo_jax.perception.keypoint_files.annotated import AnnotatedPerson, read_annotated
from hardmo_jax.perception.keypoint_files.parsing import MAX_BYTES, MAX_PICTURE_BYTES, KeypointFileError
from hardmo_jax.perception.keypoint_files.person import MIDDLE_SOURCES, FilePerson, FilePicture, KeypointFile, ShareKind
from hardmo_jax.perception.keypoint_files.point_lists import LAYOUT_NAME, LayoutChoice
from hardmo_jax.perception.keypoint_files.reading import find_photo, read_keypoint_file
from hardmo_jax.perception.keypoint_files.writing import write_coco_named, write_coco_wholebody, write_openpose

__all__ = [
    "LAYOUT_NAME",
    "MAX_BYTES",
    "MAX_PICTURE_BYTES",
    "MIDDLE_SOURCES",
    "AnnotatedPerson",
    "FilePerson",
    "FilePicture",
    "KeypointFile",
    "KeypointFileError",
    "LayoutChoice",
    "ShareKind",
    "find_photo",
    "read_annotated",
    "read_keypoint_file",
    "write_coco_named",
    "write_coco_wholebody",
    "write_openpose",
]
