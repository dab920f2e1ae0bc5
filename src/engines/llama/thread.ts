/** The llama.cpp loop's own thread: one call at a time, answered in order. */

import { promises as fs } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { must, unreachable } from '../../base/assert.ts';
import type { FileNews, Handle, StepPlan, StepResult } from '../../model/step.ts';
import { loadLlama } from './binding.ts';
import { type ContextSettings, LlamaContext } from './context.ts';
import { type FileSettings, FileStore, type OpenedFiles } from './file-store.ts';
import { type SelfTest, selfTest } from './self-test.ts';

export type ThreadCall =
  | { kind: 'open'; settings: ContextSettings }
  /** After `open`, once. */
  | { kind: 'openFiles'; settings: FileSettings }
  | { kind: 'step'; plan: StepPlan }
  | { kind: 'readBlocks'; handles: Handle[] }
  | { kind: 'writeBlocks'; handles: Handle[]; bytes: Uint8Array }
  | { kind: 'tokenize'; texts: string[] }
  | { kind: 'applyTemplate'; messages: { role: string; content: string }[] }
  | { kind: 'close' };

export type ThreadAnswer =
  | { kind: 'opened'; version: string; vocabularySize: number; selfTest: SelfTest }
  | { kind: 'filesOpened'; outcome: OpenedFiles | { reason: string } }
  | { kind: 'stepped'; result: StepResult }
  | { kind: 'blocksRead'; bytes: Uint8Array }
  | { kind: 'blocksWritten' }
  | { kind: 'tokenized'; ids: Int32Array[] }
  | { kind: 'applied'; text: string }
  | { kind: 'closed' }
  | { kind: 'failed'; message: string };

/** Told unasked, whenever it happens. */
export interface ThreadNews {
  kind: 'news';
  news: FileNews[];
}

const port = must(parentPort, 'this file runs as a thread');
let context: LlamaContext | undefined;
let files: FileStore | undefined;

port.on('message', async (call: ThreadCall) => {
  try {
    const answered = call.kind === 'openFiles' ? await openFiles(call.settings) : answer(call);
    if (answered.kind === 'closed') await files?.close();
    const moved = answered.kind === 'blocksRead' ? [answered.bytes.buffer as ArrayBuffer] : [];
    port.postMessage(answered, moved);
  } catch (error) {
    port.postMessage({ kind: 'failed', message: (error as Error).message });
  }
});

async function openFiles(settings: FileSettings): Promise<ThreadAnswer> {
  const tell = (news: FileNews) =>
    port.postMessage({ kind: 'news', news: [news] } satisfies ThreadNews);
  try {
    const { blockBytes } = opened();
    if (blockBytes !== settings.layout.blockBytes) throw new Error('blocks have another size');
    const { store, opened: outcome } = await FileStore.open(fs, settings, tell);
    files = store;
    opened().useFiles(store);
    return { kind: 'filesOpened', outcome };
  } catch (error) {
    return { kind: 'filesOpened', outcome: { reason: (error as Error).message } };
  }
}

function answer(call: Exclude<ThreadCall, { kind: 'openFiles' }>): ThreadAnswer {
  switch (call.kind) {
    case 'open': {
      const llama = loadLlama(call.settings.device);
      context = new LlamaContext(llama, call.settings);
      const { vocabularySize } = context;
      const test = selfTest(context, call.settings);
      return { kind: 'opened', version: llama.version, vocabularySize, selfTest: test };
    }
    case 'step':
      return { kind: 'stepped', result: opened().step(call.plan) };
    case 'readBlocks':
      return { kind: 'blocksRead', bytes: opened().readBlocks(call.handles) };
    case 'writeBlocks':
      opened().writeBlocks(call.handles, call.bytes);
      return { kind: 'blocksWritten' };
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
