/** Every policy by its name: ours, and the rivals it is measured against. */
import type { Policy } from '../policy.ts';
import { stator } from './choose.ts';
import { leastRequests } from './rivals/least-requests.ts';
import { random } from './rivals/random.ts';
import { roundRobin } from './rivals/round-robin.ts';
import { sticky } from './rivals/sticky.ts';

const MAKERS: Record<string, (limits: { threadsMax: number }) => Policy> = {
  stator: () => stator,
  random,
  'round-robin': roundRobin,
  'least-requests': leastRequests,
  sticky: ({ threadsMax }) => sticky(threadsMax),
};

export const POLICY_NAMES: readonly string[] = Object.keys(MAKERS);

/** A fresh policy with no memory; undefined where there is none of that name. */
export function makePolicy(name: string, limits: { threadsMax: number }): Policy | undefined {
  return Object.hasOwn(MAKERS, name) ? MAKERS[name](limits) : undefined;
}
