/** Programs that wait at the gate, by the model they wait for: whose claim of each tenant is strongest. */
import type { TenantId } from '../../model/ids.ts';
import type { Program } from '../program/programs.ts';
import { claimOf } from './sitting.ts';

/** The two strongest claims of a tenant. */
interface Strongest {
  first: Claim;
  second: Claim | undefined;
}

interface Claim {
  program: Program;
  claim: number;
}

export class Line {
  readonly #byModel = new Map<string, Set<Program>>();
  /** Of each model and tenant, at one time; forgotten when anything changes. */
  readonly #strongest = new Map<string, Map<TenantId, Strongest>>();
  #atUs = Number.NaN;

  /** Whether anybody waits. Who does not any more is found out here. */
  get isEmpty(): boolean {
    for (const [model, programs] of this.#byModel) {
      for (const program of programs) {
        if (program.waiting > 0) return false;
        programs.delete(program);
      }
      this.#byModel.delete(model);
    }
    return true;
  }

  add(model: string, program: Program): void {
    const programs = this.#byModel.get(model) ?? new Set();
    this.#byModel.set(model, programs);
    if (programs.has(program)) return;
    programs.add(program);
    this.#strongest.clear();
  }

  /** It is in, or waits no longer. */
  delete(program: Program): void {
    for (const programs of this.#byModel.values()) {
      if (programs.delete(program)) this.#strongest.clear();
    }
  }

  /** Tenants of whom somebody waits, for whatever model. */
  tenants(nowUs: number): Set<TenantId> {
    const found = new Set<TenantId>();
    for (const model of this.#byModel.keys()) {
      for (const tenant of this.#strongestOf(nowUs, model).keys()) found.add(tenant);
    }
    return found;
  }

  /** Tenants of whom somebody waits for the model, each with its strongest claim but the program's. */
  *rivals(nowUs: number, model: string, program: Program): Iterable<Rival> {
    for (const [tenant, { first, second }] of this.#strongestOf(nowUs, model)) {
      const other = first.program === program ? second : first;
      if (other !== undefined) yield { tenant, claim: other.claim, program: other.program };
    }
  }

  #strongestOf(nowUs: number, model: string): Map<TenantId, Strongest> {
    if (this.#atUs !== nowUs) this.#strongest.clear();
    this.#atUs = nowUs;
    const known = this.#strongest.get(model);
    if (known !== undefined) return known;
    const found = new Map<TenantId, Strongest>();
    this.#strongest.set(model, found);
    const programs = this.#byModel.get(model) ?? [];
    for (const program of programs) {
      // Its clients left, or were refused.
      if (program.waiting === 0) (programs as Set<Program>).delete(program);
      else note(found, { program, claim: claimOf(nowUs, program) });
    }
    return found;
  }
}

/** One who waits for the same. */
export interface Rival {
  tenant: TenantId;
  program: Program;
  claim: number;
}

function note(found: Map<TenantId, Strongest>, one: Claim): void {
  const { tenant } = one.program;
  const known = found.get(tenant);
  if (known === undefined) found.set(tenant, { first: one, second: undefined });
  else if (one.claim > known.first.claim) found.set(tenant, { first: one, second: known.first });
  else if (known.second === undefined || one.claim > known.second.claim) known.second = one;
}
