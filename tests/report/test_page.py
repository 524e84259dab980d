import html
import html.parser
import json
from urllib.parse import unquote

import ase.io
import numpy as np
import pytest
from typer.testing import CliRunner

from pescape.cli import build_app
from pescape.errors import ConfigError, DataError, TaskError
from pescape.report import write_report
from pescape.report.verdict import scores, totals
from pescape.validation.study import Study
from tests.report.conftest import HOSTILE, SOURCE


class Reader(html.parser.HTMLParser):
    """Collects tags, and sees to it that they are closed in order."""

    void = ("meta", "img", "input", "link", "wbr", "br")

    def __init__(self):
        super().__init__()
        self.open, self.tags = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def tags(page):
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader.tags


def test_the_page_needs_no_other_file(tags):
    for tag, attributes in tags:
        assert not attributes.get("src", "data:").startswith(("http", "//", "/"))
        assert tag != "link" or attributes["href"].startswith("data:")
        assert tag != "script" or "src" not in attributes
        if tag == "img":
            assert attributes["src"].startswith("data:image/")


def test_what_is_linked_is_there(tags, folder):
    links = [attributes["href"] for tag, attributes in tags if tag == "a"]
    files = {unquote(link) for link in links if not link.startswith(("#", "data:"))}
    assert {"values.csv", "values.json", "structures/EMT/lattice.xyz"} <= files
    for file in files:
        assert (folder / file).is_file()
    ids = {attributes["id"] for _, attributes in tags if "id" in attributes}
    assert {link[1:] for link in links if link.startswith("#")} <= ids


def test_it_can_be_read_by_those_who_do_not_see_it(tags):
    assert all(attributes["alt"] for tag, attributes in tags if tag == "img")
    assert all("scope" in attributes for tag, attributes in tags if tag == "th")
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_names_are_text(page):
    assert HOSTILE not in page
    assert "not a <b>potential</b>" not in page
    assert "not a &lt;b&gt;potential&lt;/b&gt;" in page
    assert "Copper &amp; &lt;friends&gt;" in page
    assert html.escape(SOURCE) in page


def test_failures_warnings_settings_and_provenance_are_told(page, study):
    assert "No EMT-potential for Zr" in page
    assert "a spurious minimum at &lt;½, 0&gt;" in page
    assert "phases.1.lattice" in page
    assert study.subjects[0].identity in page


def test_numbers_stand_with_sign_unit_and_verdict(page, study):
    row = next(row for row in study.rows() if row.name == "elastic.C44")
    error = row.error("EMT", "experiment")
    assert f"{error:+.3g}" in page
    assert row.holds("EMT", "experiment") is False
    assert "beyond the threshold of 10 %" in page
    assert "Å³/atom" in page


def test_small_structures_are_in_the_page_as_they_are_in_the_files(tags, folder):
    (link,) = (
        attributes["href"]
        for tag, attributes in tags
        if tag == "a" and attributes.get("download") == "EMT-elastic.xyz"
    )
    content = unquote(link.partition(",")[2])
    assert content == (folder / "structures/EMT/elastic.xyz").read_text()
    (atoms,) = ase.io.read(folder / "structures/EMT/elastic.xyz", index=":")
    assert atoms.get_chemical_formula() == "Cu"


def test_scores_count_thresholds_and_average_errors(study):
    found = scores(study)
    elastic = found["elastic", "EMT"]
    assert (elastic.within, elastic.judged) == (1, 2)  # C44 of EMT is too hard
    (mean,) = elastic.errors
    values = study.subjects[0].values
    known = {"C11": 168.4, "C12": 121.4, "C44": 75.4}
    errors = [abs(values[f"elastic.{name}"] - value) for name, value in known.items()]
    assert mean.value == pytest.approx(np.mean(errors))
    assert (mean.unit, mean.count) == ("GPa", 3)
    failed = found["elastic", "none"]
    assert failed.failure
    assert (failed.within, failed.judged, failed.errors) == (0, 2, ())
    total = totals(study, found)
    assert (total["EMT"].failed, total["EMT"].properties, total["EMT"].warnings) == (1, 5, 1)
    assert (total["none"].failed, total["none"].within, total["none"].judged) == (5, 0, 3)


