"""The checks of the conformance kit; each raises a `CellError` that suggests a fix."""

from collections.abc import Callable

from .gradients import check_gradients
from .parity import check_parity
from .sequences import (
    check_chunks,
    check_compiled,
    check_loop,
    check_mask,
    check_mixed_precision,
)
from .serialization import check_serialization
from .steps import (
    check_contract,
    check_memory,
    check_output_state,
    check_purity,
    check_reference,
    check_rows,
)
from .subject import Subject

CHECKS: dict[str, Callable[[Subject], None]] = {
    "contract": check_contract,
    "output state": check_output_state,
    "purity": check_purity,
    "rows": check_rows,
    "memory": check_memory,
    "loop": check_loop,
    "chunks": check_chunks,
    "mask": check_mask,
    "gradients": check_gradients,
    "serialization": check_serialization,
    "mixed precision": check_mixed_precision,
    "compiled": check_compiled,
    "reference": check_reference,
    "parity": check_parity,
}
