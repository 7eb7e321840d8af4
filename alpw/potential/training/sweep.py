"""One evaluation of stacked models, and the gradients by the weights that training needs of it.

For a scalar L of energies, forces and virials, training needs dL/dw. Forces and virials are linear in
g = dE/dR~, so with e = dL/dE_i and v = dL/dg

    dL/dw = dS/dw,    S = Σ_i e_i E_i + Σ_pairs v·g,    Σ v·g = derivative of E along v

(Pearlmutter, Neural Comput. 6, 147 (1994)): values, derivatives along one direction, and one sweep back,
without a graph of the first derivatives. For the descriptor, with T = R~/N_c, C the embedded columns G(s),
C_s = dG/ds, A_< the first columns of A, and a prime for derivatives along v:

    A      = T^T C                               D  = A^T A_<
    A'     = T'^T C + (s' T)^T C_s               D' = A'^T A_< + A^T A'_<
    dE/dA  = A_< (dE/dD)^T + (A dE/dD)_<         dS/dA = the same of dS/dD, and of A' and dE/dD
    g      = C (dE/dA)^T / N_c, and T·C_s (dE/dA)^T for its first component
    dS/dC  = T dS/dA + T' dE/dA                  dS/dC_s = s' T dE/dA

The embedding net is a function of the single number s, so C_s goes along with C.
"""

from __future__ import annotations

import torch
from torch import Tensor

from alpw.potential.model import Evaluation
from alpw.potential.training.stacked import StackedBatch, StackedPotential


