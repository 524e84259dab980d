import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import Bohr, GPa, Ry

from pescape.errors import ConfigError
from pescape.labelling import label, reference_from
from pescape.labelling.evaluation import AttemptError, evaluate
from pescape.labelling.recipes.common import zero_smearing
from tests.labelling.conftest import OUTCAR, PW_OUTPUT, PW_UNCONVERGED


def test_zero_smearing_follows_the_order_of_the_smearing():
    # F = E - TS with -TS = -0.6: E0 = (E + F) / 2, and (2 F + E) / 3 at first order.
    assert zero_smearing(-10.0, -0.6, "fermi-dirac") == pytest.approx((-10.0 - 9.4) / 2)
    assert zero_smearing(-10.0, -0.6, "methfessel-paxton") == pytest.approx((-20.0 - 9.4) / 3)


def test_pw_writes_what_the_recipe_says(pw, espresso_config, zirconium, tmp_path):
    table = (
        'cutoff = 500\nkpoint_density = 10000\nwidth = 0.2\nsmearing = "methfessel-paxton"\n'
        "tolerance = 1e-5\nmixing = 0.3\nspin = true\nmoments = { Zr = 0.5 }\n"
        'options = { nbnd = 20, system = { assume_isolated = "none" } }'
    )
    reference = reference_from(espresso_config(pw(), table))
    evaluate(zirconium, reference, tmp_path)
    text = (tmp_path / "espresso.pwi").read_text()
    given = dict(re.findall(r"^\s*(\S+)\s*=\s*(\S+)\s*$", text, re.MULTILINE))
    assert float(given["ecutwfc"]) == pytest.approx(500 / Ry)
    assert float(given["ecutrho"]) == pytest.approx(8 * 500 / Ry)
    assert float(given["degauss"]) == pytest.approx(0.2 / Ry)
    assert float(given["conv_thr"]) == pytest.approx(2 * 1e-5 / Ry)  # two atoms
    assert float(given["mixing_beta"]) == 0.3
    assert given["smearing"] == "'methfessel-paxton'"
    assert given["tprnfor"] == given["tstress"] == ".true."
    assert given["nspin"] == "2"
    assert given["nbnd"] == "20"
    assert given["assume_isolated"] == "'none'"
    # 46.8 Å³: 8 × 8 × 4 points make 11980 Å³, 7 × 7 × 4 only 9172.
    assert re.search(r"K_POINTS automatic\s+8 8 4\s+0 0 0", text)
    assert "Zr.UPF" in text


def test_pw_gives_free_and_zero_smearing_energy(pw, espresso_config, zirconium, tmp_path):
    answer = evaluate(zirconium, reference_from(espresso_config(pw())), tmp_path)
    assert answer.results["free_energy"] == pytest.approx(-198 * Ry)
    assert answer.results["energy"] == pytest.approx((-198 + 0.003 / 2) * Ry)
    np.testing.assert_allclose(answer.results["forces"][0], [0.01 * Ry / Bohr, 0, 0])
    np.testing.assert_allclose(answer.results["stress"][:3], -1e-4 * Ry / Bohr**3)
    assert answer.details == {"kpoints": [8, 8, 4], "version": "Quantum ESPRESSO 9.9test"}


def test_directions_that_are_not_periodic_have_one_k_point(pw, espresso_config, tmp_path):
    slab = bulk("Zr", "hcp", a=3.234, c=5.168)
    slab.pbc = (True, True, False)
    answer = evaluate(slab, reference_from(espresso_config(pw())), tmp_path)
    assert answer.details["kpoints"][2] == 1
    assert answer.details["kpoints"][0] == answer.details["kpoints"][1]
    assert np.prod(answer.details["kpoints"]) * slab.get_volume() >= 10_000


def test_molecules_without_a_cell_are_told(pw, espresso_config, tmp_path):
    dimer = Atoms("Zr2", positions=[[0, 0, 0], [0, 0, 2.3]])
    with pytest.raises(AttemptError, match="need a cell with three vectors"):
        evaluate(dimer, reference_from(espresso_config(pw())), tmp_path)


