"""The words of a shop's titles as sparse matrices, from which engines' results are turned into words.

words, counts_CV = word_counts(shop.titles, shop.tokenizer)      # one column a word
stems = TitleStems(shop.titles, shop.tokenizer)                  # one column a stem that may be suggested
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from qr_env.common.types import Hits
from qr_env.language.tokenize import Tokenizer

# A feedback term has 2 to 20 letters, as in Anserini.
TERM_LENGTHS = range(2, 21)
MIN_TITLES = 3  # a rarer stem is a model's name or a typing error
MAX_SHARE = 0.1  # of the titles; a more common stem tells products apart too little, as in Anserini


def word_counts(titles: Sequence[str], tokenizer: Tokenizer) -> tuple[list[str], sp.csr_matrix]:
    """The words of the titles in the order of their first occurrence, and how often each title has each word.

    Returns:
        V words, as `Tokenizer.words` gives them, and (C, V) float64, sparse.
    """
    number: dict[str, int] = {}
    found = [[number.setdefault(word, len(number)) for word in tokenizer.words(title)] for title in titles]
    lengths_C = np.array([len(words) for words in found], np.int64)
    indices = np.fromiter((word for words in found for word in words), np.int32, int(lengths_C.sum()))
    shape = (len(titles), len(number))
    counts_CV = sp.csr_matrix((np.ones(len(indices)), indices, np.append(0, lengths_C.cumsum())), shape=shape)
    counts_CV.sum_duplicates()
    return list(number), counts_CV


def title_model(
    titles: Sequence[str], tokenizer: Tokenizer, max_share: float = MAX_SHARE
) -> tuple[list[str], sp.csr_matrix]:
    """The vocabulary, and a (C, V) sparse matrix of each word's share of its title.

    Stop words, words of one letter and words in more than `max_share` of the titles have no column.
    """
    words, counts_CV = word_counts(titles, tokenizer)
    lengths_C = np.asarray(counts_CV.sum(axis=1)).ravel()
    share_CV = sp.diags_array(1.0 / np.maximum(lengths_C, 1)) @ counts_CV
    titles_V = np.bincount(counts_CV.indices, minlength=len(words))
    common_V = titles_V > max(1.0, max_share * len(titles))
    usable_V = np.array([bool(tokenizer.stem(word)) and len(word) in TERM_LENGTHS for word in words], bool)
    columns = np.flatnonzero(usable_V & ~common_V)
    return [words[at] for at in columns], share_CV.tocsc()[:, columns].tocsr()


class TitleStems:
    """The stems of the titles that may be suggested, each with the word that stands for it.

    Left out are stop words, numbers, single letters, stems of fewer than `min_titles` titles and stems of more than
    `max_share` of them.

    Attributes:
        words: V words: of each stem the one that most titles have.
        number: stem → its column.
        has_CV: (C, V) float64, sparse: 1 where the title has the stem.
        tokenizer: of the titles.
        idf_V: ln(1 + (C − n + ½) / (n + ½)) of a stem that n titles have, as in Lucene's BM25.
    """

    def __init__(
        self, titles: Sequence[str], tokenizer: Tokenizer, min_titles: int = MIN_TITLES, max_share: float = MAX_SHARE
    ) -> None:
        self.tokenizer = tokenizer
        words, counts_CV = word_counts(titles, tokenizer)
        usable = [at for at, word in enumerate(words) if _is_suggestible(word, tokenizer)]
        stems = [tokenizer.stem(words[at]) for at in usable]
        number = {stem: at for at, stem in enumerate(dict.fromkeys(stems))}
        columns = np.array([number[stem] for stem in stems], np.int64)
        # (words, stems): 1 where the word has the stem, so that a product sums the words of a stem.
        of_stem = sp.csr_matrix((np.ones(len(usable)), (usable, columns)), shape=(len(words), len(number)))
        has_CV = (counts_CV @ of_stem).tocsr()
        has_CV.data[:] = 1.0
        titles_V = np.bincount(has_CV.indices, minlength=len(number))
        kept = np.flatnonzero((titles_V >= min_titles) & (titles_V <= max(float(min_titles), max_share * len(titles))))
        spelled = _most_frequent(words, usable, columns, np.bincount(counts_CV.indices, minlength=len(words)))
        names = list(number)
        self.words = [spelled[at] for at in kept.tolist()]
        self.number = {names[at]: column for column, at in enumerate(kept.tolist())}
        self.has_CV = has_CV.tocsc()[:, kept].tocsr()
        self.idf_V = np.log1p((len(titles) - titles_V[kept] + 0.5) / (titles_V[kept] + 0.5))

    def shares(self, hits: Hits) -> sp.csr_matrix:
        """(P, V) sparse: share of the titles of each of P result lists that have the stem; an empty list has none."""
        found_PK = hits.found_NK
        lists_M, places_M = np.nonzero(found_PK)
        weights_M = 1.0 / found_PK.sum(axis=1)[lists_M]
        shape = (len(hits), self.has_CV.shape[0])
        titles_PC = sp.csr_matrix((weights_M, (lists_M, hits.rows_NK[lists_M, places_M])), shape=shape)
        return (titles_PC @ self.has_CV).tocsr()

    def presence(self, texts: Sequence[str]) -> sp.csr_matrix:
        """(P, V) sparse: 1 where the text has the stem."""
        stems = [{self.tokenizer.stem(word) for word in self.tokenizer.words(text)} for text in texts]
        found = [{self.number[stem] for stem in own if stem in self.number} for own in stems]
        starts = np.append(0, np.cumsum([len(columns) for columns in found], dtype=np.int64))
        indices = np.fromiter((column for columns in found for column in sorted(columns)), np.int32, int(starts[-1]))
        return sp.csr_matrix((np.ones(len(indices)), indices, starts), shape=(len(texts), len(self.words)))


def _is_suggestible(word: str, tokenizer: Tokenizer) -> bool:
    return len(word) in TERM_LENGTHS and not word[0].isdigit() and bool(tokenizer.stem(word))


def _most_frequent(
    words: Sequence[str], usable: Sequence[int], columns: npt.NDArray[np.int64], titles_with: npt.NDArray[np.int_]
) -> dict[int, str]:
    """Column of a stem → its word that most titles have, the first one of equally frequent ones."""
    best: dict[int, int] = {}
    for at, column in zip(usable, columns.tolist(), strict=True):
        if column not in best or titles_with[at] > titles_with[best[column]]:
            best[column] = at
    return {column: words[at] for column, at in best.items()}
