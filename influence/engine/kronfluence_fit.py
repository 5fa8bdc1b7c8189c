"""Kronfluence's own fit behind our command, on the same documents, layers and labels."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from kronfluence.analyzer import Analyzer, prepare_model
from kronfluence.arguments import FactorArguments
from kronfluence.task import Task
from kronfluence.utils.dataset import DataLoaderKwargs
from torch import Tensor, nn
from torch.utils.data import Dataset
from transformers.pytorch_utils import Conv1D

from influence.config import FitConfig
from influence.engine.batching import length_order, pad
from influence.files import whole_file
from influence.models.layers import TrackedLayer
from influence.models.load import LanguageModel
from influence.models.losses import token_nll
from influence.store.documents import DocumentTable
from influence.store.factors import COVARIANCES, EIGEN, LAMBDA

#: Padded tokens of a batch by default: kronfluence re-reads its sums for every batch, so larger ones suit it.
_BATCH_TOKENS = 1 << 12
#: A `TokenBatch` as the dictionary that accelerate can move to a device.
Batch = dict[str, Tensor]
#: Token ids, the first position whose loss counts, and the loss mask of a document that has one.
TokenRow = tuple[npt.NDArray[np.int32], int, npt.NDArray[np.bool_] | None]


class LanguageModelTask(Task):  # type: ignore[misc]
    """The language modelling loss, summed over tokens, in kronfluence's terms."""

    def __init__(self, layers: Sequence[str]) -> None:
        self.layers = list(layers)

    def compute_train_loss(self, batch: Batch, model: nn.Module, sample: bool = False) -> Tensor:
        """Summed NLL of a batch; with `sample`, of labels drawn from the model."""
        logits_BTV = model(input_ids=batch["input_ids"], use_cache=False).logits
        label_BT = batch["input_ids"]
        if sample:
            with torch.no_grad():
                drawn = torch.multinomial(logits_BTV.float().softmax(-1).flatten(0, 1), 1)
            label_BT = drawn.view(label_BT.shape).roll(1, dims=1)
        return token_nll(logits_BTV, label_BT, batch["loss_BT"]).sum()

    def compute_measurement(self, batch: Batch, model: nn.Module) -> Tensor:
        """A query's measurement is its NLL too, so that a positive score means the same as ours."""
        return self.compute_train_loss(batch, model)

    def get_influence_tracked_modules(self) -> list[str]:
        """Names of the tracked layers."""
        return self.layers

    def get_attention_mask(self, batch: Batch) -> Tensor:
        """Real tokens, so that padding counts for nothing."""
        return batch["mask_BT"]


class TokenDataset(Dataset[TokenRow]):
    """Documents as `TokenRow`."""

    def __init__(self, rows: Sequence[TokenRow]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> TokenRow:
        return self.rows[index]


def collate(rows: list[TokenRow]) -> Batch:
    """Pad a batch on the CPU; kronfluence moves it."""
    tokens, starts, masks = zip(*rows, strict=True)
    batch = pad(tokens, torch.device("cpu"), starts, masks)
    return {"input_ids": batch.input_ids, "mask_BT": batch.mask_BT, "loss_BT": batch.loss_BT}


def with_linear_layers(model: nn.Module) -> nn.Module:
    """A copy in which GPT-2's `Conv1D`, which kronfluence does not know, is `nn.Linear`."""
    model = copy.deepcopy(model)
    for name, module in list(model.named_modules()):
        if isinstance(module, Conv1D):
            inputs, outputs = module.weight.shape
            linear = nn.Linear(inputs, outputs, dtype=module.weight.dtype, device=module.weight.device)
            linear.weight.data.copy_(module.weight.data.T)
            linear.bias.data.copy_(module.bias.data)
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, linear)
    return model


def fit_with_kronfluence(
    folder: Path,
    model: LanguageModel,
    layers: Sequence[TrackedLayer],
    table: DocumentTable,
    config: FitConfig,
    batch_tokens: int | None,
) -> None:
    """Run kronfluence's `fit_all_factors` and move its files into `folder`."""
    dtype = torch.promote_types(model.dtype, torch.float32)
    task = LanguageModelTask([layer.name for layer in layers])
    torch.manual_seed(config.seed)
    prepared = prepare_model(model=with_linear_layers(model.model).eval(), task=task)
    analyzer = Analyzer(
        analysis_name="kronfluence",
        model=prepared,
        task=task,
        cpu=model.device.type == "cpu",
        output_dir=str(folder),
    )
    analyzer.set_dataloader_kwargs(DataLoaderKwargs(collate_fn=collate))
    arguments = FactorArguments(
        use_empirical_fisher=config.empirical,
        covariance_max_examples=None,
        lambda_max_examples=None,
        activation_covariance_dtype=dtype,
        gradient_covariance_dtype=dtype,
        per_sample_gradient_dtype=dtype,
        lambda_dtype=dtype,
    )
    order = length_order(table.lengths)
    analyzer.fit_all_factors(
        factors_name="fit",
        dataset=TokenDataset([(table.tokens(int(c)), 1, table.loss_mask(int(c))) for c in order]),
        per_device_batch_size=max(1, (batch_tokens or _BATCH_TOKENS) // int(table.lengths.max())),
        factor_args=arguments,
    )
    made = folder / "kronfluence" / "factors_fit"
    for name in (*COVARIANCES, *EIGEN, *LAMBDA):
        with whole_file(folder / f"{name}.safetensors") as part:
            (made / f"{name}.safetensors").replace(part)
    shutil.rmtree(folder / "kronfluence")
