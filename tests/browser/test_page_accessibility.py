"""The status page for everybody: contrast, keyboard, screen readers, a phone, and no motion."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.browser.page import StagedPage
from tests.support.browser import use_scheme, use_width

CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
STATES = {
    "Ready": [],
    "Ready, with 1 problem": [{"name": "jobs", "problem": "stalled", "required": False}],
    "Not ready": [{"name": "log", "problem": "behind", "required": True}],
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_and_lines_have_enough_contrast(page: StagedPage, scheme: str) -> None:
    use_scheme(page.browser, scheme)
    page.server.answer["rejectedRulesIncomplete"] = True
    page.server.answer["rejectedRules"][1]["other"] = True
    grounds = set()
    for state, checks in STATES.items():
        page.server.answer["checks"] = [{"name": "server", "problem": "", "required": True}, *checks]
        page.refresh()
        assert page.state == state
        found: list[tuple[str, float, str]] = page.run(CONTRAST)
        kinds = Counter(kind for kind, _, _ in found)
        assert kinds["text"] > 200
        assert kinds["line"] > 25
        assert [each for each in found if each[1] < (4.5 if each[0] == "text" else 3)] == []
        grounds.add(page.run("return getComputedStyle(document.body).backgroundColor"))
    (ground,) = grounds
    darkness = sum(int(part) for part in ground.removeprefix("rgb(").rstrip(")").split(",")) / 3
    assert (darkness < 64) == (scheme == "dark")


@pytest.mark.parametrize("width", [320, 360, 768])
def test_a_narrow_page_scrolls_down_only_and_its_tables_by_themselves(page: StagedPage, width: int) -> None:
    use_width(page.browser, width)
    page.server.answer["rejectedRules"][0]["description"] = "x" * 300
    page.server.answer["checks"] = [{"name": "log" * 40, "problem": "x" * 500, "required": True}]
    page.server.answer["partitions"][0]["damage"] = "y" * 500
    page.refresh()
    assert page.run("return document.documentElement.scrollWidth") <= width
    wide = page.run(
        "return [...document.querySelectorAll('.scroller')]"
        ".filter((each) => each.scrollWidth > each.clientWidth)"
        ".map((each) => [each.tabIndex, each.getAttribute('role'), each.getAttribute('aria-label')])"
    )
    assert len(wide) >= 2
    assert all(stop == 0 and role == "region" and name for stop, role, name in wide)
    outside = page.run(
        "return [...document.querySelectorAll('body *')].filter((each) => each.checkVisibility()"
        " && !each.closest('.scroller, .unseen') && each.getBoundingClientRect().right > innerWidth).length"
    )
    assert outside == 0


def test_every_stop_of_the_keyboard_is_visible_and_all_are_reached(page: StagedPage) -> None:
    use_width(page.browser, 360)
    page.refresh()
    stops = "input, button, a[href], [tabindex='0']"
    page.run(
        "window.stops = [...document.querySelectorAll(arguments[0])].filter((one) => one.checkVisibility())",
        stops,
    )
    count = page.run("return window.stops.length")
    assert count > 20
    page.run("document.body.focus()")
    for number in range(count):
        page.press(Keys.TAB)
        is_next, outline, box = page.run(
            "const focused = document.activeElement; const style = getComputedStyle(focused);"
            "return [focused === window.stops[arguments[0]], style.outlineStyle + style.outlineWidth,"
            " focused.getBoundingClientRect().toJSON()]",
            number,
        )
        assert is_next, number
        assert outline == "solid2px"
        assert box["width"] > 0
        assert box["bottom"] > 0
        assert box["top"] < 900


def test_a_screen_reader_gets_names_headings_and_present_values(page: StagedPage) -> None:
    nodes = page.browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named: dict[str, list[str]] = {}
    for node in nodes:
        if not node["ignored"]:
            named.setdefault(node["role"]["value"], []).append(node.get("name", {}).get("value", ""))
    for role in ("image", "table", "region", "button", "searchbox", "columnheader", "list"):
        assert all(named[role]), role
    assert len(named["main"]) == len(named["banner"]) == 1
    assert named["heading"][:2] == ["Ready", "Last ten minutes"]
    (events,) = [name for name in named["image"] if name.startswith("Events of the last ten minutes")]
    assert "Accepted 844 /s, Duplicate 60 /s, Suppressed 2.4 /s, Rejected 5 /s" in events
    assert len(named["image"]) == 6
    assert len(named["table"]) == 6
    assert len(named["rowheader"]) > 20


def test_lines_and_states_differ_in_more_than_colour(page: StagedPage) -> None:
    dashes = page.run(
        "return [...document.querySelectorAll('.plot')].map((plot) => [...plot.querySelectorAll('.line')]"
        ".map((line) => getComputedStyle(line).strokeDasharray))"
    )
    assert all(len(each) == len(set(each)) for each in dashes)
    shapes = set()
    for checks in STATES.values():
        page.server.answer["checks"] = checks
        page.refresh()
        shapes.add(page.run("return document.querySelector('#state-icon').getAttribute('d')"))
    assert len(shapes) == len(STATES)


def test_nothing_moves_for_people_who_do_not_want_it(page: StagedPage) -> None:
    moving = page.run(
        "return [...document.querySelectorAll('*')].filter((each) => {"
        " const style = getComputedStyle(each);"
        " return style.transitionDuration !== '0s' || style.animationName !== 'none' }).length"
    )
    assert moving == 0
