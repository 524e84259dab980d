"""Where tasks run, from a configuration: processes of this machine, or a cluster's nodes."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import secrets
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from pescape import _mpi
from pescape.config import Strict
from pescape.errors import ConfigError, TaskError, did_you_mean
from pescape.tasks.pool import BoundedExecutor, Call, one_thread_each, worker_pool
from pescape.tasks.store import process_lives, task_kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Executor, Future

Backend = Literal["local", "slurm", "slurm_job", "flux", "flux_job"]
# Backends in which every task is a job of its own, which outlives this process.
_QUEUES = ("slurm", "flux")
_CLASSES = {
    "local": "SingleNodeExecutor",
    "slurm": "SlurmClusterExecutor",
    "slurm_job": "SlurmJobExecutor",
    "flux": "FluxClusterExecutor",
    "flux_job": "FluxJobExecutor",
}
#: Submission script of a task, where the configuration names none. Jinja; `{{cores}}`,
#: `{{command}}`, `{{working_directory}}`, `{{job_name}}` and `{{run_time_max}}` (s) are filled
#: in for each task, the words in capitals from the configuration.
SLURM_TEMPLATE = """\
#!/bin/bash
#SBATCH --job-name={{job_name}}
#SBATCH --chdir={{working_directory}}
#SBATCH --output=job.out
#SBATCH --nodes=1
#SBATCH --ntasks={{cores}}
{%- if run_time_max %}
#SBATCH --time={{ (run_time_max + 59) // 60 }}
{%- endif %}
OPTIONS
SETUP
{{command}}
"""


class ExecutorConfig(Strict):
    """Where tasks run."""

    kind: Literal["processes", "executorlib"] = "processes"
    workers: PositiveInt = Field(2, description="processes (kind = 'processes')")
    backend: Backend = Field("local", description="of executorlib")
    cores: dict[str, PositiveInt] = Field(
        default_factory=dict, description="of each task, by its kind: { md = 8, fit = 4 }; else 1"
    )
    max_cores: PositiveInt | None = Field(
        None, description="in use at a time (local, slurm_job, flux_job); else all there are"
    )
    max_jobs: PositiveInt = Field(200, description="in the queue at a time (slurm, flux)")
    walltime: str | None = Field(None, description="of a job, [DAYS-]HOURS:MINUTES:SECONDS")
    partition: str | None = None
    account: str | None = None
    memory: PositiveFloat | None = Field(None, description="of a job, GB")
    setup: str = Field("", description="shell lines before each job's command")
    template: str | None = Field(
        None, description="submission script, a file beside the configuration"
    )
    pmi: str | None = Field(None, description="how srun starts MPI ranks: pmi2, pmix, …")
    cache: str = Field("executorlib", description="folder of executorlib's files, in the output")

    @field_validator("walltime")
    @classmethod
    def _time(cls, walltime: str | None) -> str | None:
        if walltime is not None:
            _seconds(walltime)
        return walltime

    @model_validator(mode="after")
    def _fits(self) -> ExecutorConfig:
        if self.kind == "processes":
            given = self.model_fields_set - {"kind", "workers", "cores"}
            if given:
                raise ValueError(f"{min(given)} needs kind = 'executorlib'")
        elif "workers" in self.model_fields_set:
            raise ValueError("workers is for kind = 'processes'; give max_cores or max_jobs")
        most, available = max(self.cores.values(), default=1), self.max_cores
        if available is not None and self.backend not in _QUEUES and most > available:
            raise ValueError(f"a task of {most} cores does not fit into max_cores = {available}")
        if self.backend != "slurm":
            for name in ("partition", "account", "memory", "template"):
                if name in self.model_fields_set:
                    raise ValueError(f"{name} needs backend = 'slurm'")
        return self

    def cores_of(self, kind: str) -> int:
        """Return the cores of a task; its `Task.cores` or `Task.ranks` is to say so.

        Parameters
        ----------
        kind
            Of the task.
        """
        return self.cores.get(kind, 1)

    def check_kinds(self) -> None:
        """Look whether there are tasks of the kinds that are given cores.

        Raises
        ------
        ConfigError
            Names the kind, and the nearest of those that the imported modules can make.
        """
        known = task_kinds()
        for kind in self.cores:
            if kind not in known:
                raise ConfigError(
                    f"executor.cores: there are no tasks of kind {kind!r}; "
                    f"{did_you_mean(kind, known)}"
                )


def _seconds(walltime: str) -> int:
    found = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d):(\d\d)", walltime)
    if found is None:
        raise ValueError("a walltime is written [DAYS-]HOURS:MINUTES:SECONDS")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


@contextlib.contextmanager
def open_executor(
    config: ExecutorConfig, folder: Path | str, *, base: Path | str = "."
) -> Iterator[Executor]:
    """Context manager: an executor for tasks.

    When the block ends, processes of this machine are gone; jobs in a queue go on, and the next
    executor of the same folder finds them again.

    Parameters
    ----------
    config
        Which.
    folder
        Output of the campaign. Workers on other machines have to see it by the same name.
    base
        Where relative file names in the configuration start.

    Yields
    ------
    Executor
        For `TaskStore.run`.

    Raises
    ------
    ConfigError
        executorlib, or what its backend needs, is not installed here; or there are no tasks
        of a kind that is given cores.
    """
    config.check_kinds()
    if config.kind == "processes":
        with worker_pool(config.workers) as pool:
            yield pool
        return
    with one_thread_each(), _mpi_on_path():
        executor = _Executorlib(config, Path(folder).resolve() / config.cache, Path(base))
        try:
            yield executor
            executor.shutdown()
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            raise


@contextlib.contextmanager
def _mpi_on_path() -> Iterator[None]:
    """Let ``mpiexec`` be the one of the MPI library that mpi4py and LAMMPS find here."""
    mpiexec, before = _mpi.mpich_file("mpiexec"), os.environ.get("PATH", "")
    if mpiexec is not None:
        os.environ["PATH"] = f"{mpiexec.parent}:{before}"
    try:
        yield
    finally:
        os.environ["PATH"] = before


@dataclass(eq=False)
class _Job(Call):
    """A call, and what executorlib has to know of it."""

    resources: dict[str, Any] = field(default_factory=dict)
    alive: Path | None = None  # removed to have the workers end


class _Executorlib(BoundedExecutor[_Job]):
    """An executor of executorlib, given no more at a time than there is room for.

    The library itself waits for room in a loop that keeps a core busy; and it keeps results
    and job numbers in files, of which those of earlier runs have to go or to stay.
    """

    def __init__(self, config: ExecutorConfig, cache: Path, base: Path) -> None:
        self.detached = config.backend in _QUEUES
        super().__init__(config.max_jobs if self.detached else _cores(config))
        self._local = config.backend == "local"
        self._cache = cache
        self._resources = _resources(config, base) if self.detached else {}
        self._library = _library(config, cache, self.slots)

    def submit(  # type: ignore[override]
        self,
        function: Callable[..., Any],
        /,
        *arguments: Any,  # noqa: ANN401
        resource_dict: dict[str, Any] | None = None,
    ) -> Future[Any]:
        """Call a function on the ranks and cores that `resource_dict` asks for.

        Parameters
        ----------
        function, *arguments
            What is called.
        resource_dict
            ``cores`` (MPI ranks), ``threads_per_core`` and ``cache_key``, as executorlib has them.
        """
        job = _Job(function, arguments, resources={**self._resources, **(resource_dict or {})})
        if not self.detached:
            job.slots = job.resources.get("cores", 1) * job.resources.get("threads_per_core", 1)
            if job.slots > self.slots:
                raise ConfigError(
                    f"executor: a task of {job.slots} cores does not fit into the {self.slots} "
                    "there are; lower executor.cores or raise executor.max_cores"
                )
            job.alive = self._cache / f"alive-{secrets.token_hex(8)}"
        return self._add(job)

    def kill(self, future: Future[Any]) -> None:
        """Have the workers on a call end; a job in a queue has its walltime for that.

        Parameters
        ----------
        future
            Of the call.
        """
        job = self._running.get(future)
        if job is not None and job.alive is not None:
            job.alive.unlink(missing_ok=True)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End; without waiting, what runs is ended, but jobs in a queue of the cluster stay.

        Parameters
        ----------
        wait
            Come back when there are no calls left.
        cancel_futures
            Cancel those that wait.
        """
        wait_for_jobs = wait and not self.detached
        self._close(wait=wait_for_jobs, cancel=cancel_futures or not wait)
        for future in [] if wait else list(self._running):
            self.kill(future)
        self._library.shutdown(wait=wait_for_jobs, cancel_futures=False)

    def _launch(self, call: _Job) -> Future[Any]:
        self._cache.mkdir(parents=True, exist_ok=True)
        function, arguments = call.function, call.arguments
        if call.alive is None:
            self._forget(call, "_o.h5")  # if it told of success, nobody would ask again
        else:
            call.alive.touch()
            parent = os.getpid() if self._local else None
            function, arguments = _call_while_alive, (call.alive, parent, function, arguments)
        return self._library.submit(function, *arguments, resource_dict=call.resources)

    def _ended(self, call: _Job, done: Future[Any] | None) -> BaseException | None:
        if call.alive is not None:
            call.alive.unlink(missing_ok=True)
        if done is None or done.cancelled():  # the library was shut down; the job may go on
            return TaskError("the executor was shut down")
        if call.alive is None:
            self._forget(call, "_i.h5", "_o.h5")
        return done.exception()

    def _forget(self, job: _Job, *ends: str) -> None:
        """Remove files of the library."""
        for end in ends:
            with contextlib.suppress(OSError):
                (self._cache / f"{job.resources.get('cache_key', '')}{end}").unlink()


