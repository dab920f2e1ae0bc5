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
