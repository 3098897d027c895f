"""The status page: what it shows of a server, and that it says when it knows nothing."""

from __future__ import annotations

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.keys import Keys

from tests.browser.page import WAITING, StagedPage
from tests.support.page_server import PageServer
from tests.support.server_stats import Json, busy_answer
from tests.support.waiting import wait_until


def check(name: str, problem: str = "", *, required: bool = True) -> Json:
    return {"name": name, "problem": problem, "required": required}


def test_the_state_comes_first_and_names_each_check(page: StagedPage) -> None:
    assert page.state == "Ready"
    assert page.text("#checks").splitlines()[:2] == ["server ok", "log ok"]
    page.server.answer["checks"] = [check("log"), check("jobs", "stalled: expiry", required=False)]
    page.refresh()
    assert page.state == "Ready, with 1 problem"
    assert page.text("#checks").splitlines() == ["jobs stalled: expiry (calls go on)", "log ok"]
    page.server.answer["checks"] += [check("files of the store", "engagement.db is gone")]
    page.refresh()
    assert page.state == "Not ready"
    assert page.text("#state-detail") == "The node takes no calls."
    assert page.text("#checks").splitlines()[0] == "files of the store engagement.db is gone"
    assert page.browser.title.startswith("Not ready")


def test_figures_have_units_and_are_those_of_the_latest_sample(page: StagedPage) -> None:
    values = {card.split("\n")[0]: card.split("\n")[1:] for card in cards(page)}
    assert values["Events"][:8] == [
        *("Accepted", "844 /s", "Duplicate", "60 /s"),
        *("Suppressed", "2.4 /s", "Rejected", "5 /s"),
    ]
    assert values["Time of calls"][:4] == ["Median", "3.7 ms", "p99", "42.8 ms"]
    assert values["Memory"][:4] == ["In use", "420 MiB", "Limit", "2 GiB"]
    assert values["Subscriptions"][:4] == ["Most behind", "409 events", "Open", "37"]
    assert page.text(".facts").split("\n") == [
        *("Version", "0.1.0", "Up for", "3 d 4 h"),
        *("Sample of", "22:13:20 UTC"),
    ]


def cards(page: StagedPage) -> list[str]:
    texts: list[str] = page.run(
        "return [...document.querySelectorAll('.chart')].map((card) => card.innerText)"
    )
    return texts


def test_tables_show_what_a_person_needs_to_act(page: StagedPage) -> None:
    assert page.rows("rules")[1] == [
        *("brand-1", "crm-1", "customer_info.last_payment_date", "date.valid", "1,000", "7 s ago", "9999-99"),
        "must be a day of the calendar, with a year from 1 to 9999",
    ]
    assert page.rows("failures")[0] == ["FIELD_INVALID", "4,096", "75.3 %"]
    assert page.rows("subscriptions")[0] == ["brand-0", "3,000 events", "9.5 s", "20 min ago"]
    assert page.rows("store")[0] == ["Database", "14 GiB", "18.6 %"]
    assert page.rows("store")[-1] == ["Free on the disk", "61 GiB", "81.2 %"]
    held, behind, damaged = page.rows("partitions")[1:]
    assert held[5] == "Held: clocks of nodes disagree\nsince 15 min ago, 120 of 12,345,679 events due"
    assert (behind[1], behind[6], behind[7]) == (
        "Behind its log",
        "2 pending",
        "340 messages\nview 700 ms old",
    )
    assert damaged[1] == "Damaged\nmessage 17 of the log cannot be read"
    assert page.rows("nodes")[0] == ["node-0-7f3a9c", "This node", "now"]


def test_a_server_without_anything_says_so_in_words(page: StagedPage) -> None:
    page.server.answer = {}
    page.refresh()
    assert "No event was rejected" in page.text("#rules")
    assert page.text("#failures") == "No call has failed."
    assert page.text("#subscriptions") == "No subscription is open."
    assert not page.run("return document.querySelector('#nodes-section').checkVisibility()")
    assert page.errors == []


def test_before_the_first_answer_the_page_says_that_it_waits(
    browser: Chrome, page_server: PageServer
) -> None:
    page_server.gate.clear()
    page = StagedPage(browser, page_server)
    browser.get(page_server.url)
    assert page.state == WAITING
    assert not page.run("return document.querySelector('#sampled-sections').checkVisibility()")
    page_server.gate.set()
    wait_until(lambda: page.state == "Ready", "the page shows the first answer")


def test_a_server_that_is_gone_is_noticed_and_so_is_its_return(page: StagedPage) -> None:
    page.server.close()
    page.wake()
    wait_until(lambda: page.state.startswith("No answer since "), "the page says that nobody answers")
    assert page.state.endswith(" UTC")
    assert "All below is of " in page.text("#state-detail")
    assert page.rows("nodes"), "the last state stays"
    page.server.open()
    wait_until(lambda: page.state == "Ready", "the page has come back by itself")


