"""The TFDS builder of `flickr8k`."""

import io
import pathlib
import zipfile

import tensorflow_datasets as tfds

from ....errors import UserError
from ... import images as pixels
from ... import manual_files

LISTS = {
    "train": "Flickr_8k.trainImages.txt",
    "validation": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}
CAPTIONS = "Flickr8k.token.txt"


class Builder(tfds.core.GeneratorBasedBuilder):
    """Flickr8k: 8,000 photographs, five captions each, in the official splits."""

    # TFDS would look for it under the folder of the top package, where an editable install has not.
    pkg_dir_path = pathlib.Path(__file__).parent
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First release."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
        Put Flickr8k.token.txt, Flickr_8k.trainImages.txt, Flickr_8k.devImages.txt,
        Flickr_8k.testImages.txt and the images, in a folder or a zip file, into a folder flickr8k.
    """

    def _info(self):
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

    def _split_generators(self, dl_manager):
        folder = manual_files.folder(self, dl_manager, [CAPTIONS, *LISTS.values()])
        captions = read_captions(folder / CAPTIONS)
        images = find_images(folder)
        return {
            split: self._generate_examples(folder / name, captions, images)
            for split, name in LISTS.items()
        }

    def _generate_examples(self, listing, captions, images):
        for line, name in enumerate(listing.read_text("utf-8").split(), 1):
            if name not in captions or name not in images:
                missing = "caption" if name not in captions else "image"
                raise UserError(f"{listing}, line {line}: there is no {missing} of {name}.")
            content = images[name]()
            pixels.of(content, name)  # a damaged image is told by its name, before training
            yield (
                name,
                {"name": name, "image": io.BytesIO(content), "captions": captions[name]},
            )


def read_captions(path: pathlib.Path) -> dict[str, list[str]]:
    """Returns the captions of each image; a line reads `name.jpg#0<TAB>caption`.

    Two of the images that have captions, 2258277193_586949ec62.jpg and the same with .1, do not
    exist and are in no split: what is in no split is never asked for.
    """
    found = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        key, tab, caption = line.partition("\t")
        name, mark, _ = key.rpartition("#")
        if not (tab and mark and caption.strip()):
            raise UserError(f"{path}, line {number}: expected name.jpg#0, a tab, and a caption.")
        found.setdefault(name, []).append(caption.strip())
    return found


def find_images(folder: pathlib.Path) -> dict:
    """Returns `{name: function that returns the content}` of images in folders and zip files."""
    found = {path.name: path.read_bytes for path in folder.rglob("*.jpg")}
    for path in sorted(folder.glob("*.zip")):
        archive = zipfile.ZipFile(path)
        for entry in archive.infolist():
            name = pathlib.PurePosixPath(entry.filename).name
            if name.endswith(".jpg") and not entry.filename.startswith("__MACOSX"):
                found[name] = lambda archive=archive, entry=entry: archive.read(entry)
    return found
