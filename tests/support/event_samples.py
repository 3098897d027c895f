"""Numbered events for the tests of the client, good and bad."""

from __future__ import annotations

from engagement import EngagementClient, v1


def good_event(number: int, *, balance: str = "-400.99") -> v1.Event:
    """An event that the server accepts; ids sort by number."""
    return v1.Event(
        event_id=f"event-{number:06d}",
        consumer_id=f"consumer-{number % 10}",
        customer_info=v1.CustomerInfo(customer_status="cancelled", balance=balance),
    )


def bad_event(number: int) -> v1.Event:
    """An event that the server rejects: a month 13."""
    event = good_event(number)
    event.customer_info.last_payment_date.year = 2014
    event.customer_info.last_payment_date.month = 13
    event.customer_info.last_payment_date.day = 1
    return event


def good_events(count: int) -> list[v1.Event]:
    """Events that the server accepts."""
    return [good_event(number) for number in range(count)]


def mixed_events(count: int, *, bad_every: int) -> list[v1.Event]:
    """Events of which every n-th one is rejected, the first included."""
    return [bad_event(number) if number % bad_every == 0 else good_event(number) for number in range(count)]


async def stored_ids(client: EngagementClient) -> list[str]:
    """Ids of all stored events, in the order of acceptance."""
    return [stored.event.event_id async for stored in client.list_events(read_mask=["event.event_id"])]
