"""What the kernels under the twins leave to torch, and the reasons that `explain` gives."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from recurra import dropin, twin_kernels
from recurra.kernels.cpu import build, fused
from recurra.kernels.dispatch import record, use_backend
from test_dropin import KINDS, tensors
from test_twin_kernels import LENGTHS, batch, eagerly, made, python_calls

__all__ = ["eagerly"]

pytestmark = [
    pytest.mark.skipif(not build.compiler(), reason="no C++ compiler"),
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning"),
]


def refusal(layer: Any, *args: Any) -> str:
    """What `explain` says, having checked that torch's path ran."""
    text = layer.explain(*args)
    assert ": torch ran\n" in text
    return text


@pytest.mark.usefixtures("eagerly")
class TestRefusals:
    def test_explained(self) -> None:
        layer = dropin.GRU(3, 5, bidirectional=True)
        assert layer.explain(torch.zeros(19, 2, 3)) == "GRU(3, 5, bidirectional=True) on (19, 2, 3): fused ran"
        with use_backend("torch_lstm"):
            text = dropin.LSTM(3, 5).explain(batch("packed", layer, LENGTHS))
        assert text.startswith(
            "LSTM(3, 5) on a PackedSequence of 5 rows, 19 steps: torch_lstm ran\n    fused refused: "
        )

    def test_types(self) -> None:
        x = torch.zeros(19, 2, 3)
        assert "computes in float32, x is torch.float64" in refusal(dropin.GRU(3, 5).double(), x.double())
        for dtype in (torch.bfloat16, torch.float16):
            with torch.autocast("cpu", dtype):
                assert "autocast is on" in refusal(dropin.GRU(3, 5), x)
                assert "autocast is on" in refusal(dropin.GRU(3, 5), x.to(dtype))

    def test_an_lstm_that_torch_runs_faster(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fused, "accepts", lambda loop: f"torch's own is faster for {len(loop.x)} rows")
        text = refusal(dropin.LSTM(3, 5), torch.zeros(19, 2, 3))
        assert "fused refused: torch's own is faster for 2 rows" in text
        assert "torch_lstm refused: torch's own path uses oneDNN by itself here" in text

    def test_without_onednn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        layer = dropin.LSTM(3, 5)
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
        monkeypatch.setattr(fused, "accepts", lambda loop: "no C++ compiler")
        assert "torch_lstm refused: oneDNN is off" in refusal(layer, batch("packed", layer, LENGTHS))

    def test_packed_in_float64_and_on_other_layers(self) -> None:
        layer = dropin.LSTM(3, 5).double()
        x = batch("packed", layer, LENGTHS)
        text = refusal(layer, x._replace(data=x.data.double()))
        assert "torch_lstm refused: this way round oneDNN is used in float32" in text
        assert "torch_lstm refused: this layer is no LSTM" in refusal(
            dropin.GRU(3, 5).double(), torch.zeros(9, 2, 3).double()
        )

    @pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch's own, in its jvp
    def test_modes_and_transforms(self) -> None:
        layer, twin = made("GRU", 3, 5)
        x, v = torch.randn(2, 19, 2, 3)
        with record() as log:
            got = torch.func.jvp(lambda x: twin(x)[0], (x,), (v,))
            torch.func.grad(lambda x: twin(x)[0].sum())(x)
        torch.testing.assert_close(got, torch.func.jvp(lambda x: layer(x)[0], (x,), (v,)))
        assert {decision.ran for decision in log} == {"torch"}
        assert all("outside of compilers, torch.func" in decision.refused["fused"] for decision in log)
        with FakeTensorMode(allow_non_fake_inputs=True):
            assert "a mode of torch watches" in refusal(twin, torch.zeros(19, 2, 3))

    def test_subclasses_of_tensors(self) -> None:
        class Own(Tensor):
            pass

        x = torch.zeros(19, 2, 3).as_subclass(Own)
        assert "the kernels take plain tensors, not Own" in refusal(dropin.GRU(3, 5), x)

    @pytest.mark.parametrize(
        ("shape", "state"),
        [
            ((3,), None),
            ((2, 19, 5, 3), None),
            ((19, 2, 4), None),
            ((19, 2, 3), (1, 1, 5)),
            ((19, 2, 3), (1, 5)),
            ((19, 2, 3), (1, 2, 4)),
            ((19, 3), (1, 2, 5)),
            ((19, 2, 3), (2, 2, 5)),
            ((0, 2, 3), None),
        ],
    )
    @pytest.mark.parametrize("name", KINDS)
    def test_wrong_inputs(self, name: str, shape: tuple, state: tuple | None) -> None:
        failures = []
        for cls in (KINDS[name], getattr(dropin, name)):
            hx = None if state is None else torch.zeros(state)
            hx = (hx, hx) if name == "LSTM" and hx is not None else hx
            with pytest.raises((ValueError, RuntimeError, IndexError)) as caught:
                cls(3, 5)(torch.zeros(shape), hx)
            failures.append((caught.type, str(caught.value)))
        assert failures[0] == failures[1]

    @pytest.mark.parametrize(
        "args",
        [
            (torch.zeros(19, 2, 3).double(),),
            (torch.zeros(19, 2, 3).long(),),
            (torch.zeros(19, 2, 3), torch.zeros(1, 2, 5).double()),
            (torch.zeros(19, 2, 3), (torch.zeros(1, 2, 5), torch.zeros(1, 2, 5))),
            (torch.zeros(19, 2, 3), torch.zeros(1, 2, 5, device="meta")),
            ([[1.0]],),
            (None,),
            (PackedSequence(torch.zeros(5, 3), torch.tensor([2, 2, 2])),),
            (PackedSequence(torch.zeros(5, 3), torch.tensor([2, 1, 2])),),
            (PackedSequence(torch.zeros(3, 4), torch.tensor([2, 1])),),
            (PackedSequence(torch.zeros(3, 3), torch.tensor([2, 1])), torch.zeros(1, 3, 5)),
        ],
        ids=repr,
    )
    def test_wrong_arguments(self, args: tuple) -> None:
        failures = []
        for cls in (nn.GRU, dropin.GRU):
            torch.manual_seed(0)
            try:
                failures.append(tensors(cls(3, 5)(*args)))
            except Exception as error:
                failures.append((type(error), str(error)))
        assert repr(failures[0]) == repr(failures[1])

    @pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0"])
    def test_weights_of_other_shapes(self, name: str) -> None:
        """A kernel trusts the shapes: what does not fit must not reach it."""
        failures = []
        for cls in (nn.GRU, dropin.GRU):
            layer = cls(3, 5)
            setattr(layer, name, nn.Parameter(getattr(layer, name)[:-1].detach()))
            with pytest.raises(RuntimeError) as caught:
                layer(torch.zeros(19, 2, 3))
            failures.append(str(caught.value))
        assert failures[0] == failures[1]

    def test_an_empty_batch(self) -> None:
        layer, twin = made("GRU", 3, 5)
        assert "are empty or do not fit" in refusal(twin, torch.zeros(19, 0, 3))
        assert torch.equal(twin(torch.zeros(19, 0, 3))[0], layer(torch.zeros(19, 0, 3))[0])

    def test_no_compiler(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fused, "accepts", lambda loop: "no C++ compiler")
        layer, twin = made("GRU", 3, 5)
        x = torch.randn(19, 2, 3)
        assert "fused refused: no C++ compiler" in refusal(twin, x)
        assert torch.equal(twin(x)[0], layer(x)[0])


