"""The ``tokenizer`` stage: a byte-level BPE trained on the texts of the file sources, or one that the user brings.

Whatever its origin, the special tokens of ``document.py`` have ids 0 to 3 in the ``tokenizer.json`` written. A
tokenizer that lacks them there is given them: its own tokens move behind and keep their order. ``<bos>`` and ``<end>``
are placed by the documents, so what a loaded tokenizer adds by itself (its post-processor) is dropped, as are padding
and truncation.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from mm1core.data.fingerprint import combine, digest
from mm1core.data.index import Index
from mm1core.data.text import SPECIAL_TOKENS
from mm1core.errors import DataError, Interrupted
from mm1core.stages import TokenizerStage
from mm1core.storage import write_atomically

_CHECK_EVERY = 256
_PROBES = ("A photo of two red circles.", "a", "  spaces \n and\ttabs ", "naïve café 東京 🙂", "1,234.5% (approx.)")
"""Texts that a renumbered tokenizer must split as it did before."""


def run(
    stage: TokenizerStage, *, inputs: Mapping[str, Path], work: Path, stop: Callable[[], str | None]
) -> dict[str, Any]:
    """Write ``tokenizer.json``. Result: the entries of the vocabulary, special tokens included.

    Inputs: ``corpus:<source>`` of every source; only their train splits are read. Raises ``DataError`` for a file that
    is not a tokenizer, or not the one whose fingerprint the configuration holds.
    """
    if stage.tokenizer.path is None:
        corpora = {role: path for role, path in sorted(inputs.items()) if role.startswith("corpus:")}
        tokenizer = train(_texts(corpora, stop), vocabulary=stage.tokenizer.vocabulary)
    else:
        tokenizer = load(Path(stage.tokenizer.path).expanduser(), fingerprint=stage.tokenizer.fingerprint)
    write_atomically(work / "tokenizer.json", lambda file: file.write(tokenizer.to_str(pretty=True).encode()))
    return {"vocabulary": tokenizer.get_vocab_size()}


def train(texts: Iterator[str], *, vocabulary: int) -> Tokenizer:
    """A byte-level BPE of at most ``vocabulary`` entries: it can encode any text, which decodes to itself."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _texts(corpora: Mapping[str, Path], stop: Callable[[], str | None]) -> Iterator[str]:
    for role, folder in corpora.items():
        index = Index(folder, role.removeprefix("corpus:"))
        for count, number in enumerate(index.numbers("train")):
            if count % _CHECK_EVERY == 0 and (reason := stop()):
                raise Interrupted(reason)
            yield index.text(int(number))


def load(path: Path, *, fingerprint: str = "") -> Tokenizer:
    """The tokenizer at ``path`` with the special tokens as ids 0 to 3."""
    key = "data.tokenizer.path"
    try:
        content = path.read_bytes()
        found = combine([digest(path)])
    except OSError as error:
        raise DataError(f"{key}: {path} cannot be read: {error.strerror}") from error
    if fingerprint not in ("", found):
        raise DataError(f"{key}: {path} has changed since the sweep was read; read it again")
    try:
        tokenizer = Tokenizer.from_str(content.decode())
    except Exception as error:  # the tokenizers library raises no narrower class
        raise DataError(f"{key}: {path} is not a tokenizer.json of the tokenizers library: {error}") from error
    try:
        return with_special_tokens(tokenizer)
    except DataError as error:
        raise DataError(f"{key}: {path}: {error}") from error


def with_special_tokens(tokenizer: Tokenizer) -> Tokenizer:
    """The same tokenizer with the special tokens as ids 0 to 3, adding nothing by itself and without dropout."""
    plain = {**json.loads(tokenizer.to_str()), "post_processor": None, "padding": None, "truncation": None}
    if "dropout" in plain["model"]:
        plain["model"]["dropout"] = None  # it would make the tokens of a text random
    before = Tokenizer.from_str(json.dumps(plain))
    if [before.token_to_id(token) for token in SPECIAL_TOKENS] != list(range(len(SPECIAL_TOKENS))):
        ids = _shifted(before)
        plain["model"] = _renumbered(plain["model"], ids)
        plain["added_tokens"] = [{**token, "id": ids[token["content"]]} for token in plain["added_tokens"]]
        plain["added_tokens"].sort(key=lambda token: token["id"])
    try:
        after = Tokenizer.from_str(json.dumps(plain))
    except Exception as error:  # the tokenizers library raises no narrower class
        raise DataError(f"it cannot be renumbered to make room for {', '.join(SPECIAL_TOKENS)}: {error}") from error
    after.add_special_tokens(list(SPECIAL_TOKENS))
    ids_now = [after.token_to_id(token) for token in SPECIAL_TOKENS]
    if ids_now != list(range(len(SPECIAL_TOKENS))):
        raise DataError(
            f"the special tokens {', '.join(SPECIAL_TOKENS)} must have ids 0 to 3 and got {ids_now}; "
            "give a tokenizer that has them there"
        )
    for text in _PROBES:
        if before.encode(text).tokens != after.encode(text).tokens:
            raise DataError(
                f"with the special tokens {', '.join(SPECIAL_TOKENS)} put before its vocabulary it reads {text!r} "
                "differently; give a tokenizer that has them as ids 0 to 3"
            )
    return after


def _shifted(tokenizer: Tokenizer) -> dict[str, int]:
    """New ids: the special tokens first, then everything else in its old order."""
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    others = sorted((token for token in vocabulary if token not in SPECIAL_TOKENS), key=lambda token: vocabulary[token])
    return {token: number for number, token in enumerate([*SPECIAL_TOKENS, *others])}


def _renumbered(model: dict[str, Any], ids: Mapping[str, int]) -> dict[str, Any]:
    """The model of a ``tokenizer.json`` with new ids and the special tokens among its vocabulary."""
    old = model["vocab"]
    if isinstance(old, dict):
        return {**model, "vocab": {token: ids[token] for token in sorted({*SPECIAL_TOKENS, *old}, key=ids.__getitem__)}}
    # Unigram: a list of (token, log probability) whose places are the ids.
    scores = {**dict.fromkeys(SPECIAL_TOKENS, 0.0), **dict(old)}
    unknown = None if model["unk_id"] is None else ids[old[model["unk_id"]][0]]
    return {
        **model,
        "vocab": [[token, scores[token]] for token in sorted(scores, key=ids.__getitem__)],
        "unk_id": unknown,
    }
