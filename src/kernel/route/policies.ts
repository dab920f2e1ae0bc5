/** Every policy by its name: ours, and the rivals it is measured against. */
import type { Policy } from '../policy.ts';
import { byModel } from './by-model.ts';
import { stator, statorKeeps, statorLru, statorUngated, statorUngatedLru } from './choose.ts';
import { aibrix } from './rivals/aibrix.ts';
import { conductor } from './rivals/conductor.ts';
import { continuum } from './rivals/continuum.ts';
import { dynamo, dynamoAgentic, dynamoDecay, dynamoW8 } from './rivals/dynamo.ts';
import { leastRequests } from './rivals/least-requests.ts';
import { llmD } from './rivals/llm-d.ts';
import { lmetric } from './rivals/lmetric.ts';
import { powerOfTwo } from './rivals/power-of-two.ts';
import { preble } from './rivals/preble.ts';
import { random } from './rivals/random.ts';
import { roundRobin } from './rivals/round-robin.ts';
import { smg } from './rivals/smg.ts';
import { sticky } from './rivals/sticky.ts';
import { thunderagent } from './rivals/thunderagent.ts';
import { vllmRouterHash } from './rivals/vllm-router-hash.ts';

const MAKERS: Record<string, (limits: { threadsMax: number }) => Policy> = {
  stator: () => stator,
  'stator-keeps': () => statorKeeps,
  'stator-lru': () => statorLru,
  'stator-ungated': () => statorUngated,
  'stator-ungated-lru': () => statorUngatedLru,
  random,
  'round-robin': roundRobin,
  'least-requests': leastRequests,
  'power-of-two': powerOfTwo,
  sticky: ({ threadsMax }) => sticky(threadsMax),
  dynamo,
  'dynamo-w8': dynamoW8,
  'dynamo-decay': dynamoDecay,
  'dynamo-agentic': dynamoAgentic,
  smg,
  'llm-d': llmD,
  'vllm-router-hash': vllmRouterHash,
  aibrix,
  preble,
  conductor,
  lmetric,
  thunderagent,
  continuum,
};

export const POLICY_NAMES: readonly string[] = Object.keys(MAKERS);

interface PolicyLimits {
  threadsMax: number;
  /** Of models that have one of their own. */
  policies?: Readonly<Record<string, string>> | undefined;
}

/** A fresh policy with no memory; undefined where there is none of that name. */
export function makePolicy(name: string, limits: PolicyLimits): Policy | undefined {
  const base = made(name, limits);
  const others = Object.entries(limits.policies ?? {}).flatMap(([model, own]) => {
    const policy = made(own, limits);
    return policy === undefined ? [] : [[model, policy] as const];
  });
  return base === undefined || others.length === 0 ? base : byModel(base, new Map(others));
}

function made(name: string, limits: PolicyLimits): Policy | undefined {
  return Object.hasOwn(MAKERS, name) ? MAKERS[name](limits) : undefined;
}
