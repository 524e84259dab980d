import numpy as np
import pytest
from matplotlib.figure import Figure

from pescape.figures import Scene, Series, drawings_of
from pescape.figures.crystals import plane_label
from pescape.figures.style import Style, plain, stem
from pescape.validation import PROPERTIES, Curve, PropertyResult, Value
from pescape.validation.property import Grid
from tests.report.conftest import HOSTILE

X = np.linspace(0.0, 1.0, 9)


def phonons(scale):
    marks = ((0.0, "Γ"), (0.4 * scale, "X"), (scale, "L"))
    bands = {
        f"fcc.band_{n}": Curve(
            scale * X, n * np.sin(X) - 0.1, "wave vector (Å⁻¹)", "frequency (THz)", marks
        )
        for n in (1, 2, 3)
    }
    others = {
        "fcc.dos": Curve(3.0 * X, X, "frequency (THz)", "density of states (1/THz/atom)"),
        "fcc.force_constants": Curve(X, np.exp(-X), "distance (Å)", "force constants (eV/Å²)"),
    }
    return {"fcc.X.lowest": Value(1.0, "THz")}, bands | others, {}


def melting(scale):
    t = 1000.0 * scale + 100.0 * X
    run = Curve(X, 0.5 + 0.1 * X, "time (ps)", "solid fraction")
    curves = {
        "hcp.velocity": Curve(t, 50.0 - 100.0 * X, "temperature (K)", "velocity (m/s)"),
        "hcp.fit": Curve(
            t[[0, -1]], [50.0, -50.0], "temperature (K)", "velocity (m/s)", ((t[4], "T"),)
        ),
        f"hcp.solid_1_{t[0]:.0f}K": run,
        f"hcp.solid_2_{t[-1]:.0f}K": run,
    }
    return {"hcp.temperature": Value(t[4], "K")}, curves, {}


def pairs(scale):
    energy = 4.0 * scale * ((X + 0.8) ** -12 - (X + 0.8) ** -6)
    curve = Curve(X, energy, "distance (Å)", "energy (eV)")
    return {"Cu_Cu.binding": Value(scale, "eV")}, {"Cu_Cu": curve}, {}


def surfaces(scale):
    values = {
        f"{plane}.{name}": Value(scale * number, "J/m²")
        for plane in ("0001", "10m10")
        for name, number in (("energy", 1.5), ("spread", 0.1))
    }
    curve = Curve(10.0 * X, X, "thickness (Å)", "surface energy (J/m²)")
    return values, {"0001": curve, "10m10": curve}, {}


def checks(scale):
    names = {"forces": 1.0, "rotation": 0.0 if scale > 1.0 else 1.0}
    return {f"{name}.passed": Value(value) for name, value in names.items()}, {}, {}


def defects(scale):
    values = {name: Value(scale, "eV") for name in ("basal.formation", "basal.binding", "BO", "C")}
    values |= {"BO_96": Value(1.0, "eV"), "lowest": Value(1.0, "eV"), "C_freed": Value(1.0, "eV")}
    return values, {"BO": Curve(100.0 * X, X, "lattice sites", "formation energy (eV)")}, {}


def faults(scale):
    line = Curve(X, scale * np.sin(np.pi * X) ** 2, "displacement", "energy (mJ/m²)")
    plane = Grid(X, X, scale * np.outer(X, X), "x", "y", "energy (mJ/m²)")
    return {"basal.I2": Value(200.0, "mJ/m²")}, {"basal.1m100": line}, {"basal": plane}


def cost(scale):
    times = {"microseconds": 10.0**scale, "baseline": 1.3, "parameters": 100.0 * scale**10}
    return {name: Value(value) for name, value in times.items()}, {}, {}


CASES = {
    "cost": (cost, ["parameters"]),
    "phonons": (phonons, ["bands-fcc", "others"]),
    "melting": (melting, ["velocity", "runs"]),
    "pair_curve": (pairs, ["curves"]),
    "surface": (surfaces, ["energy", "curves"]),
    "sanity": (checks, ["checks"]),
    "interstitial": (defects, ["formation-energy", "curves"]),
    "stacking_fault": (faults, ["curves", "map-basal"]),
    "of its own": (checks, ["values-number"]),
}


def scene(kind, make):
    looks = {
        "one": Style("#2f6db3"),
        HOSTILE: Style("#e07b39", "s"),
        "file": Style("#30343b", "_", ":"),
        "EAM": Style("#7d8590", "_", "--"),
    }
    series = tuple(
        Series(name, PropertyResult(kind, values, curves, grids), looks[name], own)
        for name, own, scale in (("one", False, 1.0), (HOSTILE, False, 1.1), ("EAM", True, 1.2))
        for values, curves, grids in [make(scale)]
    )
    known = {name: 1.05 * value.value for name, value in series[0].result.values.items()}
    return Scene("it", kind, series, {"file": known | {"Cu_Cu": -1.0}}, looks)


def all_drawings(scene):
    """What a report shows of a property."""
    return drawings_of(scene, PROPERTIES[scene.kind].draw if scene.kind in PROPERTIES else None)


@pytest.mark.parametrize("kind", CASES)
def test_properties_are_drawn_as_png_and_svg(kind, tmp_path):
    make, names = CASES[kind]
    drawings = all_drawings(scene(kind, make))
    assert [one.name for one in drawings] == [stem("it", name) for name in names]
    for one in drawings:
        assert one.caption
        png, svg = one.write(tmp_path)
        assert png.read_bytes().startswith(b"\x89PNG")
        assert "<script>alert" not in svg.read_text(encoding="utf-8")


def drawn(kind):
    figure = Figure(layout="constrained")
    all_drawings(scene(kind, CASES[kind][0]))[0].draw(figure)
    return figure


def test_paths_of_other_lengths_are_drawn_over_each_other():
    bands, density = drawn("phonons").axes
    for line in bands.lines[:9]:
        assert line.get_xdata()[0] == 0.0
        assert line.get_xdata()[-1] == pytest.approx(1.0)
    assert [text.get_text() for text in bands.get_xticklabels()] == ["Γ", "X", "L"]
    assert bands.get_ylim() == density.get_ylim()


def test_the_well_of_a_pair_is_seen_though_its_wall_is_high():
    (axes,) = drawn("pair_curve").axes
    low, high = axes.get_ylim()
    assert -1.6 < low < -1.0 < 0.5 < high < 4.0


def test_bars_have_the_heights_of_the_values_and_references_are_lines():
    (axes,) = drawn("surface").axes
    heights = [bar.get_height() for bars in axes.containers for bar in getattr(bars, "patches", ())]
    assert heights == pytest.approx([1.5, 1.5, 1.65, 1.65])
    assert [text.get_text() for text in axes.get_xticklabels()] == ["(0001)", "(10-10)"]
    across = [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == ":"]
    assert across == pytest.approx([1.575, 1.575])


def test_times_rise_on_logarithmic_axes_above_the_baseline():
    (axes,) = drawn("cost").axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    lines = [line for line in axes.lines if len(line.get_xdata()) == 3]
    assert lines[0].get_xdata() == pytest.approx([100.0, 259.374246, 619.173642])
    assert any(line.get_ydata()[0] == 1.3 for line in axes.lines)


def test_names_of_files_and_labels_are_harmless():
    assert stem("a/../b", "µ <x>") == "a_.._b-µ_x"
    assert plain("$x$") == r"\$x\$"
    assert plain("abcdef", 4) == "abc…"
    assert plane_label("10m10") == "(10-10)"
    assert plane_label("other") == "other"
