"""Several calculations of one Firework at the same time: lanes, each of which takes one after the other."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Protocol, TypeVar

LEFT = "left"
"""Outcome of a calculation that goes to another Firework."""

CARDS = ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
"""Variables in which SLURM tells a job its graphics cards."""

Item = TypeVar("Item", bound=Hashable)
Given = TypeVar("Given", bound=Hashable, contravariant=True)


class Lane(Protocol[Given]):
    """What calculates; each lane runs in a thread of its own, and waits for its programs there."""

    def has_time(self) -> bool:
        """Whether another calculation may begin."""
        ...

    def calculate(self, item: Given) -> str:
        """Do one calculation and say what became of it, `LEFT` if another Firework must."""
        ...

    def close(self) -> None:
        """Tidy up after the last one."""
        ...


def environments(parallel: int, items: int, around: Mapping[str, str] = os.environ) -> list[dict[str, str]]:
    """Variables for the programs of each lane: its own part of the job's graphics cards.

    Fewer cards than lanes are shared, one after the other. A single lane has whatever the job has.

    Args:
        parallel: most calculations at a time.
        items: calculations that there are.
        around: the environment of this process.
    """
    lanes = max(1, min(parallel, items))
    found: list[dict[str, str]] = [{} for _ in range(lanes)]
    for name in CARDS if lanes > 1 else ():
        cards = [card for card in around.get(name, "").split(",") if card]
        for lane, own in enumerate(found) if cards else ():
            share = cards[lane * len(cards) // lanes : (lane + 1) * len(cards) // lanes]
            own[name] = ",".join(share if len(cards) >= lanes else [cards[lane % len(cards)]])
    return found


def run_in_lanes(items: Sequence[Item], lanes: Sequence[Lane[Item]]) -> dict[Item, str]:
    """Calculate everything; whichever lane is free takes the next one.

    Args:
        items: what to calculate, in this order.
        lanes: at least one; a single one runs in the calling thread.

    Returns:
        What became of each, in the order of ``items``.

    Raises:
        Exception: what a lane raised, after all lanes have ended what they were doing; nothing new is begun.
    """
    waiting, outcomes, stop = deque(items), dict.fromkeys(items, LEFT), threading.Event()

    def drive(lane: Lane[Item]) -> None:
        try:
            while not stop.is_set() and lane.has_time():
                try:
                    item = waiting.popleft()
                except IndexError:
                    break
                outcomes[item] = lane.calculate(item)
        except BaseException:
            stop.set()
            raise
        finally:
            lane.close()

    if len(lanes) == 1:
        drive(lanes[0])
        return outcomes
    with ThreadPoolExecutor(len(lanes), thread_name_prefix="lane") as pool:
        running = [pool.submit(drive, lane) for lane in lanes]
        try:
            wait(running)
        finally:
            # An interrupted Firework begins nothing more.
            stop.set()
    for lane_end in running:
        lane_end.result()
    return outcomes