@pytest.mark.parametrize(
    ("output", "last", "kind", "message"),
    [
        (PW_UNCONVERGED, "", "not_converged", "did not converge after 200 steps"),
        (PW_UNCONVERGED, "sys.exit(2)", "not_converged", "did not converge after 200 steps"),
        (PW_OUTPUT.replace("JOB DONE", ""), "", "crashed", "before its output was complete"),
        ("", "sys.exit(3)", "crashed", "pw.x ended with exit status 3"),
        (PW_OUTPUT.replace("0.01000000 ", "NaN        "), "", "not_finite", "forces is not finite"),
        (
            " Error in routine readpp (2):\n  file Zr.UPF is empty\n",
            "sys.exit(1)",
            "crashed",
            r"routine readpp \(2\):: file Zr.UPF is empty",
        ),
    ],
)
def test_failures_of_pw_are_told_apart(
    pw, espresso_config, zirconium, tmp_path, output, last, kind, message
):
    reference = reference_from(espresso_config(pw(output, last=last)))
    with pytest.raises(AttemptError, match=message) as caught:
        evaluate(zirconium, reference, tmp_path)
    assert caught.value.kind == kind


def test_vasp_is_given_what_the_recipe_says(vasp, vasp_config, zirconium, tmp_path):
    table = 'width = 0.2\nsmearing = "methfessel-paxton"\nmixing = 0.2\noptions = { ncore = 4 }'
    reference = reference_from(vasp_config(vasp(), table))
    answer = evaluate(zirconium, reference, tmp_path)
    incar = dict(re.findall(r"^ *(\w+) = (.*?) *$", (tmp_path / "INCAR").read_text(), re.MULTILINE))
    assert float(incar["ENCUT"]) == 520.0
    assert float(incar["SIGMA"]) == 0.2
    assert float(incar["AMIX"]) == 0.2
    assert float(incar["EDIFF"]) == pytest.approx(2e-6)
    assert (incar["ISMEAR"], incar["ISIF"], incar["NSW"], incar["ISPIN"]) == ("1", "2", "0", "1")
    assert (incar["NELM"], incar["NCORE"], incar["ALGO"]) == ("200", "4", "Normal")
    assert (incar["LWAVE"], incar["LCHARG"]) == (".FALSE.", ".FALSE.")
    kpoints = (tmp_path / "KPOINTS").read_text().split()
    assert "Gamma" in kpoints
    assert kpoints[-6:-3] == ["8", "8", "4"] or kpoints[-3:] == ["8", "8", "4"]
    assert "PAW_PBE Zr_sv" in (tmp_path / "POTCAR").read_text()
    assert answer.results["energy"] == -17.0
    assert answer.results["free_energy"] == -17.1
    np.testing.assert_allclose(answer.results["forces"], [[0.5, 0, 0], [-0.5, 0, 0]])
    # VASP prints the pressure, in kbar; ASE's stress is of the other sign.
    np.testing.assert_allclose(answer.results["stress"][:3], -1.602 * GPa)
    assert answer.details["version"] == "VASP 6.9.9"


@pytest.mark.parametrize(
    ("files", "last", "kind", "message"),
    [
        (
            {"outcar": OUTCAR.replace("EDIFF is reached", "hard stop was set")},
            "",
            "not_converged",
            "did not converge in 200 steps",
        ),
        ({}, "sys.exit(1)", "crashed", "VASP ended with exit status 1"),
        ({"vasprun": "<modeling>"}, "", "crashed", "cannot be read"),
    ],
)
def test_failures_of_vasp_are_told_apart(
    vasp, vasp_config, zirconium, tmp_path, files, last, kind, message
):
    reference = reference_from(vasp_config(vasp(**files, last=last)))
    with pytest.raises(AttemptError, match=message) as caught:
        evaluate(zirconium, reference, tmp_path)
    assert caught.value.kind == kind


