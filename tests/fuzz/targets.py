"""One target for each parser of files by strangers: small honest files, and what may come out of any other.

A target takes bytes, and its parser may give a value or one of the errors that it promises; anything else is a finding.
`test_targets` feeds it seeded mutations, `run_fuzz` lets coverage guide them.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import pickle
import re
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator

import numpy as np

from hardmo_jax import safe_pickle, torch_file
from hardmo_jax.body import array_files
from hardmo_jax.data import prediction_columns
from hardmo_jax.data.published.coco_people import CocoPeople
from hardmo_jax.data.published.hmr2_tars import Hmr2Tars
from hardmo_jax.data.published.npz_rows import NpzRows
from hardmo_jax.data.published.tar_members import tar_content, tar_members
from hardmo_jax.data.sources import amass, asf_amc, bvh, deepmimic
from hardmo_jax.data.sources.clip import MotionFileError
from hardmo_jax.data.training_records import TrainingDataError
from hardmo_jax.labels import provenance, store_manifest
from hardmo_jax.labels.schema import LabelError
from hardmo_jax.perception import calibration, wheel_files
from hardmo_jax.perception.keypoint_files import reading
from hardmo_jax.perception.keypoint_files.parsing import KeypointFileError
from hardmo_jax.perception.yolo_checkpoint import read_checkpoint
from hardmo_jax.pipelines import collect_manifest, collect_records, loop_record
from hardmo_jax.pipelines.loop_options import LoopError
from tests.data.sources.motion_texts import AMC, ASF, BVH
from tests.perception import handmade_torch, keypoint_file_samples
from tests.perception.handmade_torch import Made, Name, Storage, tensor
from tests.reference import hostile_streams, smpl_files

PICKLE_ERRORS = (safe_pickle.UnsafePickleError, safe_pickle.CorruptPickleError)


@dataclasses.dataclass(frozen=True)
class Target:
    """A parser that must not be surprised."""

    parse: Callable[[bytes], object]
    """May give anything."""
    errors: tuple[type[Exception], ...]
    """And may raise these."""
    seeds: Callable[[], list[bytes]]
    """Makes honest files, and a few that are nearly so."""

    def run(self, data: bytes) -> bool:
        """Whether the parser took it."""
        try:
            self.parse(data)
        except self.errors:
            return False
        return True


@contextlib.contextmanager
def written(data: bytes, name: str) -> Iterator[pathlib.Path]:
    """A file of these bytes, where files cost little."""
    shared = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        path = pathlib.Path(folder, name)
        path.write_bytes(data)
        yield path


def of_file(read: Callable[[pathlib.Path], object], name: str) -> Callable[[bytes], object]:
    """A parser of bytes of one of files."""

    def parse(data: bytes) -> object:
        with written(data, name) as path:
            return read(path)

    return parse


# ---- pickles and what carries them -----------------------------------------------------------------------------


def honest_pickles() -> list[bytes]:
    model = {"v": np.arange(6.0).reshape(2, 3), "b": np.array([True]), "t": np.array(["ab"]), "s": {1}, "n": [1, None]}
    legacy = {"v": smpl_files.chumpy_selection(np.arange(8.0).reshape(2, 4), 2), "J": smpl_files.Sparse(np.eye(3))}
    objects = np.array([{"a": 1}, "x"], object)
    return [
        *(pickle.dumps(model, protocol) for protocol in (0, 2, 4, 5)),
        *(smpl_files.Python2Pickle(protocol).dump(legacy) for protocol in (0, 2)),
        pickle.dumps(objects, 4),
        *(make(pathlib.Path("c")) for make in list(hostile_streams.TWISTED.values())[:150:5]),
    ]


def parse_pickles(data: bytes) -> None:
    for read in (
        lambda: safe_pickle.loads(data, max_opcodes=20_000),
        lambda: safe_pickle.loads_with_object_arrays(data, source="x", max_opcodes=20_000),
        lambda: safe_pickle.loads_described(
            data, names=_NAMES, calls=torch_file.TENSOR_CALLS, advice="", is_lenient=True, max_opcodes=20_000
        ),
    ):
        with contextlib.suppress(*PICKLE_ERRORS):
            read()


_NAMES = re.compile(r"(models|torch)\.\w+", re.ASCII)


def honest_checkpoints() -> list[bytes]:
    values = np.arange(6, dtype="<f4")
    root = {
        "model": Made("models.Net", state={"w": tensor(Storage("0", 6), 1, (2, 2), (2, 1))}),
        "args": Name("argparse.Namespace"),
    }
    with written(b"", "w.pt") as path:
        handmade_torch.save(path, root, {"0": values})
        new = path.read_bytes()
    old = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
    old += pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
    old += pickle.dumps({"a": 1}, 2) + pickle.dumps([], 2)
    return [new, old]


def tensors_in(value: object) -> Iterator[object]:
    if isinstance(value, safe_pickle.Described):
        yield value
        yield from tensors_in(value.state)
    elif isinstance(value, dict):
        for inner in list(value.values())[:20]:
            yield from tensors_in(inner)


def read_checkpoint_file(path: pathlib.Path) -> None:
    with torch_file.TorchFile(path, vocabulary=torch_file.CHECKPOINT, advice="", max_bytes=1 << 20) as file:
        for value in list(tensors_in(file.root))[:20]:
            with contextlib.suppress(torch_file.TorchFileError):
                file.array(value, max_values=1 << 16)


def honest_yolo() -> list[bytes]:
    layers = {"nc": 1, "backbone": [[-1, 1, "Conv", [16, 3, 2]]], "head": [[[0], 1, "Detect", ["nc"]]]}
    weights = {"weight": tensor(Storage("0", 6), 1, (2, 2), (2, 1))}
    layer = Made("torch.nn.modules.conv.Conv2d", state={"_parameters": weights})
    state = {"yaml": layers, "names": {0: "person"}, "_modules": {"model": layer}, "_parameters": {}}
    model = Made("ultralytics.nn.tasks.DetectionModel", state=state)
    with written(b"", "m.pt") as path:
        handmade_torch.save(path, {"model": model, "train_args": {"imgsz": 64}}, {"0": np.arange(6, dtype="<f4")})
        return [path.read_bytes()]


# ---- arrays and archives ---------------------------------------------------------------------------------------


def npz(compress: bool = False, /, **arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compress else np.savez)(buffer, **arrays)  # pyright: ignore[reportArgumentType]
    return buffer.getvalue()


def honest_npz() -> list[bytes]:
    arrays = {"imgname": np.array(["a.jpg", "b.jpg"]), "center": np.ones((2, 2)), "has": np.array([True, False])}
    return [npz(**arrays), npz(True, **arrays), npz(imgname=np.array(["a", "b"], object)), npz(x=np.zeros((0, 3)))]


def read_npz_file(path: pathlib.Path) -> None:
    data = path.read_bytes()
    with contextlib.suppress(array_files.BodyFileError):
        array_files.read_npz(data, source="x")
    with contextlib.suppress(array_files.BodyFileError):
        array_files.read_npy(data, source="x")
    rows = NpzRows(path)
    for key in sorted(rows.names)[:4]:
        with contextlib.suppress(TrainingDataError, *PICKLE_ERRORS):
            rows.read([key])


def honest_amass() -> list[bytes]:
    shape = {"trans": np.zeros((3, 3)), "betas": np.zeros(16)}
    parts = {"root_orient": 3, "pose_body": 63, "pose_hand": 90, "pose_jaw": 3, "pose_eye": 6}
    smplh = {"poses": np.zeros((3, 156)), "gender": np.array("male"), "mocap_framerate": np.array(60)}
    smplx = {name: np.zeros((3, count)) for name, count in parts.items()}
    smplx |= {"gender": np.array("female"), "mocap_frame_rate": np.array(60), "surface_model_type": np.array("smplx")}
    return [npz(False, **shape, **smplh), npz(False, **shape, **smplx)]


def honest_predictions() -> list[bytes]:
    return [npz(ids=np.array(["a", "b"]), joints=np.zeros((2, 24, 3)), layout=np.array("smpl24"))]


def honest_tars() -> list[bytes]:
    person = {
        "keypoints_2d": np.ones((44, 3), np.float32),
        "center": np.array([9.0, 9.0]),
        "scale": np.array([1.0, 1.0]),
    }
    found = []
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
            long = "n" * (120 if form != tarfile.USTAR_FORMAT else 20)
            for name, content in ((f"{long}.jpg", b"\xff\xd8\xff"), (f"{long}.data.pyd", pickle.dumps([person]))):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
        found.append(buffer.getvalue().rstrip(b"\0") + bytes(1024))
    return found


def read_tar_file(path: pathlib.Path) -> None:
    with contextlib.suppress(TrainingDataError), path.open("rb") as file:
        for member in tar_members(path):
            tar_content(file, member, "x", max_bytes=1 << 20)
    source = Hmr2Tars(path)
    for index in range(min(len(source), 3)):
        with contextlib.suppress(TrainingDataError, *PICKLE_ERRORS):
            source.record(index)


_MEMBER = b"what a model holds"


def honest_wheels() -> list[bytes]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("package/model.bin", _MEMBER)
        archive.writestr("package/__init__.py", "x = 1")
    return [buffer.getvalue()]


def read_wheel_file(path: pathlib.Path) -> None:
    """As if the whole wheel were the one that was pinned: what is in it must still be."""
    data = path.read_bytes()
    member = wheel_files.PinnedFile(
        name="model.bin", member="package/model.bin", size=len(_MEMBER), sha256=hashlib.sha256(_MEMBER).hexdigest()
    )
    pinned = wheel_files.PinnedFile(name="a.whl", size=len(data), sha256=hashlib.sha256(data).hexdigest())
    wheel = wheel_files.PinnedWheel(requirement="a==1", file=pinned, members=(member,))
    for written_file in wheel_files.extract_members(path, wheel, path.parent / "out", wheel.members):
        if written_file.read_bytes() != _MEMBER:
            raise AssertionError("another member was unpacked")


# ---- text ------------------------------------------------------------------------------------------------------


def read_pair(data: bytes) -> None:
    """Skeleton and motion are two files; a NUL divides them here."""
    skeleton, _, motion = data.partition(b"\0")
    with written(skeleton, "a.asf") as path:
        (path.parent / "a.amc").write_bytes(motion)
        asf_amc.read_asf_amc(path, path.parent / "a.amc")


def json_bytes(content: object) -> bytes:
    return json.dumps(content).encode()


def honest_deepmimic() -> list[bytes]:
    rest = [0.04, 1, 2, 3, *[1, 0, 0, 0] * 4, 0, *[1, 0, 0, 0] * 2, 0, *[1, 0, 0, 0], 0, *[1, 0, 0, 0] * 2, 0]
    return [json_bytes({"Loop": "wrap", "Frames": [rest, rest]})]


def honest_coco() -> list[bytes]:
    person = {"id": 1, "image_id": 7, "keypoints": [5, 6, 2] * 17, "bbox": [1, 2, 30, 40], "iscrowd": 0}
    return [json_bytes({"images": [{"id": 7, "file_name": "a.jpg"}], "annotations": [person]})]


def read_coco_file(path: pathlib.Path) -> None:
    people = CocoPeople(path, path.parent)
    for index in range(min(len(people), 3)):
        people.record(index)


def honest_calibrations() -> list[bytes]:
    return [json_bytes({"blazepose": {"body": {"confidence": [0.1, 0.9], "error": [0.2, 0.01]}}})]


def honest_runs() -> list[bytes]:
    record = provenance.RunRecord(config={"seed": 0}, command=["annotate"])
    return [json_bytes(record.to_dict())]


def honest_loops() -> list[bytes]:
    entry = {"counted": {"labels": 3}, "notes": ["a"], "seconds": 1.5, "before": {}}
    options = {"--config.rounds": 2, "--config.seed": 0}
    return [json_bytes({"format_version": 1, "stages": {"round_1/annotate": entry}, "options": options})]


def honest_manifests() -> list[bytes]:
    rows = [{"source": "a.mp4", "category": "ballet", "licence": "CC0", "start_seconds": 1.5}, {"source": "b.jpg"}]
    return [
        b"source,category,licence,start_seconds\na.mp4,ballet,CC0,1.5\n'b.jpg',,,\n",
        json_bytes(rows),
        b"\n".join(map(json_bytes, rows)),
    ]


def read_manifests(data: bytes) -> None:
    for name in ("a.csv", "a.json", "a.jsonl"):
        with written(data, name) as path, contextlib.suppress(collect_manifest.ManifestError):
            collect_manifest.read_manifest(path)


def honest_records() -> list[bytes]:
    row = {"source": "a.mp4", "status": "fetched", "category": "ballet", "file": "ballet/a.mp4", "sha256": "0" * 64}
    return [json_bytes(row) + b"\n", json_bytes({"source": "b"}) + b"\n\n{}"]


def honest_store_manifests() -> list[bytes]:
    from hardmo_jax.labels import sharded_store, store
    from tests.labels.test_schema import make_row

    with written(b"", "x") as path:
        part = path.parent / "part.parquet"
        store.write_labels(part, [make_row()])
        sharded_store.compact_labels([[part]], path.parent / "store")
        whole = (path.parent / "store" / store_manifest.MANIFEST).read_bytes()
    unfinished = {**json.loads(whole), "is_complete": False, "names": []}
    return [whole, json_bytes(unfinished)]


# ---- Parquet ---------------------------------------------------------------------------------------------------


def honest_tables() -> list[bytes]:
    from hardmo_jax.labels import store
    from tests.labels.test_schema import make_full_row, make_row

    found = []
    with written(b"", "x") as path:
        for number, rows in enumerate(([make_row()], [make_full_row()])):
            file = path.parent / f"{number}.parquet"
            store.write_labels(file, rows)
            found.append(file.read_bytes())
    return found


def read_table_file(path: pathlib.Path) -> None:
    from hardmo_jax.labels import store

    store.read_labels(path, max_rows=1000)


TARGETS: dict[str, Target] = {
    "pickles": Target(parse_pickles, (), honest_pickles),
    "torch_file": Target(of_file(read_checkpoint_file, "w.pt"), (torch_file.TorchFileError,), honest_checkpoints),
    "yolo_checkpoint": Target(of_file(read_checkpoint, "m.pt"), (torch_file.TorchFileError,), honest_yolo),
    "npz": Target(of_file(read_npz_file, "a.npz"), (TrainingDataError,), honest_npz),
    "amass": Target(of_file(amass.read_amass, "a.npz"), (MotionFileError,), honest_amass),
    "predictions": Target(
        of_file(prediction_columns.read_columns, "a.npz"), (prediction_columns.PredictionError,), honest_predictions
    ),
    "tar_members": Target(of_file(read_tar_file, "a.tar"), (TrainingDataError,), honest_tars),
    "wheel_files": Target(of_file(read_wheel_file, "a.whl"), (wheel_files.PinnedFileError,), honest_wheels),
    "keypoint_files": Target(
        of_file(reading.read_keypoint_file, "a_000000000001_keypoints.json"),
        (KeypointFileError,),
        lambda: [json_bytes(content) for content, _, _ in keypoint_file_samples.SAMPLES.values()],
    ),
    "bvh": Target(of_file(bvh.read_bvh, "a.bvh"), (MotionFileError,), lambda: [BVH.encode()]),
    "asf_amc": Target(read_pair, (MotionFileError,), lambda: [ASF.encode() + b"\0" + AMC.encode()]),
    "deepmimic": Target(of_file(deepmimic.read_deepmimic, "a.txt"), (MotionFileError,), honest_deepmimic),
    "coco_people": Target(of_file(read_coco_file, "a.json"), (TrainingDataError,), honest_coco),
    "calibrations": Target(
        of_file(calibration.read_calibrations, "a.json"), (calibration.CalibrationError,), honest_calibrations
    ),
    "run_json": Target(of_file(provenance.read_run, "run.json"), (), honest_runs),
    "loop_record": Target(of_file(loop_record._read, "loop.json"), (LoopError,), honest_loops),
    "collect_manifest": Target(read_manifests, (), honest_manifests),
    "collect_records": Target(
        of_file(lambda path: collect_records.read_records(path.parent), collect_records.RECORDS), (), honest_records
    ),
    "store_manifest": Target(
        of_file(lambda path: store_manifest.read_any_manifest(path.parent), store_manifest.MANIFEST),
        (LabelError,), honest_store_manifests,
    ),
    "label_parquet": Target(of_file(read_table_file, "a.parquet"), (LabelError,), honest_tables),
}  # fmt: skip
