"""Small real potentials behind the stand-ins for DFT codes: forces and stress are derivatives of the energy.

`pick` chooses one for a set of elements:

| elements | potential |
| --- | --- |
| Si alone | Stillinger-Weber, Phys. Rev. B 31, 5262 (1985) |
| only metals of ASE's effective medium theory | EMT, with free atoms as the zero of energy |
| anything else | Morse pairs with lengths from the covalent radii |
| any, by the name ``"gfn1-xtb"`` or ``"gfn2-xtb"`` | tblite |

Stand-ins are started hundreds of times in the tests, so this module imports NumPy and the light part of ASE
only: ``ase.neighborlist`` alone costs 0.4 s of start-up.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import product

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.data import atomic_numbers, covalent_radii
from ase.stress import full_3x3_to_voigt_6_stress

EMT_METALS = frozenset({"Al", "Cu", "Ag", "Au", "Ni", "Pd", "Pt"})


def pick(symbols: Iterable[str], name: str | None = None) -> tuple[Calculator, str]:
    """The potential for some elements.

    Args:
        symbols: chemical symbols; repetitions do not matter.
        name: ``"sw"``, ``"emt"``, ``"morse"``, ``"gfn1-xtb"``, ``"gfn2-xtb"``, or None to choose by element.

    Returns:
        An ASE calculator with energy (eV), forces (eV/Å) and stress (eV/Å³), and the potential's name.
    """
    elements = set(symbols)
    if name is None:
        name = "sw" if elements == {"Si"} else "emt" if elements <= EMT_METALS else "morse"
    if name == "sw" and elements != {"Si"}:
        raise ValueError(f"Stillinger-Weber is for Si alone, not for {sorted(elements)}")
    match name:
        case "sw":
            return StillingerWeber(), name
        case "emt":
            return effective_medium_theory(), name
        case "morse":
            return MorseMixture(), name
        case "gfn1-xtb" | "gfn2-xtb":
            from tblite.ase import TBLite  # heavy and optional

            return TBLite(method=f"{name[:4].upper()}-xTB", verbosity=0), name
    raise ValueError(f"no potential {name!r}; there are sw, emt, morse, gfn1-xtb, gfn2-xtb")


def pairs(atoms: Atoms, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All directed pairs closer than a cutoff, periodic images included, sorted by the first atom.

    Returns:
        Indices i and j, distances d (Å) and vectors from i to j (Å), ``(n_pairs, 3)``.
    """
    cell = atoms.cell.complete().array
    periodic = np.asarray(atoms.pbc)
    fractional = np.linalg.solve(cell.T, atoms.positions.T).T
    nearest = fractional[None, :, :] - fractional[:, None, :]
    nearest -= np.round(nearest) * periodic
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    reach = np.where(periodic, np.ceil(cutoff / heights + 0.5), 0).astype(int)
    found_i, found_j, found_vectors = [], [], []
    itself = np.eye(len(atoms), dtype=bool)
    for image in product(*(range(-n, n + 1) for n in reach)):
        vectors = (nearest + np.array(image)) @ cell
        close = np.einsum("ijk,ijk->ij", vectors, vectors) < cutoff**2
        if not any(image):
            close &= ~itself
        i, j = np.nonzero(close)
        found_i.append(i)
        found_j.append(j)
        found_vectors.append(vectors[i, j])
    i, j = np.concatenate(found_i), np.concatenate(found_j)
    vectors = np.concatenate(found_vectors)
    order = np.argsort(i, kind="stable")
    i, j, vectors = i[order], j[order], vectors[order]
    return i, j, np.linalg.norm(vectors, axis=1), vectors


