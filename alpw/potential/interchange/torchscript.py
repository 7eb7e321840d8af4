"""A model as one TorchScript file, which `torch.jit.load` runs without ALPW, in Python or C++.

    energy, forces, virial, atomic_energies = module(positions, cell, types, i, j, shifts)

| argument | shape, type | meaning |
| --- | --- | --- |
| positions | (n_atoms, 3) float64 | Å |
| cell | (3, 3) float64 | rows are the cell vectors, Å; zeros without periodicity |
| types | (n_atoms,) int64 | index into ``module.elements()`` |
| i, j | (n_pairs,) int64 | each neighbour j of each centre i, so that every pair appears twice |
| shifts | (n_pairs, 3) float64 | r_ij = r_j - r_i + shifts @ cell |

The results are float64: energy () in eV, forces (n_atoms, 3) in eV/Å, virial (3, 3) in eV, positive under
compression, atomic energies (n_atoms,) in eV. Pairs beyond ``module.cutoff()`` Å add nothing. Equations: as
in `descriptor` and `model`; TorchScript derives forces by autograd.
"""

# Without `from __future__ import annotations`: TorchScript reads annotations as types, not as text.
from pathlib import Path

import torch
from torch import Tensor, nn

from alpw.errors import InputError
from alpw.files import write_atomically
from alpw.potential.interchange.deepmd_export import layers_of
from alpw.potential.model import DeepPotential
from alpw.potential.networks import ResidualLayer


class _Layer(nn.Module):
    """`ResidualLayer` with the activation and the missing ``idt`` spelt out, as TorchScript needs them."""

    w: Tensor
    b: Tensor
    idt: Tensor

    def __init__(self, layer: ResidualLayer, activation: str) -> None:
        super().__init__()
        self.activation = activation if layer.activation is not None else "none"
        self.copies = layer.copies
        self.register_buffer("w", layer.w.detach().clone())
        self.register_buffer("b", layer.b.detach().clone())
        self.register_buffer("idt", (torch.ones_like(layer.b) if layer.idt is None else layer.idt).detach())

    def forward(self, x: Tensor) -> Tensor:
        y = torch.addmm(self.b, x, self.w)
        if self.activation == "tanh":
            y = torch.tanh(y)
        elif self.activation == "gelu":
            y = torch.nn.functional.gelu(y, approximate="tanh")
        elif self.activation == "softplus":
            y = torch.nn.functional.softplus(y)
        elif self.activation == "sigmoid":
            y = torch.sigmoid(y)
        if self.copies == 1:
            return x + y * self.idt
        if self.copies == 2:
            return torch.cat((x, x), dim=1) + y * self.idt
        return y


