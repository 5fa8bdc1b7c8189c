"""The notebook API from end to end, in seconds and without a network.

The cells (`# %%`) open in Jupyter, VS Code and Spyder; `python docs/example_notebook.py` runs them all. The model here
is random and tiny, so its scores mean nothing. With your own, only the cells of model, corpus and queries change.
"""
# ruff: noqa: T201

# %% A model: yours would be inf.load_model("EleutherAI/pythia-14m") or inf.load_model("path/to/a/folder")
import datasets
import tokenizers
import torch
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

import influence as inf

torch.manual_seed(0)
letters = {letter: number for number, letter in enumerate("?abcdefghijklmnopqrstuvwxyz0123456789 .,:()+-*/=")}
spelling = tokenizers.Tokenizer(tokenizers.models.WordLevel(letters, unk_token="?"))
spelling.pre_tokenizer = tokenizers.pre_tokenizers.Split("", "isolated")  # one token a letter
tokenizer = PreTrainedTokenizerFast(tokenizer_object=spelling, unk_token="?")
network = GPT2LMHeadModel(
    GPT2Config(vocab_size=len(letters), n_positions=128, n_embd=32, n_layer=2, n_head=2)
)
model = inf.LanguageModel(network.eval(), tokenizer)

# %% A corpus: yours would be inf.read_corpus("documents.jsonl"), a folder, Parquet, or the name of a hub dataset
records = [
    {"id": "rule", "source": "text", "text": "the slope of a line is the rise over the run."},
    {"id": "worked", "source": "text", "text": "from (1, 2) to (3, 8) the slope is (8 - 2) / (3 - 1) = 3."},
    {"id": "code", "source": "code", "text": "def slope(a, b, c, d): return (d - b) / (c - a)"},
    {"id": "weather", "source": "text", "text": "it rained all night and the river rose."},
]
corpus = inf.read_corpus(datasets.Dataset.from_list(records))

# %% Queries: yours would be inf.read_queries("queries.jsonl")
queries = [
    inf.Query(
        id="slope",
        task="slopes",
        group="reasoning",
        prompt="what is the slope from (2, 1) to (4, 9)?",
        completion=" (9 - 1) / (4 - 2) = 4.",
    ),
    inf.Query(
        id="rain",
        task="weather",
        group="factual",
        prompt="what did it do all night?",
        completion=" it rained.",
    ),
]

# %% The Hessian, then the scores: both are kept in folders, and run only once
factors = inf.fit_hessian(model, corpus, out="runs/example/hessian")
scores = inf.score(model, factors, queries, corpus, out="runs/example/scores")

# %% Who raised (positive) or lowered (negative) the log-probability of the completion?
print(scores.top("slope", k=4))

# %% All numbers, as arrays: a row a query, a column a document
print(scores.dot.shape, scores.per_nat.shape, scores.normed.shape)

# %% Later, without the model and without torch
scores = inf.open_scores("runs/example/scores")
print(inf.write_report("runs/example/scores", out="runs/example/report.html"))
