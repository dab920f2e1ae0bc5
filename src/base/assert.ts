/** Our own mistakes end here: crash, and tell. The world's mistakes are `GatewayError`s instead. */
export function assert(condition: unknown, claim: string): asserts condition {
  if (!condition) throw new AssertionError(claim);
}

/** `value`, which by our own reasoning cannot be absent. */
export function must<T>(value: T | undefined | null, claim: string): T {
  assert(value !== undefined && value !== null, claim);
  return value;
}

/** Closes a switch over a tagged union: a new tag breaks the build here, not the run elsewhere. */
export function unreachable(value: never): never {
  throw new AssertionError(`unreachable: ${JSON.stringify(value)}`);
}

export class AssertionError extends Error {
  override name = 'AssertionError';
}
