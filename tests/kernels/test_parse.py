"""The reader of potential files, on good and on malformed bytes."""

import random
import re
import resource
import struct

import numpy as np
import pytest

from pescape import _kernels
from pescape.calculators.mtp import MTPotential

GOOD = """\
MTP
version = 1.1.0
potential_name = MTP1m
scaling = 2.5e-01
species_count = 1
potential_tag = species: Zr; made by hand
radial_basis_type = RBChebyshev
\tmin_dist = 2
\tmax_dist = 5.0
\tradial_basis_size = 3
\tradial_funcs_count = 1
\tradial_coeffs
\t\t0-0
\t\t\t{1e-1, -2.5, +3}
alpha_moments_count = 6
alpha_index_basic_count = 4
alpha_index_basic = {{0, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}, {0, 0, 0, 1}}
alpha_index_times_count = 4
alpha_index_times = {{1, 1, 1, 4}, {2, 2, 1, 4}, {3, 3, 1, 4}, {0, 4, 1, 5}}
alpha_scalar_moments = 3
alpha_moment_mapping = {0, 4, 5}
species_coeffs = {-1.5}
moment_coeffs = {1, 2, 3}
"""
N = 3 + 1 + 3  # parameters
WEIGHTS = {
    "energy_weight": 0,
    "force_weight": 0,
    "stress_weight": 0,
    "site_en_weight": 1,
    "weight_scaling": 2,
}


def parse(text):
    return _kernels.parse_mtp(text if isinstance(text, bytes) else text.encode())


def with_active_set(matrix=None, inverse=None, rows="-1 -1\n" * N, text=GOOD, **weights):
    matrix = np.eye(N) * 2 if matrix is None else matrix
    inverse = np.eye(N) / 2 if inverse is None else inverse
    head = text + "\n#MVS_v1.1\n"
    head += "".join(f"{key} {value}\n" for key, value in (WEIGHTS | weights).items()) + "#"
    return head.encode() + matrix.tobytes() + inverse.tobytes() + f"\n#\n{rows}#\n".encode()


