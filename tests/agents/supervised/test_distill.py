"""Distillation: the loss equals TRL's, reverse KL is mode-seeking and forward KL averages, and a student learns its
teacher's rewrites, from a local or a served teacher."""

import copy
from types import SimpleNamespace

import pytest
import torch

from agents.policy.losses import generalized_jsd, with_remainder
from agents.policy.scoring import packed_chunks, token_logits
from agents.policy.student import Student
from agents.supervised.distill import LocalTeacher, Support, distill, divergence, sequence_kd
from agents.supervised.distill_http import ServedTeacher
from agents.supervised.tiny import train_tokenizer
from qr_env.common.errors import ConfigError
from qr_env.llm.client import Client
from tests.helpers.models import copy_of, same_weights, small_student, student_trained_on
from tests.helpers.toy_teacher import ServedModel

PAIRS = [("couch", "sofa"), ("fridge", "freezer black"), ("red", ""), ("shoes", "running")]
QUERIES = [query for query, _ in PAIRS]


@pytest.fixture(scope="module")
def teacher():
    return student_trained_on(PAIRS)


def logprobs(rows, width, seed):
    return torch.randn((rows, width), generator=torch.Generator().manual_seed(seed)).log_softmax(dim=1)


def test_beta_1_is_reverse_and_beta_0_forward():
    student, teacher = torch.tensor([[0.9, 0.1]]).log(), torch.tensor([[0.5, 0.5]]).log()
    reverse = 0.9 * torch.tensor(0.9 / 0.5).log() + 0.1 * torch.tensor(0.1 / 0.5).log()
    forward = 0.5 * torch.tensor(0.5 / 0.9).log() + 0.5 * torch.tensor(0.5 / 0.1).log()
    assert generalized_jsd(student, teacher, 1.0).item() == pytest.approx(reverse.item(), rel=1e-5)
    assert generalized_jsd(student, teacher, 0.0).item() == pytest.approx(forward.item(), rel=1e-5)
    assert generalized_jsd(student, student, 0.3).item() == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("beta", [0.0, 0.3, 0.5, 1.0])
def test_loss_and_gradient_equal_those_of_trl(beta):
    from trl.kernels.chunked_divergence import ChunkedDivergenceFunction

    hidden = torch.randn((2, 7, 16), generator=torch.Generator().manual_seed(0))
    heads = torch.randn((2, 50, 16), generator=torch.Generator().manual_seed(1))
    ours, theirs = (hidden[0].clone().requires_grad_() for _ in range(2))
    settings = (beta, 0.7, 1.0, None, 1.0, None)
    expected, _ = ChunkedDivergenceFunction.apply(theirs, heads[0], None, hidden[1], heads[1], None, *settings)
    support = Support((hidden[1] @ heads[1].T / 0.7).log_softmax(dim=1))
    found = divergence(ours @ heads[0].T / 0.7, support, beta)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)
    found.sum().backward()
    expected.sum().backward()
    assert torch.allclose(ours.grad, theirs.grad, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_top_k_divergence_is_a_lower_bound(beta):
    student, teacher = logprobs(9, 40, 0), logprobs(9, 40, 1)
    whole = generalized_jsd(student, teacher, beta)
    ids = teacher.topk(39, dim=1).indices
    bounds = [divergence(student, Support(teacher.gather(1, ids[:, :k]), ids[:, :k]), beta) for k in (3, 10, 39)]
    assert torch.allclose(bounds[2], whole, atol=1e-4)
    assert (bounds[0] <= bounds[1] + 1e-6).all() and (bounds[1] <= bounds[2] + 1e-6).all()
    assert bounds[0].sum() < 0.8 * whole.sum()
    assert torch.allclose(with_remainder(student[:, :4]).exp().sum(dim=1), torch.ones(9))


class GaussianModel(torch.nn.Module):
    """A causal LM whose next-token distribution is a discretized Gaussian, or given by `logits`, in any context."""

    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, logits=None):
        super().__init__()
        self.fixed = logits
        self.at, self.log_width = (torch.nn.Parameter(torch.tensor(x)) for x in (1.4, 1.4))  # at 14, e^1.4 = 4 wide

    def logits(self):
        places = torch.arange(40.0)
        return -0.5 * ((places - 10 * self.at) / self.log_width.exp()) ** 2 if self.fixed is None else self.fixed

    def forward(self, input_ids, logits_to_keep, **_):
        count = logits_to_keep if isinstance(logits_to_keep, int) else len(logits_to_keep)
        return SimpleNamespace(logits=self.logits().expand(len(input_ids), count, -1), past_key_values=None)


