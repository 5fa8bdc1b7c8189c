"""Removal of the first (or last) tokens of every chain of thought in a batch, as one gather.

A batch is right-padded; example b is `input SEP chain SEP #### answer EOS`, its chain the tokens
`chain_start_B[b]:chain_end_B[b]`. Both separators, input and answer stay whatever is removed.
"""

from __future__ import annotations

import torch

from influence.train.stepwise.settings import Side


def drop_cot(
    ids_BT: torch.Tensor,
    chain_start_B: torch.Tensor,
    chain_end_B: torch.Tensor,
    removed_B: torch.Tensor,
    side: Side = "left",
    *,
    keep_positions: bool = False,
    pad: int = 0,
    positions: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Remove `min(removed, chain)` tokens of each chain; what follows moves up and padding takes the end.

    No loop over examples and no device sync: shapes stay `[B, T]`, the caller cuts off columns of padding.

    Args:
        ids_BT: Token ids, int64.
        chain_start_B: Place of each chain's first token.
        chain_end_B: Place after each chain's last token.
        removed_B: How many tokens to remove, at least 0.
        side: "left" removes the first tokens of the chain, "right" the last.
        keep_positions: What follows the cut is `removed` positions further than its place: where it stood before, for
            a chain that long. A shorter chain shifts by `removed` too, so that a generator, which cannot know the
            length of the chain that is not written, puts its tokens at the same positions.
        pad: Id of padding.
        positions: With `keep_positions`, the number of positions of the model; padding is kept below it.

    Returns:
        `ids_BT` and `position_ids_BT`. Give a model kept positions only together with an attention mask:
        without one, transformers takes a jump in the positions for the beginning of another sequence.
    """
    place_T = torch.arange(ids_BT.shape[1], device=ids_BT.device)
    gone_B = torch.minimum(removed_B, chain_end_B - chain_start_B)
    cut_B = chain_start_B if side == "left" else chain_end_B - gone_B
    after_BT = place_T >= cut_B[:, None]
    source_BT = place_T + gone_B[:, None] * after_BT
    there_BT = source_BT < ids_BT.shape[1]
    source_BT = source_BT.clamp(max=ids_BT.shape[1] - 1)
    position_ids_BT = place_T + removed_B[:, None] * after_BT if keep_positions else place_T.expand_as(ids_BT)
    if keep_positions and positions is not None:
        position_ids_BT = position_ids_BT.clamp(max=positions - 1)
    return ids_BT.gather(1, source_BT).masked_fill(~there_BT, pad), position_ids_BT
