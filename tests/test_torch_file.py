"""Files of torch.save: old and new, of any training program, cut off, damaged, and by somebody who means harm."""

import pathlib
import struct
import tracemalloc

import numpy as np
import pytest

from hardmo_jax import safe_pickle, torch_file
from hardmo_jax.torch_file import TorchFile, TorchFileError
from tests.perception import handmade_torch
from tests.perception.handmade_torch import Made, Name, Storage, tensor

BIG = 1 << 40


def opened(path, *, max_bytes=1 << 30):
    return TorchFile(path, vocabulary=torch_file.CHECKPOINT, advice="write it again", max_bytes=max_bytes)


def weights():
    torch = pytest.importorskip("torch", reason="writes the files; the `bench` extra")
    values = torch.arange(24.0).reshape(4, 6) / 7
    return {
        "single": values,
        "half": values.half(),
        "brain": values.bfloat16().T,
        "double": values.double(),
        "part": torch.nn.Parameter(values[1:3, ::2]),
        "count": torch.tensor(3),
        "none": torch.zeros(0, 3),
        "flag": torch.tensor([True, False]),
    }


@pytest.mark.parametrize("is_new", [True, False])
def test_every_kind_of_tensor_is_read_from_new_and_old_files(tmp_path, is_new):
    given = weights()
    import torch

    torch.save({"model": given, "epoch": 3}, tmp_path / "w.pt", _use_new_zipfile_serialization=is_new)
    with opened(tmp_path / "w.pt") as file:
        assert file.root["epoch"] == 3
        for name, value in given.items():
            array = file.array(file.root["model"][name], max_values=1000)
            wanted = value.detach()
            wanted = wanted.float() if name == "brain" else wanted
            np.testing.assert_array_equal(array, wanted.numpy())
            assert array.dtype == wanted.numpy().dtype


