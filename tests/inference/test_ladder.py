"""When memory runs out the run goes on with less, and says so."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_nets import NETS, trained

from napari_virtualstain.errors import ComputeError
from napari_virtualstain.inference.engine import stain_tiles
from napari_virtualstain.inference.ladder import out_of_memory
from napari_virtualstain.inference.network import Network, prepare_network
from napari_virtualstain.inference.planner import RunPlan
from napari_virtualstain.inference.stainer import Stainer
from napari_virtualstain.inference.stream import RowStream
from napari_virtualstain.intensity import Normalisation
from napari_virtualstain.tiling.plan import plan_tiles

NETWORK = prepare_network(trained(NETS["unet"]))
SHAPE = (512, 300)


class Picture:
    shape, times, blocks = SHAPE, 1, (128, 128)
    pixels = np.random.default_rng(0).normal(size=(2, *SHAPE)).astype(np.float32)

    def read(self, t, region):
        return self.pixels[(slice(None), *region)]


def plan_of(mode="halo", core=256, **keywords):
    reach = NETWORK.reach
    tiles = plan_tiles(SHAPE, core=core, halo=reach.halo, multiple_of=reach.multiple_of)
    return RunPlan(mode=mode, tiles=tiles, **keywords)


def run(plan):
    got, steps, others = np.full((3, *SHAPE), np.nan, np.float32), [], []

    def write(t, tile, stains):
        got[(slice(None), *tile.write)] = stains

    stainer = Stainer(network=lambda t: NETWORK, source=Picture(), outputs=(Normalisation(),) * 3)
    stain_tiles(
        stainer, plan, write, on_step=steps.append,
        on_other_way=lambda t, tile, way: others.append((tile.index, way)),
    )  # fmt: skip
    return got, steps, others


@pytest.fixture(scope="module")
def planned():
    return run(plan_of())[0]


@pytest.fixture
def room(monkeypatch):
    """Let networks have room for so many pixels at once."""
    most = [10**9]
    real = Network.predict

    def predict(self, planes, keeps):
        if planes[:, 0].size > most[0]:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return real(self, planes, keeps)

    monkeypatch.setattr(Network, "predict", predict)
    return most


@pytest.mark.parametrize(("most", "left"), [(10**9, []), (2, [2]), (1, [2, 1])])
def test_fewer_tiles_at_once_change_no_bit(most, left, room):
    alone, _, _ = run(plan_of(core=(64, 300)))
    room[0] = most * 112 * 304
    got, steps, others = run(plan_of(core=(64, 300), batch=4))
    np.testing.assert_array_equal(got, alone)
    assert steps == [f"memory ran out: {n} tiles at once from now on" for n in left]
    assert others == []


def test_smaller_pieces_give_the_same_but_for_rounding(planned, room):
    room[0] = 200 * 200
    got, steps, others = run(plan_of())
    np.testing.assert_allclose(got, planned, atol=1e-5 * np.ptp(planned))
    assert steps == ["memory ran out: tiles are computed in pieces of 128 px from now on"]
    assert others == [(index, "in pieces of 128 px") for index in range(4)]


def test_a_stream_goes_on_in_pieces_where_it_stands(planned, monkeypatch):
    real, pushed = RowStream.push, []

    def push(self, rows):
        pushed.append(rows.shape)
        if len(pushed) > 20:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ...")
        return real(self, rows)

    monkeypatch.setattr(RowStream, "push", push)
    got, steps, others = run(plan_of("stream", core=(64, 300), band=16))
    np.testing.assert_allclose(got, planned, atol=1e-5 * np.ptp(planned))
    assert steps == ["memory ran out: tiles are computed in pieces of 64 px from now on"]
    assert [index for index, _ in others] == [4, 5, 6, 7]


def test_when_nothing_helps_one_sentence_says_so(room):
    room[0] = 100
    with pytest.raises(ComputeError, match=r"not enough memory for pieces of 64 px\. Close other"):
        run(plan_of())


MEMORY = {
    "torch": (torch.OutOfMemoryError("x"), True),
    "numpy": (MemoryError("Unable to allocate 3 GiB"), True),
    "the processor's allocator": (RuntimeError("[enforce fail] can't allocate memory"), True),
    "a shape": (RuntimeError("size mismatch"), False),
    "a file": (OSError("not enough memory"), False),
}


@pytest.mark.parametrize(("error", "is_memory"), MEMORY.values(), ids=MEMORY)
def test_only_memory_is_taken_for_memory(error, is_memory):
    assert out_of_memory(error) == is_memory


def test_a_copy_on_the_processor_predicts_the_same():
    image = np.random.default_rng(0).normal(size=(1, 2, 32, 32)).astype(np.float32)
    np.testing.assert_array_equal(NETWORK.on_processor().forward(image), NETWORK.forward(image))
