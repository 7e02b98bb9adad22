"""The TFDS builder of `utkinect`."""

import io
import pathlib
import re
import zipfile

import numpy as np
import tensorflow_datasets as tfds

from ....errors import UserError
from ... import manual_files

ARCHIVE = "utkinect_action3d_joints.zip"
LABELS = "actionLabel_modified.txt"  # the original with seven slips put right
JOINTS = 20
BACKGROUND = "background"
ACTIONS = (
    *("walk", "sitDown", "standUp", "pickUp", "carry"),
    *("throw", "push", "pull", "waveHands", "clapHands"),
)
# By subject, of whom each was recorded twice: odd ones to train, the ninth to choose the epoch,
# even ones to test.
SUBJECTS = {"train": (1, 3, 5, 7), "validation": (9,), "test": (2, 4, 6, 8, 10)}


class Builder(tfds.core.GeneratorBasedBuilder):
    """UTKinect-Action3D: twenty recordings of joints, an action or background for every frame.

    A frame is 60 numbers: x, y, z of the hip, and of the other 19 joints relative to it.
    """

    # TFDS would look for it under the folder of the top package, where an editable install has not.
    pkg_dir_path = pathlib.Path(__file__).parent
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
        Put utkinect_action3d_joints.zip, with joints_s01_e01.txt to joints_s10_e02.txt and
        actionLabel_modified.txt in it, or these files themselves, into a folder utkinect.
    """

    def _info(self):
        names = [BACKGROUND, *ACTIONS]
        return self.dataset_info_from_configs(
            description=(
                "Twenty recordings by a Kinect of ten people who do ten things each. By subject: "
                "1, 3, 5, 7 to train, 9 to validate, the even ones to test."
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

    def _split_generators(self, dl_manager):
        try:
            folder = manual_files.folder(self, dl_manager, [ARCHIVE])
        except UserError:
            folder = manual_files.folder(self, dl_manager, [LABELS, "joints_s01_e01.txt"])
        actions = read_actions(read_text(folder, LABELS))
        return {
            split: self._generate_examples(folder, subjects, actions)
            for split, subjects in SUBJECTS.items()
        }

    def _generate_examples(self, folder, subjects, actions):
        for subject in subjects:
            for take in (1, 2):
                name = f"s{subject:02}_e{take:02}"
                numbers, frames = read_joints(read_text(folder, f"joints_{name}.txt"))
                labels = label(numbers, actions[name])
                yield name, {"name": name, "frames": frames, "labels": labels}


def read_text(folder: pathlib.Path, name: str) -> str:
    """Reads a file, by itself or out of the archive."""
    path = folder / name
    if path.exists():
        return path.read_text("utf-8")
    with zipfile.ZipFile(folder / ARCHIVE) as archive:
        return archive.read(name).decode("utf-8")


def read_actions(text: str) -> dict[str, list[tuple[str, int, int]]]:
    """Returns the actions of each recording: (name, first frame number, last frame number).

    An action whose frames are not known (`carry: NaN NaN`) is left out.
    """
    found, actions = {}, None
    for number, line in enumerate(text.splitlines(), 1):
        if re.fullmatch(r"s\d\d_e\d\d", line.strip()):
            actions = found[line.strip()] = []
            continue
        match = re.fullmatch(r"(\w+): *(\d+|NaN) +(\d+|NaN)", line.strip())
        if line.strip() and (match is None or match[1] not in ACTIONS or actions is None):
            raise UserError(f"{LABELS}, line {number}: no action is {line.strip()!r}.")
        if match and "NaN" not in match.groups():
            actions.append((match[1], int(match[2]), int(match[3])))
    return found


def read_joints(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns frame numbers (time,) and frames (time, 60); of a repeated number the first row."""
    rows = np.loadtxt(io.StringIO(text), dtype="float32")
    numbers, first = np.unique(rows[:, 0].astype("int64"), return_index=True)
    places = rows[first, 1:].reshape(len(first), JOINTS, 3)
    hip = places[:, :1]
    relative = np.concatenate([hip, places[:, 1:] - hip], axis=1)
    return numbers, relative.reshape(len(first), -1)


def label(numbers: np.ndarray, actions) -> list[str]:
    """Returns the action that goes on at each frame number, or background."""
    labels = np.full(len(numbers), BACKGROUND, dtype=object)
    for action, first, last in actions:
        labels[(numbers >= first) & (numbers <= last)] = action
    return list(labels)
