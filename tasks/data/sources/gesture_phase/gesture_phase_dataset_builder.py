"""The TFDS builder of `gesture_phase`."""

import io
import pathlib
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds

from ....errors import UserError
from ... import manual_files

ARCHIVE = "gesture_phase_dataset.zip"
# Whole recordings: a, b and c are people, 1 to 3 are the stories that each of them told.
SPLITS = {"train": ("a1", "a2", "b1", "c1"), "validation": ("a3",), "test": ("b3", "c3")}
PHASES = ("Rest", "Preparation", "Stroke", "Hold", "Retraction")
PHASE_ALIASES = {"Preparação": "Preparation"}  # one file names this phase in Portuguese
JOINTS = ("lh", "rh", "h", "s", "lw", "rw")  # hands, head, spine, wrists
AXES = ("x", "y", "z")


class Builder(tfds.core.GeneratorBasedBuilder):
    """Gesture phase segmentation: seven recordings with a phase for every frame.

    A frame is 18 numbers: x, y, z of hands, head and wrists relative to the spine, and of the
    spine itself.
    """

    # TFDS would look in the folder of the top-level package, which an editable install lacks.
    pkg_dir_path = tfds.core.Path(__file__).parent
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
        Get gesture_phase_dataset.zip from the UCI machine learning repository (Gesture Phase
        Segmentation), and put it, or the files *_raw.csv from it, into a folder gesture_phase.
    """

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description=(
                "Seven Kinect recordings of three people telling stories. Whole recordings are "
                "held out: a1, a2, b1, c1 for training, a3 for validation, b3 and c3 for testing."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "name": tfds.features.Text(),
                    "frames": tfds.features.Tensor(
                        shape=(None, len(JOINTS) * len(AXES)), dtype=np.float32
                    ),
                    "labels": tfds.features.Sequence(tfds.features.ClassLabel(names=PHASES)),
                }
            ),
            homepage="https://archive.ics.uci.edu/dataset/302/gesture+phase+segmentation",
            license="CC BY 4.0",
            citation=(
                "@inproceedings{madeo2013gesture, title={Gesture Unit Segmentation Using Support "
                "Vector Machines}, author={Madeo, Renata and Lima, Clodoaldo and Peres, Sarajane}, "
                "booktitle={ACM SAC}, year={2013}}"
            ),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        try:
            folder = manual_files.find_manual_folder(self, dl_manager, [ARCHIVE])
        except UserError:
            files = [f"{name}_raw.csv" for names in SPLITS.values() for name in names]
            folder = manual_files.find_manual_folder(self, dl_manager, files)
        return {split: self._generate_examples(folder, names) for split, names in SPLITS.items()}

    def _generate_examples(
        self, folder: pathlib.Path, names: Sequence[str]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for name in names:
            table = read_recording(folder, f"{name}_raw.csv")
            phases = table["phase"].str.strip().replace(PHASE_ALIASES)
            unknown = ~phases.isin(PHASES)
            if unknown.any():
                line = unknown.to_numpy().argmax() + 2
                raise UserError(
                    f"{name}_raw.csv, line {line}: unknown phase {phases[line - 2]!r}. Expected "
                    f"one of {', '.join(PHASES)}."
                )
            yield name, {"name": name, "frames": joint_features(table), "labels": list(phases)}


def read_recording(folder: pathlib.Path, name: str) -> pd.DataFrame:
    """Returns a recording, from its file in the folder or from the archive there."""
    path = folder / name
    if path.exists():
        content = path.read_bytes()
    else:
        with zipfile.ZipFile(folder / ARCHIVE) as archive:
            content = archive.read(name)
    return pd.read_csv(io.BytesIO(content), encoding="utf-8")


def joint_features(table: pd.DataFrame) -> np.ndarray:
    """Returns (time, 18): hands, head and wrists relative to the spine, and the spine itself.

    Gestures do not depend on where a person sits, so positions are relative.
    """
    positions = {
        joint: table[[joint + axis for axis in AXES]].to_numpy("float32") for joint in JOINTS
    }
    spine = positions["s"]
    relative = [position - spine for joint, position in positions.items() if joint != "s"]
    return np.concatenate([*relative, spine], axis=1)