def _cores(config: ExecutorConfig) -> int:
    return config.max_cores or len(os.sched_getaffinity(0))


def _library(config: ExecutorConfig, cache: Path, slots: int) -> Executor:
    """Make the executor of executorlib."""
    _require("executorlib", config.backend)
    if config.backend in _QUEUES:
        _require("pysqa", config.backend)
        _require("h5py", config.backend)
    if config.backend == "flux_job":
        _require("flux", config.backend, "it is part of flux: use the Python that flux runs with")
    options: dict[str, Any] = {}
    if config.backend in _QUEUES:
        cache.mkdir(parents=True, exist_ok=True)
        options = {"cache_directory": str(cache), "wait": False, "refresh_rate": 0.2}
    else:
        options = {"max_cores": slots}
    if config.backend != "local" and config.pmi is not None:
        options["pmi_mode"] = config.pmi
    library = importlib.import_module("executorlib")
    return getattr(library, _CLASSES[config.backend])(disable_dependencies=True, **options)


def _require(module: str, backend: str, how: str = 'pip install "pescape[hpc]"') -> None:
    try:
        importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(
            f"executor: backend {backend!r} needs the package {module}: {how}"
        ) from error


def _resources(config: ExecutorConfig, base: Path) -> dict[str, Any]:
    """Give what every job of a queue is submitted with."""
    resources: dict[str, Any] = {}
    if config.walltime is not None:
        resources["run_time_max"] = _seconds(config.walltime)
    if config.backend == "slurm":
        resources["submission_template"] = _template(config, base)
    return resources


