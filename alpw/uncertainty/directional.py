"""How energy and forces change along directions in the space of weights, to first order.

The directions are carried forward through the networks and back again (see `alpw.uncertainty.tangents`), all
at once and for all atoms, so that a direction costs about as much as a force call and nothing is differenced.
"""

from __future__ import annotations

import torch
from torch import Tensor

from alpw.uncertainty.jacobian import Table
from alpw.uncertainty.linearised import Linearised, Part, layer_changes

# What the intermediate tensors of one chunk of directions may take.
CHUNK_BYTES = 2**25


@torch.no_grad()
def along_weights(state: Linearised, draws: Tensor) -> tuple[Tensor, Tensor]:
    """Change of energy and forces along directions in weight space, to first order.

    Args:
        state: the model at the structure.
        draws: ``(K, n_weights)`` in flat order.

    Returns:
        dE ``(K,)`` in eV and dF ``(K, n_atoms, 3)`` in eV/Å.
    """
    floats = len(state.rows) * state.columns.shape[1] * 8 + state.by_descriptor.numel() * 4
    step = max(1, CHUNK_BYTES // (floats * state.rows.element_size()))
    parts = [_along(state, chunk.to(state.rows)) for chunk in draws.split(step)]
    return torch.cat([energy for energy, _ in parts]), torch.cat([forces for _, forces in parts])


def _along(state: Linearised, draws: Tensor) -> tuple[Tensor, Tensor]:
    environment, graph, n_draws = state.environment, state.environment.graph, len(draws)
    centre = graph.i
    dvectors = None
    if state.vector_table is not None:
        n_types, length = state.vector_table
        dvectors = draws[:, : n_types * length].view(-1, length, n_types).permute(2, 0, 1)

    def dinput(part: Part) -> Tensor | None:
        if dvectors is None:
            return None
        change = draws.new_zeros(len(part.rows), n_draws, part.tape.layers[0].x.shape[1])
        for first, kind in part.vectors:
            change[:, :, first : first + dvectors.shape[2]] = dvectors[kind]
        return change

    embeddings = []
    dcolumns = draws.new_zeros(len(state.rows), n_draws, state.columns.shape[1])
    for part in state.embeddings:
        changes = layer_changes(draws, part.tape, part.offset)
        pushed, dcolumns[part.rows] = part.tape.push(dinput(part), changes)
        embeddings.append((part, changes, pushed))

    table = Table(environment.n_atoms, environment.n_slots, environment.slot)
    rows, dcolumns = table.fill(state.rows), table.fill(dcolumns)
    dmoments = rows.transpose(1, 2) @ dcolumns.flatten(2)
    dmoments = dmoments.view(len(dmoments), 4, n_draws, -1).transpose(1, 2) / state.normaliser
    every = torch.arange(environment.n_atoms, device=draws.device)
    ddescriptor = state.descriptor_change(every, dmoments)
    width = ddescriptor.shape[2]
    dby = torch.zeros_like(ddescriptor)
    denergy = torch.zeros(n_draws, dtype=torch.float64, device=draws.device)
    for part in state.fittings:
        changes = layer_changes(draws, part.tape, part.offset)
        dx = dinput(part)
        if dx is None and part.vectors:
            dx = draws.new_zeros(len(part.rows), n_draws, part.tape.layers[0].x.shape[1])
        if dx is None:
            dx = ddescriptor[part.rows]
        else:
            dx[:, :, :width] = ddescriptor[part.rows]
        pushed, denergies = part.tape.push(dx, changes)
        denergy += denergies.sum((0, 2), dtype=torch.float64)
        _, dx_bar = part.tape.pull_change(None, part.pulled, pushed, changes)
        dby[part.rows] = dx_bar[:, :, :width]
    dby_moments = state.by_moments_change(every, dmoments, dby.unflatten(2, state.by_descriptor.shape[1:]))

    # Change of dE/dR~ and of dE/dG, for the places of the table.
    wide = dby_moments.permute(0, 2, 1, 3).flatten(2)
    dseed = (rows @ wide).view(-1, n_draws, state.columns.shape[1])
    tall = dby_moments.permute(0, 3, 1, 2).flatten(2)
    dgradient = (table.fill(state.columns) @ tall).view(-1, n_draws, 4)
    dgradient += (dcolumns.flatten(1, 2) @ state.by_moments.transpose(1, 2)).view(-1, n_draws, 4)
    dgradient = dgradient[table.place]
    for part, changes, pushed in embeddings:
        _, dx_bar = part.tape.pull_change(dseed[table.place[part.rows]], part.pulled, pushed, changes)
        dgradient[part.rows, :, 0] += dx_bar[:, :, 0]
    pulls = (dgradient @ state.turns.transpose(1, 2)).double()
    forces = torch.zeros(environment.n_atoms, n_draws, 3, dtype=torch.float64, device=draws.device)
    forces.index_add_(0, centre, pulls).index_add_(0, graph.j, pulls, alpha=-1)
    return denergy, forces.transpose(0, 1)
