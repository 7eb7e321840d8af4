"""Make the structures of the initial data set and have them labelled."""

from __future__ import annotations

from fireworks import FWAction, explicit_serialize

from alpw.database import configurations
from alpw.database.configurations import Role
from alpw.errors import AlpwError
from alpw.firetasks.base import CampaignTask, Context
from alpw.firetasks.spawn import label_once
from alpw.structures.generate import generate_initial
from alpw.workflows.launch import start_structures


@explicit_serialize
class GenerateStructures(CampaignTask):
    """Scaled and perturbed copies of the start structures become the first candidates."""

    def work(self, context: Context) -> FWAction:
        """Generate, propose, append the label chunks."""
        initial = context.param.initial
        if initial is None:
            raise AlpwError(f"campaign '{context.campaign}' has no block 'initial'")
        starts = start_structures(context.db, context.iteration["inputs"])
        wanted = [
            (index, atoms)
            for index, atoms in enumerate(starts)
            if context.iteration["inputs"]["starts"][index]["entry"] in initial.sys_idx
        ]
        proposed = [
            configurations.propose(
                context.db,
                context.campaign,
                context.index,
                f"initial/{index}/{number}",
                structure.atoms,
                Role.TRAIN,
                {"start": index, **structure.operations},
            )
            for index, atoms in wanted
            for number, structure in enumerate(
                generate_initial(
                    atoms,
                    copies=initial.perturb,
                    scales=initial.scale,
                    cell_fraction=initial.cell_pert_fraction,
                    distance=initial.atom_pert_distance,
                    seed=context.param.seed,
                    name=str(index),
                )
            )
        ]
        return label_once(context, proposed)
