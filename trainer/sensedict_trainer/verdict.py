"""What a comparison says in words, and what it does not say. Every sentence follows from the numbers."""

from __future__ import annotations

from sensedict_trainer.evaluate import Interval, Measure, paired_interval
from sensedict_trainer.results import NAMES, Results

# Below this many training tokens a student is far from convergence whatever the teacher (the paper trains on millions).
_SMALL = 10_000_000


def seeds(results: Results) -> list[int]:
    """Seeds that some student was trained with, rising."""
    return sorted({row.seed for row in results.rows if row.seed is not None})


def scale(results: Results) -> str:
    """How much this run can show."""
    tokens = max((row.trained_tokens for row in results.rows), default=0)
    ran = seeds(results)
    size = f"Each student saw {tokens:,} training tokens, with {len(ran)} seed{'s' if len(ran) != 1 else ''}"
    size += f" ({', '.join(map(str, ran))})."
    if tokens < _SMALL:
        return (
            f"{size} **A run of this size shows the path, not the effect:** every part did its work on real input, "
            "and the students are far from convergence. Which objective is better at the end cannot be read from it."
        )
    return (
        f"{size} One comparison is not yet evidence: it takes settings tuned for each objective on data that is never "
        "reported on, a measure named beforehand, and seeds enough for a paired test."
    )


def dskd_against_kd(results: Results) -> str:
    """DSKD's difference to KD in CE and KL, with its interval; empty where one of the two was not run."""
    return _comparison(results, "dskd", "kd")


def control_against_dskd(results: Results) -> str:
    """The control's difference to DSKD, and plain words when the control is ahead."""
    text = _comparison(results, "kd+mse", "dskd")
    if not text:
        return ""
    ce = _interval(results, "kd+mse", "dskd", "cross_entropy")
    purpose = (
        "The control pulls the student's hidden states straight to the teacher's at the same positions, without a "
        "dictionary: what it gains is the gain of being told where the teacher's states lie."
    )
    if ce.high < 0:
        return f"{text} **The control is ahead of DSKD here.** {purpose}"
    if ce.difference < 0:
        return f"{text} The control is ahead of DSKD here, by less than the interval's width. {purpose}"
    return f"{text} {purpose}"


def _comparison(results: Results, first: str, second: str) -> str:
    if not _common_seeds(results, first, second):
        return ""
    ce, kl = (_interval(results, first, second, measure) for measure in ("cross_entropy", "kl"))
    name, other = NAMES[first], NAMES[second]
    side = "lower than" if ce.high < 0 else "higher than" if ce.low > 0 else "not told apart from"
    over = (
        "windows and seeds"
        if len(_common_seeds(results, first, second)) > 1
        else "windows; one seed says nothing of the spread over seeds"
    )
    return (
        f"{name} against {other}: held-out CE {side} the other's, {_signed(ce)}; KL {_signed(kl)} "
        f"(difference and 95% interval, paired bootstrap over {over})."
    )


def _common_seeds(results: Results, first: str, second: str) -> list[int]:
    """Seeds that both were trained with: only those can be paired."""
    right = {row.seed for row in results.of(second)}
    return [row.seed for row in results.of(first) if row.seed is not None and row.seed in right]


def _interval(results: Results, first: str, second: str, measure: Measure) -> Interval:
    left = {row.seed: row.text for row in results.of(first)}
    right = {row.seed: row.text for row in results.of(second)}
    common = _common_seeds(results, first, second)
    return paired_interval([left[seed] for seed in common], [right[seed] for seed in common], measure)


def _signed(interval: Interval) -> str:
    return f"{interval.difference:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
