"""The TFDS builder of `utkinect`."""

import io
import pathlib
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow_datasets as tfds

from ....errors import UserError
from ... import manual_files

Action: TypeAlias = tuple[str, int, int]  # name, first and last frame number

ARCHIVE = "utkinect_action3d_joints.zip"
LABELS_FILE = "actionLabel_modified.txt"  # the original with seven errors corrected
JOINTS = 20
BACKGROUND = "background"
ACTIONS = (
    *("walk", "sitDown", "standUp", "pickUp", "carry"),
    *("throw", "push", "pull", "waveHands", "clapHands"),
)
# By subject, each recorded twice: odd ones for training, except the ninth for validation; even
# ones for testing.
SUBJECTS = {"train": (1, 3, 5, 7), "validation": (9,), "test": (2, 4, 6, 8, 10)}


class Builder(tfds.core.GeneratorBasedBuilder):
    """UTKinect-Action3D: twenty recordings of joints, with an action or background for every frame.

    A frame is 60 numbers: x, y, z of the hip, and of the other 19 joints relative to it.
    """

    # TFDS would look in the folder of the top-level package, which an editable install lacks.
    pkg_dir_path = tfds.core.Path(__file__).parent
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
        Put utkinect_action3d_joints.zip, which contains joints_s01_e01.txt to joints_s10_e02.txt
        and actionLabel_modified.txt, or these files themselves, into a folder utkinect.
    """

    def _info(self) -> tfds.core.DatasetInfo:
        names = [BACKGROUND, *ACTIONS]
        return self.dataset_info_from_configs(
            description=(
                "Twenty Kinect recordings of ten people performing ten actions each. Split by "
                "subject: 1, 3, 5, 7 for training, 9 for validation, the even ones for testing."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "name": tfds.features.Text(),
                    "frames": tfds.features.Tensor(shape=(None, 3 * JOINTS), dtype=np.float32),
                    "labels": tfds.features.Sequence(tfds.features.ClassLabel(names=names)),
                }
            ),
            homepage="https://cvrc.ece.utexas.edu/KinectDatasets/HOJ3D.html",
            license="Public for research; no licence stated.",
            citation=(
                "@inproceedings{xia2012view, title={View Invariant Human Action Recognition Using "
                "Histograms of 3D Joints}, author={Xia, Lu and Chen, Chia-Chih and Aggarwal, J K}, "
                "booktitle={CVPR Workshops}, year={2012}}"
            ),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        try:
            folder = manual_files.find_manual_folder(self, dl_manager, [ARCHIVE])
        except UserError:
            names = [LABELS_FILE, "joints_s01_e01.txt"]
            folder = manual_files.find_manual_folder(self, dl_manager, names)
        actions = read_actions(read_member(folder, LABELS_FILE))
        return {
            split: self._generate_examples(folder, subjects, actions)
            for split, subjects in SUBJECTS.items()
        }

    def _generate_examples(
        self,
        folder: pathlib.Path,
        subjects: Sequence[int],
        actions: Mapping[str, Sequence[Action]],
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for subject in subjects:
            for take in (1, 2):
                name = f"s{subject:02}_e{take:02}"
                numbers, frames = read_joints(read_member(folder, f"joints_{name}.txt"))
                labels = label_frames(numbers, actions[name])
                yield name, {"name": name, "frames": frames, "labels": labels}


def read_member(folder: pathlib.Path, name: str) -> str:
    """Returns the text of a file, from the folder or from the archive there."""
    path = folder / name
    if path.exists():
        return path.read_text("utf-8")
    with zipfile.ZipFile(folder / ARCHIVE) as archive:
        return archive.read(name).decode("utf-8")


def read_actions(text: str) -> dict[str, list[Action]]:
    """Returns the actions of each recording: (name, first frame number, last frame number).

    Actions without frame numbers (`carry: NaN NaN`) are left out.

    Raises:
        UserError: a line is neither a recording nor an action; names the line.
    """
    actions_of: dict[str, list[Action]] = {}
    actions: list[Action] | None = None
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if re.fullmatch(r"s\d\d_e\d\d", line):
            actions = actions_of[line] = []
            continue
        match = re.fullmatch(r"(\w+): *(\d+|NaN) +(\d+|NaN)", line)
        if not line:
            continue
        if match is None or match[1] not in ACTIONS or actions is None:
            raise UserError(
                f"{LABELS_FILE}, line {number}: expected a recording such as s01_e01, or an action "
                f"such as walk: 252 390, got {line!r}."
            )
        if "NaN" not in match.groups():
            actions.append((match[1], int(match[2]), int(match[3])))
    return actions_of


def read_joints(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns frame numbers (time,) and frames (time, 60).

    If a frame number occurs several times, only its first row is used.
    """
    rows = np.loadtxt(io.StringIO(text), dtype="float32")
    numbers, first = np.unique(rows[:, 0].astype("int64"), return_index=True)
    positions = rows[first, 1:].reshape(len(first), JOINTS, 3)
    hip = positions[:, :1]
    relative = np.concatenate([hip, positions[:, 1:] - hip], axis=1)
    return numbers, relative.reshape(len(first), -1)


def label_frames(numbers: np.ndarray, actions: Sequence[Action]) -> list[str]:
    """Returns the action at each frame number, or background."""
    labels = np.full(len(numbers), BACKGROUND, dtype=object)
    for action, first, last in actions:
        labels[(numbers >= first) & (numbers <= last)] = action
    return list(labels)
