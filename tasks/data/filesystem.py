"""Folders that the user names, and files that appear in them whole or not at all."""

import contextlib
import pathlib
import secrets
from collections.abc import Iterator

from ..errors import UserError

TRIES = 20


def make(folder: str | pathlib.Path) -> None:
    """Makes a folder and those above it, while other processes may remove empty ones."""
    for tried in range(TRIES):
        try:
            pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
            return
        except FileNotFoundError:
            if tried == TRIES - 1:
                raise


def check_writable(folder: str | pathlib.Path, flag: str) -> None:
    """Finds out before the work, not after it, that nothing can be written into a folder.

    Raises:
        UserError: it cannot; names the flag by which to choose another.
    """
    folder = pathlib.Path(folder)
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    probe = folder / f".probe-{secrets.token_hex(4)}"
    try:
        make(probe)
        probe.rmdir()
    except OSError as error:
        raise UserError(
            f"Cannot write into {folder}: {error.strerror}. Choose another folder with {flag}."
        ) from error
    for path in missing:  # leave nothing behind if the work never comes to writing
        with contextlib.suppress(OSError):  # another process has begun to write there
            path.rmdir()


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a path to write to; what stands there then takes the place of `path` at once.

    Raises:
        OSError: it cannot be written; `path` is as it was.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield beside
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def remove_empty(folder: str | pathlib.Path) -> None:
    """Removes the folder and those in it, as far as there is nothing but folders in them."""
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        return
    for child in folder.iterdir():
        if child.is_dir() and not child.is_symlink():
            remove_empty(child)
    with contextlib.suppress(OSError):  # something is in it
        folder.rmdir()
