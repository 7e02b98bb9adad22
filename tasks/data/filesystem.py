"""Names of files, output folders, and files that are written completely or not at all."""

import contextlib
import pathlib
import secrets
from collections.abc import Iterator

from ..errors import UserError

MAX_ATTEMPTS = 20


def printable(name: str | pathlib.Path) -> str:
    """Returns the name of a file or folder as valid Unicode.

    Python reads bytes that are not UTF-8 as lone surrogates, which cannot be written to files.

    Example:
        >>> printable("caf\\udce9")
        'caf\\\\xe9'
    """
    return str(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def make_folder(folder: str | pathlib.Path) -> None:
    """Creates a folder and its parents, even while other processes remove empty folders."""
    for attempt in range(MAX_ATTEMPTS):
        try:
            pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
            return
        except FileNotFoundError:
            if attempt == MAX_ATTEMPTS - 1:
                raise


def check_writable(folder: str | pathlib.Path, flag: str) -> None:
    """Checks that files can be written to a folder, before any work is done.

    Raises:
        UserError: the folder is not writable; names the flag that sets another one.
    """
    folder = pathlib.Path(folder)
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    probe = folder / f".probe-{secrets.token_hex(4)}"
    try:
        make_folder(probe)
        probe.rmdir()
    except OSError as error:
        raise UserError(
            f"Cannot write to {folder}: {error.strerror}. Choose another folder with {flag}."
        ) from error
    for path in missing:  # leave nothing behind in case nothing is written later
        with contextlib.suppress(OSError):  # another process may already be writing there
            path.rmdir()


@contextlib.contextmanager
def atomic_write(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yields a temporary path to write to, then renames it to `path` in one step.

    Raises:
        OSError: the file cannot be written; `path` is unchanged.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield temporary
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def remove_empty_folders(folder: str | pathlib.Path) -> None:
    """Removes all empty folders in a folder, and the folder itself if it is then empty."""
    folder = pathlib.Path(folder)
    if not folder.is_dir():
        return
    for child in folder.iterdir():
        if child.is_dir() and not child.is_symlink():
            remove_empty_folders(child)
    with contextlib.suppress(OSError):  # not empty
        folder.rmdir()
