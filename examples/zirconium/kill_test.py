"""Kill a learning campaign at random moments and show that nothing is lost.

    python examples/zirconium/kill_test.py [--config learn.toml] [--kills 10] [--seed 0]
        [--undisturbed FOLDER]

Runs the campaign once undisturbed and once killed (SIGKILL) again and again, then compares the
results and checks, in the index of tasks, that no finished label was lost or made twice. With
--undisturbed, a campaign that has ended already is what it compares with.
"""

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from pescape.files import read_lines

HERE = Path(__file__).resolve().parent
RESULTS = ("zr.almtp", "train.xyz", "test.xyz", "rounds.json", "levels.json")


def start(config: Path, folder: Path) -> subprocess.Popen:
    """Start the campaign."""
    code = "from pescape.cli import main; main()"
    command = [sys.executable, "-c", code, "learn", str(config), "-o", str(folder)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def events(folder: Path) -> list[dict]:
    """Read the index of tasks."""
    return read_lines(folder / "tasks" / "index.jsonl")


def seconds_of(folder: Path) -> float:
    """Seconds from the first event of a campaign to the last."""
    times = [datetime.strptime(record["time"], "%Y-%m-%dT%H:%M:%S%z") for record in events(folder)]
    return (max(times) - min(times)).total_seconds()


def finished_labels(folder: Path) -> set[str]:
    """Give the keys of labels whose result is there."""
    labels = folder / "tasks" / "label"
    if not labels.exists():
        return set()
    return {path.name for path in labels.iterdir() if not path.name.startswith(".")}


def hashes(folder: Path) -> dict[str, str]:
    """Hash the results."""
    return {name: sha256((folder / name).read_bytes()).hexdigest()[:16] for name in RESULTS}


def main() -> None:
    """Compare a killed campaign with an undisturbed one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=HERE / "learn.toml")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--undisturbed", type=Path)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)  # noqa: S311 (not a secret)
    with tempfile.TemporaryDirectory() as temporary:
        whole, killed = arguments.undisturbed or Path(temporary, "whole"), Path(temporary, "killed")
        if arguments.undisturbed is None and start(arguments.config, whole).wait() != 0:
            sys.exit("the undisturbed campaign failed")
        duration = seconds_of(whole)
        print(f"undisturbed: {duration:.0f} s, {len(finished_labels(whole))} labels", flush=True)

        known: set[str] = set()
        for kill in range(arguments.kills):
            process = start(arguments.config, killed)
            # A campaign that is started so often takes longer than an undisturbed one.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0.0, 2.0 * duration / arguments.kills))
            ended = process.poll() is not None
            process.kill()
            process.wait()
            time.sleep(0.2)
            now = finished_labels(killed)
            lost = len(known - now)
            known = now
            what = "had ended before" if ended else f"after {len(events(killed))} events"
            print(f"kill {kill + 1} {what}: {len(now)} labels, {lost} lost", flush=True)
        if start(arguments.config, killed).wait() != 0:
            sys.exit("the killed campaign failed")
        lost = known - finished_labels(killed)
        ended: set[str] = set()
        again = 0
        for record in events(killed):
            if record["kind"] != "label":
                continue
            again += record["event"] == "started" and record["key"] in ended
            if record["event"] == "finished":
                ended.add(record["key"])
        started = Counter(r["kind"] for r in events(killed) if r["event"] == "started")
        print(f"labels lost: {len(lost)}; finished labels made again: {again}")
        print(f"tasks started: {dict(started)}")
        same = hashes(whole) == hashes(killed)
        for name in RESULTS:
            print(f"{name}: {hashes(whole)[name]} undisturbed, {hashes(killed)[name]} killed")
        print("same result" if same else "DIFFERENT RESULT")
        sys.exit(0 if same and not lost and not again else 1)


if __name__ == "__main__":
    main()