def masses_after(beta, on_policy):
    """Probability near the first peak, between the peaks and near the second peak of a bimodal teacher, after
    distillation into a `GaussianModel`."""
    places = torch.arange(40.0)
    peaks = torch.stack([-0.5 * ((places - at) / 2.5) ** 2 for at in (10.0, 30.0)])
    tokenizer = small_student().tokenizer
    teacher = Student(GaussianModel(peaks.logsumexp(dim=0)), tokenizer, max_new_tokens=1)
    student = Student(GaussianModel(), tokenizer, max_new_tokens=1)
    distill(student, teacher, QUERIES, beta=beta, on_policy=on_policy, learning_rate=0.1, epochs=80, batch_size=4)
    shares = student.model.logits().softmax(dim=0)
    return [shares[part].sum().item() for part in (slice(4, 17), slice(17, 24), slice(24, 37))]


def test_reverse_kl_picks_a_mode_and_forward_averages():
    left, between, right = masses_after(beta=1.0, on_policy=True)
    assert left > 0.95
    assert between + right < 0.03
    left, between, right = masses_after(beta=0.0, on_policy=False)
    assert between > 0.15  # where the teacher has little probability
    assert min(left, right) > 0.25


def started(on_policy):
    """A student at the start of distillation: on-policy it is pre-trained, since from random weights reverse KL
    converges to an uninformative mode."""
    return student_trained_on(PAIRS, steps=30) if on_policy else copy_of(small_student(seed=5))


@pytest.mark.parametrize(("beta", "on_policy", "epochs"), [(1.0, True, 25), (0.0, False, 60)])
def test_distillation_is_reproducible_and_reaches_the_teachers_rewrites(teacher, beta, on_policy, epochs):
    students = [started(on_policy) for _ in range(2)]
    settings = {"beta": beta, "on_policy": on_policy, "learning_rate": 1e-2, "batch_size": 4, "seed": 3}
    first, second = (distill(student, teacher, QUERIES, epochs=epochs, **settings) for student in students)
    assert first["loss_last"] < 0.2 * first["loss_first"]
    assert students[0].rewrite(QUERIES) == teacher.rewrite(QUERIES) == [[rewrite] for _, rewrite in PAIRS]
    assert first["updates"] == epochs
    assert first["tokens"] == second["tokens"] > 0
    assert same_weights(*(student.model for student in students))


