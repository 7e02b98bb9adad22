"""`moving_shapes`: greyscale clips of one shape each, labelled with what it does in every frame.

A shape stands still, moves, grows, shrinks, fades or brightens, and every few frames switches to
something else. The label of a frame says what has changed since the previous frame. A single frame
therefore never shows its label, and the frames up to it always determine it:

    still, left, right, up, down        direction of motion
    growing, shrinking                  change of size
    fading, brightening                 change of brightness
    second bounce                       motion after hitting a wall for the second time

A shape that hits a wall turns back. From its second bounce in the clip until it bounces again or
does something else, the label is `second bounce` in place of the direction, so a model must have
counted bounces since the start of the clip. A shape never reverses without a wall, so each bounce
is visible in the frames before.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..source import Source, content_hash

SIZE = 24  # height and width in pixels
CLASSES = (
    *("still", "left", "right", "up", "down", "growing", "shrinking"),
    *("fading", "brightening", "second bounce"),
)
DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
OPPOSITE = {"left": "right", "right": "left", "up": "down", "down": "up"}
OUTLINES = ("disc", "square", "diamond")
COUNTS = {"train": 1200, "validation": 200, "test": 300}
LENGTHS = (20, 49)  # frames per clip; the upper bound is excluded
SPEEDS = (1.0, 2.5)  # pixels per frame
# Number of frames that an action lasts, if there is room for it; the upper bound is excluded.
DURATIONS = {
    **dict.fromkeys(("still", "growing", "shrinking", "fading", "brightening"), (3, 8)),
    **dict.fromkeys(DIRECTIONS, (6, 20)),
}
MIN_RADIUS, MAX_RADIUS = 2.0, 6.0  # pixels
MIN_BRIGHTNESS, MAX_BRIGHTNESS = 0.3, 1.0
NOISE = 0.02  # standard deviation of the pixel noise


@dataclasses.dataclass
class MovingShape:
    """The current state of a shape: centre and radius in pixels, brightness from 0 to 1."""

    outline: str
    x: float
    y: float
    radius: float
    brightness: float


def draw_frame(shape: MovingShape) -> np.ndarray:
    """Returns the frame (SIZE, SIZE), 0 to 1, with edges smoothed over one pixel."""
    y, x = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    dx, dy = np.abs(x - shape.x), np.abs(y - shape.y)
    distance = {
        "disc": np.hypot(dx, dy),
        "square": np.maximum(dx, dy),
        "diamond": 0.8 * (dx + dy),
    }[shape.outline]
    return shape.brightness * np.clip(shape.radius + 0.5 - distance, 0, 1)


def generate_clip(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Returns uint8 frames (time, SIZE, SIZE, 1), and the label of each frame (time,)."""
    length = int(random.integers(*LENGTHS))
    shape = MovingShape(
        outline=str(random.choice(OUTLINES)),
        x=random.uniform(8, SIZE - 8),
        y=random.uniform(8, SIZE - 8),
        radius=random.uniform(2.5, 4.5),
        brightness=random.uniform(0.5, 0.9),
    )
    frames, labels = [], []
    for label in _animate(shape, random):
        frames.append(draw_frame(shape))
        labels.append(CLASSES.index(label))
        if len(frames) == length:
            break
    noisy = np.stack(frames) + random.normal(0, NOISE, (length, SIZE, SIZE))
    pixels = np.round(np.clip(noisy, 0, 1) * 255).astype("uint8")
    return pixels[..., np.newaxis], np.array(labels, "int32")


def _animate(shape: MovingShape, random: np.random.Generator) -> Iterator[str]:
    """Updates the shape frame by frame, without end, and yields the label of each frame."""
    last, bounces = "still", 0
    yield last
    while True:
        action = str(random.choice(_possible_actions(last, shape)))
        speed, duration = random.uniform(*SPEEDS), int(random.integers(*DURATIONS[action]))
        label, last = action, action  # the label differs from the action after a second bounce
        for _ in range(duration):
            if action in DIRECTIONS:
                if not _has_room(shape, action, speed):
                    action, bounces = OPPOSITE[action], bounces + 1
                    label = "second bounce" if bounces == 2 else action
                    last = action
                dx, dy = DIRECTIONS[action]
                shape.x, shape.y = shape.x + speed * dx, shape.y + speed * dy
            elif not _change_appearance(shape, action):
                break
            yield label


def _possible_actions(last: str, shape: MovingShape) -> list[str]:
    """Returns what the shape may do next: a new action, no reversal, and no motion into a wall.

    Every change of direction that the frames show is thus a bounce, and every bounce is visible.
    """
    possible = {
        **{direction: _has_room(shape, direction, 2 * SPEEDS[1]) for direction in DIRECTIONS},
        "growing": shape.radius < MAX_RADIUS - 1.5 and _wall_distance(shape) > MAX_RADIUS,
        "shrinking": shape.radius > MIN_RADIUS + 1,
        "fading": shape.brightness > MIN_BRIGHTNESS + 0.25,
        "brightening": shape.brightness < MAX_BRIGHTNESS - 0.25,
    }
    return [
        action
        for action in DURATIONS
        if action not in (last, OPPOSITE.get(last)) and possible.get(action, True)
    ]


def _wall_distance(shape: MovingShape) -> float:
    """Returns the distance from the centre to the nearest wall."""
    return min(shape.x, shape.y, SIZE - shape.x, SIZE - shape.y)


def _has_room(shape: MovingShape, direction: str, speed: float) -> bool:
    """Whether the shape can move by one step without crossing a wall."""
    dx, dy = DIRECTIONS[direction]
    x, y = shape.x + speed * dx, shape.y + speed * dy
    return all(shape.radius <= position <= SIZE - shape.radius for position in (x, y))


def _change_appearance(shape: MovingShape, action: str) -> bool:
    """Changes radius or brightness by one step; returns False if the limit is reached."""
    if action == "still":
        return True
    radius = shape.radius + {"growing": 0.4, "shrinking": -0.4}.get(action, 0.0)
    brightness = shape.brightness + {"fading": -0.06, "brightening": 0.06}.get(action, 0.0)
    max_radius = min(MAX_RADIUS, _wall_distance(shape))
    if not (MIN_RADIUS <= radius <= max_radius and MIN_BRIGHTNESS <= brightness <= MAX_BRIGHTNESS):
        return False
    shape.radius, shape.brightness = radius, brightness
    return True


@functools.cache
def generate_clips() -> dict[str, list[dict[str, Any]]]:
    """Returns `{split: [{"frames", "labels"}]}`, the same on every call."""
    clips = {}
    for number, (split, count) in enumerate(COUNTS.items()):
        random = np.random.default_rng([number, count])
        clips[split] = [
            dict(zip(("frames", "labels"), generate_clip(random), strict=True))
            for _ in range(count)
        ]
    return clips


def read_moving_shapes() -> Source:
    """Returns the clips in splits."""
    clips = generate_clips()
    return Source(
        name="moving_shapes 1.0.0", sha256=content_hash(clips), splits=clips, classes=CLASSES
    )
