"""Model files load to checked arrays; everything else that people hand over is refused by name."""

import contextlib
import hashlib
import io as bytes_io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hardmo_jax import safe_pickle
from hardmo_jax.body import io, open_body
from hardmo_jax.skeleton import layouts
from tests.reference import smpl_files

REPOSITORY = Path(__file__).resolve().parents[2]

WRITERS: dict[str, Callable[[Path, dict[str, Any]], Path]] = {
    "npz": lambda folder, model: smpl_files.write_npz(folder / "MODEL.npz", model),
    "pickle": lambda folder, model: smpl_files.write_pickle(folder / "MODEL.pkl", model),
    "Python 2 pickle": lambda folder, model: smpl_files.write_python2_pickle(folder / "MODEL.pkl", model),
    "Python 2 text pickle": lambda folder, model: smpl_files.write_python2_pickle(
        folder / "MODEL.pkl", model, protocol=0
    ),
}


@pytest.fixture(scope="module")
def smpl() -> dict[str, np.ndarray]:
    return smpl_files.make_model("smpl")


@pytest.fixture
def smpl_npz(tmp_path: Path, smpl: dict[str, np.ndarray]) -> Path:
    return smpl_files.write_npz(tmp_path / "SMPL_NEUTRAL.npz", smpl)


# ---- what loads ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["smpl", "smplh"])
@pytest.mark.parametrize("writer", list(WRITERS))
def test_published_layout_loads_to_the_arrays_that_were_written(family: str, writer: str, tmp_path: Path) -> None:
    model = smpl_files.make_model(family, num_betas=16)

    loaded = io.load_arrays(WRITERS[writer](tmp_path, model), num_betas=None)

    assert loaded.family == family
    np.testing.assert_array_equal(loaded.vertices_template, model["v_template"])
    np.testing.assert_array_equal(loaded.shape_basis, model["shapedirs"])
    np.testing.assert_array_equal(loaded.pose_basis, model["posedirs"])
    np.testing.assert_array_equal(loaded.joint_regressor, model["J_regressor"])
    np.testing.assert_array_equal(loaded.skinning_weights, model["weights"])
    np.testing.assert_array_equal(loaded.faces, model["f"])
    assert loaded.parents == tuple(smpl_files.PARENTS[family])
    assert loaded.joint_names == {"smpl": layouts.SMPL_JOINTS, "smplh": layouts.SMPLH_JOINTS}[family]
    assert loaded.faces.dtype == np.int32
    assert loaded.joint_regressor.dtype == np.float64
    assert loaded.landmark_vertex_ids == ()


@pytest.mark.parametrize("layout", ["csc", "csr", "coo"])
def test_sparse_regressor_of_any_layout_loads_dense(layout: str, tmp_path: Path, smpl: dict[str, np.ndarray]) -> None:
    sparse = smpl_files.Sparse(smpl["J_regressor"], layout, f"scipy.sparse._{layout}")
    file = tmp_path / "model.pkl"
    file.write_bytes(smpl_files.Python2Pickle(2).dump({**smpl, "J_regressor": sparse}))

    np.testing.assert_array_equal(io.load_arrays(file).joint_regressor, smpl["J_regressor"])


def test_shape_basis_as_a_chumpy_selection_loads(tmp_path: Path) -> None:
    model = smpl_files.make_model("smpl", num_betas=20)
    selection = smpl_files.chumpy_selection(model["shapedirs"], 10)
    file = tmp_path / "model.pkl"
    file.write_bytes(smpl_files.Python2Pickle(2).dump({**model, "shapedirs": selection}))

    loaded = io.load_arrays(file, num_betas=None)

    np.testing.assert_array_equal(loaded.shape_basis, model["shapedirs"][..., :10])


