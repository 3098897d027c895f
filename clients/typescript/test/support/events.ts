/** Events for tests, and what is stored of them. */

import type { EngagementClient, EventInit } from "@engagement-attributes/client";

/** A small event with this id. */
export function event(eventId: string): EventInit {
  return { eventId, attributes: { case: "customerInfo", value: { customerId: "NW-1", balance: "12.50" } } };
}

/** `count` ids, in an order that is easy to check. */
export function ids(count: number): string[] {
  return Array.from({ length: count }, (_, number) => `event/${number}`);
}

/** Events with these ids, made one by one. */
export function* events(eventIds: Iterable<string>): Generator<EventInit, void> {
  for (const eventId of eventIds) {
    yield event(eventId);
  }
}

/** The ids of all that is stored, in its order. */
export async function storedIds(client: EngagementClient): Promise<string[]> {
  const found: string[] = [];
  for await (const batch of client.follow({ earliest: true, stopAtTail: true }).batches()) {
    found.push(...batch.events.map((stored) => stored.event?.eventId ?? ""));
  }
  return found;
}
