"""Bad input gives one clear message, a failure on all ranks, and never a hang."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ase import Atoms

from pescape.calculators.bpnn import BPNNPotential
from pescape.calculators.mtp import MTPotential

SETUP = """
units {units}
{newton}
read_data hot.data
pair_style {style}
{coefficients}
"""
RUN = SETUP + "fix 1 all nve\n{fix}\n{more}\nrun {steps}\n"


def script(
    coefficients="pair_coeff * * metal.almtp Cu",
    *,
    units="metal",
    style="mtp",
    newton="",
    fix="",
    more="",
    steps=50,
):
    return RUN.format(**locals())


@pytest.fixture
def system(lammps, potentials, hot_copper):
    for kind in (potentials, replace(potentials, style="bpnn")):
        kind.metal()
        kind.alloy()
    hot_copper(300)
    return lammps


def fails(system, text, *parts, ranks=2, timeout=60):
    """The run ends with one message that holds all parts."""
    run = system.run(text, ranks=ranks, timeout=timeout)
    assert run.code != 0, run.output
    messages = [line for line in run.output.splitlines() if line.startswith("ERROR")]
    assert len(messages) == 1, run.output
    for part in parts:
        assert part in messages[0], messages[0]
    return run


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"coefficients": "pair_coeff * * none.mtp Cu"}, ["none.mtp", "No such file"]),
        ({"coefficients": "pair_coeff * * . Cu"}, ["cannot read potential file .", "folder"]),
        ({"coefficients": "pair_coeff * * metal.almtp"}, ["elements of the 1 atom types", "0"]),
        ({"coefficients": "pair_coeff * * metal.almtp Cu Cu"}, ["1 atom types", "not 2 words"]),
        ({"coefficients": "pair_coeff * * metal.almtp Zr"}, ["Zr", "metal.almtp", "for Cu"]),
        ({"coefficients": "pair_coeff * * alloy.mtp Au"}, ["Au", "alloy.mtp", "Cu Ag"]),
        ({"coefficients": "pair_coeff * * metal.almtp NULL"}, ["NULL", "hybrid"]),
        ({"style": "bpnn", "coefficients": "pair_coeff * * none Cu"}, ["none", "No such file"]),
        (
            {"style": "bpnn", "coefficients": "pair_coeff * * alloy.bpnn Au"},
            ["element Au is not in alloy.bpnn, which is for Cu Ag"],
        ),
        (
            {"style": "bpnn", "coefficients": "pair_coeff * * metal.bpnn"},
            ["pair_style bpnn", "elements of the 1 atom types", "0"],
        ),
        (
            {"style": "bpnn", "coefficients": "pair_coeff * * metal.almtp Cu"},
            ["metal.almtp: line 1: 'pescape-bpnn' expected, found 'MTP'"],
        ),
        ({"style": "bpnn precision single"}, ["pair_style bpnn: unknown keyword precision"]),
        ({"units": "real"}, ["units metal", "real"]),
        ({"newton": "newton off"}, ["newton on"]),
        ({"newton": "newton off on"}, ["newton on"]),
        ({"style": "mtp precision half"}, ["double or single", "half"]),
        ({"style": "mtp fast"}, ["unknown keyword fast", "precision"]),
        ({"style": "mtp precision"}, ["double or single"]),
        ({"fix": "fix g all extrapolation"}, ["fix g extrapolation", "number of steps"]),
        ({"fix": "fix g all extrapolation 0"}, ["at least 1", "0"]),
        ({"fix": "fix g all extrapolation 10 select"}, ["select has no value"]),
        ({"fix": "fix g all extrapolation 10 select -1"}, ["select", "positive", "-1"]),
        ({"fix": "fix g all extrapolation 10 select 3 break 2"}, ["break 2", "select 3"]),
        ({"fix": "fix g all extrapolation 10 halt maybe"}, ["soft, hard or continue", "maybe"]),
        ({"fix": "fix g all extrapolation 10 append maybe"}, ["yes or no", "maybe"]),
        ({"fix": "fix g all extrapolation 10 colour red"}, ["unknown keyword colour"]),
        (
            {"fix": "fix g all extrapolation 10 file no/such/folder.xyz"},
            ["cannot write no/such/folder.xyz", "No such file"],
        ),
        (
            {"fix": "fix g all extrapolation 10\nfix h all extrapolation 20 file ./risky.xyz"},
            ["risky.xyz too"],
        ),
    ],
)
def test_wrong_commands(system, change, parts):
    fails(system, script(**change), *parts)


def test_a_grade_asked_of_a_file_without_an_active_set(system, potentials):
    potentials.read("metal.almtp").with_active_set(None).write(system.folder / "plain.mtp")
    coefficients = "pair_coeff * * plain.mtp Cu"
    fix = "fix g all extrapolation 10"
    fails(system, script(coefficients, fix=fix), "plain.mtp", "no active set", "pescape fit")
    fix = "fix g all pair 10 mtp extrapolation 1"
    fails(system, script(coefficients, fix=fix), "plain.mtp", "no active set", "pescape fit")
    text = script("pair_coeff * * alloy.bpnn Cu", style="bpnn", fix="fix g all extrapolation 10")
    fails(system, text, "alloy.bpnn", "no active set", "pescape fit bpnn")


def test_a_guard_needs_a_style_that_grades(system):
    text = script("pair_coeff * * 0.01 2.5", style="lj/cut 5.0", fix="fix g all extrapolation 10")
    fails(system, text, "no pair style gives extrapolation grades")


def test_a_guard_watches_one_style(system):
    text = script(
        "pair_coeff * * mtp 1 metal.almtp Cu\npair_coeff * * mtp 2 metal.almtp Cu",
        style="hybrid/overlay mtp mtp",
        fix="fix g all extrapolation 10",
    )
    fails(system, text, "several pair styles", "mtp 1, mtp 2")
    text = text.replace("overlay mtp mtp", "overlay mtp bpnn").replace(
        "mtp 2 metal.almtp", "bpnn metal.bpnn"
    )
    text = text.replace("mtp 1 metal", "mtp metal")
    fails(system, text, "several pair styles", "mtp 1, bpnn 1")


def test_files_that_name_no_elements_need_as_many_as_they_have(system, potentials):
    path = system.folder / "anonymous.mtp"
    replace(potentials.read("alloy.mtp"), species=()).write(path)
    text = script("pair_coeff * * anonymous.mtp Cu")
    fails(system, text, "anonymous.mtp", "2 elements", "names 1: Cu")


def _replaced(old, new):
    return lambda text: text.replace(old, new, 1)


@pytest.mark.parametrize(
    ("damage", "parts"),
    [
        (_replaced(b"MTP", b"MPT"), ["line 1"]),
        (_replaced(b"RBChebyshev", b"RBMagic"), ["line", "RBMagic"]),
        (_replaced(b"species_count = 2", b"species_count = 3"), ["line"]),
        (_replaced(b"max_dist = 5", b"max_dist = nan"), ["line", "max_dist"]),
        (lambda text: text[: len(text) // 2], ["line"]),
        (lambda _: b"", ["line 1"]),
        (lambda _: b"\x00\xff" * 1000, ["line 1"]),
    ],
)
def test_damaged_potential_files(system, damage, parts):
    path = system.folder / "alloy.mtp"
    before = path.read_bytes()
    path.write_bytes(damage(before))
    assert path.read_bytes() != before
    text = script("pair_coeff * * alloy.mtp Cu")
    fails(system, text, "potential file alloy.mtp", *parts)


@pytest.mark.parametrize(
    ("damage", "parts"),
    [
        (_replaced(b"pescape-bpnn 1", b"pescape-bpnn 2"), ["line 1: version 1 expected"]),
        (_replaced(b"species Cu Ag", b"species Cu Cu"), ["line 3", "'Cu' appears twice"]),
        (_replaced(b"species Cu Ag", b"species Cu Xx"), ["line 3", "unknown element 'Xx'"]),
        (_replaced(b"G2 Ag -", b"G2 Au -"), ["'Au' is not one of the species"]),
        (_replaced(b"G2 Cu -", b"G2 Cu Ag"), ["line", "'-' expected", "'Ag'"]),
        (_replaced(b"G4 Cu Cu", b"G3 Cu Cu"), ["line", "unknown symmetry function 'G3'", "G2, G4"]),
        (_replaced(b" 2.3 cosine", b" 0.5 cosine"), ["line", "zeta must be at least 1"]),
        (_replaced(b"cosine 5.0", b"cosine 1e999"), ["line", "the cut-off radius", "'1e999'"]),
        (_replaced(b"cosine 5.0", b"cosine -5.0"), ["line", "radius must be positive"]),
        (_replaced(b"scaling range", b"scaling sigma"), ["line", "needs the mean"]),
        (_replaced(b"layer 30 8 tanh", b"layer 30 8 thanh"), ["unknown activation 'thanh'"]),
        (_replaced(b"layer 30 8 tanh", b"layer 30 9 tanh"), ["9 numbers expected", "found 8"]),
        (_replaced(b"layer 30 8 tanh", b"layer 29 8 tanh"), ["line", "29 inputs, not 30"]),
        (_replaced(b"\nend", b"\nend\nmore"), ["should end here, found 'more'"]),
        (_replaced(b"\nend", b""), ["the file ends, but 'end' should follow"]),
        (lambda text: text[: len(text) // 2], ["line"]),
        (lambda _: b"", ["line 1"]),
        (lambda _: b"\x00\xff" * 1000, ["line 1"]),
    ],
)
def test_damaged_network_files(system, damage, parts):
    path = system.folder / "alloy.bpnn"
    before = path.read_bytes()
    path.write_bytes(damage(before))
    assert path.read_bytes() != before
    text = script("pair_coeff * * alloy.bpnn Cu", style="bpnn")
    fails(system, text, "potential file alloy.bpnn: ", *parts, ranks=1)


def test_a_damaged_active_set_of_a_network(system):
    path = system.folder / "metal.bpnn"
    head, body = path.read_text().split("# inverse\n")
    number = body.split(maxsplit=1)[0]
    path.write_text(f"{head}# inverse\n{body.replace(number, '0.1234', 1)}")
    text = script("pair_coeff * * metal.bpnn Cu", style="bpnn")
    fails(system, text, "metal.bpnn: line", "not each other's inverse")


@pytest.mark.parametrize(
    ("name", "content", "parts"),
    [
        ("ZrO.amp", "dict(\ndescriptor='...')", ["of Amp", "pescape convert ZrO.amp ZrO.bpnn"]),
        (
            "potential_saved",
            "ELEM_LIST Cu\n",
            ["of SIMPLE-NN", "pescape convert potential_saved potential_saved.bpnn"],
        ),
        (
            "nnp/",
            None,
            ["folder", "n2p2", "pescape convert nnp/ nnp.bpnn --length-unit Bohr --energy-unit"],
        ),
    ],
)
def test_files_of_other_programs_are_to_be_converted(system, name, content, parts):
    path = system.folder / name
    path.mkdir() if content is None else path.write_text(content)
    fails(system, script(f"pair_coeff * * {name} Cu", style="bpnn"), *parts)


def test_an_untrained_potential(system):
    untrained = MTPotential.untrained(level=4, species=["Cu"], cutoff=4.0, min_dist=2.0)
    untrained.write(system.folder / "untrained.mtp")
    fails(system, script("pair_coeff * * untrained.mtp Cu"), "untrained.mtp", "fit it first")
    BPNNPotential.untrained(["Cu"]).write(system.folder / "untrained.bpnn")
    text = script("pair_coeff * * untrained.bpnn Cu", style="bpnn")
    fails(system, text, "untrained.bpnn", "fit it first")


def test_a_truncated_active_set(system):
    path = system.folder / "metal.almtp"
    text = path.read_bytes()
    path.write_bytes(text[: text.index(b"#MVS") + 600])
    fails(system, script(), "metal.almtp", "line")


@pytest.mark.parametrize(("style", "file"), [("mtp", "metal.almtp"), ("bpnn", "metal.bpnn")])
@pytest.mark.parametrize("ranks", [1, 2])
def test_atoms_on_top_of_each_other(system, ranks, style, file):
    atoms = Atoms("Cu3", positions=[(1, 1, 1), (1, 1, 1), (9, 9, 9)], cell=[20, 20, 20], pbc=True)
    system.write(atoms, "hot.data", ["Cu"])
    text = script(f"pair_coeff * * {file} Cu", style=style)
    fails(system, text, f"pair_style {style}: the", "is not finite at step 0", ranks=ranks)


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("velocity all set 1e5 0 0\nvelocity all create 1e10 1\ntimestep 0.1", "ost atoms"),
        ("fix push all addforce 1e308 0 0\nneigh_modify every 100 check no", "is not finite"),
    ],
)
def test_dynamics_that_explode(system, ranks, more, message):
    run = system.run(script(more=more + "\nthermo 1", steps=500), ranks=ranks, timeout=60)
    assert run.code != 0
    assert any("ERROR" in line and message in line for line in run.output.splitlines()), run.output
