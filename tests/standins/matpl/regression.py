"""A small potential that is really trained: pair functions with coefficients from least squares.

E = sum_i e(type of i) + 1/2 sum_pairs sum_k c_k(pair of types) phi_k(r), Gaussians phi_k times a taper.
"""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np
from ase import Atoms
from potentials import pairs

N_FUNCTIONS, RIDGE = 6, 1e-4


class Regression:
    """Args: atomic numbers of the types, cutoff in Å, and coefficients (types first, then pairs)."""

    def __init__(self, numbers: list[int], rcut: float, coefficients: list[float] | None = None) -> None:
        self.numbers, self.rcut = list(numbers), float(rcut)
        self.kinds = list(combinations_with_replacement(sorted(self.numbers), 2))
        size = len(self.numbers) + N_FUNCTIONS * len(self.kinds)
        self.coefficients = np.zeros(size) if coefficients is None else np.array(coefficients)

    def to_json(self) -> dict:
        return {
            "numbers": self.numbers,
            "rcut": self.rcut,
            "coefficients": self.coefficients.tolist(),
        }

    def design(self, atoms: Atoms) -> np.ndarray:
        """``(1 + 3 n_atoms, n_coefficients)``: energy and forces per coefficient."""
        i, j, d, vectors = pairs(atoms, self.rcut)
        rows = np.zeros((1 + 3 * len(atoms), len(self.coefficients)))
        for column, number in enumerate(self.numbers):
            rows[0, column] = (atoms.numbers == number).sum()
        kinds = np.sort(np.stack([atoms.numbers[i], atoms.numbers[j]]), axis=0)
        taper, slope = (1 - (d / self.rcut) ** 2) ** 2, -4 * d / self.rcut**2 * (1 - (d / self.rcut) ** 2)
        centres = np.linspace(1.5, self.rcut, N_FUNCTIONS)
        for k, kind in enumerate(self.kinds):
            mine = (kinds[0] == kind[0]) & (kinds[1] == kind[1])
            for m, centre in enumerate(centres):
                bell = np.exp(-((d - centre) ** 2) / 0.5)
                value = np.where(mine, bell * taper, 0.0)
                derivative = np.where(mine, bell * (slope - 4 * (d - centre) * taper), 0.0)
                column = len(self.numbers) + k * N_FUNCTIONS + m
                rows[0, column] = 0.5 * value.sum()
                forces = np.zeros((len(atoms), 3))
                np.add.at(forces, i, (derivative / d)[:, None] * vectors)
                rows[1:, column] = forces.ravel()
        return rows

    def predict(self, atoms: Atoms) -> tuple[float, np.ndarray]:
        """Energy in eV and forces ``(n_atoms, 3)`` in eV/Å."""
        result = self.design(atoms) @ self.coefficients
        return float(result[0]), result[1:].reshape(-1, 3)

    def fit(self, frames: list[tuple[Atoms, float, np.ndarray]], seed: int) -> None:
        """Least squares on a bootstrap sample that the seed draws."""
        drawn = np.random.default_rng(seed).integers(len(frames), size=len(frames))
        rows = np.concatenate([self.design(frames[k][0]) for k in drawn])
        labels = np.concatenate([[frames[k][1], *frames[k][2].ravel()] for k in drawn])
        normal = rows.T @ rows + RIDGE * np.eye(rows.shape[1])
        self.coefficients = np.linalg.solve(normal, rows.T @ labels)

    def errors(self, frames: list[tuple[Atoms, float, np.ndarray]]) -> tuple[float, float]:
        """Root mean square errors of the energy (eV/atom) and the forces (eV/Å)."""
        energies, forces = [], []
        for atoms, energy, label in frames:
            found = self.predict(atoms)
            energies.append((found[0] - energy) / len(atoms))
            forces.append((found[1] - label).ravel())
        return float(np.sqrt(np.mean(np.square(energies)))), float(
            np.sqrt(np.mean(np.square(np.concatenate(forces))))
        )
