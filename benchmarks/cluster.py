"""A campaign on a simulated cluster: failures, hangs, SIGKILLs of workers and of the campaign.

    python benchmarks/cluster.py [--starts 1000] [--workers 64] [--rounds 3] [--kills 6]

Each round makes as many MD runs as there are starts, selects, labels and fits; each stage needs
the one before. Tasks sleep for times drawn from lognormal distributions, so that many workers fit
on few cores; everything else is the real store of tasks. The campaign runs once undisturbed and
once disturbed. Then tasks fail (a full disk), hang, and their workers are killed, and the campaign
itself is killed and started again; its workers, as jobs of a cluster, outlive it. Printed are the
utilisation against that of ideal list scheduling, the cost of a task, and what was lost. The files
are in memory where there is /dev/shm; `--root FOLDER` puts them elsewhere.
"""

from __future__ import annotations

import argparse
import contextlib
import heapq
import json
import math
import os
import pickle
import queue
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import Executor, Future
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path

from pescape.files import fingerprint, read_lines, write_json
from pescape.tasks.store import Policy, Task, TaskStore, exclusive

# Mean time (s) and width of the logarithm, by kind of task.
TIMES = {"md": (0.5, 0.5), "select": (0.1, 0.1), "label": (0.8, 0.5), "fit": (0.6, 0.1)}
LIMIT = 6.0  # s a task may take
CHOSEN = 3  # one MD run in so many meets something to label
# Per task: the probability of a full disk and of a hang. Kills come from outside.
FULL, HANGS = 0.02, 0.002
SECONDS_BETWEEN_KILLS = 0.5  # of workers
POLICY = Policy(attempts=6, pause=0.1, grace=0.5, patience=2.0)


def duration(kind: str, key: str) -> float:
    """Give the time of a task, s: the same whenever it is asked for."""
    mean, width = TIMES[kind]
    drawn = random.Random(key).lognormvariate(0.0, width)  # noqa: S311 (not a secret)
    return drawn * mean * math.exp(-(width**2) / 2)


def work(folder: Path, kind: str, key: str, trouble: str) -> None:
    """Take the time of a task, with some trouble, and leave a result that depends on the key."""
    seconds, chance = duration(kind, key), random.SystemRandom()
    luck = chance.random() if trouble else 1.0
    if luck < FULL:
        time.sleep(seconds * chance.random())
        note(trouble, "full", key)
        raise OSError(28, "No space left on device")
    if luck < FULL + HANGS:
        note(trouble, "hang", key)
        time.sleep(1e6)
    time.sleep(seconds)
    write_json(folder / "result.json", {"value": fingerprint("result", key)})
    if trouble and kind == "label":
        note(trouble, "made", key)


def note(folder: str, what: str, key: str) -> None:
    """Leave a trace of an event, apart from what the store knows."""
    (Path(folder) / f"{what}.{key}.{os.urandom(4).hex()}").touch()


# The cluster: a process that forks a worker for whoever connects.


def cluster(address: str) -> None:
    """Fork workers, for ever."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with Listener(address, "AF_UNIX", backlog=256) as listener:
        while True:
            connection = listener.accept()
            if os.fork() == 0:
                with contextlib.suppress(EOFError, OSError):
                    answer(connection)
                os._exit(0)
            connection.close()


def answer(connection: Connection) -> None:
    """Make the calls that come, as long as there is someone to ask."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    connection.send(os.getpid())
    while True:
        function, arguments = pickle.loads(connection.recv_bytes())  # noqa: S301 (our own)
        connection.send(function(*arguments))


class ClusterExecutor(Executor):
    """So many workers of the cluster."""

    detached = True  # workers outlive the campaign

    def __init__(self, address: str, workers: int) -> None:
        self._address = address
        self._calls: queue.SimpleQueue = queue.SimpleQueue()
        self._processes: dict[Future, int] = {}
        for _ in range(workers):
            threading.Thread(target=self._serve, daemon=True).start()

    def submit(self, function, /, *arguments) -> Future:  # noqa: ANN001, ANN002
        """Have a function called by a worker."""
        future: Future = Future()
        self._calls.put((future, (function, arguments)))
        return future

    def kill(self, future: Future) -> None:
        """Kill the worker that works on a call."""
        with contextlib.suppress(KeyError, ProcessLookupError):
            os.kill(self._processes[future], signal.SIGKILL)

    def _serve(self) -> None:
        connection = None
        while True:
            future, content = self._calls.get()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                if connection is None:
                    connection = Client(self._address, "AF_UNIX")
                    process = connection.recv()
                self._processes[future] = process
                connection.send(content)
                future.set_result(connection.recv())
            except (EOFError, OSError) as error:
                connection = None
                future.set_exception(RuntimeError(f"the node was lost ({type(error).__name__})"))
            self._processes.pop(future, None)


