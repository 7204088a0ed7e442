"""Who is let in at once, who waits in which order, and who is sent away."""

from __future__ import annotations

import asyncio

import pytest

from amir.errors import InputError
from amir.inference.engine.slices import OverloadedError
from serve.boundary.places import IN_LINE, Places


async def take(places: Places, called: list[str] | None = None, name: str = "") -> None:
    async with places.place():
        if called is not None:
            called.append(name)


def test_where_the_engine_refuses_there_are_fewer_places_until_it_takes_again():
    places = Places(8, patience=0.0)

    async def overload() -> None:
        async with places.place():
            raise OverloadedError("three are waiting", 5.0)

    assert places.free == 8
    for _ in range(3):
        with pytest.raises(OverloadedError):
            asyncio.run(overload())
    assert places.free == 4
    for _ in range(40):
        asyncio.run(take(places))
    assert places.free == 8


def test_those_who_wait_are_called_in_turn():
    called, told = [], []
    places = Places(1, patience=5.0, on_waiting=told.append)
    names = [str(number) for number in range(IN_LINE)]

    async def in_line() -> None:
        async with asyncio.TaskGroup() as group, places.place():
            for name in names:
                group.create_task(take(places, called, name))
            await asyncio.sleep(0)
            assert told[-1] == IN_LINE

    asyncio.run(in_line())
    assert (called, places.free, told[-1]) == (names, 1, 0)


def test_who_has_waited_long_enough_is_refused():
    places = Places(1, patience=0.01)

    async def wait_in_vain() -> str:
        async with places.place():
            with pytest.raises(InputError) as refusal:
                async with places.place():
                    pass
        return refusal.value.code

    assert asyncio.run(wait_in_vain()) == "overloaded"
    assert places.free == 1


def test_where_the_line_is_long_one_more_is_refused_without_standing_in_it():
    places = Places(1, patience=60.0, before_refusal=0.0)

    async def one_too_many() -> None:
        async with asyncio.TaskGroup() as group, places.place():
            for _ in range(IN_LINE):
                group.create_task(take(places))
            await asyncio.sleep(0)
            with pytest.raises(InputError, match="4 wait for their place"):
                await take(places)

    asyncio.run(one_too_many())
    assert places.free == 1


def test_who_leaves_as_the_turn_comes_leaves_the_place_to_the_next():
    places, called = Places(1, patience=5.0), []

    async def leave_at_the_door() -> None:
        async with places.place():
            first, second, stays = (
                asyncio.create_task(take(places, called, name))
                for name in ("in line", "at the door", "stays")
            )
            await asyncio.sleep(0)
            first.cancel()
        second.cancel()  # its turn has come, and it does not know yet
        await stays

    asyncio.run(leave_at_the_door())
    assert (called, places.taken) == (["stays"], 0)
