/** Events with any of the fields that the contract has, for tests of what must hold for all of them. */

import { create, type DescField, type DescMessage, type Message, ScalarType } from "@bufbuild/protobuf";
import { reflect, type ReflectMessage } from "@bufbuild/protobuf/reflect";
import { WireType } from "@bufbuild/protobuf/wire";
import { type Event, EventSchema } from "@engagement-attributes/client/v1";

// Both sides of every border of UTF-8, of UTF-16, and of what an object takes for an index.
const CHARACTERS = [
  "a",
  "Z",
  "0",
  "1",
  ".",
  "\u007f",
  "\u0080",
  "ä",
  "\u07ff",
  "\u0800",
  "\ud7ff",
  "\ue000",
  "\uffff",
  "😀",
  "\u{10ffff}",
];
const NUMBERS = [0n, 1n, -1n, 127n, 128n, 2n ** 31n - 1n, -(2n ** 31n)];
const LARGE_NUMBERS = [...NUMBERS, 2n ** 63n - 1n, -(2n ** 63n), 1_700_000_000_000n];

/** An endless sequence of events that only depends on the seed. */
export class RandomEvents {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  /** The next event. */
  next(): Event {
    const event = create(EventSchema);
    this.#fill(reflect(EventSchema, event));
    return event;
  }

  #fill(message: ReflectMessage): void {
    for (const field of message.fields) {
      if (this.#below(3) > 0) {
        this.#set(message, field);
      }
    }
    if (this.#below(8) === 0) {
      const data = Uint8Array.of(2, this.#below(256), this.#below(256));
      message.setUnknown([{ no: 1000 + this.#below(1000), wireType: WireType.LengthDelimited, data }]);
    }
  }

  #set(message: ReflectMessage, field: DescField): void {
    const count = this.#below(5);
    switch (field.fieldKind) {
      case "list":
        for (let index = 0; index < count; index += 1) {
          message.get(field).add(this.#single(field));
        }
        break;
      case "map":
        for (let index = 0; index < count; index += 1) {
          message.get(field).set(this.#text(), this.#single(field));
        }
        break;
      default:
        message.set(field, this.#single(field));
    }
  }

  #single({ message, scalar }: DescField): unknown {
    if (message !== undefined) {
      return this.#message(message);
    }
    switch (scalar) {
      case ScalarType.STRING:
        return this.#text();
      case ScalarType.BOOL:
        return this.#below(2) === 1;
      case ScalarType.INT32:
        return Number(this.#oneOf(NUMBERS));
      case ScalarType.INT64:
        return this.#oneOf(LARGE_NUMBERS);
      default:
        throw new Error(`events have no fields of type ${String(scalar)}`);
    }
  }

  #message(schema: DescMessage): ReflectMessage {
    const message: Message = create(schema);
    const filled = reflect(schema, message);
    this.#fill(filled);
    return filled;
  }

  #text(): string {
    const length = this.#below(20) === 0 ? 200 : this.#below(4);
    return Array.from({ length }, () => this.#oneOf(CHARACTERS)).join("");
  }

  #oneOf<T>(values: readonly T[]): T {
    return values[this.#below(values.length)] as T;
  }

  /** A whole number from 0 to below `end`, by Mulberry32. */
  #below(end: number): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % end;
  }
}
