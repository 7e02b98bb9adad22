"""The TFDS builder of `multi30k`."""

import dataclasses
import gzip
import itertools
import pathlib

import tensorflow_datasets as tfds

from ....errors import UserError
from ... import store

# The commit of github.com/multi30k/dataset whose files checksums.tsv describes.
COMMIT = "a3d2e0d26b56f3846f66a952536ffed4e401d05a"
ADDRESS = f"https://raw.githubusercontent.com/multi30k/dataset/{COMMIT}/data/task1/raw/"
FILES = {
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
    """A direction of translation."""

    source: str = "de"
    target: str = "en"

    def files(self) -> dict[str, tuple[str, str]]:
        """Returns `{split: (source file, target file)}`."""
        czech = "cs" in (self.source, self.target)
        return {
            split: tuple(f"{stem}.{language}.gz" for language in (self.source, self.target))
            for split, stem in FILES.items()
            if not (czech and split in WITHOUT_CZECH)
        }


class Builder(tfds.core.GeneratorBasedBuilder):
    """Multi30k, task 1: one professional translation of one caption for each image."""

    # TFDS would look for it under the folder of the top package, where an editable install has not.
    pkg_dir_path = pathlib.Path(__file__).parent
    url_infos = tfds.core.download.checksums.load_url_infos(pkg_dir_path / "checksums.tsv")
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"Optional: put the .gz files of {ADDRESS} into a folder `multi30k` of the manual folder, "
        "and nothing is downloaded."
    )
    BUILDER_CONFIGS = [
        Multi30kConfig(name=f"{source}-{target}", source=source, target=target)
        for source, target in itertools.permutations(LANGUAGES, 2)
    ]

    def _info(self):
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

    def _split_generators(self, dl_manager):
        files = self.builder_config.files()
        names = sorted(set(itertools.chain.from_iterable(files.values())))
        paths = self._manual(dl_manager, names)
        if paths is None:
            store.check_reachable(ADDRESS + names[0])
            paths = dl_manager.download({name: ADDRESS + name for name in names})
        return {
            split: self._generate_examples(paths[source], paths[target])
            for split, (source, target) in files.items()
        }

    def _manual(self, dl_manager, names):
        """Returns `{name: path}` of the files in the manual folder, or None if it has none."""
        try:
            manual = pathlib.Path(dl_manager.manual_dir)
        except AssertionError:  # TFDS's way to say that there is no such folder
            return None
        for folder in (manual / "multi30k", manual):
            if any((folder / name).is_file() for name in names):
                break
        else:
            return None
        expected = {pathlib.PurePosixPath(url).name: info for url, info in self.url_infos.items()}
        for name in names:
            check(folder / name, expected[name])
        return {name: folder / name for name in names}

    def _generate_examples(self, source, target):
        with gzip.open(source, "rt", encoding="utf-8") as one:
            sources = one.read().split("\n")
        with gzip.open(target, "rt", encoding="utf-8") as other:
            targets = other.read().split("\n")
        pairs = zip(sources, targets, strict=True)
        for line, (text, translation) in enumerate(pairs, 1):
            if text.strip() and translation.strip():
                yield line, {"source": text.strip(), "target": translation.strip()}


def check(path: pathlib.Path, expected) -> None:
    """Checks a file against the checksum that TFDS would check a download against."""
    if not path.is_file():
        raise UserError(f"{path} is missing, while other files of Multi30k lie beside it.")
    found = tfds.core.download.checksums.compute_url_info(path)
    if found != expected:
        raise UserError(
            f"{path} is not the original file: {found.size} bytes with SHA-256 {found.checksum}, "
            f"expected {expected.size} with {expected.checksum}."
        )
