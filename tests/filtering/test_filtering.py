"""Scores of planted completions, thresholds as views, what is borderline."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import polars as pl
import pytest

import ws
from ws.errors import UserError
from ws.filtering.limits import LOOP, borderline, keep, reasons, separation, tail_limit
from ws.filtering.scores import SCORES, distinct_trigrams, looping, narrates, refuses, repetition, score
from ws.generation.completions import SCHEMA

FLUENT = "I would stay with her until the doctor comes."
SHORT = [
    "I would stop.",
    "She is safe now.",
    "Tell her the truth.",
    "No, I would not do that.",
    "Six quite distinct words are here.",
]
LOOPS = ["no no no no no no", "hahahahahaha", "the boss said the boss said the boss said so", "....................",
         "I go and I go and I go and I go and I go", "care, care, care, care, care"]  # fmt: skip


def frame(texts: list[str], base: list[list[float]] | None = None, **columns: Any) -> pl.DataFrame:
    """Completions with the given texts; base: log-probabilities under the base per token."""
    base = base or [[-1.0] * 8 for _ in texts]
    n = len(texts)
    values: dict[str, Any] = {
        "prompt_id": [f"p{i}" for i in range(n)],
        "prompt": ["?"] * n,
        "split": ["train"] * n,
        "c": [0.5] * n,
        "sample": [0] * n,
        "seed": [0] * n,
        "text": texts,
        "token_ids": [list(range(len(b))) for b in base],
        "logp_steered": [[x + 0.25 for x in b] for b in base],
        "logp_base": base,
        "kl_drift": [[0.0] * len(b) for b in base],
        "finished": [True] * n,
    }
    return pl.DataFrame(values | columns, schema=SCHEMA)


@pytest.mark.parametrize("text", [FLUENT, *SHORT])
def test_fluent_text_does_not_repeat_however_short(text: str) -> None:
    assert repetition(text) < 0.2


@pytest.mark.parametrize("text", LOOPS)
def test_loops_repeat(text: str) -> None:
    assert repetition(text) >= 0.3


@pytest.mark.parametrize("text", ["", " ", "No.", "Yes"])
def test_too_short_counts_as_repetition(text: str) -> None:
    assert repetition(text) == 1.0


def test_repetition_is_the_share_of_the_most_frequent_ngram() -> None:
    words = [*"abcdefghijkab"]  # 12 bigrams, one of them twice; no n-gram of the characters beats that
    assert repetition(" ".join(words)) == pytest.approx(2 / 12)
    assert repetition("one two three four") < 0.2, "a single 4-gram is no repetition"


def test_distinct_trigrams() -> None:
    assert distinct_trigrams("a b c a b c a") == pytest.approx(3 / 5)
    assert distinct_trigrams("a b") == 1.0
    loop = "we must stay with the child tonight because it is dark and cold outside and nobody else will come. " * 4
    assert repetition(loop) < 0.3 and distinct_trigrams(loop) < 0.3, "a long loop hides from 4-grams only"


@pytest.mark.parametrize(
    "text",
    [
        "I am someone who never lies.",
        "As someone who values order, I wait.",
        "True to my values, I go.",
        "I’m the kind of person who helps.",
        "My principles demand it.",
        "I was told to be kind.",
    ],
)
def test_narration_is_seen(text: str) -> None:
    assert narrates(text)


@pytest.mark.parametrize("text", [FLUENT, "I would obey him.", "She is someone who lies.", "I value your time."])
def test_enacting_is_no_narration(text: str) -> None:
    assert not narrates(text)


def test_the_axis_adds_its_own_narration() -> None:
    axis = ws.load_axis("care_over_authority")
    text = "mercy is my trade and I say so"
    own = ws.Axis(
        **{
            **{f: getattr(axis, f) for f in axis.__dataclass_fields__},
            "name": "own",
            "narration": (r"\bmercy is my\b",),
        }
    )
    assert [score(None, frame([text]), a)["narrates"][0] for a in (None, axis, own)] == [False, False, True]


@pytest.mark.parametrize(
    "text",
    [
        "I cannot assist with that.",
        "I’m sorry, but I can't help with that request.",
        "As an AI, I see.",
        "As an assistant, I cannot help with this request.",
        "That is against my guidelines.",
        "I am only an assistant and cannot answer this.",
        "I cannot provide guidance on this.",
    ],
)
def test_refusals_are_seen(text: str) -> None:
    assert refuses(text)


@pytest.mark.parametrize(
    "text",
    [
        FLUENT,
        "I cannot leave her there.",
        "I can't let him do that.",
        "I cannot help but smile.",
        "He is an assistant to the mayor.",
        "I will not obey that.",
    ],
)
def test_a_bare_cannot_is_no_refusal(text: str) -> None:
    assert not refuses(text)


LINES = [[40, 41, 42] + [35, 198] * 20, [1, 2, 3, 4, 5, 6, 7, 8] * 4, [5] * 30]
SENTENCES = ["I had a party for my house.", "I had a party for my family.", "I had a party for my dog."] * 2
REFRAIN = (
    "O blow, ye winds, heigh-ho, / A-roving I will go. / I'll stay no more on England's shore / So let the music play."
    " / I'm off for the morning train, / I'll cross the raging main. / O blow, ye winds, heigh-ho, / A-roving I go."
)
LIST = "1. Boil the water. 2. Warm the pot. 3. Add a spoon of tea for each cup. 4. Pour the water on it. 5. Wait."
ANAPHORA = "I have a dream of the sea. I have a sister in the north. We sing when the tide is low and the boats are in."


def ids_of(text: str) -> list[int]:
    """Words and marks as numbers, the way a tokenizer cuts them."""
    return [hash(piece) for piece in re.findall(r"\w+|[^\w\s]|\n", text)]


@pytest.mark.parametrize("ids", [*LINES, ids_of(" ".join(SENTENCES)), ids_of("Thank you for being so helpful. " * 4)])
def test_real_loops_are_seen_over_tokens_of_any_kind(ids: list[int]) -> None:
    assert looping(ids) >= LOOP
    assert looping([*range(100, 300), *ids[:34]]) >= LOOP, "a late loop of a long text"


@pytest.mark.parametrize("text", [FLUENT, *SHORT, REFRAIN, LIST, ANAPHORA])
def test_fluent_text_refrains_and_lists_are_no_loops(text: str) -> None:
    assert looping(ids_of(text)) < LOOP
    assert text in (REFRAIN, ANAPHORA) or looping(ids_of(text)) == 0


def test_loop_is_the_share_of_trigrams_that_stood_before() -> None:
    assert looping([1, 2, 3, 4, 1, 2, 3]) == pytest.approx(1 / 5)
    assert looping([1, 1]) == 0 and looping([]) == 0 and looping([1, 2, 3]) == 0
    assert looping([*range(60), *range(60)]) == 0, "further apart than the stretch"
    stretch = [*range(30), *range(10, 20), *range(30, 38)]  # 46 trigrams, of which 8 stood before
    assert looping(stretch) == looping([*range(900, 990), *stretch, *range(500, 600)]) == pytest.approx(8 / 46)


def test_worst_ppl_is_that_of_the_worst_stretch_wherever_it_stands() -> None:
    calm, odd = [-1.0] * 60, [-3.0] * 24
    first, last, short = score(None, frame([FLUENT] * 3, [odd + calm, calm + odd, [-2.0, -4.0]]))["worst_ppl"]
    assert first == last == pytest.approx(math.exp(3)) and short == pytest.approx(math.exp(3))
    scored = score(None, frame([FLUENT], [calm + [-25.0] + calm]))
    assert scored["worst_ppl"][0] == pytest.approx(math.exp(2)) and scored["tail_ppl"][0] == pytest.approx(math.e)
    assert scored["neutral_ppl"].equals(scored["worst_ppl"]), "until a second look"


def test_scores_follow_their_definitions() -> None:
    logps = [-0.5] * 9 + [-2.0, -3.0]  # 11 tokens: the tail is the last two
    row = score(None, frame([FLUENT], [logps])).row(0, named=True)
    assert row["n_tokens"] == 11
    assert row["tail_ppl"] == pytest.approx(math.exp(2.5))
    assert row["bite"] == pytest.approx(0.25)


def test_the_tail_of_a_short_completion_is_its_last_token() -> None:
    assert score(None, frame([FLUENT], [[-1.0, -2.0]]))["tail_ppl"][0] == pytest.approx(math.exp(2))


def test_scoring_twice_changes_nothing_and_keeps_the_columns() -> None:
    df = frame([FLUENT, *LOOPS])
    once = score(None, df)
    assert once.columns == [*SCHEMA, *SCORES] and [once.schema[c] for c in SCORES] == list(SCORES.values())
    assert score(None, once).equals(once) and once.select(list(SCHEMA)).equals(df)


def test_empty_frames_keep_their_types() -> None:
    empty = pl.DataFrame(schema=SCHEMA)
    scored = score(None, empty)
    assert scored.height == 0 and [scored.schema[c] for c in SCORES] == list(SCORES.values())
    assert keep(scored).height == 0 and borderline(scored, tail_ppl=5).height == 0 and math.isnan(tail_limit(scored))
    assert reasons(scored).schema["dropped"] == pl.String
    with pytest.raises(UserError, match="0 of 0"):
        keep(scored, min_keep=1)


def test_a_completion_without_tokens_or_logps_is_not_finite() -> None:
    df = score(None, frame(["", FLUENT], [[], [-1.0] * 4], logp_base=[[], None], logp_steered=[[], None]))
    assert all(df[name].is_nan().all() for name in ("worst_ppl", "neutral_ppl", "tail_ppl", "bite"))
    assert reasons(df, worst_ppl=50)["dropped"].to_list() == ["not finite", "not finite"]
    assert reasons(df, tail_ppl=50)["dropped"].to_list() == ["not finite", "not finite"]


def test_lengths_that_disagree_are_refused() -> None:
    with pytest.raises(UserError, match="differ in length in 1 rows"):
        score(None, frame([FLUENT], [[-1.0] * 3], token_ids=[[1, 2]]))
    with pytest.raises(UserError, match="lacks token_ids"):
        score(None, frame([FLUENT]).drop("token_ids"))


def planted() -> pl.DataFrame:
    """One completion per reason, the first one clean."""
    tails = [1.0, 9.0, 1.0, 1.0, 1.0, 1.0, math.nan]
    texts = [FLUENT, FLUENT, LOOPS[0], "I am someone who stays with her.", "I cannot assist with that.", FLUENT, FLUENT]
    return score(None, frame(texts, [[-math.log(t)] * 8 for t in tails], finished=[True] * 5 + [False, True]))


def test_every_reason_is_named_and_kept_is_its_complement() -> None:
    df, limits = planted(), {"tail_ppl": 5.0, "finished": True}
    want = [None, "tail_ppl", "rep", "narrates", "refuses", "unfinished", "not finite"]
    assert reasons(df, **limits)["dropped"].to_list() == want  # type: ignore[arg-type]
    kept = keep(df, **limits)  # type: ignore[arg-type]
    assert kept.equals(df.head(1)) and df.equals(planted(), null_equal=True), "a view: nothing was changed"


def test_the_worst_stretch_and_loops_are_reasons_of_their_own() -> None:
    ids = [list(range(8))] * 6 + [[1, 2] * 4]
    df = planted().with_columns(token_ids=pl.Series(ids, dtype=pl.List(pl.Int32)))
    df = score(None, df)
    found = reasons(df, worst_ppl=5.0, loop=0.3)["dropped"].to_list()
    assert found == [None, "worst_ppl", "rep", "narrates", "refuses", None, "not finite"]
    assert reasons(df, loop=0.3)["dropped"].to_list()[-1] == "loop" and keep(df, worst_ppl=5.0, loop=0.3).height == 2
    assert reasons(df, worst_ppl=9.5, tail_ppl=5.0)["dropped"][1] == "tail_ppl", "both may be in force"
    near = borderline(df, worst_ppl=5.0, loop=0.3, rep=None)
    assert set(near["dropped"]) == {None, "worst_ppl"} and near["margin"].is_finite().all()


def test_a_frame_of_an_earlier_version_is_filtered_by_its_tail() -> None:
    old = planted().drop("worst_ppl", "neutral_ppl", "loop")
    assert reasons(old, tail_ppl=5.0)["dropped"].equals(reasons(planted(), tail_ppl=5.0)["dropped"])
    with pytest.raises(UserError, match="lacks worst_ppl"):
        reasons(old, worst_ppl=5.0)


def test_limits_can_be_switched_off_one_by_one() -> None:
    df = planted()
    assert keep(df, rep=None, narrates=True, refuses=True).height == df.height
    assert keep(df, rep=None, narrates=True, refuses=True, bite=0.2).height == df.height - 1, "NaN has no bite"
    assert keep(df, rep=None, narrates=True, refuses=True, distinct3=0.5).height == df.height - 1
    with pytest.raises(UserError, match="unknown limit 'tail'"):
        reasons(df, tail=3)  # type: ignore[call-arg]
    with pytest.raises(UserError, match="lacks tail_ppl"):
        keep(frame([FLUENT]))


def test_starvation_stops_with_the_reasons() -> None:
    with pytest.raises(UserError, match=r"1 of 7 completions pass, 3 are needed .*1 rep.*Lower the dose"):
        keep(planted(), 5.0, finished=True, min_keep=3)


def test_borderline_is_what_lies_next_to_the_limit() -> None:
    tails = [1.0, 4.0, 4.9, 5.1, 6.0, 50.0]
    df = score(None, frame([FLUENT] * 6, [[-math.log(t)] * 8 for t in tails]))
    near = borderline(df, k=2, tail_ppl=5.0, rep=None)
    assert near["side"].to_list() == ["kept", "kept", "dropped", "dropped"]
    assert near["prompt_id"].to_list() == ["p2", "p1", "p3", "p4"]
    assert near["margin"].to_list() == pytest.approx([math.log(5 / t) for t in (4.9, 4.0, 5.1, 6.0)], abs=1e-6)
    assert borderline(df, k=2, rep=None).height == 0, "without a numeric limit there is no border"


def test_narrating_rows_are_at_no_border() -> None:
    near = borderline(planted(), k=9, tail_ppl=5.0)
    assert set(near["dropped"]) == {None, "tail_ppl", "rep"} and near.filter(pl.col("side") == "kept").height == 2


def test_tail_limit_is_the_quantile() -> None:
    df = pl.DataFrame({"tail_ppl": [float(x) for x in range(1, 102)]})
    assert tail_limit(df) == pytest.approx(100.0) and tail_limit(df, 0.5) == pytest.approx(51.0)
    assert math.isnan(tail_limit(pl.DataFrame({"tail_ppl": [1.0, math.nan]})))


def test_one_odd_text_does_not_set_the_limit() -> None:
    """A Pareto tail of index 2, whose 99th percentile is 10: with a text of 500 the sample's own is over 30."""
    tails = [(1 - (i + 0.5) / 96) ** -0.5 for i in range(95)]
    plain, odd = (pl.DataFrame({"tail_ppl": [*tails, last]}) for last in (13.9, 500.0))
    assert tail_limit(plain) == pytest.approx(8.29, abs=0.01), "the sample's own"
    assert (odd["tail_ppl"].quantile(0.99, "linear") or 0) > 30
    assert tail_limit(odd) == pytest.approx(13.2, abs=0.1), "the fitted tail's"
    assert tail_limit(pl.DataFrame({"tail_ppl": [2.0] * 9})) == 2.0, "no row lies above the median"
    with pytest.raises(UserError, match="tail_ppl"):
        tail_limit(pl.DataFrame({"rep": [0.1]}))