def test_identities_hold_on_every_machine(pw, espresso_config, tmp_path):
    here = reference_from(espresso_config(pw(), "ranks = 2\nmixing = 0.3")).identity
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "Other.UPF").write_text("a pseudopotential")
    text = espresso_config("srun pw.x", 'pseudo_dir = "there"')
    content = Path(text).read_text().replace('"Zr.UPF"', '"Other.UPF"')
    Path(text).write_text(content)
    assert reference_from(text).identity == here
    Path(text).write_text(content + "cutoff = 681\n")
    assert reference_from(text).identity != here
    Path(text).write_text(content)
    (tmp_path / "there" / "Other.UPF").write_text("another pseudopotential")
    assert reference_from(text).identity != here


def test_what_is_missing_is_told_before_anything_runs(
    pw, espresso_config, vasp, vasp_config, tmp_path, monkeypatch
):
    with pytest.raises(ConfigError, match=r"espresso\.command: no executable 'no-such-pw'"):
        reference_from(espresso_config("no-such-pw")).check(["Zr"])
    reference = reference_from(espresso_config(pw()))
    reference.check(["Zr"])
    with pytest.raises(ConfigError, match=r"none for O; add O = 'FILE\.UPF'"):
        reference.check(["O", "Zr"])
    path = Path(espresso_config(pw()))
    path.write_text(path.read_text().replace("Zr =", "Hf = 'no.UPF', Zr ="))
    with pytest.raises(ConfigError, match=r"pseudopotentials\.Hf: no file"):
        reference_from(str(path))
    path = Path(vasp_config(vasp()))
    with pytest.raises(ConfigError, match="none for O; add O = 'O'"):
        reference_from(str(path)).check(["O"])
    monkeypatch.delenv("VASP_PP_PATH", raising=False)
    path.write_text(path.read_text().replace('pseudo_dir = "sets"', ""))
    with pytest.raises(ConfigError, match="set pseudo_dir or VASP_PP_PATH"):
        reference_from(str(path))
    monkeypatch.setenv("VASP_PP_PATH", str(tmp_path / "sets"))
    reference_from(str(path)).check(["Zr"])
    with pytest.raises(ConfigError, match="knows Zr, not O"):
        reference_from("eam:Zr_mm.eam.fs").check(["O"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timeout = 3.0\n", "give exactly one of eam"),
        ('eam = "a"\ncalculator = "b:c"\n', "eam and calculator are given"),
        ("[gpaw]\ncutof = 3\n", "unknown key 'gpaw.cutof'; did you mean 'cutoff'"),
        ("options = { a = 1 }\n[gpaw]\n", "go into its table: gpaw.options"),
        ("retry = [{ width = 1 }]\n[gpaw]\n", "'width' would change labels"),
        ("energy_limits = [1, 0]\n[gpaw]\n", "do not rise"),
        ("[espresso]\n", "key 'espresso.pseudopotentials' is missing"),
    ],
)
def test_wrong_tables_are_told(tmp_path, text, message):
    (tmp_path / "wrong.toml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        reference_from(str(tmp_path / "wrong.toml"))


def test_a_label_says_which_program_made_it(pw, espresso_config, zirconium, tmp_path):
    folder = tmp_path / "label"
    folder.mkdir()
    made = label(zirconium, reference_from(espresso_config(pw())), {"seed": 3}, folder)
    assert made.info["reference_version"] == "Quantum ESPRESSO 9.9test"
    assert made.info["seed"] == 3
    assert made.calc.results["free_energy"] == pytest.approx(-198 * Ry)
    assert "JOB DONE" in (folder / "attempt-1.txt").read_text()
    assert sorted(path.name for path in folder.iterdir()) == ["attempt-1.txt", "label.json"]
    record = (folder / "label.json").read_text()
    assert '"attempts": 1' in record
    assert str(tmp_path) not in record


def test_keywords_that_pw_does_not_know_stop_everything(pw, espresso_config, zirconium, tmp_path):
    reference = reference_from(espresso_config(pw(), "options = { ecutwfk = 30 }"))
    with pytest.raises(ConfigError, match="knows no keyword 'ecutwfk'"):
        evaluate(zirconium, reference, tmp_path)
