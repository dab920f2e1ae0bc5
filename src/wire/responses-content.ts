/** Parts of messages and of tool results, as the Responses API has them. */
import type { Content } from '../model/request.ts';
import { type Json, list, object, optionalString, string, wrong } from './fields.ts';
import { fileContent } from './file-content.ts';

/** A string is one text. Throws a `GatewayError` that names the field. */
export function readResponsesContent(input: unknown, where: string): Content[] {
  if (typeof input === 'string') return [{ kind: 'text', text: input }];
  return list(input, where).map((value, i): Content => {
    const at = `${where}[${i}]`;
    const part = object(value, at);
    switch (part.type) {
      case 'input_text':
      case 'output_text':
      case 'text':
      case 'summary_text':
      case 'reasoning_text':
        return { kind: 'text', text: string(part.text, `${at}.text`) };
      case 'refusal':
        return { kind: 'text', text: string(part.refusal, `${at}.refusal`) };
      case 'input_image':
        refuseKept(part, at);
        return { kind: 'image', url: string(part.image_url, `${at}.image_url`) };
      case 'input_file':
        return readFile(part, at);
      default:
        throw wrong(
          `${at}.type`,
          'must be input_text, output_text, refusal, input_image or input_file',
        );
    }
  });
}

function readFile(part: Json, where: string): Content {
  refuseKept(part, where);
  const name = optionalString(part.filename, `${where}.filename`);
  const from = optionalString(part.file_url, `${where}.file_url`);
  if (from !== undefined) throw wrong(`${where}.file_url`, 'is never fetched; send file_data');
  return fileContent(string(part.file_data, `${where}.file_data`), name);
}

function refuseKept(part: Json, where: string): void {
  if (part.file_id === undefined || part.file_id === null) return;
  throw wrong(`${where}.file_id`, 'names a file that is not kept here; send its data');
}
