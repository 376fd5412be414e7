"""Turn a published SMPL, SMPL-H, SMPL-X or MANO file into one `.npz` of plain arrays that loads several times faster.

python -m tools.prepare_body --in=SMPL_NEUTRAL.pkl --out=body_models/smpl_neutral.npz
python -m tools.prepare_body --in=models --family=smplx --gender=male --num_betas=all --out=body_models/smplx_male.npz

The published file is read by the closed reader, which runs nothing from it. Its licence holds for the new file as
well. Labels made with either cite the checksum of the published file.
"""

import os
import pathlib
import time
from collections.abc import Callable, Sequence

from absl import flags

from hardmo_jax.body import arrays as body_arrays
from hardmo_jax.body import compact, families, files, io
from tools import _cli

_IN = flags.DEFINE_string("in", None, "The published file; or a folder of such files, or a name, as for hm.load_body.")
_OUT = flags.DEFINE_string("out", None, "The file to write; must end in .npz.")
_NUM_BETAS = flags.DEFINE_string("num_betas", "10", "Shape coefficients to keep: a number, or all.")
_NUM_EXPRESSION = flags.DEFINE_string(
    "num_expression", None, "Expression coefficients of SMPL-X to keep: a number, or all; default: up to 10."
)
_FAMILY = flags.DEFINE_enum("family", None, files.FAMILY_WORDS, "What to look for in a folder; a file must be of it.")
_GENDER = flags.DEFINE_enum("gender", None, families.GENDERS, "What to look for in a folder, or what a file holds.")
_SIDE = flags.DEFINE_enum("side", None, families.HAND_SIDES, "Which hand, of MANO; default: by the name of the file.")
_OVERWRITE = flags.DEFINE_bool("overwrite", False, "Replace the file to write if it is there.")

_ALL = -1


def main(argv: Sequence[str]) -> int:
    """Read, write, read again, and say what became of the file."""
    del argv
    asked, out = _IN.value, _OUT.value
    if not asked or not out:
        missing = "out" if asked else "in"
        return _cli.fail(f"--{missing} is missing; e.g. --in=SMPL_NEUTRAL.pkl --out=body_models/smpl_neutral.npz")
    family, gender, side = _FAMILY.value, _GENDER.value, _SIDE.value
    target = pathlib.Path(out)
    try:
        num_betas, num_expression = _count(_NUM_BETAS), _count(_NUM_EXPRESSION)
        source = files.find_body_file(asked, family=family, gender=gender, side=side)
        _check_target(target, source)
        whole, seconds_before = _timed(lambda: io.read_arrays(source, family=family, gender=gender, side=side))
        _check_name(target, whole)
        kept = body_arrays.keep_coefficients(
            whole,
            num_betas=_num_shape(whole) if num_betas == _ALL else num_betas,
            num_expression=whole.num_expression if num_expression == _ALL else num_expression,
            source=source.name,
        )
        compact.write_compact(target, kept)
        written, seconds_after = min((_timed(lambda: io.read_arrays(target)) for _ in range(3)), key=lambda run: run[1])
    except (OSError, ValueError) as error:
        # All that may be wrong with files, with their content and with the flags is one of these.
        return _cli.fail(" ".join(str(error).split()))
    print(f"read {source} ({_size(source)}, {seconds_before:.2f} s): {_describe(whole)}")
    _print_kept(whole, written)
    print(f"wrote {target} ({_size(target)}), which loads in {seconds_after:.2f} s")
    print(f"SHA-256 of the published file, which labels cite: {written.checksum}")
    print(f"load it with hm.load_body({os.fspath(target)!r}), or --config.body.model={target}")
    return 0


def _count(flag: flags.FlagHolder[str | None]) -> int | None:
    """A number of coefficients, `_ALL`, or None where nothing is said."""
    text = flag.value
    if text is None or text == "all":
        return None if text is None else _ALL
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"--{flag.name} must be a number or all, got {text!r}")
    return int(text)


def _check_target(target: pathlib.Path, source: pathlib.Path) -> None:
    """Refuse to write where something is."""
    if target.suffix != ".npz" or target.is_dir():
        raise ValueError(f"--out must be a file that ends in .npz, got {target}")
    if target.exists() and source.exists() and os.path.samefile(target, source):
        raise ValueError(f"--out is the file that is read, {source}; write to another one")
    if target.exists() and not _OVERWRITE.value:
        raise ValueError(f"{target} exists; give --overwrite to replace it, or another --out")


def _check_name(target: pathlib.Path, arrays: body_arrays.BodyArrays) -> None:
    """Refuse a name that says what the model is not: a search would find it for that, or not find it."""
    family, _, side = arrays.family.partition("_")
    name = pathlib.Path(target.name)
    for says, holds in (
        (files.family_of_name(name), family),
        (files.gender_of_name(name), arrays.gender),
        (files.side_of_name(name), side),
    ):
        if says is not None and says != holds and holds != "unknown":
            raise ValueError(f"--out={target} says {says}, and the model is {_describe(arrays)}; give another name")


def _timed(read: Callable[[], body_arrays.BodyArrays]) -> tuple[body_arrays.BodyArrays, float]:
    """A model and the seconds it takes to read."""
    start = time.perf_counter()
    return read(), time.perf_counter() - start


def _num_shape(arrays: body_arrays.BodyArrays) -> int:
    return arrays.shape_basis.shape[-1] - arrays.num_expression


def _describe(arrays: body_arrays.BodyArrays) -> str:
    title = families.FAMILIES[arrays.family].title
    gender = {"unknown": ", gender unknown (--gender sets it)"}.get(arrays.gender, f", {arrays.gender}")
    size = f"{len(arrays.parents)} joints, {len(arrays.vertices_template)} vertices, {len(arrays.faces)} triangles"
    return f"{title}{'' if arrays.family.startswith('mano') else gender}, {size}"


def _print_kept(whole: body_arrays.BodyArrays, written: body_arrays.BodyArrays) -> None:
    """What of the published file is in the new one."""
    counts = [("shape", "num_betas", _num_shape(written), _num_shape(whole))]
    if whole.num_expression:
        counts.append(("expression", "num_expression", written.num_expression, whole.num_expression))
    for kind, flag, kept, available in counts:
        hint = "" if kept == available else f"; --{flag}=all keeps all"
        print(f"kept {kept} of {available} {kind} coefficients{hint}")
    components = {side: len(space.components) for side, space in written.hands}
    for side in families.FAMILIES[written.family].hand_sides:
        print(f"kept {components.get(side, 'no')} components of the {side} hand")
    if written.family == "smplx":
        print(f"kept {len(written.face.triangles) if written.face else 'no'} points of the face")
    print("dropped what posing does not use, and digits beyond float32 but for those of the joint regressor")


def _size(path: pathlib.Path) -> str:
    return f"{path.stat().st_size / 1e6:.1f} MB"


if __name__ == "__main__":
    _cli.run(main, compiles=False)
