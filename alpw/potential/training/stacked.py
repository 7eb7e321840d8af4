"""Several models of one architecture as one set of tensors, and batches of frames for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from alpw.errors import InputError
from alpw.potential.dataset import Batch, join
from alpw.potential.model import DeepPotential
from alpw.potential.networks import ResidualLayer
from alpw.potential.training.grouped import GroupedLayer, GroupedNetwork, Rows
from alpw.potential.training.shared_rows import SharedRows, join_rows, shared_rows


@dataclass(frozen=True)
class Frame:
    """A labelled frame, prepared for `StackedPotential`."""

    batch: Batch
    rows: SharedRows


@dataclass(frozen=True)
class StackedBatch:
    """One batch of frames for each model.

    Attributes:
        batch: all frames, those of the first model first.
        first, second: the pairs that a row of the embedding nets stands for, see `join_rows`.
        pair_rows, atom_rows: rows of the embedding and fitting nets, by net and then by model.
        atom_order: the atoms in the order of the fitting nets; None if it is their own.
        model: of each atom, ``(n_atoms,)``.
        n_frames, n_atoms: of each model.
    """

    batch: Batch
    first: Tensor
    second: Tensor
    pair_rows: Rows
    atom_rows: Rows
    atom_order: Tensor | None
    model: Tensor
    n_frames: tuple[int, ...]
    n_atoms: tuple[int, ...]


class StackedPotential:
    """The weights of several models as one.

    Args:
        models: of one architecture, on one device. They keep their own weights, see `write`.

    Raises:
        InputError: models that differ in more than their seed.
    """

    def __init__(self, models: Sequence[DeepPotential]) -> None:
        check_architecture(models)
        model = models[0]
        self.n_models, self.n_types = len(models), len(model.config.elements)
        self.axis_neuron, self.n_columns = model.descriptor.axis_neuron, model.descriptor.n_columns
        self.dtype, self.type_one_side = model.config.dtype, model.config.type_one_side
        self.n_embeddings, self.n_fittings = len(model.descriptor.embeddings), len(model.fitting)
        self.embedding = _stacked_network([list(m.descriptor.embeddings) for m in models])
        self.fitting = _stacked_network([list(m.fitting) for m in models])
        tables = [m.descriptor.type_vectors for m in models]
        self.table: Tensor | None = None
        if all(table is not None for table in tables):
            self.table = torch.stack([table.table.detach() for table in tables if table is not None])
        self.trains_table = model.config.type_embedding == "learned"
        # For each model and type: four components of σ, and N_c.
        self.statistics = torch.cat([_statistics(m) for m in models])
        self.energy_bias = torch.cat([m.energy_bias for m in models])

    @property
    def weights(self) -> list[Tensor]:
        """Each with the networks, and within those the models, in its first dimension."""
        networks = [*self.embedding.weights, *self.fitting.weights]
        return [self.table, *networks] if self.trains_table and self.table is not None else networks

    def of_model(self, tensors: Sequence[Tensor], index: int) -> list[Tensor]:
        """Views of ``tensors`` shaped like `weights`, in the order of the model's `parameters`."""
        rest = list(tensors)
        views = [rest.pop(0)[index]] if self.trains_table else []
        n_embedding = len(self.embedding.weights)
        for part, n_nets in ((rest[:n_embedding], self.n_embeddings), (rest[n_embedding:], self.n_fittings)):
            views += [tensor[net * self.n_models + index] for net in range(n_nets) for tensor in part]
        return views

    @torch.no_grad()
    def write(self, models: Sequence[DeepPotential]) -> None:
        """Copy the weights into ``models``."""
        for index, model in enumerate(models):
            for weight, value in zip(model.parameters(), self.of_model(self.weights, index), strict=True):
                weight.copy_(value)

    def frame(self, batch: Batch) -> Frame:
        """What a batch of one frame needs once, for all steps and models."""
        return Frame(batch, shared_rows(batch.environment, self.n_embeddings))

    def join(self, frames: Sequence[Sequence[Frame]]) -> StackedBatch:
        """One batch for all models from the ``frames`` of each."""
        flat = [frame for of_model in frames for frame in of_model]
        environments = [frame.batch.environment for frame in flat]
        first, second = join_rows([frame.rows for frame in flat], [len(e.graph.i) for e in environments])
        batch = join([frame.batch for frame in flat])
        n_atoms = tuple(sum(frame.batch.graph.n_atoms for frame in of_model) for of_model in frames)
        pair_sizes = [
            sum(len(frame.rows.first[net]) for frame in of_model)
            for net in range(self.n_embeddings)
            for of_model in frames
        ]
        atom_sizes = n_atoms
        atom_order = None
        if self.n_fittings > 1:
            atom_order = torch.cat(batch.environment.atoms_of)
            atom_sizes = tuple(
                sum(len(frame.batch.environment.atoms_of[net]) for frame in of_model)
                for net in range(self.n_fittings)
                for of_model in frames
            )
        return StackedBatch(
            batch=batch,
            first=first,
            second=second,
            pair_rows=Rows(tuple(pair_sizes)),
            atom_rows=Rows(atom_sizes),
            atom_order=atom_order,
            model=torch.repeat_interleave(
                torch.arange(self.n_models, device=first.device),
                torch.tensor(n_atoms, device=first.device),
                output_size=sum(n_atoms),
            ),
            n_frames=tuple(len(of_model) for of_model in frames),
            n_atoms=n_atoms,
        )


def check_architecture(models: Sequence[DeepPotential]) -> None:
    """Raise InputError if the models differ in more than their seed, or if one cannot be trained."""
    first = models[0].config
    for index, model in enumerate(models):
        different = [
            key for key, value in vars(model.config).items() if key != "seed" and value != getattr(first, key)
        ]
        if different:
            key = different[0]
            raise InputError(
                f"member {index} has {getattr(model.config, key)!r}, member 0 has "
                f"{getattr(first, key)!r}; members of a committee differ in their seed only",
                key=key,
            )
        if model.tables is not None:
            raise InputError(f"member {index} is compressed; train its uncompressed parent", key="models")
        if not model.config.set_davg_zero:
            raise InputError(
                f"member {index} subtracts a mean (davg), as imported models do; train such members "
                "one by one",
                key="models",
            )


def _stacked_network(nets: Sequence[Sequence[torch.nn.Module]]) -> GroupedNetwork:
    """``nets[model][net]`` side by side, by net and then by model."""
    ordered = [of_model[net] for net in range(len(nets[0])) for of_model in nets]
    return GroupedNetwork([_stacked_layer(layers) for layers in zip(*ordered, strict=True)])


def _stacked_layer(layers: Sequence[ResidualLayer]) -> GroupedLayer:
    first = layers[0]
    steps = [layer.idt.detach() for layer in layers if layer.idt is not None]
    return GroupedLayer(
        w=torch.stack([layer.w.detach() for layer in layers]),
        b=torch.stack([layer.b.detach() for layer in layers]),
        idt=torch.stack(steps) if steps else None,
        activation=first.activation,
        copies=first.copies,
    )


def _statistics(model: DeepPotential) -> Tensor:
    dstd = model.descriptor.dstd.double()
    return torch.cat((dstd, model.descriptor.normaliser.double().expand(len(dstd), 1)), dim=1)
