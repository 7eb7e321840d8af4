"""Kalman prediction uncertainty (KPU): how far what a model was trained on determines what it predicts.

    u_E   = sqrt( g^T P g ),                    g    = ∂(E/N)/∂w
    u_F,i = sqrt( 1/3 Σ_a g_ia^T P g_ia ),      g_ia = ∂F_ia/∂w

with P the covariance of the weights (`alpw.potential.covariance`): the standard deviation of the prediction,
to first order in the weights (arXiv:2411.13850 uses the squares). Exactly, it takes the Jacobian and P; from
K draws δ of N(0, P) it is the root mean square of the changes that they make, without P:

    u_F,i^2 ≈ 1/K Σ_k v_ik,   v_ik = 1/3 Σ_a (g_ia · δ_k)^2,   error of u_F,i: std_k(v_ik) / (2 u_F,i sqrt(K))

Units are those of the predictions, eV/atom and eV/Å, as far as P has a scale (see `docs/uncertainty.md`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from numpy.typing import NDArray
from torch import Tensor

from alpw.errors import AlpwError, InputError
from alpw.potential.config import PRECISIONS
from alpw.potential.covariance import Covariance
from alpw.potential.environment import Environment
from alpw.potential.model import DeepPotential
from alpw.potential.neighbors import Graph
from alpw.potential.tensor_file import load_tensors, save_tensors
from alpw.potential.weights import fingerprint
from alpw.uncertainty.directional import along_weights
from alpw.uncertainty.jacobian import energy_gradient, force_jacobian_chunks
from alpw.uncertainty.linearised import Linearised

Floats = NDArray[np.float64]

FORMAT, VERSION = "alpw-weight-draws", 1


@dataclass(frozen=True)
class KPU:
    """The uncertainty of one structure.

    Attributes:
        u_energy: of the energy per atom, in eV/atom.
        variances: of the force components, ``(n_atoms, 3)`` in (eV/Å)^2.
        stderr_energy: standard error of ``u_energy``; None if it is exact.
        stderr_force: standard errors of ``u_force``, ``(n_atoms,)`` in eV/Å; None if it is exact.
        stderr_mean: standard error of ``mean``; None if it is exact.
    """

    u_energy: float
    variances: Floats
    stderr_energy: float | None = None
    stderr_force: Floats | None = None
    stderr_mean: float | None = None

    @property
    def u_force(self) -> Floats:
        """Of the force on each atom, ``(n_atoms,)`` in eV/Å."""
        return np.asarray(np.sqrt(self.variances.mean(axis=1)))

    @property
    def max(self) -> float:
        """Largest force uncertainty of an atom, in eV/Å. From few draws it comes out too large."""
        return float(self.u_force.max())

    @property
    def mean(self) -> float:
        """Mean force uncertainty of the atoms, in eV/Å."""
        return float(self.u_force.mean())

    @property
    def min(self) -> float:
        """Smallest force uncertainty of an atom, in eV/Å."""
        return float(self.u_force.min())

    def quantile(self, q: float) -> float:
        """Quantile, ``q`` in [0, 1], of the atoms' force uncertainty, in eV/Å."""
        return float(np.quantile(self.u_force, q))


@dataclass(frozen=True)
class Samples:
    """Draws of a model's weights around their values: all that is needed of P to sample the uncertainty.

    Attributes:
        draws: of N(0, P), ``(K, n_weights)`` in the flat order of `alpw.potential.weights`.
        fingerprint: of the model that they belong to.
        kind: of the covariance that they are drawn from.
        seed: they were drawn with.
    """

    draws: Tensor
    fingerprint: str
    kind: str
    seed: int

    @classmethod
    def draw(
        cls, covariance: Covariance, n: int = 32, *, seed: int = 1, precision: str = "float32"
    ) -> Samples:
        """Draw ``n`` times; a seed always gives the same.

        Args:
            covariance: P.
            n: number of draws, K.
            seed: of the draws.
            precision: of the stored draws, and of what is computed with them. The rounding of ``float32`` is
                1e-4 of an uncertainty, and its sampling error a tenth.

        Raises:
            InputError: fewer than two draws, or an unknown precision.
        """
        if n < 2:
            raise InputError(f"found {n}; allowed: 2 draws or more, for a standard error", key="draws")
        if precision not in PRECISIONS:
            raise InputError(f"found {precision!r}; allowed: {', '.join(PRECISIONS)}", key="precision")
        draws = covariance.sample(n, seed).to(PRECISIONS[precision])
        return cls(draws, covariance.fingerprint, covariance.kind, seed)

    def check(self, model: DeepPotential) -> None:
        """Make sure that these are draws of the weights of ``model``.

        Raises:
            InputError: they are not.
        """
        if fingerprint(model) != self.fingerprint:
            raise InputError(
                f"these {len(self.draws)} draws of {self.draws.shape[1]} weights belong to other weights "
                "than the model's; draw them from the model's own covariance"
            )

    def save(self, path: str | Path) -> None:
        """Write to ``path``; a file there is replaced in one step."""
        content = {
            "draws": self.draws.cpu(),
            "fingerprint": self.fingerprint,
            "kind": self.kind,
            "seed": self.seed,
        }
        save_tensors(path, FORMAT, VERSION, content)

    @classmethod
    def load(cls, path: str | Path, device: torch.device | str | None = None) -> Samples:
        """Read what `save` wrote; no code in it is executed.

        Raises:
            InputError: no such file, truncated or foreign data, another version of the format.
        """
        content = load_tensors(path, FORMAT, VERSION, device=device)
        return cls(content["draws"], content["fingerprint"], content["kind"], content["seed"])


