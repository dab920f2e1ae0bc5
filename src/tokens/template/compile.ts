/**
 * Statements → functions that write to an output. A template is compiled once per model into nested
 * closures; nothing is evaluated from text, so a template can do no more than what is written here.
 */
import type { Macro, Statement, Target } from './ast.ts';
import {
  compileCall,
  compileExpression,
  compileFilters,
  type Evaluate,
  readPlace,
} from './compile-expression.ts';
import { limit, ROUNDS_MAX, TEXT_MAX } from './limits.ts';
import { LoopState } from './operators.ts';
import { print } from './printing.ts';
import { type Frame, namesIn, Scope } from './scope.ts';
import { refuse, TemplateError } from './template-error.ts';
import { Callable, isTrue, itemsOf, Namespace, type Value } from './values.ts';

export class Output {
  text = '';
}

/** What happens after a statement. */
type Flow = 'on' | 'break' | 'continue';
type Execute = (frame: Frame, out: Output) => Flow;
type Assign = (frame: Frame, value: Value) => void;

/** Where a rendering is: the line for the sentence of an error, rounds for their limit. */
export interface Progress {
  line: number;
  rounds: number;
}

export function compileTemplate(
  body: Statement[],
  progress: Progress,
): (input: Frame['input'], out: Output) => void {
  const scope = new Scope();
  scope.analyze(body);
  const compiler = new Compiler(progress);
  const run = compiler.block(body, scope);
  const enter = compiler.enter(scope);
  return (input, out) => {
    const frame = { slots: new Array(scope.slotCount), outer: undefined, input };
    enter(frame);
    run(frame, out);
  };
}

class Compiler {
  readonly #progress: Progress;

  constructor(progress: Progress) {
    this.#progress = progress;
  }

  block(body: readonly Statement[], scope: Scope): Execute {
    const progress = this.#progress;
    const steps = body.map((statement) => ({
      line: statement.line,
      execute: this.#statement(statement, scope),
    }));
    return (frame, out) => {
      for (const { line, execute } of steps) {
        progress.line = line;
        const flow = execute(frame, out);
        if (flow !== 'on') return flow;
      }
      return 'on';
    };
  }

  /** Gives the scope's variables what they start with. Read late: compiling may add to them. */
  enter(scope: Scope): (frame: Frame) => void {
    return (frame) => {
      for (const start of scope.starts) {
        if (start.kind === 'outer') frame.slots[start.slot] = readPlace(start.from)(frame);
        else if (start.kind === 'input') frame.slots[start.slot] = frame.input(start.name);
        else frame.slots[start.slot] = undefined;
      }
    };
  }

  #statement(statement: Statement, scope: Scope): Execute {
    switch (statement.kind) {
      case 'data': {
        const { text } = statement;
        return (_, out) => {
          out.text += text;
          return 'on';
        };
      }
      case 'output': {
        const value = compileExpression(statement.expression, scope);
        return (frame, out) => {
          out.text += print(value(frame));
          return 'on';
        };
      }
      case 'if':
        return this.#if(statement, scope);
      case 'for':
        return this.#for(statement, scope);
      case 'set': {
        const value = compileExpression(statement.value, scope);
        return assigning(this.#assign(statement.target, scope), value);
      }
      case 'setBlock':
        return assigning(this.#assign(statement.target, scope), this.#captured(statement, scope));
      case 'macro': {
        const assign = this.#assign({ kind: 'name', name: statement.name }, scope);
        return assigning(assign, this.#macro(statement.macro, scope));
      }
      case 'callBlock': {
        if (statement.call.kind !== 'call') return refuse(statement.line, 'a call without a call');
        const caller = this.#macro(statement.macro, scope);
        const called = compileCall(statement.call, scope, (frame) => [['caller', caller(frame)]]);
        return printing(called);
      }
      case 'filterBlock':
        return printing(this.#captured(statement, scope));
      case 'scope':
        return printing(this.#captured({ filters: [], body: statement.body }, scope));
      case 'break':
      case 'continue':
        return () => statement.kind;
    }
  }

  #if(statement: Extract<Statement, { kind: 'if' }>, scope: Scope): Execute {
    const branches = statement.branches.map(({ test, body }) => ({
      test: compileExpression(test, scope),
      run: this.block(body, scope),
    }));
    const otherwise = this.block(statement.otherwise, scope);
    return (frame, out) => {
      for (const { test, run } of branches) if (isTrue(test(frame))) return run(frame, out);
      return otherwise(frame, out);
    };
  }

  #for(statement: Extract<Statement, { kind: 'for' }>, scope: Scope): Execute {
    const items = compileExpression(statement.items, scope);
    const choose = this.#loopTest(statement, scope);
    const inner = scope.inner();
    const assign = this.#declared(statement.target, inner);
    const loopSlot = inner.declare('loop');
    inner.analyze(statement.body);
    const enter = this.enter(inner);
    const run = this.block(statement.body, inner);
    const progress = this.#progress;
    const elseScope = scope.inner();
    elseScope.analyze(statement.otherwise);
    const enterElse = this.enter(elseScope);
    const otherwise = this.block(statement.otherwise, elseScope);
    return (frame, out) => {
      const chosen = choose(frame, itemsOf(items(frame)));
      if (chosen.length === 0) {
        enterElse(frame);
        return otherwise(frame, out);
      }
      const loop = new LoopState(chosen);
      for (let i = 0; i < chosen.length; i++) {
        limit(++progress.rounds, ROUNDS_MAX, 'its number of rounds');
        limit(out.text.length, TEXT_MAX, 'its output');
        loop.index0 = i;
        frame.slots[loopSlot] = loop;
        assign(frame, chosen[i]);
        enter(frame);
        if (run(frame, out) === 'break') break;
      }
      return 'on';
    };
  }

  /** `for … if test`: which items the loop takes. Jinja asks as it goes, this asks before. */
  #loopTest(
    { test, target, body, line }: Extract<Statement, { kind: 'for' }>,
    scope: Scope,
  ): (frame: Frame, items: readonly Value[]) => readonly Value[] {
    if (test === undefined) return (_, items) => items;
    const changed = namespacesSetIn(body);
    if (namesIn(test).some((name) => changed.has(name))) {
      refuse(line, 'a loop that changes what its condition reads');
    }
    const inner = scope.inner();
    const assign = this.#declared(target, inner);
    inner.read(test);
    const enter = this.enter(inner);
    const holds = compileExpression(test, inner);
    return (frame, items) =>
      items.filter((item) => {
        assign(frame, item);
        enter(frame);
        return isTrue(holds(frame));
      });
  }

  /** What a block writes, in a scope of its own, through filters. */
  #captured(
    { body, filters }: Pick<Extract<Statement, { kind: 'filterBlock' }>, 'body' | 'filters'>,
    scope: Scope,
  ): Evaluate {
    const inner = scope.inner();
    inner.analyze(body);
    const enter = this.enter(inner);
    const run = this.block(body, inner);
    const apply = compileFilters(filters, scope);
    return (frame) => {
      const out = new Output();
      enter(frame);
      run(frame, out);
      return apply(frame, out.text);
    };
  }

