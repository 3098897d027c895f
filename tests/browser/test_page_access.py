"""The status page of a server that asks who wants to see it."""

from __future__ import annotations

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser.page import StagedPage
from tests.support.waiting import wait_until


def test_the_page_asks_for_a_token_and_shows_nothing_without_one(page: StagedPage) -> None:
    page.server.status = 401
    page.refresh_to("Who is asking?")
    assert "a token whose grant has the scope operate" in page.text("#state-detail")
    assert not page.browser.find_element(By.ID, "sampled-sections").is_displayed()
    field = page.browser.switch_to.active_element
    field.send_keys(Keys.TAB)
    assert page.browser.switch_to.active_element.get_attribute("id") == "token"


def test_the_token_is_sent_until_it_is_not_accepted(page: StagedPage) -> None:
    page.server.status = 401
    page.refresh_to("Who is asking?")
    page.server.status = 200
    page.browser.find_element(By.ID, "token").send_keys("eng_secret", Keys.ENTER)
    wait_until(lambda: page.state == "Ready", "the state is shown")
    assert page.server.authorization == "Bearer eng_secret"
    assert not page.browser.find_element(By.ID, "token-form").is_displayed()
    page.server.status = 401
    page.refresh_to("Who is asking?")
    assert "not accepted" in page.text("#state-detail")