def test_a_server_that_hangs_or_answers_something_else_is_noticed(page: StagedPage) -> None:
    page.server.status = 503
    page.wake()
    wait_until(lambda: "status 503" in page.text("#state-detail"), "the page says what the answer was")
    page.server.status = 200
    page.run("const after = AbortSignal.timeout; AbortSignal.timeout = () => after.call(AbortSignal, 200)")
    page.server.gate.clear()
    page.wake()
    wait_until(lambda: "does not answer" in page.text("#state-detail"), "the page has waited long enough")
    page.server.gate.set()
    wait_until(lambda: page.state == "Ready", "the page has come back by itself")
    page.server.answer = "not a state"
    page.wake()
    wait_until(lambda: "no state" in page.text("#state-detail"), "the page says what the answer was")


def test_the_page_asks_again_by_itself_and_only_while_somebody_looks(page: StagedPage) -> None:
    page.server.answer["version"] = "0.2.0"
    wait_until(lambda: page.text("#version") == "0.2.0", "the page has asked again")
    page.run("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    page.run("return fetch('page.css')")  # is answered later than what the page may have asked before
    asked = page.server.asked
    page.wake()
    page.run("return fetch('page.css')")
    assert page.server.asked == asked
    page.run("Object.defineProperty(document, 'hidden', { value: false })")
    page.refresh()


def test_only_a_change_of_state_is_announced(page: StagedPage) -> None:
    page.run("""
        window.announced = [];
        const region = document.querySelector("[role=status]");
        new MutationObserver(() => window.announced.push(region.textContent))
            .observe(region, { childList: true, characterData: true, subtree: true });
    """)
    for _ in range(3):
        page.server.answer["samples"].pop()
        page.refresh()
    assert page.run("return window.announced") == []
    page.server.answer["checks"] = [check("log", "1 s behind")]
    page.refresh()
    page.server.answer["checks"] = [check("log", "2 s behind")]
    page.refresh()
    assert page.run("return window.announced") == ["Not ready: log"]
    assert "2 s behind" in page.text("#checks")


def test_what_has_not_changed_stays_selected(page: StagedPage) -> None:
    page.run("getSelection().selectAllChildren(document.querySelector('#rules tbody td code'))")
    page.server.answer["rejectedRules"][0]["events"] = "2001"
    page.refresh()
    wait_until(lambda: page.column("rules", 4)[0] == "2,001", "the page shows the change")
    assert page.run("return getSelection().toString()") == "customer_info.last_payment_date"


@pytest.mark.parametrize(("column", "first"), [("Events", ["2,000", "1,000"]), ("Last", ["now", "7 s ago"])])
def test_rules_are_sorted_by_keyboard(page: StagedPage, column: str, first: list[str]) -> None:
    page.server.answer["rejectedRules"].reverse()
    page.refresh()
    index = ["Account", "Source", "Field", "Rule", "Events", "Last"].index(column)
    assert page.column("rules", index)[:2] != first
    page.run("document.querySelector('#rules-filter').focus()")
    page.press(*[Keys.TAB] * (index + 1), Keys.ENTER)
    assert page.column("rules", index)[:2] == first
    assert page.run("return document.activeElement.closest('th').ariaSort") == "descending"
    page.refresh()
    page.press(Keys.SPACE)
    assert page.column("rules", index)[:2] != first
    assert page.run("return document.activeElement.closest('th').ariaSort") == "ascending"


def test_rules_are_filtered_and_shown_in_full_by_keyboard(page: StagedPage) -> None:
    assert len(page.rows("rules")) == 10
    page.run("document.querySelector('#rules-filter').focus()")
    page.press("brand-4")
    assert set(page.column("rules", 0)) == {"brand-4"}
    assert page.text("#rules-count") == "6 of 34 rules"
    page.press(*[Keys.BACKSPACE] * 7)
    page.press(*[Keys.TAB] * 7, Keys.ENTER)
    assert len(page.rows("rules")) == 34
    page.press(Keys.ENTER)
    assert len(page.rows("rules")) == 10


def test_a_sample_that_is_missing_leaves_a_gap(page: StagedPage) -> None:
    for sample in page.server.answer["samples"][40:60]:
        del sample["p99CallTime"]
    page.refresh()
    lines = page.run(
        "return [...document.querySelectorAll('.chart:nth-child(3) .plot .line')]"
        ".map((line) => line.getAttribute('d'))"
    )
    assert sorted(line.count("M") for line in lines) == [1, 2]


def test_a_time_in_the_last_bucket_is_a_lower_bound(page: StagedPage) -> None:
    page.server.answer["samples"][-1]["p99CallTime"] = "30s"
    page.refresh()
    assert "p99\n≥ 30 s" in cards(page)[2]


def test_an_answer_that_makes_no_sense_is_shown_as_far_as_it_does(page: StagedPage) -> None:
    broken: object
    for broken in (None, "x", -1, [], {}, [None], 1e308):
        page.server.answer = dict.fromkeys(busy_answer(), broken)
        page.refresh()
        page.server.answer = spoiled(busy_answer(), broken)
        page.refresh()
    page.server.answer = busy_answer()
    page.refresh()
    assert page.state == "Ready"
    assert page.errors == []


def spoiled(value: object, broken: object) -> object:
    """The same with each value that is no object or list replaced."""
    if isinstance(value, dict):
        return {name: spoiled(each, broken) for name, each in value.items()}
    if isinstance(value, list):
        return [spoiled(each, broken) for each in value]
    return broken
