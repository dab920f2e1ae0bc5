/**
 * MessagePack, as far as KV events need it: what vLLM's publisher writes, and lenient reading of what
 * other engines do. Integers beyond 2^53 are bigints; `hash` and `ids` read the bulk of an event
 * without making a value of each. Specification: msgpack.org.
 */
import type { Words } from './words.ts';

export type Packed =
  | null
  | boolean
  | number
  | bigint
  | string
  | Uint8Array
  | Packed[]
  | Map<Packed, Packed>;

export class MsgpackReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;
  #depth = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** The next value; throws a `RangeError` where the bytes are cut short or are none. */
  read(): Packed {
    const tag = this.#u8();
    if (tag < 0x80) return tag;
    if (tag < 0x90) return this.#map(tag & 0x0f);
    if (tag < 0xa0) return this.#array(tag & 0x0f);
    if (tag < 0xc0) return this.#text(tag & 0x1f);
    if (tag >= 0xe0) return tag - 0x100;
    switch (tag) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
        return this.#take(this.#u8());
      case 0xc5:
        return this.#take(this.#number(2, 'getUint16'));
      case 0xc6:
        return this.#take(this.#number(4, 'getUint32'));
      case 0xca:
        return this.#number(4, 'getFloat32');
      case 0xcb:
        return this.#number(8, 'getFloat64');
      case 0xcc:
        return this.#u8();
      case 0xcd:
        return this.#number(2, 'getUint16');
      case 0xce:
        return this.#number(4, 'getUint32');
      case 0xcf:
        return this.#big('getBigUint64');
      case 0xd0:
        return this.#number(1, 'getInt8');
      case 0xd1:
        return this.#number(2, 'getInt16');
      case 0xd2:
        return this.#number(4, 'getInt32');
      case 0xd3:
        return this.#big('getBigInt64');
      case 0xd9:
        return this.#text(this.#u8());
      case 0xda:
        return this.#text(this.#number(2, 'getUint16'));
      case 0xdb:
        return this.#text(this.#number(4, 'getUint32'));
      case 0xdc:
        return this.#array(this.#number(2, 'getUint16'));
      case 0xdd:
        return this.#array(this.#number(4, 'getUint32'));
      case 0xde:
        return this.#map(this.#number(2, 'getUint16'));
      case 0xdf:
        return this.#map(this.#number(4, 'getUint32'));
      default:
        throw new RangeError(`MessagePack tag 0x${tag.toString(16)} is not read here`);
    }
  }

  /** Opens an array: so many values follow. Undefined, and nothing is read, where none comes next. */
  openArray(): number | undefined {
    const tag = this.#peek();
    let length = tag & 0x0f;
    if (tag === 0xdc || tag === 0xdd) {
      this.#at++;
      length = tag === 0xdc ? this.#number(2, 'getUint16') : this.#number(4, 'getUint32');
    } else if (tag >> 4 === 9) this.#at++;
    else return undefined;
    return this.#fits(length);
  }

  /** Opens a map: so many pairs of key and value follow. Otherwise as `openArray`. */
  openMap(): number | undefined {
    const tag = this.#peek();
    let length = tag & 0x0f;
    if (tag === 0xde || tag === 0xdf) {
      this.#at++;
      length = tag === 0xde ? this.#number(2, 'getUint16') : this.#number(4, 'getUint32');
    } else if (tag >> 4 === 8) this.#at++;
    else return undefined;
    return this.#fits(length);
  }

  /** Whether a nil came; otherwise nothing is read. */
  nil(): boolean {
    if (this.#peek() !== 0xc0) return false;
    this.#at++;
    return true;
  }

  /** The next value's index in `words`; undefined, and the value is read, where it is none of them. */
  word(words: Words): number | undefined {
    const tag = this.#peek();
    if (tag >> 5 === 5) {
      this.#at++;
      return words.find(this.#take(tag & 0x1f));
    }
    this.read();
    return undefined;
  }

  /**
   * A 64-bit hash into `into[at]` (its low half) and `into[at + 1]`: a signed or unsigned integer, or
   * bytes, of which the last eight count. Anything else is a `RangeError`.
   */
  hash(into: Uint32Array, at: number): void {
    const tag = this.#peek();
    if (tag === 0xcf || tag === 0xd3) {
      this.#at++;
      into[at + 1] = this.#number(4, 'getUint32');
      into[at] = this.#number(4, 'getUint32');
      return;
    }
    const value = this.read();
    if (typeof value === 'number' && Number.isInteger(value)) {
      into[at] = value; // Modulo 2^32, negative ones too.
      into[at + 1] = Math.floor(value / 0x1_0000_0000);
    } else if (value instanceof Uint8Array) {
      into[at] = wordOf(value, value.length - 4);
      into[at + 1] = wordOf(value, value.length - 8);
    } else throw new RangeError('a block hash is an integer or bytes');
  }

  /** `count` token ids into `into`; false where one of them is none, and all are read. */
  ids(count: number, into: Uint32Array): boolean {
    const bytes = this.#bytes;
    let good = true;
    for (let i = 0; i < count; i++) {
      const at = this.#at;
      const tag = bytes[at];
      if (tag < 0x80) {
        into[i] = tag;
        this.#at = at + 1;
      } else if (tag === 0xcd && at + 2 < bytes.length) {
        into[i] = (bytes[at + 1] << 8) | bytes[at + 2];
        this.#at = at + 3;
      } else if (tag === 0xce && at + 4 < bytes.length) {
        into[i] = this.#view.getUint32(at + 1);
        this.#at = at + 5;
      } else {
        const id = this.read();
        if (typeof id === 'number' && id >>> 0 === id) into[i] = id;
        else good = false;
      }
    }
    return good;
  }

  #peek(): number {
    if (this.#at >= this.#bytes.length) throw new RangeError('MessagePack is cut short');
    return this.#bytes[this.#at];
  }

  #array(length: number): Packed[] {
    this.#enter(length);
    const items: Packed[] = [];
    for (let i = 0; i < length; i++) items.push(this.read());
    this.#depth--;
    return items;
  }

  #map(length: number): Map<Packed, Packed> {
    this.#enter(length);
    const map = new Map<Packed, Packed>();
    for (let i = 0; i < length; i++) map.set(this.read(), this.read());
    this.#depth--;
    return map;
  }

  /** Bounds what a hostile length or nesting can make us do. */
  #enter(length: number): void {
    this.#fits(length);
    if (++this.#depth > 32) throw new RangeError('MessagePack is nested too deep');
  }

  #fits(length: number): number {
    if (length > this.#bytes.length - this.#at) throw new RangeError('MessagePack is cut short');
    return length;
  }

  #text(length: number): string {
    return UTF8.decode(this.#take(length));
  }

  #take(length: number): Uint8Array {
    if (length > this.#bytes.length - this.#at) throw new RangeError('MessagePack is cut short');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  #u8(): number {
    if (this.#at >= this.#bytes.length) throw new RangeError('MessagePack is cut short');
    return this.#bytes[this.#at++];
  }

  #number(size: number, getter: NumberGetter): number {
    const at = this.#at;
    this.#at += size;
    return this.#view[getter](at);
  }

  #big(getter: 'getBigUint64' | 'getBigInt64'): number | bigint {
    const value = this.#view[getter](this.#at);
    this.#at += 8;
    const near = Number(value);
    return Number.isSafeInteger(near) ? near : value;
  }
}

