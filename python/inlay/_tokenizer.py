"""The bundle's tokenizer and chat template, with the method names of transformers."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

from inlay import _library as c
from inlay._errors import InvalidArgumentError
from inlay._request import EngineHandle
from inlay._text import to_json, utf8

Message = Mapping[str, Any]
"""A message in the format of OpenAI's API, such as {"role": "user", "content": "Hi"}."""

# Arguments of transformers' apply_chat_template that are not supported. They must not become template variables.
_NOT_HERE = {"chat_template", "max_length", "padding", "return_assistant_tokens_mask", "return_dict", "return_tensors",
             "tokenizer_kwargs", "truncation"}


class Tokenizer:
    """The result of LLM.get_tokenizer(): converts text to token ids and back, and conversations to prompts."""

    def __init__(self, engine: EngineHandle):
        self._engine = engine

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Token ids of a text."""
        data = utf8(text, "the text")
        ids, count = ctypes.POINTER(ctypes.c_int32)(), ctypes.c_size_t()
        with self._engine as engine:
            c.check(c.lib.inlay_tokenize(engine, data, len(data), add_special_tokens, ctypes.byref(ids),
                                         ctypes.byref(count)))
        try:
            return ids[: count.value]
        finally:
            c.lib.inlay_free(ctypes.cast(ids, ctypes.c_void_p))

    def decode(self, token_ids: int | Sequence[int], skip_special_tokens: bool = False) -> str:
        """The text of token ids."""
        ids = [token_ids] if isinstance(token_ids, int) else token_ids
        return self._engine.decode(ids, skip_special_tokens)

    def apply_chat_template(self, conversation: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None = None, *,
                            add_generation_prompt: bool = False, continue_final_message: bool = False,
                            tokenize: bool = True, **chat_template_kwargs: Any) -> str | list[int]:
        """Renders a conversation with the bundle's chat template. Returns token ids, or text if `tokenize` is False.
        The template writes the special tokens, so none are added."""
        for name in _NOT_HERE & chat_template_kwargs.keys():
            if chat_template_kwargs.pop(name):
                raise InvalidArgumentError(f"apply_chat_template does not support {name}: it renders one conversation "
                                           "with the bundle's template, to text or a list of token ids; remove it")
        text = self.render(conversation, tools, add_generation_prompt, continue_final_message, chat_template_kwargs)
        return self.encode(text, add_special_tokens=False) if tokenize else text

    def render(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] | None,
               add_generation_prompt: bool, continue_final_message: bool,
               chat_template_kwargs: Mapping[str, Any] | None) -> str:
        """Renders a conversation to the same text as serve-model does for the same fields."""
        if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Sequence):
            raise InvalidArgumentError(f"messages is of type {type(messages).__name__}, expected a list of messages, "
                                       "such as [{'role': 'user', 'content': 'Hi'}]")
        conversation: dict[str, Any] = {"messages": messages, "add_generation_prompt": bool(add_generation_prompt),
                                        "continue_final_message": bool(continue_final_message)}
        if tools is not None:
            conversation["tools"] = tools
        if chat_template_kwargs is not None:
            conversation["chat_template_kwargs"] = chat_template_kwargs
        data = b"{%s}" % b", ".join(to_json(name, name) + b": " + to_json(value, name)
                                    for name, value in conversation.items())
        text, size = ctypes.c_void_p(), ctypes.c_size_t()
        with self._engine as engine:
            c.check(c.lib.inlay_render_chat(engine, data, len(data), ctypes.byref(text), ctypes.byref(size)))
        return c.take_text(text, size)
