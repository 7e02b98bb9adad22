"""What is said about scenes, and what it means: both directions of one small grammar.

    "a large red circle is above a small blue square"
    "there is a little blue square under a big red circle and a small white cross is right of the
    blue square"

Every caption names each thing with its size, colour and shape, and ties the things together by
relations. `meaning` reads such a sentence back; it is right about a scene if it names just the
things that are there and says nothing false, in whatever order and by whatever relation.
"""

import re
from typing import NamedTuple

import numpy as np

from .scene import COLOURS, SHAPES, Thing

SIZE_WORDS = {"large": ("large", "big"), "small": ("small", "little")}
RELATION_WORDS = {
    "above": ("above", "over"),
    "below": ("below", "under"),
    "left": ("left of", "to the left of"),
    "right": ("right of", "to the right of"),
}
INVERSE = {"above": "below", "below": "above", "left": "right", "right": "left"}
# Five ways to say how two things lie, and what follows of a third.
PATTERNS = (
    "{a} is {r} {b}",
    "there is {b} {i} {a}",
    "{i} {a} is {b}",
    "the picture shows {a} {r} {b}",
    "{b} can be seen {i} {a}",
)
THIRD = " and {c} is {q} {d}"


class Meaning(NamedTuple):
    """Things by their looks, and relations between things by their colour and shape."""

    looks: tuple[tuple[str, str, str], ...]
    relations: tuple[tuple, ...]


def holds(one: Thing, relation: str, other: Thing) -> bool:
    """Whether one thing is above, below, left or right of another, by their cells."""
    return {
        "above": one.row < other.row,
        "below": one.row > other.row,
        "left": one.column < other.column,
        "right": one.column > other.column,
    }[relation]


def captions(things: tuple[Thing, ...], random: np.random.Generator) -> list[str]:
    """Returns five true captions, each in another pattern, with words for the same drawn anew.

    Things are taken as they are read, from the top and then from the left. If two lie in
    different rows, one is above the other, whatever their columns.
    """
    ordered = sorted(things, key=lambda thing: (thing.row, thing.column))
    return [_caption(pattern, ordered, random) for pattern in PATTERNS]


def _caption(pattern: str, things: list[Thing], random: np.random.Generator) -> str:
    first, second, *rest = things
    relation = "left" if first.row == second.row else "above"
    blanks = {
        "a": _name(first, random),
        "b": _name(second, random),
        "r": _draw(RELATION_WORDS[relation], random),
        "i": _draw(RELATION_WORDS[INVERSE[relation]], random),
    }
    if not rest:
        return pattern.format(**blanks)
    (third,) = rest
    relation = "right" if third.row == second.row else "below"
    blanks |= {
        "c": _name(third, random),
        "d": f"the {second.colour} {second.shape}",
        "q": _draw(RELATION_WORDS[relation], random),
    }
    return (pattern + THIRD).format(**blanks)


def _name(thing: Thing, random: np.random.Generator) -> str:
    return f"a {_draw(SIZE_WORDS[thing.size], random)} {thing.colour} {thing.shape}"


def _draw(words: tuple[str, ...], random: np.random.Generator) -> str:
    return words[random.integers(len(words))]


def _names(words: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """Returns `{word: what it means}`."""
    return {word: name for name, several in words.items() for word in several}


def _one_of(words) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


_SIZE, _RELATION = _names(SIZE_WORDS), _names(RELATION_WORDS)
_LOOK = rf"(?:{_one_of(COLOURS)}) (?:{_one_of(SHAPES)})"
_NEW, _KNOWN = rf"a (?:{_one_of(_SIZE)}) {_LOOK}", rf"the {_LOOK}"
_BLANKS = {
    **dict.fromkeys("abc", _NEW),
    "d": _KNOWN,
    **dict.fromkeys("riq", _one_of(_RELATION)),
}


def _expression(pattern: str) -> re.Pattern:
    """Returns a pattern of captions as a regular expression with a group for each blank."""
    for name, inner in _BLANKS.items():
        pattern = pattern.replace(f"{{{name}}}", f"(?P<{name}>{inner})")
    return re.compile(pattern)


_SENTENCES = [_expression(pattern + end) for pattern in PATTERNS for end in ("", THIRD)]


def meaning(caption: str) -> Meaning | None:
    """Returns what a caption says, or None if it is not one of the sentences."""
    text = " ".join(caption.lower().split())
    match = next(filter(None, (sentence.fullmatch(text) for sentence in _SENTENCES)), None)
    if match is None:
        return None
    said = {name: value.split() for name, value in match.groupdict().items()}
    looks = {name: (_SIZE[said[name][1]], *said[name][2:]) for name in "abc" if name in said}
    kinds = {name: look[1:] for name, look in looks.items()}
    if "r" in said:
        relations = [(kinds["a"], _RELATION[match["r"]], kinds["b"])]
    else:
        relations = [(kinds["b"], _RELATION[match["i"]], kinds["a"])]
    if "c" in said:
        relations.append((kinds["c"], _RELATION[match["q"]], tuple(said["d"][1:])))
    return Meaning(tuple(looks.values()), tuple(relations))


def is_right(caption: str, things: tuple[Thing, ...]) -> bool:
    """Whether a caption names just these things, each once, and says nothing false of them."""
    said = meaning(caption)
    if said is None or sorted(said.looks) != sorted(thing.look for thing in things):
        return False
    by_name = {(thing.colour, thing.shape): thing for thing in things}
    return all(
        one in by_name and other in by_name and holds(by_name[one], relation, by_name[other])
        for one, relation, other in said.relations
    )
