"""What commands print and write of predicted errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from ase import Atoms
    from numpy.typing import NDArray

    from pescape.calculators.committee.assess import Assessment
    from pescape.calculators.committee.model import ErrorModel
    from pescape.calculators.potential import Potential


def write_error_model(output: Path, model: ErrorModel | None) -> dict[str, Any]:
    """Write the committee beside a potential's file, or see to it that no old one is left.

    Parameters
    ----------
    output
        The potential's file.
    model
        None where there is none.

    Returns
    -------
    dict
        What JSON tells of it; nothing without a committee.
    """
    from pescape.calculators.committee.files import error_file, write_errors
    from pescape.cli.output import say

    path = error_file(output)
    if model is None:
        path.unlink(missing_ok=True)
        return {}
    write_errors(path, model)
    told = model.summary()
    least = ", ".join(f"{name} {value:.3f}" for name, value in told["least_force_error"].items())
    say(
        f"{path.name}: committee of {told['committee']}, calibrated on "
        f"{told['calibration_configurations']} configurations held out in turn; least bound of "
        f"{told['coverage']:.0%} of force errors {least} eV/Å"
    )
    return {"predicted_errors": told}


def assess_errors(
    potential: Potential,
    frames: Sequence[Atoms],
    title: str,
    figure: Path | None = None,
    threads: int = 1,
) -> dict[str, Any]:
    """Print how predicted errors compare with true ones, if the potential has a committee.

    Parameters
    ----------
    potential
        Read from a file.
    frames
        Labeled.
    title
        Above the table.
    figure
        Gets a drawing.
    threads
        OpenMP threads.

    Returns
    -------
    dict
        What JSON tells of it; nothing without a committee.
    """
    from pescape.calculators.committee.assess import assess
    from pescape.calculators.committee.files import errors_beside
    from pescape.errors import DataError

    model = errors_beside(potential)
    if model is None:
        if figure is not None:
            raise DataError(
                f"{potential.source} has no committee beside it, whose predicted errors "
                f"{figure.name} would show: `pescape fit` makes one"
            )
        return {}
    return _show(assess(potential, model, frames, threads=threads), title, figure)


def _show(found: Assessment, title: str, figure: Path | None) -> dict[str, Any]:
    """Print coverage and draw it, and return what JSON tells of it."""
    from pescape.cli.output import table

    told = found.summary()
    shares = f"{found.force_coverage:.1%} ± {found.force_coverage_error:.1%}"
    row = [f"{told['expected']:.0%}", shares, f"{found.energy_coverage:.1%}"]
    row += [told["rank_correlation"], told["median_force_bound"]]
    columns = ["expected", "forces below\ntheir bound", "energies below\ntheir bound"]
    columns += ["rank correlation\nof force errors", "median bound\neV/Å"]
    table(title, columns, [row])
    if figure is not None:
        from pescape.figures.calibration import draw_calibration

        draw_calibration(found, figure)
    return {"predicted_errors": told}


class GradedErrors:
    """Predicted errors of configurations that pass, where the potential has a committee.

    Parameters
    ----------
    potential
        Read from a file.
    threads
        OpenMP threads.
    """

    def __init__(self, potential: Potential, threads: int) -> None:
        from pescape.calculators.calculator import PotentialCalculator
        from pescape.calculators.committee.files import errors_beside

        self._called = potential.source
        self._model = errors_beside(potential)
        self._calculator = PotentialCalculator(potential, errors=self._model, threads=threads)
        self._largest: list[float] = []
        self._labeled: list[tuple[NDArray[np.float64], ...]] = []

    def add(self, atoms: Atoms) -> Atoms:
        """Note the predicted errors of a configuration in it, and hand it on.

        Parameters
        ----------
        atoms
            Labels are compared with the potential if it has them.
        """
        import numpy as np

        if self._model is None:
            return atoms
        calculator = self._calculator
        bounds = calculator.get_property("force_errors", atoms)
        energy_bound = calculator.get_property("energy_error", atoms)
        atoms.set_array("force_errors", bounds)
        atoms.info["energy_error"] = energy_bound
        self._largest.append(float(bounds.max(initial=0.0)))
        labels = {} if atoms.calc is None else atoms.calc.results
        energy = labels.get("free_energy", labels.get("energy"))
        if energy is not None and "forces" in labels:
            forces = calculator.get_property("forces", atoms) - labels["forces"]
            error = abs(calculator.get_property("energy", atoms) - energy)
            pair = np.array([error]), np.array([energy_bound])
            self._labeled.append((np.linalg.norm(forces, axis=1), bounds, *pair))
        return atoms

    def show(self, title: str, figure: Path | None) -> dict[str, Any]:
        """Print what was predicted and, of labeled configurations, how true it was.

        Parameters
        ----------
        title
            Above the table.
        figure
            Gets a drawing.

        Returns
        -------
        dict
            What JSON tells of it; nothing without a committee.
        """
        import numpy as np

        from pescape.calculators.committee.assess import Assessment
        from pescape.cli.output import say
        from pescape.errors import DataError

        if self._model is not None:
            middle = sorted(self._largest)[len(self._largest) // 2]
            say(
                f"largest predicted force error of a configuration: median {middle:.3f}, "
                f"most {max(self._largest):.3f} eV/Å"
            )
        if not self._labeled:
            if figure is not None:
                raise DataError(
                    f"{figure.name}: nothing to draw, for {self._called} has no committee beside "
                    "it, or the configurations have no labels"
                )
            return {}
        joined = [np.concatenate(parts) for parts in zip(*self._labeled, strict=True)]
        sizes = np.array([len(one[0]) for one in self._labeled])
        assert self._model is not None  # configurations are noted only where there is one
        found = Assessment(
            force_errors=joined[0],
            force_bounds=joined[1],
            energy_errors=joined[2],
            energy_bounds=joined[3],
            sizes=sizes,
            coverage=self._model.calibration.coverage,
        )
        return _show(found, title, figure)
