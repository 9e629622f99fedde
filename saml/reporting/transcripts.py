"""References and hypotheses in the formats of other tools, by arm and scorer.

    transcripts/<arm>/<scorer>/recogs-<part>.txt     references and hypotheses in icefall's format
    transcripts/<arm>/<scorer>/errs-<part>.txt       counts, marked errors, counts per word, likewise
    transcripts/<arm>/<scorer>/{ref,hyp}-<part>.trn  for sclite -i spu_id

The parts are `test` (target speakers) and `heldout` (held-out speakers). Texts are normalised by the scorer,
so that other tools find the same counts.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from saml.corpora.registry import folder_name
from saml.evaluation.wer import normalise
from saml.reporting.error_stats import Transcript, by_icefall, errs, recogs
from saml.reporting.hypotheses import Arm, Arms, Decoded, decodings, read_lines
from saml.runtime.errors import SamlError
from saml.runtime.files import write_atomically
from saml.runtime.progress import Progress
from saml.tracking import RunRecord

PARTS = ("test", "heldout")
_SETTING = "scoring.error_stats: icefall"


def transcripts(
    *,
    results: Path,
    experiment: str,
    arms: Arms,
    speakers: Sequence[str],
    seeds: Sequence[int],
    settings: Mapping[str, Any],
    transcripts: Path,
    record: Path,
    corpus: str | None = None,
    family: str | None = None,
) -> None:
    """Stage: write every arm's transcripts and error statistics.

    Args:
        results: `results/<experiment>`.
        experiment: its name.
        arms: name to the config's entry.
        speakers: the target speakers.
        seeds: the seeds of the adapted arms.
        settings: the config's `scoring`, of it the keys `scorers` and `error_stats`.
        transcripts: the folder to write.
        record: the run record to write.
        corpus, family: for the run record.

    Raises:
        SamlError: hypotheses are missing or damaged; icefall is requested and cannot be imported.
    """
    scoring = settings["scoring"]
    run = RunRecord(
        stage="transcripts", experiment=experiment, settings=settings, corpus=corpus, family=family
    )
    with Progress("transcripts", len(arms)) as progress:
        for number, (name, arm) in enumerate(arms.items(), start=1):
            lines = _lines(results, name, arm, speakers, seeds)
            for scorer in scoring["scorers"]:
                for part in PARTS:
                    chosen = sorted(
                        _transcript(of, line, scorer) for of, line in lines if line["part"] == part
                    )
                    for file, text in _files(part, chosen, icefall=scoring["error_stats"] == "icefall"):
                        write_atomically(transcripts / name / scorer / file, text.encode())
                    run.file(transcripts / name / scorer / f"errs-{part}.txt")
            progress.update(number, name)
    run.write(record)


def trn(transcripts: Sequence[Transcript], *, reference: bool) -> str:
    """The content of a .trn file: one line per transcript, its words and then its name in brackets."""
    texts = (" ".join(one.reference if reference else one.hypothesis) for one in transcripts)
    return "".join(f"{text} ({one.name})\n" for one, text in zip(transcripts, texts, strict=True))


def transcript_name(speaker: str, utterance: str, of: Decoded) -> str:
    """`<speaker>-<utterance>`, and of an adapted arm `-<adapted speaker>-seed<seed>`.

    sclite reads the text before the first hyphen as the speaker. All characters but letters, digits, `_`, `.`
    and `-` are percent-encoded, and so are hyphens of the first speaker.
    """
    parts = [folder_name(speaker).replace("-", "%2D"), folder_name(utterance)]
    if of.seed == 0:
        return "-".join(parts)
    assert of.speaker is not None
    return "-".join([*parts, folder_name(of.speaker), f"seed{of.seed}"])


def _lines(
    results: Path, name: str, arm: Arm, speakers: Sequence[str], seeds: Sequence[int]
) -> list[tuple[Decoded, dict[str, Any]]]:
    return [
        (decoding, line)
        for decoding in decodings({name: arm}, speakers, seeds)
        for line in read_lines(decoding.folder(results) / "hypotheses.jsonl")
    ]


def _transcript(of: Decoded, line: Mapping[str, Any], scorer: str) -> Transcript:
    try:
        reference, hypothesis = (
            tuple(normalise(line[side], scorer).split()) for side in ("reference", "hypothesis")
        )
        return Transcript(transcript_name(line["speaker"], line["utterance"], of), reference, hypothesis)
    except KeyError as error:
        raise SamlError(
            f"arm {of.arm}: utterance {line.get('utterance', '?')} has no {error}; decode again"
        ) from None


def _files(part: str, chosen: Sequence[Transcript], *, icefall: bool) -> Iterator[tuple[str, str]]:
    """(name, content) of each file of a part."""
    yield f"ref-{part}.trn", trn(chosen, reference=True)
    yield f"hyp-{part}.trn", trn(chosen, reference=False)
    # icefall divides by the number of words, which may be 0.
    by_us = not icefall or not any(one.reference for one in chosen)
    texts = (recogs(chosen), errs(chosen)) if by_us else by_icefall(chosen, part, _SETTING)
    yield from zip((f"recogs-{part}.txt", f"errs-{part}.txt"), texts, strict=True)