class ScriptedPotential(nn.Module):
    """A Deep Potential in the part of Python that TorchScript compiles; weights are copied, not shared."""

    table: Tensor
    dstd: Tensor
    normaliser: Tensor
    energy_bias: Tensor

    def __init__(self, model: DeepPotential) -> None:
        super().__init__()
        config, descriptor = model.config, model.descriptor
        self.symbols = list(config.elements)
        self.rcut, self.rcut_smth = config.rcut, config.rcut_smth
        self.axis_neuron, self.n_columns = config.axis_neuron, config.neuron[-1]
        self.one_side, self.embedded = config.type_one_side, descriptor.type_vectors is not None
        self.n_types = len(config.elements)
        table = torch.zeros(self.n_types, 0, dtype=config.dtype)
        if descriptor.type_vectors is not None:
            table = descriptor.type_vectors.table.detach().clone()
        self.register_buffer("table", table)
        self.register_buffer("dstd", descriptor.dstd.detach().double())
        self.register_buffer("normaliser", descriptor.normaliser.detach().clone())
        self.register_buffer("energy_bias", model.energy_bias.detach().clone())
        self.embeddings, self.fitting = (
            nn.ModuleList(
                nn.Sequential(*(_Layer(layer, config.activation) for layer in layers_of(net))) for net in nets
            )
            for nets in (descriptor.embeddings, model.fitting)
        )

    @torch.jit.export
    def cutoff(self) -> float:
        """Å, that the neighbour list has to reach."""
        return self.rcut

    @torch.jit.export
    def elements(self) -> list[str]:
        """Chemical symbols in the order of the types."""
        return self.symbols

    def forward(
        self, positions: Tensor, cell: Tensor, types: Tensor, i: Tensor, j: Tensor, shifts: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Energy, forces, virial and atomic energies; see the module's table."""
        vectors = (positions[j] - positions[i] + torch.mm(shifts, cell)).detach()
        near = torch.nonzero((vectors * vectors).sum(1) < self.rcut * self.rcut).squeeze(1)
        i, j, vectors = i[near], j[near], vectors[near].requires_grad_(True)

        atomic_energies = self.atomic_energies(vectors, types, i, j)
        gradients = torch.autograd.grad([atomic_energies.sum()], [vectors], allow_unused=True)
        pulls = torch.zeros_like(vectors)
        gradient = gradients[0]
        if gradient is not None:
            pulls = gradient
        forces = torch.zeros_like(positions).index_add(0, i, pulls).index_add(0, j, -pulls)
        virial = -torch.mm(vectors.detach().t(), pulls)
        return atomic_energies.sum().detach(), forces, virial, atomic_energies.detach()

    def atomic_energies(self, vectors: Tensor, types: Tensor, i: Tensor, j: Tensor) -> Tensor:
        """eV, ``(n_atoms,)``, from pair vectors ``(n_pairs, 3)`` in Å."""
        r = torch.sqrt((vectors * vectors).sum(1, keepdim=True))
        u = ((r - self.rcut_smth) / (self.rcut - self.rcut_smth)).clamp(0.0, 1.0)
        s = (u * u * u * (u * (15.0 - 6.0 * u) - 10.0) + 1.0) / r
        rows = (torch.cat((s, s * vectors / r), dim=1) / self.dstd[types[i]]).to(self.table.dtype)

        columns = self.embedded_columns(rows[:, :1], types[i], types[j])
        moments = torch.zeros(len(types), 4 * self.n_columns, dtype=rows.dtype, device=rows.device)
        moments = moments.index_add(0, i, (rows[:, :, None] * columns[:, None, :]).flatten(1))
        moments = moments.view(-1, 4, self.n_columns) / self.normaliser
        inputs = torch.bmm(moments.transpose(1, 2), moments[:, :, : self.axis_neuron]).flatten(1)
        if self.embedded:
            inputs = torch.cat((inputs, self.table[types]), dim=1)

        energies = torch.zeros(len(types), 1, dtype=rows.dtype, device=rows.device)
        for kind, network in enumerate(self.fitting):
            atoms = torch.nonzero((types == kind) | self.embedded).squeeze(1)
            energies = energies.index_copy(0, atoms, network(inputs[atoms]))
        return energies.squeeze(1).double() + self.energy_bias[types]

    def embedded_columns(self, s: Tensor, centre: Tensor, neighbor: Tensor) -> Tensor:
        """G of the pairs ``(n_pairs, M)``; ``centre`` and ``neighbor`` are their types."""
        kind = neighbor if self.one_side else centre * self.n_types + neighbor
        if self.embedded:
            s = torch.cat((s, self.table[neighbor]), dim=1)
            if not self.one_side:
                s = torch.cat((s, self.table[centre]), dim=1)
        columns = torch.zeros(len(s), self.n_columns, dtype=s.dtype, device=s.device)
        for index, network in enumerate(self.embeddings):
            pairs = torch.nonzero((kind == index) | self.embedded).squeeze(1)
            columns = columns.index_copy(0, pairs, network(s[pairs]))
        return columns


def to_torchscript(model: DeepPotential, path: str | Path) -> None:
    """Write the model as TorchScript; a file at ``path`` is replaced in one step.

    Args:
        model: any variant, on any device; of a compressed one the networks are taken, not the tables.
        path: of the file, which `torch.jit.load` reads.

    Raises:
        InputError: an imported model that subtracts a mean.
    """
    if not model.config.set_davg_zero:
        raise InputError("found a mean (davg) in the descriptor; allowed: zero", key="model")
    scripted = torch.jit.script(ScriptedPotential(model).cpu().eval())
    write_atomically(path, scripted.save_to_buffer())
