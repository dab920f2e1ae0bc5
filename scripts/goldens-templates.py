"""Renders the golden files of the chat template engine with the reference implementation.

  python -m venv venv && venv/bin/pip install jinja2==3.1.6 transformers==5.23.0 numpy
  venv/bin/python scripts/goldens-templates.py

Reads and writes test/golden/templates/ (see its README.md). The environment is the one that
transformers' `apply_chat_template` builds; only its clock is fixed. The mapping from Stator's chats
to messages is written here a second time, so that the goldens check that as well.
"""

import datetime
import json
import pathlib
import re

from transformers.utils import chat_template_utils

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "test" / "golden" / "templates"
CHATS = ["demo", "qwen3", "smollm2"]
NAMES = {"bos_token": "<bos>", "eos_token": "<eos>"}


class FixedClock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 3, 4, 15, 6, 7)


def main():
    chat_template_utils.datetime = FixedClock
    take_demo_template()
    cases = json.loads((FOLDER / "inputs.json").read_text("utf-8"))
    chats = json.loads((FOLDER / "conversations.json").read_text("utf-8"))
    for path in sorted(FOLDER.rglob("*.jinja")):
        render = renderer(path.read_bytes().decode("utf-8"))
        write(path.with_suffix(".golden"), render, raw_inputs(cases))
        if path.stem in CHATS:
            write(path.with_suffix(".chats.golden"), render, chat_inputs(chats))
    snippets = json.loads((FOLDER / "snippets.json").read_text("utf-8"))
    named = [
        (f"{group} {i}", source)
        for group, sources in snippets["snippets"].items()
        for i, source in enumerate(sources)
    ]
    golden = FOLDER / "snippets.golden"
    write(golden, lambda source: renderer(source)(snippets["input"]), named)


def renderer(source):
    template = chat_template_utils._compile_jinja_template(source)
    return lambda inputs: template.render(**inputs)


def raw_inputs(file):
    """What `inputs.json` holds, as it stands: templates see messages that our chats never hold."""
    for case in file["cases"]:
        given = {key: value for key, value in case.items() if key != "name"}
        tools = [file["tools"][it] for it in given.pop("tools", [])]
        result = {"tools": tools or None, "documents": None, "add_generation_prompt": True}
        yield case["name"], {**result, **NAMES, **given}


def chat_inputs(file):
    for chat in file["conversations"]:
        yield chat["name"], inputs(chat, file["tools"])


def take_demo_template():
    """The demo model's template lives in TypeScript; its copy here is made anew each time."""
    source = (ROOT / "src" / "weights" / "demo-template.ts").read_text("utf-8")
    literal = re.search(r"DEMO_TEMPLATE = `(.*?)`;", source, re.S).group(1)
    assert "${" not in literal
    text = re.sub(r"\\(.)", lambda match: {"n": "\n"}.get(match[1], match[1]), literal)
    (FOLDER / "demo.jinja").write_bytes(text.encode("utf-8"))


def inputs(chat, tools):
    functions = [{"type": "function", "function": ordered(tools[it])} for it in chat["tools"]]
    result = {
        "messages": [message(it) for it in chat["messages"]],
        "tools": functions or None,
        "documents": None,
        "add_generation_prompt": True,
        **NAMES,
    }
    if chat["thinking"] is not None:
        result["enable_thinking"] = chat["thinking"]
    return result


def ordered(tool):
    return {key: tool[key] for key in ("name", "description", "parameters") if key in tool}


def message(it):
    result = {"role": it["role"], "content": "\n".join(part["text"] for part in it["content"])}
    if it["role"] == "tool":
        result["tool_call_id"] = it["toolCallId"]
    if it["role"] == "assistant":
        if it["reasoning"] is not None:
            result["reasoning_content"] = it["reasoning"]
        if it["toolCalls"]:
            result["tool_calls"] = [
                {
                    "id": call["id"],
                    "type": "function",
                    "function": {
                        "name": call["name"],
                        "arguments": arguments(call["argumentsJson"]),
                    },
                }
                for call in it["toolCalls"]
            ]
    return result


def arguments(text):
    if text.strip() == "":
        return {}
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, dict) else text


def write(path, render, cases):
    """A block per case: its name behind `=== `, then each line behind `|`, or why it raises."""
    blocks = []
    for name, given in cases:
        try:
            lines = ["|" + visible(line) for line in render(given).split("\n")]
        except Exception as error:
            lines = ["!" + visible(line) for line in f"{type(error).__name__}: {error}".split("\n")]
        blocks.append("\n".join([f"=== {name}", *lines]))
    path.write_bytes(("\n".join(blocks) + "\n").encode("utf-8"))
    print(f"{path.relative_to(ROOT)}: {len(blocks)} cases")


def visible(line):
    """What an editor or git may change or hide, as an escape."""
    return re.sub(
        r"[\x00-\x08\x0b-\x1f\x7f-\xa0\\\u0300-\u036f\u2000-\u200f\u2028-\u202f\u3000\ufeff]",
        lambda match: "\\u%04x" % ord(match[0]),
        line,
    )


main()
