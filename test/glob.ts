import { readdirSync } from 'node:fs';

/** Files under the folders whose names end so, sorted. */
export function globSync(folders: readonly string[], end: string): string[] {
  return folders
    .flatMap((folder) =>
      readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile() && entry.name.endsWith(end))
        .map((entry) => `${entry.parentPath}/${entry.name}`),
    )
    .map((file) => file.replaceAll('\\', '/'))
    .sort();
}