def exact_kpu(model: DeepPotential, covariance: Covariance, structure: Atoms | Graph | Environment) -> KPU:
    """The uncertainty of one structure from the Jacobian of energy and forces, atoms chunk by chunk.

    Args:
        model: its uncompressed parent is taken if it is compressed.
        covariance: of its weights. Its precision is that of the calculation; `Covariance.to` changes it.
        structure: atoms, their graph, or their environment, of one frame.

    Raises:
        InputError: a covariance of other weights, an unknown element, more than one frame.
        AlpwError: a result that is not finite, as when two atoms coincide.
    """
    covariance.check(model)
    state = _linearised(model, structure, covariance.factors[0].dtype)
    n_atoms = state.environment.n_atoms
    energy = covariance.quadratic(energy_gradient(state)[None] / n_atoms)
    variances = torch.zeros(n_atoms, 3, dtype=torch.float64, device=energy.device)
    for atoms, jacobian in force_jacobian_chunks(state):
        variances[atoms] = covariance.quadratic(jacobian.flatten(0, 1)).view(-1, 3)
    return _finite(KPU(u_energy=float(energy.sqrt()), variances=variances.cpu().numpy()), state)


def sampled_kpu(model: DeepPotential, samples: Samples, structure: Atoms | Graph | Environment) -> KPU:
    """The uncertainty of one structure from draws of the weights; arguments and errors as of `SampledKPU`."""
    return SampledKPU(model, samples).uncertainty(structure)


class SampledKPU:
    """Uncertainty from draws of the weights, for many structures, such as the frames of a trajectory.

    Args:
        model: its uncompressed parent is taken if it is compressed.
        samples: draws of its weights; their precision is that of the calculation.

    Raises:
        InputError: draws of other weights.
    """

    def __init__(self, model: DeepPotential, samples: Samples) -> None:
        samples.check(model)
        self.model = model.parent()
        self.draws = samples.draws.to(model.device)

    def uncertainty(self, structure: Atoms | Graph | Environment) -> KPU:
        """The uncertainty of one structure with its standard errors.

        Args:
            structure: atoms, their graph (as of `NeighborList.graph`), or their environment, of one frame.

        Raises:
            InputError: an unknown element, more than one frame.
            AlpwError: a result that is not finite, as when two atoms coincide.
        """
        state = _linearised(self.model, structure, self.draws.dtype)
        by_energy, by_forces = along_weights(state, self.draws)
        squares = (by_energy / state.environment.n_atoms).square()
        per_atom = by_forces.square().mean(dim=2)
        u_energy, u_force = squares.mean().sqrt(), per_atom.mean(dim=0).sqrt()
        # du = dv / 2u; where u is zero, so are all draws.
        influence = (per_atom - u_force**2) / (2 * u_force).clamp(min=torch.finfo(torch.float64).tiny)
        n_draws = len(self.draws)
        result = KPU(
            u_energy=float(u_energy),
            variances=by_forces.square().mean(dim=0).cpu().numpy(),
            stderr_energy=float(squares.std() / (2 * u_energy).clamp(min=1e-300)) / n_draws**0.5,
            stderr_force=(influence.std(dim=0) / n_draws**0.5).cpu().numpy(),
            stderr_mean=float(influence.mean(dim=1).std()) / n_draws**0.5,
        )
        return _finite(result, state)


def _linearised(
    model: DeepPotential, structure: Atoms | Graph | Environment, dtype: torch.dtype
) -> Linearised:
    model = model.parent()
    if isinstance(structure, Atoms):
        structure = model.neighbors(structure).graph()
    environment = model.environment(structure) if isinstance(structure, Graph) else structure
    if environment.graph.n_frames != 1:
        raise InputError(f"found {environment.graph.n_frames} frames; allowed: one at a time")
    return Linearised(model, environment, dtype)


def _finite(result: KPU, state: Linearised) -> KPU:
    if np.isfinite(result.variances).all() and np.isfinite(result.u_energy):
        return result
    vectors = state.environment.graph.vectors
    closest = float(vectors.norm(dim=1).min()) if len(vectors) else float("nan")
    raise AlpwError(f"the uncertainty is not finite; the closest atoms are {closest:.3g} Å apart")
