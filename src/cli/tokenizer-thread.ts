/** A thread with a tokenizer of its own: long texts are encoded here, so that the event loop turns on. */
import { parentPort, workerData } from 'node:worker_threads';
import { must } from '../base/assert.ts';
import { loadTokens } from './load-model.ts';

const port = must(parentPort, 'this file runs as a thread');
const { path, blockTokens } = workerData as { path: string; blockTokens: number };
const { tokens } = loadTokens(path, blockTokens);

port.on('message', (text: string) => {
  const ids = tokens.encode(text);
  port.postMessage(ids, [ids.buffer as ArrayBuffer]);
});
