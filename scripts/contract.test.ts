import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { CONTRACT_FOLDER, contractFiles } from './contract.ts';

test('the schemas in docs/contract say what the code says', () => {
  for (const [name, content] of contractFiles()) {
    const written = readFileSync(`${CONTRACT_FOLDER}/${name}`, 'utf8');
    assert.equal(
      written,
      content,
      `${name} is stale: node --import tsx scripts/contract.ts writes it`,
    );
  }
});
