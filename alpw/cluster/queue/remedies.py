"""What is done for a Firework whose job ended before it: decided, written down, carried out."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from fireworks import LaunchPad

from alpw.cluster.jobs import EndedJob, culprits, limits, words_of
from alpw.cluster.queue.ends import RULES, End, Remedy, Rule, end_of, last_lines
from alpw.cluster.queue.files import queue_blocks
from alpw.cluster.queue.held import reservation
from alpw.config.amounts import duration, parse_duration, parse_memory
from alpw.config.resource import InitResource, Resource, ResourceBlock
from alpw.database import campaigns, queue_events

logger = logging.getLogger(__name__)

#: Factors from one job of a Firework to its next.
MORE_MEMORY, MORE_WALLTIME = 1.5, 2.0

#: Key of a Firework's spec by which FireWorks overrides its queue adapter.
OVERRIDES = "_queueadapter"


@dataclass(frozen=True)
class Verdict:
    """What is to be done about the end of a launch's job.

    Attributes:
        end: how the job ended.
        remedy: what is done.
        asks: keys of the queue adapter that the next job gets.
        reason: all of it in one line.
    """

    end: End
    remedy: Remedy
    asks: dict[str, str]
    reason: str


@dataclass
class Judge:
    """Decides about the jobs of one campaign; reads its inputs only when it must."""

    launchpad: LaunchPad
    campaign: str
    _specs: dict[int, dict[str, Any]] = field(default_factory=dict)

    @cached_property
    def _blocks(self) -> dict[str, ResourceBlock]:
        document = campaigns.get(self.launchpad.db, self.campaign)
        kind = InitResource if campaigns.kind(document) == campaigns.INIT_BULK else Resource
        return queue_blocks(kind.model_validate(document["resolved"]["resource"]))

    def spec(self, fw_id: int) -> dict[str, Any]:
        """Category and overrides of a Firework."""
        if fw_id not in self._specs:
            fields = {"spec._category": 1, f"spec.{OVERRIDES}": 1}
            self._specs[fw_id] = self.launchpad.fireworks.find_one({"fw_id": fw_id}, fields)["spec"]
        return self._specs[fw_id]

    def judge(self, launch: dict[str, Any], job: EndedJob | None, *, spent: bool) -> Verdict:
        """What is to be done about a launch whose job is gone.

        Args:
            launch: from the database.
            job: what SLURM knows of its job.
            spent: whether the Firework has had all runs that it may have.
        """
        number = reservation(launch).get("reservation_id")
        error = last_lines(launch["launch_dir"], number)
        end = end_of(number, job, error, began=launch["state"] != "RESERVED")
        rule = RULES[end]
        reason = _reason(number, rule, job, error)
        earlier = queue_events.count(self.launchpad.db, launch["fw_id"], end.value, launch["launch_id"])
        remedy, asks, remark = self._remedy(launch["fw_id"], rule, job, earlier)
        if rule.counts and spent:
            remedy, remark = Remedy.FAIL, "the Firework has run as often as it may"
        if remedy is Remedy.FAIL:
            return Verdict(end, remedy, {}, f"{reason}; {remark}: {rule.advice}")
        gets = ", ".join(f"{key} {value}" for key, value in asks.items())
        return Verdict(end, remedy, asks, f"{reason}; it runs again" + (f" with {gets}" if gets else ""))

    def _remedy(
        self, fw_id: int, rule: Rule, job: EndedJob | None, earlier: int
    ) -> tuple[Remedy, dict[str, str], str]:
        """The remedy, what the next job asks for, and why nothing more is tried."""
        spec = self.spec(fw_id)
        block = self._blocks.get(spec["_category"], ResourceBlock())
        overrides, used_up = spec.get(OVERRIDES, {}), earlier >= rule.reruns
        if rule.remedy is Remedy.MEMORY and (block.max_memory or not used_up):
            more, base = more_memory(job, overrides, block)
            if more:
                return Remedy.MEMORY, more, ""
            if base is not None:
                return Remedy.FAIL, {}, f"no more than the {base:.0f} MiB that it had are allowed"
        if rule.remedy is Remedy.WALLTIME and (block.max_walltime or not used_up):
            # Without more it runs again all the same: what it has finished is kept.
            more = more_walltime(job, overrides, block)
            if more:
                return Remedy.WALLTIME, more, ""
        if used_up:
            return Remedy.FAIL, {}, f"{rule.reruns} more tries did not help"
        excluded = overrides.get("exclude_nodes", block.exclude_nodes) or ""
        if rule.remedy is Remedy.OTHER_NODE and job and (nodes := culprits(job, excluded)):
            asks = {"exclude_nodes": ",".join(filter(None, [excluded, *nodes]))}
            return Remedy.OTHER_NODE, asks, ""
        return Remedy.AGAIN, {}, ""


def more_memory(
    job: EndedJob | None, overrides: dict[str, Any], block: ResourceBlock
) -> tuple[dict[str, str], float | None]:
    """What a job asks for after one that ran out of memory: keys of the queue adapter, and MiB that it had.

    Without keys there is no more to be had; without MiB it is not known how much it had.
    """
    allowed = parse_memory(block.max_memory or "") or float("inf")
    _, on_node = limits(job.partition if job else block.queue_name or "")
    if job and job.memory_per_cpu:
        cores = max(1, job.cpu_count // job.node_count)
        key, most = "mem_per_cpu", min(allowed, on_node) / cores
        known: list[float | None] = [job.memory_per_cpu]
    else:
        asked = [str(overrides.get("mem", "")), block.memory or ""]
        known = [job.memory if job else None, *map(parse_memory, asked)]
        key, most = "mem", min(allowed, on_node)
    base = max((each for each in known if each), default=None)
    if base is None:
        return {}, None
    more = min(MORE_MEMORY * base, most)
    return ({key: f"{more:.0f}M"} if more > base else {}), base


def more_walltime(job: EndedJob | None, overrides: dict[str, Any], block: ResourceBlock) -> dict[str, str]:
    """What a job asks for after one that ran out of time; empty if it is not known or no more is allowed."""
    allowed = parse_duration(block.max_walltime or "") or float("inf")
    longest, _ = limits(job.partition if job else block.queue_name or "")
    asked = [str(overrides.get("walltime", "")), block.walltime or ""]
    known = [job.walltime if job else None, *map(parse_duration, asked)]
    # Not less than was asked for, whatever somebody made of the job's own limit.
    base = max((each for each in known if each), default=None)
    if base is None:
        return {}
    more = min(MORE_WALLTIME * base, allowed, longest)
    return {"walltime": duration(more)} if more > base else {}


def _reason(number: str | None, rule: Rule, job: EndedJob | None, error: list[str]) -> str:
    who = f"SLURM job {number} is gone" if number else "it has no SLURM job"
    words = f" ({words_of(job)})" if job else ""
    last = f"; the last line of its standard error: {error[-1]}" if error else ""
    return f"{who}: {rule.meaning}{words}{last}"


def begin(
    launchpad: LaunchPad, campaign: str, launch: dict[str, Any], job: EndedJob | None, verdict: Verdict
) -> dict[str, Any] | None:
    """Write a verdict down and give the Firework what its next job asks for.

    Returns:
        The event, for the caller to carry out and to settle; None if another process does.
    """
    fields = {
        "campaign": campaign,
        "fw_id": launch["fw_id"],
        "job": reservation(launch).get("reservation_id"),
        "state": job.state if job else None,
        "end": verdict.end.value,
        "remedy": verdict.remedy.value,
        "asks": verdict.asks,
        "reason": verdict.reason,
        "counts": RULES[verdict.end].counts,
        "nodes": job.nodes if job else "",
        "elapsed": job.elapsed if job else None,
    }
    event = queue_events.begin(launchpad.db, launch["launch_id"], fields)
    if event and event["asks"]:
        change = {f"spec.{OVERRIDES}.{key}": value for key, value in event["asks"].items()}
        launchpad.fireworks.update_one({"fw_id": launch["fw_id"]}, {"$set": change})
    return event
