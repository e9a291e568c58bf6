"""A slower planning loop for Ray Data, which lives in the training worker's own process.

While a reader is ahead and waits for room, Ray Data's loop has nothing to do and does it without
a pause (its ``ray.wait`` returns at once: something is ready, and may not be taken). The loop then
holds the interpreter for half of the time, and a training step takes four times as long.
"""

import time

from ray.data._internal.execution.execution_callback import ExecutionCallback
from ray.data._internal.execution.streaming_executor import StreamingExecutor

PAUSE_S = 0.1
"""After each round of the loop. A round starts several reading tasks, each of several steps."""


class PacedPlanning(ExecutionCallback):
    """For ``DataContext.custom_execution_callback_classes``."""

    def on_execution_step(self, executor: StreamingExecutor) -> None:
        """Let go of the interpreter for a moment."""
        time.sleep(PAUSE_S)
