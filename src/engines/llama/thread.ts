/** The llama.cpp loop's own thread: one call at a time, answered in order. */
import { parentPort } from 'node:worker_threads';
import { must, unreachable } from '../../base/assert.ts';
import type { StepPlan, StepResult } from '../../model/step.ts';
import { loadLlama } from './binding.ts';
import { type ContextSettings, LlamaContext } from './context.ts';
import { type SelfTest, selfTest } from './self-test.ts';

export type ThreadCall =
  | { kind: 'open'; settings: ContextSettings }
  | { kind: 'step'; plan: StepPlan }
  | { kind: 'tokenize'; texts: string[] }
  | { kind: 'applyTemplate'; messages: { role: string; content: string }[] }
  | { kind: 'close' };

export type ThreadAnswer =
  | { kind: 'opened'; version: string; vocabularySize: number; selfTest: SelfTest }
  | { kind: 'stepped'; result: StepResult }
  | { kind: 'tokenized'; ids: Int32Array[] }
  | { kind: 'applied'; text: string }
  | { kind: 'closed' }
  | { kind: 'failed'; message: string };

const port = must(parentPort, 'this file runs as a thread');
let context: LlamaContext | undefined;

port.on('message', (call: ThreadCall) => {
  try {
    port.postMessage(answer(call));
  } catch (error) {
    port.postMessage({ kind: 'failed', message: (error as Error).message });
  }
});

function answer(call: ThreadCall): ThreadAnswer {
  switch (call.kind) {
    case 'open': {
      const llama = loadLlama();
      context = new LlamaContext(llama, call.settings);
      const { vocabularySize } = context;
      const test = selfTest(context, call.settings);
      return { kind: 'opened', version: llama.version, vocabularySize, selfTest: test };
    }
    case 'step':
      return { kind: 'stepped', result: opened().step(call.plan) };
    case 'tokenize':
      return { kind: 'tokenized', ids: call.texts.map((text) => opened().tokenize(text)) };
    case 'applyTemplate':
      return { kind: 'applied', text: opened().applyTemplate(call.messages) };
    case 'close':
      context?.close();
      context = undefined;
      return { kind: 'closed' };
    default:
      return unreachable(call);
  }
}

function opened(): LlamaContext {
  return must(context, 'a context is opened before it is used');
}
