"""A conformance kit for recurrent cells: is a cell of your own one that every loop can run?

    from rnn_topologies.testing import cell_tests

    test_my_cell = cell_tests(MyCell, units=8)      # in a file of yours that pytest collects

or, without pytest, `check_cell(MyCell, units=8)`, which raises a `CellError` that says what is
wrong and how to mend it. A cell follows the contract of Keras: `state_size`, `build(input_shape)`,
`call(inputs, states, training=False) -> output, new states`, `get_config`.
"""

import dataclasses
from collections.abc import Callable, Sequence

from rnn_topologies import layers  # noqa: F401, for the examples

from .checks import CHECKS
from .subject import CellError, Skipped, Subject, says

__all__ = ["CHECKS", "CellError", "Report", "cell_tests", "check_cell"]


@dataclasses.dataclass(frozen=True)
class Report:
    """What was checked.

    Attributes:
        passed: names of the checks that the cell passed.
        skipped: `{name: reason}` of those that could not be made here.
    """

    passed: tuple[str, ...]
    skipped: dict[str, str]


def check_cell(
    cell_class: type,
    *args,
    features: int = 4,
    reference: Callable | None = None,
    checks: Sequence[str] = (),
    **settings,
) -> Report:
    """Checks a cell against the contract that recurrent layers rely on.

    Args:
        cell_class: the class of the cell.
        args, settings: what to make it with, such as `units=8`.
        features: width of its inputs; of a residual cell its units.
        reference: `(x, states, weights) -> new states` in NumPy, one step from the paper's
            equations, the output first; compared if given.
        checks: names of `CHECKS` to make; all if empty.

    Returns:
        A `Report`.

    Raises:
        CellError: something is wrong; the message says what, and how to mend it.

    Example:
        >>> report = check_cell(layers.GRUCell, units=5, checks=["contract", "chunks"])
        >>> report.passed
        ('contract', 'chunks')
    """
    subject = Subject(
        lambda **more: cell_class(*args, **{**settings, **more}), features, reference, cell_class
    )
    unknown = set(checks) - set(CHECKS)
    if unknown:
        raise ValueError(f"Unknown checks: {sorted(unknown)}. There are {', '.join(CHECKS)}.")
    passed, skipped, wrong = [], {}, []
    for name in checks or CHECKS:
        try:
            with says("The cell raises"):
                CHECKS[name](subject)
        except Skipped as reason:
            skipped[name] = str(reason)
        except CellError as error:
            wrong.append(f"{name}: {error}")
            if name == "contract":  # the others would stumble over the same
                break
        else:
            passed.append(name)
    if wrong:
        raise CellError(f"{cell_class.__name__} fails\n  " + "\n  ".join(wrong))
    return Report(tuple(passed), skipped)


def cell_tests(cell_class: type, *args, **settings):
    """Returns a pytest test that makes every check on its own; takes what `check_cell` takes.

    Example:
        >>> test_gru = cell_tests(layers.GRUCell, units=5)
    """
    import pytest

    @pytest.mark.parametrize("check", settings.pop("checks", None) or list(CHECKS))
    def test(check):
        report = check_cell(cell_class, *args, checks=[check], **settings)
        if report.skipped:
            pytest.skip(report.skipped[check])

    return test
