"""Entries of the user's folders, without system files such as .DS_Store."""

import os
import pathlib
import re
from collections.abc import Iterator

from ...errors import UserError

# Created by operating systems and tools.
SYSTEM_FILES = re.compile(
    r"\..*|(eh)?thumbs\.db|desktop\.ini|__MACOSX|__pycache__|@eaDir|\$RECYCLE\.BIN|lost\+found"
    r"|System Volume Information|Icon\r",
    re.IGNORECASE,
)
# A folder with one of these names that is the only entry is neither a class nor a split.
WRAPPERS = ("images", "imgs", "texts", "clips", "data", "dataset")


def list_entries(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the files and folders in a folder, in natural order: frame2 before frame10.

    Links to files and folders are followed.

    Raises:
        UserError: the folder cannot be read, or contains something else, such as a broken link.
    """
    try:
        with os.scandir(folder) as all_entries:
            entries = [entry for entry in all_entries if not SYSTEM_FILES.fullmatch(entry.name)]
        wrong = [entry for entry in entries if not (entry.is_file() or entry.is_dir())]
    except OSError as error:
        raise UserError(f"{error.filename or folder} cannot be read: {error.strerror}.") from error
    if wrong:
        kind = "a broken link" if wrong[0].is_symlink() else "neither a file nor a folder"
        raise UserError(f"{folder / wrong[0].name} is {kind}. Fix or remove it.")
    names = sorted((entry.name for entry in entries), key=natural_sort_key)
    return [folder / name for name in names]


def list_folders(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the folders in a folder, in natural order."""
    return [path for path in list_entries(folder) if path.is_dir()]


def find_entry(folder: pathlib.Path, name: str) -> pathlib.Path:
    """Returns the path of an entry, ignoring the case of its name.

    Args:
        folder: where to look.
        name: the name in lower case, used for the path if there is no such entry.
    """
    path = folder / name
    if path.exists() or not folder.is_dir():
        return path
    return next((entry for entry in list_entries(folder) if entry.name.casefold() == name), path)


def natural_sort_key(name: str) -> list[tuple[int, str]]:
    """Returns a key that compares numbers in names as numbers."""
    parts = re.split(r"(\d+)", name)
    return [(int(part), part) if part.isdecimal() else (0, part) for part in parts]


def walk_files(
    folder: pathlib.Path, parents: tuple[pathlib.Path, ...] = ()
) -> Iterator[pathlib.Path]:
    """Yields the files in a folder and in its sub-folders, in natural order.

    Raises:
        UserError: a link leads back to a folder that contains it.
    """
    parents = (*parents, folder.resolve())
    for path in list_entries(folder):
        if not path.is_dir():
            yield path
        elif path.resolve() in parents:
            raise UserError(f"{path} is a link to a folder that contains it. Remove it.")
        else:
            yield from walk_files(path, parents)


def skip_wrapper(folder: pathlib.Path) -> pathlib.Path:
    """Returns the folder that contains the classes or splits: the folder or its only sub-folder.

    For example `train/images/` if `train/` contains only `images/`, which has sub-folders, or
    `seg_train/seg_train/`, as in some unpacked archives.
    """
    entries = list_entries(folder)
    names = (*WRAPPERS, folder.name.lower())
    if len(entries) != 1 or not entries[0].is_dir() or entries[0].name.lower() not in names:
        return folder
    return skip_wrapper(entries[0]) if list_folders(entries[0]) else folder
