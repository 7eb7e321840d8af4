"""Any ASE calculator, or a model of our own, as a code; and the driver of ASE's dynamics that xtb shares."""
