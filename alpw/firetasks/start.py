"""Start a campaign from the LaunchPad, without the supervising command."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from fireworks import FiretaskBase, FWAction, explicit_serialize

from alpw.config import load_init_inputs, load_inputs
from alpw.errors import InputError
from alpw.workflows.check import check_inputs
from alpw.workflows.check_init import check_init
from alpw.workflows.launch import start_campaign
from alpw.workflows.launch_init import start_init

logger = logging.getLogger(__name__)


@explicit_serialize
class StartCampaign(FiretaskBase):
    """Validate the two input files and add the campaign's first workflow.

    Required parameters:
        param: path of param.json.
        resource: path of resource.json.
    """

    required_params: ClassVar = ["param", "resource"]
    steps: ClassVar[tuple[Callable[..., Any], ...]] = (load_inputs, check_inputs, start_campaign)

    def run_task(self, fw_spec: dict[str, Any]) -> FWAction:
        """Read, check, then create or continue the campaign."""
        load, check, start = self.steps
        param, resource = load(_find(self["param"]), _find(self["resource"]))
        check(param, resource)
        for remark in (*param.notes, *resource.notes):
            logger.warning("%s", remark)
        created = start(self.launchpad, param, resource)
        return FWAction(stored_data={"campaign": param.campaign, "created": created})


@explicit_serialize
class StartInitBulk(StartCampaign):
    """Validate the two input files of init_bulk and add the workflows of its start structures.

    Required parameters:
        param: path of init_param.json.
        resource: path of resource.json.
    """

    steps: ClassVar[tuple[Callable[..., Any], ...]] = (load_init_inputs, check_init, start_init)


def _find(name: str) -> Path:
    """An input file by absolute path, or by a path relative to the launch folder or a folder above it.

    ``rlaunch rapidfire`` runs a Firework in a new folder below the one in which it was started.
    """
    path = Path(name).expanduser()
    if path.is_absolute():
        return path
    for folder in (Path.cwd(), *Path.cwd().parents):
        if (folder / path).is_file():
            return folder / path
    raise InputError(f"not found in {Path.cwd()} or in a folder above it; give an absolute path", name)
