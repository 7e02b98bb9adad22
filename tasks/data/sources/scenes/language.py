"""Captions of scenes: one small grammar that generates sentences and parses them.

    "a large red circle is above a small blue square"
    "there is a little blue square under a big red circle and a small white cross is right of the
    blue square"

A caption names each thing by size, colour and shape, and relates the things to each other.
`parse_caption` reads such a sentence back. A caption is correct if it names exactly the things in
the scene and every relation in it holds; their order and the choice of relations are free.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple, TypeAlias

import numpy as np

from .scene import COLOURS, SHAPES, Thing

ColourShape: TypeAlias = tuple[str, ...]  # (colour, shape): unique within a scene

SIZE_WORDS = {"large": ("large", "big"), "small": ("small", "little")}
RELATION_WORDS = {
    "above": ("above", "over"),
    "below": ("below", "under"),
    "left": ("left of", "to the left of"),
    "right": ("right of", "to the right of"),
}
INVERSE = {"above": "below", "below": "above", "left": "right", "right": "left"}
# Five ways to relate two things (r is the relation, i its inverse), and an addition for a third.
PATTERNS = (
    "{a} is {r} {b}",
    "there is {b} {i} {a}",
    "{i} {a} is {b}",
    "the picture shows {a} {r} {b}",
    "{b} can be seen {i} {a}",
)
THIRD = " and {c} is {q} {d}"


class CaptionMeaning(NamedTuple):
    """What a caption says.

    Attributes:
        looks: (size, colour, shape) of each thing.
        relations: (first thing, relation, second thing), each thing as its colour and shape.
    """

    looks: tuple[tuple[str, ...], ...]
    relations: tuple[tuple[ColourShape, str, ColourShape], ...]


def relation_holds(thing: Thing, relation: str, other: Thing) -> bool:
    """Whether a thing is above, below, left or right of another, judged by their cells."""
    return {
        "above": thing.row < other.row,
        "below": thing.row > other.row,
        "left": thing.column < other.column,
        "right": thing.column > other.column,
    }[relation]


def generate_captions(things: tuple[Thing, ...], random: np.random.Generator) -> list[str]:
    """Returns five correct captions, one per pattern, with synonyms chosen at random.

    Things come in reading order: from top to bottom, then from left to right. Two things in
    different rows are related by `above`, whatever their columns.
    """
    ordered = sorted(things, key=lambda thing: (thing.row, thing.column))
    return [_generate_caption(pattern, ordered, random) for pattern in PATTERNS]


def _generate_caption(pattern: str, things: list[Thing], random: np.random.Generator) -> str:
    first, second, *rest = things
    relation = "left" if first.row == second.row else "above"
    slots = {
        "a": _describe(first, random),
        "b": _describe(second, random),
        "r": _choose(RELATION_WORDS[relation], random),
        "i": _choose(RELATION_WORDS[INVERSE[relation]], random),
    }
    if not rest:
        return pattern.format(**slots)
    (third,) = rest
    relation = "right" if third.row == second.row else "below"
    slots |= {
        "c": _describe(third, random),
        "d": f"the {second.colour} {second.shape}",
        "q": _choose(RELATION_WORDS[relation], random),
    }
    return (pattern + THIRD).format(**slots)


def _describe(thing: Thing, random: np.random.Generator) -> str:
    return f"a {_choose(SIZE_WORDS[thing.size], random)} {thing.colour} {thing.shape}"


def _choose(words: tuple[str, ...], random: np.random.Generator) -> str:
    return words[random.integers(len(words))]


def _meaning_of_words(synonyms: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """Returns `{word: meaning}` from `{meaning: words}`."""
    return {word: meaning for meaning, words in synonyms.items() for word in words}


def _any_of(words: Iterable[str]) -> str:
    """Returns a regular expression that matches any of the words, longer ones first."""
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


_SIZE_OF, _RELATION_OF = _meaning_of_words(SIZE_WORDS), _meaning_of_words(RELATION_WORDS)
_COLOUR_SHAPE = rf"(?:{_any_of(COLOURS)}) (?:{_any_of(SHAPES)})"
_SLOTS = {
    **dict.fromkeys("abc", rf"a (?:{_any_of(_SIZE_OF)}) {_COLOUR_SHAPE}"),  # a new thing
    "d": rf"the {_COLOUR_SHAPE}",  # a thing mentioned before
    **dict.fromkeys("riq", _any_of(_RELATION_OF)),
}


def _compile_pattern(pattern: str) -> re.Pattern[str]:
    """Returns a caption pattern as a regular expression with a named group for each slot."""
    for name, expression in _SLOTS.items():
        pattern = pattern.replace(f"{{{name}}}", f"(?P<{name}>{expression})")
    return re.compile(pattern)


_SENTENCES = [_compile_pattern(pattern + end) for pattern in PATTERNS for end in ("", THIRD)]


def parse_caption(caption: str) -> CaptionMeaning | None:
    """Returns what a caption says, or None if it is not a sentence of the grammar."""
    text = " ".join(caption.lower().split())
    match = next(filter(None, (sentence.fullmatch(text) for sentence in _SENTENCES)), None)
    if match is None:
        return None
    slots = {name: value.split() for name, value in match.groupdict().items()}
    looks = {name: (_SIZE_OF[slots[name][1]], *slots[name][2:]) for name in "abc" if name in slots}
    things = {name: look[1:] for name, look in looks.items()}  # colour and shape
    if "r" in slots:
        relations = [(things["a"], _RELATION_OF[match["r"]], things["b"])]
    else:
        relations = [(things["b"], _RELATION_OF[match["i"]], things["a"])]
    if "c" in slots:
        relations.append((things["c"], _RELATION_OF[match["q"]], tuple(slots["d"][1:])))
    return CaptionMeaning(tuple(looks.values()), tuple(relations))


def is_correct_caption(caption: str, things: tuple[Thing, ...]) -> bool:
    """Whether a caption names exactly these things, each once, and all its relations hold."""
    meaning = parse_caption(caption)
    if meaning is None or sorted(meaning.looks) != sorted(thing.look for thing in things):
        return False
    thing_of: dict[ColourShape, Thing] = {(thing.colour, thing.shape): thing for thing in things}
    return all(
        first in thing_of
        and second in thing_of
        and relation_holds(thing_of[first], relation, thing_of[second])
        for first, relation, second in meaning.relations
    )
