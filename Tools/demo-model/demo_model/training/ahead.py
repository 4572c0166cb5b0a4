"""Renders for a GPU, which would wait for one process to draw them."""

import os
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

from .loop import device

STEPS_FOR_EACH_WORKER = 2


class Ahead:
    """What `make` makes of a step's number, made some steps ahead by other processes where the device is a GPU.

    `make` is a function of a module, or a `functools.partial` of one, so that it can be sent to them, and depends on
    the number alone: steps are asked for in order, but may begin anywhere.
    """

    def __init__(self, make: Callable[[int], Any]):
        workers = (os.cpu_count() or 1) if device().type == "cuda" else 0
        self.make, self.length = make, STEPS_FOR_EACH_WORKER * workers
        # Forked workers would share CUDA's state.
        self.pool = ProcessPoolExecutor(workers, get_context("spawn")) if workers else None
        self.begun: dict[int, Future] = {}

    def __call__(self, step: int) -> Any:
        if self.pool is None:
            return self.make(step)
        for later in range(step, step + self.length):
            if later not in self.begun:
                self.begun[later] = self.pool.submit(self.make, later)
        return self.begun.pop(step).result()
