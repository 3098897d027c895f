/**
 * Serializes many messages of one type in their canonical form, which the contract defines for `SourceDigest`.
 *
 * `toBinary` allocates and grows a new buffer for every message, which is most of the cost of one as small as an
 * event, and it writes the entries of a map in no particular order. This encoder reuses its buffer and sorts them. It
 * knows the kinds of fields that events have; messages with any other kind go to `toBinary`.
 */

import { type DescField, type DescMessage, type MessageShape, ScalarType } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { Edition, FeatureSet_FieldPresence as Presence } from "@bufbuild/protobuf/wkt";

import { serialize } from "./serialize.js";

type Values = Readonly<Record<string, unknown>>;
type Write<T> = (writer: BinaryWriter, value: T) => void;

interface Scalar {
  readonly wireType: WireType;
  readonly zero: unknown;
  readonly write: Write<never>;
}

const SCALARS: ReadonlyMap<ScalarType, Scalar> = new Map<ScalarType, Scalar>([
  [ScalarType.STRING, { wireType: WireType.LengthDelimited, zero: "", write: writeText }],
  [ScalarType.BOOL, { wireType: WireType.Varint, zero: false, write: (writer, value) => writer.bool(value) }],
  [ScalarType.INT32, { wireType: WireType.Varint, zero: 0, write: (writer, value) => writer.int32(value) }],
  [ScalarType.INT64, { wireType: WireType.Varint, zero: 0n, write: (writer, value) => writer.int64(value) }],
]);

/** A function that serializes a message. It throws as `serialize` does. */
export function messageEncoder<Desc extends DescMessage>(
  schema: Desc,
): (message: MessageShape<Desc>) => Uint8Array<ArrayBuffer> {
  const write = writeMessage(schema);
  const writer = new BinaryWriter();
  return (message) => {
    try {
      write(writer, message);
      return writer.finish();
    } catch {
      // Discards the partial message, and says which value is wrong.
      writer.finish();
      return serialize(schema, message);
    }
  };
}

function writeMessage(schema: DescMessage): Write<MessageShape<DescMessage>> {
  const fields = schema.fields.toSorted((one, other) => one.number - other.number).map(writeField);
  const known = fields.filter((write) => write !== undefined);
  if (known.length < fields.length || schema.file.edition !== Edition.EDITION_PROTO3) {
    return (writer, message) => writer.raw(serialize(schema, message));
  }
  return (writer, message) => {
    if (message.$typeName !== schema.typeName) {
      throw new TypeError(`${message.$typeName} is no ${schema.typeName}`);
    }
    for (const write of known) {
      write(writer, message);
    }
    for (const { no, wireType, data } of message.$unknown ?? []) {
      writer.tag(no, wireType).raw(data);
    }
  };
}

/** Writes a field of a message if it is set; undefined for a kind of field that events do not have. */
function writeField(field: DescField): Write<Values> | undefined {
  switch (field.fieldKind) {
    case "scalar":
    case "message":
      return writeSingular(field);
    case "list":
      return writeList(field);
    case "map":
      return writeMap(field);
    case "enum":
      return undefined;
  }
}

function writeSingular(field: DescField & { fieldKind: "scalar" | "message" }): Write<Values> | undefined {
  const write = field.fieldKind === "scalar" ? writeScalar(field.number, field.scalar) : writeNested(field);
  if (write === undefined) {
    return undefined;
  }
  const { localName, oneof } = field;
  if (oneof !== undefined) {
    const group = oneof.localName;
    return (writer, values) => {
      const member = values[group] as { readonly case?: string; readonly value?: unknown };
      if (member.case === localName) {
        write(writer, member.value);
      }
    };
  }
  const isImplicit = field.fieldKind === "scalar" && field.presence === Presence.IMPLICIT;
  const absent = isImplicit ? SCALARS.get(field.scalar)?.zero : undefined;
  return (writer, values) => {
    const value = values[localName];
    if (value !== absent) {
      write(writer, value);
    }
  };
}

function writeList(field: DescField & { fieldKind: "list" }): Write<Values> | undefined {
  const write = field.listKind === "message" ? writeNested(field) : undefined;
  return (
    write &&
    ((writer, values) => {
      for (const item of values[field.localName] as readonly unknown[]) {
        write(writer, item);
      }
    })
  );
}

function writeMap(field: DescField & { fieldKind: "map" }): Write<Values> | undefined {
  const isText = field.mapKey === ScalarType.STRING && field.mapKind === "scalar";
  const writeKey = writeScalar(1, field.mapKey);
  const writeValue = isText ? writeScalar(2, field.scalar) : undefined;
  return (
    writeKey &&
    writeValue &&
    ((writer, values) => {
      const entries = values[field.localName] as Values;
      for (const key of Object.keys(entries).sort(compareUtf8)) {
        writer.tag(field.number, WireType.LengthDelimited).fork();
        writeKey(writer, key);
        writeValue(writer, entries[key]);
        writer.join();
      }
    })
  );
}

function writeScalar(number: number, type: ScalarType): Write<unknown> | undefined {
  const scalar = SCALARS.get(type);
  return (
    scalar &&
    ((writer, value) => {
      writer.tag(number, scalar.wireType);
      // The table and the message's type belong together.
      scalar.write(writer, value as never);
    })
  );
}

function writeText(writer: BinaryWriter, text: string): void {
  if (!text.isWellFormed()) {
    throw new TypeError("the text is not Unicode");
  }
  writer.string(text);
}

/** Compares texts by their bytes in UTF-8. */
function compareUtf8(one: string, other: string): number {
  const length = Math.min(one.length, other.length);
  for (let index = 0; index < length; index += 1) {
    const difference = utf8Rank(one.charCodeAt(index)) - utf8Rank(other.charCodeAt(index));
    if (difference !== 0) {
      return difference;
    }
  }
  return one.length - other.length;
}

/** Moves surrogates behind all other code units: they stand for the characters above U+FFFF. */
function utf8Rank(unit: number): number {
  return unit >= 0xd800 && unit < 0xe000 ? unit + 0x2800 : unit;
}

function writeNested(field: DescField & { message: DescMessage }): Write<unknown> | undefined {
  // The library represents some of its messages by other types in memory.
  if (field.delimitedEncoding || field.message.typeName.startsWith("google.protobuf.")) {
    return undefined;
  }
  // Created when it is first needed: a message type may contain itself.
  let write: Write<MessageShape<DescMessage>> | undefined;
  return (writer, value) => {
    write ??= writeMessage(field.message);
    writer.tag(field.number, WireType.LengthDelimited).fork();
    write(writer, value as MessageShape<DescMessage>);
    writer.join();
  };
}
