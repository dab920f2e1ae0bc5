/** What a Hugging Face tokenizer_config.json says beside the tokenizer. */
import { type Fields, fields, flag, text } from './json-fields.ts';

export interface TokenizerNames {
  /** Texts of the tokens that templates call `bos_token` and `eos_token`. */
  begin: string | undefined;
  end: string | undefined;
  /** Undefined where the file does not say. */
  addsBegin: boolean | undefined;
  template: string | undefined;
}

/** Throws `UnsupportedTokenizer`. `config`: the parsed file, undefined where there is none. */
export function namesOf(config: unknown): TokenizerNames {
  const stated = config === undefined ? {} : fields(config, 'its tokenizer_config.json');
  const { add_bos_token: adds } = stated;
  return {
    begin: tokenText(stated, 'bos_token'),
    end: tokenText(stated, 'eos_token'),
    addsBegin: adds === undefined ? undefined : flag(adds, 'add_bos_token', false),
    template: templateOf(stated.chat_template),
  };
}

/** Written as text, or as an object that has it as `content`. */
function tokenText(config: Fields, name: string): string | undefined {
  const stated = config[name];
  if (stated === undefined || stated === null) return undefined;
  return typeof stated === 'string' ? stated : text(fields(stated, name).content, name);
}

/** One template, or several with names, of which `default` is for conversations. */
function templateOf(stated: unknown): string | undefined {
  if (!Array.isArray(stated)) return typeof stated === 'string' ? stated : undefined;
  const named = stated.map((it) => fields(it, 'one of its chat templates'));
  const chosen = named.find(({ name }) => name === 'default');
  return chosen === undefined ? undefined : text(chosen.template, 'its chat template');
}
