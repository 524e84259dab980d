import ase.io
import numpy as np
import pytest

from pescape.cli import main
from pescape.config import load_config
from pescape.sampling import SampleConfig
from pescape.sampling.config import is_test, make_plan
from pescape.sampling.trajectory import read_images

# A reference that fails at its 8th evaluation for as long as a file is there.
FAILING = """
from pathlib import Path

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT

HERE = Path(__file__).parent


class Failing(EMT):
    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, all_changes)
        with (HERE / "calls").open("a") as file:
            file.write("x")
        if (HERE / "broken").exists() and len((HERE / "calls").read_text()) == 8:
            if (HERE / "broken").read_text() == "nan":
                self.results["forces"] = self.results["forces"] * np.nan
            else:
                raise RuntimeError("SCF did not converge")
"""


def sets(folder):
    names = ("train.xyz", "test.xyz", "rejected.xyz")
    return [(folder / "sampled" / name).read_bytes() for name in names]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ("raise", "calculator", "RuntimeError: SCF did not converge"),
        ("nan", "not_finite", "numbers that are not finite"),
    ],
)
def test_one_trajectory_fails_keeps_its_images_and_is_retried_on_request(
    whole, tmp_path, tiny, write, run, how, kind, message
):
    _, good = whole
    text = tiny.replace("calc.py:counted", "calc.py:Failing")
    config = write(tmp_path, text, FAILING)
    (tmp_path / "broken").write_text(how)
    result = run(config)
    assert [record.status for record in result.records] == ["failed"] + ["complete"] * 5
    failed = result.records[0]
    assert failed.kind == kind
    assert message in failed.message
    assert (failed.relaxation_calls, failed.sampling_calls) == (4, 3)
    kept = tmp_path / "sampled" / "tasks" / "trajectory" / failed.key
    assert len(read_images(kept)) == 7
    assert "Traceback" in (kept / "error.txt").read_text()
    calls = (tmp_path / "calls").read_text()
    (tmp_path / "broken").unlink()
    assert run(config).records == result.records
    assert (tmp_path / "calls").read_text() == calls
    again = run(config, retry_failed=True)
    assert [record.status for record in again.records] == ["complete"] * 6
    assert again.records[0].replayed == 7
    assert len((tmp_path / "calls").read_text()) - len(calls) == 9
    assert not (tmp_path / "sampled" / "logs" / f"{failed.key}.jsonl").exists()
    for one, other in zip(again.records, good.records, strict=True):
        assert (one.lowest, one.highest) == (other.lowest, other.highest)


@pytest.mark.slow
def test_the_command_tells_what_failed(tmp_path, tiny, write, capsys):
    text = tiny.replace("calc.py:counted", "calc.py:Failing").replace("count = 2", "count = 1")
    md = text[: text.index('[[samplers]]\nmethod = "contour"')]
    config = write(tmp_path, md, FAILING)
    (tmp_path / "broken").write_text("raise")
    with pytest.raises(SystemExit) as end:
        main(["sample", str(config)])
    printed = capsys.readouterr()
    assert end.value.code == 1, "nothing at all succeeded"
    assert "rattled 0 md: RuntimeError: SCF did not converge" in printed.out
    assert "--retry-failed" in printed.out
    assert "Traceback" not in printed.out + printed.err
    (tmp_path / "broken").unlink()
    with pytest.raises(SystemExit) as end:
        main(["sample", str(config), "--retry-failed"])
    printed = capsys.readouterr()
    assert not end.value.code
    assert "16 (7)" in printed.out


def test_a_packing_without_room_is_a_failed_trajectory_and_the_others_go_on(
    tmp_path, tiny, write, run
):
    head = tiny[: tiny.index("[[structures]]")]
    text = (
        head
        + """
[[structures]]
builder = "packing"
boxes = [2.2, 5.0]
composition = { Cu = 1.0 }
volume_fraction = 0.4
radii = { Cu = 1.2 }
hard_radii = { Cu = 1.2 }
count = 2
[[samplers]]
method = "md"
calls = 4
"""
    )
    result = run(write(tmp_path, text))
    assert [(r.status, r.kind) for r in result.records] == [
        ("failed", "structure"),
        ("complete", "steps"),
    ]
    assert result.records[0].message
    assert len(ase.io.read(tmp_path / "sampled" / "starts.xyz", ":")) == 1


def test_guards_end_a_trajectory_and_what_they_refuse_is_rejected(
    whole, tmp_path, tiny, write, run
):
    folder, free = whole
    kept = read_images(folder / "sampled" / "tasks" / "trajectory" / free.records[0].key)
    largest = np.array([np.linalg.norm(image.get_forces(), axis=1).max() for image in kept])
    limit = round(float(largest[3] + largest[4:].max()) / 2, 3)
    assert largest[3] < limit < largest[4:].max(), "MD crosses the limit on its way"
    md = tiny[: tiny.index('[[samplers]]\nmethod = "contour"')]
    text = f"{md}every = 1\n[samplers.guards]\nmax_force = {limit}\n"
    result = run(write(tmp_path, text.replace("count = 2", "count = 1")))
    (record,) = result.records
    assert (record.status, record.kind) == ("stopped", "force")
    assert f"the most allowed is {limit} eV/Å" in record.message
    first = int(np.argmax(largest[4:] > limit))
    assert (record.sampling_calls, record.kept, record.rejected) == (first + 1, first, 1)
    refused = ase.io.read(tmp_path / "sampled" / "rejected.xyz")
    assert refused.info["rejected"] == "refused by a guard"
    assert np.linalg.norm(refused.get_forces(), axis=1).max() > limit


def test_the_split_is_balanced_and_stays_when_there_is_more():
    for fraction in (0.1, 0.25, 0.3, 0.5, 0.7, 0.9):
        chosen = [is_test(7, 0, index, fraction) for index in range(200)]
        for count in (10, 37, 100, 200):
            assert abs(sum(chosen[:count]) - fraction * count) <= 1.0 + 1e-9, (fraction, count)
    assert [is_test(7, 0, i, 0.5) for i in range(40)] != [is_test(8, 0, i, 0.5) for i in range(40)]
    assert [is_test(7, 0, i, 0.5) for i in range(40)] != [is_test(7, 1, i, 0.5) for i in range(40)]
    assert not any(is_test(7, 0, i, 0.0) for i in range(9))
    assert all(is_test(7, 0, i, 1.0) for i in range(9))


def test_what_matters_to_a_trajectory_is_in_its_key(tmp_path, tiny, write):
    def keys(old="", new=""):
        assert old in tiny
        config = load_config(write(tmp_path, tiny.replace(old, new) if old else tiny), SampleConfig)
        plan = make_plan(config, tmp_path / "sampled", tmp_path)
        return [one.task.key for one in plan.trajectories]

    known = keys()
    assert len(set(known)) == 6
    assert keys("calls = 12", "calls = 12\nevery = 3") == known
    assert keys("steps = 3", "steps = 3\nkeep = true") == known
    for old, new in (
        ("steps = 3", "steps = 4"),
        ("seed = 3", "seed = 4"),
        ("workers = 1", "stress = true"),
        ("calls = 12", "calls = 11"),
        ("a = 3.7", "a = 3.71"),
        ('calculator = "calc.py:counted"', 'calculator = "ase.calculators.emt:EMT"'),
        ("calls = 12", "calls = 12\n[samplers.guards]\nmax_force = 90.0"),
    ):
        assert not set(keys(old, new)) & set(known), new
