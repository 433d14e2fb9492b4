"""Instructions as the token ids that a policy was trained on."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

_REMEMBERED = 32


class TokenizerError(Exception):
    """The tokenizer's file cannot be used; the message says which and why."""


class InstructionTokenizer:
    """A tokenizer file of the `tokenizers` library, and the ids of the last instructions.

    Its own normalizer, special tokens and vocabulary are used as they are; padding and truncation are not,
    since the length of the input is fixed by the bundle.
    """

    def __init__(self, path: Path, length: int) -> None:
        """`length` is the number of ids that the model takes; TokenizerError if the file cannot be used."""
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises plain Exception
            raise TokenizerError(f"{path}: not a file of the tokenizers library: {error}") from error
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        self._length = length
        self.encode = lru_cache(maxsize=_REMEMBERED)(self._encode)

    def _encode(self, text: str) -> NDArray[np.int64]:
        """(length,) ids, cut at the end or filled up with 0."""
        ids = self._tokenizer.encode(text).ids[: self._length]
        tokens = np.zeros(self._length, np.int64)
        tokens[: len(ids)] = ids
        tokens.flags.writeable = False
        return tokens
