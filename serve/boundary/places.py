"""How many requests are worked on at once, and in which order the others get their turn."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from amir.errors import InputError
from amir.inference.engine.slices import OverloadedError

IN_LINE = 4  # for each place: after the death of a replica the others get its requests too
DECREASE = 0.8
SECONDS_BEFORE_REFUSAL = 1.0


class Places:
    """So many requests at once; IN_LINE as many wait in turn, for so long, and are then refused.

    on_waiting: told how many wait, whenever that may have changed.

    There are fewer places where the engine refuses requests: reading their files would take the CPU
    from those that it has taken. As TCP finds its window (Jacobson, SIGCOMM 1988), a refusal takes
    a fifth of the places away, and each success adds a part of one. Refusals wait a second because
    whoever is refused at once may ask again at once, and to refuse thousands takes the CPU too.
    """

    def __init__(
        self,
        most: int,
        *,
        patience: float,
        before_refusal: float = SECONDS_BEFORE_REFUSAL,
        on_waiting: Callable[[int], None] = lambda waiting: None,
    ) -> None:
        self._most, self._patience, self._before_refusal = most, patience, before_refusal
        self._on_waiting = on_waiting
        self._places = float(most)
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.taken = 0

    @property
    def free(self) -> int:
        return int(self._places) - self.taken

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        await self._take()
        try:
            yield
            self._places = min(self._most, self._places + 1 / self._places)
        except OverloadedError:
            self._places = max(1.0, DECREASE * self._places)
            raise
        finally:
            self.taken -= 1
            self._call_in()

    async def _take(self) -> None:
        """Count one more as taken; InputError("overloaded") where none becomes free."""
        if self.waiting >= IN_LINE * self._most:
            await asyncio.sleep(self._before_refusal)
            raise self._refusal()
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._call_in()
        try:
            async with asyncio.timeout(self._patience):
                await turn
        except BaseException as error:
            self._leave(turn)
            if isinstance(error, TimeoutError):
                raise self._refusal() from None
            raise

    def _call_in(self) -> None:
        """Give what is free to those who have waited longest."""
        while self._waiting and self.free > 0:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self.taken += 1
        self._on_waiting(self.waiting)

    def _leave(self, turn: asyncio.Future[None]) -> None:
        """Go without a place, even where one was given in the same moment."""
        if turn in self._waiting:
            self._waiting.remove(turn)
        elif not turn.cancelled():
            self.taken -= 1
        self._call_in()

    def _refusal(self) -> InputError:
        return InputError(
            "overloaded",
            f"{self.taken} requests are under way here and {self.waiting} wait for their "
            "place; try again",
        )
