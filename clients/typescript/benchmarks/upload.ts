/**
 * Measures an upload with default settings.
 *
 * Usage: upload.js ADDRESS ACCOUNT WARMUP_FILE EVENTS_FILE
 *
 * Each file holds varint-length-delimited `engagement.v1.Event` messages. Prints one line of JSON: the number of
 * events, the number accepted, and the seconds from the start of the second upload to its summary.
 */

import { createReadStream } from "node:fs";

import { sizeDelimitedDecodeStream } from "@bufbuild/protobuf/wire";
import { EngagementClient } from "@engagement-attributes/client";
import { type Event, EventSchema } from "@engagement-attributes/client/v1";

async function readEvents(file: string): Promise<Event[]> {
  const events: Event[] = [];
  for await (const event of sizeDelimitedDecodeStream(EventSchema, createReadStream(file))) {
    events.push(event);
  }
  return events;
}

const [address, accountId, warmupFile, eventsFile, ...others] = process.argv.slice(2);
if (
  address === undefined ||
  accountId === undefined ||
  warmupFile === undefined ||
  eventsFile === undefined ||
  others.length > 0
) {
  console.error("usage: upload.js ADDRESS ACCOUNT WARMUP_FILE EVENTS_FILE");
  process.exit(2);
}
const warmup = await readEvents(warmupFile);
const events = await readEvents(eventsFile);

using client = new EngagementClient(address, { accountId });
await client.upload(warmup);
const startedAtMs = performance.now();
const summary = await client.upload(events);
const seconds = (performance.now() - startedAtMs) / 1000;
console.log(JSON.stringify({ events: events.length, accepted: Number(summary.tally.accepted), seconds }));
