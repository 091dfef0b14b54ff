"""Whatever tokenizer is used, the special tokens are ids 0 to 3 and texts are read as before."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from shard_files import caption, pairs, write_tar
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from mm1core.config import FilesConfig, TokenizerConfig
from mm1core.data import corpus
from mm1core.data.document import END
from mm1core.data.fingerprint import fingerprint
from mm1core.data.index import Index
from mm1core.data.text import SPECIAL_TOKENS
from mm1core.data.tokenizer import run, with_special_tokens
from mm1core.errors import DataError, Interrupted
from mm1core.open import read_tokenizer
from mm1core.stages import CorpusStage, TokenizerStage

TEXTS = ["a red circle and a blue square", "two small circles", "naïve café", "1,234.5 % of it all"] * 4


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("corpora")
    write_tar(folder / "a.tar", pairs(range(60)))
    (folder / "work").mkdir()
    files = FilesConfig(format="webdataset", paths=(str(folder / "a.tar"),), held_out=0.3)
    corpus.run(CorpusStage(source="captions", files=files), inputs={}, work=folder / "work", stop=lambda: None)
    return {"corpus:captions": folder / "work"}


def build(work: Path, inputs: dict[str, Path], **config: object) -> dict[str, object]:
    work.mkdir(exist_ok=True)
    stage = TokenizerStage(tokenizer=TokenizerConfig(**config))  # type: ignore[arg-type]
    return run(stage, inputs=inputs, work=work, stop=lambda: None)


def ids(tokenizer: Tokenizer) -> list[int | None]:
    return [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS]


def test_a_trained_tokenizer_has_its_specials_and_loses_no_text(tmp_path: Path, corpora: dict[str, Path]) -> None:
    result = build(tmp_path / "work", corpora, vocabulary=300)
    made = read_tokenizer(tmp_path / "work" / "tokenizer.json")
    assert ids(made) == [0, 1, 2, 3]
    assert result == {"vocabulary": made.get_vocab_size()}
    assert made.get_vocab_size() == 300
    for text in (caption(3), "never seen: naïve 東京 🙂\n\t", "  spaces  "):
        assert made.decode(made.encode(text).ids) == text
    assert len(made.encode(caption(3)).ids) < len(caption(3))  # something was learned
    assert made.encode(f"x{END}").ids[-1] == 2


def test_training_reads_the_train_split_alone(
    tmp_path: Path, corpora: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    text = Index.text
    monkeypatch.setattr(Index, "text", lambda index, number: (read.append(number), text(index, number))[1])
    build(tmp_path / "work", corpora)
    assert read == Index(corpora["corpus:captions"], "captions").numbers("train").tolist()


def test_training_gives_the_same_file_in_any_process(tmp_path: Path, corpora: dict[str, Path]) -> None:
    build(tmp_path / "here", corpora, vocabulary=330)
    program = """
import sys
from pathlib import Path
from mm1core.config import TokenizerConfig
from mm1core.data.tokenizer import run
from mm1core.stages import TokenizerStage
stage = TokenizerStage(tokenizer=TokenizerConfig(vocabulary=330))
run(stage, inputs={"corpus:captions": Path(sys.argv[1])}, work=Path(sys.argv[2]), stop=lambda: None)
"""
    for number, environment in enumerate(({"RAYON_NUM_THREADS": "1"}, {"RAYON_NUM_THREADS": "3"})):
        (tmp_path / str(number)).mkdir()
        arguments = [str(corpora["corpus:captions"]), str(tmp_path / str(number))]
        subprocess.run([sys.executable, "-c", program, *arguments], check=True, env=environment)
        made = (tmp_path / str(number) / "tokenizer.json").read_bytes()
        assert made == (tmp_path / "here" / "tokenizer.json").read_bytes()


def test_training_stops_on_request(tmp_path: Path, corpora: dict[str, Path]) -> None:
    with pytest.raises(Interrupted, match="preempted"):
        run(TokenizerStage(tokenizer=TokenizerConfig()), inputs=corpora, work=tmp_path, stop=lambda: "preempted")
    assert list(tmp_path.iterdir()) == []


def bpe() -> Tokenizer:
    made = Tokenizer(models.BPE(dropout=0.5))
    made.pre_tokenizer = pre_tokenizers.ByteLevel()
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        TEXTS,
        trainers.BpeTrainer(
            vocab_size=300, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
        ),
    )
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 1)])
    made.enable_padding(length=50)
    return made


def bpe_with_own_pad() -> Tokenizer:
    made = bpe()
    made.add_special_tokens(["<pad>", "<extra>"])
    made.add_tokens(["circles"])
    return made


def word_piece() -> Tokenizer:
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    made.train_from_iterator(
        TEXTS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[UNK]", "[CLS]"], show_progress=False)
    )
    return made


def unigram() -> Tokenizer:
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    made.train_from_iterator(
        TEXTS,
        trainers.UnigramTrainer(vocab_size=60, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False),
    )
    return made


def already_right() -> Tokenizer:
    made = Tokenizer(models.WordLevel({token: number for number, token in enumerate([*SPECIAL_TOKENS, "red", "[U]"])}))
    made.model.unk_token = "[U]"
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return made


@pytest.mark.parametrize("kind", [bpe, bpe_with_own_pad, word_piece, unigram, already_right])
def test_a_loaded_tokenizer_gets_the_specials_and_reads_texts_as_before(kind, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    brought = kind()
    brought.save(str(tmp_path / "brought.json"))
    result = build(tmp_path / "work", {}, path=str(tmp_path / "brought.json"))
    made = read_tokenizer(tmp_path / "work" / "tokenizer.json")
    assert ids(made) == [0, 1, 2, 3]
    assert result == {"vocabulary": made.get_vocab_size()}
    assert sorted(made.get_vocab().values()) == list(range(made.get_vocab_size()))
    brought.no_padding()
    if isinstance(brought.model, models.BPE):
        brought.model.dropout = None
    for text in (*TEXTS[:4], "red circles everywhere, unseen"):
        expected = brought.encode(text, add_special_tokens=False)
        assert made.encode(text).tokens == expected.tokens
        assert made.decode(made.encode(text).ids) == brought.decode(expected.ids)
    for token in SPECIAL_TOKENS:
        assert made.encode(token).tokens == [token]


def test_gaps_between_ids_are_closed() -> None:
    content = json.loads(Tokenizer(models.BPE({"a": 0, "b": 1, "ab": 2}, [("a", "b")])).to_str())
    content["model"]["vocab"] = {"a": 1, "b": 5, "ab": 9, "<pad>": 7}
    made = with_special_tokens(Tokenizer.from_str(json.dumps(content)))
    assert made.get_vocab() == {**{token: n for n, token in enumerate(SPECIAL_TOKENS)}, "a": 4, "b": 5, "ab": 6}


def test_a_path_that_holds_no_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"model": {}}')
    with pytest.raises(DataError, match=r"data\.tokenizer\.path.*bad\.json.*tokenizer"):
        build(tmp_path / "work", {}, path=str(tmp_path / "bad.json"))
    with pytest.raises(DataError, match=r"data\.tokenizer\.path.*absent"):
        build(tmp_path / "work", {}, path=str(tmp_path / "absent.json"))
    assert list((tmp_path / "work").iterdir()) == []


def test_another_file_than_fingerprinted_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    word_piece().save(str(path))
    known = fingerprint([str(path)], key="data.tokenizer.path")
    build(tmp_path / "work", {}, path=str(path), fingerprint=known)
    unigram().save(str(path))
    with pytest.raises(DataError, match="changed"):
        build(tmp_path / "work", {}, path=str(path), fingerprint=known)
