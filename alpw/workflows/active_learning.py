"""The workflows of a campaign: preparation, one per iteration, labelling, and the final training.

One small workflow per iteration, because FireWorks rewrites a whole workflow document at every checkout
and completion. Specs carry names and ids, never arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fireworks import Firework, Workflow

from alpw.workflows.firework import build
from alpw.workflows.plan import chunks


def firework(
    task: str, title: str, campaign: str, iteration: int, fizzled_parents: bool = False, **parameters: Any
) -> Firework:
    """One Firework of an iteration; see :func:`alpw.workflows.firework.build`."""
    stage = "prepare" if iteration < 0 else f"{iteration:04d}"
    identity = {"campaign": campaign, "iteration": iteration}
    return build(task, f"{campaign}.{stage}: {title}", identity, fizzled_parents, **parameters)


def _workflow(
    fireworks: list[Firework], links: dict[Firework, list[Firework]], name: str, kind: str
) -> Workflow:
    spec = fireworks[0].spec
    metadata = {"campaign": spec["campaign"], "iteration": spec["iteration"], "kind": kind}
    return Workflow(fireworks, links, name=name, metadata=metadata)


def preparation_workflow(campaign: str, iteration: int) -> Workflow:
    """Generate the first structures; labelling is appended by the Firetask itself."""
    generate = firework("GenerateStructures", "generate structures", campaign, iteration)
    return _workflow([generate], {}, f"{campaign}.prepare", "prepare")


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
    trajectories: Sequence[str],
    group_size: int,
    together: bool = False,
) -> Workflow:
    """Train the committee, explore with it, select; labelling is appended by the selection.

    A trajectory that failed must not hold up the others, so the selection accepts fizzled parents.
    """
    train = _training(campaign, iteration, members, together)
    explore = [
        firework(
            "ExploreTrajectories",
            f"explore {keys[0]}" + (f" and {len(keys) - 1} more" if len(keys) > 1 else ""),
            campaign,
            iteration,
            trajectories=keys,
        )
        for keys in chunks(list(trajectories), group_size)
    ]
    select = firework("SelectCandidates", "select candidates", campaign, iteration, fizzled_parents=True)
    links: dict[Firework, list[Firework]] = dict.fromkeys(train, explore)
    links |= {run: [select] for run in explore}
    return _workflow([*train, *explore, select], links, f"{campaign}.{iteration:04d}", "explore")


def labelling_workflow(
    campaign: str, iteration: int, configurations: Sequence[Any], group_size: int
) -> Workflow:
    """Label configurations in chunks, then collect whatever came of it.

    Args:
        campaign: name of the campaign.
        iteration: index of the iteration.
        configurations: ids of the configurations; none is allowed, and leads straight to the collector.
        group_size: configurations per Firework, -1 for all in one.
    """
    parts = chunks([str(configuration) for configuration in configurations], group_size)
    label = [
        firework("LabelChunk", f"label chunk {index} ({len(part)})", campaign, iteration, configurations=part)
        for index, part in enumerate(parts)
    ]
    collect = firework("CollectLabels", "collect labels", campaign, iteration, fizzled_parents=True)
    links = {chunk: [collect] for chunk in label}
    return _workflow([*label, collect], links, f"{campaign}.labelling", "label")


def final_workflow(campaign: str, iteration: int, members: int, together: bool = False) -> Workflow:
    """Train once more on everything, then write the campaign's results."""
    train = _training(campaign, iteration, members, together)
    finish = firework("FinishCampaign", "write the results", campaign, iteration)
    return _workflow([*train, finish], {member: [finish] for member in train}, f"{campaign}.final", "final")
