import numpy as np
import torch
from plain_learner import make_samples

from learner.packing import micro_batches, rows_of
from learner.shared_prefix import lay_out, visible

CPU = torch.device("cpu")


def test_a_completion_sees_the_prompt_and_itself_only():
    #          prompt     one    two       padding
    segments = [0, 0, 0, 1, 1, 2, 2, 2, -1, -1]
    seen = visible(torch.tensor([segments]))[0]
    for q, mine in enumerate(segments):
        for k, theirs in enumerate(segments):
            expected = k <= q and (theirs == 0 or theirs == mine)
            assert bool(seen[q, k]) is expected, (q, k)


def test_no_row_of_scores_is_empty():
    segments = torch.tensor([[0, 1, 2, -1], [0, 0, 0, 0]])
    assert visible(segments).any(-1).all()


def test_sources_predict_the_tokens_of_each_sample():
    samples = make_samples(3, seed=1, vocabulary=50, size=3)
    for mode in ("on", "off"):
        rows = rows_of(samples, shared_prefix=mode, budget=10_000)
        (batch,) = micro_batches(rows, 10_000)
        layout = lay_out(batch, samples, CPU)
        ids, positions = layout.input_ids.flatten(), layout.positions.flatten()
        start = 0
        for index in layout.order:
            sample = samples[index]
            n, prompt = len(sample.tokens), len(sample.prompt_tokens)
            source = layout.source[start : start + n]
            assert layout.tokens[start : start + n].tolist() == sample.tokens.tolist()
            assert positions[source].tolist() == list(range(prompt - 1, prompt + n - 1))
            before = np.r_[sample.prompt_tokens[-1], sample.tokens[:-1]]
            assert ids[source].tolist() == before.tolist()
            start += n
        assert start == len(layout.tokens)
        assert (layout.segments is None) == (mode == "off")
