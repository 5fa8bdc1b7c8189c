"""Implicit chain of thought by knowledge distillation, the baseline ICoT-KD (Deng et al. 2023, arXiv 2311.01460).

A *teacher* reasons in words, from left to right; a *student* is to reason from layer to layer. In four trainings:

1. Teacher: a language model with explicit chain of thought.
2. Student, "Mind-Reading the Teacher" (section 3.1): it answers without a chain, but reads one hidden state of the
   teacher a layer, taken along the diagonal of layers and chain (`states`), in place of its own state at the separator.
3. Emulator, "Thought Emulation" (section 3.2): it predicts those states from the input alone.
4. Coupled, "Couple and Optimize" (section 3.3): the student reads what the emulator predicts, and both are trained to
   answer; states of the teacher are not used any more.

As published (sections are the paper's; networks and numbers are those of the code released with it): layer l gives
its input, embeddings being the input of layer 0; states are brought to mean 0 and variance 1; the student maps each
by a layer's own two-layer perceptron (4 times the width, ReLU); the emulator's prediction of layer l goes through an
LSTM with attention over the layers below and takes the place of its own state; loss of the emulator ½‖z − ẑ‖² summed
over layers; optional mixture over chain tokens, chosen by a softmax at temperature 0.05; every model begins as the
same base; AdamW with weight decay 0.01, constant learning rate 5e-5, batches of 32, gradients clipped at norm 1, no
dropout but in the teacher; up to 40 epochs, 1 for the teacher.

Left open there, chosen here: the component of a layer is the token at the place its state is taken from, and its
log-likelihood has weight 1.

Otherwise than there: each example has the diagonal of its own chain (the released code takes the slope of a batch's
first); sequences without a chain keep both separators, as everywhere in this program; the epoch with the least loss on
held-out examples is what the next training begins from; any causal language model will do, not only GPT-2.

Depth matters: with L layers the student reads L states, and the first, the embedding of a separator, says nothing. On
2×2 multiplication a student of 2 layers (width 128) reading a teacher that is always right stayed at 2 % of the answers
after 6 epochs; one of 8 layers (width 64) was at 27 % after 5 and rising.
"""
