"""`python -m tools.prepare_body` as a user runs it: what it writes, what it says, and the mistakes it refuses."""

import hashlib
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from absl.testing import flagsaver

import hardmo_jax as hm
from hardmo_jax.body import compact, io
from tests.reference import hostile_pickles, smpl_files
from tools import prepare_body

ROOT = pathlib.Path(__file__).resolve().parents[2]
USAGE_STATUS = 2
SMALL = 120


def publish(folder, family="smpl", name="SMPL_NEUTRAL.pkl", num_betas=300):
    folder.mkdir(parents=True, exist_ok=True)
    model = smpl_files.make_model(family, num_vertices=SMALL, num_betas=num_betas)
    write = smpl_files.write_npz if name.endswith(".npz") else smpl_files.write_python2_pickle
    return write(folder / name, model)


@pytest.fixture
def prepare(capsys):
    """Run the tool in this process: its exit status, what it prints, and its errors."""

    def run(source, target, **more):
        values = {"in": None if source is None else str(source), "out": None if target is None else str(target)}
        with flagsaver.flagsaver(**values, **more):
            status = prepare_body.main(["prepare_body"])
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.fixture
def refused(prepare):
    """Run the tool where it must refuse; its one line."""

    def run(*arguments, **more):
        status, said, error = prepare(*arguments, **more)
        assert status == USAGE_STATUS
        assert said == ""
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        return error

    return run