def _template(config: ExecutorConfig, base: Path) -> str:
    """Give the submission script, with what is the same for all tasks filled in."""
    text = SLURM_TEMPLATE
    if config.template is not None:
        path = base / config.template
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"executor.template: {path}: {error.strerror}") from error
        if "{{command}}" not in text.replace(" ", ""):
            raise ConfigError(f"executor.template: {path}: the line {{{{command}}}} is missing")
    options = {"partition": config.partition, "account": config.account}
    if config.memory is not None:
        options["mem"] = f"{config.memory * 1024:.0f}M"
    lines = [f"#SBATCH --{name}={value}" for name, value in options.items() if value]
    return text.replace("OPTIONS", "\n".join(lines)).replace("SETUP", config.setup)


def _call_while_alive(
    alive: Path, parent: int | None, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> Any:  # noqa: ANN401 (whatever the function returns)
    """Call a function in a process that ends when a file is removed or `parent` dies.

    The library's workers can be ended in no other way, and wait for a dead parent for ever.
    """
    ended = threading.Event()
    threading.Thread(target=_watch, args=(alive, parent, ended), daemon=True).start()
    try:
        return function(*arguments)
    finally:
        ended.set()


def _watch(alive: Path, parent: int | None, ended: threading.Event) -> None:
    while not ended.wait(0.5):
        if not alive.exists() or not (parent is None or process_lives(parent)):
            os._exit(1)
