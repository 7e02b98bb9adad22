# `keras.ops` dispatches at run time, from which pyright infers that functions return None.
from typing import Any

def __getattr__(name: str) -> Any: ...
