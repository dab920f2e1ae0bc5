/** An engine that answers by a script: the same engine beneath computes, or fails, as a rule says. */
import { unreachable } from '../base/assert.ts';
import { sleep } from '../base/sleep.ts';
import { GatewayError } from '../model/error.ts';
import type { WorkerId } from '../model/ids.ts';
import type { Part } from '../model/part.ts';
import type { Chat } from '../model/request.ts';
import type { Script, ScriptRule } from '../model/script.ts';
import type { Clock, Embedding, Engine, EngineReport, Job, Tokens } from '../ports.ts';
import { answerText } from './answer-text.ts';
import { forcedOutputForbidden } from './job-spec.ts';

/** Whoever serves this engine breaks the connection off. */
export class ConnectionReset extends Error {
  override name = 'ConnectionReset';
}

export class ScriptedEngine implements Engine {
  readonly worker: WorkerId;
  readonly #engine: Engine;
  readonly #tokens: Tokens;
  readonly #clock: Clock;
  readonly #allowForcedOutput: boolean;
  readonly #rules: { rule: ScriptRule; pattern: RegExp; left: number }[];

  /** `engine` must allow forced output: that is how it says what the script says. */
  constructor(given: {
    engine: Engine;
    tokens: Tokens;
    clock: Clock;
    script: Script;
    allowForcedOutput: boolean;
  }) {
    this.worker = given.engine.worker;
    this.#engine = given.engine;
    this.#tokens = given.tokens;
    this.#clock = given.clock;
    this.#allowForcedOutput = given.allowForcedOutput;
    this.#rules = given.script.rules.map((rule) => ({
      rule,
      pattern: new RegExp(rule.match),
      left: rule.times ?? Number.POSITIVE_INFINITY,
    }));
  }

  async *generate(job: Job, signal: AbortSignal): AsyncGenerator<Part> {
    if (job.forcedOutput !== undefined && !this.#allowForcedOutput) throw forcedOutputForbidden();
    const rule = this.#ruleFor(job);
    if (rule === undefined) {
      yield* this.#engine.generate(job, signal);
      return;
    }
    const { fault } = rule;
    if (fault?.kind === 'status') throw refusal(fault);
    await sleep(this.#clock, Math.round(rule.delayMs * 1000), signal);
    // Whoever goes on behind what another said fails where that one did.
    let parts = job.said?.tokens ?? 0;
    for await (const part of this.#engine.generate(this.#scripted(job, rule), signal)) {
      if (fault !== undefined && parts >= fault.afterParts) {
        const last = await this.#fail(fault, signal);
        if (last !== undefined) yield last;
        return;
      }
      yield part;
      parts++;
      if (rule.tokenDelayMs > 0)
        await sleep(this.#clock, Math.round(rule.tokenDelayMs * 1000), signal);
    }
  }

  continues(job: Job): boolean {
    return this.#engine.continues?.(job) === true;
  }

  embed(job: Job, signal: AbortSignal): Promise<Embedding> {
    return this.#engine.embed(job, signal);
  }

  resetCache(): Promise<void> {
    return this.#engine.resetCache();
  }

  healthy(): Promise<boolean> {
    return this.#engine.healthy();
  }

  report(): Promise<EngineReport | undefined> {
    return this.#engine.report();
  }

  close(): void {
    this.#engine.close();
  }

  #ruleFor(job: Job): ScriptRule | undefined {
    const text = this.#promptText(job);
    const found = this.#rules.find(
      ({ rule, pattern, left }) => left > 0 && pattern.test(text.slice(-rule.tailCharacters)),
    );
    if (found !== undefined) found.left--;
    return found?.rule;
  }

  #promptText({ prompt }: Job): string {
    if (prompt.kind === 'text') return prompt.text;
    if (prompt.kind === 'chat') return this.#tokens.render(prompt.chat);
    const decoder = this.#tokens.decoder();
    let text = '';
    for (const id of prompt.ids) text += decoder.push(id);
    return text + decoder.flush();
  }

  #scripted(job: Job, rule: ScriptRule): Job {
    const chat: Chat = {
      model: job.model,
      messages: [{ role: 'user', content: [] }],
      tools: [],
      toolChoice: { kind: 'auto' },
      thinking: undefined,
    };
    const text = answerText(this.#tokens, chat, {
      role: 'assistant',
      content: [{ kind: 'text', text: rule.text }],
      reasoning: rule.reasoning,
      toolCalls: rule.toolCalls.map((call, i) => ({
        id: `script_${i}`,
        name: call.name,
        argumentsJson: JSON.stringify(call.arguments),
      })),
    });
    return { ...job, forcedOutput: text ?? rule.text };
  }

  /** The last part before the stream breaks off, if there is one. */
  async #fail(
    fault: Exclude<NonNullable<ScriptRule['fault']>, { kind: 'status' }>,
    signal: AbortSignal,
  ): Promise<Part | undefined> {
    switch (fault.kind) {
      case 'cut':
        return undefined;
      case 'reset':
        throw new ConnectionReset('the script breaks the connection off');
      case 'error':
        return { kind: 'error', error: new GatewayError('engine_failed', 'The script says so.') };
      case 'stall':
        await new Promise<void>((resolve) => {
          if (signal.aborted) return resolve();
          signal.addEventListener('abort', () => resolve(), { once: true });
        });
        return undefined;
      default:
        return unreachable(fault);
    }
  }
}

function refusal({ status, retryAfterS }: { status: number; retryAfterS?: number }): GatewayError {
  if (status === 503 || status === 429 || status === 529) {
    const retryAfterUs = retryAfterS === undefined ? undefined : retryAfterS * 1e6;
    return new GatewayError('queue_full', 'The script says so.', { retryAfterUs });
  }
  if (status >= 500) return new GatewayError('engine_failed', 'The script says so.');
  return new GatewayError('invalid_request', 'The script says so.');
}
