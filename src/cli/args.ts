/** Flags → settings; a wrong one is a sentence that says what it must be. */
import { InvalidArgumentError } from 'commander';
import type { Slo } from '../model/comparison.ts';
import { DEVICES, type Device } from '../model/device.ts';
import { parseMemory } from './memory.ts';

export function count(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new InvalidArgumentError('It must be 1 or more.');
  return value;
}

export function amount(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isFinite(value) && value >= 0) return value;
  throw new InvalidArgumentError('It must be a number, 0 or more.');
}

export function positive(text: string): number {
  const value = amount(text);
  if (value > 0) return value;
  throw new InvalidArgumentError('It must be more than 0.');
}

/** A whole number of tokens; 0 is none. */
export function tokens(text: string): number {
  const value = Number(text);
  if (text.trim() !== '' && Number.isInteger(value) && value >= 0) return value;
  throw new InvalidArgumentError('It must be a whole number, 0 or more.');
}

export function share(text: string): number {
  const value = Number(text);
  if (text !== '' && value >= 0 && value <= 1) return value;
  throw new InvalidArgumentError('It must be a share from 0 to 1.');
}

export function port(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 0 && value <= 65_535) return value;
  throw new InvalidArgumentError('It must be a port, 0 to 65535 (0: any free one).');
}

export function memory(text: string): number {
  const value = parseMemory(text);
  if (value !== undefined && value > 0) return value;
  throw new InvalidArgumentError('It must be a size like 2GB, 1500MiB or 40%.');
}

export function disk(text: string): number {
  if (text === '0') return 0;
  const value = text.includes('%') ? undefined : parseMemory(text);
  if (value !== undefined && value > 0) return value;
  throw new InvalidArgumentError('It must be a size like 20GB or 500MiB, or 0 for none.');
}

/** `90s`, `10m`, `2h` → seconds. */
export function duration(text: string): number {
  const [, value, unit] = /^(\d+(?:\.\d+)?)(s|m|h)$/.exec(text.trim()) ?? [];
  const seconds = Number(value) * { s: 1, m: 60, h: 3600 }[(unit ?? 's') as 's' | 'm' | 'h'];
  if (seconds > 0) return seconds;
  throw new InvalidArgumentError('It must be a time like 90s, 10m or 2h.');
}

export function fileSize(text: string): number {
  const value = text.includes('%') ? undefined : parseMemory(text);
  if (value !== undefined && value > 0) return value;
  throw new InvalidArgumentError('It must be a size like 1GB or 500MiB.');
}

export function engine(text: string): 'llama' | 'sim' {
  if (text === 'llama' || text === 'sim') return text;
  throw new InvalidArgumentError('It must be llama or sim.');
}

export function device(text: string): Device {
  const known = DEVICES.find((one) => one === text);
  if (known !== undefined) return known;
  throw new InvalidArgumentError(`It must be one of ${DEVICES.join(', ')}.`);
}

/** `ttft=5000,itl=100`, milliseconds; what is left out has no limit. */
export function slo(text: string): Slo {
  const limits = { ttft: Number.MAX_SAFE_INTEGER, itl: Number.MAX_SAFE_INTEGER };
  for (const part of text.split(',')) {
    const [, name, value] = /^(ttft|itl)=(\d+)$/.exec(part.trim()) ?? [];
    if (name === undefined) throw new InvalidArgumentError('It must be like ttft=5000,itl=100.');
    limits[name as keyof typeof limits] = Number(value);
  }
  return { ttftMs: limits.ttft, itlMs: limits.itl };
}

export function money(text: string): number {
  const value = Number(text);
  if (Number.isFinite(value) && value >= 0) return value;
  throw new InvalidArgumentError('It must be a number like 2.50.');
}

/** `1,2,4`. */
export function counts(text: string): number[] {
  return text.split(',').map(count);
}

export function names(text: string): string[] {
  const list = text.split(',').map((name) => name.trim());
  if (list.every((name) => name !== '')) return list;
  throw new InvalidArgumentError('It must be names with commas between them.');
}
