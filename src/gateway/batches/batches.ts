/**
 * Files and batches, as OpenAI's API has them.
 *
 *   POST, GET /v1/files      GET, DELETE /v1/files/{id}      GET /v1/files/{id}/content
 *   POST, GET /v1/batches    GET /v1/batches/{id}            POST /v1/batches/{id}/cancel
 */
import { createReadStream } from 'node:fs';
import { type Call, replyJson } from '../../http/call.ts';
import { jsonBody } from '../../http/json-body.ts';
import type { Route } from '../../http/router.ts';
import { GatewayError } from '../../model/error.ts';
import type { Cancel } from '../../ports.ts';
import { type Json, object, optionalObject, string, wrong } from '../../wire/fields.ts';
import type { Access } from '../access.ts';
import { pageOf } from '../paging.ts';
import { BatchRun, type RunParts } from './batch-run.ts';
import { readForm } from './multipart.ts';
import {
  type BatchObject,
  type BatchRecord,
  type FileObject,
  type FileRecord,
  isOver,
  newBatchId,
  newFileId,
} from './records.ts';

export interface BatchesParts extends RunParts {
  access: Access;
  /** Batches that run at once; others stay `validating`. */
  runningMax: number;
  /** Of a tenant that are not over. */
  tenantBatchesMax: number;
  /** Hears of what went wrong with the disk. */
  complain: (sentence: string) => void;
}

const FILES = '/v1/files/';
const BATCHES = '/v1/batches/';
const ENDPOINTS = ['/v1/chat/completions', '/v1/completions', '/v1/embeddings', '/v1/responses'];
const FORM_LIMITS = { fieldBytesMax: 16_384, fieldsMax: 16 };
const FILENAME_MAX = 256;
const FILE_LIST_MAX = 10_000;
const WINDOW_S = 24 * 3600;
const METADATA_MAX = { pairs: 16, key: 64, value: 512 };
const SWEEP_US = 3600 * 1_000_000;

export class Batches {
  readonly #parts: BatchesParts;
  /** Not over, oldest first, whether they run or wait for others. */
  readonly #open = new Map<string, BatchRun>();
  readonly #running = new Map<BatchRun, Promise<void>>();
  readonly #resumed: Promise<void>;
  #isClosed = false;
  #cancelSweep: Cancel = () => {};

  constructor(parts: BatchesParts) {
    this.#parts = parts;
    this.#resumed = this.#resume().catch((error: Error) => this.#complain(error));
  }

