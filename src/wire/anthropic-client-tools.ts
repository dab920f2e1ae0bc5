/**
 * Tools whose parameters their vendor's own models know by heart, while clients run them: other models
 * are told. Names and parameters as the vendor documents them (platform.claude.com, tool reference).
 */
import type { Tool } from '../model/request.ts';
import { type Json, optionalString } from './fields.ts';

/** Undefined where nobody but the vendor can run it. `type`: with its date, `bash_20250124`. */
export function clientTool(type: string, input: Json, where: string): Tool | undefined {
  const known = CLIENT_TOOLS.find(({ types }) => types.test(type));
  if (known === undefined) return undefined;
  const { name, description, parameters } = known;
  return { name: optionalString(input.name, `${where}.name`) ?? name, description, parameters };
}

const text = (description: string) => ({ type: 'string', description });
const whole = (description: string) => ({ type: 'integer', description });
const pair = (description: string) => ({
  type: 'array',
  items: { type: 'integer' },
  minItems: 2,
  maxItems: 2,
  description,
});

function parameters(properties: Json, required: readonly string[]): Json {
  return { type: 'object', properties, required };
}

const EDITS = {
  path: text('Absolute path of the file or folder.'),
  file_text: text('For create: what the file is to hold.'),
  old_str: text('For str_replace: what is replaced; it must stand in the file exactly once.'),
  new_str: text('For str_replace: what takes its place.'),
  insert_line: whole('For insert: the line behind which the text goes; 0 is the beginning.'),
  insert_text: text('For insert: the text.'),
  view_range: pair('For view: first and last line, from 1 on; -1 is the end.'),
};

const EDITOR = {
  description: 'Views, creates and edits text files.',
  parameters: parameters(
    { command: { type: 'string', enum: ['view', 'create', 'str_replace', 'insert'] }, ...EDITS },
    ['command', 'path'],
  ),
};

const MEMORY_COMMANDS = ['view', 'create', 'str_replace', 'insert', 'delete', 'rename'];

const ACTIONS = [
  ...['screenshot', 'left_click', 'right_click', 'middle_click', 'double_click', 'triple_click'],
  ...['left_click_drag', 'left_mouse_down', 'left_mouse_up', 'mouse_move', 'cursor_position'],
  ...['type', 'key', 'hold_key', 'scroll', 'wait', 'zoom'],
];

const CLIENT_TOOLS: readonly {
  types: RegExp;
  name: string;
  description: string;
  parameters: Json;
}[] = [
  {
    types: /^bash_\d+$/,
    name: 'bash',
    description: 'Runs a command in a shell that stays open from call to call.',
    parameters: parameters(
      {
        command: text('The command; not needed with restart.'),
        restart: { type: 'boolean', description: 'Starts the shell anew.' },
      },
      [],
    ),
  },
  { types: /^text_editor_(2024\d+|20250124)$/, name: 'str_replace_editor', ...EDITOR },
  { types: /^text_editor_\d+$/, name: 'str_replace_based_edit_tool', ...EDITOR },
  {
    types: /^memory_\d+$/,
    name: 'memory',
    description: 'Keeps notes in files below /memories, for later conversations.',
    parameters: parameters(
      {
        command: { type: 'string', enum: MEMORY_COMMANDS },
        ...EDITS,
        old_path: text('For rename: the path as it is.'),
        new_path: text('For rename: the path as it is to be.'),
      },
      ['command'],
    ),
  },
  {
    types: /^computer_\d+$/,
    name: 'computer',
    description: 'Uses a computer’s screen, mouse and keyboard.',
    parameters: parameters(
      {
        action: { type: 'string', enum: ACTIONS },
        coordinate: pair('Pixels from the left and from the top.'),
        start_coordinate: pair('For left_click_drag: where it begins.'),
        text: text('What is typed, or which keys are pressed, as in ctrl+s.'),
        scroll_direction: { type: 'string', enum: ['up', 'down', 'left', 'right'] },
        scroll_amount: whole('In clicks of the wheel.'),
        duration: { type: 'number', description: 'For hold_key and wait, in seconds.' },
        region: { type: 'array', items: { type: 'integer' }, minItems: 4, maxItems: 4 },
      },
      ['action'],
    ),
  },
];
