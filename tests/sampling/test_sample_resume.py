import json
import multiprocessing
import shutil
import signal
import subprocess
import sys

import ase.io
import pytest

SETS = ("starts.xyz", "train.xyz", "test.xyz", "rejected.xyz")


def command(config, *options):
    code = "from pescape.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, "sample", str(config), *options],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_campaign_killed_within_each_sampler_ends_with_the_same_sets(
    whole, tmp_path, tiny, write, run
):
    undisturbed, _ = whole
    config = write(tmp_path, tiny)
    # Each trajectory has 4 calls of relaxation and 12 of sampling.
    for number in (9, 25):
        (tmp_path / "kill").write_text(f"{number}")
        killed = multiprocessing.get_context("fork").Process(target=run, args=(config,))
        killed.start()
        killed.join()
        assert killed.exitcode == -signal.SIGKILL
    (tmp_path / "kill").write_text("41")  # this time a worker only: it is replaced
    ended = command(config, "--workers", "2")  # nor does the number of processes matter
    assert not (tmp_path / "kill").exists()
    assert ended.returncode == 0, ended.stderr
    for name in SETS:
        again = (tmp_path / "sampled" / name).read_bytes()
        assert again == (undisturbed / "sampled" / name).read_bytes(), name
    asked = sorted((tmp_path / "calls").read_text().split())
    once = sorted((undisturbed / "calls").read_text().split())
    assert asked == once, "no force call is made twice"
    table = json.loads((tmp_path / "sampled" / "trajectories.json").read_text())
    replayed = [record["replayed"] for record in table["trajectories"]]
    # The trajectories that the first two kills hit replay the nine answers they had. Which of two
    # workers makes the last fatal call, in which trajectory and where in it, is open.
    assert all(calls >= 9 for calls in replayed[:2])
    hit_by_last = [*(calls > 9 for calls in replayed[:2]), *(calls > 0 for calls in replayed[2:])]
    assert sum(hit_by_last) <= 1
    assert sum(replayed) < len(asked)


def test_a_finished_campaign_asks_the_reference_nothing(whole, run):
    folder, first = whole
    before = (folder / "calls").read_bytes(), (folder / "sampled" / "train.xyz").read_bytes()
    again = run(folder / "sample.toml")
    after = (folder / "calls").read_bytes(), (folder / "sampled" / "train.xyz").read_bytes()
    assert after == before
    assert again.records == first.records
    assert not list((folder / "sampled" / "logs").iterdir())


def test_only_what_is_new_is_computed(whole, tmp_path, tiny, write, run):
    folder = tmp_path / "copy"
    shutil.copytree(whole[0], folder)
    names = ("train.xyz", "test.xyz")
    before = [ids(folder / "sampled" / name) for name in names]
    dimer, md = 'method = "dimer"\ncalls = 12', 'method = "md"\ncalls = 12'
    changed = tiny
    for old, new, made in (
        (dimer, f'{dimer}\nevery = 1\nname = "saddles"', 0),
        ("count = 2", "count = 3", 3 * 16),
        (md, md.replace("12", "13"), 3 * 17),
    ):
        assert old in changed
        changed = changed.replace(old, new)
        asked = len((folder / "calls").read_text().split())
        run(write(folder, changed))
        assert len((folder / "calls").read_text().split()) - asked == made
        if old == "count = 2":  # what was for training or testing stays so
            for name, known in zip(names, before, strict=True):
                assert known <= ids(folder / "sampled" / name)


def ids(path):
    return {frame.info["configuration_id"] for frame in ase.io.read(path, ":")}
