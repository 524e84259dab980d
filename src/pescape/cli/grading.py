"""``pescape grade`` and ``pescape select``."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from pescape.cli.potentials import read_potential

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ase import Atoms

    from pescape.calculators.potential import Potential
    from pescape.data.configurations import Configurations

_Potential = Annotated[Path, typer.Argument(metavar="POT", help="Potential with an active set.")]
_Species = Annotated[str | None, typer.Option(help="Elements in order, for files that name none.")]
_Threads = Annotated[int, typer.Option(min=1, help="OpenMP threads.")]
# Atoms told of for each configuration in JSON.
_TOLD_ATOMS = 5
_GIB = 1 << 30


def grade(
    potential: _Potential,
    data: Annotated[Path, typer.Argument(help="Configurations, labelled or not.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="extxyz file to write.")],
    json: Annotated[Path | None, typer.Option(help="Write the largest grades here too.")] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Draw predicted against true errors of labelled data here.")
    ] = None,
    threshold: Annotated[float, typer.Option(help="Above it a grade is risky.")] = 2.1,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say which atoms are risky, and in what.")
    ] = False,
    worst: Annotated[int, typer.Option(min=1, help="How many of them to print.")] = 10,
    species: _Species = None,
    threads: _Threads = 1,
) -> None:
    """Extrapolation grades: up to 1 a potential interpolates, above 2.1 it is risky.

    The output holds each atom's grade as `extrapolation_grades` (neighborhood mode) and
    the largest as `extrapolation_grade`. Configurations are read and written some at a time, so
    that files may be larger than memory. With `--explain` the worst atoms are printed with their
    neighbors, the row of the active set in whose direction they extrapolate and the parameter
    that says most in it; with `--json` those of every risky configuration are written.

    Where a committee lies beside the potential, the output holds `force_errors` (eV/Å) and
    `energy_error` (eV) as well: bounds of 90 % of the errors, where data is as in the fit. Of
    labelled configurations the share that keeps to them is printed.

    Example: `pescape grade zr.almtp candidates.xyz -o graded.xyz --explain`
    """
    from pescape.calculators.doptimality.select import grade_each
    from pescape.cli.output import save_json, table
    from pescape.cli.predicted import GradedErrors
    from pescape.data.configurations import Configurations, write_configurations

    fitted = read_potential(potential, species)
    report = _Report(fitted, threshold, explain, threads)
    predicted = GradedErrors(fitted, threads)
    frames = Configurations(data, species=fitted.species)
    graded = grade_each(fitted, frames, threads=threads)
    write_configurations(output, (predicted.add(report.take_note(atoms)) for atoms in graded))
    largest = report.largest
    risky = sum(value > threshold for value in largest)
    middle = sorted(largest)[len(largest) // 2]
    rows = [(len(largest), min(largest), middle, max(largest), risky)]
    columns = ["configurations", "least", "median", "largest", f"above {threshold:g}"]
    table(f"extrapolation grades of {data}", columns, rows)
    report.show(worst)
    told = report.told | predicted.show(f"predicted errors of {data}", figure)
    if json is not None:
        save_json(json, {"grades": largest, "risky": risky, **told}, [potential, data])


class _Report:
    """What is told of graded configurations, gathered while they pass."""

    def __init__(self, fitted: Potential, threshold: float, explain: bool, threads: int) -> None:
        from pescape.calculators.bpnn import BPNNPotential

        self.largest: list[float] = []
        self.told: dict[str, list[dict[str, Any]]] = {"extrapolations": []} if explain else {}
        self._fitted = fitted
        self._threshold = threshold
        self._threads = threads
        self._network = fitted if isinstance(fitted, BPNNPotential) else None
        if self._network is not None and self._network.knows_ranges:
            self.told["out_of_range"] = []

    def take_note(self, atoms: Atoms) -> Atoms:
        """Look at a graded configuration and hand it on.

        Parameters
        ----------
        atoms
            With its grades.
        """
        from pescape.calculators.bpnn.descriptors import out_of_range
        from pescape.calculators.doptimality.explain import explain

        frame, value = len(self.largest), float(atoms.info["extrapolation_grade"])
        self.largest.append(value)
        if "extrapolations" in self.told and value > self._threshold:
            found = explain(
                self._fitted,
                atoms,
                threshold=self._threshold,
                most=_TOLD_ATOMS,
                threads=self._threads,
            )
            self.told["extrapolations"] += [{"frame": frame, **one.summary()} for one in found]
        if self._network is not None and "out_of_range" in self.told:
            beyond = out_of_range(self._network, atoms, threads=self._threads)
            if beyond:
                entry: dict[str, Any] = {"frame": frame, "atoms": len({one.atom for one in beyond})}
                entry["functions"] = len(beyond)
                # A function that was constant has no width to measure an excess in.
                entry["excess"] = min(beyond[0].excess, 1e300)
                self.told["out_of_range"].append({**entry, "worst": str(beyond[0])})
        return atoms

    def show(self, worst: int) -> None:
        """Print the worst of it.

        Parameters
        ----------
        worst
            How many atoms, and how many configurations out of range.
        """
        from pescape.cli.output import say, table, warn

        found = self.told.get("extrapolations", [])
        order = sorted(found, key=lambda one: -one["grade"])[:worst]
        if order:
            columns = ["frame", "atom", "", "grade", "neighbours", "nearest\nÅ"]
            columns += ["of training\nconfiguration, atom", "richest in"]
            table("atoms that extrapolate", columns, [_explained(one) for one in order])
        elif "extrapolations" in self.told:
            say(f"no grade is above {self._threshold:g}: there is nothing to explain")
        beyond = self.told.get("out_of_range", [])
        if beyond:
            warn(
                f"{sum(one['atoms'] for one in beyond)} atoms in {len(beyond)} of "
                f"{len(self.largest)} configurations have symmetry functions beyond the range of "
                f"the training data, by up to {max(one['excess'] for one in beyond):.3g} widths "
                "of it:"
            )
            for one in sorted(beyond, key=lambda one: -one["excess"])[:worst]:
                warn(f"  frame {one['frame']}, {one['worst']}")


def _explained(one: dict[str, Any]) -> list[object]:
    distances = one["distances"]
    configuration, atom = one["row"]
    row = "none: unset" if configuration < 0 else f"{configuration}, {atom}"
    return [
        one["frame"],
        one["atom"],
        one["species"],
        one["grade"],
        len(distances),
        distances[0] if distances else None,
        row,
        one["parameter_name"],
    ]


def select(
    potential: Annotated[
        Path, typer.Argument(metavar="POT", help="Potential; with an active set, to find news.")
    ],
    candidates: Annotated[Path, typer.Argument(help="Configurations to select from.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="extxyz file to write.")],
    training: Annotated[
        Path | None, typer.Option(help="The data the potential was trained on.")
    ] = None,
    min_distance: Annotated[
        float, typer.Option(help="Å; candidates with nearer atoms are left out.")
    ] = 0.0,
    similarity: Annotated[
        float, typer.Option(help="In grades; of candidates that differ less, one is kept.")
    ] = 0.5,
    count: Annotated[
        int | None, typer.Option(min=1, help="At most so many, the most informative.")
    ] = None,
    subsample: Annotated[
        bool, typer.Option("--subsample", help="What spans a data set, whatever POT knows of it.")
    ] = False,
    mode: Annotated[
        Literal["neighborhood", "configuration"],
        typer.Option(help="Of --subsample: what competes, atoms or configurations."),
    ] = "neighborhood",
    linear: Annotated[
        bool, typer.Option("--linear", help="Of --subsample: linear parameters only.")
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write what was selected here too.")] = None,
    memory: Annotated[
        float, typer.Option(min=0.0, help="GiB of rows kept from pass to pass.")
    ] = 1.0,
    species: _Species = None,
    threads: _Threads = 1,
) -> None:
    """Select the candidates that teach a potential most (D-optimality, MaxVol).

    Files may be larger than memory: they are read again in every pass. With `--subsample` the
    candidates are a data set, of which the part is found that spans all it knows, the most
    informative configuration first; labels are kept, and the potential needs no active set.

    Examples: `pescape select zr.almtp risky.xyz -o selected.xyz --training train.xyz`,
    `pescape select zr.mtp huge.xyz -o few.xyz --subsample --count 200`
    """
    from pescape.data.configurations import Configurations
    from pescape.errors import DataError

    fitted = read_potential(potential, species)
    frames = Configurations(candidates, species=fitted.species)
    settings: dict[str, Any] = {"threads": threads, "memory": int(memory * _GIB)}
    inputs = [potential, candidates]
    if subsample:
        if training is not None:
            raise DataError("--training is for finding news: --subsample asks nothing of it")
        settings |= {"mode": mode, "parameters": "linear" if linear else None, "count": count}
        _subsample(fitted, frames, output, json, inputs, settings)
        return
    if linear or mode != "neighborhood":
        raise DataError(
            "--linear and --mode are for --subsample: without it the active set in "
            f"{potential} says which rows it is of"
        )
    known = () if training is None else Configurations(training, species=fitted.species)
    settings |= {"training": known, "min_distance": min_distance, "similarity": similarity}
    inputs += [] if training is None else [training]
    _select(fitted, frames, output, json, inputs, count, settings)


def _select(
    fitted: Potential,
    frames: Configurations,
    output: Path,
    json: Path | None,
    inputs: list[Path],
    count: int | None,
    settings: dict[str, Any],
) -> None:
    from pescape.calculators.doptimality.select import select_for_labelling
    from pescape.cli.output import save_json, say
    from pescape.data.configurations import write_configurations
    from pescape.errors import DataError

    with _passes() as progress:
        choice = select_for_labelling(fitted, frames, progress=progress, **settings)
    indices = choice.indices[:count]
    say(
        f"{len(indices)} of {len(choice.grades)} selected; left out: {choice.redundant} that add "
        f"no volume, {choice.similar} similar to a selected one, {choice.known} similar to "
        f"training data, {choice.unphysical} with atoms too near each other"
        + (f", {len(choice.indices) - len(indices)} beyond --count" if count is not None else "")
    )
    if json is not None:
        left_out = {
            "redundant": choice.redundant,
            "similar": choice.similar,
            "known": choice.known,
            "unphysical": choice.unphysical,
        }
        grades = [None if value != value else float(value) for value in choice.grades]  # noqa: PLR0124
        content = {"selected": list(indices), "grades": grades, "left_out": left_out}
        save_json(json, content, inputs)
    if not indices:
        raise DataError(f"nothing selected: the potential knows all of {frames.path}")
    write_configurations(output, choice.configurations[:count])


def _subsample(
    fitted: Potential,
    frames: Configurations,
    output: Path,
    json: Path | None,
    inputs: list[Path],
    settings: dict[str, Any],
) -> None:
    from pescape.calculators.doptimality.subsample import subsample
    from pescape.cli.output import save_json, say, table
    from pescape.data.configurations import write_configurations

    with _passes() as progress:
        found = subsample(fitted, frames, progress=progress, **settings)
    write_configurations(output, found.configurations)
    rows = []
    for layer in sorted(set(found.layers)):
        gains = [gain for one, gain in zip(found.layers, found.gains, strict=True) if one == layer]
        rows.append((layer, len(gains), sum(gains), max(gains), min(gains)))
    columns = ["layer", "configurations", "log volume", "most by one", "least"]
    table(f"what spans {frames.path}", columns, rows)
    say(f"{len(found.indices)} of {found.total} selected, which fill {found.rows} rows")
    wanted = settings["count"]
    if wanted is not None and len(found.indices) < wanted:
        say(f"the other {wanted - len(found.indices)} of --count would add nothing")
    if json is not None:
        save_json(json, found.summary(), inputs)


@contextlib.contextmanager
def _passes() -> Iterator[Callable[[int, int, int], None]]:
    """Show the passes over files, whose length is not known beforehand."""
    from pescape.cli.output import progress_bar

    with progress_bar(counted=False) as bar:
        task = bar.add_task("MaxVol", total=None, note="")

        def told(number: int, configurations: int, swaps: int) -> None:
            note = f"pass {number}, {configurations} configurations, {swaps} swaps"
            bar.update(task, note=note)

        yield told
