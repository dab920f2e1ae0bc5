/** A numbered batch as one message: the number in 8 bytes, big-endian, then the batch. */
import type { NumberedBatch } from './kv-event-log.ts';

/** The number that ends a replay, as in vLLM. */
export const END_OF_REPLAY = -1;

const NUMBER_BYTES = 8;

export function numberBytes(number: number): Uint8Array {
  const bytes = new Uint8Array(NUMBER_BYTES);
  new DataView(bytes.buffer).setBigInt64(0, BigInt(number));
  return bytes;
}

/** Undefined where the bytes are no number. */
export function readNumber(bytes: Uint8Array): number | undefined {
  if (bytes.length < NUMBER_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return view.getInt32(0) * 0x1_0000_0000 + view.getUint32(4);
}

export function frame({ number, payload }: NumberedBatch): Uint8Array {
  const bytes = new Uint8Array(NUMBER_BYTES + payload.length);
  bytes.set(numberBytes(number));
  bytes.set(payload, NUMBER_BYTES);
  return bytes;
}

/** Undefined where it is too short to be one. */
export function unframe(bytes: Uint8Array): NumberedBatch | undefined {
  const number = readNumber(bytes);
  return number === undefined ? undefined : { number, payload: bytes.subarray(NUMBER_BYTES) };
}
