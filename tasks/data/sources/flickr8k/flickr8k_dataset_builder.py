"""The TFDS builder of `flickr8k`."""

import functools
import io
import pathlib
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tensorflow_datasets as tfds

from ....errors import UserError
from ... import manual_files
from ...images import to_image_array

SPLIT_LISTS = {
    "train": "Flickr_8k.trainImages.txt",
    "validation": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}
CAPTIONS_FILE = "Flickr8k.token.txt"


class Builder(tfds.core.GeneratorBasedBuilder):
    """Flickr8k: 8,000 photographs with five captions each, in the official splits."""

    # TFDS would look in the folder of the top-level package, which an editable install lacks.
    pkg_dir_path = tfds.core.Path(__file__).parent
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
        Put Flickr8k.token.txt, Flickr_8k.trainImages.txt, Flickr_8k.devImages.txt,
        Flickr_8k.testImages.txt, and the images in a folder or a zip file, into a folder flickr8k.
    """

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            description=(
                "Photographs of people and animals from Flickr, each described by five people. "
                "The official splits: 6,000, 1,000 and 1,000 images."
            ),
            features=tfds.features.FeaturesDict(
                {
                    "name": tfds.features.Text(),
                    "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
                    "captions": tfds.features.Sequence(tfds.features.Text()),
                }
            ),
            homepage="https://www.jair.org/index.php/jair/article/view/10833",
            license="Captions CC BY-SA 3.0; the images belong to their owners, for research only.",
            citation=(
                "@article{hodosh2013framing, title={Framing Image Description as a Ranking Task}, "
                "author={Hodosh, Micah and Young, Peter and Hockenmaier, Julia}, "
                "journal={JAIR}, volume={47}, year={2013}}"
            ),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        names = [CAPTIONS_FILE, *SPLIT_LISTS.values()]
        folder = manual_files.find_manual_folder(self, dl_manager, names)
        captions = read_flickr8k_captions(folder / CAPTIONS_FILE)
        images = find_flickr8k_images(folder)
        return {
            split: self._generate_examples(folder / name, captions, images)
            for split, name in SPLIT_LISTS.items()
        }

    def _generate_examples(
        self,
        split_list: pathlib.Path,
        captions: Mapping[str, list[str]],
        images: Mapping[str, Callable[[], bytes]],
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for line, name in enumerate(split_list.read_text("utf-8").split(), 1):
            if name not in captions or name not in images:
                missing = "caption" if name not in captions else "image"
                raise UserError(
                    f"{split_list}, line {line}: there is no {missing} for {name}. Download the "
                    "original files again."
                )
            content = images[name]()
            to_image_array(content, name)  # report a damaged image before training starts
            yield (
                name,
                {"name": name, "image": io.BytesIO(content), "captions": captions[name]},
            )


def read_flickr8k_captions(path: pathlib.Path) -> dict[str, list[str]]:
    """Returns the captions of each image, from lines of the form `name.jpg#0<TAB>caption`.

    Two of the images with captions, 2258277193_586949ec62.jpg and the same name followed by .1,
    do not exist. They are in no split, so they are never read.

    Raises:
        UserError: a line has another form; names the line.
    """
    captions: dict[str, list[str]] = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        key, tab, caption = line.partition("\t")
        name, mark, _ = key.rpartition("#")
        if not (tab and mark and caption.strip()):
            raise UserError(
                f"{path}, line {number}: expected name.jpg#0, a tab and a caption, got {line!r}."
            )
        captions.setdefault(name, []).append(caption.strip())
    return captions


def find_flickr8k_images(folder: pathlib.Path) -> dict[str, Callable[[], bytes]]:
    """Returns `{name: function that reads the file}` for the images in folders and zip files."""
    images: dict[str, Callable[[], bytes]] = {
        path.name: path.read_bytes for path in folder.rglob("*.jpg")
    }
    for path in sorted(folder.glob("*.zip")):
        archive = zipfile.ZipFile(path)
        for entry in archive.infolist():
            name = pathlib.PurePosixPath(entry.filename).name
            if name.endswith(".jpg") and not entry.filename.startswith("__MACOSX"):
                images[name] = functools.partial(archive.read, entry)
    return images
