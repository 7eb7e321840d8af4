"""The Deep Potential: energy, forces and virial of a structure.

    E    = Σ_i ( Fitting[t_i](D_i) + bias[t_i] )
    F_i  = -dE/dr_i    =  Σ_pairs(i,.) g - Σ_pairs(.,i) g,     g = dE/dr_ij
    W_ab = -dE/dε_ab   = -Σ_pairs (r_ij)_a g_b

(Zeng et al., J. Chem. Phys. 159, 054801 (2023)). One backward pass to the environment matrix and its
derivatives in closed form give g, hence forces and virial at once.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from alpw.errors import AlpwError, InputError
from alpw.files import write_atomically
from alpw.potential.checkpoint import pack, unpack
from alpw.potential.config import ACTIVATIONS, DeepPotentialConfig
from alpw.potential.descriptor import SmoothDescriptor
from alpw.potential.environment import Environment, build_environment, fill_slots
from alpw.potential.neighbors import Graph, NeighborList
from alpw.potential.networks import residual_network
from alpw.potential.tables import EmbeddingTables, TableOptions

# Arrays of so many pairs and 25 columns in float64 take 2.4 MB. Measured: with a third of it, the number of
# calls costs more than the cache saves; the arrays of a hundred thousand pairs take twice the time per pair.
PAIRS_PER_PIECE = 12000


@dataclass(frozen=True)
class Prediction:
    """What a model says about one structure, float64.

    Attributes:
        energy: eV.
        forces: ``(n_atoms, 3)`` in eV/Å.
        virial: ``(3, 3)`` in eV, positive under compression.
        atomic_energies: ``(n_atoms,)`` in eV; their sum is the energy.
    """

    energy: float
    forces: NDArray[np.float64]
    virial: NDArray[np.float64]
    atomic_energies: NDArray[np.float64]


class Evaluation(NamedTuple):
    """What a model says about the frames of a graph, as float64 tensors on the model's device.

    Shapes: energy ``(n_frames,)``, forces ``(n_atoms, 3)``, virial ``(n_frames, 3, 3)``, atomic energies
    ``(n_atoms,)``.
    """

    energy: Tensor
    forces: Tensor
    virial: Tensor
    atomic_energies: Tensor


class DeepPotential(nn.Module):
    """A Deep Potential in one of its variants: `se_e2_a`, or with type vectors; either may be compressed.

    Args:
        config: the architecture. Weights are drawn from its seed; the normalisation (`descriptor.dstd`,
            `descriptor.sel`, `descriptor.normaliser`) and the energy bias are set by training.
    """

    energy_bias: Tensor

    def __init__(self, config: DeepPotentialConfig) -> None:
        super().__init__()
        self.config = config
        rng = torch.Generator().manual_seed(config.seed)
        self.descriptor = SmoothDescriptor(config, rng)
        self.fitting = nn.ModuleList(
            residual_network(
                (self.descriptor.width, *config.fitting_neuron),
                activation=ACTIVATIONS[config.activation],
                resnet_dt=config.resnet_dt,
                dtype=config.dtype,
                rng=rng,
                n_out=1,
            )
            for _ in range(1 if config.type_embedding else len(config.elements))
        )
        self.register_buffer("energy_bias", torch.zeros(len(config.elements), dtype=torch.float64))
        self._type_of = torch.full((len(chemical_symbols),), -1, dtype=torch.int64)
        known = [atomic_numbers[symbol] for symbol in config.elements]
        self._type_of[known] = torch.arange(len(config.elements))

    @property
    def tables(self) -> EmbeddingTables | None:
        """What stands in for the embedding nets of a compressed model."""
        return self.descriptor.tables

    def tabulated(self, options: TableOptions) -> DeepPotential:
        """A compressed copy; its weights are frozen, since the tables would not follow them.

        `compression.compress` makes one and measures its error.
        """
        model = copy.deepcopy(self).requires_grad_(False)
        model.descriptor.tabulate(options)
        return model

    def parent(self) -> DeepPotential:
        """The uncompressed model, with weights that can be trained; itself if it is not compressed."""
        if self.tables is None:
            return self
        model = DeepPotential(self.config).to(self.device)
        model.load_state_dict(self.state_dict())
        return model

    @property
    def device(self) -> torch.device:
        return self.energy_bias.device

    def types(self, numbers: Tensor) -> Tensor:
        """Type index of each atomic number, ``(n_atoms,)``.

        Raises:
            InputError: an element that the model does not know.
        """
        types = self._type_of.to(numbers.device)[numbers]
        if bool((types < 0).any()):
            unknown = sorted({chemical_symbols[number] for number in numbers[types < 0].tolist()})
            known = ", ".join(self.config.elements)
            raise InputError(f"element {', '.join(unknown)} is not one of the model's {known}")
        return types

    def environment(self, graph: Graph) -> Environment:
        """What the networks read of ``graph``, on the model's device; it stays valid when weights change.

        Raises:
            InputError: an unknown element, a graph whose cutoff is too short for the model, or more
                neighbours than the slots of an imported model.
        """
        if graph.cutoff < self.config.rcut:
            raise InputError(f"the graph ends at {graph.cutoff} Å; the model needs {self.config.rcut} Å")
        environment = build_environment(
            graph,
            self.types(graph.numbers),
            n_types=len(self.config.elements),
            type_one_side=self.config.type_one_side,
            rcut_smth=self.config.rcut_smth,
            rcut=self.config.rcut,
        ).to(self.device)
        if self.config.set_davg_zero:
            return environment
        return fill_slots(environment, self.descriptor.sel, type_one_side=self.config.type_one_side)

    def reads_like(self, other: DeepPotential) -> bool:
        """Whether an `environment` of one model is that of the other."""
        names = ["elements", "rcut", "rcut_smth", "type_one_side", "set_davg_zero"]
        # Of models with a mean, the empty slots are a part of it.
        names += [] if self.config.set_davg_zero else ["sel"]
        return all(getattr(self.config, name) == getattr(other.config, name) for name in names)

    def scaled(self, environment: Environment) -> Tensor:
        """R~ = (R - μ) / σ in the model's precision, ``(n_pairs, 4)``: what `forward` takes."""
        rows = environment.rows
        if not self.config.set_davg_zero:
            rows = rows - self.descriptor.davg.double()[environment.types[environment.graph.i]]
        return (rows / self._scale(environment)).to(self.descriptor.dstd.dtype)

    def _scale(self, environment: Environment) -> Tensor:
        """σ of the centre of each pair; one row for all pairs if there is only one type."""
        scale = self.descriptor.dstd.double()
        if len(scale) == 1:
            return scale
        return scale.index_select(0, environment.types.index_select(0, environment.graph.i))

    def forward(self, environment: Environment, scaled: Tensor) -> Tensor:
        """Atomic energies in eV, float64, ``(n_atoms,)``.

        A pure function of weights and R~, for `torch.func` too: no size is read back from the device.
        """
        descriptors = self.descriptor(environment, scaled)
        if len(self.fitting) == 1:
            energies = self.fitting[0](descriptors)
        else:
            groups = zip(self.fitting, environment.atoms_of, strict=True)
            parts = [fitting(descriptors.index_select(0, atoms)) for fitting, atoms in groups]
            energies = torch.empty_like(descriptors[:, :1]).index_copy(
                0, torch.cat(environment.atoms_of), torch.cat(parts)
            )
        # In float64: the bias of one atom is often 1e3 eV and more, where float32 resolves 1e-4 eV.
        return energies.squeeze(1).double() + self.energy_bias[environment.types]

    def pull(self, environment: Environment, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Forces ``(n_atoms, 3)`` and virials ``(n_frames, 3, 3)`` from dE/dR~ ``(n_pairs, 4)``, linearly."""
        graph = environment.graph
        # By the chain rule from R~ to R to r_ij: dE/dr_ij, (n_pairs, 3).
        pulls = environment.pull(gradient.double() / self._scale(environment))
        forces = torch.zeros(graph.n_atoms, 3, dtype=torch.float64, device=pulls.device)
        # Not with alpha=-1, which takes ten times as long as a sum of negative numbers.
        forces = forces.index_add(0, graph.i, pulls).index_add(0, graph.j, -pulls)
        if graph.n_frames == 1:
            return forces, -(graph.vectors.T @ pulls)[None]
        pair_virials = (-graph.vectors[:, :, None] * pulls[:, None, :]).flatten(1)
        virial = torch.zeros(graph.n_frames, 9, dtype=torch.float64, device=pulls.device)
        return forces, virial.index_add(0, graph.frame[graph.i], pair_virials).view(-1, 3, 3)

    def evaluate(self, frames: Graph | Environment, *, create_graph: bool = False) -> Evaluation:
        """Energy, forces and virial of each frame.

        Args:
            frames: a graph, or its `environment` if that is at hand.
            create_graph: keep the results differentiable with respect to the weights, for training.

        Raises:
            InputError: an unknown element, or a graph whose cutoff is too short for the model.
            AlpwError: `create_graph` of a compressed model.
        """
        if create_graph and self.tables is not None:
            raise AlpwError("a compressed model has no derivatives by its weights; take its parent()")
        environment = self.environment(frames) if isinstance(frames, Graph) else frames
        atomic_energies, gradient = self._energies_and_gradient(environment, create_graph)
        forces, virial = self.pull(environment, gradient)
        energy = torch.zeros(environment.graph.n_frames, dtype=torch.float64, device=forces.device)
        energy = energy.index_add(0, environment.graph.frame, atomic_energies)
        return Evaluation(energy, forces, virial, atomic_energies)

    def _energies_and_gradient(self, environment: Environment, create_graph: bool) -> tuple[Tensor, Tensor]:
        scaled = self.scaled(environment)
        # A processor works fastest on arrays that fit its cache, a GPU on large ones.
        whole = create_graph or scaled.device.type != "cpu"
        # Tables leave fewer arrays behind than the layers of a network.
        size = PAIRS_PER_PIECE if self.tables is None else 2 * PAIRS_PER_PIECE
        parts = [(slice(None), environment)] if whole else environment.pieces(size)
        energies: list[Tensor] = []
        gradients: list[Tensor] = []
        for pairs, part in parts:
            rows = scaled[pairs].requires_grad_()
            with torch.enable_grad():
                atomic = self(part, rows)
                gradients += torch.autograd.grad(atomic.sum(), rows, create_graph=create_graph)
            energies.append(atomic if create_graph else atomic.detach())
        return torch.cat(energies), torch.cat(gradients)

    def neighbors(self, atoms: Atoms, skin: float = 0.0) -> NeighborList:
        """The pair list of ``atoms`` that `energy_forces_virial` takes, with ``skin`` Å to spare.

        Raises:
            InputError: an unknown element, or a structure without a meaning (see `NeighborList.build`).
        """
        self.types(torch.as_tensor(atoms.numbers, dtype=torch.int64))
        return NeighborList.build(atoms, self.config.rcut, skin)

    def energy_forces_virial(
        self, neighbors: NeighborList, positions: ArrayLike | None = None, cell: ArrayLike | None = None
    ) -> Prediction:
        """Evaluate a structure on a pair list from an earlier step: the inner loop of molecular dynamics.

        Args:
            neighbors: a list that still `covers` the structure; the caller rebuilds it when it does not.
            positions: ``(n_atoms, 3)`` in Å, wrapped or not; None for those the list was built from.
            cell: ``(3, 3)`` in Å; None if it has not changed.

        Raises:
            AlpwError: a result that is not finite, as when two atoms coincide.
        """
        return self.predict_graph(neighbors.graph(positions, cell))

    def predict_graph(self, frame: Graph | Environment) -> Prediction:
        """`evaluate` for one frame, as NumPy arrays; several models can share its graph or environment.

        Raises:
            AlpwError: a result that is not finite, as when two atoms coincide.
        """
        result = self.evaluate(frame)
        energy, forces, virial, atomic_energies = (tensor.detach().cpu().numpy() for tensor in result)
        if not (np.isfinite(energy).all() and np.isfinite(forces).all()):
            graph = frame if isinstance(frame, Graph) else frame.graph
            closest = graph.vectors.norm(dim=1).min() if len(graph.i) else float("nan")
            raise AlpwError(f"energy or forces are not finite; the closest atoms are {closest:.3g} Å apart")
        return Prediction(float(energy[0]), forces, virial[0], atomic_energies)

    def predict(self, atoms: Atoms) -> Prediction:
        """Energy, forces, virial and atomic energies of one structure.

        Raises:
            InputError: an unknown element, or a structure without a meaning.
            AlpwError: a result that is not finite, as when two atoms coincide.
        """
        return self.energy_forces_virial(self.neighbors(atoms))

    def to_bytes(self) -> bytes:
        """Settings and weights, for a database; `from_bytes` reads them."""
        state = {name: tensor.cpu() for name, tensor in self.state_dict().items()}
        return pack(asdict(self.config), state, None if self.tables is None else asdict(self.tables.options))

    @classmethod
    def from_bytes(
        cls, data: bytes, device: torch.device | str | None = None, *, file: str | Path | None = None
    ) -> DeepPotential:
        """The model in ``data``, on ``device`` (the CPU if None). No code in it is executed.

        Raises:
            InputError: truncated or foreign data, or another format version; names ``file``.
        """
        config, state, tables = unpack(data, device, file)
        try:
            model = cls(DeepPotentialConfig(**config))
            model.load_state_dict(state)
            model = model.tabulated(TableOptions(**tables)) if tables else model
        except (TypeError, RuntimeError) as error:
            raise InputError(f"weights and settings do not fit each other: {error}", file=file) from error
        return model.to(device or "cpu")

    def save(self, path: str | Path) -> None:
        """Write `to_bytes` to ``path``; a file there is replaced in one step."""
        write_atomically(path, self.to_bytes())

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str | None = None) -> DeepPotential:
        """Read a model that `save` wrote.

        Raises:
            InputError: no such file, or what `from_bytes` raises.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise InputError(f"cannot read the model: {error.strerror}", file=path) from error
        return cls.from_bytes(data, device, file=path)
