import os
import pickle
import stat

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

from pescape.calculators.doptimality.active_set import ActiveSet, build_active_set, grades
from pescape.calculators.doptimality.design_matrix import site_gradients
from pescape.calculators.mtp import MTPotential

ARRAYS = (
    "basic",
    "products",
    "scalar_moments",
    "radial_coeffs",
    "species_coeffs",
    "moment_coeffs",
)
VALUES = (
    "species",
    "species_count",
    "min_dist",
    "cutoff",
    "scaling",
    "radial_basis_size",
    "radial_funcs_count",
    "moments_count",
    "name",
    "tag",
)


def assert_same(a, b):
    for name in VALUES:
        assert getattr(a, name) == getattr(b, name), name
    for name in ARRAYS:
        one, other = getattr(a, name), getattr(b, name)
        assert (one is None) == (other is None), name
        if one is not None:
            assert one.dtype == other.dtype
            assert (one == other).all(), name


def crystals():
    for seed, name in enumerate(["Zr", "Ti", "Mg"]):
        atoms = bulk(name) * (2, 1, 1)
        atoms.symbols[:] = ["Zr", "O", "Zr", "Zr"]
        atoms.rattle(0.2, seed=seed)
        yield atoms


@pytest.fixture(scope="module")
def potential():
    return MTPotential.untrained(10, ["Zr", "O"], 4.5, 1.7, 5).randomized(seed=2)


@pytest.fixture(scope="module", params=["neighborhood", "configuration"])
def guarded(potential, request):
    return potential.with_active_set(
        build_active_set(potential, list(crystals()), mode=request.param)
    )


def test_a_potential_survives_its_file(potential, tmp_path):
    potential.write(tmp_path / "x.mtp")
    again = MTPotential.read(tmp_path / "x.mtp")
    assert_same(again, potential)
    assert again.active_set is None
    assert again.source == str(tmp_path / "x.mtp")


def test_an_untrained_potential_survives_its_file(tmp_path):
    untrained = MTPotential.untrained(16, 2, 5.0, 2.0)
    untrained.write(tmp_path / "x.mtp")
    again = MTPotential.read(tmp_path / "x.mtp")
    assert_same(again, untrained)
    assert not again.is_trained
    with pytest.raises(ValueError, match=r"x\.mtp is untrained: fit it"):
        again.kernel()


def test_elements_and_free_text_share_the_tag(potential, tmp_path):
    from dataclasses import replace

    replace(potential, tag="for the fuel; draft 2").write(tmp_path / "x.mtp")
    text = (tmp_path / "x.mtp").read_text()
    assert "potential_tag = species: Zr O; for the fuel; draft 2\n" in text
    again = MTPotential.read(tmp_path / "x.mtp")
    assert again.species == ("Zr", "O")
    assert again.tag == "for the fuel; draft 2"


def test_text_of_two_lines_is_not_written(potential, tmp_path):
    from dataclasses import replace

    with pytest.raises(ValueError, match="must be one line"):
        replace(potential, tag="a\nb").write(tmp_path / "x.mtp")
    assert list(tmp_path.iterdir()) == []


def test_an_active_set_survives_its_file(guarded, tmp_path):
    guarded.write(tmp_path / "x.almtp")
    again = MTPotential.read(tmp_path / "x.almtp")
    assert_same(again, guarded)
    a, b = again.active_set, guarded.active_set
    assert (a.matrix == b.matrix).all()
    assert (a.inverse == b.inverse).all()
    assert (a.origins == b.origins).all()
    assert (a.mode, a.weight_scaling) == (b.mode, b.weight_scaling)
    assert len(a.configurations) == len(b.configurations)
    for one, other in zip(a.configurations, b.configurations, strict=True):
        assert one == other
        assert one.info == other.info
    rows = site_gradients(again, next(crystals()))
    assert (grades(rows, a) == grades(rows, b)).all()


def test_configurations_keep_their_labels(potential, tmp_path):
    atoms = next(crystals())
    atoms.calc = SinglePointCalculator(atoms, energy=-1.25, forces=np.ones((4, 3)) / 3)
    size = potential.parameter_count
    origins = np.full((size, 2), -1)
    origins[0] = 0, 3
    origins[4] = 0, 1
    active_set = ActiveSet(np.eye(size), np.eye(size), origins=origins, configurations=(atoms,))
    potential.with_active_set(active_set).write(tmp_path / "x.almtp")
    # 1 energy, 12 forces and 9 stresses come before the equations of the atoms.
    assert b"selected_eqn_inds\t23,25\n" in (tmp_path / "x.almtp").read_bytes()
    again = MTPotential.read(tmp_path / "x.almtp").active_set
    assert (again.origins == origins).all()
    kept = again.configurations[0]
    assert kept.get_potential_energy() == -1.25
    assert (kept.get_forces() == np.ones((4, 3)) / 3).all()
    assert kept.info == {}


def test_pickles_and_copies_are_the_same_potential(guarded):
    guarded.kernel()
    again = pickle.loads(pickle.dumps(guarded))
    assert_same(again, guarded)
    assert (again.active_set.inverse == guarded.active_set.inverse).all()
    assert not again.moment_coeffs.flags.writeable
    assert again.kernel() is again.kernel()


def test_naming_the_elements_later(potential, tmp_path):
    nameless = MTPotential(
        **{f: getattr(potential, f) for f in (*VALUES, *ARRAYS)} | {"species": ()}
    )
    numbered = [Atoms(["H", "He"], positions=[[0, 0, 0], [0, 0, 2.0]], cell=[5, 5, 5], pbc=True)]
    size = potential.parameter_count
    origins = np.full((size, 2), -1)
    origins[0] = 0, 0
    active_set = ActiveSet(
        np.eye(size), np.eye(size), origins=origins, configurations=tuple(numbered)
    )
    nameless.with_active_set(active_set).write(tmp_path / "x.almtp")
    read = MTPotential.read(tmp_path / "x.almtp")
    assert read.species == ()
    assert str(read.active_set.configurations[0].symbols) == "HHe"
    named = read.with_species(["Zr", "O"])
    assert str(named.active_set.configurations[0].symbols) == "ZrO"
    with pytest.raises(ValueError, match="for the species Zr O, in this order, not for O Zr"):
        named.with_species(["O", "Zr"])
    with pytest.raises(ValueError, match="does not say which elements"):
        read.types_of([40])


def test_a_file_appears_as_a_whole_or_not_at_all(potential, tmp_path, monkeypatch):
    target = tmp_path / "x.mtp"
    target.write_text("precious")

    def fail(_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        potential.write(target)
    assert target.read_text() == "precious"
    assert [p.name for p in tmp_path.iterdir()] == ["x.mtp"]


def test_files_are_readable_as_the_user_wants(potential, tmp_path):
    old = os.umask(0o027)
    try:
        potential.write(tmp_path / "x.mtp")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "x.mtp").stat().st_mode) == 0o640


def test_errors_name_file_and_line(potential, tmp_path):
    path = tmp_path / "x.mtp"
    potential.write(path)
    path.write_text(path.read_text().replace("1.1.0", "9"))
    with pytest.raises(ValueError, match=r"x\.mtp, line 2: version 1\.1\.0 expected, found '9'"):
        MTPotential.read(path)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.mtp"):
        MTPotential.read(tmp_path / "nowhere.mtp")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b" Size", b" Sighs", r"line \d+: unknown section 'Sighs'"),
        (b"END_CFG", b"", r"line \d+: BEGIN_CFG"),
        (b"\n#\n0 ", b"\n#\n9 ", "row 0 comes from configuration 9, but the file holds"),
        (b"\n#\n0 ", b"\n#\n0 9", "which is not one of its"),
    ],
)
def test_errors_behind_the_matrices_are_found(guarded, tmp_path, old, new, message):
    path = tmp_path / "x.almtp"
    first = np.flatnonzero(guarded.active_set.origins[:, 0] == 0)[0]
    order = np.r_[first, np.delete(np.arange(guarded.parameter_count), first)]
    origins = guarded.active_set.origins[order]
    active_set = ActiveSet(
        guarded.active_set.matrix,
        guarded.active_set.inverse,
        mode=guarded.active_set.mode,
        origins=origins,
        configurations=guarded.active_set.configurations,
    )
    guarded.with_active_set(active_set).write(path)
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new, 1))
    with pytest.raises(ValueError, match=rf"x\.almtp[,:] .*{message}"):
        MTPotential.read(path)


def test_an_active_set_of_the_wrong_size_is_refused(potential):
    with pytest.raises(ValueError, match="has 3 rows, but the potential has"):
        potential.with_active_set(ActiveSet(np.eye(3), np.eye(3)))


@pytest.mark.parametrize("name", ["Mo_L08.mtp", "ZrO_L16_random.mtp", "Mo_L08_nbh.almtp"])
def test_other_programs_files_survive(shared, tmp_path, name):
    potential = MTPotential.read(shared / "reference" / "mtp" / name)
    potential.write(tmp_path / name)
    again = MTPotential.read(tmp_path / name)
    assert_same(again, potential)
    if potential.active_set is not None:
        assert (again.active_set.inverse == potential.active_set.inverse).all()
        assert (again.active_set.origins == potential.active_set.origins).all()


def test_rows_of_another_programs_active_set_are_those_of_its_configurations(shared):
    path = shared / "reference" / "mtp" / "Mo_L08_nbh.almtp"
    potential = MTPotential.read(path).with_species(["Mo"])
    active_set = potential.active_set
    assert active_set.mode == "neighborhood"
    for index, atoms in enumerate(active_set.configurations):
        rows = site_gradients(potential, atoms)
        for slot in np.flatnonzero(active_set.origins[:, 0] == index):
            atom = active_set.origins[slot, 1]
            np.testing.assert_allclose(rows[atom], active_set.matrix[slot], rtol=1e-9, atol=1e-11)


def test_the_configurations_of_an_active_set_are_ase_frames(guarded, tmp_path):
    for atoms in guarded.active_set.configurations:
        ase.io.write(tmp_path / "x.xyz", atoms, format="extxyz")
        assert len(ase.io.read(tmp_path / "x.xyz")) == len(atoms)


def test_a_damaged_inverse_is_not_trusted(guarded, tmp_path):
    path = tmp_path / "x.almtp"
    guarded.write(path)
    content = bytearray(path.read_bytes())
    held = guarded.active_set.inverse.T.tobytes()
    row = int(np.abs(guarded.active_set.inverse.T).max(axis=1).argmax())
    start = content.find(held[row * len(guarded.active_set.inverse) * 8 :][:64])
    content[start + 7] ^= 0x40  # the exponent of one number
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        MTPotential.read(path)
