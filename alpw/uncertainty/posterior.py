"""A covariance of the weights for any model, whatever trained it, and models drawn from it.

At the weights w of a trained model the loss is close to its minimum, and its second derivative to the
Gauss-Newton matrix. With labels of noise σ and a Gaussian prior of variance 1/τ on each weight,

    P_b = ( τ 1 + Σ_t h_t h_t^T / σ_t^2 )^-1,     h_t = ∂(E/N)/∂w or ∂F_ia/∂w of the training frames, block b

which is the information form of the Kalman filter without forgetting, and the covariance of Laplace's
approximation to the posterior (MacKay, Neural Comput. 4, 448 (1992)), cut to blocks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from alpw.errors import InputError
from alpw.potential.covariance import Covariance
from alpw.potential.dataset import Batch, prepare
from alpw.potential.evaluation import errors
from alpw.potential.model import DeepPotential
from alpw.potential.weights import block_sizes, fingerprint, from_vector, to_vector
from alpw.structures.frame import LabelledFrame
from alpw.uncertainty.jacobian import energy_gradient, force_jacobian_chunks
from alpw.uncertainty.kpu import Samples
from alpw.uncertainty.linearised import Linearised

# Labels are not reproducible to less: eV/atom and eV/Å. A model that fits better is not that certain.
SMALLEST_SIGMA_ENERGY = 1e-4
SMALLEST_SIGMA_FORCE = 1e-3

# Relative change of the weights up to which models change in proportion, measured in docs/uncertainty.md.
LINEAR_CHANGE = 0.01


def gauss_newton(
    model: DeepPotential,
    frames: Sequence[LabelledFrame],
    *,
    sigma_energy: float | None = None,
    sigma_force: float | None = None,
    tau: float | None = None,
    atoms_per_frame: int | None = 16,
    block_size: int = 5120,
    seed: int = 1,
) -> Covariance:
    """The covariance of a model's weights from the frames it was trained on.

    Memory is that of the blocks, one float64 matrix of ``block_size`` squared each; the work of a force
    component is their number of elements.

    Args:
        model: at the weights in question; its uncompressed parent is taken if it is compressed.
        frames: its training set.
        sigma_energy: noise of an energy in eV/atom; None takes the model's root mean square error on
            ``frames``, and `SMALLEST_SIGMA_ENERGY` at least.
        sigma_force: noise of a force component in eV/Å, likewise.
        tau: inverse variance of a weight that the frames do not determine; None takes the inverse mean
            square of the model's weights.
        atoms_per_frame: number of atoms of each frame, drawn with ``seed``, whose forces are looked at; each
            then counts so often that the frame has the same weight. None looks at all of them.
        block_size: largest number of weights whose correlations are kept (see `block_sizes`).
        seed: of the atoms drawn.

    Raises:
        InputError: no frames, a frame that cannot be used, a number that is not positive.
    """
    numbers = {"sigma_energy": sigma_energy, "sigma_force": sigma_force, "tau": tau}
    for key, value in {**numbers, "atoms_per_frame": atoms_per_frame, "block_size": block_size}.items():
        if value is not None and not (value > 0 and math.isfinite(value)):
            raise InputError(f"found {value!r}; allowed: a positive number, or None", key=key)
    if not frames:
        raise InputError("there are no frames; give the model's training set", key="frames")
    model = model.parent()
    batches = prepare(model, frames)
    if sigma_energy is None or sigma_force is None:
        residual = errors(model, batches)
        sigma_energy = sigma_energy or max(residual.energy_rmse, SMALLEST_SIGMA_ENERGY)
        sigma_force = sigma_force or max(residual.force_rmse, SMALLEST_SIGMA_FORCE)
    parameters = list(model.parameters())
    if tau is None:
        tau = 1 / float(to_vector([parameter.detach().double() for parameter in parameters]).square().mean())

    sizes = block_sizes([parameter.numel() for parameter in parameters], block_size)
    blocks = [torch.zeros(size, size, dtype=torch.float64, device=model.device) for size in sizes]
    rng = torch.Generator().manual_seed(seed)
    for batch in batches:
        for rows in _measurements(model, batch, sigma_energy, sigma_force, atoms_per_frame, rng):
            for block, part in zip(blocks, rows.split(sizes, dim=1), strict=True):
                block.addmm_(part.T, part)
    settings: dict[str, float | int | str] = {
        "sigma_energy": sigma_energy,
        "sigma_force": sigma_force,
        "tau": tau,
        "atoms_per_frame": "all" if atoms_per_frame is None else atoms_per_frame,
        "block_size": block_size,
        "n_frames": len(frames),
        "seed": seed,
    }
    factors = tuple(_inverse_root(block, tau) for block in _emptying(blocks))
    return Covariance(factors, fingerprint(model), "gauss-newton", settings)


def _measurements(
    model: DeepPotential,
    batch: Batch,
    sigma_energy: float,
    sigma_force: float,
    atoms_per_frame: int | None,
    rng: torch.Generator,
) -> Iterable[Tensor]:
    """h/σ of a frame's energy and forces, ``(n, n_weights)`` at a time, float64."""
    state = Linearised(model, batch.environment, torch.float64)
    n_atoms = batch.environment.n_atoms
    yield energy_gradient(state)[None] / (n_atoms * sigma_energy)
    chosen = torch.randperm(n_atoms, generator=rng)[:atoms_per_frame].sort().values
    repeated = math.sqrt(n_atoms / len(chosen))
    for _, jacobian in force_jacobian_chunks(state, chosen.to(model.device)):
        yield jacobian.flatten(0, 1).mul_(repeated / sigma_force)