class Sweep:
    """Energies, forces and virials of all frames, ready to be differentiated by the weights.

    Args:
        potential: the models; one sweep at a time can be differentiated, and before the weights change.
        stacked: a batch for each.
        forces, virial: whether these are wanted; where not, they are zero. No virial without forces.
    """

    @torch.no_grad()
    def __init__(
        self,
        potential: StackedPotential,
        stacked: StackedBatch,
        *,
        forces: bool = True,
        virial: bool = True,
    ) -> None:
        self.potential, self.stacked, self.forces = potential, stacked, forces
        environment = stacked.batch.environment
        graph = environment.graph
        self.n_atoms, self.n_slots = environment.n_atoms, environment.n_slots
        # A type of one model is a type of its own.
        self.types = environment.types + stacked.model * potential.n_types
        statistics = potential.statistics[self.types[graph.i]]
        self.scale = statistics[:, :4]
        scaled = environment.rows / self.scale
        self.normaliser = statistics[:, 4:].to(potential.dtype)
        # Slots of the table (n_atoms, n_slots) that take a row of the embedding net; the slot after the
        # last takes the rows that only one pair asks for, and is not read.
        slots = torch.cat((environment.slot, environment.slot.new_full((1,), self.n_atoms * self.n_slots)))
        self.first_slot, self.second_slot = slots[stacked.first], slots[stacked.second]
        rows = torch.arange(len(stacked.first), device=slots.device)
        source = slots.new_zeros(self.n_atoms * self.n_slots + 1)
        source = source.index_copy_(0, self.first_slot, rows).index_copy_(0, self.second_slot, rows)
        self.source = source[:-1]

        self._embed(scaled[stacked.first, :1].to(potential.dtype))
        self.table = self._to_table(scaled.to(potential.dtype) / self.normaliser)
        atomic_energies = self._fit() + potential.energy_bias[self.types]
        energy = scaled.new_zeros(graph.n_frames).index_add_(0, graph.frame, atomic_energies)
        force, stress = scaled.new_zeros(self.n_atoms, 3), scaled.new_zeros(graph.n_frames, 9)
        if forces:
            pulls = environment.pull(self._energy_gradient() / self.scale)
            force.index_add_(0, graph.i, pulls).index_add_(0, graph.j, pulls, alpha=-1)
            if virial:
                outer = (graph.vectors[:, :, None] * pulls[:, None, :]).flatten(1)
                stress.index_add_(0, graph.frame[graph.i], outer, alpha=-1)
        self.evaluation = Evaluation(energy, force, stress.view(-1, 3, 3), atomic_energies)

    def _to_table(self, values: Tensor) -> Tensor:
        """``(n_pairs, n)`` to ``(n_atoms, n_slots, n)``, zero where there is no pair."""
        width = values.shape[1]
        table = values.new_zeros(self.n_atoms * self.n_slots, width)
        slot = self.stacked.batch.environment.slot
        return table.index_copy_(0, slot, values).view(self.n_atoms, self.n_slots, width)

    def _embed(self, s: Tensor) -> None:
        potential, first = self.potential, self.stacked.first
        inputs = s
        if potential.table is not None:
            graph = self.stacked.batch.graph
            self.ends = [self.types[graph.j[first]]]
            if not potential.type_one_side:
                self.ends.append(self.types[graph.i[first]])
            vectors = potential.table.flatten(0, 1)
            inputs = torch.cat((s, *(vectors[end] for end in self.ends)), dim=1)
        self.columns = self._from_rows(potential.embedding.values(self.stacked.pair_rows, inputs))
        if self.forces:
            along_s = torch.zeros_like(inputs)
            along_s[:, 0] = 1
            self.column_slopes = self._from_rows(potential.embedding.tangents(along_s))

    def _from_rows(self, values: Tensor) -> Tensor:
        # Slots without a pair take some row; they meet a zero in `table`.
        return values.index_select(0, self.source).view(self.n_atoms, self.n_slots, values.shape[1])

    def _fit(self) -> Tensor:
        """Atomic energies without bias, float64."""
        potential = self.potential
        self.moments = torch.bmm(self.table.transpose(1, 2), self.columns)
        descriptors = torch.bmm(self.moments.transpose(1, 2), self._axis(self.moments)).flatten(1)
        if potential.table is not None:
            descriptors = torch.cat((descriptors, potential.table.flatten(0, 1)[self.types]), dim=1)
        outputs = potential.fitting.values(self.stacked.atom_rows, self._to_fitting(descriptors))
        return self._from_fitting(outputs).squeeze(1).double()

    def _axis(self, moments: Tensor) -> Tensor:
        return moments[:, :, : self.potential.axis_neuron]

    def _to_fitting(self, values: Tensor) -> Tensor:
        order = self.stacked.atom_order
        return values if order is None else values.index_select(0, order)

    def _from_fitting(self, values: Tensor) -> Tensor:
        order = self.stacked.atom_order
        return values if order is None else torch.empty_like(values).index_copy_(0, order, values)

    def _by_descriptor(self, by_inputs: Tensor) -> Tensor:
        """``(n_atoms, M, M_<)`` of derivatives by the fitting nets' inputs, in the order of the atoms."""
        n, axis = self.potential.n_columns, self.potential.axis_neuron
        return by_inputs[:, : n * axis].reshape(self.n_atoms, n, axis)

    def _by_moments(self, moments: Tensor, by_descriptor: Tensor) -> Tensor:
        """A_< (dE/dD)^T + (A dE/dD)_<, ``(n_atoms, 4, M)``."""
        result = torch.bmm(self._axis(moments), by_descriptor.transpose(1, 2))
        self._axis(result).add_(torch.bmm(moments, by_descriptor))
        return result

    def _energy_gradient(self) -> Tensor:
        """g = dE/dR~, ``(n_pairs, 4)``, float64."""
        by_inputs = self.potential.fitting.cotangents(self.table.new_ones(self.n_atoms, 1))
        self.by_descriptor = self._by_descriptor(self._from_fitting(by_inputs))
        self.by_moments = self._by_moments(self.moments, self.by_descriptor)
        transposed = self.by_moments.transpose(1, 2)
        slot = self.stacked.batch.environment.slot
        gradient = torch.bmm(self.columns, transposed).flatten(0, 1).index_select(0, slot) / self.normaliser
        by_s = (torch.bmm(self.column_slopes, transposed) * self.table).sum(2).flatten()
        gradient[:, 0] += by_s.index_select(0, slot)
        return gradient.double()

    def _push(self, by_forces: Tensor | None, by_virial: Tensor | None) -> Tensor:
        """dL/dg ``(n_pairs, 4)`` from dL/dF and dL/dW: the transpose of `DeepPotential.pull`."""
        environment = self.stacked.batch.environment
        graph = environment.graph
        by_pulls = torch.zeros_like(graph.vectors)
        if by_forces is not None:
            by_pulls = by_forces.index_select(0, graph.i) - by_forces.index_select(0, graph.j)
        if by_virial is not None:
            by_pair = by_virial[graph.frame[graph.i]]
            by_pulls -= torch.bmm(graph.vectors[:, None, :], by_pair).squeeze(1)
        # The transpose of `Environment.pull`.
        q, slope, bend = environment.radial.split(1, dim=1)
        ones = torch.ones(3, 1, dtype=by_pulls.dtype, device=by_pulls.device)
        along = (graph.vectors * by_pulls) @ ones
        by_direction = torch.addcmul(q * by_pulls, bend * along, graph.vectors)
        return torch.cat((slope * along, by_direction), dim=1).div_(self.scale).to(self.potential.dtype)

    @torch.no_grad()
    def gradient(
        self, by_energy: Tensor, by_forces: Tensor | None = None, by_virial: Tensor | None = None
    ) -> list[Tensor]:
        """dL/dw in the order of `StackedPotential.weights`.

        Args:
            by_energy: dL/dE, ``(n_frames,)``, float64.
            by_forces: dL/dF, ``(n_atoms, 3)``, float64; None if L does not depend on them.
            by_virial: dL/dW, ``(n_frames, 3, 3)``, float64; None if L does not depend on it.
        """
        potential, frame = self.potential, self.stacked.batch.graph.frame
        by_atom = self._to_fitting(by_energy[frame].to(potential.dtype)[:, None])
        if by_forces is None and by_virial is None:
            by_inputs, fitting = potential.fitting.adjoints(by_atom)
            by_inputs = self._from_fitting(by_inputs)
            by_moments = self._by_moments(self.moments, self._by_descriptor(by_inputs))
            by_columns = self._to_rows((self.table, by_moments))
            by_row, embedding = potential.embedding.adjoints(by_columns)
        else:
            direction = self._push(by_forces, by_virial)
            table = self._to_table(direction / self.normaliser)
            s_table = self._to_table(direction[:, :1]) * self.table
            moments = torch.bmm(table.transpose(1, 2), self.columns)
            moments.baddbmm_(s_table.transpose(1, 2), self.column_slopes)
            potential.fitting.tangents(self._to_fitting(self._descriptor_tangents(moments)))
            by_inputs, fitting = potential.fitting.adjoints(by_atom, torch.ones_like(by_atom))
            by_inputs = self._from_fitting(by_inputs)
            by_moments = self._by_moments(self.moments, self._by_descriptor(by_inputs))
            by_moments += self._by_moments(moments, self.by_descriptor)
            by_columns = self._to_rows((self.table, by_moments), (table, self.by_moments))
            by_slopes = self._to_rows((s_table, self.by_moments))
            by_row, embedding = potential.embedding.adjoints(by_columns, by_slopes)
        if potential.table is None or not potential.trains_table:
            return [*embedding, *fitting]
        return [self._by_type_vectors(potential.table, by_row, by_inputs), *embedding, *fitting]

    def _descriptor_tangents(self, moments: Tensor) -> Tensor:
        """D' of A', with the derivatives of the type vectors, which are zero."""
        result = torch.bmm(moments.transpose(1, 2), self._axis(self.moments))
        result = result.baddbmm_(self.moments.transpose(1, 2), self._axis(moments)).flatten(1)
        if self.potential.table is None:
            return result
        return torch.nn.functional.pad(result, (0, self.potential.table.shape[2]))

    def _to_rows(self, *products: tuple[Tensor, Tensor]) -> Tensor:
        """Σ a b over slots, and for each row of the embedding nets the sum over its slots."""
        width = products[0][1].shape[2]
        padded = self.table.new_empty(self.n_atoms * self.n_slots + 1, width)
        padded[-1] = 0
        total = padded[:-1].view(self.n_atoms, self.n_slots, width)
        torch.bmm(*products[0], out=total)
        for a, b in products[1:]:
            total.baddbmm_(a, b)
        return padded.index_select(0, self.first_slot).add_(padded.index_select(0, self.second_slot))

    def _by_type_vectors(self, table: Tensor, by_row: Tensor, by_inputs: Tensor) -> Tensor:
        """Gradient by the type vectors, through both kinds of net; ``(n_models, n_types, dim)``."""
        width = table.shape[2]
        total = torch.zeros_like(table).flatten(0, 1).index_add_(0, self.types, by_inputs[:, -width:])
        for number, end in enumerate(self.ends):
            total.index_add_(0, end, by_row[:, 1 + number * width : 1 + (number + 1) * width])
        return total.view_as(table)
