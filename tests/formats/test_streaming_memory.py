"""Memory does not grow with the number of frames, for any reader, any writer, and a conversion."""

import tracemalloc

import pytest

from alpw.formats import batches
from alpw.formats.convert import Settings, convert_frames, find_inputs
from alpw.formats.lammps_dump import write_lammps_dump
from alpw.formats.registry import NOTHING_SAID, find

N_ATOMS = 20
COUNTS = {"pwmat/movement": (800, 1400)}
"""Frames of a short and of a long file; PWmat's is read 1 MB at a time, which the short one must have."""


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    """Batches of 50 frames, so that short files are many batches."""
    monkeypatch.setattr(batches, "ATOMS_PER_BATCH", 1000)


def counts(name):
    return COUNTS.get(name, (200, 800))


def room(name):
    """A quarter of the coordinates and forces of the additional frames, bytes."""
    short, long = counts(name)
    return (long - short) * N_ATOMS * 48 / 4


TRIES = 3
"""What another thread of this process allocates meanwhile counts too: growth has to be seen so often."""


def peak(action):
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def check_growth(measure, allowed):
    """See that in one try the long file takes no more memory than the short one, beyond what is allowed.

    Args:
        measure: gives the peaks (bytes) of one try as (short, long), for each thing that is done.
        allowed: bytes.

    Raises:
        AssertionError: it does each time.
    """
    found = []
    for number in range(TRIES):
        found.append(measure(number))
        if all(long < short + allowed for short, long in found[-1]):
            return
    raise AssertionError(f"memory grows by more than {allowed:.0f} bytes: {found}")


def stream(batch, n_frames):
    """Frames that are made while they are written, in batches of ten."""
    for k in range(0, n_frames, 10):
        yield batch(k, n_frames=10, n_atoms=N_ATOMS, symbols=("Si",))


def used_up(batches):
    return sum(len(part) for part in batches)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "extxyz",
        "pwmlff/npy",
        "deepmd/npy",
        "deepmd/mixed",
        "deepmd/hdf5",
        "lmdb",
        "ase-db",
        "pwmat/movement",
    ],
)
def test_labelled_formats(tmp_path, batch, name):
    form = find(name)

    def measure(number):
        writing, reading = [], []
        for n_frames in counts(name):
            path = tmp_path / f"{number}-{n_frames}{form.suffix}"
            writing.append(peak(lambda path=path, n=n_frames: form.write(path, stream(batch, n))))
            counted = []
            reading.append(peak(lambda p=path, to=counted: to.append(used_up(form.read(p, NOTHING_SAID)))))
            assert counted == [n_frames]
        return writing, reading

    check_growth(measure, room(name))


@pytest.mark.slow
def test_dumps(tmp_path, batch):
    def measure(number):
        path, writing, reading = tmp_path / f"dump{number}", [], []
        for n_frames in counts("dump"):
            frames = (frame.atoms for part in stream(batch, n_frames) for frame in part)
            writing.append(peak(lambda frames=frames: write_lammps_dump(path, frames)))
            reading.append(peak(lambda: sum(1 for _ in find("dump").read(path, NOTHING_SAID))))
        return writing, reading

    check_growth(measure, room("dump"))


@pytest.mark.slow
def test_a_shuffled_conversion(tmp_path, batch):
    target = find("pwmlff/npy")

    def measure(number):
        found = []
        for n_frames in counts("extxyz"):
            find("extxyz").write(tmp_path / "frames.xyz", stream(batch, n_frames))
            inputs = find_inputs([tmp_path / "frames.xyz"], None)
            place = tmp_path / f"PWdata{number}"
            found.append(peak(lambda i=inputs, p=place: convert_frames(i, target, p, Settings())))
        return [found]

    check_growth(measure, room("extxyz"))
