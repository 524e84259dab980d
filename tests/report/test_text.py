import pytest

from pescape.report.page import breakable, duration, flattened, heading, number, short, signed


def test_numbers_have_the_digits_that_matter():
    assert number(3.2340559) == "3.2341"
    assert number(-6.6347) == "−6.6347"
    assert number(None) == "–"
    assert (signed(0.0252), signed(-1.5), signed(0.0), signed(None)) == ("+0.0252", "−1.5", "0", "")
    assert (short(0.0249), short(343.2), short(1e7)) == ("0.025", "343", "1e+07")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.333, "0.333 s"), (61.0, "61 s"), (600.0, "10 min"), (9000.0, "2.5 h"), (None, "")],
)
def test_times_are_told_as_people_say_them(seconds, text):
    assert duration(seconds) == text


def test_settings_are_told_by_dotted_names_without_those_unset():
    settings = {
        "crystal": {"element": "Zr", "a": None},
        "phases": [{"lattice": "hcp"}, {"lattice": "bcc"}],
        "repeats": [[3, 2, 2], [4, 2, 3]],
        "relax": True,
    }
    assert flattened(settings) == [
        ("crystal.element", "Zr"),
        ("phases.1.lattice", "hcp"),
        ("phases.2.lattice", "bcc"),
        ("repeats", "[3, 2, 2], [4, 2, 3]"),
        ("relax", "true"),
    ]


def test_properties_of_one_kind_are_told_apart():
    assert heading("elastic", "elastic") == "Elastic constants"
    assert heading("elastic_bcc", "elastic") == "Elastic constants, bcc"
    assert heading("my_own", "elastic") == "My own"
    assert heading("unknown") == "Unknown"


def test_names_break_after_their_parts_and_stay_text():
    assert str(breakable("a.b_<c>")) == "a.<wbr>b_<wbr>&lt;c&gt;"
