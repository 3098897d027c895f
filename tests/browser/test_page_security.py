"""The status page and text of strangers: it is shown, and nothing of it runs."""

from __future__ import annotations

import pytest
from google.protobuf.message import Message

from tests.browser.page import StagedPage
from tests.support.events import text_fields
from tests.support.management import ask
from tests.support.page_server import PageServer
from tests.support.server_stats import as_json, filled_with

PLANTED = [
    "<script>window.planted = 1</script>",
    '"><img src="x" onerror="window.planted = 1">',
    "' onfocus='window.planted = 1' autofocus='",
    "javascript:window.planted=1",
    "</td></table><svg onload=window.planted=1>",
    "\u202e\x00\x1b[31m{{constructor.constructor('window.planted=1')()}}",
]


def names_of_texts(message: Message) -> set[str]:
    """The names of all fields of text that a message has, and those in it."""
    names = set(text_fields(message))
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for each in value if field.is_repeated else [value]:
                names |= names_of_texts(each)
    return names


@pytest.mark.parametrize("planted", PLANTED)
def test_text_in_any_field_is_shown_as_it_is(page: StagedPage, planted: str) -> None:
    def elements() -> list[str]:
        names = (
            "return [...new Set([...document.querySelectorAll('*')].map((each) => each.localName))].sort()"
        )
        found: list[str] = page.run(names)
        return found

    before = elements()
    stats = filled_with(planted)
    page.server.answer = as_json(stats)
    page.refresh()
    shown = page.run("return document.body.textContent")
    names = names_of_texts(stats)
    assert {"version", "source", "account_id", "value_shape", "damage", "node_id"} <= names
    assert [name for name in names if f"{planted} {name}" not in shown] == []
    assert set(elements()) <= {*before, "code"}
    attributes = page.run(
        "return [...document.querySelectorAll('*')].flatMap((each) => [...each.attributes])"
        ".filter(({ name, value }) => name.startsWith('on') || /planted/.test(value)).length"
    )
    assert attributes == 0
    assert page.run("return window.planted") is None
    assert page.errors == []


def test_the_browser_refuses_what_the_page_does_not_do(page: StagedPage) -> None:
    refused = """
        const inline = document.createElement("script");
        try {
            inline.textContent = "window.planted = 1";
            document.body.append(inline);
        } catch { /* refused */ }
        let isMarkup = true;
        try { document.body.insertAdjacentHTML("beforeend", "<i>x</i>"); } catch { isMarkup = false; }
        return [window.planted ?? null, isMarkup];
    """
    assert page.run(refused) == [None, False]


@pytest.mark.parametrize("path", ["/", "/page.js", "/page.css", "/page.svg"])
def test_no_file_of_the_page_may_be_kept_framed_or_read_by_others(page_server: PageServer, path: str) -> None:
    address = page_server.url.removeprefix("http://").rstrip("/")
    answer, head = ask(address, path), ask(address, path, method="HEAD")
    assert (answer.status, head.status, head.text) == (200, 200, "")
    assert head.headers["content-length"] == str(len(answer.text.encode()))
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["form-action"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert ask(address, path, host="evil.example").status == 421
    assert " style=" not in answer.text
    assert " onclick=" not in answer.text