@pytest.mark.parametrize("stored", ["f4", "f8", ">f4", ">f8"])
def test_precision_of_the_file_is_kept(stored: str, tmp_path: Path, smpl: dict[str, np.ndarray]) -> None:
    model = {key: array.astype(stored) if array.dtype.kind == "f" else array for key, array in smpl.items()}

    loaded = io.load_arrays(smpl_files.write_npz(tmp_path / "model.npz", model))

    assert loaded.vertices_template.dtype == np.dtype(stored).newbyteorder("=")
    assert loaded.joint_regressor.dtype == np.float64
    np.testing.assert_array_equal(loaded.vertices_template, model["v_template"])


def test_fortran_order_loads_equal(tmp_path: Path, smpl: dict[str, np.ndarray]) -> None:
    model = {key: np.asfortranarray(array) for key, array in smpl.items()}

    loaded = io.load_arrays(smpl_files.write_npz(tmp_path / "model.npz", model))

    np.testing.assert_array_equal(loaded.pose_basis, smpl["posedirs"])
    assert loaded.vertices_template.flags.c_contiguous


@pytest.mark.parametrize(
    ("root", "stored"), [(-1, "i4"), (-1, "i8"), (2**32 - 1, "u4"), (2**32 - 1, "i8"), (2**64 - 1, "u8")]
)
def test_root_parent_in_any_spelling_loads_as_minus_one(
    root: int, stored: str, tmp_path: Path, smpl: dict[str, np.ndarray]
) -> None:
    table = smpl["kintree_table"].astype(stored)
    table[0, 0] = root

    loaded = io.load_arrays(smpl_files.write_npz(tmp_path / "model.npz", {**smpl, "kintree_table": table}))

    assert loaded.parents[0] == -1


@pytest.mark.parametrize("family", ["smpl", "smplh"])
def test_full_size_model_knows_its_landmarks(family: str, tmp_path: Path) -> None:
    model = smpl_files.make_model(family, num_vertices=smpl_files.FULL_SIZE)

    loaded = io.load_arrays(smpl_files.write_npz(tmp_path / "model.npz", model))

    landmarks = dict(loaded.landmark_vertex_ids)
    assert tuple(landmarks) == layouts.LANDMARKS
    assert landmarks["nose"] == 332
    assert landmarks["left_pinky_tip"] == 2673
    assert landmarks["right_heel"] == 6787


def test_checksum_and_source_name_the_file(smpl_npz: Path) -> None:
    loaded = io.load_arrays(str(smpl_npz))

    assert loaded.checksum == hashlib.sha256(smpl_npz.read_bytes()).hexdigest()
    assert loaded.source == "SMPL_NEUTRAL.npz"


def test_arrays_are_read_only(smpl_npz: Path) -> None:
    loaded = io.load_arrays(smpl_npz)

    for array in (loaded.vertices_template, loaded.shape_basis, loaded.skinning_weights, loaded.faces):
        assert not array.flags.writeable


@pytest.mark.parametrize(("asked", "kept"), [(1, 1), (7, 7), (10, 10), (None, 10)])
def test_num_betas_keeps_the_first_coefficients(
    asked: int | None, kept: int, smpl_npz: Path, smpl: dict[str, np.ndarray]
) -> None:
    loaded = io.load_arrays(smpl_npz, num_betas=asked)

    np.testing.assert_array_equal(loaded.shape_basis, smpl["shapedirs"][..., :kept])


def test_format_is_told_by_content_not_by_name(tmp_path: Path, smpl: dict[str, np.ndarray]) -> None:
    file = smpl_files.write_npz(tmp_path / "model.npz", smpl).rename(tmp_path / "model.pkl")

    assert io.load_arrays(file).family == "smpl"


def test_objects_beside_the_needed_arrays_do_not_matter(tmp_path: Path, smpl: dict[str, np.ndarray]) -> None:
    file = tmp_path / "model.npz"
    np.savez(file, allow_pickle=True, **smpl, joint2num=np.array({"pelvis": 0}, dtype=object))

    assert io.load_arrays(file).family == "smpl"


