/** A trace as Dynamo's agentic Mooncake, version 2. */
import { createHash } from 'node:crypto';
import { depthMax, pathOf, RELATIONS, type Trace } from '../trace.ts';
import { AGENTIC_SCHEMA } from './agentic-mooncake.ts';

/**
 * A header, then a row per turn. Dynamo knows ids that are local to a play only: what sessions share is
 * written under the same ids all the same, and `scope: 'global'` keeps it for readers that know the word, as
 * ours does.
 */
export function* writeAgenticMooncake(
  trace: Trace,
  { scope }: { scope: 'local' | 'global' },
): Generator<string> {
  yield JSON.stringify({
    schema: AGENTIC_SCHEMA,
    version: 2,
    block_size: trace.blockTokens,
    hash_id_scope: scope,
    source: { format: trace.about.format, digest: digestOf(trace) },
  });
  const path = new Uint32Array(depthMax(trace));
  const { waits } = trace;
  for (let turn = 0; turn < trace.turnCount; turn++) {
    const thread = trace.turnThread[turn];
    const session = trace.threadSession[thread];
    const length = pathOf(trace.tree, trace.leaf[turn], path);
    const dependencies: object[] = [];
    for (let i = waits.begin[turn]; i < waits.begin[turn + 1]; i++) {
      const relation = RELATIONS[waits.relation[i]];
      dependencies.push({
        request_id: `r${waits.on[i]}`,
        trigger: waits.onDispatch[i] === 1 ? 'dispatch' : 'completion',
        delay_ms: waits.delayMs[i],
        relation: relation === 'barrier' ? 'replay_barrier' : relation,
      });
    }
    yield JSON.stringify({
      request_id: `r${turn}`,
      play_id: trace.sessionIds[session],
      session_id: trace.threadIds[thread],
      model: trace.models[trace.turnModel[turn]],
      input_length: trace.promptTokens[turn],
      output_length: trace.outputTokens[turn],
      hash_ids: Array.from(path.subarray(0, length)),
      not_before_ms: trace.startMs[turn],
      dependencies,
    });
  }
}

/** Of what the trace's prompts are: equal for equal traces. */
function digestOf({ leaf, tree, promptTokens, outputTokens }: Trace): string {
  const hash = createHash('sha256');
  for (const column of [leaf, tree.parent, promptTokens, outputTokens]) {
    hash.update(new Uint8Array(column.buffer, column.byteOffset, column.byteLength));
  }
  return hash.digest('hex');
}