def test_a_good_file_gives_every_number():
    fields = parse(GOOD)
    assert fields["name"] == "MTP1m"
    assert fields["tag"] == "made by hand"
    assert fields["species"] == ["Zr"]
    assert fields["species_count"] == 1
    assert (fields["min_dist"], fields["cutoff"], fields["scaling"]) == (2.0, 5.0, 0.25)
    assert fields["radial_coeffs"].tolist() == [[[[0.1, -2.5, 3.0]]]]
    assert fields["basic"].tolist() == [[0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert fields["products"].tolist()[-1] == [0, 4, 1, 5]
    assert fields["scalar_moments"].tolist() == [0, 4, 5]
    assert fields["moments_count"] == 6
    assert fields["species_coeffs"].tolist() == [-1.5]
    assert fields["moment_coeffs"].tolist() == [1.0, 2.0, 3.0]
    assert "active_set" not in fields


def test_line_ends_and_spaces_do_not_matter():
    expected = parse(GOOD)
    for text in (GOOD.replace("\n", "\r\n"), GOOD.replace(" = ", "=").rstrip(), GOOD + " \n\n"):
        fields = parse(text)
        assert fields["moment_coeffs"].tolist() == expected["moment_coeffs"].tolist()
        assert fields["tag"] == expected["tag"]


def test_an_untrained_file_has_no_coefficients():
    lines = GOOD.splitlines()
    fields = parse("\n".join(lines[:11] + lines[14:21]))
    assert "radial_coeffs" not in fields
    assert "moment_coeffs" not in fields


def test_pairs_of_species_may_come_in_any_order():
    pairs = ["0-0", "{1,1,1}", "0-1", "{2,2,2}", "1-0", "{3,3,3}", "1-1", "{4,4,4}"]
    shuffled = [*pairs[6:8], *pairs[2:4], *pairs[0:2], *pairs[4:6]]
    text = GOOD.replace("species: Zr; ", "").replace("species_count = 1", "species_count = 2")
    text = text.replace("{-1.5}", "{-1.5, 0}")
    old = "\t\t0-0\n\t\t\t{1e-1, -2.5, +3}"
    for order in (pairs, shuffled):
        coefficients = parse(text.replace(old, "\n".join(order)))["radial_coeffs"]
        assert coefficients[:, :, 0, 0].tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_an_active_set_is_read_with_its_inverse_transposed():
    matrix = np.random.default_rng(1).normal(size=(N, N))
    inverse = np.ascontiguousarray(np.linalg.inv(matrix).T)
    rows = "0 25\n" + "-1 -1\n" * (N - 1)
    fields = parse(with_active_set(matrix, inverse, rows) + b"BEGIN_CFG")["active_set"]
    assert fields["neighborhood_mode"]
    assert fields["weight_scaling"] == 2.0
    assert (fields["matrix"] == matrix).all()
    assert (fields["inverse"] == inverse.T).all()
    assert fields["origins"].tolist() == [[0, 25], *[[-1, -1]] * (N - 1)]
    offset = fields["configurations_offset"]
    assert (with_active_set(matrix, inverse, rows) + b"BEGIN_CFG")[offset:] == b"BEGIN_CFG"


# What is replaced in the good file, by what, the line that is named and the message.
WRONG = [
    ("MTP\n", "XTP\n", 1, "not a moment tensor potential"),
    ("1.1.0", "1.2.0", 2, "version 1.1.0 expected, found '1.2.0'"),
    ("RBChebyshev", "RBShapeev", 7, "'RBShapeev' is not supported; the one that is: RBChebyshev"),
    ("RBChebyshev", "RBChebyshev_repuls", 7, "not supported"),
    ("scaling = 2.5e-01", "magnetic_basis_type = BChebyshev", 4, "magnetic potentials"),
    ("scaling", "scalding", 4, "unknown key 'scalding'"),
    ("scaling = 2.5e-01", "scaling = 1\nscaling = 1", 5, "'scaling' appears twice"),
    ("scaling = 2.5e-01", "scaling = nan", 4, "not a finite number"),
    ("scaling = 2.5e-01", "scaling = 1e999", 4, "a number expected, found '1e999'"),
    ("scaling = 2.5e-01", "scaling = 0.25x", 4, "a number expected, found '0.25x'"),
    ("scaling = 2.5e-01", "scaling 0.25", 4, "'=' expected in scaling"),
    ("species_count = 1", "species_count = 2", 6, "names 1 elements, but species_count is 2"),
    ("species_count = 1", "species_count = 0", 5, "outside 1 .. 118"),
    ("species_count = 1", "species_count = 1.5", 5, "a whole number expected, found '1.5'"),
    ("species_count = 1", "species_count = 99999999999", 5, "a whole number expected"),
    ("species: Zr", "species: Zr zirkon", 6, "'zirkon', which is no element's symbol"),
    ("scaling = 2.5e-01", "scaling = 0", 4, "scaling is 0"),
    ("max_dist = 5.0", "max_dist = 1.0", 9, "0 <= min_dist < max_dist must hold"),
    ("max_dist = 5.0", "max_dist = inf", 9, "not a finite number"),
    ("min_dist = 2", "min_dist = -1", 9, "0 <= min_dist < max_dist must hold"),
    ("radial_basis_size = 3", "radial_basis_size = 2000000000", 10, "outside 1 .. 1000"),
    ("radial_basis_size = 3", "radial_basis_size = 4", 14, "holds 3 numbers, 4 expected"),
    ("radial_basis_size = 3", "radial_basis_size = 2", 14, "holds more than the 2 numbers"),
    ("\t\t0-0", "\t\t0-1", 13, "'0-1': species is 1, outside 0 .. 0"),
    ("\t\t0-0", "\t\tzero", 13, "a pair of species such as 0-0 expected"),
    ("-2.5, ", "-NaN, ", 14, "'-NaN'|not a finite number"),
    ("-2.5, ", "-2.5 ", 14, r"',' expected in radial_coeffs, found '\+3'"),
    ("+3}", "+3", 15, "',' expected in radial_coeffs, found 'alpha_moments_count'"),
    ("alpha_moments_count = 6", "alpha_moments_count = 5", 19, "moment 5 is outside"),
    ("alpha_moments_count = 6", "alpha_moments_count = 2000000000", 15, "only 8 moments"),
    ("alpha_moments_count = 6\n", "", 18, "'alpha_index_times' comes before 'alpha_moments_count'"),
    ("basic_count = 4", "basic_count = 3", 17, "has 4 entries, but 3 are announced"),
    ("basic_count = 4", "basic_count = 2000000000", 17, "has 4 entries, but 2000000000"),
    ("{0, 1, 0, 0}", "{1, 1, 0, 0}", 17, "radial function 1 is outside 0 .. 0"),
    ("{0, 1, 0, 0}", "{0, 1, -1, 0}", 17, "exponents must be 0 or more"),
    ("{0, 1, 0, 0}", "{0, 1000000000, 1000000000, 1000000000}", 17, "exponents must be"),
    ("{0, 1, 0, 0}", "{0, 1, 0}", 17, "each entry has 4 numbers"),
    ("{0, 1, 0, 0}", "{0, 1, 0, 0, 0}", 17, "each entry has 4 numbers"),
    ("times_count = 4", "times_count = 5", 19, "has 4 entries, but 5 are announced"),
    ("{1, 1, 1, 4}", "{1, 9, 1, 4}", 19, "moment 9 is outside 0 .. 5"),
    ("{1, 1, 1, 4}", "{1, 1, 1, 3}", 19, "moment 3 is outside 4 .. 5"),
    ("{1, 1, 1, 4}", "{-1, 1, 1, 4}", 19, "moment -1 is outside"),
    ("{1, 1, 1, 4}", "{1, 5, 1, 4}", 19, "entry 0 uses moment 5 before it is complete"),
    ("{3, 3, 1, 4}", "{3, 4, 1, 4}", 19, "entry 2 uses moment 4 before it is complete"),
    ("{3, 3, 1, 4}, {0, 4, 1, 5}", "{0, 4, 1, 5}, {3, 3, 1, 4}", 19, "entry 2 uses moment 4"),
    ("scalar_moments = 3", "scalar_moments = 4", 21, "has 3 entries, but 4 are announced"),
    ("{0, 4, 5}", "{0, 4, 6}", 21, "moment 6 is outside 0 .. 5"),
    ("{-1.5}", "{-1.5, 1}", 22, "holds more than the 1 numbers"),
    ("{-1.5}", "-1.5", 22, "'{' expected in species_coeffs, found '-1.5'"),
    ("{1, 2, 3}", "{1, 2}", 23, "holds 2 numbers, 3 expected"),
    ("{1, 2, 3}", "{1, 2, 3", 24, "found the end of the file"),
    ("{1, 2, 3}", "{1, 2, 3} 4", 23, "unknown key '4'"),
    ("moment_coeffs = {1, 2, 3}\n", "", 23, "ends without 'moment_coeffs'"),
    ("moment_coeffs", "#MVS_v2.0\nmoment_coeffs", 23, "without 'moment_coeffs'"),
]


@pytest.mark.parametrize(("old", "new", "line", "message"), WRONG)
def test_what_is_wrong_and_where_is_said(old, new, line, message):
    assert GOOD.count(old) >= 1
    with pytest.raises(ValueError, match=f"^line {line}: .*({message})") as caught:
        parse(GOOD.replace(old, new, 1))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", " \n", "MTP", "\0" * 100, "BEGIN_CFG\n", "<html>"])
def test_other_files_are_refused(text):
    with pytest.raises(ValueError, match="line "):
        parse(text)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (with_active_set(force_weight=1), "only energy_weight 1 .* or site_en_weight 1"),
        (with_active_set(energy_weight=1), "only energy_weight 1 .* or site_en_weight 1"),
        (with_active_set(site_en_weight=0), "only energy_weight 1 .* or site_en_weight 1"),
        (with_active_set(site_en_weight="nan"), "not a finite number"),
        (with_active_set(matrix=np.full((N, N), np.nan)), "matrix holds numbers that are not"),
        (with_active_set(inverse=np.full((N, N), np.inf)), "inverse holds numbers that are not"),
        (with_active_set(matrix=np.eye(N - 1)), "line 3.:"),
        (with_active_set(rows="-1 -1\n"), "a whole number expected, found '#'"),
        (with_active_set(rows="-1 -1\n" * (N + 1)), "'#' expected in the active set"),
        (with_active_set(rows="-2 0\n" * N), "outside -1 .."),
        (with_active_set()[:-300], "the file ends within the active set's"),
        (with_active_set().replace(b"MVS_v1.1", b"MVS_v1.0"), "expected, found '#MVS_v1.0'"),
        (with_active_set().replace(b"force_weight", b"farce_weight"), "'force_weight' expected"),
    ],
)
def test_wrong_active_sets_are_refused(data, message):
    with pytest.raises(ValueError, match=message):
        parse(data)