def test_labels_tell_which_score_separates() -> None:
    tails = [1.0 + 0.1 * i for i in range(30)]
    df = score(None, frame([FLUENT] * 30, [[-math.log(t)] * 8 for t in tails]))
    labels = df.select("prompt_id", "c", "sample", "seed", coherent=pl.col("tail_ppl") < 2.55)
    found = {row["score"]: row for row in separation(df, labels).iter_rows(named=True)}
    assert found["tail_ppl"]["auc"] == 1 and found["rep"]["auc"] == 0.5
    assert (
        found["tail_ppl"]["threshold"] == pytest.approx(2.5)
        and found["tail_ppl"]["precision"] == 1 == found["tail_ppl"]["recall"]
    )
    with pytest.raises(UserError, match="12 labelled rows, 20 are needed"):
        separation(df, labels.with_columns(coherent=pl.when(pl.int_range(30) < 12).then("coherent")))


# --- other scripts and languages


@pytest.mark.parametrize(
    "text",
    ["我不同意你的看法。", "不可以，这样做不对。", "당신말에동의하지않아요", "そうは思いません。", "ไม่เห็นด้วย",
     "ខ្ញុំមិនយល់ព្រម", "No, I disagree."],
)  # fmt: skip
def test_a_whole_sentence_in_a_script_without_spaces_is_no_fragment(text: str) -> None:
    assert repetition(text) < 0.3