@pytest.mark.parametrize("is_new", [True, False])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.6, 0.9, 0.999])
def test_a_file_that_is_cut_off_is_told_in_one_line(tmp_path, is_new, share):
    given = weights()
    import torch

    torch.save({"model": given}, tmp_path / "w.pt", _use_new_zipfile_serialization=is_new)
    data = (tmp_path / "w.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(data[: int(share * len(data))])
    with pytest.raises(TorchFileError, match=r"cut\.pt") as told:
        opened(tmp_path / "cut.pt")
    assert "\n" not in str(told.value)
    assert any(word in str(told.value) for word in ("copy", "download", "damaged"))


@pytest.mark.parametrize("is_new", [True, False])
def test_a_file_that_calls_the_system_is_refused_and_nothing_runs(tmp_path, is_new):
    torch = pytest.importorskip("torch", reason="writes the files; the `bench` extra")
    mark = tmp_path / "it ran"

    class Harm:
        def __reduce__(self):
            return pathlib.Path.touch, (mark,)

    class Worse:
        def __reduce__(self):
            return eval, (f"open({str(mark)!r}, 'w')",)

    for harm, name in ((Worse(), "eval"), (Harm(), "getattr|touch")):
        torch.save({"state_dict": harm}, tmp_path / "w.pt", _use_new_zipfile_serialization=is_new)
        with pytest.raises(TorchFileError, match=f"could run code|{name}"):
            opened(tmp_path / "w.pt")
        assert not mark.exists()


@pytest.mark.parametrize("name", ["os.system", "posix.system", "builtins.exec", "subprocess.Popen", "runpy.run_path"])
def test_names_of_python_itself_are_refused_even_uncalled(tmp_path, name):
    handmade_torch.save(tmp_path / "w.pt", {"a": Name(name)})
    with pytest.raises(TorchFileError, match="could run code"):
        opened(tmp_path / "w.pt")


def test_objects_of_other_programs_are_descriptions(tmp_path):
    attributes = {"monitor": "loss", "best": 0.5}
    root = {
        "callbacks": Made("pytorch_lightning.callbacks.ModelCheckpoint", state=attributes),
        "made": Made("somebody.made_this", (1, "two"), is_called=True),
        "class": Name("some.config.CfgNode"),
    }
    handmade_torch.save(tmp_path / "w.pt", root)
    with opened(tmp_path / "w.pt") as file:
        assert file.root["callbacks"].name == "pytorch_lightning.callbacks.ModelCheckpoint"
        assert file.root["callbacks"].state == attributes
        assert file.root["made"].arguments == (1, "two")
        assert file.root["class"].name == "some.config.CfgNode"


def test_entries_of_dicts_of_other_programs_are_kept(tmp_path):
    root = b"\x80\x02csome.config\nCfgNode\n)\x81(X\x01\x00\x00\x00aK\x01X\x01\x00\x00\x00bK\x02u."
    value = safe_pickle.loads_described(
        root, names=torch_file.CHECKPOINT.names, calls=frozenset(), advice="", is_lenient=True
    )
    assert (value.name, value.entries) == ("some.config.CfgNode", {"a": 1, "b": 2})
    with pytest.raises(safe_pickle.UnsafePickleError, match="not a dict"):
        safe_pickle.loads_described(root, names=torch_file.CHECKPOINT.names, calls=frozenset(), advice="")


def test_what_contains_itself_is_cut_where_it_begins_again():
    # A config of omegaconf, whose children know their parent.
    data = (
        b"\x80\x02comegaconf.dictconfig\nDictConfig\n)\x81q\x00}(X\x08\x00\x00\x00_contentcomegaconf.nodes\nAnyNode\n"
        b")\x81}X\x07\x00\x00\x00_parenth\x00sbub."
    )
    value = safe_pickle.loads_described(
        data, names=torch_file.CHECKPOINT.names, calls=frozenset(), advice="", is_lenient=True
    )
    assert value.state["_content"].state["_parent"].name == safe_pickle.WITHIN_ITSELF
    with pytest.raises(safe_pickle.UnsafePickleError, match="contains itself"):
        safe_pickle.loads_described(data, names=torch_file.CHECKPOINT.names, calls=frozenset(), advice="")


def test_classes_as_keys_become_text():
    data = b"\x80\x02}cpytorch_lightning.callbacks\nModelCheckpoint\nK\x01s."
    value = safe_pickle.loads_described(
        data, names=torch_file.CHECKPOINT.names, calls=frozenset(), advice="", is_lenient=True
    )
    assert value == {"class pytorch_lightning.callbacks.ModelCheckpoint": 1}


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    handmade_torch.save(tmp_path / "w.pt", {})
    with pytest.raises(TorchFileError, match="larger than 10 bytes"):
        opened(tmp_path / "w.pt", max_bytes=10)


def test_tensors_that_claim_more_than_there_is_are_refused(tmp_path):
    few = {"0": np.zeros(6, np.float32)}
    for made, message in (
        (tensor(Storage("0", 6), 0, (3, 3), (3, 1)), "beyond its numbers"),
        (tensor(Storage("0", 6), 5, (2,), (1,)), "beyond its numbers"),
        (tensor(Storage("0", 600), 0, (600,), (1,)), "bytes"),
        (tensor(Storage("../../0", 6), 0, (6,), (1,)), "kept under"),
        (tensor(Storage("0", 6), 0, (BIG, BIG), (0, 0)), "at most"),
    ):
        handmade_torch.save(tmp_path / "w.pt", {"t": made}, few)
        with opened(tmp_path / "w.pt") as file, pytest.raises(TorchFileError, match=message):
            file.array(file.root["t"], max_values=1000)


def test_old_files_that_say_more_than_they_hold_are_refused(tmp_path):
    torch = pytest.importorskip("torch", reason="writes the files; the `bench` extra")
    torch.save({"a": torch.arange(6.0)}, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    data = (tmp_path / "w.pt").read_bytes()
    place = data.rindex((6).to_bytes(8, "little"))
    for count in (7, 1 << 60, -1):
        (tmp_path / "w.pt").write_bytes(data[:place] + count.to_bytes(8, "little", signed=True) + data[place + 8 :])
        with pytest.raises(TorchFileError, match="cut off or damaged"):
            opened(tmp_path / "w.pt")


def test_a_directory_of_a_million_members_is_refused_unparsed(tmp_path):
    """Python's reader makes an object of half a kilobyte of every 46 bytes."""
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    directory = entry * 1_000_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, len(directory), 0, 0)
    (tmp_path / "w.pt").write_bytes(directory + end)
    tracemalloc.start()
    with pytest.raises(TorchFileError, match="directory of"):
        opened(tmp_path / "w.pt")
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    "name", ["uuid._get_command_stdout", "cPickle.loads", "pathlib.Path.touch", "commands.getoutput"]
)
def test_functions_of_modules_that_hold_harmless_classes_too_are_refused(tmp_path, name):
    handmade_torch.save(tmp_path / "w.pt", {"a": Name(name)})
    with pytest.raises(TorchFileError, match="could run code"):
        opened(tmp_path / "w.pt")
    for harmless in ("uuid.UUID", "pathlib.PosixPath", "collections.defaultdict", "argparse.Namespace", "typing.Any"):
        handmade_torch.save(tmp_path / "w.pt", {"a": Name(harmless)})
        with opened(tmp_path / "w.pt") as file:
            assert file.root["a"].name == harmless
