"""What SLURM would say to the jobs of a campaign, before there are any."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fireworks.utilities.fw_serializers import load_object

from alpw.cluster import slurm
from alpw.cluster.queue.files import qadapter, queue_blocks
from alpw.config.param import Param
from alpw.config.resource import Resource, ResourceBlock
from alpw.errors import InputError
from alpw.findings import Finding, Severity


def script_findings(param: Param, resource: Resource) -> Iterator[Finding]:
    """Show SLURM the job script of each block with a queue; nothing is submitted or written."""
    for category, block in queue_blocks(resource).items():
        subject, queue = f"queue {category}", f"queue_name '{block.queue_name}'"
        try:
            reason = slurm.refusal(job_script(param, category, block))
        except InputError as error:
            yield Finding(subject, Severity.FAIL, f"{resource.file}: {category}: {error}")
            continue
        if reason is None:
            yield Finding(subject, Severity.OK, f"SLURM takes jobs for {queue}")
        elif slurm.is_final(reason):
            text = f"{resource.file}: {category}: SLURM takes no job for {queue}: {reason}"
            yield Finding(subject, Severity.FAIL, text)
        else:
            yield Finding(subject, Severity.WARN, f"SLURM takes no job for {queue} now: {reason}")


def job_script(param: Param, category: str, block: ResourceBlock) -> str:
    """The script of one job of a block, as it will be submitted, from FireWorks' own template."""
    folder: Path = param.work_dir / "queue"
    content = qadapter(
        category, block, folder / "my_launchpad.yaml", folder / f"my_fworker_{category}.yaml", folder
    )
    return str(load_object(content).get_script_str(str(param.work_dir / "launches")))
