/** A chunk of an upload, as it is serialized on the wire. */

import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

import {
  type Event,
  EventSchema,
  type SourceDigest,
  SourceDigestSchema,
  UploadEventsRequest_ChunkSchema,
  UploadEventsRequestSchema,
} from "../gen/engagement/v1/index.js";
import { messageEncoder } from "../message-encoder.js";

const CHUNK_FIELD = UploadEventsRequestSchema.field.chunk.number;
const SEQUENCE_FIELD = UploadEventsRequest_ChunkSchema.field.sequence.number;
const EVENTS_FIELD = UploadEventsRequest_ChunkSchema.field.events.number;
const SOURCE_FIELD = UploadEventsRequest_ChunkSchema.field.source.number;

// Reuses its buffer from one message to the next.
const writer = new BinaryWriter();

/** Events that are sent, committed and, if necessary, resent together. */
export class Chunk {
  /** Indexes of the events whose rejection was reported to the caller. */
  readonly reported = new Set<number>();

  /**
   * `firstPosition` is the position of the first event in the source, from 0; the others follow it without a
   * gap. `events` are serialized once, so that a chunk is resent unchanged. `source` is the digest of the source up to
   * the last of them.
   */
  constructor(
    readonly sequence: number,
    readonly firstPosition: number,
    readonly events: readonly Uint8Array[],
    readonly source: SourceDigest,
  ) {}

  /** Position after the last event. */
  get endPosition(): number {
    return this.firstPosition + this.events.length;
  }

  /** The event as sent. */
  event(index: number): Event | undefined {
    const serialized = this.events[index];
    return serialized === undefined ? undefined : fromBinary(EventSchema, serialized);
  }

  /** The serialized UploadEventsRequest; the events are not serialized again. */
  serialize(): Uint8Array {
    writer.tag(CHUNK_FIELD, WireType.LengthDelimited).fork();
    writer.tag(SEQUENCE_FIELD, WireType.Varint).int64(this.sequence);
    for (const event of this.events) {
      writer.tag(EVENTS_FIELD, WireType.LengthDelimited).bytes(event);
    }
    writer.tag(SOURCE_FIELD, WireType.LengthDelimited).bytes(toBinary(SourceDigestSchema, this.source));
    return writer.join().finish();
  }
}

/** Serializes an event in its canonical form. */
export const serializeEvent = messageEncoder(EventSchema);
