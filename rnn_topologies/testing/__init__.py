"""A conformance kit for recurrent cells: does your own cell run correctly in every loop?

    from rnn_topologies.testing import cell_tests

    test_my_cell = cell_tests(MyCell, units=8)      # in one of your pytest files

or, without pytest, `check_cell(MyCell, units=8)`, which raises a `CellError` that says what is
wrong and how to fix it. A cell follows Keras's contract: `state_size`, `build(input_shape)`,
`call(inputs, states, training=False) -> output, new states`, `get_config`.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rnn_topologies import layers  # noqa: F401, for the docstring examples

from .checks import CHECKS
from .subject import CellError, Skipped, Subject, failing_with

__all__ = ["CHECKS", "CellError", "Report", "cell_tests", "check_cell"]


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of checking a cell.

    Attributes:
        passed: names of the checks that passed.
        skipped: `{name: reason}` of the checks that could not run here.
    """

    passed: tuple[str, ...]
    skipped: dict[str, str]


def check_cell(
    cell_class: type,
    *args: Any,
    features: int = 4,
    reference: Callable[..., Sequence[np.ndarray]] | None = None,
    checks: Sequence[str] = (),
    **kwargs: Any,
) -> Report:
    """Checks a cell against the contract that recurrent layers rely on.

    Args:
        cell_class: the class of the cell.
        *args: positional arguments of its constructor.
        features: number of input features; for a residual cell, its units.
        reference: `(x, states, weights) -> new states`, one step in NumPy written from the
            paper's equations, the output first; compared with the cell if passed.
        checks: names of the `CHECKS` to run; all if empty.
        **kwargs: keyword arguments of its constructor, such as `units=8`.

    Returns:
        A `Report`.

    Raises:
        CellError: a check failed; the message says what is wrong and how to fix it.
        ValueError: `checks` holds an unknown name.

    Example:
        >>> report = check_cell(layers.GRUCell, units=5, checks=["contract", "chunks"])
        >>> report.passed
        ('contract', 'chunks')
    """
    subject = Subject(
        lambda **more: cell_class(*args, **{**kwargs, **more}), features, reference, cell_class
    )
    unknown = set(checks) - set(CHECKS)
    if unknown:
        raise ValueError(f"Unknown checks: {sorted(unknown)}. Available: {', '.join(CHECKS)}.")
    passed, skipped, failures = [], {}, []
    for name in checks or CHECKS:
        try:
            with failing_with("The cell raises an exception."):
                CHECKS[name](subject)
        except Skipped as reason:
            skipped[name] = str(reason)
        except CellError as error:
            failures.append(f"{name}: {error}")
            if name == "contract":  # the other checks would fail for the same reason
                break
        else:
            passed.append(name)
    if failures:
        raise CellError(f"{cell_class.__name__} fails\n  " + "\n  ".join(failures))
    return Report(tuple(passed), skipped)


def cell_tests(
    cell_class: type, *args: Any, checks: Sequence[str] = (), **kwargs: Any
) -> Callable[[str], None]:
    """Returns a pytest test, parametrized by check; takes the arguments of `check_cell`.

    Example:
        >>> test_gru = cell_tests(layers.GRUCell, units=5)
    """
    import pytest

    @pytest.mark.parametrize("check", checks or list(CHECKS))
    def test(check: str) -> None:
        report = check_cell(cell_class, *args, checks=[check], **kwargs)
        if report.skipped:
            pytest.skip(report.skipped[check])

    return test
