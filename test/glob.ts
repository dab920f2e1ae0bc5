import { readdirSync } from 'node:fs';

/** Files under the folders whose names end so, sorted; what is installed there is not ours. */
export function globSync(folders: readonly string[], end: string): string[] {
  return folders
    .flatMap((folder) =>
      readdirSync(folder, { recursive: true, withFileTypes: true })
        .filter(
          (entry) =>
            entry.isFile() &&
            entry.name.endsWith(end) &&
            !entry.parentPath.includes('node_modules'),
        )
        .map((entry) => `${entry.parentPath}/${entry.name}`),
    )
    .map((file) => file.replaceAll('\\', '/'))
    .sort();
}
