/**
 * vLLM Router, policy consistent_hash: the session's key on a ring with 160 virtual nodes a worker, so
 * that a worker that joins or leaves moves only its own share (vllm-project/router). Without a session the key is the whole prompt's. It
 * sees no load.
 */
import type { WorkerId } from '../../../model/ids.ts';
import { type Policy, type Seen, stickyKey } from '../../policy.ts';

const VIRTUAL_NODES = 160;

export function vllmRouterHash(): Policy {
  let ring: { point: number; worker: WorkerId }[] = [];
  let ringOf = '';
  return {
    name: 'vllm-router-hash',
    view: 'load',
    choose(request, seen) {
      const names = namesOf(seen);
      if (names !== ringOf) {
        ring = makeRing(seen);
        ringOf = names;
      }
      const key = pointOf(stickyKey(request) ?? String(request.hashes.at(-1) ?? request.id));
      // The first node at or after the key; beyond the last one the ring begins again.
      let [low, high] = [0, ring.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (ring[middle].point < key) low = middle + 1;
        else high = middle;
      }
      return ring[low % ring.length].worker;
    },
  };
}

const namesOf = (seen: readonly Seen[]) => seen.map(({ worker }) => worker).join(' ');

function makeRing(seen: readonly Seen[]): { point: number; worker: WorkerId }[] {
  return seen
    .flatMap(({ worker }) =>
      Array.from({ length: VIRTUAL_NODES }, (_, i) => ({
        point: pointOf(`${worker}#${i}`),
        worker,
      })),
    )
    .sort((a, b) => a.point - b.point || (a.worker < b.worker ? -1 : 1));
}

/** 32 bits: FNV-1a, then MurmurHash3's finalizer, since names that differ in the end only lie close. */
function pointOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
