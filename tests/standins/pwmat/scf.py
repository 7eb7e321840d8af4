"""The SCF cycle that REPORT shows: errors that shrink by a constant factor in every iteration.

The steps come from the lines ``SCF_ITER0_n`` (first structure) and ``SCF_ITER1_n`` (later ones): iterations,
lines of CG, algorithm, mixing, smearing, kind of smearing. Mixing 0 means fixed density. The density error
begins at 0.1, later at 3e-3, and falls by 0.45 per iteration, faster with Kerker mixing (1.05 for 1.00),
slower away from KERK_AMIX = 0.4. The cycle ends when one of RHO_ERROR and E_ERROR is reached (0 switches a
criterion off), or when the lines are used up.
"""

from dataclasses import dataclass, field

from pwmat.fortran import tolerance
from pwmat.inputs import Refused, Settings


@dataclass(frozen=True)
class Line:
    """One line of the SCF schedule."""

    iterations: int
    cg_lines: float
    mixing: float


@dataclass(frozen=True)
class Iteration:
    """What REPORT says of one iteration."""

    number: int
    cg_lines: float
    density_error: float
    energy_error: float
    energy_change: float


@dataclass
class Cycle:
    """A finished SCF cycle."""

    state_errors: list[float] = field(default_factory=list)
    iterations: list[Iteration] = field(default_factory=list)
    reason: str = "niter reached"

    @property
    def converged(self) -> bool:
        """Whether a tolerance was reached."""
        return self.reason.startswith("tol")

    @property
    def count(self) -> int:
        """Iterations in all, those with fixed density included."""
        return len(self.state_errors) + len(self.iterations)


def schedule(settings: Settings, first: bool) -> list[Line]:
    """The lines for the first structure or a later one."""
    stem = "SCF_ITER0_" if first else "SCF_ITER1_"
    given = settings.numbered(stem)
    if not given:
        limit = int(settings.first("MAX_SCF_ITER", 100 if first else 40))
        return [Line(6, 4, 0.0), Line(limit - 6, 4, 1.0)] if first else [Line(limit, 4, 1.0)]
    lines = []
    for number in sorted(given):
        row = settings.numbers(f"{stem}{number}")
        if len(row) < 6:
            raise Refused(f" error in reading {stem}{number} = {given[number]}, stop")
        lines.append(Line(int(row[0]), row[1], row[3]))
    return lines


def thresholds(settings: Settings, electrons: float) -> tuple[float, float]:
    """E_ERROR (eV) and RHO_ERROR, with PWmat's defaults."""
    difficult = settings.word("CONVERGENCE", "EASY") == "DIFFICULT"
    energy = 2.7211e-6 * electrons * (0.01 if difficult else 1.0)
    return settings.first("E_ERROR", energy), settings.first("RHO_ERROR", 2.5e-5 if difficult else 5e-5)


def converge(
    settings: Settings,
    electrons: float,
    first: bool,
    *,
    stuck: bool = False,
    needs: int | None = None,
) -> Cycle:
    """Go through one SCF cycle.

    Args:
        settings: the etot.input.
        electrons: number of electrons, for the default of E_ERROR.
        first: whether it is the first structure of the run.
        stuck: the errors do not shrink.
        needs: iterations after which the cycle converges, if the lines allow as many; None for the usual.
    """
    e_error, rho_error = thresholds(settings, electrons)
    start = 0.1 if first else 3e-3
    lines = schedule(settings, first)
    fixed = sum(line.iterations for line in lines if line.mixing == 0)
    cycle = Cycle([3.0 * 0.2 ** (k + 1) for k in range(fixed)])
    density = start
    mixed = [line for line in lines if line.mixing != 0 for _ in range(line.iterations)]
    for line in mixed:
        k = len(cycle.iterations)
        previous = density if k else 1e4  # REPORT compares the first energy with zero
        if stuck:
            density = start * (0.6 + 0.4 * (-1) ** k)
        elif needs:
            density = start * (0.999 * max(e_error, rho_error) / start) ** ((k + 1) / needs)
        else:
            density *= _rate(settings, line.mixing)
        change = density if needs else density - previous
        cycle.iterations.append(Iteration(fixed + k + 1, line.cg_lines, density, density, change))
        if stuck or k + 1 < settings.first("MIN_SCF_ITER", 1):
            continue
        if density < rho_error:
            cycle.reason = f"tol Rho_err  {tolerance(rho_error)}"
            break
        if abs(change) < e_error:
            cycle.reason = f"tol Etot_err  {tolerance(e_error)}"
            break
    return cycle


def _rate(settings: Settings, mixing: float) -> float:
    kerker = min(max(mixing - 1.0, 0.0), 0.1)
    amix = settings.first("KERK_AMIX", 0.4)
    return min(0.45 - 0.5 * kerker + 0.6 * (amix - 0.4) ** 2, 0.9)
