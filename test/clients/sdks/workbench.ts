/** Tools of an agent that is built with an SDK: they work in one folder, in this process. */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import type { Toolbox } from '../agents/coding-agent.ts';

/** A tool as every SDK can be told of it. */
export interface WorkTool {
  name: string;
  description: string;
  /** JSON schema. */
  parameters: {
    type: 'object';
    properties: Record<string, { type: 'string' }>;
    required: string[];
    additionalProperties: false;
  };
  execute(given: Record<string, string>): string;
}

const COMMAND_MS_MAX = 10_000;

export const WORKBENCH: readonly WorkTool[] = [
  workTool('run', 'Runs a command of the shell.', ['command'], ({ command }) => {
    const { stdout, stderr, status } = spawnSync('bash', ['-c', command], {
      encoding: 'utf8',
      timeout: COMMAND_MS_MAX,
    });
    return `${stdout}${stderr}exit status ${status}`;
  }),
  workTool('read', 'Reads a file.', ['path'], ({ path }) => readFileSync(path, 'utf8')),
  workTool('write', 'Writes a file anew.', ['path', 'text'], ({ path, text }) => {
    writeFileSync(path, text);
    return 'written';
  }),
  workTool('edit', 'Replaces a text in a file.', ['path', 'before', 'after'], (given) => {
    const { path, before, after } = given;
    writeFileSync(path, readFileSync(path, 'utf8').replace(before, after));
    return 'edited';
  }),
];

/** The same tools, as scripts call them. */
export const WORK_CALLS: Omit<Toolbox, 'delegate'> = {
  run: (command) => ({ name: 'run', arguments: { command } }),
  read: (path) => ({ name: 'read', arguments: { path } }),
  write: (path, text) => ({ name: 'write', arguments: { path, text } }),
  edit: (path, before, after) => ({ name: 'edit', arguments: { path, before, after } }),
};

/** Calls a tool by its name, as a model asked for it. */
export function execute(name: string, given: Record<string, string>): string {
  const found = WORKBENCH.find((one) => one.name === name);
  return found?.execute(given) ?? `There is no tool ${name}.`;
}

function workTool(
  name: string,
  description: string,
  fields: string[],
  execute: WorkTool['execute'],
): WorkTool {
  return {
    name,
    description,
    parameters: {
      type: 'object',
      properties: Object.fromEntries(fields.map((field) => [field, { type: 'string' }])),
      required: fields,
      additionalProperties: false,
    },
    execute,
  };
}
