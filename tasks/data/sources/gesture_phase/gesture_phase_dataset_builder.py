"""The TFDS builder of `gesture_phase`."""

import io
import pathlib
import zipfile

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds

from ....errors import UserError
from ... import manual_files

ARCHIVE = "gesture_phase_dataset.zip"
# Whole recordings. a, b and c are people, 1 to 3 the stories that each told.
SPLITS = {"train": ("a1", "a2", "b1", "c1"), "validation": ("a3",), "test": ("b3", "c3")}
PHASES = ("Rest", "Preparation", "Stroke", "Hold", "Retraction")
# One file names a phase in Portuguese.
ALSO = {"Preparação": "Preparation"}
JOINTS = ("lh", "rh", "h", "s", "lw", "rw")  # hands, head, spine, wrists
AXES = ("x", "y", "z")


class Builder(tfds.core.GeneratorBasedBuilder):
    """Gesture phase segmentation: seven recordings, a phase for every frame.

    A frame is 18 numbers: x, y, z of hands, head and wrists, relative to the spine, and of the
    spine itself.
    """

    # TFDS would look for it under the folder of the top package, where an editable install has not.
    pkg_dir_path = pathlib.Path(__file__).parent
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
        Get gesture_phase_dataset.zip from the UCI machine learning repository (Gesture Phase
        Segmentation) and put it, or the files *_raw.csv out of it, into a folder gesture_phase.
    """

    def _info(self):
        return self.dataset_info_from_configs(
            description=(
                "Seven recordings by a Kinect of three people who tell stories. Whole recordings "
                "are held out: a1, a2, b1, c1 to train, a3 to validate, b3 and c3 to test."
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

    def _split_generators(self, dl_manager):
        try:
            folder = manual_files.folder(self, dl_manager, [ARCHIVE])
        except UserError:
            names = [f"{name}_raw.csv" for names in SPLITS.values() for name in names]
            folder = manual_files.folder(self, dl_manager, names)
        return {split: self._generate_examples(folder, names) for split, names in SPLITS.items()}

    def _generate_examples(self, folder, names):
        for name in names:
            table = read_table(folder, f"{name}_raw.csv")
            phases = table["phase"].str.strip().replace(ALSO)
            wrong = ~phases.isin(PHASES)
            if wrong.any():
                line = wrong.to_numpy().argmax() + 2
                raise UserError(f"{name}_raw.csv, line {line}: no phase is {phases[line - 2]!r}.")
            yield name, {"name": name, "frames": frames(table), "labels": list(phases)}


def read_table(folder: pathlib.Path, name: str) -> pd.DataFrame:
    """Reads a recording from its file, or from the archive."""
    path = folder / name
    if path.exists():
        content = path.read_bytes()
    else:
        with zipfile.ZipFile(folder / ARCHIVE) as archive:
            content = archive.read(name)
    return pd.read_csv(io.BytesIO(content), encoding="utf-8")


def frames(table: pd.DataFrame) -> np.ndarray:
    """Returns (time, 18): hands, head and wrists as they lie to the spine, and the spine.

    Where somebody sits is no part of a gesture.
    """
    places = {joint: table[[joint + axis for axis in AXES]].to_numpy("float32") for joint in JOINTS}
    spine = places["s"]
    parts = [place - spine for joint, place in places.items() if joint != "s"]
    return np.concatenate([*parts, spine], axis=1)
