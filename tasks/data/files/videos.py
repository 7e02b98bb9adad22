"""Videos, which the user has to extract into folders of frames."""

import pathlib
import shlex
from collections.abc import Iterable

from ...errors import UserError
from .entries import list_entries

VIDEO_SUFFIXES = (
    *(".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv"),
    *(".webm", ".wmv", ".3gp"),
)


def list_frames(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns the files in the folder of a clip, in natural order.

    Raises:
        UserError: one of them is a video.
    """
    files = list_entries(folder)
    refuse_videos(file for file in files if file.suffix.lower() != ".gif")  # may be images
    return files


def refuse_videos(paths: Iterable[pathlib.Path]) -> None:
    """Checks that none of the paths is a video.

    Raises:
        UserError: one of them is; the message shows how to extract its frames.
    """
    for path in paths:
        if path.suffix.lower() in VIDEO_SUFFIXES:
            video, folder = shlex.quote(str(path)), shlex.quote(str(path.with_suffix("")))
            raise UserError(
                f"{path} is a video. Extract its frames into a folder, one image per frame, for "
                f"example with: mkdir {folder}; ffmpeg -i {video} {folder}/%05d.png"
            )
