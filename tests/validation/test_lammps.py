from pescape.calculators.mtp import MTPotential
from pescape.validation.sources import PotentialFile, lammps_model


def test_a_potential_that_names_no_elements_is_named_for_lammps(tmp_path):
    path = tmp_path / "old.mtp"
    nameless = MTPotential.untrained(
        level=4, species=1, cutoff=5.0, min_dist=2.0, radial_basis_size=6
    )
    nameless.randomized(seed=1).write(path)
    model = lammps_model(PotentialFile.of(path, species=["Zr"]), tmp_path)
    assert model.style == "mtp"
    assert MTPotential.read(model.file).species == ("Zr",)
    assert MTPotential.read(path).species == ()
