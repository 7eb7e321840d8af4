"""The command: ``PWmat``, or ``PWmat --upf Si C`` and ``PWmat --skf Si C`` for files to run it with."""

from pwmat.faults import complain
from pwmat.inputs import Refused, rank


def main(arguments: list[str]) -> int:
    """Run in the current folder; ranks other than the first have nothing to do.

    Returns:
        The exit status.
    """
    if arguments:
        return _write_files(arguments)
    if rank():
        return 0
    try:
        return _run()
    except Refused as error:
        complain(str(error))
        return 1


def _run() -> int:
    from pwmat.calculation import Calculation  # after the rank is known, so that idle ranks start fast

    calculation = Calculation()
    match calculation.settings.job:
        case "SCF":
            calculation.scf()
        case "RELAX":
            from pwmat.relaxation import Relaxation

            Relaxation(calculation).run()
        case "MD":
            from pwmat.dynamics import Dynamics

            Dynamics(calculation).run()
    calculation.finish()
    return 0


def _write_files(arguments: list[str]) -> int:
    from pwmat.species import write_skf, write_upf

    match arguments:
        case ["--upf", *symbols] if symbols:
            complain("\n".join(map(str, write_upf(".", symbols).values())))
        case ["--skf", *symbols] if symbols:
            complain("\n".join(map(str, write_skf(".", symbols))))
        case _:
            complain("usage: PWmat [--upf ELEMENT... | --skf ELEMENT...]")
            return 2
    return 0
