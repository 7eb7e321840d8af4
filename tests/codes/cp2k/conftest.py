"""A control file for CP2K with data files beside it, and one with a section MOTION."""

import pytest

CONTROL = """\
&GLOBAL
  PROJECT mine
  RUN_TYPE MD
&END GLOBAL
&FORCE_EVAL
  &DFT
    BASIS_SET_FILE_NAME my_basis
    POTENTIAL_FILE_NAME my_potential
    &MGRID
      CUTOFF 150
    &END MGRID
    &SCF
      MAX_SCF 20
    &END SCF
  &END DFT
  &SUBSYS
    &CELL
      ABC 1 1 1
    &END CELL
    &COORD
      H 0 0 0
    &END COORD
    &TOPOLOGY
      COORD_FILE_NAME other.xyz
    &END TOPOLOGY
    &KIND Si
      BASIS_SET DZ
      POTENTIAL GTH-PBE-q4
      MAGNETIZATION 1.0
    &END KIND
  &END SUBSYS
&END FORCE_EVAL
"""

MOTION = """\
&EXT_RESTART
  RESTART_FILE_NAME old.restart
&END EXT_RESTART
&MOTION
  &GEO_OPT
    MAX_ITER 7
    OPTIMIZER LBFGS
  &END GEO_OPT
  &MD
    ENSEMBLE NVT
    STEPS 20
    TIMESTEP 0.5
    TEMPERATURE 700
    STEP_START_VAL 300
    &THERMOSTAT
      TYPE CSVR
    &END THERMOSTAT
  &END MD
  &PRINT
    &TRAJECTORY
      &EACH
        MD 10
      &END EACH
    &END TRAJECTORY
  &END PRINT
&END MOTION
"""


@pytest.fixture
def control(tmp_path):
    (tmp_path / "my_basis").write_text("# comment\nSi DZ DZ-q4\n  1\n  1 0 0 1 1\n 1.0 1.0\nO TZ TZ-q6\n 1\n")
    (tmp_path / "my_potential").write_text("Si GTH-PBE-q4 GTH-PBE\n 2 2\n 0.44 1 -6.26\nO GTH-PBE-q6\n 2 4\n")
    path = tmp_path / "user.inp"
    path.write_text(CONTROL)
    return path


@pytest.fixture
def moving(control):
    control.write_text(CONTROL.replace("&FORCE_EVAL\n", MOTION + "&FORCE_EVAL\n", 1))
    return control
