import struct
import zlib

import pytest

from tests.report.browser import browser, program

# A phone, and a window on a desk.
PHONE, DESK = 390, 1280

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(program() is None, reason="no Chromium is installed"),
]


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as tab:
        yield tab


@pytest.fixture
def opened(tab, folder):
    tab.open(folder / "report.html", DESK)
    return tab


def colors(png):
    """How many different rows of pixels a PNG has: a blank one has a single one."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    place, data = 8, b""
    while place < len(png):
        (length,) = struct.unpack(">I", png[place : place + 4])
        if png[place + 4 : place + 8] == b"IHDR":
            width, _, _, kind = struct.unpack(">IIBB", png[place + 8 : place + 18])
        if png[place + 4 : place + 8] == b"IDAT":
            data += png[place + 8 : place + 8 + length]
        place += 12 + length
    line = 1 + width * {2: 3, 6: 4}[kind]
    raw = zlib.decompress(data)
    return len({raw[start : start + line] for start in range(0, len(raw), line)})


@pytest.mark.parametrize("width", [DESK, PHONE])
def test_the_page_is_shown_without_complaints_or_other_requests(tab, folder, width):
    page = folder / "report.html"
    tab.open(page, width)
    assert colors(tab.screenshot()) > 50
    assert tab.complaints() == []
    fetched = [one for one in tab.requests() if not one.startswith("data:")]
    assert fetched == [page.resolve().as_uri()]
    assert tab.run("document.scrollingElement.scrollWidth") <= width
    assert tab.run("[...document.images].every(one => one.naturalWidth > 100)")


def test_tables_scroll_inside_their_own_frame_on_a_phone(tab, folder):
    tab.open(folder / "report.html", PHONE)
    frame = "document.querySelector('#values .scroll')"
    assert tab.run(f"{frame}.scrollWidth > {frame}.clientWidth")
    tab.run(f"{frame}.scrollLeft = 400")
    first = "document.querySelector('#comparison tbody tr:not(.group) th')"
    # Names stay where they can be read.
    assert tab.run(f"{first}.getBoundingClientRect().left") >= 0


def test_no_text_becomes_markup(opened):
    assert opened.run("document.scripts.length") == 1
    assert opened.run("document.querySelectorAll('h1 friends, b').length") == 0
    assert opened.run("document.querySelector('h1').textContent") == "Copper & <friends>"


def names(tab):
    script = "[...document.querySelectorAll('#comparison tbody tr:not(.group)')]"
    shown = ".filter(row => !row.hidden).map(row => row.cells[0].dataset.key)"
    return tab.run(script + shown)


def click(tab, number):
    tab.run(f"document.querySelectorAll('#comparison thead button')[{number}].click()")


def test_a_click_on_a_header_sorts_a_second_turns_and_a_third_restores(opened):
    before = names(opened)
    click(opened, 0)
    assert names(opened) == sorted(before, key=str.casefold) != before
    assert opened.run("document.querySelector('#comparison [aria-sort]').ariaSort") == "ascending"
    click(opened, 0)
    assert names(opened) == sorted(before, key=str.casefold, reverse=True)
    click(opened, 0)
    assert names(opened) == before
    assert opened.run("document.querySelector('#comparison [aria-sort]')") is None


@pytest.mark.parametrize("clicks", [1, 2])
def test_numbers_are_sorted_as_numbers_and_unknown_ones_come_last(opened, study, clicks):
    for _ in range(clicks):
        click(opened, 2)  # the first reference
    first = study.standards[0]
    known = [row.name for row in study.rows() if first.name in row.references]
    in_order = sorted(known, key=lambda name: first.values[name].value, reverse=clicks == 2)
    assert names(opened)[: len(known)] == in_order
    assert len(names(opened)) == len(study.rows())


def test_every_button_sorts_its_own_column(opened, study):
    count = opened.run("document.querySelectorAll('#comparison thead button').length")
    subjects, standards = len(study.subjects), len(study.standards)
    assert count == 2 + standards + subjects * (1 + standards)
    for number in range(2, count):
        click(opened, number)
        keys = opened.run(
            "[...document.querySelectorAll('#comparison tbody tr:not(.group)')]"
            f".map(row => row.cells[{number}].dataset.key).filter(key => key !== '').map(Number)"
        )
        assert keys == sorted(keys)


def test_the_filter_shows_what_fits(opened, study):
    opened.run("filter.value = 'C1 gpa'; filter.dispatchEvent(new Event('input'))")
    assert names(opened) == ["elastic.C11", "elastic.C12"]
    total = len(study.rows())
    assert opened.run("count.textContent") == f"2 of {total} values"
    heads = "[...document.querySelectorAll('#comparison .group')].filter(one => !one.hidden)"
    assert opened.run(f"{heads}.length") == 1


def test_it_prints(opened):
    pdf = opened.pdf()
    assert pdf.startswith(b"%PDF")
    pages = pdf.count(b"/Type /Page\n")
    # Every section begins a page.
    assert pages >= opened.run("document.querySelectorAll('section').length")
