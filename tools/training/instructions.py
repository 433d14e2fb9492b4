"""How people ask for a target: wordings, and the word tokenizer of the demo policy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from tools.sim.world import COLOURS, KINDS

LENGTH = 12  # tokens of an instruction, padded with 0
UNKNOWN = 1
NAMES = tuple(f"{colour} {kind}" for kind in KINDS for colour in COLOURS)

_WORDINGS = (
    "go to the {colour} {kind}",
    "find the {colour} {kind}",
    "drive to the {colour} {kind}",
    "approach the {colour} {kind}",
    "move to the {colour} {kind}",
    "navigate to the {colour} {kind}",
    "head for the {colour} {kind}",
    "look for the {colour} {kind}",
    "please go to the {colour} {kind}",
    "now drive up to the {colour} {kind}",
    "stop in front of the {colour} {kind}",
    "go to the {kind} that is {colour}",
    "find a {colour} {kind} and go there",
    "{colour} {kind}",
)
_SYNONYMS = {"ball": ("ball", "sphere"), "cylinder": ("cylinder", "pillar"), "box": ("box", "cube")}


def wordings(name: str) -> list[str]:
    """Every instruction this project knows for the target of this name."""
    colour, kind = name.split()
    return [text.format(colour=colour, kind=word) for word in _SYNONYMS[kind] for text in _WORDINGS]


def make_tokenizer() -> Tokenizer:
    """Lower-cased words; 0 is padding, 1 any unknown word."""
    words = sorted({word for name in NAMES for text in wordings(name) for word in text.split()})
    vocabulary = {"[PAD]": 0, "[UNK]": UNKNOWN} | {word: index for index, word in enumerate(words, 2)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


def token_table(tokenizer: Tokenizer) -> NDArray[np.int64]:
    """Tokens (names, wordings, LENGTH) of every wording of every name in NAMES."""
    rows = [[tokens(tokenizer, text) for text in wordings(name)] for name in NAMES]
    return np.array(rows)


def tokens(tokenizer: Tokenizer, text: str) -> NDArray[np.int64]:
    """One instruction as LENGTH token ids."""
    ids = tokenizer.encode(text).ids[:LENGTH]
    return np.array(ids + [0] * (LENGTH - len(ids)), dtype=np.int64)
