"""Archives of the data sets of `sensedict eval-senses`, of a few lines each, about the words of `tiny_teacher`."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from sensedict_trainer.sense_quality import data_sets

# What stands before "stone" decides its state and, here, its sense; what follows it does neither.
ONE, TWO = "the old stone", "a cold star on the stone"
RICH, POOR = "stone%1:18:01::", "stone%1:18:02::"


def archive(folder: Path, name: str, files: Mapping[str, str]) -> None:
    """Write a packed archive of such files."""
    with tarfile.open(folder / name, "w:xz") as opened_:
        for path, text in files.items():
            content = text.encode()
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            opened_.addfile(entry, io.BytesIO(content))


def wic(pairs: list[tuple[str, str, str]]) -> dict[str, str]:
    """The files of WiC: pairs of contexts of `stone`, and whether its sense is the same."""
    rows = [(f"stone\tN\t{a.split().index('stone')}-{b.split().index('stone')}\t{a}\t{b}", y) for a, b, y in pairs]
    data, gold = ("".join(f"{row[i]}\n" for row in rows) for i in (0, 1))
    return {
        f"wic/{part}.{kind}.txt": text for part in ("train", "dev") for kind, text in (("data", data), ("gold", gold))
    }


def semcor(sentence: str, key: str) -> str:
    """A sentence of SemCor in which `stone` has that sense key."""
    words = "".join(
        f"<wf cmd=done pos=NN lemma=stone wnsn=1 lexsn={key.partition('%')[2]}>stone</wf>\n"
        if word == "stone"
        else f"<wf cmd=ignore pos=DT>{word}</wf>\n"
        for word in sentence.split()
    )
    return f"<s snum=1>\n{words}<punc>.</punc>\n</s>\n"


def framework(sentences: list[tuple[str, str]]) -> dict[str, str]:
    """The evaluation framework's files: sentences with the key of `stone`."""
    body, gold = "", ""
    for number, (sentence, key) in enumerate(sentences):
        words = "".join(
            f'<instance id="d.s{number}" lemma="stone" pos="NOUN">stone</instance>'
            if word == "stone"
            else f"<wf>{word}</wf>"
            for word in sentence.split()
        )
        body += f"<sentence>{words}</sentence>"
        gold += f"d.s{number} {key}\n"
    base = "wsd-eval/ALL/ALL"
    return {f"{base}.data.xml": f"<corpus><text>{body}</text></corpus>", f"{base}.gold.key.txt": gold}


def write_sense_data(folder: Path) -> Path:
    """Every data set, in `folder/senses`; gives the folder."""
    senses = folder / "senses"
    senses.mkdir()
    pairs = [(ONE, ONE + " saw fire .", "T"), (ONE, TWO, "F"), (TWO + " and road", TWO, "T"), (TWO, ONE + " .", "F")]
    archive(senses, "wic.tar.xz", wic(pairs))
    tsv = (
        "context1\tcontext2\tlabel\nthe old [ stone ]\twarm new_york\tT\nthe [ stone ] was\tcold\tF\nno word\tcold\tF\n"
    )
    archive(senses, "wic-tsv.tar.xz", {f"wic-tsv/hyp/{part}.tsv": tsv for part in ("train", "dev")})
    similarity = "hot\twarm\t9\nhot\tcold\t2\nbig\tsmall\t4\nhappy\tsad\t5\nkind\tsad\t7\nhot\tnowhere\t1\n"
    files = {f"word-similarity/{file}": similarity for file in data_sets.SIMILARITY_FILES.values()}
    files["word-similarity/MEN-TR-3k.txt"] = "hot warm 50.0\nhot cold 4.0\nbig small 3.0\n"
    archive(senses, "word-similarity.tar.xz", files)
    ant_syn = "hot\tcold\t1\nhot\twarm\t0\nbig\tsmall\t1\nhappy\tkind\t0\n"
    archive(
        senses, "ant-syn-distinction.tar.xz", {f"ant-syn/{p}-pairs.test": ant_syn for p in data_sets.PARTS_OF_SPEECH}
    )
    tagged = semcor(ONE, RICH) + semcor(ONE + " was", RICH) + semcor(TWO, POOR)
    name = "<s snum=9>\n<wf cmd=done pn=person lemma=person wnsn=1 lexsn=1:03:00::>Ann_Lee</wf>\n</s>\n"
    lost = "<s snum=10>\n<wf cmd=done pos=NN lemma=stone wnsn=0 lexsn=1:18:09::>stone</wf>\n</s>\n"
    verb = "<s snum=1>\n<wf cmd=done pos=VB lemma=be wnsn=1 lexsn=2:42:00::;2:42:03::>was</wf>\n</s>\n"
    archive(
        senses,
        "semcor-3.0.tar.xz",
        {
            "semcor-3.0/brown1/tagfiles/br-a01": tagged + name + lost,
            "semcor-3.0/brownv/tagfiles/br-a02": verb,
            "semcor-3.0/README": "<s>",
        },
    )
    archive(senses, "wsd-eval-framework.tar.xz", framework([(ONE + " is", RICH), (TWO + " is", POOR)]))
    return folder
