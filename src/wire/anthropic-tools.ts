/**
 * Tools of the Messages API as functions, which is all that models behind us can call:
 *
 *   with a schema            itself
 *   bash, text editor,       functions of the parameters that clients of these tools are written for:
 *   memory, computer         the client runs what is called
 *   web search, code         left out: only their vendor can run them
 *   execution, …
 *   defer_loading            not in the list; where a result refers to it, it is shown there, so that the
 *                            prompt before it stays as it was
 */
import type { Content, Tool, ToolChoice } from '../model/request.ts';
import { clientTool } from './anthropic-client-tools.ts';
import {
  type Json,
  object,
  optionalBoolean,
  optionalList,
  optionalObject,
  optionalString,
  string,
  wrong,
} from './fields.ts';
import { toolField } from './shape.ts';

/** Tools of one request. */
export class AnthropicTools {
  readonly #listed: Tool[] = [];
  readonly #deferred = new Map<string, Tool>();
  /** Deferred ones that a result referred to. */
  readonly #found = new Set<string>();
  /** Names of those that only their vendor can run. */
  readonly #left = new Set<string>();

  /** Throws a `GatewayError` that names the field. */
  constructor(input: unknown) {
    const given = optionalList(input, 'tools').map((value, i) => object(value, `tools[${i}]`));
    // Where their vendor was to search among them, nobody would ever find them.
    const isSearched = !given.some(({ type }) => /^tool_search_tool/.test(String(type)));
    given.forEach((tool, i) => {
      this.#add(tool, `tools[${i}]`, isSearched);
    });
  }

  /** Those a model is told of, and behind them those that it was told of later. */
  tools(): Tool[] {
    const found = [...this.#found].flatMap((name): Tool[] => {
      const tool = this.#deferred.get(name);
      return tool === undefined ? [] : [{ ...tool, deferred: true }];
    });
    return [...this.#listed, ...found];
  }

  /** What a result that refers to a tool tells the model. */
  reference(name: string): Content[] {
    const tool = this.#deferred.get(name);
    if (tool === undefined) return [];
    this.#found.add(name);
    return [{ kind: 'text', text: JSON.stringify(toolField(tool)) }];
  }

  choice(input: unknown): ToolChoice {
    const choice = optionalObject(input, 'tool_choice');
    switch (choice?.type) {
      case undefined:
      case 'auto':
        return { kind: 'auto' };
      case 'none':
        return { kind: 'none' };
      case 'any':
        return { kind: 'required' };
      case 'tool': {
        const name = string(choice.name, 'tool_choice.name');
        if (!this.#left.has(name)) return { kind: 'named', name };
        const quoted = JSON.stringify(name.slice(0, 64));
        throw wrong('tool_choice.name', `is ${quoted}, which only its vendor can run`);
      }
      default:
        throw wrong('tool_choice.type', 'must be auto, any, tool or none');
    }
  }

  #add(input: Json, where: string, isSearched: boolean): void {
    const type = optionalString(input.type, `${where}.type`) ?? 'custom';
    const tool = type === 'custom' ? custom(input, where) : clientTool(type, input, where);
    if (tool === undefined) {
      this.#left.add(optionalString(input.name, `${where}.name`) ?? type);
      return;
    }
    const isDeferred = optionalBoolean(input.defer_loading, `${where}.defer_loading`) ?? false;
    if (isDeferred && isSearched) this.#deferred.set(tool.name, tool);
    else this.#listed.push(tool);
  }
}

function custom(input: Json, where: string): Tool {
  return {
    name: string(input.name, `${where}.name`),
    description: optionalString(input.description, `${where}.description`),
    parameters: optionalObject(input.input_schema, `${where}.input_schema`),
  };
}
