"""Texts become ids and masks of one length, the same on every run; texts that differ in case alone become one row."""

import numpy as np
import pytest

pytest.importorskip("tokenizers", reason="text families need the library tokenizers")

from models.data import tokens

TEXTS = ["A film of rare charm", "the plot is thin , the charm is rare", "charming !"] * 4


def _tokenizer() -> bytes:
    return tokens.train_word_pieces(TEXTS, 60)


def test_pieces_do_not_depend_on_the_order_of_the_texts() -> None:
    assert _tokenizer() == tokens.train_word_pieces(TEXTS[::-1], 60)


def test_other_texts_give_other_pieces() -> None:
    assert _tokenizer() != tokens.train_word_pieces(["zebra quartz"] * 4, 60)


def test_the_vocabulary_has_no_more_pieces_than_asked_for() -> None:
    sizes = [tokens.read(tokens.train_word_pieces(TEXTS, asked)).get_vocab_size() for asked in (50, 56)]
    assert sizes == [50, 56]


def test_every_character_has_its_pieces_whatever_is_asked_for() -> None:
    tokenizer = tokens.read(tokens.train_word_pieces(TEXTS, 1))
    encoded = tokenizer.encode(" ".join(TEXTS)).tokens
    assert tokens.UNKNOWN not in encoded
    assert tokens.UNKNOWN in tokenizer.encode("zebra").tokens


def test_rows_are_filled_up_and_the_mask_says_where() -> None:
    tokenizer = tokens.read(_tokenizer())
    encoded = tokens.encode(tokenizer, ["rare charm", "the plot is thin"], 12)
    ids, mask = encoded[tokens.IDS], encoded[tokens.MASK]
    assert ids.shape == mask.shape == (2, 12)
    assert ids.dtype == mask.dtype == np.int64
    assert mask[0].sum() < mask[1].sum() < 12
    assert np.array_equal(mask, np.sort(mask, axis=1)[:, ::-1])
    assert np.all(ids[mask == 0] == tokenizer.token_to_id(tokens.PAD))
    assert np.all(ids[mask == 1] != tokenizer.token_to_id(tokens.PAD))


def test_rows_begin_and_end_with_their_marks_also_when_cut() -> None:
    tokenizer = tokens.read(_tokenizer())
    ids = tokens.encode(tokenizer, ["rare charm of the film the plot is thin"], 5)[tokens.IDS][0]
    assert ids[0] == tokenizer.token_to_id(tokens.FIRST)
    assert ids[-1] == tokenizer.token_to_id(tokens.LAST)


def test_case_and_spaces_make_no_other_row_and_words_do() -> None:
    tokenizer = tokens.read(_tokenizer())
    ids = tokens.encode(tokenizer, ["Rare  CHARM", "rare charm", "rare plot"], 8)[tokens.IDS]
    assert np.array_equal(ids[0], ids[1])
    assert not np.array_equal(ids[1], ids[2])


def test_one_encoding_leaves_nothing_for_the_next() -> None:
    tokenizer = tokens.read(_tokenizer())
    tokens.encode(tokenizer, ["rare"], 4)
    assert tokens.encode(tokenizer, ["the plot is thin , the charm is rare"], 16)[tokens.MASK].sum() > 4


def test_no_texts_give_no_rows() -> None:
    assert tokens.encode(tokens.read(_tokenizer()), [], 8)[tokens.IDS].shape == (0, 8)


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b'{"version": "1.0"}'])
def test_what_is_no_tokenizer_is_one_clear_error(data: bytes) -> None:
    with pytest.raises(tokens.NotATokenizer, match=r"tokenizer\.json"):
        tokens.read(data)


def test_a_tokenizer_without_a_filler_is_refused() -> None:
    with pytest.raises(tokens.NotATokenizer, match=r"\[PAD\]"):
        tokens.read(_tokenizer().replace(b"[PAD]", b"[NIL]"))