def test_reading_imports_neither_jax_nor_scipy(smpl_npz: Path) -> None:
    code = (
        "import sys; from hardmo_jax.body import io, open_body; "
        f"io.load_arrays({str(smpl_npz)!r}); sys.exit(any(m in sys.modules for m in ('jax', 'scipy')))"
    )

    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=False).returncode == 0


# ---- what is refused ------------------------------------------------------------------------------------------


def test_num_betas_beyond_the_file_names_both_numbers(smpl_npz: Path) -> None:
    with pytest.raises(io.BodyFileError, match=r"has 10 shape coefficients and num_betas asks for 300"):
        io.load_arrays(smpl_npz, num_betas=300)


@pytest.mark.parametrize("number", [0, -3])
def test_num_betas_below_one_is_refused(number: int, smpl_npz: Path) -> None:
    with pytest.raises(ValueError, match="num_betas must be at least 1"):
        io.load_arrays(smpl_npz, num_betas=number)


def test_missing_file_says_what_was_expected_and_where_to_get_it(tmp_path: Path, smpl_npz: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        io.load_arrays(tmp_path / "SMPL_MALE.npz")

    for part in (
        str(tmp_path / "SMPL_MALE.npz"), "SMPL", "body_models/README.md", "hm.open_body()", "SMPL_NEUTRAL.npz",
    ):  # fmt: skip
        assert part in str(error.value)


def test_missing_folder_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no body model at"):
        io.load_arrays(tmp_path / "nowhere" / "SMPL_MALE.npz")


def test_folder_lists_the_models_inside(tmp_path: Path, smpl_npz: Path) -> None:
    (tmp_path / "smplh").mkdir()
    (tmp_path / "smplh" / "SMPLH_MALE.pkl").touch()
    (tmp_path / "notes.txt").touch()

    with pytest.raises(IsADirectoryError, match=r"SMPL_NEUTRAL\.npz, smplh.SMPLH_MALE\.pkl$"):
        io.load_arrays(tmp_path)


def test_empty_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="holds no"):
        io.load_arrays(tmp_path)


WRONG_FILES = {
    "a JPEG image": b"\xff\xd8\xff\xe0" + bytes(100),
    "JSON text": json.dumps({"v_template": [[0.0, 0.0, 0.0]]}).encode(),
    "plain text": b"v 0.0 0.1 0.2\nv 0.3 0.4 0.5\nf 1 2 3\n",
    "an HTML or XML page": b"<html>please log in</html>",
    "a single NumPy .npy array": b"\x93NUMPY\x01\x00",
    "the file is empty": b"",
    "damaged pickle": b"\x80\x04\x95\x00",
    "holds a list": b"\x80\x02]q\x00.",
    "no kintree_table": b"\x80\x02}q\x00.",
    "a zip archive without arrays": b"",
    "damaged or cut-off .npz": b"PK\x03\x04" + bytes(50),
}


@pytest.mark.parametrize("kind", list(WRONG_FILES))
@pytest.mark.parametrize("ending", [".pkl", ".npz"])
def test_file_that_is_no_model_is_named_for_what_it_is(kind: str, ending: str, tmp_path: Path) -> None:
    file = tmp_path / f"photo{ending}"
    file.write_bytes(WRONG_FILES[kind])
    if kind == "a zip archive without arrays":
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("checkpoint/data.pkl", b"x")

    with pytest.raises(io.BodyFileError, match=kind) as error:
        io.load_arrays(file)

    assert "\n" not in str(error.value)


@pytest.mark.parametrize("writer", list(WRITERS))
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.9999])
def test_file_cut_off_is_refused(writer: str, share: float, tmp_path: Path, smpl: dict[str, np.ndarray]) -> None:
    file = WRITERS[writer](tmp_path, smpl)
    file.write_bytes(file.read_bytes()[: int(share * file.stat().st_size)])

    with pytest.raises(io.BodyFileError, match=r"cut off|cut-off"):
        io.load_arrays(file)


