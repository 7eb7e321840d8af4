"""Energies that do not belong to their composition.

    e_f = sum_el x_el,f μ_el + r_f,     M_f = 0.6745 (r_f - median r) / MAD

| symbol | meaning |
| --- | --- |
| e, x | energy per atom of a frame (eV), share of an element in its atoms |
| μ | energy of an atom of an element, fitted to the median of each composition by least absolute deviations |
| MAD | median of |r - median r|; M is the modified z-score |

Frames with |M| > 3.5 are outliers (Iglewicz and Hoaglin, "How to Detect and Handle Outliers", ASQC, 1993).
Where more than half of the residuals are equal, MAD is zero and the mean absolute deviation takes its place,
with 1.253314 for 1/0.6745. A composition with frames enough has its own median and MAD; the others are
judged together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from ase.formula import Formula
from numpy.typing import NDArray

from alpw.dataset.health.problem import Problem, display
from alpw.dataset.health.survey import Row, Survey
from alpw.findings import Severity

THRESHOLD = 3.5
FEWEST = 20
"""frames that have a median worth the name"""

MAD_TO_SIGMA, MEAN_TO_SIGMA = 1 / 0.6745, 1.253314
STEPS = 50
"""of iterative reweighting"""

Floats = NDArray[np.float64]


def outlier_problems(found: Survey) -> Iterator[Problem]:
    """Frames with an energy far from that of others of their composition, level by level."""
    levels: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in found.rows:
        levels[row.level].append(row)
    which = []
    for rows in levels.values():
        scores, residuals = modified_scores([row.formula for row in rows], [row.energy for row in rows])
        far = np.flatnonzero(np.abs(scores) > THRESHOLD)
        for k in sorted(far.tolist(), key=lambda k: -abs(scores[k])):
            why = f"{residuals[k]:+.3g} eV per atom from others, modified z-score {scores[k]:.1f}"
            which.append((rows[k].id, why))
    if which:
        text = (
            f"{len(which)} frames have an energy far from others of their composition (|M| > {THRESHOLD}): "
            "wrong labels, or rare structures"
        )
        columns = ("formula", "energy_per_atom", "max_force", "volume", "directory")
        command = display([one for one, _ in which], columns, "outliers", found.words)
        yield Problem("outliers", Severity.WARN, text, tuple(which), command)


def modified_scores(formulas: Sequence[str], energies: Sequence[float]) -> tuple[Floats, Floats]:
    """How far each energy is from what its composition has, in robust standard deviations.

    Args:
        formulas: chemical formula of each frame.
        energies: eV per atom, ``(n_frames,)``.

    Returns:
        Modified z-scores, zero where there are too few frames to tell, and residuals in eV per atom about the
        median; ``(n_frames,)`` each.
    """
    values = np.asarray(energies, dtype=float)
    names = {formula: str(Formula(formula).reduce()[0]) for formula in set(formulas)}
    members: dict[str, list[int]] = defaultdict(list)
    for k, formula in enumerate(formulas):
        members[names[formula]].append(k)
    fitted = _fitted({name: float(np.median(values[ks])) for name, ks in members.items()})
    residuals = values.copy()
    rest: list[int] = []
    scores = np.zeros(len(values))
    for name, ks in members.items():
        residuals[ks] -= fitted[name]
        if len(ks) >= FEWEST:
            scores[ks], residuals[ks] = _scores(residuals[ks])
        else:
            rest += ks
    if len(rest) >= FEWEST:
        scores[rest], residuals[rest] = _scores(residuals[rest])
    return scores, residuals


def _scores(residuals: Floats) -> tuple[Floats, Floats]:
    centred = residuals - np.median(residuals)
    spread = MAD_TO_SIGMA * float(np.median(np.abs(centred)))
    # Energies of equal structures differ by rounding.
    if spread < 1e-9:
        spread = MEAN_TO_SIGMA * float(np.abs(centred).mean())
    return (centred / spread if spread > 1e-9 else np.zeros_like(centred)), centred


def _fitted(medians: dict[str, float]) -> dict[str, float]:
    """Energy per atom of each composition as a sum over its elements, eV."""
    counts = {name: Formula(name).count() for name in medians}
    elements = sorted({element for count in counts.values() for element in count})
    shares = np.array([[count.get(element, 0) for element in elements] for count in counts.values()], float)
    shares /= shares.sum(axis=1, keepdims=True)
    wanted = np.array(list(medians.values()))
    weights = np.ones(len(wanted))
    for _ in range(STEPS):
        energies, *_ = np.linalg.lstsq(shares * weights[:, None], wanted * weights, rcond=None)
        weights = 1 / np.sqrt(np.maximum(np.abs(wanted - shares @ energies), 1e-6))
    return dict(zip(medians, (shares @ energies).tolist(), strict=True))
