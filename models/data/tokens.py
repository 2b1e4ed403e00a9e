"""Texts to the inputs of a text model: token ids and their mask, all rows of one length.

WordPiece as BERT uses it (Devlin et al. 2019), by the library `tokenizers`, either read from a file or trained here.
Texts that differ only in case or spaces become the same row, so that splits by the rows' hashes tell equal texts.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

from service.core.contract import Arrays

IDS, MASK = "input_ids", "attention_mask"
PAD, UNKNOWN, FIRST, LAST = "[PAD]", "[UNK]", "[CLS]", "[SEP]"
SPECIAL = (PAD, UNKNOWN, FIRST, LAST)


class NotATokenizer(ValueError):
    """The bytes are no tokenizer.json, or one without a filler."""


def train_word_pieces(texts: Sequence[str], vocabulary: int) -> bytes:
    """A WordPiece tokenizer of at most `vocabulary` pieces for these texts, as tokenizer.json; lower case.

    The same texts in any order give the same bytes. Every character has its pieces, be they more than `vocabulary`.
    """
    tokenizer = _word_pieces({})
    characters = sorted(set(tokenizer.normalizer.normalize_str(" ".join(texts))) - {" "})
    # Told first, the pieces of one character have fixed numbers; left to the trainer they have others at each run,
    # and by their numbers it decides between pairs that are equally frequent.
    first = [*SPECIAL, *characters, *(f"##{character}" for character in characters)]
    trainer = trainers.WordPieceTrainer(vocab_size=vocabulary, special_tokens=first, show_progress=False)
    tokenizer.train_from_iterator(sorted(texts), trainer)
    pieces = sorted(set(tokenizer.get_vocab()) - set(SPECIAL))
    whole = _word_pieces({piece: at for at, piece in enumerate([*SPECIAL, *pieces])})
    whole.add_special_tokens(list(SPECIAL))
    whole.post_processor = processors.TemplateProcessing(
        single=f"{FIRST} $A {LAST}", special_tokens=[(one, whole.token_to_id(one)) for one in (FIRST, LAST)]
    )
    return whole.to_str().encode()


def read(tokenizer_json: bytes) -> Tokenizer:
    """The tokenizer of a tokenizer.json, without the lengths that the file may set.

    Raises:
        NotATokenizer: it cannot be read, or lacks `PAD`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tokenizer = Tokenizer.from_str(tokenizer_json.decode())
    except Exception as error:  # the library raises nothing narrower
        raise NotATokenizer(f"tokenizer.json cannot be read: {error}") from error
    if tokenizer.token_to_id(PAD) is None:
        raise NotATokenizer(f"tokenizer.json has no token {PAD}, which fills rows up.")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def encode(tokenizer: Tokenizer, texts: Sequence[str], length: int) -> Arrays:
    """`input_ids` and `attention_mask`, int64 (n, length) each: cut at `length`, filled up with `PAD` and mask 0."""
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id(PAD), pad_token=PAD, length=length)
    try:
        encoded = tokenizer.encode_batch(list(texts))
    finally:
        tokenizer.no_padding()
        tokenizer.no_truncation()
    shape = (len(texts), length)
    return {
        IDS: np.array([one.ids for one in encoded], np.int64).reshape(shape),
        MASK: np.array([one.attention_mask for one in encoded], np.int64).reshape(shape),
    }


def _word_pieces(vocabulary: dict[str, int]) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer
