import numpy as np
import pytest

from pescape.calculators.bpnn import BPNNPotential
from pescape.calculators.bpnn.descriptors import SymmetryFunctions
from pescape.calculators.bpnn.fit import CacheSettings, default_functions
from pescape.calculators.bpnn.fit.features import features
from pescape.calculators.fit.data import training_set


@pytest.fixture
def data(made_up, potential):
    return training_set(made_up, potential.species, potential.cutoff)


def tables_of(found):
    return [vars(table) for table in found.tables]


def dense(found, data, c):
    """Functions and derivatives of one configuration as the descriptors' class gives them."""
    a, b = data.first[c], data.first[c + 1]
    width = max(layout.functions for layout in found.layouts)
    functions, derivatives = np.zeros((b - a, width)), np.zeros((b - a, b - a, width, 3))
    for layout, table in zip(found.layouts, found.tables, strict=True):
        mine = slice(layout.first[c], layout.first[c + 1])
        D = layout.functions
        functions[layout.atoms[mine] - a, :D] = table.functions[mine]
        blocks = slice(layout.first_block[c], layout.first_block[c + 1])
        centers = layout.atoms[layout.centers[blocks]] - a
        derivatives[centers, layout.moved[blocks] - a, :D] = table.derivatives[blocks].swapaxes(
            1, 2
        )
    return functions, derivatives.swapaxes(1, 2)


def test_functions_and_derivatives_are_those_of_each_configuration(made_up, potential, data):
    found = features(potential, data)
    given = {s: e.functions for s, e in zip(potential.species, potential.elements, strict=True)}
    descriptors = SymmetryFunctions(potential.species, given)
    for c, atoms in enumerate(made_up):
        values, derivatives = descriptors.derivatives(atoms)
        mine, mine_derivatives = dense(found, data, c)
        np.testing.assert_allclose(mine, values, rtol=0, atol=1e-12)
        np.testing.assert_allclose(mine_derivatives, derivatives, rtol=0, atol=1e-12)


def test_strains_are_derivatives_by_the_cell(potential, made_up):
    """The sum over atoms of any function changes with a strain as the strains say."""
    atoms, step = made_up[1], 1e-5
    voigt = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]

    def sums(strained):
        found = features(potential, training_set([strained], potential.species, potential.cutoff))
        return [table.functions.sum(axis=0) for table in found.tables], found

    _, found = sums(atoms)
    for k, (x, y) in enumerate(voigt):
        values = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[x, y] += sign * step / 2
            strain[y, x] += sign * step / 2
            moved = atoms.copy()
            moved.calc = atoms.calc
            moved.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            values.append(sums(moved)[0])
        for table, plus, minus in zip(found.tables, *values, strict=True):
            difference = -(plus - minus) / (2 * step)
            np.testing.assert_allclose(table.strains[:, k].sum(axis=0), difference, atol=1e-6)


def test_single_precision_takes_half_the_space(potential, data):
    double = features(potential, data)
    single = features(potential, data, CacheSettings(precision="single"))
    assert single.size < 0.6 * double.size
    for one, two in zip(tables_of(double), tables_of(single), strict=True):
        np.testing.assert_array_equal(one["functions"], two["functions"])
        np.testing.assert_allclose(one["derivatives"], two["derivatives"], rtol=1e-6, atol=1e-7)


def test_files_hold_what_memory_does_and_are_used_again(potential, data, tmp_path, monkeypatch):
    held = features(potential, data)
    told = []
    settings = CacheSettings(tmp_path, memory_limit=0.0)
    mapped = features(potential, data, settings, report=told.append)
    assert mapped.mapped
    assert "more than the memory limit of 0 GB" in told[0]
    assert str(mapped.folder) in told[0]

    def fail(*_, **__):
        raise AssertionError("computed again")

    monkeypatch.setattr("pescape.calculators.bpnn.fit.features._fill", fail)
    again = features(potential, data, CacheSettings(tmp_path))
    assert not again.mapped
    for one, two, three in zip(*map(tables_of, (held, mapped, again)), strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], two[name])
            np.testing.assert_array_equal(one[name], three[name])


def test_other_structures_or_functions_have_other_files(potential, data, tmp_path):
    settings = CacheSettings(tmp_path)
    features(potential, data, settings)
    features(potential, data.part(0, 4), settings)
    fewer = {"Zr": potential.elements[0].functions[:3], "O": potential.elements[1].functions[:2]}
    features(BPNNPotential.untrained(potential.species, fewer), data, settings)
    assert len(list(tmp_path.iterdir())) == 3


def test_beyond_the_memory_limit_without_a_folder_the_fit_does_not_begin(potential, data):
    with pytest.raises(ValueError, match=r"take .* GB, more than the memory limit .* cache folder"):
        features(potential, data, CacheSettings(memory_limit=0.0))


def test_a_computation_cut_short_leaves_nothing(potential, data, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("killed")

    monkeypatch.setattr("pescape.calculators.bpnn.fit.features._fill", fail)
    with pytest.raises(RuntimeError, match="killed"):
        features(potential, data, CacheSettings(tmp_path))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"nonsense", b""])
def test_a_damaged_file_is_named(potential, data, tmp_path, content):
    found = features(potential, data, CacheSettings(tmp_path))
    (found.folder / "0-derivatives.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"0-derivatives\.npy is damaged .* remove the folder"):
        features(potential, data, CacheSettings(tmp_path))


def test_objects_in_files_are_not_unpickled(potential, data, tmp_path):
    found = features(potential, data, CacheSettings(tmp_path))
    np.save(found.folder / "0-strains.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="is damaged"):
        features(potential, data, CacheSettings(tmp_path))


def test_default_functions_are_as_many_as_asked_for():
    assert len(default_functions(["Mo"], 5.0)) == 24
    two = default_functions(["Zr", "O"], 6.0, radial=6, angular=12)
    assert len(two) == 2 * 6 + 3 * 12
    assert len(set(two)) == len(two)
    assert {f.cutoff.radius for f in two} == {6.0}
    with pytest.raises(ValueError, match="angular even"):
        default_functions(["Mo"], angular=3)
