"""What a tuning did, block by block."""

from __future__ import annotations

import numpy as np
import pytest
from little_pairs import field, pairs

from napari_virtualstain.jobs.tuning_judge import (
    compare_blocks,
    judge_blocks,
    judge_tuning,
)


class Painter:
    """Predicts a stain from the first plane, as it is told, and noise as the second."""

    multiple_of = 1

    def __init__(self, stain):
        self._stain = stain

    def predict(self, planes):
        noise = np.random.default_rng(0).normal(size=planes[:, 0].shape)
        return np.stack([self._stain(planes[:, 0]), noise], axis=1).astype(np.float32)


def test_the_block_that_lost_most_is_shown_with_what_was_there():
    """A tuned model that is as good everywhere but in one corner of one field."""
    train, held = pairs(field(1), field(2)), pairs(field(3, (64, 64)), field(4, (64, 64)))
    fields = iter((0, 1))

    class Spoilt(Painter):
        def predict(self, planes):
            found = super().predict(planes)
            if next(fields) == 1:
                found[:, 0, 32:, :32] = np.random.default_rng(5).normal(size=(32, 32))
            return found

    good, spoilt = Painter(lambda plane: plane), Spoilt(lambda plane: plane)
    found = judge_tuning(
        good, spoilt, teach=train, held=held, base=train.outputs, stains=("a", "b")
    )
    (worst,) = found.worst
    assert (worst.stain, worst.field, worst.y, worst.x) == ("a", "field 4", 32, 0)
    assert worst.pcc_before > 0.99
    assert worst.pcc_after < 0.3
    assert worst.pictures.shape == (4, 32, 32)
    planes, _ = held.read(1, (slice(32, 64), slice(0, 32)))
    np.testing.assert_allclose(worst.pictures[0], planes[1])
    np.testing.assert_allclose(
        worst.pictures[3], held.fields[1].stains[0, 32:, :32], rtol=1e-4, atol=1e-2
    )
    same = judge_tuning(good, good, teach=train, held=held, base=train.outputs, stains=("a", "b"))
    assert same.worst == ()


def test_what_several_tunings_say_of_their_own_fields_is_judged_at_once():
    fields = [field(n, (64, 64)) for n in range(1, 4)]
    train = pairs(field(9), field(10))
    one, noisy = Painter(lambda plane: plane), Painter(lambda plane: plane**3)

    def scored(*some):
        held = pairs(*some)
        return compare_blocks(
            noisy, one, teach=train, held=held, base=train.outputs, stains=("a", "b")
        )

    apart = [scored(fields[0]), scored(*fields[1:])]
    assert [table.table.shape for table in apart] == [(2, 4, 5), (2, 8, 5)]
    judged = judge_blocks(apart, stains=("a", "b"))
    values = np.concatenate([table.table[0] for table in apart])
    first = judged.gains[0]
    assert first.pcc_before == pytest.approx(values[:, 0].mean())
    assert first.pcc_gain.value == pytest.approx((values[:, 1] - values[:, 0]).mean())
    assert first.verdict == "better"
    # More of the same blocks, and the interval is narrower.
    alone = judge_blocks(apart[:1], stains=("a", "b")).gains[0].pcc_gain
    assert first.pcc_gain.high - first.pcc_gain.low < alone.high - alone.low
