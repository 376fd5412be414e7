"""A checkpoint of PyTorch to a folder that networks here load: whole or not at all."""

import dataclasses
import os
import pathlib
import secrets
import shutil

from hardmo_jax import whole_files
from hardmo_jax.networks import regressor_file, regressors, torch_import
from hardmo_jax.networks.regressor_file import RegressorRecord
from hardmo_jax.pipelines import output_folders

_SCRATCH = ".converting-"
#: After a kill between two renames it is the only network that is left; the next run puts it back.
_OLD = ".replaced-"
#: Beside the weights themselves, bytes.
_SPARE = 32 << 20


class ConversionError(ValueError):
    """The output folder cannot be used; the message says why."""


def convert_checkpoint(
    model: str,
    source: pathlib.Path,
    output: pathlib.Path,
    *,
    may_replace: bool = False,
    vit_heads: int | None = None,
) -> RegressorRecord:
    """Convert a checkpoint.

    Args:
        model: Network that it must be, in `regressors.ARCHITECTURES`.
        source: File that `torch.save` or Lightning wrote.
        output: Folder to make.
        may_replace: Whether a converted regressor that is there is replaced. Nothing else ever is.
        vit_heads: Heads of a vision transformer whose width is none of the known ones.

    Returns:
        What was written beside the weights.

    Raises:
        FileNotFoundError: If there is no such file.
        ConversionError: If the output exists and must not be replaced, or cannot be written.
        hardmo_jax.torch_file.TorchFileError: If the file is damaged, none of torch, or asks for what could run code.
        hardmo_jax.networks.torch_import.CheckpointError: If it is another network, or incomplete.
    """
    output = output.resolve()  # a link stays one
    old = output.parent / f"{_OLD}{output.name}"
    _put_back(old, output)
    _check_output(output, source, may_replace)
    imported = torch_import.import_checkpoint(source, model, vit_heads=vit_heads)
    record = RegressorRecord(
        model=model,
        options=dataclasses.asdict(imported.options),
        image_size=regressors.ARCHITECTURES[model].image_size,
        num_parameters=sum(array.size for array in imported.weights.values()),
        source_name=source.name,
        source_sha256=whole_files.file_sha256(source),
        source_bytes=source.stat().st_size,
        left_out=dict(imported.left_out),
        settings=dict(imported.settings),
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    output_folders.sweep_leftovers(output.parent, _SCRATCH)
    scratch = output.parent / f"{_SCRATCH}{secrets.token_hex(8)}"
    arrays = [*imported.weights.values(), *(imported.discriminator or {}).values()]
    needed, free = sum(array.nbytes for array in arrays) + _SPARE, shutil.disk_usage(output.parent).free
    if free < needed:
        raise ConversionError(
            f"{output.parent} has {free / 1e9:.2f} GB free, and {needed / 1e9:.2f} GB are needed; give another --out"
        )
    try:
        regressor_file.save_converted(scratch, record, imported.weights, imported.discriminator)
        if output.exists():
            # Folders cannot be exchanged in one step; the old one waits beside it, and comes back if the new one fails.
            os.replace(output, old)
        try:
            os.replace(scratch, output)
        except BaseException:
            if old.exists() and not output.exists():
                os.replace(old, output)
            raise
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, ValueError, RuntimeError) as error:  # of the disk; what is wrong with the file was told before
        raise ConversionError(f"{output} cannot be written: {' '.join(str(error).split())[:200]}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return record


def _put_back(old: pathlib.Path, output: pathlib.Path) -> None:
    """Undo half of a replacement: the old network is back in its place, unless the new one is there."""
    if not (old / regressor_file.RECORD).is_file():
        return
    if output.exists():
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.replace(old, output)


def _check_output(output: pathlib.Path, source: pathlib.Path, may_replace: bool) -> None:
    if output.exists() and not output.is_dir():
        raise ConversionError(f"{output} is a file; give a folder as --out, e.g. --out=models/hmr2")
    if output == pathlib.Path.cwd():
        raise ConversionError(f"{output} is the working folder, which cannot be replaced; give a new folder as --out")
    if source.exists() and source.resolve().is_relative_to(output.resolve()):
        raise ConversionError(f"{source} lies in the output folder {output}; give another --out")
    if not output.exists() or not any(output.iterdir()):
        return
    if not (output / regressor_file.RECORD).is_file():
        raise ConversionError(f"{output} holds what is no converted regressor; give a new folder as --out")
    if not may_replace:
        raise ConversionError(f"{output} holds a converted regressor; give --overwrite to replace it, or another --out")