def _emptying(blocks: list[Tensor]) -> Iterable[Tensor]:
    # A block is let go as soon as it is used, so that blocks and factors are never held together.
    while blocks:
        yield blocks.pop(0)


def _inverse_root(block: Tensor, tau: float) -> Tensor:
    """S with S S^T = (block + τ 1)^-1: the inverse of the Cholesky factor, transposed."""
    block.diagonal().add_(tau)
    factor, failed = torch.linalg.cholesky_ex(block)
    if bool(failed):
        raise InputError(
            "the sum of squares over the frames is too large for this prior; give a larger tau or sigma",
            key="tau",
        )
    identity = torch.eye(len(block), dtype=block.dtype, device=block.device)
    return torch.linalg.solve_triangular(factor.T, identity, upper=True)


def linear_scale(model: DeepPotential, source: Covariance | Samples) -> float:
    """How far to go along a draw of N(0, P) so that the weights change by `LINEAR_CHANGE` of their size.

    A whole draw changes weights that no frame determines by as much as their own size, or many times that
    after a Kalman filter, and the model with them, far beyond first order.
    """
    weights = to_vector([parameter.detach().double() for parameter in model.parent().parameters()])
    if isinstance(source, Samples):
        squares = source.draws.double().square().sum(dim=1).mean()
    else:
        # The trace of P.
        squares = torch.stack([factor.double().square().sum() for factor in source.factors]).sum()
    return LINEAR_CHANGE * float(weights.norm()) / math.sqrt(float(squares))


def posterior_models(
    model: DeepPotential,
    source: Covariance | Samples,
    n: int,
    *,
    seed: int = 1,
    scale: float | None = None,
) -> list[DeepPotential]:
    """Ordinary models with the weights w + scale δ_k, δ_k drawn from N(0, P).

    With the model itself and n of them, the force deviation ε_i of DP-GEN (as of ``pair_style deepmd``)
    estimates, while it is proportional to ``scale``,

        <ε_i^2> = 3 scale^2 u_F,i^2 n^2 / (n + 1)^2         [model, *posterior_models(model, P, n)]
        <ε_i^2> = 3 scale^2 u_F,i^2 (n - 1) / n             posterior_models(model, P, n) alone

    for members are compared with their common mean, and ε_i is a norm and u_F,i a mean over x, y, z.

    Args:
        model: its uncompressed parent is taken if it is compressed.
        source: the covariance of its weights, or draws from it, of which the first ``n`` are taken.
        n: number of models.
        seed: of the draws from a covariance.
        scale: of the change of the weights; None takes `linear_scale`.

    Raises:
        InputError: a covariance or draws of other weights, more models than draws, an impossible number.
    """
    if n < 1 or (scale is not None and not (scale > 0 and math.isfinite(scale))):
        raise InputError(f"found n = {n} and scale = {scale}; allowed: positive numbers")
    source.check(model)
    scale = linear_scale(model, source) if scale is None else scale
    if isinstance(source, Samples):
        if n > len(source.draws):
            raise InputError(f"found {n} models from {len(source.draws)} draws; draw more", key="n")
        draws = source.draws[:n]
    else:
        draws = source.sample(n, seed)
    return [_shifted(model.parent(), scale * draw.double()) for draw in draws]


@torch.no_grad()
def _shifted(model: DeepPotential, change: Tensor) -> DeepPotential:
    shifted = DeepPotential(model.config).to(model.device)
    shifted.load_state_dict(model.state_dict())
    parameters = list(shifted.parameters())
    for parameter, part in zip(parameters, from_vector(change.to(model.device), parameters), strict=True):
        parameter.copy_(parameter.double() + part)
    return shifted
