/**
 * Which variable a name means. Jinja decides that when it compiles: a macro or a loop body has
 * variables of its own for the names it sets, and they begin as what the name meant outside. So a
 * `set` inside a loop is forgotten with the next round, as in jinja2/idtracking.py 3.1.6.
 *
 * A frame is what one run of the template, or one call of a macro, remembers: a slot per variable.
 */
import type { Expression, Statement, Target } from './ast.ts';
import type { Value } from './values.ts';

export interface Frame {
  slots: Value[];
  /** The frame a macro was defined in. */
  outer: Frame | undefined;
  /** What the template is rendered with, and Jinja's globals. */
  input: (name: string) => Value;
}

/** Where a variable lies: so many frames out, in that slot. */
export interface Place {
  frames: number;
  slot: number;
}

/** What a variable of its own starts with when its scope is entered. */
export type Start =
  | { kind: 'outer'; slot: number; from: Place }
  | { kind: 'input'; slot: number; name: string }
  | { kind: 'undefined'; slot: number };

export class Scope {
  readonly starts: Start[] = [];
  readonly #parent: Scope | undefined;
  /** Slots of the frame, which several scopes share. */
  readonly #frame: { slotCount: number };
  readonly #slots = new Map<string, number>();

  constructor(parent?: Scope, frame = { slotCount: 0 }) {
    this.#parent = parent;
    this.#frame = frame;
  }

  get slotCount(): number {
    return this.#frame.slotCount;
  }

  inner(): Scope {
    return new Scope(this, this.#frame);
  }

  /** A scope in a frame of its own, for a macro. */
  callable(): Scope {
    return new Scope(this);
  }

  /** A variable that whoever enters the scope fills: a loop variable, a parameter. */
  declare(name: string): number {
    const slot = this.#slots.get(name) ?? this.#frame.slotCount++;
    this.#slots.set(name, slot);
    return slot;
  }

  /** Finds the names that `body` reads and sets here, in its order, before it is compiled. */
  analyze(body: readonly Statement[]): void {
    for (const statement of body) this.#statement(statement, 'always');
  }

  read(expression: Expression): void {
    for (const name of namesIn(expression)) this.#read(name);
  }

  /** Where `name` lies. */
  place(name: string): Place {
    const place = this.#find(name);
    if (place !== undefined) return place;
    this.#read(name);
    return this.place(name);
  }

  #find(name: string): Place | undefined {
    const slot = this.#slots.get(name);
    if (slot !== undefined) return { frames: 0, slot };
    if (this.#parent === undefined) return undefined;
    const place = this.#parent.#find(name);
    if (place === undefined || this.#parent.#frame === this.#frame) return place;
    return { frames: place.frames + 1, slot: place.slot };
  }

  #read(name: string): void {
    if (this.#find(name) !== undefined) return;
    this.starts.push({ kind: 'input', slot: this.declare(name), name });
  }

  #set(name: string, when: When): void {
    if (this.#slots.has(name)) return;
    const from = this.#find(name);
    const slot = this.declare(name);
    if (from !== undefined) this.starts.push({ kind: 'outer', slot, from });
    else if (when === 'sometimes') this.starts.push({ kind: 'input', slot, name });
    else this.starts.push({ kind: 'undefined', slot });
  }

  #target(target: Target, when: When): void {
    if (target.kind === 'name') this.#set(target.name, when);
    else if (target.kind === 'names') for (const name of target.names) this.#set(name, when);
    else this.#read(target.namespace);
  }

  #statement(statement: Statement, when: When): void {
    switch (statement.kind) {
      case 'output':
        this.read(statement.expression);
        break;
      case 'if':
        for (const { test, body } of statement.branches) {
          this.read(test);
          for (const inner of body) this.#statement(inner, 'sometimes');
        }
        for (const inner of statement.otherwise) this.#statement(inner, 'sometimes');
        break;
      case 'for':
        this.read(statement.items);
        break;
      case 'set':
        this.read(statement.value);
        this.#target(statement.target, when);
        break;
      case 'setBlock':
        this.#target(statement.target, when);
        break;
      case 'macro':
        this.#set(statement.name, when);
        break;
      case 'callBlock':
        this.read(statement.call);
        break;
      default: // their names are read, or their scopes made, when they are compiled
        break;
    }
  }
}

/** Whether a name is set whenever its scope is run, or only in a branch. */
type When = 'always' | 'sometimes';

/** Names that an expression reads, in no particular order. */
export function namesIn(part: unknown): string[] {
  if (Array.isArray(part)) return part.flatMap(namesIn);
  if (typeof part !== 'object' || part === null) return [];
  const { kind, name } = part as { kind?: string; name?: string };
  if (kind === 'name' && name !== undefined) return [name];
  return Object.values(part).flatMap(namesIn); // expressions hold nothing but expressions
}