class _Classical(Calculator):
    """Energy, forces and stress from sums over pair vectors."""

    implemented_properties = ("energy", "free_energy", "forces", "stress")

    def evaluate(self, atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
        """Energy (eV), forces (eV/Å) and dE/dstrain (eV)."""
        raise NotImplementedError

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        super().calculate(atoms, properties, system_changes)
        energy, forces, slope = self.evaluate(self.atoms)
        self.results = {"energy": energy, "free_energy": energy, "forces": forces}
        if self.atoms.cell.rank == 3:
            stress = 0.5 * (slope + slope.T) / self.atoms.get_volume()
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress)


class StillingerWeber(_Classical):
    """Silicon: a pair term and a three-body term that favours tetrahedral angles.

    E = sum_pairs A eps (B x^-4 - 1) exp(1/(x-a)) + sum_triplets lam eps exp(gam/(x1-a)) exp(gam/(x2-a)) u²,
    x = r/sig, u = cos(theta) + 1/3; parameters of Stillinger and Weber, Phys. Rev. B 31, 5262 (1985).
    """

    eps, sig, a, lam, gam = 2.1683, 2.0951, 1.80, 21.0, 1.20
    A, B = 7.049556277, 0.6022245584

    def evaluate(self, atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
        i, j, d, vectors = pairs(atoms, self.a * self.sig - 1e-9)
        forces, slope = np.zeros((len(atoms), 3)), np.zeros((3, 3))
        x = d / self.sig
        decay = np.exp(1.0 / (x - self.a))
        well = self.B * x**-4 - 1.0
        pair = self.A * self.eps * well * decay
        derivative = self.A * self.eps * decay * (-4 * self.B * x**-5 - well / (x - self.a) ** 2) / self.sig
        energy = 0.5 * float(pair.sum())
        gradient = (0.5 * derivative / d)[:, None] * vectors
        np.add.at(forces, i, gradient)
        np.add.at(forces, j, -gradient)
        slope += gradient.T @ vectors

        first, second = self._triplets(i, len(atoms))
        if not len(first):
            return energy, forces, slope
        r1, r2, d1, d2 = vectors[first], vectors[second], d[first], d[second]
        cosine = np.einsum("ka,ka->k", r1, r2) / (d1 * d2)
        x1, x2 = d1 / self.sig - self.a, d2 / self.sig - self.a
        strength = self.lam * self.eps * np.exp(self.gam / x1 + self.gam / x2)
        u = cosine + 1.0 / 3.0
        energy += float((strength * u * u).sum())
        cos1 = r2 / (d1 * d2)[:, None] - (cosine / d1**2)[:, None] * r1
        cos2 = r1 / (d1 * d2)[:, None] - (cosine / d2**2)[:, None] * r2
        radial1 = -strength * u * u * self.gam / (self.sig * x1**2 * d1)
        radial2 = -strength * u * u * self.gam / (self.sig * x2**2 * d2)
        g1 = (2 * strength * u)[:, None] * cos1 + radial1[:, None] * r1
        g2 = (2 * strength * u)[:, None] * cos2 + radial2[:, None] * r2
        np.add.at(forces, i[first], g1 + g2)
        np.add.at(forces, j[first], -g1)
        np.add.at(forces, j[second], -g2)
        slope += g1.T @ r1 + g2.T @ r2
        return energy, forces, slope

    @staticmethod
    def _triplets(i: np.ndarray, n_atoms: int) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the two pairs of every triplet around each atom, each triplet once."""
        start = np.searchsorted(i, np.arange(n_atoms + 1))
        first, second = [np.empty(0, int)], [np.empty(0, int)]
        for centre in range(n_atoms):
            row, column = np.triu_indices(start[centre + 1] - start[centre], 1)
            first.append(start[centre] + row)
            second.append(start[centre] + column)
        return np.concatenate(first), np.concatenate(second)


class MorseMixture(_Classical):
    """Any mixture of elements: Morse pairs, bond lengths 1.05 (r_i + r_j) from the covalent radii.

    E = sum_pairs D [(1 - exp(-alpha (r - r0)))² - 1] (1 - (r/rc)⁴)², rc = 2.2 (r_i + r_j): energy and forces
    are continuous at the cutoff.
    """

    depth, alpha, reach = 0.6, 1.6, 2.2

    def evaluate(self, atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
        radius = covalent_radii[atoms.numbers]
        i, j, d, vectors = pairs(atoms, 2 * self.reach * radius.max())
        cutoff = self.reach * (radius[i] + radius[j])
        near = d < cutoff
        i, j, d, vectors, cutoff = i[near], j[near], d[near], vectors[near], cutoff[near]
        decay = np.exp(-self.alpha * (d - 1.05 * (radius[i] + radius[j])))
        well = self.depth * (decay**2 - 2 * decay)
        well_slope = 2 * self.depth * self.alpha * (decay - decay**2)
        t = d / cutoff
        taper, taper_slope = (1 - t**4) ** 2, -8 * t**3 * (1 - t**4) / cutoff
        gradient = (0.5 * (well_slope * taper + well * taper_slope) / d)[:, None] * vectors
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, i, gradient)
        np.add.at(forces, j, -gradient)
        return 0.5 * float((well * taper).sum()), forces, gradient.T @ vectors


class SmoothLennardJones(_Classical):
    """ASE's ``LennardJones(smooth=True)``: 4 eps ((sig/r)^12 - (sig/r)^6), smooth to zero at the cutoff."""

    def __init__(self, epsilon: float, sigma: float, rc: float) -> None:
        super().__init__()
        self.epsilon, self.sigma, self.rc = epsilon, sigma, rc

    def evaluate(self, atoms: Atoms) -> tuple[float, np.ndarray, np.ndarray]:
        i, _, d, vectors = pairs(atoms, self.rc)
        square, outer, inner = d**2, self.rc**2, (0.66 * self.rc) ** 2
        sixth = (self.sigma**2 / square) ** 3
        energies = 4 * self.epsilon * (sixth**2 - sixth)
        # Derivatives by r^2, twice.
        slopes = -24 * self.epsilon * (2 * sixth**2 - sixth) / square
        far = square > inner
        fade = np.where(far, (outer - square) ** 2 * (outer + 2 * square - 3 * inner), 1.0)
        fade[far] /= (outer - inner) ** 3
        faded = np.where(far, 6 * (outer - square) * (inner - square) / (outer - inner) ** 3, 0.0)
        pulls = (fade * slopes + 2 * faded * energies)[:, None] * vectors
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, i, pulls)
        return 0.5 * float((fade * energies).sum()), forces, 0.5 * pulls.T @ vectors


