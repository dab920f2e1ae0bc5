/** Writes docs/contract/*.schema.json from the types in src/model. A test says when they are stale. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { Config } from '../src/model/config.ts';
import { ERROR_SCHEMA } from '../src/model/error.ts';
import { Receipt } from '../src/model/receipt.ts';
import { Script } from '../src/model/script.ts';
import { WorkerCard } from '../src/model/worker-card.ts';

export const CONTRACT_FOLDER = 'docs/contract';

/** File name → content. */
export function contractFiles(): Map<string, string> {
  const schemas: Record<string, unknown> = {
    config: z.toJSONSchema(Config, { io: 'input' }),
    error: ERROR_SCHEMA,
    receipt: z.toJSONSchema(Receipt),
    script: z.toJSONSchema(Script, { io: 'input' }),
    'worker-card': z.toJSONSchema(WorkerCard),
  };
  return new Map(
    Object.entries(schemas).map(([name, schema]) => [
      `${name}.schema.json`,
      `${JSON.stringify(schema, null, 2)}\n`,
    ]),
  );
}

if (process.argv[1]?.endsWith('contract.ts')) {
  mkdirSync(CONTRACT_FOLDER, { recursive: true });
  for (const [name, content] of contractFiles())
    writeFileSync(`${CONTRACT_FOLDER}/${name}`, content);
}