# The campaign.


def stages(starts: int, rounds: int) -> list[list[tuple[str, str]]]:
    """Give kinds and keys of all tasks, stage by stage; equal labels of two rounds are one."""
    plan, fitted = [], "start"
    for _ in range(rounds):
        runs = [fingerprint("md", fitted, start) for start in range(starts)]
        # Every fifth label was asked for in an earlier round, as it happens in campaigns.
        chosen = [run for run in runs if int(run[:8], 16) % CHOSEN == 0]
        labels = [
            fingerprint("label", number if int(run[8:16], 16) % 5 == 0 else run)
            for number, run in enumerate(chosen)
        ]
        plan.append([("md", key) for key in runs])
        plan.append([("select", fingerprint("select", runs))])
        plan.append([("label", key) for key in labels])
        fitted = fingerprint("fit", labels, fitted)
        plan.append([("fit", fitted)])
    return plan


def campaign(folder: Path, address: str, plan: list, workers: int, trouble: str) -> None:
    """Run the stages, or go on where a kill has stopped them."""
    with exclusive(folder):
        store = TaskStore(folder / "tasks", POLICY)
        executor = ClusterExecutor(address, workers)
        values = []
        for stage in plan:
            tasks = [
                Task(kind, key, work, (kind, key, trouble), limit=LIMIT) for kind, key in stage
            ]
            folders = store.run(tasks, executor)
            values += [json.loads((done / "result.json").read_text())["value"] for done in folders]
        write_json(folder / "result.json", {"result": fingerprint(values)})


# The referee.


def ideal(plan: list, workers: int) -> tuple[float, float]:
    """Give the time of list scheduling without any cost, s, and the work in it, worker s."""
    total, useful, known = 0.0, 0.0, set()
    for stage in plan:
        free = [0.0] * workers
        for task in dict.fromkeys(stage):
            if task in known:
                continue
            known.add(task)
            seconds = duration(*task)
            useful += seconds
            heapq.heapreplace(free, free[0] + seconds)
        total += max(free)
    return total, useful


def workers_of(process: int) -> list[int]:
    """Give the children of a process."""
    text = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(child) for child in text.split()]


def disturbed(command: list[str], nodes: int, kills: int, expected: float, seed: int) -> Counter:
    """Run the campaign, killing workers and the campaign at random moments."""
    chance, count = random.Random(seed), Counter()  # noqa: S311 (not a secret)
    process = subprocess.Popen(command)
    end_of_this = time.monotonic() + chance.uniform(0.3, 2.0) * expected / (kills + 1)
    while process.poll() is None:
        time.sleep(chance.uniform(0.0, 2.0) * SECONDS_BETWEEN_KILLS)
        if workers := workers_of(nodes):
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(workers), signal.SIGKILL)
                count["workers"] += 1
        if count["campaign"] < kills and time.monotonic() > end_of_this:
            process.kill()
            process.wait()
            count["campaign"] += 1
            process = subprocess.Popen(command)
            end_of_this = time.monotonic() + chance.uniform(0.3, 2.0) * expected / (kills + 1)
    if process.returncode:
        sys.exit("the campaign failed")
    return count


def cost_of_a_task(folder: Path, address: str, workers: int, tasks: int = 2000) -> float:
    """Measure how long the store takes for a task that does nothing, s."""
    store, executor = TaskStore(folder, POLICY), ClusterExecutor(address, workers)
    store.run([Task("warm", f"{number}", nothing, ()) for number in range(2 * workers)], executor)
    begin = time.perf_counter()
    store.run([Task("none", f"{number}", nothing, ()) for number in range(tasks)], executor)
    return (time.perf_counter() - begin) / tasks


def nothing(folder: Path) -> None:
    """Leave an empty result."""


def repeated(records: list[dict]) -> int:
    """Count labels that started or finished after they had finished."""
    ended, again = set(), 0
    for record in records:
        if record["kind"] == "label" and record["event"] in {"started", "finished"}:
            again += record["key"] in ended
            if record["event"] == "finished":
                ended.add(record["key"])
    return again


