"""The TFDS builder of `multi30k`."""

import dataclasses
import gzip
import itertools
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import checksums

from ....errors import UserError
from ... import store

# The commit of github.com/multi30k/dataset whose files are listed in checksums.tsv.
COMMIT = "a3d2e0d26b56f3846f66a952536ffed4e401d05a"
BASE_URL = f"https://raw.githubusercontent.com/multi30k/dataset/{COMMIT}/data/task1/raw/"
FILE_STEMS = {
    "train": "train",
    "validation": "val",
    "test_2016_flickr": "test_2016_flickr",
    "test_2017_flickr": "test_2017_flickr",
    "test_2017_mscoco": "test_2017_mscoco",
}
LANGUAGES = ("cs", "de", "en", "fr")
# The two test sets of 2017 were never translated into Czech.
WITHOUT_CZECH = ("test_2017_flickr", "test_2017_mscoco")


@dataclasses.dataclass(eq=False)
class Multi30kConfig(tfds.core.BuilderConfig):
    """A translation direction."""

    source: str = "de"
    target: str = "en"

    def split_files(self) -> dict[str, tuple[str, str]]:
        """Returns `{split: (source file, target file)}`."""
        has_czech = "cs" in (self.source, self.target)
        return {
            split: (f"{stem}.{self.source}.gz", f"{stem}.{self.target}.gz")
            for split, stem in FILE_STEMS.items()
            if not (has_czech and split in WITHOUT_CZECH)
        }


class Builder(tfds.core.GeneratorBasedBuilder):
    """Multi30k, task 1: one caption per image with one professional translation per language."""

    # TFDS would look in the folder of the top-level package, which an editable install lacks.
    pkg_dir_path = tfds.core.Path(__file__).parent
    url_infos = checksums.load_url_infos(pkg_dir_path / "checksums.tsv")
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Optional: put the .gz files from {BASE_URL} into a folder `multi30k` in the manual "
        "folder, and nothing is downloaded."
    )
    BUILDER_CONFIGS = [
        Multi30kConfig(name=f"{source}-{target}", source=source, target=target)
        for source, target in itertools.permutations(LANGUAGES, 2)
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description=(
                "Captions of 31,014 Flickr30k images and their professional translations from "
                "English into German, French and Czech."
            ),
            features=tfds.features.FeaturesDict(
                {"source": tfds.features.Text(), "target": tfds.features.Text()}
            ),
            supervised_keys=("source", "target"),
            homepage="https://github.com/multi30k/dataset",
            license="No licence stated; the English captions are Flickr30k's, for research.",
            citation=(
                "@inproceedings{elliott2016multi30k, title={Multi30K: Multilingual English-German "
                "Image Descriptions}, author={Elliott, Desmond and Frank, Stella and Sima'an, "
                "Khalil and Specia, Lucia}, booktitle={Workshop on Vision and Language}, "
                "year={2016}}"
            ),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        assert isinstance(self.builder_config, Multi30kConfig)
        files = self.builder_config.split_files()
        names = sorted(set(itertools.chain.from_iterable(files.values())))
        paths = self._find_manual_files(dl_manager, names)
        if paths is None:
            store.check_reachable(BASE_URL + names[0])
            paths = dl_manager.download({name: BASE_URL + name for name in names})
        return {
            split: self._generate_examples(paths[source], paths[target])
            for split, (source, target) in files.items()
        }

    def _find_manual_files(
        self, dl_manager: tfds.download.DownloadManager, names: Sequence[str]
    ) -> dict[str, pathlib.Path] | None:
        """Returns `{name: path}` for the files in the manual folder, or None if there are none.

        Raises:
            UserError: some of the files are missing, or are not the original ones.
        """
        try:
            manual = pathlib.Path(dl_manager.manual_dir)
        except AssertionError:  # how TFDS reports that there is no such folder
            return None
        for folder in (manual / "multi30k", manual):
            if any((folder / name).is_file() for name in names):
                break
        else:
            return None
        url_infos = self.url_infos or {}
        expected = {pathlib.PurePosixPath(url).name: info for url, info in url_infos.items()}
        for name in names:
            check_original_file(folder / name, expected[name])
        return {name: folder / name for name in names}

    def _generate_examples(
        self, source: os.PathLike[str], target: os.PathLike[str]
    ) -> Iterator[tuple[int, dict[str, str]]]:
        with gzip.open(source, "rt", encoding="utf-8") as file:
            sources = file.read().split("\n")
        with gzip.open(target, "rt", encoding="utf-8") as file:
            targets = file.read().split("\n")
        pairs = zip(sources, targets, strict=True)
        for line, (text, translation) in enumerate(pairs, 1):
            if text.strip() and translation.strip():
                yield line, {"source": text.strip(), "target": translation.strip()}


def check_original_file(path: pathlib.Path, expected: Any) -> None:
    """Checks a file against the size and checksum that TFDS would check a download against.

    Args:
        path: path of the file.
        expected: a `UrlInfo` of TFDS.

    Raises:
        UserError: the file is missing, or differs.
    """
    if not path.is_file():
        raise UserError(
            f"{path} is missing, although other files of Multi30k are in the same folder. Add it, "
            "or remove them all to download the data set."
        )
    actual = checksums.compute_url_info(path)
    if actual != expected:
        raise UserError(
            f"{path} is not the original file: it has {actual.size} bytes and SHA-256 "
            f"{actual.checksum}, expected {expected.size} bytes and {expected.checksum}. "
            "Download it again."
        )
