import re

import pytest

from pescape.errors import ConfigError
from pescape.validation import Predicate

VALUES = {"a.x": 2.0, "a.y": -3.0, "b": 0.5, "gone": None}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.x < 3", True),
        ("a.x <= 2", True),
        ("a.x > 2", False),
        ("a.y < b < a.x", True),
        ("a.y < a.x < b", False),
        ("abs(a.y) = 3.0 +- 1e-9", True),
        ("abs(a.y + 3.1) < 0.2", True),
        ("a.x = 2.3 ± 0.2", False),
        ("a.x - 1 - 1 = 0 +- 0", True),
        ("a.x - (1 - 1) = 2 +- 0", True),
        ("-a.y * 2 / 4 = 1.5 +- 0", True),
        ("2 + 3 * a.x = 8 +- 0", True),
        ("--b > .4", True),
        ("min(a.x, a.y, b) = a.y +- 0", True),
        ("max(a.x, a.y) >= 2e0", True),
        ("b > 0 and a.x > 0 and a.y < 0", True),
        ("b > 0 and a.x < 0", False),
        ("1 / (b - 0.5) > 0", False),
        ("gone > 0", None),
        ("nowhere > 0", None),
        ("b < 0 and gone > 0", None),
    ],
)
def test_predicates_mean_what_they_say(text, expected):
    assert Predicate.parse(text).holds(VALUES) is expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.x", "expected one of < <= > >= =, found the end"),
        ("a.x < ", "character 7: expected a number or a name, found the end"),
        ("a.x = 3", "expected '+-' and a tolerance"),
        ("a.x < 3 b", "expected 'and' or the end, found 'b'"),
        ("(a.x < 3", "expected ')', found '<'"),
        ("exp(a.x) < 3", "character 1: no function 'exp'; there are abs, max, min"),
        ("a.x < __import__('os')", 'character 18: "\'" means nothing here'),
        ("a.x == 3", "expected a number or a name, found '='"),
        ("abs(a.x, b) < 3", "expected one argument before"),
        ("min(b) < 3", "expected two or more before"),
        ("a; b", "character 2: ';' means nothing here"),
    ],
)
def test_nonsense_is_told_with_its_place(text, message):
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        Predicate.parse(text)
    assert str(caught.value).startswith(f"predicate {text!r}")


def test_names_come_once_and_in_order():
    assert Predicate.parse("b < a.x < abs(a.y - b)").names == ("b", "a.x", "a.y")


def test_an_unknown_name_is_told_with_the_nearest_known():
    known = ("vacancy_migration.basal", "elastic.C44")
    Predicate.parse("elastic.C44 > 0").check(known)
    with pytest.raises(ConfigError, match=r"no value 'elastic\.C4'; did you mean 'elastic\.C44'\?"):
        Predicate.parse("elastic.C4 > 0").check(known)
    with pytest.raises(ConfigError, match=r"known here: elastic\.C44, vacancy_migration\.basal"):
        Predicate.parse("qqq > 0").check(known)


def test_a_predicate_has_its_text_for_a_name_unless_it_is_given_one():
    assert Predicate.parse("b > 0").name == "b > 0"
    assert Predicate.parse("b > 0", "positive").name == "positive"