type NumberGetter =
  | 'getUint16'
  | 'getUint32'
  | 'getInt8'
  | 'getInt16'
  | 'getInt32'
  | 'getFloat32'
  | 'getFloat64';

const UTF8 = new TextDecoder('utf-8', { ignoreBOM: true });

/** Four bytes from `at` on, most significant first; what lies before the start is zero. */
function wordOf(bytes: Uint8Array, at: number): number {
  let word = 0;
  for (let i = at; i < at + 4; i++) word = (word << 8) | (i < 0 ? 0 : bytes[i]);
  return word >>> 0;
}

export class MsgpackWriter {
  #bytes = new Uint8Array(1024);
  #view = new DataView(this.#bytes.buffer);
  #at = 0;

  nil(): this {
    return this.#put(0xc0);
  }

  boolean(value: boolean): this {
    return this.#put(value ? 0xc3 : 0xc2);
  }

  /** A non-negative integer below 2^53. */
  uint(value: number): this {
    if (value < 0x80) return this.#put(value);
    if (value < 0x100) return this.#put(0xcc, 1, () => this.#view.setUint8(this.#at, value));
    if (value < 0x1_0000) return this.#put(0xcd, 2, () => this.#view.setUint16(this.#at, value));
    if (value < 0x1_0000_0000) {
      return this.#put(0xce, 4, () => this.#view.setUint32(this.#at, value));
    }
    return this.uint64(BigInt(value));
  }

  /** An unsigned 64-bit integer in its shortest form. */
  uint64(value: bigint): this {
    if (value < 0x1_0000_0000n) return this.uint(Number(value));
    return this.#put(0xcf, 8, () => this.#view.setBigUint64(this.#at, value));
  }

  float(value: number): this {
    return this.#put(0xcb, 8, () => this.#view.setFloat64(this.#at, value));
  }

  string(value: string): this {
    const bytes = ENCODER.encode(value);
    const length = bytes.length;
    if (length < 32) this.#put(0xa0 | length);
    else if (length < 0x1_0000) this.#put(0xda, 2, () => this.#view.setUint16(this.#at, length));
    else this.#put(0xdb, 4, () => this.#view.setUint32(this.#at, length));
    this.#room(length);
    this.#bytes.set(bytes, this.#at);
    this.#at += length;
    return this;
  }

  /** The `length` values written next are its items. */
  array(length: number): this {
    if (length < 16) return this.#put(0x90 | length);
    if (length < 0x1_0000) return this.#put(0xdc, 2, () => this.#view.setUint16(this.#at, length));
    return this.#put(0xdd, 4, () => this.#view.setUint32(this.#at, length));
  }

  done(): Uint8Array {
    return this.#bytes.slice(0, this.#at);
  }

  #put(tag: number, size = 0, write: () => void = () => {}): this {
    this.#room(1 + size);
    this.#bytes[this.#at++] = tag;
    write();
    this.#at += size;
    return this;
  }

  #room(size: number): void {
    if (this.#at + size <= this.#bytes.length) return;
    const grown = new Uint8Array(2 * (this.#at + size));
    grown.set(this.#bytes);
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}

const ENCODER = new TextEncoder();