def test_command_writes_a_file_that_loads_as_the_published_one(tmp_path):
    source, target = publish(tmp_path), tmp_path / "body_models" / "smpl_neutral.npz"

    done = subprocess.run(
        [sys.executable, "-m", "tools.prepare_body", f"--in={source}", f"--out={target}"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip

    assert (done.returncode, done.stderr) == (0, "")
    first, *rest = done.stdout.splitlines()
    assert first.startswith(f"read {source} (")
    assert first.endswith(": SMPL, neutral, 24 joints, 120 vertices, 236 triangles")
    assert "kept 10 of 300 shape coefficients; --num_betas=all keeps all" in rest
    assert any(line.startswith(f"wrote {target} (") and "which loads in" in line for line in rest)
    assert any(line.endswith(hashlib.sha256(source.read_bytes()).hexdigest()) for line in rest)
    assert rest[-1] == f"load it with hm.load_body({str(target)!r}), or --config.body.model={target}"
    ours, published = io.read_arrays(target), io.load_arrays(source)
    np.testing.assert_array_equal(ours.shape_basis, published.shape_basis.astype(np.float32))
    assert hm.load_body(target).checksum == published.checksum


def test_tool_loads_no_jax():
    code = "import tools.prepare_body, sys; sys.exit(any(name in sys.modules for name in ('jax', 'scipy', 'torch')))"

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize(
    ("family", "name", "columns", "flags", "kept", "words"),
    [
        ("smpl", "SMPL_MALE.pkl", 300, {"num_betas": "all"}, (300, 0), ["kept 300 of 300 shape coefficients\n"]),
        ("smpl", "SMPL_MALE.pkl", 10, {}, (10, 0), ["kept 10 of 10 shape coefficients\n"]),
        ("smpl", "SMPL_MALE.pkl", 300, {"num_betas": "16"}, (16, 0), ["kept 16 of 300 shape coefficients; --num"]),
        (
            "smplx", "SMPLX_FEMALE.npz", 400, {}, (10, 10),
            ["10 of 300 shape", "10 of 100 expression coefficients; --num_expression=all", "kept 51 points of the face",
             "kept 45 components of the left hand", "kept 45 components of the right hand"],
        ),
        ("smplx", "SMPLX_FEMALE.npz", 400, {"num_betas": "all", "num_expression": "all"}, (300, 100),
            ["kept 300 of 300 shape coefficients\n", "kept 100 of 100 expression coefficients\n"]),
        ("smplx", "SMPLX_FEMALE.npz", 20, {"num_expression": "0"}, (10, 0), ["kept 0 of 10 expression"]),
        ("smplh", "SMPLH_MALE.npz", 16, {"num_betas": "all", "num_expression": "all"}, (16, 0), ["SMPL-H, male, 52"]),
        ("mano_left", "MANO_LEFT.pkl", 10, {}, (10, 0), ["MANO left, 16 joints", "kept 45 components of the left"]),
        ("mano_right", "hand.pkl", 10, {"side": "right"}, (10, 0), ["MANO right, 16 joints"]),
        ("smpl", "body.pkl", 10, {"gender": "female"}, (10, 0), ["SMPL, female, 24"]),
        ("smpl", "body.pkl", 10, {}, (10, 0), ["SMPL, gender unknown (--gender sets it), 24"]),
    ],
)  # fmt: skip
def test_what_is_asked_for_is_kept_and_said(family, name, columns, flags, kept, words, tmp_path, prepare):
    source, target = publish(tmp_path, family, name, columns), tmp_path / "own.npz"

    status, said, error = prepare(source, target, **flags)

    assert (status, error) == (0, "")
    for word in words:
        assert word in said
    arrays = io.read_arrays(target)
    assert arrays.family == family
    assert (arrays.shape_basis.shape[-1] - arrays.num_expression, arrays.num_expression) == kept
    assert arrays.gender == io.read_arrays(source, gender=flags.get("gender"), side=flags.get("side")).gender


@pytest.mark.parametrize("asked", ["models", "models/smplx_female"])
def test_input_may_be_a_folder_or_a_name(asked, tmp_path, prepare):
    for family, name in (("smplx", "SMPLX_FEMALE.npz"), ("smplx", "SMPLX_MALE.npz"), ("smpl", "SMPL_FEMALE.pkl")):
        publish(tmp_path / "models" / family, family, name, 20)

    status, said, _ = prepare(tmp_path / asked, tmp_path / "own.npz", family="smplx", gender="female")

    assert status == 0
    assert said.startswith(f"read {tmp_path / 'models' / 'smplx' / 'SMPLX_FEMALE.npz'} (")


def test_file_of_our_own_can_be_made_smaller(tmp_path, prepare):
    source = publish(tmp_path)
    prepare(source, tmp_path / "whole.npz", num_betas="all")

    status, said, _ = prepare(tmp_path / "whole.npz", tmp_path / "small.npz")

    assert status == 0
    assert "kept 10 of 300 shape coefficients" in said
    assert hashlib.sha256(source.read_bytes()).hexdigest() in said


def test_existing_file_is_replaced_only_when_told_to(tmp_path, prepare, refused):
    source, target = publish(tmp_path), tmp_path / "own.npz"
    prepare(source, target)
    before = target.read_bytes()

    assert "exists; give --overwrite" in refused(source, target, num_betas="all")
    assert target.read_bytes() == before
    assert prepare(source, target, num_betas="all", overwrite=True)[0] == 0
    assert io.read_arrays(target).shape_basis.shape[-1] == 300


@pytest.mark.parametrize("way", ["same name", "link", "hard link", "folder"])
def test_input_is_never_overwritten(way, tmp_path, refused):
    source = publish(tmp_path / "in", name="SMPL_NEUTRAL.npz")
    before, target = source.read_bytes(), tmp_path / "own.npz"
    if way == "link":
        target.symlink_to(source)
    elif way == "hard link":
        target.hardlink_to(source)
    else:
        target = source

    error = refused(source.parent if way == "folder" else source, target, overwrite=True)

    assert "--out is the file that is read" in error
    assert source.read_bytes() == before


SOURCE = "in/SMPL_NEUTRAL.pkl"
MISTAKES = {
    "no input": ((None, "own.npz"), {}, "--in is missing; e.g. --in="),
    "no output": ((SOURCE, None), {}, "--out is missing; e.g. --in="),
    "no such file": (("in/SMPL_MALE.pkl", "own.npz"), {}, "no body model at"),
    "no such model in the folder": (("in", "own.npz"), {"family": "smplx"}, "it holds MANO_LEFT.pkl"),
    "several models in the folder": (("in", "own.npz"), {}, "several fit"),
    "another family": ((SOURCE, "own.npz"), {"family": "smplx"}, "is a SMPL model (24 joints), and"),
    "another gender": ((SOURCE, "own.npz"), {"gender": "male"}, "neutral model by its name"),
    "another side": (("in/MANO_LEFT.pkl", "own.npz"), {"side": "right"}, "left hand by its name"),
    "another ending": ((SOURCE, "own.pkl"), {}, "must be a file that ends in .npz"),
    "a folder as output": ((SOURCE, "folder.npz"), {}, "must be a file that ends in .npz"),
    "a folder that is a file": ((SOURCE, "in/MANO_LEFT.pkl/own.npz"), {}, "MANO_LEFT.pkl"),
    "a name of another family": ((SOURCE, "smplx.npz"), {}, "says smplx, and the model is SMPL, neutral"),
    "a name of another gender": ((SOURCE, "smpl_f.npz"), {}, "says female, and the model is SMPL, neut"),
    "a name of another side": (("in/MANO_LEFT.pkl", "right.npz"), {}, "says right, and the model is MANO left"),
    "too many coefficients": ((SOURCE, "own.npz"), {"num_betas": "11"}, "ask for at most 10"),
    "expression of SMPL": ((SOURCE, "own.npz"), {"num_expression": "1"}, "has 0 expression"),
    "no coefficients": ((SOURCE, "own.npz"), {"num_betas": "0"}, "num_betas must be at least 1"),
    "a number in words": ((SOURCE, "own.npz"), {"num_betas": "ten"}, "--num_betas must be a number or all"),
    "a negative number": ((SOURCE, "own.npz"), {"num_expression": "-1"}, "--num_expression must be a num"),
    "a text file": (("in/notes.npz", "own.npz"), {}, "notes.npz is plain text, not a body model"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", list(MISTAKES))
def test_mistake_is_one_line_and_writes_nothing(mistake, tmp_path, refused):
    (source, target), flags, words = MISTAKES[mistake]
    publish(tmp_path / "in", num_betas=10)
    publish(tmp_path / "in", "mano_left", "MANO_LEFT.pkl", 10)
    (tmp_path / "in" / "notes.npz").write_text("the model is on the other disk")
    (tmp_path / "folder.npz").mkdir()
    before = sorted(tmp_path.rglob("*"))

    error = refused(source and tmp_path / source, target and tmp_path / target, **flags)

    assert words in error
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("attack", list(hostile_pickles.LIVE))
def test_hostile_input_is_refused_and_runs_nothing(attack, tmp_path, refused):
    canary, source = tmp_path / "canary", tmp_path / "SMPL_NEUTRAL.pkl"
    source.write_bytes(hostile_pickles.LIVE[attack](canary))

    refused(source, tmp_path / "own.npz")

    assert sorted(path.name for path in tmp_path.iterdir()) == ["SMPL_NEUTRAL.pkl"]


def test_full_disk_is_one_line_and_leaves_nothing(tmp_path, refused, monkeypatch):
    source = publish(tmp_path / "in")

    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compact.np, "savez", fail)

    assert "No space left on device" in refused(source, tmp_path / "own.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
