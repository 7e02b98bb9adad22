"""Test scores of baselines, computed lazily and one at a time."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

Scores: TypeAlias = dict[str, float]
# Examples by split, as `content_hash` takes them.
Rows: TypeAlias = Mapping[str, Iterable[Mapping[str, Any]]]


class BaselineScores(Mapping[str, Scores]):
    """The test scores of baselines by name. Each is computed when it is first read.

    A baseline that fails does not affect the others, and one whose scores are cached is never
    fitted.

    Args:
        outputs: `{name of the baseline: () -> outputs for the test examples}`.
        score: `(outputs) -> scores`.
        rows: `() -> rows`, everything that the scores depend on besides the code, so that they can
            be cached under the hash of these rows. None if they must not be cached.
    """

    def __init__(
        self,
        outputs: Mapping[str, Callable[[], Any]],
        score: Callable[[Any], Scores],
        rows: Callable[[], Rows] | None = None,
    ):
        self.rows = rows
        self._outputs, self._score = dict(outputs), score
        self._scores: dict[str, Scores] = {}

    def __getitem__(self, name: str) -> Scores:
        if name not in self._scores:
            self._scores[name] = self._score(self._outputs[name]())
        return self._scores[name]

    def __contains__(self, name: object) -> bool:
        return name in self._outputs  # the inherited method would compute the scores

    def __iter__(self) -> Iterator[str]:
        return iter(self._outputs)

    def __len__(self) -> int:
        return len(self._outputs)


def example_rows(splits: Mapping[str, Sequence[Any]], omit: Sequence[str], **facts: Any) -> Rows:
    """Returns the parts of the examples that baselines read, for `BaselineScores`.

    Args:
        splits: examples by split, each a named tuple.
        omit: names of the fields that no baseline reads, such as the tokens of a vocabulary.
            Fields that are functions are also omitted.
        facts: anything else that the scores depend on, JSON types only.
    """
    rows = {
        split: (_without(example, omit) for example in examples)
        for split, examples in splits.items()
    }
    return {**rows, "facts": [facts]}


def _without(example: Any, omit: Sequence[str]) -> dict[str, Any]:
    fields = example._asdict()
    return {n: value for n, value in fields.items() if n not in omit and not callable(value)}
