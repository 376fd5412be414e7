"""Files of torch made by hand, without torch: what a stranger may write into one."""

import dataclasses
import io
import pickle
import zipfile
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Name:
    """A class or function by its full name, which nothing has to have."""

    text: str


@dataclasses.dataclass(frozen=True)
class Made:
    """An object of a class with a state, or the call of a function."""

    name: str
    arguments: tuple[Any, ...] = ()
    state: Any = None
    is_called: bool = False


@dataclasses.dataclass(frozen=True)
class Storage:
    """Numbers that tensors lie in."""

    key: str
    count: int
    name: str = "torch.FloatStorage"


#: The one in C asks whether names exist.
_PythonPickler: Any = pickle._Pickler  # pyright: ignore[reportAttributeAccessIssue]


class _Writer(_PythonPickler):
    dispatch = _PythonPickler.dispatch.copy()

    def persistent_id(self, obj):
        return ("storage", Name(obj.name), obj.key, "cpu", obj.count) if isinstance(obj, Storage) else None

    def save_name(self, obj):
        module, _, name = obj.text.rpartition(".")
        self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())

    def save_made(self, obj):
        self.save(Name(obj.name))
        self.save(obj.arguments)
        self.write(pickle.REDUCE if obj.is_called else pickle.NEWOBJ)
        if obj.state is not None:
            self.save(obj.state)
            self.write(pickle.BUILD)

    dispatch[Name] = save_name
    dispatch[Made] = save_made


def tensor(storage, start, shape, strides):
    """What torch writes for a tensor."""
    return Made("torch._utils._rebuild_tensor_v2", (storage, start, shape, strides, False, {}), is_called=True)


def save(path, root, storages=None):
    """Write a file of torch with the numbers of storages, arrays by key."""
    data = io.BytesIO()
    _Writer(data, protocol=2).dump(root)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("archive/data.pkl", data.getvalue())
        for key, numbers in (storages or {}).items():
            file.writestr(f"archive/data/{key}", np.asarray(numbers).tobytes())
    return path
