/** The digest of a source: the shared cases, the canonical form of any event, and which source is another one. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, test } from "node:test";

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Event, EventSchema, type SourceDigest, SourceDigestSchema } from "@engagement-attributes/client/v1";
import { serializeEvent } from "#dist/upload/chunk.js";
import { SourceDigester } from "#dist/upload/source.js";

import { event } from "./support/events.js";
import { canonicalForm } from "./support/canonical-form.js";
import { RandomEvents } from "./support/random-events.js";
import { readCases } from "./support/vectors.js";

interface Case {
  readonly name: string;
  readonly salt: string;
  readonly events: readonly string[];
  readonly sha256: string;
}

const SEED = 20240229;

describe("sources", () => {
  for (const { name, salt, events, sha256 } of readCases("sources.json") as readonly Case[]) {
    test(`${name} has its digest`, () => {
      const digester = new SourceDigester("u-1", salt);
      for (const each of events) {
        digester.add(serializeEvent(fromBinary(EventSchema, Buffer.from(each, "base64"))));
      }
      assert.deepEqual(digester.digest(), digest(events.length, sha256));
    });
  }

  test("an event of any content is serialized in its canonical form", () => {
    const random = new RandomEvents(SEED);
    for (let number = 0; number < 3000; number += 1) {
      const each = random.next();
      assert.deepEqual(Buffer.from(serializeEvent(each)), canonicalForm(EventSchema, each));
    }
  });

  test("the form of an event depends neither on how it was made nor on the order of its entries", () => {
    const random = new RandomEvents(SEED);
    for (let number = 0; number < 500; number += 1) {
      const each = random.next();
      const entries = Object.entries(each.additionalAttributes).reverse();
      const another = fromBinary(EventSchema, toBinary(EventSchema, each));
      another.additionalAttributes = Object.fromEntries(entries);
      assert.deepEqual(serializeEvent(another), serializeEvent(each));
    }
  });

  test("events of all sizes count, and digests taken in between change nothing", () => {
    const forms = [0, 1, 65_531, 65_532, 65_533, 200_000, 40_000, 40_000, 7].map((size) => Buffer.alloc(size, size));
    const expected = createHash("sha256").update("salt");
    const [plain, watched] = [new SourceDigester("u-1", "salt"), new SourceDigester("u-1", "salt")];
    for (const [index, form] of forms.entries()) {
      const length = Buffer.alloc(4);
      length.writeUInt32BE(form.length);
      expected.update(length).update(form);
      plain.add(form);
      watched.add(form);
      assert.deepEqual(watched.digest(), digest(index + 1, expected.copy().digest("hex")));
    }
    assert.deepEqual(plain.digest(), watched.digest());
  });

  test("a resumed source is compared up to what is committed, and may then go on", () => {
    const digester = comparing(ten(), 4, [2]);
    for (const [index, form] of ten().entries()) {
      assert.equal(digester.isComparing, index < 4);
      digester.add(form);
    }
    digester.end();
  });

  test("a source that differs is refused at the first digest that shows it", () => {
    const changed = ten().with(3, form("changed"));
    const digester = comparing(ten(), 8, [2, 6]);
    changed.slice(0, 5).forEach((each) => {
      digester.add(each);
    });
    assert.throws(
      () => {
        digester.add(ten()[5] ?? form(""));
      },
      { kind: "source_mismatch", message: /"u-1".* 8 of its events .* differs between events 2 and 6\./ },
    );
  });

  test("a source that ends too early is refused", () => {
    const digester = comparing(ten(), 4, []);
    digester.add(form("event/0"));
    assert.throws(
      () => {
        digester.end();
      },
      { kind: "source_mismatch", message: /ends after 1 events\./ },
    );
  });

  test("a finished upload refuses the first event that is too many", () => {
    const digester = comparing(ten(), 10, [], true);
    ten().forEach((each) => {
      digester.add(each);
    });
    digester.end();
    assert.throws(
      () => {
        digester.add(form("event/10"));
      },
      { kind: "source_mismatch", message: /has more events\./ },
    );
  });
});

/** Digests a source that is compared with `forms`, of which so many are committed, with digests of earlier counts. */
function comparing(
  forms: readonly Uint8Array[],
  committedEvents: number,
  earlierEvents: readonly number[],
  isFinished = false,
): SourceDigester {
  const digestOf = (count: number): SourceDigest => {
    const digester = new SourceDigester("u-1", "salt");
    forms.slice(0, count).forEach((each) => {
      digester.add(each);
    });
    return digester.digest();
  };
  const [committed, earlier] = [digestOf(committedEvents), earlierEvents.map(digestOf)];
  return new SourceDigester("u-1", "salt", { committed, earlier, isFinished });
}

function digest(events: number, sha256: string): SourceDigest {
  return create(SourceDigestSchema, { events: BigInt(events), sha256 });
}

function ten(): Uint8Array[] {
  return Array.from({ length: 10 }, (_, number) => form(`event/${number}`));
}

function form(eventId: string): Uint8Array {
  const made: Event = create(EventSchema, event(eventId));
  return serializeEvent(made);
}
