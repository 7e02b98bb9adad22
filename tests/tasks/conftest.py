import pytest

from ..support import training


@pytest.fixture
def eagerly():
    """Runs the test without compiling, where tracing would take longer than computing."""
    with training.execution(eager=True):
        yield
