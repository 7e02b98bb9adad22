"""The splits of `scenes`, the same every time."""

import functools

import numpy as np

from ...source import Lazy, Source, content_hash
from . import language, scene

COUNTS = {"train": 10_000, "validation": 400, "test": 500, "unseen": 500}


@functools.cache
def splits() -> dict[str, list[dict]]:
    """Returns `{split: [{"image", "captions", "things"}]}`; no scene comes twice."""
    random = np.random.default_rng(0)
    made, known = {}, set()
    for split, count in COUNTS.items():
        rows = made[split] = []
        while len(rows) < count:
            things = scene.draw_scene(random)
            if scene.is_unseen(things) != (split == "unseen") or frozenset(things) in known:
                continue
            known.add(frozenset(things))
            rows.append(
                {
                    "image": scene.render(things, random),
                    "captions": language.captions(things, random),
                    "things": things,
                }
            )
    return made


def read(config) -> Source:
    """Returns the scenes in splits; `unseen` has pairs of colour and shape that train has not."""
    pairs = sorted(f"{colour} {shape}" for colour, shape in scene.UNSEEN)
    return Source(
        name="scenes 1.0.0",
        sha256=content_hash(splits()),
        splits={
            name: Lazy(range(len(rows)), functools.partial(_judged, rows))
            for name, rows in splits().items()
        },
        notes={"unseen": pairs},
    )


def _judged(rows, index: int) -> dict:
    row = rows[index]
    return {**row, "is_right": functools.partial(language.is_right, things=row["things"])}
