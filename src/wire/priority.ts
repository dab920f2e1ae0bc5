/**
 * How important a request is to its client; higher is more important, 0 where it says nothing. The
 * first that says something counts:
 *
 *   x-stator-request-priority · x-dynamo-request-priority     headers, as Dynamo reads its own
 *   nvext.agent_hints.priority                                the same in the body
 *   priority                                                  vLLM's, which falls with importance
 *   service_tier                                              priority 1 · default 0 · flex -1 · batch -2
 *
 * `strict` is Dynamo's second one: whoever has a higher one always goes first. The tiers flex and batch
 * say besides that nobody waits for the answer.
 */
import { type Json, optionalNumber } from './fields.ts';
import { type Headers, present } from './headers.ts';

const BOUNDS = { min: -(2 ** 31) + 1, max: 2 ** 31 - 1 };

export interface Priority {
  value: number;
  strict: number;
  /** Which signal told; undefined: none did. */
  by: string | undefined;
  /** Where signals contradict each other. */
  notes: string[];
}

/** Throws a `GatewayError` where a field holds no number. */
export function readPriority(body: Json, agentHints: Json): Priority {
  const where = 'nvext.agent_hints';
  const hinted = optionalNumber(agentHints.priority, `${where}.priority`, BOUNDS);
  const falling = optionalNumber(body.priority, 'priority', BOUNDS);
  const strict = optionalNumber(agentHints.strict_priority, `${where}.strict_priority`, {
    min: 0,
    max: 2 ** 32 - 1,
  });
  const claims: Claim[] = [
    { by: `${where}.priority`, value: hinted },
    { by: 'priority', value: falling === undefined ? undefined : 0 - falling },
    { by: 'service_tier', value: tierOf(body.service_tier) },
  ];
  return settled(claims, strict ?? 0);
}

/** With what headers say on top. A header that holds no whole number does not count. */
export function headedPriority(said: Priority, headers: Headers): Priority {
  const claims: Claim[] = [];
  const all = [...said.notes];
  let { strict } = said;
  for (const prefix of ['x-dynamo', 'x-stator']) {
    const given = numberIn(headers, `${prefix}-request-strict-priority`, all);
    if (given !== undefined && given >= 0) strict = given;
  }
  for (const prefix of ['x-stator', 'x-dynamo']) {
    const by = `${prefix}-request-priority`;
    claims.push({ by, value: numberIn(headers, by, all) });
  }
  if (said.by !== undefined) claims.push({ by: said.by, value: said.value });
  const result = settled(claims, strict);
  return { ...result, notes: [...all, ...result.notes] };
}

interface Claim {
  by: string;
  value: number | undefined;
}

function settled(claims: readonly Claim[], strict: number): Priority {
  const said = claims.filter(
    (claim): claim is Claim & { value: number } => claim.value !== undefined,
  );
  const [first, ...others] = said;
  if (first === undefined) return { value: 0, strict, by: undefined, notes: [] };
  const notes = others
    .filter(({ value }) => value !== first.value)
    .map(({ by }) => `${by} says another priority than ${first.by}, which counts.`);
  return { value: first.value, strict, by: first.by, notes };
}

/** Tiers whose users would rather have it cheap than soon. */
export function isForIdle({ service_tier }: Json): boolean {
  return service_tier === 'flex' || service_tier === 'batch';
}

function tierOf(tier: unknown): number | undefined {
  switch (tier) {
    case 'priority':
      return 1;
    case 'flex':
      return -1;
    case 'batch':
      return -2;
    // 'auto', 'default', 'scale', 'standard_only', and words we do not know: as everybody.
    default:
      return undefined;
  }
}

function numberIn(headers: Headers, name: string, notes: string[]): number | undefined {
  const text = present(headers, name);
  if (text === undefined) return undefined;
  if (/^-?\d{1,9}$/.test(text)) return Number(text);
  notes.push(`${name} is no whole number, so it does not count.`);
  return undefined;
}
