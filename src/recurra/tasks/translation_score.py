"""How good translations are: BLEU (Papineni et al. 2002) and chrF (Popovic 2015) as sacrebleu computes them."""

from collections.abc import Sequence
from typing import Any

from recurra.errors import ConfigError

__all__ = ["score", "signatures"]


def score(translations: Sequence[str], references: Sequence[str], tokenize: str) -> dict[str, float]:
    """BLEU and chrF of a whole part, each from 0 to 100: cased, on text as people write it.

    tokenize  what BLEU counts as a word: "13a" where words stand between spaces, "zh" or "char" for Chinese
    """
    bleu, chrf = _metrics(tokenize)
    return {
        "bleu": bleu.corpus_score(list(translations), [list(references)]).score,
        "chrf": chrf.corpus_score(list(translations), [list(references)]).score,
    }


def signatures(tokenize: str) -> dict[str, str]:
    """How sacrebleu computed each number: enough to compute it again anywhere."""
    found = {}
    for name, metric in zip(("bleu", "chrf"), _metrics(tokenize), strict=True):
        metric.corpus_score(["a"], [["a"]])  # a signature counts the references, so it comes after a score
        found[name] = str(metric.get_signature())
    return found


def _metrics(tokenize: str) -> tuple[Any, Any]:
    try:
        from sacrebleu.metrics import BLEU, CHRF
    except ImportError as error:
        raise ConfigError(
            "BLEU and chrF need the library sacrebleu; install it with: pip install 'recurra[text]'"
        ) from error
    try:
        return BLEU(tokenize=tokenize), CHRF()
    except (ImportError, RuntimeError) as error:  # ja-mecab needs a library of its own
        raise ConfigError(f"score.tokenize: sacrebleu cannot cut text by {tokenize!r} here: {error}") from error
