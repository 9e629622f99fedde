"""Adaptation of a model to a user's own recordings, with errors before and after and a verdict.

`saml personalise` trains adapters only. It runs the stages that Snakemake would run for a target speaker
(prepare-corpus, prepare-speaker, adapt, decode) with an experiment's settings and models, and writes outputs
in the layout of an experiment. Cross-validation gives the errors of an adapter; the adapter to use is then
trained without a test part. The experiment itself is not changed; an imported Whisper is laid out as one
(`saml.personalise.bases`).
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from saml.config.load import labels_in_models_style, load, save
from saml.config.settings import start_of
from saml.corpora.manifests import file_of, read_cuts
from saml.evaluation.wer import error_rate, pool
from saml.personalise.bases import (
    DEFAULTS,
    about_start,
    arm_of,
    imported,
    is_experiment,
    refuse_without_start,
)
from saml.personalise.estimate import expected_seconds, in_words
from saml.personalise.page import write_page
from saml.personalise.resume import Step
from saml.personalise.speech import folder_section, prepare, remarks, speech_folder, spoken_by
from saml.personalise.steps import (
    decode_step,
    label_step,
    model_of,
    pretrained_of,
    split_to_use,
    tested_step,
    to_use_step,
)
from saml.personalise.verdict import EXIT_STATUS, REFERENCE, SCORER, Verdict, as_text, judge
from saml.reporting.hypotheses import read_lines
from saml.reporting.print_tables import aligned
from saml.reporting.wording import percent
from saml.runtime import layout
from saml.runtime.errors import SamlError
from saml.runtime.files import write_atomically
from saml.runtime.layout import place
from saml.runtime.text import plain_line

Config = Mapping[str, Any]


def personalise(
    *,
    base: str,
    recordings: Path,
    out: Path,
    start: str = "auto",
    arms: Sequence[str] | None = None,
    **options: Any,
) -> int:
    """The command: personalise an experiment's models, or any Whisper, which is imported first.

    Args:
        base: the folder of an experiment's results, or a Whisper (see `saml.personalise.bases`).
        recordings, out: see `adapt_to_recordings`, which takes `options` too.
        start: of a Whisper: "shipped", the adapter that this package has for it; "none", no adapter; "auto",
            the shipped one if there is one.
        arms: see `adapt_to_recordings`; of a Whisper the one that `start` says.

    Returns:
        the exit status of the least favourable verdict (`saml.personalise.verdict`), 0 without one.

    Raises:
        SamlError: see `adapt_to_recordings` and `saml.personalise.bases`.
    """
    if is_experiment(base):
        if start != "auto":
            raise SamlError(
                f"--start {start} is for a Whisper; of an experiment choose an arm by --arms (nf4-lora "
                "starts from nothing)"
            )
        return adapt_to_recordings(results=Path(base), recordings=recordings, out=out, arms=arms, **options)
    results = imported(base)
    arm = arm_of(results, start)
    chosen = list(arms or [arm])
    refuse_without_start(results, chosen, options.get("seed"))
    print(about_start(results, arm), file=sys.stderr)
    return adapt_to_recordings(results=results, recordings=recordings, out=out, arms=chosen, **options)


def adapt_to_recordings(
    *,
    results: Path,
    recordings: Path,
    out: Path,
    speakers: Sequence[str] | None = None,
    arms: Sequence[str] | None = None,
    folds: int = 5,
    seed: int | None = None,
    on_bad: str = "error",
    always: bool = False,
) -> int:
    """Adapt arms of an experiment to speakers of a folder, and print errors before and after, and a verdict.

    Each speaker and arm gets two adapters: a cross-validated one with a state per fold, which gives the
    errors, and one to use, without a test part: one fold is its dev part, all others train it. Started again
    after an interruption, it goes on where it was.

    Args:
        results: `results/<experiment>`, with its models and (for pre-trained arms) adapters.
        recordings: a folder as in the corpus `folder`, or a table in such a folder; roles are ignored.
        out: folder to write: `speakers/<speaker>/<arm>/seed<seed>/` has the tested adapter, hypotheses and
            run record, `adapters/<speaker>/<arm>/seed<seed>/` the adapter to use and its record;
            `verdict.json` and `report.html` the verdicts.
        speakers: target speakers; None: all speakers of the recordings.
        arms: adapted arms of the experiment's configuration; None: all of its run_arms.
        folds: number of folds of the cross-validation.
        seed: one of the experiment's seeds; None: the first.
        on_bad: "error" stops at a recording that cannot be used, "drop" leaves it out.
        always: train the adapter to use also where the tested one makes no fewer errors than the model
            without it.

    Returns:
        the exit status of the least favourable verdict, 0 without one.

    Raises:
        SamlError: a file of the experiment is missing, or the recordings cannot be used.
    """
    if folds < 3:
        raise SamlError(f"--folds: {folds} are too few for train, dev and test; choose 3 or more")
    config = _configuration(results, recordings, out, folds)
    config["corpus"]["on_bad_utterance"] = on_bad
    arms = _arms(config, arms)
    seed = config["seeds"][0] if seed is None else seed
    for arm in arms:
        _check_files(results, config, arm, seed)
    spoken, wanted = spoken_by(config), list(map(plain_line, speakers or ()))
    unknown = sorted(set(wanted) - set(spoken))
    if unknown:
        raise SamlError(f"--speakers: {recordings} has no speaker {unknown[0]}; it has {', '.join(spoken)}")
    bare = [name for name in config["run_arms"] if not config["arms"][name]["adapted"]]
    config |= {"target_speakers": wanted or spoken, "run_arms": [*bare, *arms], "seeds": [seed]}
    save(config, out / "config.yaml")
    prepare(config, out, config["target_speakers"], model_of(results, config["arms"][[*arms, *bare][0]])[1])
    for speaker in config["target_speakers"]:
        split_to_use(config, out, speaker)
    _announce(config, results, out)
    verdicts: list[Verdict] = []
    for speaker in config["target_speakers"]:
        verdicts += _personalise_one(config, results, out, speaker, always=always)
        # After each speaker: what is done is not lost if the next one fails.
        if verdicts:
            _write_verdicts(verdicts, out)
    if verdicts:
        print(f"\nEvery sentence before and after  {out / 'report.html'}")
    return max((EXIT_STATUS[one.recommendation] for one in verdicts), default=0)


def _announce(config: Config, results: Path, out: Path) -> None:
    """Say what was found, what will be written where, and how long it will take."""
    for speaker in config["target_speakers"]:
        cuts = read_cuts(speech_folder(out, speaker) / "cuts.jsonl.gz")
        seconds = sum(cut.duration for cut in cuts)
        words = sum(len(cut.supervisions[0].text.split()) for cut in cuts)
        _say(f"{speaker}: {len(cuts)} recordings, {seconds:.0f} s, {words} words")
    arms = ", ".join(name for name in config["run_arms"] if config["arms"][name]["adapted"])
    _say(f"{config['partition']['folds']} adapters of {arms} are tested, each on recordings it has not heard")
    _say(f"results go to {out}: report.html and verdict.json; the adapter to use into {out / 'adapters'}")
    seconds = expected_seconds(config, results, out)
    _say(f"this will take {in_words(seconds)} here" if seconds else "all of it is done already")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _personalise_one(
    config: Config, results: Path, out: Path, speaker: str, *, always: bool
) -> list[Verdict]:
    """All steps for one speaker; the verdicts, one for each adapted arm, where `nf4` was decoded too."""
    arms = [name for name in config["run_arms"] if config["arms"][name]["adapted"]]
    bare = [name for name in config["run_arms"] if name not in arms]
    (seed,) = config["seeds"]
    unadapted = {arm: _decoded(decode_step(config, results, out, arm, speaker, 0)) for arm in bare}
    if labels_in_models_style(config):
        whole = [lines for arm, lines in unadapted.items() if config["arms"][arm]["precision"] == "fp32"]
        label_step(config, results, out, speaker, whole[0] if whole else None).do()
    for arm in arms:
        tested_step(config, results, out, arm, speaker, seed).do()
    decoded = dict(unadapted)
    for arm in arms:
        decoded[arm] = _decoded(decode_step(config, results, out, arm, speaker, seed))
    rows = list(decoded.items())
    print("\n".join(["", *_report(speaker, rows, config["scoring"]["scorers"]), *remarks(out, speaker)]))
    verdicts = [
        judge(speaker, arm, {**unadapted, arm: decoded[arm]}) for arm in arms if REFERENCE in unadapted
    ]
    for verdict in verdicts:
        print("\n".join(["", *as_text(verdict)]))
    useful = [one.arm for one in verdicts if one.improves]
    for arm in arms:
        step = to_use_step(config, results, out, arm, speaker, seed)
        if verdicts and arm not in useful and not always:
            step.remove_outdated()  # of other recordings or settings, which nobody should take for this one
            print(f"  no adapter to use is trained, as it would not help; --always trains it ({arm})")
            continue
        _say(f"{speaker}: training the adapter to use, on all recordings ({arm})")
        step.do()
        print(f"  adapter to use: {step.output}")
    return verdicts


def _decoded(step: Step) -> list[dict[str, Any]]:
    """The hypotheses of a step of decoding, as read from the written file."""
    step.do()
    return list(read_lines(step.output))


def _write_verdicts(verdicts: Sequence[Verdict], out: Path) -> None:
    """verdict.json, and report.html with the audio of every recording."""
    content = json.dumps([one.as_json() for one in verdicts], indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(out / "verdict.json", f"{content}\n".encode())
    speakers = dict.fromkeys(one.speaker for one in verdicts)
    cuts = [cut for speaker in speakers for cut in read_cuts(speech_folder(out, speaker) / "cuts.jsonl.gz")]
    write_page(out / "report.html", verdicts, {cut.id: Path(file_of(cut)) for cut in cuts})


def _configuration(results: Path, recordings: Path, out: Path, folds: int) -> dict[str, Any]:
    """The experiment's configuration, with speech from `recordings` and cross-validation."""
    if not (results / "config.yaml").is_file():
        raise SamlError(f"{results}: no config.yaml, so not a finished experiment; run the experiment first")
    if place(out, layout.MODEL, model="base").parent.exists():
        raise SamlError(f"{out}: contains an experiment with models of its own; choose another --out")
    # A table lists the files of its folder; of a folder all files count.
    if not recordings.is_file() and recordings.resolve() in (out.resolve(), *out.resolve().parents):
        raise SamlError(
            f"--out: {out} lies within the recordings, whose files it would add to; choose another folder"
        )
    # An experiment of an older version may lack new keys.
    config = load([DEFAULTS, results / "config.yaml"])
    corpus = config["corpus"]
    shared = {key: value for key, value in corpus.items() if not isinstance(value, Mapping)}
    config["corpus"] = {**shared, "name": "folder", "folder": folder_section(recordings)}
    seed = config["partition"]["seed"]
    config["partition"] = {"scheme": "folds", "folds": folds, "seed": seed, "enrolment": None}
    config["experiment"] = out.name
    if SCORER not in config["scoring"]["scorers"]:  # the verdict counts by it
        config["scoring"]["scorers"] = [*config["scoring"]["scorers"], SCORER]
    return config


