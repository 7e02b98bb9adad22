"""Folders that the user names."""

import pathlib
import secrets

from .errors import UserError


def check_writable(folder: str | pathlib.Path, flag: str) -> None:
    """Finds out before the work, not after it, that nothing can be written into a folder.

    Raises:
        UserError: it cannot; names the flag by which to choose another.
    """
    folder = pathlib.Path(folder)
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    probe = folder / f".probe-{secrets.token_hex(4)}"
    try:
        probe.mkdir(parents=True)
        probe.rmdir()
        for path in missing:  # leave nothing behind if the work never comes to writing
            path.rmdir()
    except OSError as error:
        raise UserError(
            f"Cannot write into {folder}: {error.strerror}. Choose another folder with {flag}."
        ) from error


def remove_empty(folder: str | pathlib.Path) -> None:
    """Removes the folder and those in it, as far as there is nothing but folders in them."""
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        return
    for child in folder.iterdir():
        if child.is_dir() and not child.is_symlink():
            remove_empty(child)
    if not any(folder.iterdir()):
        folder.rmdir()
