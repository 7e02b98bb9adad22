"""Original files of data sets that cannot be downloaded automatically."""

import pathlib
from collections.abc import Sequence
from typing import Any

from ..errors import UserError


def find_manual_folder(builder: Any, dl_manager: Any, names: Sequence[str]) -> pathlib.Path:
    """Returns the folder that contains all the named files.

    It is the sub-folder of `--manual-dir` named after the builder, or `--manual-dir` itself.

    Args:
        builder: a TFDS builder with `MANUAL_DOWNLOAD_INSTRUCTIONS`.
        dl_manager: the TFDS download manager.
        names: files that must be in the folder.

    Raises:
        UserError: a file is missing; names it and repeats the instructions.
    """
    try:
        manual = pathlib.Path(dl_manager.manual_dir)
    except AssertionError:  # how TFDS reports that there is no such folder, or that it is empty
        manual = None
    problem = "--manual-dir is not set, or its folder is empty."
    if manual is not None:
        candidates = (manual / builder.name, manual)
        for folder in candidates:
            if all((folder / name).exists() for name in names):
                return folder
        missing = min(
            ([name for name in names if not (folder / name).exists()] for folder in candidates),
            key=len,
        )
        problem = f"{missing[0]} is neither in {manual} nor in {manual / builder.name}."
    instructions = " ".join(builder.MANUAL_DOWNLOAD_INSTRUCTIONS.split())
    raise UserError(
        f"{builder.name} cannot be downloaded automatically. {instructions} Pass the folder above "
        f"it with --manual-dir. {problem}"
    )