def _arms(config: Config, wanted: Sequence[str] | None) -> list[str]:
    adapted = [name for name, arm in config["arms"].items() if arm["adapted"]]
    if wanted is None:
        return [name for name in config["run_arms"] if name in adapted]
    for name in wanted:
        if name not in adapted:
            raise SamlError(
                f"--arms: {name} is not an adapted arm of this experiment; it has {', '.join(adapted)}"
            )
    return list(wanted)


def _check_files(results: Path, config: Config, name: str, seed: int) -> None:
    arm = config["arms"][name]
    needed = list(model_of(results, arm))
    if arm["pretrained"]:
        needed += pretrained_of(results, start_of(config["arms"], name), seed)
    for path in needed:
        if not path.is_file():
            raise SamlError(
                f"{path}: arm {name} needs this file; create it with "
                f"snakemake --cores all {path} (with the experiment's --configfile)"
            )


def _report(
    speaker: str, rows: Sequence[tuple[str, list[dict[str, Any]]]], scorers: Sequence[str]
) -> Iterable[str]:
    lines = rows[0][1]
    words = sum(len(line["reference"].split()) for line in lines)
    yield f"{speaker}: {len(lines)} recordings, {words} words, each recording tested once; WER %"
    yield ""
    table = [["arm", *scorers]]
    for arm, hypotheses in rows:
        rates = [error_rate(pool(line["counts"][name]["words"] for line in hypotheses)) for name in scorers]
        table.append([arm, *map(percent, rates)])
    yield from aligned(table)
