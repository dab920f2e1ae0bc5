/**
 * A prompt as lineage compares it: places where an earlier prompt may have ended, each with a digest
 * of all that comes before it. Equal digests mean equal beginnings of one tenant and one cache salt.
 */
import { createHash, type Hash } from 'node:crypto';

export interface Place {
  digest: string;
  /** How far it is from the beginning, in the chain's own unit. */
  at: number;
  /** An answer lies before it: whoever shares it shares a past, not only a prompt. */
  isAnswered: boolean;
}

/** Where a prompt ended: so far behind the last place before it. */
export interface End {
  digest: string;
  at: number;
  rest: number;
  /** Of what lies between; '' where nothing does. */
  restDigest: string;
}

export interface Chain {
  /** From the shortest on. */
  readonly places: readonly Place[];
  /** Undefined: it says too little to be told from others. */
  readonly end: End | undefined;
  /** Whether what lies behind the place begins as what led to `end`, which has the place's digest. */
  meets(place: Place, end: End): boolean;
  /** What the prompt has where an answer to the prompt that ended there would stand. */
  answerTo(place: Place, end: End): Answered | undefined;
}

/** An answer as a client sends it back. */
export interface Answered {
  text: string;
  /** Its first tool call. */
  call: { id: string; name: string } | undefined;
}

/** What digests begin with: nobody can make up a prompt that meets another tenant's. */
export function rootOf(secret: Uint8Array, owner: readonly string[]): Hash {
  return createHash('sha256').update(secret).update(JSON.stringify(owner));
}

/** 128 bits as sixteen characters of one byte. */
export function digestOf(hash: Hash): string {
  return hash.copy().digest('binary').slice(0, 16);
}
