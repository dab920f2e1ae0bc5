/** Flags of `up` and `compare` → what a stack is made of. */

import { POLICY_NAMES } from '../kernel/route/policies.ts';
import { Config } from '../model/config.ts';
import type { Device } from '../model/device.ts';
import { Complaint } from './complaint.ts';
import { chooseModel } from './model-choice.ts';
import { readConfig } from './read-config.ts';
import type { StackOptions } from './stack.ts';

export interface StackFlags {
  workers: number;
  prefillWorkers?: number;
  engine: 'llama' | 'sim';
  model?: string;
  memory?: number;
  slots?: number;
  context?: number;
  kvTokens?: number;
  disk?: number;
  diskFolder?: string;
  threads?: number;
  device?: Device;
  exact?: boolean;
  script?: string;
  port?: number;
  host?: string;
  policy?: string;
  allowForcedOutput?: boolean;
  config?: string;
}

/** Of one that is only measured: what it remembers of sessions is nobody's. */
export function measuredStack(flags: StackFlags): StackOptions {
  const options = stackOptions(flags);
  options.config.store.sessions.mode = 'memory';
  return options;
}

export function stackOptions(flags: StackFlags): StackOptions {
  const config = flags.config === undefined ? Config.parse({}) : readConfig(flags.config);
  if (flags.port !== undefined) config.listen.port = flags.port;
  if (flags.host !== undefined) config.listen.host = flags.host;
  if (flags.policy !== undefined) config.policy = flags.policy;
  if (!POLICY_NAMES.includes(config.policy)) {
    throw new Complaint(
      `There is no policy '${config.policy}'; choose one of ${POLICY_NAMES.join(', ')}.`,
      2,
    );
  }
  const unknown = config.shadows.find((name) => !POLICY_NAMES.includes(name));
  if (unknown !== undefined) {
    const known = POLICY_NAMES.join(', ');
    throw new Complaint(`There is no policy '${unknown}' to shadow; choose among ${known}.`, 2);
  }
  const { workers, prefillWorkers = 0 } = flags;
  if (prefillWorkers >= workers) {
    const sentence = `Of ${workers} workers at most ${workers - 1} can compute prompts only: somebody must answer.`;
    throw new Complaint(`${sentence} Start more with --workers.`, 2);
  }
  return {
    config,
    workers,
    prefillWorkers,
    engine: flags.engine,
    memoryBytes: flags.memory,
    slots: flags.slots,
    contextTokens: flags.context,
    kvTokens: flags.kvTokens,
    diskBytes: flags.disk,
    diskFolder: flags.diskFolder,
    exact: flags.exact ?? false,
    allowForcedOutput: flags.allowForcedOutput ?? false,
    script: flags.script,
    threads: flags.threads,
    device: flags.device,
    chooseModel: () => chooseModel(flags.model),
    log: (line) => process.stderr.write(`${line}\n`),
  };
}
