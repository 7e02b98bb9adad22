"""Scenes: coloured shapes in the cells of a grid, and how they are rendered."""

from typing import NamedTuple

import numpy as np

SIZE = 48  # height and width in pixels
GRID = 3  # cells per side
CELL = SIZE // GRID
SIZES = {"large": 6.5, "small": 3.5}  # radius in pixels
COLOURS = {
    "red": (225, 50, 45),
    "green": (40, 165, 70),
    "blue": (50, 90, 230),
    "yellow": (240, 205, 40),
    "white": (245, 245, 245),
}
SHAPES = ("circle", "square", "triangle", "cross")
BACKGROUND = (30, 30, 34)
SUBSAMPLES = 3  # per pixel and axis, for antialiasing


class Thing(NamedTuple):
    """A shape: its size, colour and outline, and its cell counted from the top left."""

    size: str
    colour: str
    shape: str
    column: int
    row: int

    @property
    def look(self) -> tuple[str, str, str]:
        """Size, colour and shape."""
        return self[:3]


# Pairs of colour and shape that never occur together in training, although each colour and each
# shape does: one colour per shape.
UNSEEN = frozenset(zip(("red", "green", "blue", "yellow"), SHAPES, strict=True))


def is_unseen(things: tuple[Thing, ...]) -> bool:
    """Whether any of the things has a pair of colour and shape that never occurs in training."""
    return any((thing.colour, thing.shape) in UNSEEN for thing in things)


def draw_scene(random: np.random.Generator) -> tuple[Thing, ...]:
    """Returns two or three random things, all of different colours and in different cells."""
    count = int(random.integers(2, 4))
    colours = random.choice(list(COLOURS), count, replace=False)
    cells = random.choice(GRID * GRID, count, replace=False)
    return tuple(
        Thing(
            size=str(random.choice(list(SIZES))),
            colour=str(colour),
            shape=str(random.choice(SHAPES)),
            column=int(cell % GRID),
            row=int(cell // GRID),
        )
        for colour, cell in zip(colours, cells, strict=True)
    )


def render_scene(things: tuple[Thing, ...], random: np.random.Generator) -> np.ndarray:
    """Returns the uint8 image (SIZE, SIZE, 3), each thing slightly off the centre of its cell."""
    image = np.empty((SIZE, SIZE, 3))
    image[:] = BACKGROUND
    for thing in things:
        rows, columns = (slice(n * CELL, (n + 1) * CELL) for n in (thing.row, thing.column))
        coverage = _coverage(thing, random.uniform(-1, 1, 2))[..., np.newaxis]
        cell = image[rows, columns]
        image[rows, columns] = cell + coverage * (np.array(COLOURS[thing.colour]) - cell)
    return np.round(image).astype("uint8")


def _coverage(thing: Thing, offset: np.ndarray) -> np.ndarray:
    """Returns the fraction of each pixel of its cell (CELL, CELL) that a thing covers."""
    y, x = (np.mgrid[0 : CELL * SUBSAMPLES, 0 : CELL * SUBSAMPLES] + 0.5) / SUBSAMPLES - CELL / 2
    inside = _is_inside(thing.shape, x - offset[0], y - offset[1], SIZES[thing.size])
    return inside.reshape(CELL, SUBSAMPLES, CELL, SUBSAMPLES).mean(axis=(1, 3))


def _is_inside(shape: str, dx: np.ndarray, dy: np.ndarray, radius: float) -> np.ndarray:
    """Returns which points are inside a shape, given their distances from its centre."""
    if shape == "circle":
        return np.hypot(dx, dy) <= radius
    if shape == "square":
        return np.maximum(np.abs(dx), np.abs(dy)) <= 0.88 * radius
    if shape == "triangle":  # pointing up
        return (dy <= 0.8 * radius) & (2 * np.abs(dx) <= dy + radius)
    arm = radius / 3
    inside = np.maximum(np.abs(dx), np.abs(dy)) <= radius
    return inside & (np.minimum(np.abs(dx), np.abs(dy)) <= arm)