@pytest.mark.parametrize("key", ["v_template", "shapedirs", "posedirs", "J_regressor", "weights", "f"])
def test_missing_array_is_named(key: str, tmp_path: Path, smpl: dict[str, np.ndarray]) -> None:
    model = {name: array for name, array in smpl.items() if name != key}

    with pytest.raises(io.BodyFileError, match=f"{key} missing"):
        io.load_arrays(smpl_files.write_npz(tmp_path / "model.npz", model))


def _with(**changes: Callable[[np.ndarray], Any]) -> Callable[[dict[str, np.ndarray]], dict[str, Any]]:
    return lambda model: {**model, **{key: change(model[key].copy()) for key, change in changes.items()}}


def _set(index: Any, number: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[index] = number
        return array

    return change


WRONG_CONTENTS: dict[str, tuple[Callable[[dict[str, np.ndarray]], dict[str, Any]], str]] = {
    "flat vertices": (_with(v_template=np.ravel), r"v_template must have shape \(V, 3\), got \(900,\)"),
    "no vertices": (_with(v_template=lambda a: a[:0]), r"v_template must have shape"),
    "a basis of other vertices": (_with(shapedirs=lambda a: a[:-1]), r"shapedirs must have shape \(300, 3, S\)"),
    "an empty basis": (_with(shapedirs=lambda a: a[..., :0]), r"shapedirs must have shape"),
    "a flat pose basis": (_with(posedirs=lambda a: a.reshape(-1, 207)), r"posedirs .*\(300, 3, 207\), got \(900,"),
    "a STAR pose basis": (_with(posedirs=lambda a: a[..., :93]), r"STAR model"),
    "a transposed regressor": (_with(J_regressor=np.transpose), r"J_regressor .*stored transposed"),
    "weights of other joints": (_with(weights=lambda a: a[:, :-1]), r"weights must have shape \(300, 24\)"),
    "quads for triangles": (_with(f=lambda a: a[:, [0, 1, 2, 0]]), r"f must have shape \(F, 3\)"),
    "float faces": (_with(f=lambda a: a.astype(float)), r"f must be integers"),
    "faces beyond the mesh": (_with(f=_set((0, 0), 300)), r"names vertices 0 to 300, the model has 300"),
    "NaN in the template": (_with(v_template=_set((5, 1), np.nan)), r"v_template has 1 values that are NaN"),
    "infinity in a basis": (_with(posedirs=_set((0, 0, 0), np.inf)), r"posedirs has 1 values that are NaN"),
    "weights that do not sum to one": (_with(weights=_set((7, 0), 5.0)), r"those of vertex 7 sum to 6"),
    "text for numbers": (_with(weights=lambda a: a.astype("U8")), r"weights must be an array of numbers"),
    "a tree with a cycle": (_with(kintree_table=_set((0, 4), 7)), r"no tree.*joint 4 has parent 7"),
    "a tree with a joint as its own parent": (_with(kintree_table=_set((0, 4), 4)), r"joint 4 has parent 4"),
    "a tree with two roots": (_with(kintree_table=_set((0, 4), 2**32 - 1)), r"joint 4 has parent -1"),
    "a tree without a root": (_with(kintree_table=_set((0, 0), 0)), r"joint 0 has parent 0"),
    "another tree": (_with(kintree_table=_set((0, 4), 2)), r"not the tree of smpl: joint 4 \(left_knee\) hangs at 2"),
    "joints out of order": (_with(kintree_table=_set((1, 4), 9)), r"does not count"),
    "a flat tree": (_with(kintree_table=lambda a: a[0]), r"kintree_table must be integers of shape"),
    "a float tree": (_with(kintree_table=lambda a: a.astype(float)), r"kintree_table must be integers"),
    "an SMPL-X tree": (_with(kintree_table=lambda a: np.zeros((2, 55), int)), r"SMPL-X model .*not supported yet"),
    "a MANO tree": (_with(kintree_table=lambda a: np.zeros((2, 16), int)), r"MANO model .*not supported yet"),
    "a FLAME tree": (_with(kintree_table=lambda a: np.zeros((2, 5), int)), r"FLAME model .*not supported yet"),
    "a tree of 30 joints": (_with(kintree_table=lambda a: np.zeros((2, 30), int)), r"30 joints; SMPL has 24"),
    "the open body": (lambda model: smpl_files.make_open_body(), r"is this package's open body"),
}  # fmt: skip


@pytest.mark.parametrize("writer", ["npz", "pickle"])
@pytest.mark.parametrize("fault", list(WRONG_CONTENTS))
def test_wrong_content_is_refused_with_its_reason(
    fault: str, writer: str, tmp_path: Path, smpl: dict[str, np.ndarray]
) -> None:
    change, reason = WRONG_CONTENTS[fault]
    file = WRITERS[writer](tmp_path, change(smpl))

    with pytest.raises(io.BodyFileError, match=reason) as error:
        io.load_arrays(file)

    assert "\n" not in str(error.value)
    assert file.name in str(error.value)


def test_needed_chumpy_expression_is_refused_by_key(tmp_path: Path, smpl: dict[str, np.ndarray]) -> None:
    expression = smpl_files.Chumpy({"a": np.ones(3)}, "chumpy.ch_ops add")
    file = tmp_path / "model.pkl"
    file.write_bytes(smpl_files.Python2Pickle(2).dump({**smpl, "v_template": expression}))

    with pytest.raises(io.BodyFileError, match=r"v_template is a chumpy expression \(chumpy\.ch_ops\.add\)"):
        io.load_arrays(file)


def test_hostile_pickle_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    canary, file = tmp_path / "canary", tmp_path / "model.pkl"
    file.write_bytes(b"cos\nsystem\n(S'touch " + os.fsencode(canary) + b"'\ntR.")

    with pytest.raises((safe_pickle.UnsafePickleError, io.BodyFileError)):
        io.load_arrays(file)
    file.write_bytes(b"\x80\x02" + file.read_bytes())
    with pytest.raises(safe_pickle.UnsafePickleError, match=r"os\.system"):
        io.load_arrays(file)

    assert not canary.exists()


# ---- archives that lie ----------------------------------------------------------------------------------------


def npy(array: np.ndarray) -> bytes:
    buffer = bytes_io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def header(text: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text.encode() + data


def archive_of(*members: tuple[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = bytes_io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def corrupted(data: bytes) -> bytes:
    position = data.index(b"PAYLOAD!")
    return data[:position] + b"X" + data[position + 1 :]


def encrypted(data: bytes) -> bytes:
    mutant = bytearray(data)
    mutant[6] |= 1
    mutant[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(mutant)


def larger_on_paper(data: bytes) -> bytes:
    """Declare 4 GiB in the archive's directory."""
    position = data.index(b"PK\x01\x02") + 24
    return data[:position] + b"\xf0\xff\xff\xff" + data[position + 4 :]


def shape_header(shape: str, descr: str = "'<f8'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n"


ARCHIVES: dict[str, tuple[Callable[[], bytes], str]] = {
    "a member twice": (
        lambda: archive_of(("a.npy", npy(np.ones(2))), ("b.npy", npy(np.ones(2)))).replace(b"b.npy", b"a.npy"),
        "occurs twice",
    ),
    "a sparse matrix as an object": (
        lambda: archive_of(("a.npy", npy(np.array({"x": 1}, dtype=object)))), r"Python object .*toarray\(\)",
    ),
    "a record array": (
        lambda: archive_of(("a.npy", npy(np.zeros(2, [("x", "f8")])))), "does not read",
    ),
    "a shape larger than the data": (
        lambda: archive_of(("a.npy", header(shape_header("(1000, 3)"), bytes(80)))), "declares 24000 bytes",
    ),
    "a shape of exabytes": (
        lambda: archive_of(("a.npy", header(shape_header("(1152921504606846976, 3)")))), "declares the shape",
    ),
    "a negative shape": (lambda: archive_of(("a.npy", header(shape_header("(-1, 3)")))), "does not read"),
    "code in a header": (
        lambda: archive_of(("a.npy", header(shape_header("(__import__('os').getpid(), 3)")))), "does not read",
    ),
    "a nested header": (lambda: archive_of(("a.npy", header("(" * 5000 + ")" * 5000))), "does not read"),
    "a header of 60 kilobytes": (
        lambda: archive_of(("a.npy", header(shape_header("(1,)") + " " * 60_000, bytes(8)))), "a header of",
    ),
    "a future version": (
        lambda: archive_of(("a.npy", header(shape_header("(1,)"), bytes(8), b"\x09\x00"))), "not a NumPy array",
    ),
    "a member that is no array": (lambda: archive_of(("a.npy", b"hello")), "not a NumPy array"),
    "a pickle as a member": (lambda: archive_of(("a.npy", b"cos\nsystem\n(S'true'\ntR.")), "not a NumPy array"),
    "a wrong checksum": (
        lambda: corrupted(archive_of(("a.npy", npy(np.frombuffer(b"PAYLOAD!", "f8"))))), "damaged or cut-off",
    ),
    "an encrypted member": (lambda: encrypted(archive_of(("a.npy", npy(np.ones(2))))), "encrypted"),
    "an unusual compression": (
        lambda: archive_of(("a.npy", npy(np.ones(2))), compression=zipfile.ZIP_BZIP2), "unusual compression",
    ),
    "a directory that promises gigabytes": (
        lambda: larger_on_paper(archive_of(("a.npy", npy(np.ones(2))))), "declares 16 bytes",
    ),
    "a thousand members": (
        lambda: archive_of(*((f"{i}.npy", npy(np.ones(1))) for i in range(1000))), "1000 members",
    ),
}  # fmt: skip


@pytest.mark.parametrize("lie", list(ARCHIVES))
def test_archive_that_lies_is_refused(lie: str) -> None:
    build, reason = ARCHIVES[lie]

    with pytest.raises(io.BodyFileError, match=reason) as error:
        io.read_npz(build(), source="model.npz")

    assert "\n" not in str(error.value)


def test_zip_bomb_is_refused_before_it_unpacks(tmp_path: Path) -> None:
    """600 MB of zeros in 0.6 MB, under a key that is read."""
    file = tmp_path / "model.npz"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("posedirs.npy", "w") as member:
        member.write(header(shape_header("(75000000,)")))
        for _ in range(75):
            member.write(bytes(8_000_000))

    with pytest.raises(io.BodyFileError, match="more than the cap"):
        io.load_arrays(file)


def test_file_above_the_size_cap_is_refused(smpl_npz: Path) -> None:
    with pytest.raises(io.BodyFileError, match="max_file_bytes"):
        io.load_arrays(smpl_npz, max_file_bytes=1000)


def test_header_in_python2_spelling_loads() -> None:
    data = archive_of(("a.npy", header(shape_header("(2L, 1L)"), np.ones(2).tobytes())))

    np.testing.assert_array_equal(io.read_npz(data, source="model.npz")["a"], np.ones((2, 1)))


def test_mutated_archive_loads_or_is_refused_but_never_crashes(tmp_path: Path) -> None:
    original = archive_of(
        ("a.npy", npy(np.arange(12.0).reshape(3, 4))), ("b.npy", npy(np.array(["x"]))),
        compression=zipfile.ZIP_DEFLATED,
    )  # fmt: skip
    generator = np.random.default_rng(0)

    for _ in range(2000):
        mutant = bytearray(original)
        for position in generator.integers(0, len(mutant), generator.integers(1, 4)):
            mutant[position] = generator.integers(0, 256)
        with contextlib.suppress(io.BodyFileError):
            io.read_npz(bytes(mutant), source="model.npz")


# ---- the package's own body -------------------------------------------------------------------------------------


def open_bytes(**changes: Any) -> bytes:
    buffer = bytes_io.BytesIO()
    np.savez_compressed(buffer, **{**smpl_files.make_open_body(), **changes})
    return buffer.getvalue()


@pytest.mark.parametrize(("view", "num_joints"), [("smpl", 24), ("smplh", 52)])
def test_open_body_has_the_tree_of_its_view(view: Any, num_joints: int) -> None:
    loaded = open_body.read_open_body(open_bytes(), view)

    assert loaded.family == view
    assert loaded.parents == tuple(smpl_files.PARENTS[view])
    assert loaded.joint_regressor.shape == (num_joints, 400)
    assert loaded.skinning_weights.shape == (400, num_joints)
    assert loaded.pose_basis is None
    assert loaded.landmark_vertex_ids == (("nose", 3), ("left_heel", 5))


def test_open_body_in_full_view_has_the_stored_values() -> None:
    stored = smpl_files.make_open_body()

    loaded = open_body.read_open_body(open_bytes(), "smplh")

    taken = loaded.joint_regressor[stored["J_regressor_row"], stored["J_regressor_col"]]
    np.testing.assert_array_equal(taken, stored["J_regressor_val"])
    np.testing.assert_array_equal(
        np.take_along_axis(loaded.skinning_weights, stored["weights_index"].astype(int), axis=1),
        stored["weights_value"],
    )


def test_open_body_folds_each_hand_into_one_joint() -> None:
    full = open_body.read_open_body(open_bytes(), "smplh")
    folded = open_body.read_open_body(open_bytes(), "smpl")

    for hand, side in ((22, "left"), (23, "right")):
        fingers = [j for j, n in enumerate(layouts.SMPLH_JOINTS) if j > 21 and n.startswith(side)]
        root = layouts.SMPLH_JOINTS.index(f"{side}_middle1")
        np.testing.assert_array_equal(folded.joint_regressor[hand], full.joint_regressor[root])
        np.testing.assert_allclose(
            folded.skinning_weights[:, hand], full.skinning_weights[:, fingers].sum(axis=1), rtol=1e-6
        )
    np.testing.assert_array_equal(folded.joint_regressor[:22], full.joint_regressor[:22])
    np.testing.assert_array_equal(folded.skinning_weights[:, :22], full.skinning_weights[:, :22])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"format_version": np.array(9)}, "format_version must be 1"),
        ({"joint_names": np.array(["a"] * 52)}, "joint_names are not"),
        ({"kintree_table": np.zeros((2, 52), int)}, "not the tree of SMPL-H"),
        ({"weights_index": np.full((400, 4), 60, np.uint8)}, "names a joint outside"),
        ({"weights_value": np.ones((400, 4))}, "must sum to 1"),
        ({"landmark_vertex_ids": np.array([3, 400])}, "outside the mesh"),
        ({"v_template": np.full((400, 3), np.nan)}, "not made of finite numbers"),
    ],
)
def test_open_body_with_wrong_content_is_refused(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(io.BodyFileError, match=reason):
        open_body.read_open_body(open_bytes(**changes), "smpl")


def test_open_body_of_an_unknown_view_is_refused() -> None:
    # With the run-time type checks of the tests it is the annotation that refuses.
    with pytest.raises((ValueError, TypeError), match="smplh"):
        open_body.load_open_body_arrays("smplx")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("view", ["smpl", "smplh"])
def test_packaged_open_body_loads(view: Any) -> None:
    if not (Path(open_body.__file__).parent / "assets" / "open_body.npz").exists():
        pytest.skip("body/assets/open_body.npz is not built; run body_models/build_open_body.py")

    loaded = open_body.load_open_body_arrays(view)

    assert loaded.shape_basis.shape[-1] == 10
    assert set(dict(loaded.landmark_vertex_ids)) >= set(layouts.LANDMARKS)