class TestShortCalls:
    @pytest.mark.parametrize("name", KINDS)
    def test_left_to_torch(self, name: str) -> None:
        layer, twin = made(name, 3, 5)
        x = torch.randn(11, 1, 3)
        with record() as log:
            assert torch.equal(twin(x)[0], layer(x)[0])
        assert not log
        assert "torch is as fast for fewer than" in refusal(twin, x)
        assert "torch is as fast for fewer than" in refusal(twin, x[:, 0])
        assert "torch is as fast for fewer than" in refusal(twin, pack_padded_sequence(x, [11]))

    @pytest.mark.parametrize("name", KINDS)
    def test_a_step_costs_nine_calls_more_than_torchs(self, name: str) -> None:
        """A quick look and nothing else, counted, for a clock would be noise."""
        x, counts = torch.zeros(1, 1, 4), []
        for cls in (KINDS[name], getattr(dropin, name)):
            layer = cls(4, 4)
            layer(x)
            counts.append(python_calls(lambda layer=layer: layer(x)))
        assert counts[0] > 3
        assert counts[1] <= counts[0] + 9

    def test_long_calls_are_not(self) -> None:
        for name in ("GRU", "RNN"):
            layer, twin = made(name, 3, 5)
            assert twin.explain(torch.zeros(100, 1, 3)).endswith("fused ran")
            assert twin.explain(batch("packed", layer, [100, 50])).endswith("fused ran")
        _, twin = made("LSTM", 3, 5)
        assert twin.explain(batch("packed", twin, [100, 50])).endswith("fused ran")

    def test_gradients_need_fewer_steps(self) -> None:
        for without, with_ in twin_kernels.ENOUGH.values():
            assert without >= with_ >= twin_kernels.FEW

    def test_sizes_at_which_torch_is_as_fast(self) -> None:
        _, twin = made("LSTM", 3, 512, proj_size=8)
        assert "torch's LSTM is as fast for 1 projected rows" in refusal(twin, torch.zeros(200, 1, 3))
        _, twin = made("LSTM", 3, 5)
        assert twin.explain(torch.zeros(600, 2, 3)).endswith("fused ran")
        twin.eval()
        assert "torch's LSTM is as fast for 2 even rows" in refusal(twin, torch.zeros(600, 2, 3))

    def test_even_packed_rows_are_no_reason(self) -> None:
        """Torch's fast LSTM takes packed rows of one length."""
        _, twin = made("LSTM", 3, 5)
        assert twin.explain(batch("packed", twin, [100, 99])).endswith("fused ran")
        text = refusal(twin, batch("packed", twin, [100, 100]))
        assert "torch_lstm refused: torch's own path uses oneDNN" in text

    def test_a_backend_by_name(self) -> None:
        layer, twin = made("GRU", 3, 5)
        x = torch.randn(100, 2, 3)
        with use_backend("torch"):
            assert torch.equal(twin(x)[0], layer(x)[0])