def report(title: str, wall: float, plan: list, workers: int) -> None:
    """Print the utilisation."""
    best, useful = ideal(plan, workers)
    used, possible = useful / (workers * wall), useful / (workers * best)
    print(
        f"{title}: utilisation {used:.1%} (useful work / workers × time), ideal list scheduling "
        f"{possible:.1%}: ratio {used / possible:.3f}",
        flush=True,
    )


def judge(folder: Path, plan: list, traces: Path, killed: Counter, whole: str) -> bool:
    """Print what went wrong and what came of it; True if nothing was lost or made twice."""
    records = read_lines(folder / "tasks" / "index.jsonl")
    labels = {key for stage in plan for kind, key in stage if kind == "label"}
    right = 0
    for key in labels:
        result = folder / "tasks" / "label" / key / "result.json"
        value = json.loads(result.read_text())["value"] if result.exists() else None
        right += value == fingerprint("result", key)
    seen = Counter(trace.name.split(".")[0] for trace in traces.iterdir())
    made = Counter(t.name.split(".")[1] for t in traces.iterdir() if t.name.startswith("made."))
    attempts = Counter(record["event"] for record in records)
    print(
        f"injected: {seen['full']} full disks, {seen['hang']} hangs, {killed['workers']} SIGKILLs "
        f"of workers, {killed['campaign']} of the campaign; in the index: {dict(attempts)}"
    )
    twice, lost = repeated(records), len(labels) - right
    print(f"labels: {len(labels)} wanted, {lost} lost, {twice} finished ones made again")
    print(
        f"labels computed twice because the workers of a killed campaign went on: "
        f"{sum(number - 1 for number in made.values())} (the first result was kept)"
    )
    same = json.loads((folder / "result.json").read_text())["result"] == whole
    print("the result is that of the undisturbed campaign" if same else "DIFFERENT RESULT")
    return same and not lost and not twice


def main() -> None:
    """Run one part, or all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kills", type=int, default=6, help="of the campaign")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--root", help="where the files are meanwhile")
    parser.add_argument("--part", choices=["cluster", "campaign"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--address", help=argparse.SUPPRESS)
    parser.add_argument("--trouble", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    plan = stages(given.starts, given.rounds)
    if given.part == "cluster":
        cluster(given.address)
    elif given.part == "campaign":
        campaign(given.folder, given.address, plan, given.workers, given.trouble)
    else:
        referee(given, plan)


def referee(given: argparse.Namespace, plan: list) -> None:
    """Run the campaign undisturbed and disturbed, and compare."""
    sizes = (f"--starts={given.starts}", f"--workers={given.workers}", f"--rounds={given.rounds}")
    script = [sys.executable, str(Path(__file__).resolve()), *sizes]
    tasks = len({task for stage in plan for task in stage})
    asked = sum(map(len, plan))
    print(f"{tasks} tasks of {asked} asked for, {len(plan)} stages, {given.workers} workers")
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
    with tempfile.TemporaryDirectory(dir=given.root or memory) as temporary:
        root = Path(temporary)
        address, traces = str(root / "socket"), root / "traces"
        traces.mkdir()
        nodes = subprocess.Popen([*script, "--part=cluster", f"--address={address}"])
        try:
            while not Path(address).exists():
                time.sleep(0.05)
            cost = cost_of_a_task(root / "cost", address, given.workers)
            print(f"cost of a task that does nothing: {1e3 * cost:.2f} ms", flush=True)
            part = [*script, "--part=campaign", f"--address={address}"]
            begin = time.perf_counter()
            subprocess.run([*part, f"--folder={root / 'whole'}"], check=True)
            wall = time.perf_counter() - begin
            report("undisturbed", wall, plan, given.workers)
            best, _ = ideal(plan, given.workers)
            lost = given.workers * (wall - best) / tasks
            mean = ideal(plan, given.workers)[1] / tasks
            print(
                f"  beyond ideal: {1e3 * lost:.1f} ms of a worker per task of {1e3 * mean:.0f} ms"
            )
            command = [*part, f"--folder={root / 'killed'}", f"--trouble={traces}"]
            begin = time.perf_counter()
            killed = disturbed(command, nodes.pid, given.kills, wall, given.seed)
            report("disturbed", time.perf_counter() - begin, plan, given.workers)
            whole = json.loads((root / "whole" / "result.json").read_text())["result"]
            right = judge(root / "killed", plan, traces, killed, whole)
        finally:
            for worker in workers_of(nodes.pid):
                os.kill(worker, signal.SIGKILL)
            nodes.kill()
            nodes.wait()
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
