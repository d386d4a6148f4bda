"""Many threads, one order."""

import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from trainer.crew import in_order


def times(number: int, factor: int) -> int:
    return number * factor


def test_results_come_in_the_tasks_order_however_long_each_takes() -> None:
    last = threading.Event()

    def task(number: int, _tool: int) -> int:
        # The first waits until the last of the first four was done: order is not what the threads make of it.
        if number == 3:
            last.set()
        elif number == 0:
            assert last.wait(20)
        return number

    tasks = [partial(task, number) for number in range(12)]
    assert list(in_order(tasks, lambda: 0, workers=2)) == list(range(12))


def test_every_thread_opens_one_tool_and_keeps_it() -> None:
    opened: list[object] = []
    together = threading.Barrier(3, timeout=20)

    def open_tool() -> object:
        opened.append(object())
        return opened[-1]

    def task(is_first: bool, tool: object) -> object:
        if is_first:
            together.wait()  # all three threads are in the middle of a task
        return tool

    used = list(in_order([partial(task, number < 3) for number in range(30)], open_tool, workers=3))
    assert len(opened) == 3
    assert set(used) == set(opened)


def test_tasks_are_taken_only_a_few_ahead() -> None:
    taken = 0

    def tasks() -> Iterator[Callable[[int], int]]:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield partial(times, number)

    results = in_order(tasks(), lambda: 2, workers=2)
    assert [next(results) for _ in range(5)] == [0, 2, 4, 6, 8]
    assert taken == 12  # four for each thread beside the one that was asked for last
    results.close()  # type: ignore[attr-defined]
    assert taken == 12


def test_the_first_error_ends_it() -> None:
    def task(number: int, _tool: int) -> int:
        if number == 2:
            raise ValueError("the third")
        return number

    results = in_order([partial(task, number) for number in range(100)], lambda: 0, workers=1)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="the third"):
        next(results)


def test_no_tasks_give_no_results_and_open_nothing() -> None:
    def open_tool() -> int:
        raise AssertionError("opened")

    assert list(in_order([], open_tool, workers=2)) == []
