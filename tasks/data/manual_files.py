"""Original files that a user has, where a data set cannot be downloaded."""

import pathlib
from collections.abc import Sequence

from ..errors import UserError


def folder(builder, dl_manager, names: Sequence[str]) -> pathlib.Path:
    """Returns the folder that holds the named files: of the builder's name, or the manual folder.

    Args:
        builder: a TFDS builder with `MANUAL_DOWNLOAD_INSTRUCTIONS`.
        dl_manager: TFDS's.
        names: files that must be there.

    Raises:
        UserError: they are not; says what is missing, and the instructions.
    """
    try:
        manual = pathlib.Path(dl_manager.manual_dir)
    except AssertionError:  # TFDS's way to say that there is none, or nothing in it
        manual = None
    found = "No folder with files in it was given."
    if manual is not None:
        places = (manual / builder.name, manual)
        for place in places:
            if all((place / name).exists() for name in names):
                return place
        lacking = [[name for name in names if not (place / name).exists()] for place in places]
        missing = min(lacking, key=len)
        found = f"Neither there nor in its folder {builder.name} is {missing[0]}."
    told = " ".join(builder.MANUAL_DOWNLOAD_INSTRUCTIONS.split())
    raise UserError(
        f"{builder.name} cannot be downloaded. {told} Name the folder above it with --manual-dir. "
        f"{found}"
    )