def test_distributions_are_compared_at_every_sampled_token(teacher):
    """The logits of the packed row are those of the prompt and its completion read alone."""
    rollout = teacher.sample(QUERIES, group_size=2, generator=torch.Generator().manual_seed(0))
    (part,) = packed_chunks(rollout)
    with torch.no_grad():
        found = token_logits(teacher.model, part)
    at = 0
    for row, tokens in enumerate(rollout.completions()):
        prompt = rollout.prompt_ids_PTp[row // 2][rollout.prompt_mask_PTp[row // 2].bool()]
        ids = torch.cat([prompt, torch.tensor(tokens)])
        with torch.no_grad():
            alone = teacher.model(input_ids=ids[None]).logits[0, len(prompt) - 1 : -1]
        assert torch.allclose(found[at : at + len(tokens)], alone, atol=1e-4)
        at += len(tokens)
    assert at == len(found)


def test_other_tokenizers_are_refused_with_a_remedy(teacher):
    student = small_student()
    other = Student(student.model, train_tokenizer(["other words of another shop"] * 3), "other")
    with pytest.raises(ConfigError, match=r"different tokenizers.*sequence_kd"):
        distill(other, teacher, QUERIES)
    wider = copy.deepcopy(student.tokenizer)
    wider.add_tokens(["<extra>"])
    with pytest.raises(ConfigError, match="different tokenizers"):
        LocalTeacher(teacher).check(Student(student.model, wider, "wider"))


@pytest.mark.parametrize("settings", [{"beta": 1.5}, {"epochs": 0}, {"temperature": 0}, {"batch_size": -1}])
def test_impossible_settings_are_refused(teacher, settings):
    name, value = next(iter(settings.items()))
    with pytest.raises(ConfigError, match=f"{name}={value}"):
        distill(small_student(), teacher, QUERIES, **settings)
    with pytest.raises(ConfigError, match="0 given"):
        distill(small_student(), teacher, [])


def test_sequence_kd_takes_any_rewriter_and_drops_duplicates():
    class Fixed:
        name = "fixed"

        def rewrite(self, queries, n=1, seed=0):
            return [[query if query == "red" else f"{query} x", "y", "y"][:n] for query in queries]

    examples = sequence_kd(Fixed(), ["red", "blue"], n=3)
    assert [(e.query, e.response) for e in examples] == [("red", ""), ("red", "y"), ("blue", "blue x"), ("blue", "y")]
    assert {(e.task, e.source, e.held_out) for e in examples} == {("rewrite", "teacher:fixed", False)}


@pytest.mark.live
def test_a_served_teacher_equals_a_local_one(teacher):
    student = copy_of(small_student(seed=5))
    rollout = student.sample(QUERIES * 6, generator=torch.Generator().manual_seed(1))
    whole = LocalTeacher(teacher).support(rollout, 1.0)
    width = whole.logprobs_NV.shape[1]
    with ServedModel(teacher.model, teacher.tokenizer) as server, Client(server.url) as client:
        served = ServedTeacher(client, "toy", student.tokenizer, top=width - 1)
        served.check(student)
        found = served.support(rollout, 1.0)
        assert torch.equal(found.ids_NV[:, 0], rollout.tokens_NT[rollout.mask_NT.bool()])
        with torch.no_grad():
            logits = token_logits(student.model, rollout)
        for beta in (0.0, 1.0):
            expected = divergence(logits, whole, beta)
            assert torch.allclose(divergence(logits, found, beta), expected, rtol=1e-2, atol=1e-3)
        assert served.rewrite(QUERIES) == teacher.rewrite(QUERIES)
        assert served.sample(QUERIES, 1.0, 0).completions() == served.sample(QUERIES, 1.0, 0).completions()
        assert 16 in [len(body["prompt"]) for body in server.seen[1:3]]  # batched


@pytest.mark.live
def test_a_student_learns_from_a_served_teacher(teacher):
    student = started(on_policy=True)
    with ServedModel(teacher.model, teacher.tokenizer) as server, Client(server.url) as client:
        metrics = distill(student, ServedTeacher(client, "toy", student.tokenizer), QUERIES, learning_rate=1e-2,
                          epochs=25, batch_size=4)  # fmt: skip
    assert metrics["loss_last"] < 0.3 * metrics["loss_first"]
    assert student.rewrite(QUERIES) == teacher.rewrite(QUERIES)


@pytest.mark.live
def test_a_served_teacher_refuses_unsupported_requests(teacher):
    student = small_student()
    other = train_tokenizer(["other words of another shop"] * 3)
    rollout = student.sample(QUERIES, generator=torch.Generator().manual_seed(1))
    with ServedModel(teacher.model, teacher.tokenizer, max_logprobs=3) as server, Client(server.url) as client:
        served = ServedTeacher(client, "toy", student.tokenizer)
        with pytest.raises(ConfigError, match=r"different tokenizers.*sequence_kd"):
            served.check(Student(student.model, other))
        assert ServedTeacher(client, "toy", other, 4).rewrite(QUERIES) == teacher.rewrite(QUERIES)  # for sequence_kd
        with pytest.raises(ConfigError, match=r"temperature=0\.5"):
            served.support(rollout, 0.5)
        with pytest.raises(ConfigError, match="max-logprobs"):
            served.support(rollout, 1.0)
        with pytest.raises(ConfigError, match="top=0"):
            ServedTeacher(client, "toy", student.tokenizer, top=0)
