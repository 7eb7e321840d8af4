"""Which entry of ``xtb.json`` is numerical and which one changes the physics; why, in one line each."""

from __future__ import annotations

from alpw.codes.ase.corrections import motion_rules
from alpw.codes.corrections import Effect, Rule, Rules

INPUT = "xtb.json"

RULES: Rules = {
    f"{INPUT}/scf/max_iterations": Rule(Effect.NUMERICAL, "number of SCF iterations"),
    f"{INPUT}/scf/mixer_damping": Rule(Effect.NUMERICAL, "mixing of densities between iterations"),
    f"{INPUT}/theory/method": Rule(Effect.PHYSICS, "another Hamiltonian"),
    f"{INPUT}/theory/electronic_temperature": Rule(Effect.PHYSICS, "another free energy"),
    f"{INPUT}/theory/accuracy": Rule(Effect.PHYSICS, "how well the answer is known"),
    **motion_rules(INPUT),
}
"""An entry that is not here changes the physics."""
