import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Complaint } from './complaint.ts';
import { readConfig } from './read-config.ts';

const FOLDER = mkdtempSync(join(tmpdir(), 'stator-config-'));
after(() => rmSync(FOLDER, { recursive: true }));

test('a configuration that cannot be had is one sentence with its mend, in no system’s words', () => {
  const file = write('stator.yaml', 'policy: sticky');
  const folder = join(FOLDER, 'folder.yaml');
  mkdirSync(folder);
  for (const [path, says] of [
    [join(FOLDER, 'nowhere.yaml'), 'does not exist; check the path.'],
    [join(file, 'below-a-file.yaml'), 'does not exist; check the path.'],
    [folder, 'is a folder; name a file in it.'],
  ]) {
    assert.throws(
      () => readConfig(path),
      (error) => {
        assert.ok(error instanceof Complaint);
        assert.deepEqual([error.message, error.exitCode], [`The configuration ${path} ${says}`, 2]);
        return true;
      },
    );
  }
});

test('one that is there is read; what is no single document of YAML is told with its mend', () => {
  assert.equal(readConfig(write('whole.yaml', 'policy: sticky')).policy, 'sticky');
  assert.deepEqual(readConfig(write('nothing.yaml', '---\n')), readConfig(write('all.yaml', '{}')));
  for (const [text, says] of [
    ['', /wrong\.yaml is empty; write \{\} for all defaults\.$/],
    ['# policy: sticky\n', /wrong\.yaml is empty; /],
    ['seed: 1\n---\nseed: 2\n', /wrong\.yaml holds several documents; join them\.$/],
    ['listen:\n  port: [1', /wrong\.yaml cannot be read: [^\n]+\.$/],
  ] as const) {
    const path = write('wrong.yaml', text);
    assert.throws(() => readConfig(path), says);
  }
});

function write(name: string, text: string): string {
  const path = join(FOLDER, name);
  writeFileSync(path, text);
  return path;
}
