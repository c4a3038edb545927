"""A small real cross-encoder for the tests: an untrained BERT of 30,000 parameters with a word-piece vocabulary."""

import json
from functools import cache

from qr_env.models.progress import no_weight_bars
from tests.helpers.fakes import tiny_shop

WORDS = "a sofa couch settee red blue green black white grey brown pink yellow beige running shoes trainers fridge"
WORDS += " icebox refrigerator freezer lindholm frosta velo seater fabric men size by runing shoos l 42 300"

# Queries with every title of the toy shop.
QUERIES = ("red sofa", "couch", "fridge 300 l", "runing shoos men size 42 by velo", "x")
PAIRS = [(query, title) for query in QUERIES for title in tiny_shop().titles]


def small_bert(folder, layers=2, labels=1, seed=0):
    """Write one to a folder in Hugging Face format; the folder."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    tokenizer = _tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        num_labels=labels,
        initializer_range=0.2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = BertForSequenceClassification(config)
    with no_weight_bars():
        model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["model_type"] == "bert"
    return folder


@cache
def _tokenizer():
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special_tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    words = [
        *special_tokens,
        *dict.fromkeys(WORDS.split()),
        *"0123456789",
        *(f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"),
    ]
    vocabulary = {word: n for n, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
