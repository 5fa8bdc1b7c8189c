"""EK-FAC factors on disk, in kronfluence's files, names and scale.

One safetensors file per tensor name, each mapping layer name -> tensor:

    activation_covariance  Σ a aᵀ [I, I]      num_activation_covariance_processed  tokens [1]
    gradient_covariance    Σ s sᵀ [O, O]      num_gradient_covariance_processed    tokens [1]
    activation_eigenvectors [I, I], activation_eigenvalues [I]   of the mean covariance, ascending
    gradient_eigenvectors   [O, O], gradient_eigenvalues   [O]
    lambda_matrix  Σ (Q_Sᵀ G Q_A)² [O, I]     num_lambda_processed                 documents [1]

A folder of factors that kronfluence wrote (`factors_NAME`) opens here, and ours opens there.

A weight over the vocabulary, an output head or an embedding, has no covariance and no eigenvectors on the gradient's
side; `[I, I]` is then the covariance `C` of `influence.curvature.vocabulary`. kronfluence does not know these.

Where the experts of a layer share their covariances, these, eigenvectors and eigenvalues have the name of the matrix of
all experts, `….experts.down_proj`, and `lambda_matrix` that of each, `….experts.17.down_proj`.

Of covariances in blocks, each block of a layer's covariance, eigenvectors and eigenvalues is a tensor of its own,
`LAYER/0`, `LAYER/1`, …; kronfluence does not know these.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from influence.blocks import Eigenvectors, block_diagonal, block_suffixes
from influence.errors import StoreError
from influence.files import whole_file
from influence.store.artefact import open_complete, read_manifest, write_json
from influence.store.journal import verify_file
from influence.types import LayerFactors, VocabularyFactors

#: What `load_tensors(folder, name)` may find, in the order a fit makes them.
COVARIANCES = (
    "activation_covariance",
    "gradient_covariance",
    "num_activation_covariance_processed",
    "num_gradient_covariance_processed",
)
EIGEN = (
    "activation_eigenvectors",
    "activation_eigenvalues",
    "gradient_eigenvectors",
    "gradient_eigenvalues",
)
LAMBDA = ("lambda_matrix", "num_lambda_processed")
#: Number and matrix of an expert, at the end of its name.
_EXPERT = re.compile(r"\.\d+\.([^.]+)$")
#: More than any covariance has.
_MOST_BLOCKS = 1 << 16


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file atomically."""
    with whole_file(path) as part:
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, part, metadata)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Read a whole safetensors file; StoreError if it is missing or damaged."""
    try:
        return dict(load_file(path))
    except (OSError, SafetensorError) as error:
        raise StoreError(f"{path} cannot be read.", have=str(error), fix="Fit the Hessian again.") from error


def load_matrices(path: Path, suffixes: Sequence[str], device: torch.device) -> dict[str, Eigenvectors]:
    """The matrix of each layer from a whole file in which its blocks have these suffixes."""
    tensors = load_tensors(path)
    layers = [name.removesuffix(suffixes[0]) for name in tensors if name.endswith(suffixes[0])]
    return {
        layer: block_diagonal([tensors[layer + suffix].to(device) for suffix in suffixes]) for layer in layers
    }


def write_kronfluence_arguments(folder: Path, empirical: bool) -> None:
    """The file by which kronfluence recognises a folder of factors."""
    write_json(folder / "factor_arguments.json", {"strategy": "ekfac", "use_empirical_fisher": empirical})


@dataclass(frozen=True)
class Factors:
    """A finished EK-FAC Hessian; tensors are read a layer at a time.

    Attributes:
        manifest: What made it; None for a folder that kronfluence wrote.
    """

    folder: Path
    manifest: dict[str, Any] | None

    @cached_property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers it covers."""
        with self._open("lambda_matrix") as file:
            return tuple(file.keys())

    @cached_property
    def _verified(self) -> set[str]:
        """Files that were compared with their checksums."""
        return set()

    @property
    def identity(self) -> dict[str, Any]:
        """What a score store records of the Hessian it used."""
        return self.manifest["config"] if self.manifest else {"kronfluence": str(self.folder.resolve())}

    @property
    def covariance_blocks(self) -> int:
        """Blocks of each covariance."""
        count = self.manifest["config"].get("covariance_blocks", 1) if self.manifest else 1
        if not isinstance(count, int) or not 1 <= count <= _MOST_BLOCKS:
            raise StoreError(
                f"The manifest of {self.folder} is damaged.", have=f"covariance_blocks {count!r}"
            )
        return count

    @property
    def vocabulary(self) -> list[str]:
        """Names of the layers whose curvature is diagonal over the vocabulary."""
        names = self.manifest["config"].get("vocabulary", []) if self.manifest else []
        if not isinstance(names, list):
            raise StoreError(f"The manifest of {self.folder} is damaged.", have=f"vocabulary {names!r}")
        return names

    def layer(self, name: str) -> LayerFactors:
        """The factors of one layer; `lam` is a mean over documents.

        Raises:
            StoreError: they are missing, not finite, or all zero, which leaves nothing to divide by.
        """
        lam = self._lam(name)
        q_A, q_S = (
            block_diagonal(self._blocks(f"{kind}_eigenvectors", name)) for kind in ("activation", "gradient")
        )
        self._require_fit(name, lam, q_A, q_S)
        return LayerFactors(activation_eigenvectors=q_A, gradient_eigenvectors=q_S, lam=lam)

    def vocabulary_layer(self, name: str) -> VocabularyFactors:
        """The same of an output head or an embedding."""
        lam = self._lam(name)
        q = block_diagonal(self._blocks("activation_eigenvectors", name))
        self._require_fit(name, lam, q)
        return VocabularyFactors(eigenvectors=q, lam=lam)

    def _lam(self, name: str) -> Tensor:
        lam = self._tensor("lambda_matrix", name).double() / self._tensor("num_lambda_processed", name)
        if not lam.any():
            raise StoreError(
                f"{name} has no curvature in {self.folder}: its gradient was zero on every document of the fit.",
                fix="Fit the Hessian again, leaving it out of --layers.",
            )
        return lam

    def _require_fit(
        self, name: str, lam: Tensor, q_A: Eigenvectors, q_S: Eigenvectors | None = None
    ) -> None:
        outputs, inputs = lam.shape if lam.ndim == 2 else (0, 0)
        shapes = [list(q.shape) for q in (q_S, q_A) if q is not None]
        if q_A.shape != (inputs, inputs) or (q_S is not None and q_S.shape != (outputs, outputs)):
            raise StoreError(
                f"The factors of {name} in {self.folder} do not fit each other.",
                have=f"lambda {list(lam.shape)}, eigenvectors {' and '.join(map(str, shapes))}",
                fix="Fit the Hessian again.",
            )

    def token_eigenvalues(self, name: str) -> tuple[Tensor, Tensor]:
        """Eigenvalues of the covariances of one layer, over tokens: of `S [O]` and of `A [I]`."""
        e_S, e_A = (
            torch.cat(self._blocks(f"{kind}_eigenvalues", name)) for kind in ("gradient", "activation")
        )
        return e_S, e_A

    def shape(self, name: str) -> tuple[int, int]:
        """Shape of the gradient matrix of a layer, `(O, I)`."""
        with self._open("lambda_matrix") as file:
            outputs, inputs = file.get_slice(name).get_shape()
        return outputs, inputs

    def _basis(self, name: str) -> str:
        """Name of a layer's covariances: its own, or that of all experts beside it where they share them."""
        if self.manifest is None or self.manifest["config"].get("expert_covariances") != "shared":
            return name
        return _EXPERT.sub(r".\1", name) if name not in self._bases else name

    @cached_property
    def _bases(self) -> set[str]:
        with self._open("activation_eigenvectors") as file:
            suffix = block_suffixes(self.covariance_blocks)[0]
            return {key.removesuffix(suffix) for key in file.keys() if key.endswith(suffix)}  # noqa: SIM118

    def _blocks(self, kind: str, name: str) -> list[Tensor]:
        name = self._basis(name)
        return [self._tensor(kind, name + suffix) for suffix in block_suffixes(self.covariance_blocks)]

    def _tensor(self, kind: str, name: str) -> Tensor:
        with self._open(kind) as file:
            try:
                tensor: Tensor = file.get_tensor(name)
            except SafetensorError as error:
                raise StoreError(
                    f"{self.folder} holds no {kind} of {name}.", fix="Fit the Hessian again."
                ) from error
        if not torch.isfinite(tensor).all():
            raise StoreError(
                f"{kind} of {name} in {self.folder} is not finite.", fix="Fit the Hessian again."
            )
        return tensor

    def _open(self, kind: str) -> Any:
        path = self.folder / f"{kind}.safetensors"
        if self.manifest is not None and kind not in self._verified:
            verify_file(self.folder, self.manifest, path.name)
            self._verified.add(kind)
        try:
            return safe_open(path, framework="pt")
        except (OSError, SafetensorError) as error:
            raise StoreError(
                f"{path} cannot be read.", have=str(error), fix="Fit the Hessian again."
            ) from error


def open_factors(folder: str | Path) -> Factors:
    """Open a finished fit: ours, or a `factors_NAME` folder of kronfluence.

    Raises:
        StoreError: there is none, or it is unfinished.
    """
    folder = Path(folder)
    if read_manifest(folder) is None and (folder / "factor_arguments.json").exists():
        missing = [name for name in (*EIGEN[::2], *LAMBDA) if not (folder / f"{name}.safetensors").exists()]
        if missing:
            raise StoreError(
                f"{folder} is an incomplete kronfluence fit.",
                have="missing " + ", ".join(missing),
                fix="Finish it with kronfluence's fit_all_factors, strategy ekfac.",
            )
        return Factors(folder, None)
    return Factors(folder, open_complete(folder, "hessian", verified=0))
