/** Where what a tenant lets us keep lies on disk: names are hashes, so that a listing tells nobody whose it is. */
import { createHash } from 'node:crypto';

const HASH_DIGITS = 40;

/** What a folder or a file of ours is called, but for an ending. */
export const NAME_ON_DISK: RegExp = new RegExp(`^[\\da-f]{${HASH_DIGITS}}$`);

export interface Place {
  folder: string;
  file: string;
}

/** The tenant is part of both: the same id of another tenant is another place. */
export function placeOf(tenant: string, key: string): Place {
  return { folder: hashOf([tenant]), file: hashOf([tenant, key]) };
}

function hashOf(words: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(words)).digest('hex').slice(0, HASH_DIGITS);
}
