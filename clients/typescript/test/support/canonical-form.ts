/** The canonical form of a message, slow and obvious: as the contract describes it for `SourceDigest`. */

import { type DescField, type DescMessage, type Message, ScalarType } from "@bufbuild/protobuf";
import { reflect, type ReflectMessage } from "@bufbuild/protobuf/reflect";

/** Known fields by number, then unknown ones as they were received. */
export function canonicalForm(schema: DescMessage, message: Message): Buffer {
  return formOf(reflect(schema, message));
}

function formOf(message: ReflectMessage): Buffer {
  const fields = [...message.fields].sort((one, other) => one.number - other.number);
  const known = fields.filter((field) => message.isSet(field)).flatMap((field) => fieldOf(message, field));
  const unknown = message.getUnknown() ?? [];
  return Buffer.concat([...known, ...unknown.flatMap(({ no, wireType, data }) => [varint(no * 8 + wireType), data])]);
}

function fieldOf(message: ReflectMessage, field: DescField): Buffer[] {
  switch (field.fieldKind) {
    case "list":
      return [...message.get(field)].map((item) => single(field, field.number, item));
    case "map":
      return [...message.get(field)]
        .map(([key, value]) => [Buffer.from(key as string), value] as const)
        .sort(([one], [other]) => Buffer.compare(one, other))
        .map(([key, value]) => delimited(field.number, Buffer.concat([delimited(1, key), single(field, 2, value)])));
    default:
      return [single(field, field.number, message.get(field))];
  }
}

function single({ message, scalar }: DescField, number: number, value: unknown): Buffer {
  if (message !== undefined) {
    return delimited(number, formOf(value as ReflectMessage));
  }
  switch (scalar) {
    case ScalarType.STRING:
      return delimited(number, Buffer.from(value as string));
    case ScalarType.BOOL:
    case ScalarType.INT32:
    case ScalarType.INT64:
      return Buffer.concat([
        varint(number * 8),
        varint(BigInt.asUintN(64, BigInt(value as boolean | number | bigint))),
      ]);
    default:
      throw new Error(`events have no fields of type ${String(scalar)}`);
  }
}

function delimited(number: number, content: Buffer): Buffer {
  return Buffer.concat([varint(number * 8 + 2), varint(content.length), content]);
}

function varint(value: number | bigint): Buffer {
  const bytes: number[] = [];
  let rest = BigInt(value);
  for (; rest > 0x7fn; rest >>= 7n) {
    bytes.push(Number(rest & 0x7fn) | 0x80);
  }
  return Buffer.from([...bytes, Number(rest)]);
}
