/** What tokens are by their text alone, as llama.cpp knows it (llama-vocab.cpp, release v0.5.0). */
import type { TokenKind } from '../model/vocabulary.ts';

/** Whether a token ends an answer by its text alone. */
export function endsAnswer(text: string): boolean {
  return ENDS.has(text);
}

/** Whether llama.cpp may or may not take the token for a control token. */
export function isUnsure(text: string, kind: TokenKind): boolean {
  return kind === 'normal' && FILL_IN_MIDDLE.has(text);
}

const ENDS: ReadonlySet<string> = new Set([
  ...['<|eot_id|>', '<|im_end|>', '<|end|>', '<|return|>', '<|call|>', '<|flush|>', '<|calls|>'],
  ...['<end_of_turn>', '<|endoftext|>', '</s>', '<|eom_id|>', '<EOT>', '_<EOT>', '[EOT]', '[EOS]'],
  ...['<|end_of_text|>', '<end_of_utterance>', '<eos>', '<turn|>', '<|tool_response>'],
  ...['<｜end▁of▁sentence｜>', '[e~['],
]);

/** Made control tokens as well, but only some of them, and only if the file names no others. */
const FILL_IN_MIDDLE: ReadonlySet<string> = new Set([
  ...['<|fim_prefix|>', '<fim-prefix>', '<fim_prefix>', '<｜fim▁begin｜>', '<PRE>', '▁<PRE>'],
  ...['<|code_prefix|>', '<|prefix|>', '<|fim_suffix|>', '<fim-suffix>', '<fim_suffix>'],
  ...['<｜fim▁hole｜>', '<SUF>', '▁<SUF>', '<|code_suffix|>', '<|suffix|>', '<|fim_middle|>'],
  ...['<fim-middle>', '<fim_middle>', '<｜fim▁end｜>', '<MID>', '▁<MID>', '<|code_middle|>'],
  ...['<|middle|>', '<|fim_pad|>', '<fim-pad>', '<fim_pad>', '<PAD>', '[PAD]', '<|fim_repo|>'],
  ...['<|repo_name|>', '<fim-repo>', '<REPO>', '<reponame>', '<|file_sep|>'],
]);
