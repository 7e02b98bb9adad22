"""What a scene is: shapes of some size and colour in the cells of a grid, and their picture."""

from typing import NamedTuple

import numpy as np

SIZE = 48  # pixels, square
GRID = 3  # cells a side
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
GROUND = (30, 30, 34)
SUBSAMPLES = 3  # a side of a pixel, so that edges are smooth


class Thing(NamedTuple):
    """A shape: what it looks like, and its cell, counted from the top left."""

    size: str
    colour: str
    shape: str
    column: int
    row: int

    @property
    def look(self) -> tuple[str, str, str]:
        return self[:3]


# Colours and shapes that never come together in training, though each does alone: one colour of
# each shape.
UNSEEN = frozenset(zip(("red", "green", "blue", "yellow"), SHAPES, strict=True))


def is_unseen(things: tuple[Thing, ...]) -> bool:
    """Whether one of the things has a colour and a shape that never come together in training."""
    return any((thing.colour, thing.shape) in UNSEEN for thing in things)


def draw_scene(random: np.random.Generator) -> tuple[Thing, ...]:
    """Draws two or three things, no two of one colour or in one cell."""
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


def render(things: tuple[Thing, ...], random: np.random.Generator) -> np.ndarray:
    """Returns the picture (SIZE, SIZE, 3) of bytes, each thing a little off its cell's middle."""
    picture = np.empty((SIZE, SIZE, 3))
    picture[:] = GROUND
    for thing in things:
        rows, columns = (slice(n * CELL, (n + 1) * CELL) for n in (thing.row, thing.column))
        covered = _coverage(thing, random.uniform(-1, 1, 2))[..., np.newaxis]
        cell = picture[rows, columns]
        picture[rows, columns] = cell + covered * (np.array(COLOURS[thing.colour]) - cell)
    return np.round(picture).astype("uint8")


def _coverage(thing: Thing, shift: np.ndarray) -> np.ndarray:
    """Returns how much of each pixel of its cell a thing covers, 0 to 1."""
    y, x = (np.mgrid[0 : CELL * SUBSAMPLES, 0 : CELL * SUBSAMPLES] + 0.5) / SUBSAMPLES - CELL / 2
    inside = _covers(thing.shape, x - shift[0], y - shift[1], SIZES[thing.size])
    return inside.reshape(CELL, SUBSAMPLES, CELL, SUBSAMPLES).mean(axis=(1, 3))


def _covers(shape: str, dx, dy, radius: float):
    if shape == "circle":
        return np.hypot(dx, dy) <= radius
    if shape == "square":
        return np.maximum(np.abs(dx), np.abs(dy)) <= 0.88 * radius
    if shape == "triangle":  # on its base
        return (dy <= 0.8 * radius) & (2 * np.abs(dx) <= dy + radius)
    arm = radius / 3
    inside = np.maximum(np.abs(dx), np.abs(dy)) <= radius
    return inside & (np.minimum(np.abs(dx), np.abs(dy)) <= arm)
