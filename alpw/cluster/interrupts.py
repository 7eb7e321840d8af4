"""Ctrl-C and SIGTERM: both end a command in order, and neither in the middle of what must be done whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Within it SIGTERM raises KeyboardInterrupt, as SIGINT does."""
    with _handled((signal.SIGTERM,), signal.default_int_handler):
        yield


@contextmanager
def postponed() -> Iterator[None]:
    """What is within it is done to its end; a signal that came meanwhile acts then."""
    came: list[int] = []
    try:
        with _handled(_SIGNALS, lambda number, frame: came.append(number)):
            yield
    finally:
        for number in came[:1]:
            signal.raise_signal(number)


@contextmanager
def _handled(signals: tuple[signal.Signals, ...], handler: Any) -> Iterator[None]:
    """Another handler for signals; only the main thread can have one, and only it is interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {number: signal.getsignal(number) for number in signals}
    for number in signals:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, earlier in former.items():
            signal.signal(number, signal.SIG_DFL if earlier is None else earlier)