def test_an_active_set_without_coefficients_is_refused():
    lines = GOOD.splitlines()
    untrained = "\n".join(lines[:11] + lines[14:21])
    with pytest.raises(ValueError, match="has an active set but no coefficients"):
        parse(with_active_set(text=untrained))


@pytest.mark.parametrize("data", [GOOD.encode(), with_active_set()])
def test_a_truncated_file_is_never_taken_for_whole(data):
    whole = len(GOOD.rstrip()) if data == GOOD.encode() else len(data) - 1
    for size in range(whole):
        if data[:size].decode(errors="ignore").rstrip() == GOOD.rstrip():
            continue  # the whole potential, before its active set
        with pytest.raises(ValueError, match="line "):
            parse(data[:size])


def mutate(data, rng):
    data = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data))
        match rng.randrange(5):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                del data[at : at + rng.randint(1, 30)]
            case 2:
                data[at:at] = bytes(rng.choices(b"0123456789-+.e{},=\n #", k=rng.randint(1, 9)))
            case 3:
                data[at : at + 1] = rng.choice([b"99999999", b"-1", b"1e308", b"nan", b"{{{"])
            case 4:
                start = rng.randrange(len(data))
                data[at:at] = data[start : start + rng.randint(1, 60)]
    return bytes(data)


def test_damaged_files_raise_errors_and_use_little_memory():
    rng = random.Random(7)
    seeds = [GOOD.encode(), with_active_set()]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    messages = []
    for _ in range(6000):
        data = mutate(rng.choice(seeds), rng)
        try:
            fields = _kernels.parse_mtp(data)
        except ValueError as error:
            messages.append(str(error))
        else:
            assert fields["moments_count"] <= len(data)
    assert len(messages) > 3000
    assert all(re.match(r"line \d+: ", message) for message in messages)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 200_000  # kB


def test_numbers_survive_bit_by_bit(tmp_path):
    rng = np.random.default_rng(3)
    bits = rng.integers(0, 2**63, size=2000, dtype=np.uint64) << np.uint64(1)
    values = np.frombuffer(struct.pack(f"{len(bits)}Q", *bits))
    values = values[np.isfinite(values) & (np.abs(values) > 1e-300)]
    potential = MTPotential.untrained(16, ["Zr"], 5.0, 2.0)
    parameters = values[: potential.parameter_count]
    potential.with_parameters(parameters).write(tmp_path / "x.mtp")
    assert (MTPotential.read(tmp_path / "x.mtp").parameters == parameters).all()
