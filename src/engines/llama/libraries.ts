/**
 * Where llama.cpp's shared libraries lie: the package of `@node-llama-cpp` that was made for this
 * platform and the wanted device. Those for a GPU are large, so only who asks for them installs them.
 */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Device } from '../../model/device.ts';

/** What computes. */
export type Accelerator = Exclude<Device, 'auto'>;

export type Libraries =
  | { kind: 'found'; device: Accelerator; folder: string }
  /** One sentence that says what to install or to choose. */
  | { kind: 'missing'; reason: string };

/** Folder and version of an installed package; undefined where it is not installed. */
export type FindPackage = (name: string) => { folder: string; version: string } | undefined;

interface Platform {
  /** The exact version of its packages, as in package.json: struct layouts change between them. */
  version: string;
  /** Package of each device, in the order in which `auto` takes them. */
  packages: Partial<Record<Accelerator, string>>;
}

const PLATFORMS: Record<string, Platform> = {
  'linux-x64': {
    version: '3.22.1',
    packages: { cuda: 'linux-x64-cuda', vulkan: 'linux-x64-vulkan', cpu: 'linux-x64' },
  },
  'linux-arm64': { version: '3.22.1', packages: { cpu: 'linux-arm64' } },
  'darwin-arm64': {
    version: '3.21.1',
    packages: { metal: 'mac-arm64-metal', cpu: 'mac-arm64-metal' },
  },
  'darwin-x64': { version: '3.21.1', packages: { cpu: 'mac-x64' } },
  'win32-x64': {
    version: '3.21.1',
    packages: { cuda: 'win-x64-cuda', vulkan: 'win-x64-vulkan', cpu: 'win-x64' },
  },
};

/** `auto`: the first device whose package is installed, GPUs before the CPU. */
export function findLibraries(
  device: Device,
  platform: string = `${process.platform}-${process.arch}`,
  find: FindPackage = findPackage,
): Libraries {
  const known = PLATFORMS[platform];
  if (known === undefined) {
    const reason = `llama.cpp's libraries are not published for ${platform}; use --engine sim.`;
    return { kind: 'missing', reason };
  }
  const devices = Object.keys(known.packages) as Accelerator[];
  if (device !== 'auto') return librariesFor(device, platform, find);
  let last: Libraries | undefined;
  for (const one of devices) {
    last = librariesFor(one, platform, find);
    if (last.kind === 'found') return last;
  }
  return last ?? librariesFor('cpu', platform, find);
}

function librariesFor(device: Accelerator, platform: string, find: FindPackage): Libraries {
  const { version, packages } = PLATFORMS[platform];
  const name = packages[device];
  if (name === undefined) {
    const others = Object.keys(packages).sort().join(', ');
    const reason = `There are no libraries of llama.cpp for --device ${device} on ${platform}; choose among ${others}.`;
    return { kind: 'missing', reason };
  }
  const found = find(`@node-llama-cpp/${name}`);
  const mend = `npm install --no-save @node-llama-cpp/${name}@${version}`;
  const instead = device === 'cpu' ? '--engine sim' : '--device cpu';
  if (found === undefined) {
    const reason = `The package @node-llama-cpp/${name} is not installed; run ${mend}, or use ${instead}.`;
    return { kind: 'missing', reason };
  }
  if (found.version !== version) {
    const reason = `The package @node-llama-cpp/${name} is version ${found.version}, but Stator was made for ${version}; run ${mend}, or use ${instead}.`;
    return { kind: 'missing', reason };
  }
  return { kind: 'found', device, folder: join(found.folder, 'bins', name) };
}

/** The package exports nothing but a function for its own loader: its folder is found as Node would. */
function findPackage(name: string): ReturnType<FindPackage> {
  for (const modules of createRequire(import.meta.url).resolve.paths(name) ?? []) {
    const folder = join(modules, name);
    const about = join(folder, 'package.json');
    if (!existsSync(about)) continue;
    const { version } = JSON.parse(readFileSync(about, 'utf8')) as { version: string };
    return { folder, version };
  }
  return undefined;
}