def effective_medium_theory() -> Calculator:
    """ASE's EMT with free atoms as the zero of energy, as DFT codes have it; ASE's own zero is the bulk."""
    from ase.calculators.emt import EMT, parameters  # imports SciPy: 0.4 s that silicon need not pay

    class FreeAtomEMT(EMT):
        implemented_properties = ("energy", "free_energy", "forces", "stress")

        def calculate(
            self,
            atoms: Atoms | None = None,
            properties: Sequence[str] = ("energy",),
            system_changes: Sequence[str] = all_changes,
        ) -> None:
            super().calculate(atoms, properties, system_changes)
            cohesion = sum(parameters[symbol][0] for symbol in self.atoms.get_chemical_symbols())
            energy = float(self.results["energy"]) + cohesion
            kept = {key: self.results[key] for key in ("forces", "stress") if key in self.results}
            self.results = {"energy": energy, "free_energy": energy, **kept}

    return FreeAtomEMT()


def valence(symbol: str) -> float:
    """Plausible number of valence electrons: those above the last noble gas, less a closed d or f shell."""
    number = atomic_numbers[symbol]
    core = max((noble for noble in (0, 2, 10, 18, 36, 54, 86) if noble < number), default=0)
    electrons = number - core
    if electrons > 12 and number > 30:
        electrons -= 10 if number < 57 else 24
    return float(max(electrons, 1))
