/** Why a file that somebody named cannot be read, and what mends that. */

/** Goes on from the file's name, without a full stop; `error` is what reading it threw. */
export function whyUnreadable(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return WHY[code ?? ''] ?? `cannot be read (${code ?? message})`;
}

const WHY: Record<string, string> = {
  ENOENT: 'does not exist; check the path',
  ENOTDIR: 'does not exist; check the path',
  EISDIR: 'is a folder; name a file in it',
  EACCES: 'may not be read by this user; check its permissions',
  EPERM: 'may not be read by this user; check its permissions',
};
