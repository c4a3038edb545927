"""Any Hugging Face causal LM can be a student: a GPT-2 rewrites, learns, is saved and loaded."""

import copy

import pytest
import torch
from accelerate import Accelerator

from agents.policy.prompt import prompt_ids
from agents.policy.scoring import score
from agents.policy.student import Student, pretrained_student
from agents.rl.grpo import GRPO, GRPOConfig
from tests.helpers.models import WORDS, same_weights

QUERIES = ["couch", "red running shoes", "fridge freezer black white"]


@pytest.fixture(scope="module")
def gpt2_folder(tmp_path_factory):
    """A random GPT-2 with dropout, learned positions and a tokenizer without pad token, as on the hub."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer, bpe.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator([WORDS] * 3, trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|endoftext|>", bos_token="<|endoftext|>")
    torch.manual_seed(0)
    end = tokenizer.eos_token_id
    config = GPT2Config(
        vocab_size=len(tokenizer), n_embd=32, n_layer=2, n_head=2, n_positions=256, bos_token_id=end, eos_token_id=end
    )
    folder = tmp_path_factory.mktemp("gpt2")
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def gpt2(gpt2_folder):
    return pretrained_student(str(gpt2_folder), max_new_tokens=5)


def test_it_rewrites(gpt2):
    assert gpt2.tokenizer.pad_token_id is not None
    rewrites = gpt2.rewrite(QUERIES, n=3)
    assert [len(row) for row in rewrites] == [3, 3, 3]
    gpt2.batch_size = 1
    assert [row[0] for row in gpt2.rewrite(QUERIES)] == [row[0] for row in rewrites]


def test_its_logprobs_are_those_of_a_plain_pass(gpt2):
    rollout = gpt2.sample(QUERIES, 4, generator=torch.Generator().manual_seed(0))
    scored = score(gpt2.model, rollout).logprobs_NT
    torch.testing.assert_close(scored, rollout.logprobs_NT, atol=1e-5, rtol=0)
    prompts = prompt_ids(gpt2.tokenizer, QUERIES)
    for row, tokens in enumerate(rollout.completions()):
        prompt = prompts[row // 4]
        logits = gpt2.model(input_ids=torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1]
        expected = torch.log_softmax(logits, -1).gather(1, torch.tensor(tokens)[:, None]).squeeze(1)
        torch.testing.assert_close(scored[row, : len(tokens)], expected, atol=1e-5, rtol=0)


# GPT-2's layers are transposed; peft handles that and warns.
@pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning")
@pytest.mark.parametrize("lora_rank", [0, 2])
def test_updates_change_it_and_it_loads_as_saved(gpt2_folder, tmp_path, lora_rank):
    student = pretrained_student(str(gpt2_folder), 5, lora_rank)
    before = copy.deepcopy(student.model)
    trainer = GRPO(
        student.model, student.tokenizer, GRPOConfig(learning_rate=1e-2, kl_coef=0.05), Accelerator(cpu=True)
    )
    generator = torch.Generator().manual_seed(0)
    for _ in range(2):
        rollout = student.sample(QUERIES, 4, generator=generator)
        metrics = trainer.update(rollout, torch.rand(3, 4, generator=generator))
    assert metrics["grad_norm"] > 0
    assert metrics["kl"] > 0
    assert not same_weights(student.model, before)
    student.save(tmp_path / "s")
    assert Student.load(tmp_path / "s").rewrite(QUERIES) == student.rewrite(QUERIES)
