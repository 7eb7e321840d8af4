"""The pictures of a model are drawn whatever the data look like, and show what they claim to show."""

import errno

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from alpw.potential import EpochRecord
from alpw.potential.evaluation import Comparison
from alpw.report.calibration import plot_calibration
from alpw.report.learning_curve import plot_learning_curve
from alpw.report.parity import plot_parity
from alpw.uncertainty.calibration import Calibration


@pytest.fixture
def figure(monkeypatch):
    """The figure that was saved last, for a look at what is on it."""
    seen = []
    save = Figure.savefig

    def keep(self, *arguments, **options):
        seen.append(self)
        return save(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return lambda: seen[-1]


def epochs(n, valid_every=1):
    return [
        EpochRecord(
            epoch=k,
            step=10 * k,
            learning_rate=1e-3,
            kalman_lambda=None,
            loss=2.0 / k,
            train_force_rmse=0.5 / k,
            train_energy_rmse=0.02 / k,
            valid_force_rmse=0.6 / k if k % valid_every == 0 else None,
            valid_energy_rmse=0.03 / k if k % valid_every == 0 else None,
            seconds=float(k),
        )
        for k in range(1, n + 1)
    ]


def lines(axes):
    return [line.get_xydata() for line in axes.lines if len(line.get_xydata())]


def test_learning_curves_show_every_epoch_in_the_units_of_the_axes(figure, tmp_path):
    plot_learning_curve({"model.pt": epochs(12, valid_every=5)}, tmp_path / "curve.png")
    loss, force, energy = figure().axes
    assert lines(loss)[0][:, 1] == pytest.approx([2.0 / k for k in range(1, 13)])
    assert lines(force)[1].tolist() == [[5, pytest.approx(0.12)], [10, pytest.approx(0.06)]]
    assert energy.get_ylabel() == "energy RMSE (meV/atom)"
    assert lines(energy)[0][0, 1] == pytest.approx(20.0)


@pytest.mark.parametrize(("n", "every"), [(1, 1), (3, 100), (1, 100)])
def test_short_trainings_and_trainings_without_held_out_frames_can_be_drawn(tmp_path, n, every):
    plot_learning_curve({"a": epochs(n, every), "b": epochs(n, every)}, tmp_path / "curve.png")
    pixels = matplotlib.image.imread(tmp_path / "curve.png")[..., :3]
    assert (abs(pixels * 255 - (0, 114, 178)).max(axis=-1) < 2).any()


def comparison(numbers, n_frames, virial):
    rng = np.random.default_rng(1)
    n = len(numbers)
    labels = rng.normal(size=(n * n_frames, 3))
    tensors = rng.normal(size=(n_frames, 3, 3))
    return Comparison(
        numbers=np.tile(numbers, n_frames),
        frame=np.repeat(np.arange(n_frames), n),
        n_atoms=np.full(n_frames, n),
        energies=np.full(n_frames, -8.0 * n),
        energy_labels=np.full(n_frames, -8.1 * n),
        forces=labels + 0.1,
        force_labels=labels,
        virials=tensors + 1.0,
        virial_labels=tensors if virial else np.full((n_frames, 3, 3), np.nan),
    )


def test_parity_puts_labels_on_the_abscissa_and_the_model_on_the_ordinate(figure, tmp_path):
    found = comparison([14, 32, 32], 5, virial=True)
    plot_parity(found, found.errors(), tmp_path / "parity.png")
    force, energy, virial = figure().axes
    points = np.concatenate([np.asarray(part.get_offsets()) for part in force.collections])
    assert len(points) == 45 and points[:, 1] - points[:, 0] == pytest.approx(np.full(45, 0.1))
    assert [text.get_text() for text in force.get_legend().get_texts()] == ["Si", "Ge"]
    assert np.asarray(energy.collections[0].get_offsets())[0] == pytest.approx([-8.1, -8.0])
    assert "100" in energy.get_title() and "meV/atom" in energy.get_title()
    assert "0.333" in virial.get_title()
    assert len(virial.collections[0].get_offsets()) == 45


def test_each_point_has_the_colour_of_its_element(figure, tmp_path):
    found = comparison([32, 14, 8], 4, virial=False)
    found.force_labels[found.numbers == 14] += 100.0
    plot_parity(found, found.errors(("Si", "O", "Ge")), tmp_path / "parity.png")
    axes = figure().axes
    assert len(axes) == 2
    cloud = axes[0].collections[0]
    silicon = np.asarray(cloud.get_offsets())[:, 0] > 50
    colours = cloud.get_facecolors()[:, :3]
    assert silicon.sum() == 12 and (colours[silicon] == colours[silicon][0]).all()
    assert not (colours[~silicon] == colours[silicon][0]).all(axis=1).any()


def test_a_single_atom_at_rest_can_be_drawn(tmp_path):
    found = comparison([14], 1, virial=False)
    found.forces[:] = found.force_labels[:] = 0.0
    plot_parity(found, found.errors(), tmp_path / "parity.png")


@pytest.mark.parametrize(("n", "method"), [(1, "conformal"), (600, "isotonic")])
def test_a_calibration_is_drawn_with_the_coverage_that_was_found(figure, tmp_path, n, method):
    rng = np.random.default_rng(2)
    u = rng.lognormal(size=n)
    e = u * abs(rng.normal(size=n))
    calibration = Calibration.fit(u, e, method=method, coverage=0.8, measure="kpu")
    plot_calibration(calibration, u, e, tmp_path / "calibration.png")
    pairs, coverage = figure().axes
    assert len(pairs.collections[0].get_offsets()) == n
    labels = [text.get_text() for text in pairs.get_legend().get_texts()]
    if n < 50:
        assert "too few" in figure().get_suptitle() and "80% bound" not in labels
    else:
        assert "80% bound" in labels
        assert f"{np.mean(e <= calibration.bound(u)):.1%}" in coverage.get_title()


def test_errors_of_zero_can_be_drawn(tmp_path):
    calibration = Calibration.fit(np.zeros(60), np.zeros(60))
    plot_calibration(calibration, np.zeros(60), np.zeros(60), tmp_path / "calibration.png")


def test_a_full_disk_names_the_plot_and_leaves_the_older_one(monkeypatch, tmp_path):
    def full(self, file, **options):
        file.write(b"part")
        raise OSError(errno.ENOSPC, "No space left on device")

    file = tmp_path / "curve.png"
    file.write_bytes(b"older")
    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*curve\.png'"):
        plot_learning_curve({"model.pt": epochs(3)}, file)
    assert [path.name for path in tmp_path.iterdir()] == ["curve.png"] and file.read_bytes() == b"older"
