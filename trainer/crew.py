"""Crew: many small tasks on every core, answered in order.

    tasks -> threads with a tool each -> results in the tasks' order

Threads, because onnxruntime and OpenCV compute outside Python's lock. Only a few tasks are taken ahead of the one that
is waited for, so that whole pictures never pile up in memory.
"""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

__all__ = ["in_order"]

Tool = TypeVar("Tool")
Result = TypeVar("Result")

_AHEAD = 4
"""Tasks waiting for each thread."""


def in_order(
    tasks: Iterable[Callable[[Tool], Result]], open_tool: Callable[[], Tool], workers: int | None = None
) -> Iterator[Result]:
    """Do every task and hand the results on in the tasks' order; the first error ends it.

    Args:
        tasks: taken as they are needed.
        open_tool: called once in each thread; what it gives is handed to every task of that thread.
        workers: threads; None for one a core that this process may use.
    """
    count = workers or len(os.sched_getaffinity(0))
    own = threading.local()

    def do(task: Callable[[Tool], Result]) -> Result:
        if not hasattr(own, "tool"):
            own.tool = open_tool()
        return task(own.tool)

    crew = ThreadPoolExecutor(count, thread_name_prefix="crew")
    waiting: deque[Future[Result]] = deque()
    try:
        for task in tasks:
            waiting.append(crew.submit(do, task))
            if len(waiting) >= _AHEAD * count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        crew.shutdown(cancel_futures=True)
