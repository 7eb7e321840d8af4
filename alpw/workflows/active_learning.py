"""The workflows of a campaign: preparation, one per iteration, labelling, and the final training.

One small workflow per iteration, because FireWorks rewrites a whole workflow document at every checkout
and completion. Specs carry names and ids, never arrays.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from itertools import pairwise, zip_longest
from typing import Any

from fireworks import Firework, Workflow

from alpw.config.param import Hook
from alpw.workflows.firework import EXPLORE, build, descending
from alpw.workflows.plan import chunks


def firework(
    task: str, title: str, campaign: str, iteration: int, fizzled_parents: bool = False, **parameters: Any
) -> Firework:
    """One Firework of an iteration; see :func:`alpw.workflows.firework.build`."""
    stage = "prepare" if iteration < 0 else f"{iteration:04d}"
    identity = {"campaign": campaign, "iteration": iteration}
    return build(task, f"{campaign}.{stage}: {title}", identity, fizzled_parents, **parameters)


def _workflow(stages: Sequence[list[Firework]], name: str, kind: str) -> Workflow:
    """Stages in series: each Firework waits for all of the stage before it. Empty stages are none."""
    present = [stage for stage in stages if stage]
    links = {parent: after for before, after in pairwise(present) for parent in before}
    fireworks = [firework for stage in present for firework in stage]
    spec = fireworks[0].spec
    metadata = {"campaign": spec["campaign"], "iteration": spec["iteration"], "kind": kind}
    return Workflow(fireworks, links, name=name, metadata=metadata)


def calls(
    campaign: str,
    iteration: int,
    hooks: Sequence[Hook],
    after: str,
    fizzled_parents: bool = False,
    done: Container[int] = (),
) -> list[list[Firework]]:
    """Stages of one Firework each that call the user's functions.

    Args:
        campaign: name of the campaign.
        iteration: index of the iteration.
        hooks: all functions of the user's.
        after: stage after which they are called; the others are left out.
        fizzled_parents: whether the first one runs even if what it waits for has failed.
        done: indices of hooks that need no Firework.
    """
    wanted = [(i, hook.function) for i, hook in enumerate(hooks) if hook.after == after and i not in done]
    return [
        [firework("CallHook", f"call {name}", campaign, iteration, fizzled_parents and not place, hook=i)]
        for place, (i, name) in enumerate(wanted)
    ]


def preparation_workflow(campaign: str, iteration: int) -> Workflow:
    """Generate the first structures; labelling is appended by the Firetask itself."""
    generate = firework("GenerateStructures", "generate structures", campaign, iteration)
    return _workflow([[generate]], f"{campaign}.prepare", "prepare")


def _training(campaign: str, iteration: int, members: int, together: bool) -> list[Firework]:
    """Fireworks that train the committee: one for all members, or one each."""
    everyone = list(range(members))
    return [
        firework("TrainModels", f"train {_members(part)}", campaign, iteration, members=part)
        for part in chunks(everyone, -1 if together else 1)
    ]


def _members(part: Sequence[int]) -> str:
    return f"member {part[0]}" if len(part) == 1 else f"members {part[0]} to {part[-1]}"


def iteration_workflow(
    campaign: str,
    iteration: int,
    members: int,
    trajectories: Sequence[Sequence[str]],
    together: bool = False,
    hooks: Sequence[Hook] = (),
    category: str = EXPLORE,
    asked: Sequence[Mapping[str, Any]] = (),
) -> Workflow:
    """Train the committee, explore with it, select; labelling is appended by the selection.

    A trajectory that failed must not hold up the others, so what comes after it accepts fizzled parents. A
    function of the user's that failed holds up the rest.

    Args:
        campaign: name of the campaign.
        iteration: index of the iteration.
        members: of the committee.
        trajectories: names of those that run in each Firework.
        together: whether one Firework trains all members.
        hooks: the user's functions.
        category: of the exploration.
        asked: what the job of each exploration asks for in place of what its category does; may be left out.
    """
    train = _training(campaign, iteration, members, together)
    explore = [
        firework(
            "ExploreTrajectories",
            f"explore {keys[0]}" + (f" and {len(keys) - 1} more" if len(keys) > 1 else ""),
            campaign,
            iteration,
            category=category,
            queueadapter=own,
            trajectories=list(keys),
        )
        for keys, own in zip_longest(trajectories, asked)
    ]
    explored = calls(campaign, iteration, hooks, "explore", fizzled_parents=True)
    select = firework("SelectCandidates", "select candidates", campaign, iteration, not explored)
    stages = [train, *calls(campaign, iteration, hooks, "train"), explore, *explored, [select]]
    return _workflow(stages, f"{campaign}.{iteration:04d}", "explore")


def labelling_workflow(
    campaign: str,
    iteration: int,
    parts: Sequence[Sequence[Any]],
    hooks: Sequence[Hook] = (),
    follows: int | None = None,
    asked: Sequence[Mapping[str, Any]] = (),
) -> Workflow:
    """Label configurations in chunks, then collect whatever came of it.

    Args:
        campaign: name of the campaign.
        iteration: index of the iteration.
        parts: ids of the configurations of each chunk, the one that tells most first, which is its order of
            running too; none is allowed, and leads straight to the collector.
        hooks: the user's functions; those of the selection are called first. Those of the labels are added
            by the collector, which knows when there are no more labels to come.
        follows: the collector in whose place that of this workflow comes.
        asked: what the job of each chunk asks for in place of what its category does; may be left out.
    """
    selected = calls(campaign, iteration, hooks, "select")
    label = [
        firework(
            "LabelChunk",
            f"label chunk {index} ({len(part)})",
            campaign,
            iteration,
            priority=priority,
            queueadapter=own,
            configurations=[str(configuration) for configuration in part],
        )
        for index, (part, priority, own) in enumerate(
            zip_longest(parts, descending("LabelChunk", len(parts)), asked)
        )
    ]
    # Without a chunk it waits for the user's functions, and for their success.
    fizzled = bool(label or not selected)
    collect = firework("CollectLabels", "collect labels", campaign, iteration, fizzled, follows=follows)
    return _workflow([*selected, label, [collect]], f"{campaign}.labelling", "label")


def verdict_workflow(
    campaign: str, iteration: int, hooks: Sequence[Hook], done: Container[int], **collector: Any
) -> Workflow | None:
    """Call the user's functions of the labels, then collect; None if all have been called.

    Args:
        campaign: name of the campaign.
        iteration: index of the iteration.
        hooks: the user's functions of all stages.
        done: indices of those that need no Firework.
        collector: parameters of the collector.
    """
    labelled = calls(campaign, iteration, hooks, "label", done=done)
    if not labelled:
        return None
    collect = firework("CollectLabels", "collect labels after the hooks", campaign, iteration, **collector)
    return _workflow([*labelled, [collect]], f"{campaign}.verdict", "verdict")


def final_workflow(
    campaign: str, iteration: int, members: int, together: bool = False, hooks: Sequence[Hook] = ()
) -> Workflow:
    """Train once more on everything, then write the campaign's results."""
    train = _training(campaign, iteration, members, together)
    finish = firework("FinishCampaign", "write the results", campaign, iteration)
    stages = [train, *calls(campaign, iteration, hooks, "train"), [finish]]
    return _workflow(stages, f"{campaign}.final", "final")
