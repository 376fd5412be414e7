"""Finding body-model files: which file a name means, and what a name says about its contents."""

import os
import re
from pathlib import Path

from hardmo_jax import safe_pickle
from hardmo_jax.body.array_files import WHERE, BodyFileError
from hardmo_jax.body.families import GENDERS, HAND_SIDES

ENDINGS = (".npz", ".pkl")
_MAX_LISTED = 8
_MAX_SEARCHED = 10_000
_FAMILY_WORDS = {"smpl": "smpl", "basicmodel": "smpl", "smplh": "smplh", "smplx": "smplx", "mano": "mano"}
_GENDER_WORDS = {"neutral": "neutral", "female": "female", "f": "female", "male": "male", "m": "male"}
_SIDE_WORDS = {side: side for side in HAND_SIDES}


def find_body_file(
    path: str | os.PathLike[str], *, family: str | None = None, gender: str | None = None, side: str | None = None
) -> Path:
    """The file that a path means: itself, or the fitting one in a folder, or one whose name says the same.

    A folder is searched three levels deep, so that the folders of the published archives and of smplx
    (`smplx/SMPLX_NEUTRAL.npz`, `female/model.npz`) work as they are. A name without an ending, such as
    `body_models/smplx_female`, is taken for the words in it.

    Args:
        path: File, folder or name.
        family: `smpl`, `smplh`, `smplx` or `mano`; None if the path says it or there is no choice.
        gender: Gender to look for in a folder; None takes neutral, or the only one there is.
        side: `left` or `right`, of MANO.

    Raises:
        FileNotFoundError: If nothing fits; the message lists what was found.
        IsADirectoryError: If several files of a folder fit; the message lists them.
    """
    path = Path(path)
    if path.is_dir():
        return _search(path, path, family or _word(path.name, _FAMILY_WORDS), gender, side)
    if path.exists() or path.suffix.lower() in ENDINGS or not path.parent.is_dir():
        return path
    named = _word(path.name, _FAMILY_WORDS)
    if named is None or (family is not None and family != named):
        return path
    gender = gender or _word(path.name, _GENDER_WORDS)
    return _search(path.parent, path, named, gender, side or _word(path.name, _SIDE_WORDS))


def _search(folder: Path, asked: Path, family: str | None, gender: str | None, side: str | None) -> Path:
    found = _candidates(folder)
    inside = _listing(folder, found)
    matching = [
        file
        for file in found
        if family in (None, family_of_name(file.relative_to(folder.parent)))
        and gender in (None, gender_of_name(file.relative_to(folder)))
        and side in (None, side_of_name(file.relative_to(folder)))
    ]
    if gender is None and len({gender_of_name(file.relative_to(folder)) for file in matching}) > 1:
        matching = [file for file in matching if gender_of_name(file.relative_to(folder)) == "neutral"] or matching
    # The same model in both formats: the archive is the faster one.
    stems = {file.with_suffix("") for file in matching}
    if len(stems) == 1:
        return sorted(matching)[0]
    wanted = " ".join(word for word in (family or "body", gender, side) if word)
    if not matching:
        raise FileNotFoundError(f"no {wanted} model for {asked}; {inside}; {WHERE}")
    several = _listing(folder, matching)
    raise IsADirectoryError(
        f"{asked} is a folder where a body-model file is meant, and several fit ({wanted}): {several}; "
        "give family=, gender= or side=, or the file"
    )


def read_file(path: Path, max_file_bytes: int) -> bytes:
    """Bytes of a body-model file.

    Raises:
        FileNotFoundError: If nothing is at `path`; the message lists the model files beside it.
        BodyFileError: If it is empty, too large or no regular file.
    """
    if not path.exists():
        beside = _candidates(path.parent) if path.parent.is_dir() else []
        hint = f"{_listing(path.parent, beside)}; " if beside else ""
        raise FileNotFoundError(
            f"no body model at {path} (an SMPL, SMPL-H, SMPL-X or MANO .npz or .pkl file is expected); {hint}{WHERE}"
        )
    try:
        data = safe_pickle.read_capped(path, max_file_bytes=max_file_bytes)
    except safe_pickle.UnsafePickleError as error:
        raise BodyFileError(str(error)) from error
    if not data:
        raise BodyFileError(f"{path.name}: the file is empty; download or copy it again")
    return data


def family_of_name(path: Path) -> str | None:
    """`smpl`, `smplh`, `smplx` or `mano` if the name of the file, or else of a folder above it, says so."""
    return _word_of_path(path, _FAMILY_WORDS)


def gender_of_name(path: Path) -> str | None:
    """Gender that the name of the file, or else of the folder above it, says."""
    return _word_of_path(Path(*path.parts[-2:]), _GENDER_WORDS)


def side_of_name(path: Path) -> str | None:
    """Side of a hand that the name of the file, or else of the folder above it, says."""
    return _word_of_path(Path(*path.parts[-2:]), _SIDE_WORDS)


def checked_gender(path: Path, gender: str | None) -> str:
    """Gender by argument or file name; `unknown` if neither says.

    Raises:
        ValueError: If the argument is no gender, or contradicts the name.
    """
    if gender is not None and gender not in GENDERS:
        raise ValueError(f"gender must be one of {', '.join(GENDERS)} or None, got {gender!r}")
    named = gender_of_name(path)
    if gender and named and gender != named:
        raise ValueError(f"{path} is a {named} model by its name, and gender={gender!r} was asked for")
    return gender or named or "unknown"


def _word_of_path(path: Path, words: dict[str, str]) -> str | None:
    for part in (path.stem, *reversed(path.parts[:-1])):
        word = _word(part, words)
        if word is not None:
            return word
    return None


def _word(name: str, words: dict[str, str]) -> str | None:
    joined = re.sub(r"smpl[-_+ ]?([hx])(?![a-z])", r"smpl\1", name.lower())  # SMPL-X, SMPL+H, SMPL_H
    for token in re.split(r"[^a-z]+", joined):
        if token in words:
            return words[token]
    return None


def _candidates(folder: Path) -> list[Path]:
    """Model files in a folder and two levels below it, by name."""
    found: list[Path] = []
    for pattern in ("*", "*/*", "*/*/*"):
        for count, file in enumerate(folder.glob(pattern)):
            if count >= _MAX_SEARCHED:
                break
            if file.suffix.lower() in ENDINGS:
                found.append(file)
    return sorted(found)


def _listing(folder: Path, found: list[Path]) -> str:
    if not found:
        return f"{folder} holds no {' or '.join(ENDINGS)} file"
    names = [str(file.relative_to(folder)) for file in found[:_MAX_LISTED]]
    return f"it holds {', '.join(names)}{', ...' if len(found) > _MAX_LISTED else ''}"
