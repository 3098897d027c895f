/** The shared messages: their bytes, their JSON, and the encoder that uploads use in place of the library's. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import {
  create,
  createRegistry,
  type DescMessage,
  fromBinary,
  fromJson,
  type JsonValue,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { EventSchema, file_engagement_v1_event, StoredEventSchema } from "@engagement-attributes/client/v1";
import { messageEncoder } from "#dist/message-encoder.js";

import { readCases } from "./support/vectors.js";

interface Case {
  readonly name: string;
  readonly message: string;
  readonly wire: string;
  readonly json: JsonValue;
  readonly other_wires?: readonly string[];
  readonly json_is_lossy?: boolean;
}

const registry = createRegistry(file_engagement_v1_event, ...file_engagement_v1_event.dependencies);

describe("messages", () => {
  for (const each of readCases("events.json") as readonly Case[]) {
    const schema = schemaOf(each.message);
    const wires = [each.wire, ...(each.other_wires ?? [])];
    const message = fromBinary(schema, Buffer.from(each.wire, "base64"));

    test(`${each.name}: the bytes stay as they are`, () => {
      assert.ok(wires.includes(base64(toBinary(schema, message))));
    });

    test(`${each.name}: an upload sends the same bytes`, () => {
      assert.equal(base64(messageEncoder(schema)(message)), base64(toBinary(schema, message)));
    });

    test(`${each.name}: JSON is written`, () => {
      assert.deepEqual(toJson(schema, message, { registry }), each.json);
    });

    if (each.json_is_lossy !== true) {
      test(`${each.name}: JSON is read`, () => {
        assert.ok(wires.includes(base64(toBinary(schema, fromJson(schema, each.json, { registry })))));
      });
    }
  }

  test("a value of a wrong type is refused in the library's words, and the next message is right", () => {
    const serialize = messageEncoder(EventSchema);
    const wrong = create(EventSchema, { eventId: "e1", consumerId: "c1" });
    wrong.originalTimeStamp = "tomorrow" as unknown as bigint;
    assert.throws(() => serialize(wrong), /original_time_stamp/);
    const right = create(EventSchema, { eventId: "e2" });
    assert.deepEqual(serialize(right), toBinary(EventSchema, right));
  });

  test("a part that is no message is refused", () => {
    const wrong = create(StoredEventSchema, { cursor: "c1" });
    wrong.event = { eventId: "e1" } as unknown as NonNullable<typeof wrong.event>;
    assert.throws(() => messageEncoder(StoredEventSchema)(wrong));
  });
});

function schemaOf(typeName: string): DescMessage {
  const schema = registry.getMessage(typeName);
  assert.ok(schema !== undefined, `unknown message ${typeName}`);
  return schema;
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64");
}
