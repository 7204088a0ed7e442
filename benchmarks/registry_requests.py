"""What a promotion asks of MLflow, counted; something can happen before or after one request."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from amir import tracking
from amir.model_registry import versions


class Requests:
    """names: what was asked so far, in its order.

    strike: called before request number `at`, or after it was answered.
    """

    def __init__(
        self, at: int = -1, strike: Callable[[], None] = lambda: None, *, after: bool = False
    ) -> None:
        self.names: list[str] = []
        self.at, self.strike, self.after = at, strike, after

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Every client of MLflow that is made in here is counted."""
        make = tracking.mlflow_client

        def watched_client(uri: str) -> Any:
            return _Watched(make(uri), self)

        tracking.mlflow_client = versions.mlflow_client = watched_client
        try:
            yield
        finally:
            tracking.mlflow_client = versions.mlflow_client = make

    def ask(self, name: str, call: Callable[[], Any]) -> Any:
        number = len(self.names)
        self.names.append(name)
        if number == self.at and not self.after:
            self.strike()
        answer = call()
        if number == self.at and self.after:
            self.strike()
        return answer


class _Watched:
    """MLflow's client, each of whose methods is a request."""

    def __init__(self, client: Any, requests: Requests) -> None:
        self._client, self._requests = client, requests

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def ask(*arguments: Any, **further: Any) -> Any:
            return self._requests.ask(name, lambda: method(*arguments, **further))

        return ask