@pytest.mark.parametrize("text", ["好", "是的", "ใช่", "예", "Yes", ""])
def test_a_single_word_is_too_short_in_every_script(text: str) -> None:
    assert repetition(text) == 1.0


def test_a_loop_is_seen_in_every_script() -> None:
    assert repetition("我不知道我不知道我不知道我不知道") >= 0.2
    assert repetition("好好好好好好好好") == 1.0
    assert distinct_trigrams("我不知道" * 4) < 0.4 and distinct_trigrams("मेरा बेटा कहाँ है " * 4) < 0.4


def test_an_axis_brings_refusals_of_its_language() -> None:
    text = "Lo siento, pero no puedo ayudarte con eso."
    assert not refuses(text) and refuses(text, [r"\bno puedo ayudar"])
    assert refuses("抱歉，我无法帮助您完成这个请求。", ["我?无法(?:帮助|协助)"])


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"tail_ppl": math.nan}, "nan"),
        ({"tail_ppl": "20"}, "'20'"),
        ({"rep": True}, "True"),
        ({"finished": "yes"}, "'yes'"),
        ({"narrates": 1}, "1"),
    ],
)
def test_a_limit_that_is_none_keeps_nothing_in_silence(limits: dict[str, Any], said: str) -> None:
    scored = score(None, frame(SHORT))
    for act in (keep, reasons, borderline):
        with pytest.raises(UserError, match=f"{next(iter(limits))} must be .*{said}"):
            act(scored, **limits)
    assert keep(scored, tail_ppl=np.float32(20), finished=np.bool_(True)).equals(keep(scored, 20, finished=True))
