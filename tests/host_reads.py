"""Counts what would make a host wait for its GPU, on a CPU: operators that read or count values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

# aten names: each needs a value, or a number of values, before the next operator can be launched.
READING = {
    "_local_scalar_dense",  # item(), bool(), float(), int(), `if tensor`
    "is_nonzero",
    "item",
    "equal",
    "nonzero",
    "nonzero_numpy",
    "argwhere",
    "masked_select",
    "bincount",
    "histc",
    "unique_dim",
    "unique_consecutive",
    "_unique",
    "_unique2",
    "_assert_async",
}
SIZED_BY_VALUES = {"repeat_interleave": "Tensor"}  # such an overload without output_size
METHODS = {"tolist", "numpy", "cpu", "__array__", "__index__", "__bool__", "__float__", "__int__"}


class _Operators(TorchDispatchMode):
    def __init__(self, found: Counter[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        name, overload = func.overloadpacket.__name__, func._overloadname
        by_values = SIZED_BY_VALUES.get(name) == overload and kwargs.get("output_size") is None
        if name in READING or by_values or (name.startswith("index") and _by_mask(args)):
            self.found[name] += 1
        return func(*args, **kwargs)


class _Methods(TorchFunctionMode):
    """Of tensors: tolist() and numpy() read a CPU's memory without an operator."""

    def __init__(self, found: Counter[str]) -> None:
        super().__init__()
        self.found = found

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        name = getattr(func, "__name__", "")
        if name in METHODS and args and isinstance(args[0], Tensor):
            self.found[name] += 1
        return func(*args, **(kwargs or {}))


def _by_mask(args: Sequence[Any]) -> bool:
    """Whether an index or index_put chooses by a mask, whose true values must be counted."""
    indices = args[1] if len(args) > 1 and isinstance(args[1], (list, tuple)) else ()
    return any(isinstance(i, Tensor) and i.dtype in (torch.bool, torch.uint8) for i in indices)


@contextmanager
def host_reads() -> Iterator[Counter[str]]:
    """What in this block reads values from tensors, by name; filled while it runs."""
    found: Counter[str] = Counter()
    with _Methods(found), _Operators(found):
        yield found
