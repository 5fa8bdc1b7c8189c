"""The student, the emulator, and both coupled: any causal language model with small networks beside it."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from influence.errors import StoreError
from influence.files import whole_file
from influence.models.load import DType, LanguageModel, check_stored, dtype_and_device
from influence.store.artefact import write_json
from influence.train.core.batches import Batch
from influence.train.kd.states import at, blocks, changed_inputs, put

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Of the choice between components when no chain says which (released code).
TEMPERATURE = 0.05

_WEIGHTS, _ABOUT = "beside.safetensors", "beside.json"


def _perceptron(inputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))


class Student(nn.Module):
    """A language model that reads one state a layer at the separator (section 3.1).

    Args:
        base: The language model; all of it is trained.
    """

    def __init__(self, base: PreTrainedModel) -> None:
        super().__init__()
        self.base = base
        width, layers = int(base.config.hidden_size), len(blocks(base))
        self.readers = nn.ModuleList(_perceptron(width, width) for _ in range(layers))

    def read(self, states_BLD: Tensor) -> Tensor:
        """What stands at the separator instead of the model's own states, `[B, L, D]`."""
        return torch.stack([reader(states_BLD[:, i]) for i, reader in enumerate(self.readers)], dim=1)

    def forward(self, inputs: Batch, separator_B: Tensor, states_BLD: Tensor) -> tuple[Tensor, Tensor]:
        """Logits `[B, K, V]` and the labels they are to predict, from sequences without a chain."""
        read_BLD = self.read(states_BLD)
        with changed_inputs(self.base, lambda layer, h: put(h, separator_B, read_BLD[:, layer])):
            logits_BTV = self.base(input_ids=inputs["input_ids"], use_cache=False).logits
        labels_BK = inputs["labels"]  # of the last K places
        return logits_BTV[:, -labels_BK.shape[1] - 1 : -1], labels_BK


