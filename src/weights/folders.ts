import { isAbsolute, join } from 'node:path';

/** What decides where files go; `process.env`, `process.platform` and `os.homedir()` in life. */
export interface Machine {
  env: Readonly<Record<string, string | undefined>>;
  platform: NodeJS.Platform;
  home: string;
}

/**
 * Where Stator keeps what it can make or fetch again: STATOR_CACHE as it is, else `stator` in the
 * platform's cache folder (XDG Base Directory Specification on Linux, which ignores relative paths).
 */
export function cacheFolder({ env, platform, home }: Machine): string {
  if (env.STATOR_CACHE) return env.STATOR_CACHE;
  return join(platformCache({ env, platform, home }), 'stator');
}

/**
 * Where Stator keeps what cannot be made again: STATOR_STATE as it is, else `stator` in the platform's
 * state folder, from the same sources.
 */
export function stateFolder({ env, platform, home }: Machine): string {
  if (env.STATOR_STATE) return env.STATOR_STATE;
  return join(platformState({ env, platform, home }), 'stator');
}

function platformState({ env, platform, home }: Machine): string {
  switch (platform) {
    case 'win32':
      return env.LOCALAPPDATA || join(home, 'AppData', 'Local');
    case 'darwin':
      return join(home, 'Library', 'Application Support');
    default:
      return env.XDG_STATE_HOME && isAbsolute(env.XDG_STATE_HOME)
        ? env.XDG_STATE_HOME
        : join(home, '.local', 'state');
  }
}

function platformCache({ env, platform, home }: Machine): string {
  switch (platform) {
    case 'win32':
      return env.LOCALAPPDATA || join(home, 'AppData', 'Local');
    case 'darwin':
      return join(home, 'Library', 'Caches');
    default:
      return env.XDG_CACHE_HOME && isAbsolute(env.XDG_CACHE_HOME)
        ? env.XDG_CACHE_HOME
        : join(home, '.cache');
  }
}
