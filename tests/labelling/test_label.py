import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

from pescape.data.configurations import configuration_id
from pescape.errors import ConfigError, DataError
from pescape.labelling import label, reference_from


@pytest.fixture
def copper():
    atoms = bulk("Cu", "fcc", a=3.6, cubic=True)
    atoms.positions += 0.1 * np.random.default_rng(0).normal(size=(4, 3))
    return atoms


def test_labels_are_the_calculators(copper):
    made = label(copper, reference_from("ase.calculators.emt:EMT"))
    other = copper.copy()
    other.calc = EMT()
    assert made.calc.results["energy"] == other.get_potential_energy()
    np.testing.assert_array_equal(made.calc.results["forces"], other.get_forces())
    np.testing.assert_array_equal(made.calc.results["stress"], other.get_stress())
    assert made.calc.results["free_energy"] == other.get_potential_energy(force_consistent=True)
    assert copper.calc is None


def test_labels_say_who_made_them_and_what_for(copper):
    copper.info["group"] = "mine"
    reference = reference_from("ase.calculators.emt:EMT")
    info = label(copper, reference, {"parent": "fcc Cu4", "round": 3}).info
    assert info["group"] == "mine"
    assert info["parent"] == "fcc Cu4"
    assert info["round"] == 3
    assert info["reference"] == "ase.calculators.emt.EMT"
    assert info["reference_version"].startswith("ase ")
    assert info["reference_id"] == reference.identity
    assert info["configuration_id"] == configuration_id(copper)


def test_the_embedded_eam_gives_the_known_lattice_energies():
    reference = reference_from("eam:Zr_mm.eam.fs")
    hcp = label(bulk("Zr", "hcp", a=3.234, c=3.234 * 1.598), reference)
    bcc = label(bulk("Zr", "bcc", a=3.5765), reference)
    difference = bcc.get_potential_energy() - hcp.get_potential_energy() / 2
    assert difference == pytest.approx(0.103, abs=0.001)
    assert np.abs(hcp.get_stress()).max() < 1e-3
    assert hcp.info["reference"] == "eam/fs Zr_mm.eam.fs"


def test_labels_do_not_depend_on_what_was_labelled_before():
    reference = reference_from("eam:Zr_mm.eam.fs")
    rng = np.random.default_rng(1)
    frames = [bulk("Zr", "hcp", a=3.2) * (k, 1, 1) for k in (1, 2, 3)]
    for atoms in frames:
        atoms.positions += 0.1 * rng.normal(size=atoms.positions.shape)
    forward = [label(atoms, reference) for atoms in frames]
    backward = [label(atoms, reference) for atoms in frames[::-1]][::-1]
    for a, b in zip(forward, backward, strict=True):
        assert a.calc.results["energy"] == b.calc.results["energy"]
        np.testing.assert_array_equal(a.calc.results["forces"], b.calc.results["forces"])


def test_one_session_answers_call_after_call_as_fresh_calculators_do():
    reference = reference_from("eam:Zr_mm.eam.fs")
    atoms = bulk("Zr", "hcp", a=3.2) * (2, 2, 1)
    with reference.session() as calculator:
        for seed in range(4):
            atoms.rattle(0.3, seed=seed)
            fresh = label(atoms, reference)
            atoms.calc = calculator
            assert atoms.get_potential_energy() == fresh.get_potential_energy()
            np.testing.assert_array_equal(atoms.get_forces(), fresh.get_forces())


def test_what_is_not_periodic_has_no_stress():
    made = label(
        Atoms("Cu2", positions=[[0, 0, 0], [2.4, 0, 0]]), reference_from("ase.calculators.emt:EMT")
    )
    assert "stress" not in made.calc.results


def test_identities_tell_references_apart(tmp_path):
    eam = reference_from("eam:Zr_mm.eam.fs")
    assert eam.identity == reference_from("eam:Zr_mm.eam.fs").identity
    (tmp_path / "a").mkdir()
    copy = tmp_path / "a" / "Zr_mm.eam.fs"
    from pathlib import Path

    text = Path(eam.local["path"]).read_text()
    copy.write_text(text)
    assert reference_from("eam:Zr_mm.eam.fs", tmp_path / "a").identity == eam.identity
    copy.write_text(text.replace("9.12240000000000E+0001", "9.12250000000000E+0001"))
    assert reference_from("eam:Zr_mm.eam.fs", tmp_path / "a").identity != eam.identity
    plain = reference_from("ase.calculators.emt:EMT")
    (tmp_path / "emt.toml").write_text(
        'calculator = "ase.calculators.emt:EMT"\noptions = { asap_cutoff = true }\n'
    )
    changed = reference_from(str(tmp_path / "emt.toml"))
    assert changed.identity != plain.identity
    assert changed.calculator().parameters.asap_cutoff is True


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("eam:nothing.eam.fs", r"no EAM file 'nothing\.eam\.fs', looked for"),
        ("ase.calculators.emt.EMT", "is no import path MODULE:CLASS"),
        ("ase.calculators.etm:EMT", "not importable"),
        ("ase.calculators.emt:ETM", "has no 'ETM'"),
        ("eam:Zr.rann", r"its name must end in \.eam\.fs or \.eam\.alloy"),
    ],
)
def test_wrong_references_are_told(name, message):
    with pytest.raises(ConfigError, match=message):
        reference_from(name)


def test_a_file_that_is_no_setfl_is_told(tmp_path):
    (tmp_path / "bad.eam.fs").write_text("one\ntwo\nthree\n2 Zr\n")
    with pytest.raises(ConfigError, match="line 4 must hold the number of elements"):
        reference_from("eam:bad.eam.fs", tmp_path)


def test_elements_the_reference_does_not_know_are_told(copper):
    with pytest.raises(DataError, match=r"eam/fs Zr_mm\.eam\.fs failed on Cu4"):
        label(copper, reference_from("eam:Zr_mm.eam.fs"))
