"""PWmat: plane waves, DFTB or a Gaussian basis, for labels, relaxations and AIMD."""