@pytest.mark.slow
def test_equal_studies_leave_equal_reports(study, folder, tmp_path):
    again = Study.from_json(json.loads(json.dumps(study.to_json())))
    write_report(again, tmp_path)
    for file in ("report.html", "values.json", "values.csv", "figures/elastic-constants.svg"):
        assert (tmp_path / file).read_bytes() == (folder / file).read_bytes()


def test_values_in_json_have_all_digits(folder, study):
    rows = {row["name"]: row for row in json.loads((folder / "values.json").read_text())}
    exact = study.subjects[0].values["elastic.C11"]
    assert rows["elastic.C11"]["values"]["EMT"] == exact
    assert rows["elastic.C11"]["values"]["none"] is None
    assert rows["elastic.C11"]["errors"]["EMT"]["experiment"] == exact - 168.4
    assert rows["elastic.C11"]["within"]["EMT"]["experiment"] is True


def test_a_study_without_references_or_results_has_a_report(study, tmp_path):
    bare = Study("bare", study.subjects[-1:])
    page = write_report(bare, tmp_path).read_text()
    assert "5 of 5" in page
    assert json.loads((tmp_path / "values.json").read_text()) == []


def test_test_errors_stand_with_their_standard_errors(study, curve, tmp_path):
    page = write_report(Study("bare", study.subjects[-1:]), tmp_path, curve=curve).read_text()
    assert "<strong>3.00 ± 0.31</strong></td>" in page
    assert "0.0500 ± 0.0040</td>" in page
    assert "12 ± –" in page  # what an earlier version of pescape has left


@pytest.mark.slow
def test_the_command_makes_the_report_again_with_what_lies_beside(
    folder, ensemble, campaign, curve, tmp_path
):
    (tmp_path / "study.json").write_bytes((folder / "study.json").read_bytes())
    command = ["report", str(tmp_path), "--title", "Anew", "--ensemble", str(ensemble)]
    command += ["--campaign", str(campaign), "--learning-curve", str(curve)]
    result = CliRunner().invoke(build_app(), command, catch_exceptions=False)
    assert result.exit_code == 0
    page = (tmp_path / "report.html").read_text()
    assert "<h1>Anew</h1>" in page
    for key in ("ensemble", "campaign", "curve"):
        assert f'id="{key}"' in page
    assert "lattice.fcc.a &gt; 3.6" in page
    assert "2 rounds of active learning to 20 configurations." in page
    assert "Tested on 7 configurations" in page
    for name in ("ensemble-histograms", "ensemble-tree", "campaign-levels", "learning-curve"):
        assert (tmp_path / f"figures/{name}.svg").exists()
    assert (tmp_path / "structures/EMT/lattice.xyz").exists()


def test_what_is_not_there_or_not_right_is_told(study, tmp_path):
    with pytest.raises(ConfigError, match="validate"):
        CliRunner().invoke(build_app(), ["report", str(tmp_path)], catch_exceptions=False)
    (tmp_path / "ensemble.json").write_text('{"values": 1}')
    with pytest.raises(DataError, match="not what `pescape ensemble` leaves"):
        write_report(study, tmp_path, ensemble=tmp_path)
    with pytest.raises(TaskError, match="nothing has been learned"):
        write_report(study, tmp_path, campaign=tmp_path)
    with pytest.raises(TaskError, match="no learning curve"):
        write_report(study, tmp_path, curve=tmp_path)
    (tmp_path / "curve.json").write_text('{"points": [{}]}')
    with pytest.raises(DataError, match="not what `pescape learning-curve` leaves"):
        write_report(study, tmp_path, curve=tmp_path)
