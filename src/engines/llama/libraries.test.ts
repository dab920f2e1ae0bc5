import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { test } from 'node:test';
import { type FindPackage, findLibraries } from './libraries.ts';

const { optionalDependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as {
  optionalDependencies: Record<string, string>;
};

/** As if these were installed, in the versions that package.json pins for their platforms. */
function installed(...names: string[]): FindPackage {
  return (name) => {
    const short = name.replace('@node-llama-cpp/', '');
    if (!names.includes(short)) return undefined;
    const plain = short.startsWith('mac-arm64') ? short : short.replace(/-(cuda|vulkan)$/, '');
    return { folder: name, version: optionalDependencies[`@node-llama-cpp/${plain}`] };
  };
}

test('each platform takes the package of the device that was asked for', () => {
  const all = installed(
    ...['linux-x64', 'linux-x64-cuda', 'linux-x64-vulkan', 'linux-arm64', 'mac-arm64-metal'],
    ...['mac-x64', 'win-x64', 'win-x64-cuda', 'win-x64-vulkan'],
  );
  const cases = [
    ['linux-x64', 'cpu', 'linux-x64'],
    ['linux-x64', 'cuda', 'linux-x64-cuda'],
    ['linux-x64', 'vulkan', 'linux-x64-vulkan'],
    ['linux-arm64', 'cpu', 'linux-arm64'],
    ['darwin-arm64', 'cpu', 'mac-arm64-metal'],
    ['darwin-arm64', 'metal', 'mac-arm64-metal'],
    ['darwin-x64', 'cpu', 'mac-x64'],
    ['win32-x64', 'cuda', 'win-x64-cuda'],
    ['win32-x64', 'vulkan', 'win-x64-vulkan'],
  ] as const;
  for (const [platform, device, folder] of cases) {
    const found = findLibraries(device, platform, all);
    assert.ok(found.kind === 'found', `${platform} ${device}`);
    assert.deepEqual([found.device, basename(found.folder)], [device, folder]);
  }
});

test('auto takes a GPU package where one is installed, and the CPU otherwise', () => {
  const of = (platform: string, ...names: string[]) => {
    const found = findLibraries('auto', platform, installed(...names));
    return found.kind === 'found' ? found.device : found.reason;
  };
  assert.equal(of('linux-x64', 'linux-x64'), 'cpu');
  assert.equal(of('linux-x64', 'linux-x64', 'linux-x64-vulkan'), 'vulkan');
  assert.equal(of('linux-x64', 'linux-x64', 'linux-x64-vulkan', 'linux-x64-cuda'), 'cuda');
  assert.equal(of('darwin-arm64', 'mac-arm64-metal'), 'metal');
  assert.equal(of('linux-arm64', 'linux-arm64'), 'cpu');
  assert.match(of('linux-x64'), /linux-x64 is not installed.*or use --engine sim/);
});

test('what is not installed is refused with the command that installs it, in the pinned version', () => {
  const reason = (...given: Parameters<typeof findLibraries>) => {
    const found = findLibraries(...given);
    return found.kind === 'missing' ? found.reason : 'found';
  };
  const pinned = optionalDependencies['@node-llama-cpp/linux-x64'];
  assert.equal(
    reason('cuda', 'linux-x64', installed('linux-x64')),
    `The package @node-llama-cpp/linux-x64-cuda is not installed; run npm install --no-save @node-llama-cpp/linux-x64-cuda@${pinned}, or use --device cpu.`,
  );
  const old: FindPackage = (name) => ({ folder: name, version: '3.0.0' });
  assert.match(reason('vulkan', 'linux-x64', old), /is version 3\.0\.0, but .* made for 3/);
  assert.match(reason('metal', 'linux-x64', old), /for --device metal on linux-x64; choose among/);
  assert.match(
    reason('cpu', 'freebsd-x64', old),
    /not published for freebsd-x64; use --engine sim/,
  );
});
