"""The gradient of the NLL that is made in the logits' own memory, against autograd's."""

from __future__ import annotations

import pytest
import torch

from influence.models import losses
from influence.models.losses import SummedNll, nll_and_gradient_, token_nll

VOCABULARY = 11


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Labels `[3, 7]` and where they count: a padded document and one whose completion begins late."""
    label_BT = torch.randint(VOCABULARY, (3, 7), generator=torch.Generator().manual_seed(0))
    counts_BT = torch.ones(3, 7, dtype=torch.bool)
    counts_BT[1, 4:] = False
    counts_BT[2, :3] = False
    return label_BT, counts_BT


def logits(dtype: torch.dtype) -> torch.Tensor:
    """Some of them confident."""
    drawn = torch.randn(3, 7, VOCABULARY, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return (20 * drawn**3).to(dtype)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("chunk", [1, 4 * VOCABULARY, 1000])
def test_it_is_what_autograd_gives(dtype: torch.dtype, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "_CPU_CHUNK", chunk)
    leaf_BTV = logits(dtype).requires_grad_()
    expected_BT = token_nll(leaf_BTV, *batch())
    expected_BT.sum().backward()
    nll_BT, gradient_BTV = nll_and_gradient_(logits(dtype), *batch())
    torch.testing.assert_close(nll_BT, expected_BT.detach())
    torch.testing.assert_close(gradient_BTV, leaf_BTV.grad)


def test_a_backward_pass_of_the_sum_is_what_autograd_gives() -> None:
    hidden_BTV = logits(torch.float64)
    found, expected = (hidden_BTV.clone().requires_grad_() for _ in range(2))
    nll_BT = SummedNll.apply(2 * found, *batch())
    nll_BT.sum().backward()
    token_nll(2 * expected, *batch()).sum().backward()
    torch.testing.assert_close(nll_BT, token_nll(2 * hidden_BTV, *batch()))
    torch.testing.assert_close(found.grad, expected.grad)


def test_it_takes_the_place_of_the_logits() -> None:
    given_BTV = logits(torch.float32)
    _, gradient_BTV = nll_and_gradient_(given_BTV, *batch())
    assert gradient_BTV.data_ptr() == given_BTV.data_ptr()


def test_logits_that_do_not_count_may_be_anything() -> None:
    given_BTV = logits(torch.float32)
    given_BTV[1, 3:], given_BTV[2, :2], given_BTV[:, -1] = torch.nan, torch.inf, torch.nan
    nll_BT, gradient_BTV = nll_and_gradient_(given_BTV, *batch())
    assert torch.isfinite(nll_BT).all()
    assert torch.isfinite(gradient_BTV).all()