  routes(): Map<string, Route> {
    return new Map<string, Route>([
      ['POST /v1/files', (call) => this.#upload(call)],
      ['GET /v1/files', (call) => this.#listFiles(call)],
      [`GET ${FILES}*`, (call) => this.#getFile(call)],
      [`DELETE ${FILES}*`, (call) => this.#deleteFile(call)],
      ['POST /v1/batches', (call) => this.#create(call)],
      ['GET /v1/batches', (call) => this.#listBatches(call)],
      [`GET ${BATCHES}*`, (call) => this.#getBatch(call)],
      [`POST ${BATCHES}*`, (call) => this.#cancel(call)],
    ]);
  }

  /** Not over. */
  get openCount(): number {
    return this.#open.size;
  }

  /** Stops all; they go on at the next start. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelSweep();
    for (const run of this.#open.values()) run.stop();
    await this.#resumed;
    await Promise.all(this.#running.values());
  }

  async #upload(call: Call): Promise<void> {
    const { access, cabinet, clock, limits } = this.#parts;
    const { tenant } = access.caller(call);
    const id = newFileId();
    try {
      const { fields, file } = await readForm(
        { contentType: call.headers['content-type'], bytes: call.stream(), limits: FORM_LIMITS },
        async ({ filename, content }) => ({
          filename: filename.slice(0, FILENAME_MAX),
          bytes: await cabinet.write(tenant, id, content),
        }),
      );
      if (file === undefined) throw wrong('file', 'is missing');
      if (fields.get('purpose') !== 'batch') throw wrong('purpose', 'must be batch');
      const createdS = Math.floor(clock.wallMs() / 1000);
      const kept: FileObject = {
        ...{ id, object: 'file', ...file, purpose: 'batch', status: 'processed' },
        created_at: createdS,
        expires_at: createdS + Math.floor(limits.keepMs / 1000),
      };
      await cabinet.saveFile({ tenant, file: kept });
      replyJson(call.reply, 200, kept);
    } catch (thrown) {
      await cabinet.removeFile(tenant, id);
      throw thrown;
    }
  }

  async #listFiles(call: Call): Promise<void> {
    const { tenant } = this.#parts.access.caller(call);
    const purpose = call.query.get('purpose');
    const records = await this.#parts.cabinet.files(tenant);
    const files = records.map(({ file }) => file).sort(byTime);
    const asked = files.filter((file) => purpose === null || file.purpose === purpose);
    replyJson(call.reply, 200, pageOf(asked, call.query, FILE_LIST_MAX));
  }

  async #getFile(call: Call): Promise<void> {
    const { tenant, id, rest } = this.#named(call, FILES);
    const { file } = await this.#file(tenant, id);
    if (rest === undefined) return replyJson(call.reply, 200, file);
    if (rest !== 'content') throw nothingAt(call);
    call.reply.head(200, {
      'content-type': 'application/octet-stream',
      'content-length': String(file.bytes),
    });
    // As long as it was said to be, whatever is added meanwhile.
    const last = file.bytes - 1;
    if (last >= 0) {
      const path = this.#parts.cabinet.pathOf(tenant, id);
      for await (const piece of createReadStream(path, { end: last })) {
        if (call.signal.aborted) return call.reply.destroy();
        await call.reply.write(piece as Buffer);
      }
    }
    call.reply.end();
  }

  async #deleteFile(call: Call): Promise<void> {
    const { tenant, id, rest } = this.#named(call, FILES);
    if (rest !== undefined) throw nothingAt(call);
    await this.#file(tenant, id);
    for (const { record } of this.#open.values()) {
      if (record.tenant !== tenant || record.batch.input_file_id !== id) continue;
      throw wrong('file_id', 'is read by a batch that runs; cancel that first');
    }
    await this.#parts.cabinet.removeFile(tenant, id);
    replyJson(call.reply, 200, { id, object: 'file', deleted: true });
  }

  async #create(call: Call): Promise<void> {
    const { access, clock, cabinet, tenantBatchesMax } = this.#parts;
    const { tenant } = access.caller(call);
    const body = object(await jsonBody(call), 'the body');
    const inputId = string(body.input_file_id, 'input_file_id');
    const endpoint = string(body.endpoint, 'endpoint');
    if (!ENDPOINTS.includes(endpoint))
      throw wrong('endpoint', `must be one of ${ENDPOINTS.join(', ')}`);
    if (body.completion_window !== '24h') throw wrong('completion_window', 'must be 24h');
    const metadata = metadataOf(body);
    const { file } = await this.#file(tenant, inputId);
    if (file.purpose !== 'batch') throw wrong('input_file_id', 'names a file of another purpose');
    const own = [...this.#open.values()].filter(({ record }) => record.tenant === tenant);
    if (own.length >= tenantBatchesMax) {
      const sentence = `${own.length} batches are not over yet; try again when some are.`;
      throw new GatewayError('queue_full', sentence);
    }
    const createdS = Math.floor(clock.wallMs() / 1000);
    const batch: BatchObject = {
      ...{ id: newBatchId(), object: 'batch', endpoint, errors: null, input_file_id: inputId },
      ...{ completion_window: '24h', status: 'validating' },
      ...{ output_file_id: null, error_file_id: null },
      ...{ created_at: createdS, in_progress_at: null, expires_at: createdS + WINDOW_S },
      ...{ finalizing_at: null, completed_at: null, failed_at: null, expired_at: null },
      ...{ cancelling_at: null, cancelled_at: null },
      ...{ request_counts: { total: 0, completed: 0, failed: 0 }, metadata },
    };
    const record = { tenant, batch, outputId: newFileId(), errorId: newFileId() };
    await cabinet.saveBatch(record);
    this.#admit(record, 'new');
    replyJson(call.reply, 200, batch);
  }

  async #listBatches(call: Call): Promise<void> {
    const { tenant } = this.#parts.access.caller(call);
    const records = await this.#parts.cabinet.batches(tenant);
    const batches = records.map(({ batch }) => this.#open.get(batch.id)?.record.batch ?? batch);
    replyJson(call.reply, 200, pageOf(batches.sort(byTime), call.query));
  }

  async #getBatch(call: Call): Promise<void> {
    const { tenant, id, rest } = this.#named(call, BATCHES);
    if (rest !== undefined) throw nothingAt(call);
    replyJson(call.reply, 200, (await this.#batch(tenant, id)).batch);
  }

  async #cancel(call: Call): Promise<void> {
    const { tenant, id, rest } = this.#named(call, BATCHES);
    if (rest !== 'cancel') throw nothingAt(call);
    const { batch } = await this.#batch(tenant, id);
    const run = this.#open.get(id);
    if (run === undefined) {
      throw new GatewayError('invalid_request', `The batch is over: it is ${batch.status}.`);
    }
    await run.cancel();
    this.#admitNext();
    replyJson(call.reply, 200, run.record.batch);
  }

  async #file(tenant: string, id: string): Promise<FileRecord> {
    const record = await this.#parts.cabinet.file(tenant, id);
    if (record === undefined) throw missing('file', id);
    return record;
  }

  async #batch(tenant: string, id: string): Promise<BatchRecord> {
    const run = this.#open.get(id);
    if (run?.record.tenant === tenant) return run.record;
    const record = await this.#parts.cabinet.batch(tenant, id);
    if (record === undefined) throw missing('batch', id);
    return record;
  }

  /** What was not over when the gateway stopped goes on. */
  async #resume(): Promise<void> {
    await this.#sweep();
    const { batches } = await this.#parts.cabinet.everything();
    const open = batches.filter(({ batch }) => !isOver(batch));
    open.sort((a, b) => byTime(a.batch, b.batch));
    for (const record of open) this.#admit(record, 'resumed');
  }

  #admit(record: BatchRecord, how: 'new' | 'resumed'): void {
    const run = new BatchRun(record, this.#parts, how);
    this.#open.set(record.batch.id, run);
    this.#admitNext();
  }

  /** Of the tenant that has the fewest running the oldest; a cancelled one has nothing to wait for. */
  #admitNext(): void {
    if (this.#isClosed) return;
    const waiting = [...this.#open.values()].filter((run) => !this.#running.has(run));
    for (const run of waiting) if (run.record.batch.status === 'cancelling') this.#begin(run);
    if (this.#running.size >= this.#parts.runningMax) return;
    let next: BatchRun | undefined;
    for (const run of waiting) {
      if (this.#running.has(run)) continue;
      if (next === undefined || this.#runningOf(run) < this.#runningOf(next)) next = run;
    }
    if (next === undefined) return;
    this.#begin(next);
    this.#admitNext();
  }

  #runningOf({ record }: BatchRun): number {
    const running = [...this.#running.keys()];
    return running.filter((run) => run.record.tenant === record.tenant).length;
  }

  #begin(run: BatchRun): void {
    const over = run
      .run()
      .catch((error: Error) => this.#complain(error))
      .then(() => {
        this.#running.delete(run);
        if (this.#isClosed) return;
        this.#open.delete(run.record.batch.id);
        this.#admitNext();
      });
    this.#running.set(run, over);
  }

  /** What is too old leaves the disk. */
  async #sweep(): Promise<void> {
    const { cabinet, clock, limits } = this.#parts;
    const { files, batches } = await cabinet.everything();
    const nowS = clock.wallMs() / 1000;
    for (const { tenant, batch } of batches) {
      const endedS = batch.expires_at + limits.keepMs / 1000;
      if (isOver(batch) && endedS < nowS) await cabinet.removeBatch(tenant, batch.id);
    }
    const read = new Set(
      batches.filter(({ batch }) => !isOver(batch)).map((b) => b.batch.input_file_id),
    );
    for (const { tenant, file } of files) {
      if (file.expires_at < nowS && !read.has(file.id)) await cabinet.removeFile(tenant, file.id);
    }
    if (this.#isClosed) return;
    this.#cancelSweep = clock.after(SWEEP_US, () => {
      this.#sweep().catch((error: Error) => this.#complain(error));
    });
  }

  #named(call: Call, base: string): { tenant: string; id: string; rest: string | undefined } {
    const { tenant } = this.#parts.access.caller(call);
    const [id, rest, more] = call.path.slice(base.length).split('/');
    if (more !== undefined) throw nothingAt(call);
    return { tenant, id, rest };
  }

  #complain(error: NodeJS.ErrnoException): void {
    this.#parts.complain(`Batches cannot be kept (${error.code ?? error.name}).`);
  }
}

/** As OpenAI bounds it; undefined and null mean none. */
function metadataOf(body: Json): Record<string, string> | null {
  const metadata = optionalObject(body.metadata, 'metadata');
  if (metadata === undefined) return null;
  const pairs = Object.entries(metadata);
  const { pairs: pairsMax, key: keyMax, value: valueMax } = METADATA_MAX;
  for (const [key, value] of pairs) {
    const isFine = key.length <= keyMax && typeof value === 'string' && value.length <= valueMax;
    if (!isFine) throw wrong('metadata', `holds texts of at most ${valueMax} characters`);
  }
  if (pairs.length > pairsMax) throw wrong('metadata', `has at most ${pairsMax} entries`);
  return metadata as Record<string, string>;
}

/** Oldest first. */
function byTime(
  a: { created_at: number; id: string },
  b: { created_at: number; id: string },
): number {
  return a.created_at - b.created_at || (a.id < b.id ? -1 : 1);
}

function missing(what: string, id: string): GatewayError {
  const sentence = `The ${what} ${id.slice(0, 80)} is not kept here (any more).`;
  return new GatewayError('not_found', sentence, { param: `${what}_id` });
}

function nothingAt({ path }: Call): GatewayError {
  return new GatewayError('not_found', `There is nothing at ${path.slice(0, 200)}.`);
}
