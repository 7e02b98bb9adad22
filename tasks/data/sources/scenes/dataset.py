"""The splits of `scenes`, the same on every machine."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...source import LazyExamples, Source, content_hash
from . import language, scene

COUNTS = {"train": 10_000, "validation": 400, "test": 500, "unseen": 500}


@functools.cache
def generate_scenes() -> dict[str, list[dict[str, Any]]]:
    """Returns `{split: [{"image", "captions", "things"}]}`; no two scenes are the same."""
    random = np.random.default_rng(0)
    splits, known = {}, set()
    for split, count in COUNTS.items():
        rows = splits[split] = []
        while len(rows) < count:
            things = scene.draw_scene(random)
            if scene.is_unseen(things) != (split == "unseen") or frozenset(things) in known:
                continue
            known.add(frozenset(things))
            rows.append(
                {
                    "image": scene.render_scene(things, random),
                    "captions": language.generate_captions(things, random),
                    "things": things,
                }
            )
    return splits


def read_scenes() -> Source:
    """Returns the scenes in splits; `unseen` has colour-shape pairs that are not in train."""
    unseen_pairs = sorted(f"{colour} {shape}" for colour, shape in scene.UNSEEN)
    splits = generate_scenes()
    return Source(
        name="scenes 1.0.0",
        sha256=content_hash(splits),
        splits={
            name: LazyExamples(range(len(rows)), functools.partial(_add_judge, rows))
            for name, rows in splits.items()
        },
        notes={"unseen": unseen_pairs},
    )


def _add_judge(rows: Sequence[Mapping[str, Any]], index: int) -> dict[str, Any]:
    """Returns a row with `is_right`, a function that judges a caption of its scene."""
    row = rows[index]
    is_right = functools.partial(language.is_correct_caption, things=row["things"])
    return {**row, "is_right": is_right}
