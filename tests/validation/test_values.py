import dataclasses
import json
import math

import pytest
from ase.calculators.emt import parameters
from ase.units import Bohr

from pescape.calculators.mtp import MTPotential
from pescape.errors import ConfigError, DataError
from pescape.labelling import Reference
from pescape.validation.config import SuiteConfig
from pescape.validation.crystals import Crystal
from pescape.validation.property import PROPERTIES, known_values
from pescape.validation.references import (
    KnownValues,
    read_values,
    shipped_values,
    source_from,
    standard_from,
)
from pescape.validation.sources import PotentialFile

NAMES = ("elastic.C11", "elastic.C12", "lattice.hcp.a")
FILE = """
name = "paper"
source = "somewhere"
elements = ["Zr"]

[values]
"elastic.C11" = 155.4
lattice.hcp.a = { value = 3.23, unit = "Å", source = "table 1" }
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "paper.toml"
    path.write_text(FILE)
    return path


def test_values_have_names_units_and_sources_of_their_own(file):
    found = read_values(file)
    assert found.check(NAMES, {"Zr"}) == ()
    standard = found.standard({"lattice.hcp.a": "Å", "elastic.C11": "GPa"})
    assert (standard.name, standard.description) == ("paper", "somewhere")
    assert standard.values["elastic.C11"].value == 155.4
    assert standard.values["lattice.hcp.a"].source == "table 1"
    assert read_values(file, "mine").name == "mine"


def test_json_holds_the_same(tmp_path, file):
    content = {
        "name": "paper",
        "source": "somewhere",
        "elements": ["Zr"],
        "values": {"elastic.C11": 155.4, "lattice.hcp.a": {"value": 3.23, "unit": "Å"}},
    }
    path = tmp_path / "paper.json"
    path.write_text(json.dumps(content))
    assert read_values(path).content.values.keys() == read_values(file).content.values.keys()


def test_other_units_are_refused(file):
    with pytest.raises(DataError, match=r"lattice.hcp.a is given in 'Å', the property in 'nm'"):
        read_values(file).standard({"lattice.hcp.a": "nm"})


def test_names_that_look_like_slips_are_told(tmp_path):
    path = tmp_path / "paper.toml"
    path.write_text(FILE.replace("lattice.hcp.a", "lattice.hpc.a") + '"surface.x" = 1.0\n')
    slip, rest = read_values(path).check(NAMES, {"Zr"})
    assert "'lattice.hpc.a' is no value of these properties; did you mean 'lattice.hcp.a'?" in slip
    assert "1 of its 3 values are not computed here" in rest


def test_files_with_nothing_in_common_with_the_properties_are_refused(file):
    with pytest.raises(ConfigError, match="none of its values is computed here"):
        read_values(file).check(("surface.x",), {"Zr"})
    with pytest.raises(ConfigError, match="its values are of Zr, the properties of Ti"):
        read_values(file).check(NAMES, {"Ti"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (FILE.replace("source =", "sauce =", 1), "unknown key 'sauce'; did you mean 'source'"),
        (
            FILE.replace("155.4", '"155.4 GPa"'),
            "values.elastic.C11.value: input should be a valid",
        ),
        (FILE.replace("155.4", "nan"), "finite number"),
        (
            FILE.replace("value = 3.23", "valu = 3.23"),
            "unknown key 'values.lattice.hcp.a.valu'; did you mean 'value'",
        ),
        ("name = 1 =", "not valid TOML"),
        ('name = "x"\nsource = "y"\n[values]\n', "at least 1 item"),
    ],
)
def test_wrong_files_are_told(tmp_path, text, message):
    path = tmp_path / "paper.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message) as error:
        read_values(path)
    assert str(path) in str(error.value)


def test_all_kinds_of_references_are_told_apart(tmp_path, file):
    MTPotential.untrained(level=2, species=["Zr"], cutoff=4.0, min_dist=2.0).write(
        tmp_path / "zr.almtp"
    )
    (tmp_path / "emt.toml").write_text('calculator = "ase.calculators.emt:EMT"\n')
    kinds = {
        str(file): KnownValues,
        "cu-experiment": KnownValues,
        "eam:Zr_mm.eam.fs": Reference,
        "ase.calculators.emt:EMT": Reference,
        str(tmp_path / "emt.toml"): Reference,
        str(tmp_path / "zr.almtp"): PotentialFile,
    }
    for given, kind in kinds.items():
        assert isinstance(standard_from(given), kind)
        assert standard_from(f"mine={given}").name == "mine"
    assert standard_from(str(tmp_path / "zr.almtp")).name == "zr"


def test_elements_are_asked_for_where_a_file_names_none(tmp_path):
    named = MTPotential.untrained(level=2, species=["Zr"], cutoff=4.0, min_dist=2.0)
    named.write(tmp_path / "named.almtp")
    dataclasses.replace(named, species=()).write(tmp_path / "unnamed.mtp")
    assert source_from(str(tmp_path / "named.almtp"), ["O"]).species == ()
    assert source_from(str(tmp_path / "unnamed.mtp"), ["O"]).species == ("O",)
    with pytest.raises(ConfigError, match=r"unnamed\.mtp: names no elements, of which it has 1"):
        source_from(str(tmp_path / "unnamed.mtp"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("zr-experimen", "no reference of that name; did you mean 'zr-experiment'?"),
        ("none.toml", "none.toml: cannot be read"),
        ("none.almtp", "none.almtp: no such file"),
        ("=x", "NAME=PATH was expected"),
    ],
)
def test_what_is_no_reference_is_told(given, message):
    with pytest.raises((ConfigError, DataError)) as error:
        standard_from(given)
    assert message in str(error.value)


def test_what_is_no_potential_is_told():
    with pytest.raises(ConfigError, match=r"neither a potential \(.mtp, .almtp"):
        source_from("zr")


def test_shipped_values_name_their_sources():
    for name, path in shipped_values().items():
        content = read_values(path).content
        assert content.elements, name
        assert content.source, name
        alone = content.source.startswith("measured") or "as others" in content.source
        assert all(one.source or not alone for one in content.values.values()), name


@pytest.mark.parametrize(("element", "lattice"), [("Al", "fcc"), ("Cu", "fcc"), ("Zr", "hcp")])
def test_shipped_values_of_elements_are_values_of_their_suites(element, lattice):
    suite = SuiteConfig(crystal=Crystal(element=element, lattice=lattice))
    names = set(known_values(suite.properties))
    for title, path in shipped_values().items():
        content = read_values(path).content
        if content.elements == (element,):
            there = {name for name in content.values if name.split(".")[0] in PROPERTIES}
            assert there <= names, title


@pytest.mark.parametrize("element", ["Al", "Cu"])
def test_published_values_of_emt_are_its_parameters(element):
    # Jacobsen, Stoltze, Nørskov, Surf. Sci. 366, 394 (1996); s0 is a Wigner-Seitz radius in bohr.
    energy, radius = parameters[element][:2]
    values = read_values(shipped_values()[f"{element.lower()}-emt"]).content.values
    volume = 4.0 / 3.0 * math.pi * (radius * Bohr) ** 3
    assert values["lattice.fcc.a"].value == pytest.approx((4.0 * volume) ** (1 / 3), abs=1e-4)
    assert values["lattice.fcc.cohesive"].value == -energy


def test_measured_elastic_constants_of_zirconium_are_consistent():
    values = read_values(shipped_values()["zr-experiment"]).content.values
    shear = (values["elastic.C11"].value - values["elastic.C12"].value) / 2
    assert values["elastic.C66"].value == pytest.approx(shear)
    ratio = values["lattice.hcp.c"].value / values["lattice.hcp.a"].value
    assert values["lattice.hcp.c_over_a"].value == pytest.approx(ratio, abs=1e-4)
