"""Folders with a sub-folder for each class, in common and unambiguous layouts."""

import pathlib
from collections.abc import Iterable, Mapping

from ...errors import UserError
from . import layout
from .entries import WRAPPERS, list_entries, list_folders, skip_wrapper, walk_files


def list_class_files(folder: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """Returns the files of each class: one sub-folder per class, with files at any depth.

    Args:
        folder: the folder with the classes, or one whose only entry is a folder `images`, `texts`
            or similar with the classes.

    Raises:
        UserError: a class is empty, there are fewer than two classes, or the sub-folders may be
            splits rather than classes.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder. Expected one with a sub-folder for each class.")
    folder = skip_wrapper(folder)
    class_folders = list_folders(folder)
    _check_single_folder(folder, class_folders)
    _check_structure(folder, class_folders)
    classes = {path.name: list(walk_files(path)) for path in class_folders}
    for name, files in classes.items():
        if not files:
            raise UserError(
                f"{folder / name}: the class {name!r} is empty. Add files, or remove the folder."
            )
    layout.check_classes(classes, folder)
    return classes


def _check_single_folder(folder: pathlib.Path, class_folders: list[pathlib.Path]) -> None:
    """Checks that the classes are not one level further down."""
    if len(class_folders) == 1 and len(_nested_names(class_folders[0])) > 1:
        raise UserError(
            f"{folder} has only one class, {class_folders[0].name!r}, which contains folders. If "
            f"those are the classes, use the path {class_folders[0]}."
        )


def _check_structure(folder: pathlib.Path, class_folders: Iterable[pathlib.Path]) -> None:
    """Checks that no sub-folders are splits, above or below the classes.

    Raises:
        UserError: a class contains splits, or two classes contain only the same folders.
    """
    nested_of = {path.name: names for path in class_folders if (names := _nested_names(path))}
    for name, nested in nested_of.items():
        splits = layout.find_split_names(nested)
        if len(splits) > 1:
            raise UserError(
                f"{folder / name} contains {_list(splits)}. Move the classes into the splits: "
                f"{splits[0]}/{name} instead of {name}/{splits[0]}."
            )
    first, second, shared = _find_same_folders(nested_of)
    if shared:
        raise UserError(
            f"{folder}: {first} and {second} contain the same folders, {_list(shared)}. If {first} "
            f"and {second} are splits, name them train, validation or test; if they are classes, "
            "move the files out of their sub-folders."
        )


def _nested_names(folder: pathlib.Path) -> set[str]:
    """Returns the names of the folders in a folder that contains no files, without wrappers."""
    entries = list_entries(skip_wrapper(folder))
    if not all(path.is_dir() for path in entries):
        return set()
    return {path.name for path in entries if path.name.lower() not in WRAPPERS}


def _find_same_folders(nested_of: Mapping[str, set[str]]) -> tuple[str, str, list[str]]:
    """Returns two classes and the folders in both: all of them, or at least two."""
    names = list(nested_of)
    for index, first in enumerate(names):
        for second in names[index + 1 :]:
            shared = nested_of[first] & nested_of[second]
            if len(shared) > 1 or shared == nested_of[first] == nested_of[second]:
                return first, second, sorted(shared)
    return "", "", []


def _list(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:5]) + (" and others" if len(names) > 5 else "")