  #macro({ parameters, body }: Macro, scope: Scope): Evaluate {
    const inner = scope.callable();
    const slots = parameters.map(({ name }) => inner.declare(name));
    const callerSlot = inner.declare('caller');
    for (const { fallback } of parameters) if (fallback !== undefined) inner.read(fallback);
    inner.analyze(body);
    const fallbacks = parameters.map((it) => it.fallback && compileExpression(it.fallback, inner));
    const enter = this.enter(inner);
    const run = this.block(body, inner);
    const progress = this.#progress;
    return (outer) =>
      new Callable((positional, named) => {
        limit(++progress.rounds, ROUNDS_MAX, 'its number of rounds');
        const frame: Frame = { slots: new Array(inner.slotCount), outer, input: outer.input };
        const given = takeArguments(parameters, positional, named);
        frame.slots[callerSlot] = given.caller;
        enter(frame);
        for (let i = 0; i < slots.length; i++) {
          const value = given.values[i];
          frame.slots[slots[i]] = value === undefined ? fallbacks[i]?.(frame) : value.value;
        }
        const out = new Output();
        run(frame, out);
        return out.text;
      });
  }

  /** Assigns to a variable that the scope already has. */
  #assign(target: Target, scope: Scope): Assign {
    if (target.kind === 'attribute') {
      const namespace = readPlace(scope.place(target.namespace));
      const { name } = target;
      return (frame, value) => {
        const object = namespace(frame);
        if (!(object instanceof Namespace)) {
          throw new TemplateError('only attributes of a namespace can be set');
        }
        object.set(name, value);
      };
    }
    if (target.kind === 'name') {
      const { slot } = scope.place(target.name);
      return (frame, value) => {
        frame.slots[slot] = value;
      };
    }
    const slots = target.names.map((name) => scope.place(name).slot);
    return (frame, value) => {
      const items = itemsOf(value);
      if (items.length !== slots.length) {
        throw new TemplateError(`${items.length} values do not fit ${slots.length} names`);
      }
      for (let i = 0; i < slots.length; i++) frame.slots[slots[i]] = items[i];
    };
  }

  /** Assigns to variables that are new in the scope. */
  #declared(target: Target, scope: Scope): Assign {
    if (target.kind === 'name') scope.declare(target.name);
    else if (target.kind === 'names') for (const name of target.names) scope.declare(name);
    return this.#assign(target, scope);
  }
}

function assigning(assign: Assign, value: Evaluate): Execute {
  return (frame) => {
    assign(frame, value(frame));
    return 'on';
  };
}

function printing(value: Evaluate): Execute {
  return (frame, out) => {
    out.text += print(value(frame));
    return 'on';
  };
}

/** A value that was given is taken even if it is undefined itself; then no fallback is asked. */
function takeArguments(
  parameters: Macro['parameters'],
  positional: readonly Value[],
  named: ReadonlyMap<string, Value>,
): { values: ({ value: Value } | undefined)[]; caller: Value } {
  if (positional.length > parameters.length) {
    throw new TemplateError(`a macro takes at most ${parameters.length} arguments`);
  }
  const values = parameters.map(({ name }, i) => {
    if (i < positional.length) return { value: positional[i] };
    return named.has(name) ? { value: named.get(name) } : undefined;
  });
  for (const name of named.keys()) {
    const at = parameters.findIndex((it) => it.name === name);
    if (name !== 'caller' && (at < 0 || at < positional.length)) {
      throw new TemplateError(`a macro has no further parameter ${name}`);
    }
  }
  return { values, caller: named.get('caller') };
}

function namespacesSetIn(body: readonly Statement[]): Set<string> {
  const names = new Set<string>();
  const visit = (statements: readonly Statement[]): void => {
    for (const statement of statements) {
      if (statement.kind === 'set' && statement.target.kind === 'attribute') {
        names.add(statement.target.namespace);
      }
      if (statement.kind === 'if') for (const branch of statement.branches) visit(branch.body);
      if ('otherwise' in statement) visit(statement.otherwise);
      if ('body' in statement) visit(statement.body);
    }
  };
  visit(body);
  return names;
}