class Emulator(nn.Module):
    """A language model that predicts the teacher's states from the input (section 3.2), in one pass over it.

    At layer l the state at the separator and the embedding of a mixture component give the prediction ẑ_l. An LSTM
    carries predictions upward, attending to what it gave at the layers below; its output takes the state's place.

    Args:
        base: The language model; all of it is trained.
        components: 1, or the size of the vocabulary: then a component is a token of the chain, for tasks whose chain
            does not follow from the input.
    """

    def __init__(self, base: PreTrainedModel, components: int = 1) -> None:
        super().__init__()
        self.base = base
        width, layers = int(base.config.hidden_size), len(blocks(base))
        self.heads = nn.ModuleList(_perceptron(2 * width, width) for _ in range(layers))
        self.components = nn.Embedding(components, width)
        self.upward = nn.LSTMCell(width, width)
        self.key = nn.Linear(width, width)
        self.query = nn.Linear(width, width)
        self.out = nn.Linear(2 * width, width)

    def forward(
        self, ids_BT: Tensor, separator_B: Tensor, given_BL: Tensor | None = None, **inputs: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Predicted states, float32 `[B, L, D]`, and the logits of the components, `[B, L, C]`; None with one.

        Args:
            ids_BT: The input up to the separator; what follows does not matter.
            separator_B: Its place.
            given_BL: The components to use, known in training from the chain; None: chosen at `TEMPERATURE`.
            inputs: What else the language model gets, such as a mask.
        """
        predicted: list[Tensor] = []
        choices: list[Tensor] = []
        carry = Carry(self)

        def emulate(layer: int, states_BTD: Tensor) -> Tensor:
            own_BD = at(states_BTD, separator_B)
            component_BD, logits_BC = self._component(
                own_BD, None if given_BL is None else given_BL[:, layer]
            )
            predicted.append(self.heads[layer](torch.cat([own_BD, component_BD], dim=-1)))
            choices.append(logits_BC)
            return put(states_BTD, separator_B, carry.step(predicted[-1]))

        with changed_inputs(self.base, emulate):
            self.base.base_model(input_ids=ids_BT, use_cache=False, **inputs)
        logits_BLC = torch.stack(choices, dim=1) if self.components.num_embeddings > 1 else None
        return torch.stack(predicted, dim=1).float(), logits_BLC

    def _component(self, own_BD: Tensor, given_B: Tensor | None) -> tuple[Tensor, Tensor]:
        """The embedding of the component, `[B, D]`, and the logits of all, `[B, C]`."""
        embeddings_CD = self.components.weight
        logits_BC = own_BD @ embeddings_CD.to(own_BD.dtype).T
        if given_B is not None and len(embeddings_CD) > 1:
            return self.components(given_B).to(own_BD.dtype), logits_BC
        share_BC = (logits_BC / TEMPERATURE).softmax(-1)  # 1 where there is one component
        return share_BC @ embeddings_CD.to(own_BD.dtype), logits_BC


class Carry:
    """The LSTM's way up through the layers of one pass, with attention to its keys of the layers below."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._state: tuple[Tensor, Tensor] | None = None
        self._keys: list[Tensor] = []
        self._context: Tensor | None = None

    def step(self, predicted_BD: Tensor) -> Tensor:
        """What stands at the separator after the prediction of the next layer, `[B, D]`."""
        emulator = self._emulator
        context_BD = torch.zeros_like(predicted_BD) if self._context is None else self._context
        self._state = emulator.upward(predicted_BD + context_BD, self._state)
        output_BD = self._state[0]
        if self._keys:
            keys_BPD = torch.stack(self._keys, dim=1)
            share_BP = (keys_BPD @ emulator.query(output_BD)[:, :, None]).squeeze(-1).softmax(-1)
            context_BD = (share_BP[:, None] @ keys_BPD).squeeze(1)
            self._context = context_BD
        self._keys.append(emulator.key(output_BD))
        result: Tensor = emulator.out(torch.cat([output_BD, context_BD], dim=-1))
        return result


class Coupled(nn.Module):
    """Emulator and student as one model (section 3.3), which generates as any causal language model.

    The first call of a generation gets the prompt, which ends with the separator in every row; later calls pass the
    cache of the student. `forward` has the arguments and the result of a causal language model.
    """

    def __init__(self, emulator: Emulator, student: Student) -> None:
        super().__init__()
        self.emulator = emulator
        self.student = student

    @property
    def config(self) -> Any:
        """The student's."""
        return self.student.base.config

    @property
    def device(self) -> torch.device:
        """Where the student lies."""
        return self.student.base.device

    def answer_logits(
        self, inputs: Batch, prompt_ids_BT: Tensor, separator_B: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits `[B, K, V]` and labels `[B, K]` of sequences without a chain, for training."""
        states_BLD, _ = self.emulator(prompt_ids_BT, separator_B)
        logits_BKV, labels_BK = self.student(inputs, separator_B, states_BLD)
        return logits_BKV, labels_BK

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool = True,
    ) -> Any:
        """The student's output; states are emulated and put in place at the last token of a prompt."""
        given = {"attention_mask": attention_mask, "position_ids": position_ids}
        known = inspect.signature(self.student.base.forward).parameters
        given = {name: value for name, value in given.items() if value is not None and name in known}
        call: Any = self.student.base
        if past_key_values is not None:
            return call(input_ids=input_ids, past_key_values=past_key_values, use_cache=use_cache, **given)
        last_B = torch.full((len(input_ids),), input_ids.shape[1] - 1, device=input_ids.device)
        states_BLD, _ = self.emulator(input_ids, last_B, **given)
        read_BLD = self.student.read(states_BLD.to(self.student.base.dtype))
        with changed_inputs(self.student.base, lambda layer, h: put(h, last_B, read_BLD[:, layer])):
            return call(input_ids=input_ids, use_cache=use_cache, **given)


def save(module: Student | Emulator, folder: Path) -> None:
    """Write the language model as a checkpoint of its own, and the networks beside it."""
    from safetensors.torch import save_file

    module.base.save_pretrained(folder)
    components = module.components.num_embeddings if isinstance(module, Emulator) else 0
    write_json(folder / _ABOUT, {"kind": type(module).__name__.lower(), "components": components})
    beside = {n: t.contiguous() for n, t in module.state_dict().items() if not n.startswith("base.")}
    with whole_file(folder / _WEIGHTS) as part:
        save_file(beside, part)


def load(folder: Path, dtype: DType = "float32", device: str | None = None) -> Student | Emulator:
    """What `save` wrote; StoreError where it is damaged, ModelError for tf32 without a GPU."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    weights, device = dtype_and_device(dtype, device)
    check_stored(folder)
    try:
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        beside = load_file(folder / _WEIGHTS)
        base = AutoModelForCausalLM.from_pretrained(folder, dtype=weights)
        student = about["kind"] == "student"
        module = Student(base) if student else Emulator(base, int(about["components"]))
        found = module.load_state_dict(beside, strict=False)
        missing = [name for name in found.missing_keys if not name.startswith("base.")]
        if missing or found.unexpected_keys:
            raise ValueError(f"weights of other shape: {missing or found.unexpected_keys}")
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise StoreError(
            f"{folder} holds no student or emulator of ICoT-KD.",
            have=f"{type(error).__name__}: {error}",
            fix="Train it again with influence train icot-kd.",
        ) from error
    return module.to(device, weights).eval()


def load_coupled(folder: Path, dtype: DType = "float32", device: str | None = None) -> LanguageModel:
    """The model of a finished run, from its `coupled` folder, as one that generates like any other.

    It is given the prompt `input SEP` and writes `SEP #### answer EOS`: call it with prompts of one batch padded on the
    left, each ending with SEP, then with the tokens it chose and `past_key_values`. `influence.train.stepwise.
    generate.generate` does that.

    Raises:
        StoreError: The folder is damaged.
    """
    check_stored(folder)
    emulator, student = (load(folder / name, dtype, device) for name in ("emulator", "student"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    coupled: Any = Coupled(cast(Emulator, emulator), cast(Student, student)).eval()
    return LanguageModel(coupled, tokenizer, str(folder))
