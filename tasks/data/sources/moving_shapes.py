"""`moving_shapes`: grey clips of one shape each, and what it does in every frame.

A shape stands, moves, grows, shrinks, fades or lights up; after a few frames it does something
else. The label of a frame says what has changed since the frame before, so that no frame alone
shows it, and the frames up to it decide it:

    still, left, right, up, down        where it has gone
    growing, shrinking                  what has become of its size
    fading, brightening                 what has become of its light
    second bounce                       it goes on from the second wall it met in this clip

A shape that meets a wall turns back. From its second bounce in the clip until it does something
else or bounces again, the label is `second bounce`, whatever its direction: only who has counted
since the clip began can tell. A reversal without a wall never happens, so that each can be told
from the frames before.
"""

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np

from ..source import Source, content_hash

SIZE = 24  # pixels, square
CLASSES = (
    *("still", "left", "right", "up", "down", "growing", "shrinking"),
    *("fading", "brightening", "second bounce"),
)
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up"}
OUTLINES = ("disc", "square", "diamond")
COUNTS = {"train": 1200, "validation": 200, "test": 300}
LENGTHS = (20, 49)  # frames of a clip
SPEEDS = (1.0, 2.5)  # pixels a frame
# Frames that a shape goes on with one thing, if it has the room.
DURATIONS = {
    **dict.fromkeys(("still", "growing", "shrinking", "fading", "brightening"), (3, 8)),
    **dict.fromkeys(DIRECTIONS, (6, 20)),
}
SMALLEST, LARGEST = 2.0, 6.0  # radius in pixels
DARKEST, LIGHTEST = 0.3, 1.0
NOISE = 0.02  # standard deviation of a pixel


@dataclasses.dataclass
class Shape:
    """A shape as it is now: its centre and radius in pixels, and its light, 0 to 1."""

    outline: str
    x: float
    y: float
    radius: float
    light: float


def draw(shape: Shape) -> np.ndarray:
    """Returns the frame, (SIZE, SIZE), 0 to 1, with edges smoothed over a pixel."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    dx, dy = np.abs(x - shape.x), np.abs(y - shape.y)
    distance = {
        "disc": np.hypot(dx, dy),
        "square": np.maximum(dx, dy),
        "diamond": 0.8 * (dx + dy),
    }[shape.outline]
    return shape.light * np.clip(shape.radius + 0.5 - distance, 0, 1)


def clip(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns frames (time, SIZE, SIZE, 1) of bytes, and the label of each (time,)."""
    length = int(random.integers(*LENGTHS))
    shape = Shape(
        outline=str(random.choice(OUTLINES)),
        x=random.uniform(8, SIZE - 8),
        y=random.uniform(8, SIZE - 8),
        radius=random.uniform(2.5, 4.5),
        light=random.uniform(0.5, 0.9),
    )
    frames, labels = [], []
    for label in _script(shape, random):
        frames.append(draw(shape))
        labels.append(CLASSES.index(label))
        if len(frames) == length:
            break
    noisy = np.stack(frames) + random.normal(0, NOISE, (length, SIZE, SIZE))
    pixels = np.round(np.clip(noisy, 0, 1) * 255).astype("uint8")
    return pixels[..., np.newaxis], np.array(labels, "int32")


def _script(shape: Shape, random: np.random.Generator) -> Iterator[str]:
    """Lets the shape do one thing after another; yields the label of each frame as it is."""
    last, bounces = "still", 0
    yield last
    while True:
        action = str(random.choice(_choices(last, shape)))
        speed, frames = random.uniform(*SPEEDS), int(random.integers(*DURATIONS[action]))
        # What the frames to come are called: the second bounce renames them.
        name, last = action, action
        for _ in range(frames):
            if action in DIRECTIONS:
                if not _fits(shape, action, speed):
                    action, bounces = OPPOSITE[action], bounces + 1
                    name = "second bounce" if bounces == 2 else action
                    last = action
                dx, dy = DIRECTIONS[action]
                shape.x, shape.y = shape.x + speed * dx, shape.y + speed * dy
            elif not _change(shape, action):
                break
            yield name


def _choices(last: str, shape: Shape) -> list[str]:
    """Returns what the shape may do next: something else, never a reversal, never at the wall.

    So each turn that the frames show is a bounce, and each bounce a turn that they show.
    """
    possible = {
        **{direction: _fits(shape, direction, 2 * SPEEDS[1]) for direction in DIRECTIONS},
        "growing": shape.radius < LARGEST - 1.5 and _room(shape) > LARGEST,
        "shrinking": shape.radius > SMALLEST + 1,
        "fading": shape.light > DARKEST + 0.25,
        "brightening": shape.light < LIGHTEST - 0.25,
    }
    return [
        action
        for action in DURATIONS
        if action not in (last, OPPOSITE.get(last)) and possible.get(action, True)
    ]


def _room(shape: Shape) -> float:
    """Returns the distance from the centre to the nearest wall."""
    return min(shape.x, shape.y, SIZE - shape.x, SIZE - shape.y)


def _fits(shape: Shape, direction: str, speed: float) -> bool:
    dx, dy = DIRECTIONS[direction]
    x, y = shape.x + speed * dx, shape.y + speed * dy
    return all(shape.radius <= place <= SIZE - shape.radius for place in (x, y))


def _change(shape: Shape, action: str) -> bool:
    """Changes size or light by a step, if there is room for it."""
    if action == "still":
        return True
    radius = shape.radius + {"growing": 0.4, "shrinking": -0.4}.get(action, 0.0)
    light = shape.light + {"fading": -0.06, "brightening": 0.06}.get(action, 0.0)
    if not (SMALLEST <= radius <= min(LARGEST, _room(shape)) and DARKEST <= light <= LIGHTEST):
        return False
    shape.radius, shape.light = radius, light
    return True


@functools.cache
def clips() -> dict[str, list[dict]]:
    """Returns `{split: [{"frames", "labels"}]}`, the same every time."""
    made = {}
    for number, (split, count) in enumerate(COUNTS.items()):
        random = np.random.default_rng([number, count])
        made[split] = [
            dict(zip(("frames", "labels"), clip(random), strict=True)) for _ in range(count)
        ]
    return made


def read(config) -> Source:
    """Returns the clips in splits."""
    return Source(
        name="moving_shapes 1.0.0",
        sha256=content_hash(clips()),
        splits=clips(),
        classes=CLASSES,
    )
