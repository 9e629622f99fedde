"""An example of each command, for its --help; a module of its own, so that the flags stand by themselves."""

# By command. A backslash at the end of a line continues the command, as in a shell.
EXAMPLES = {
    "personalise": "saml personalise openai/whisper-tiny.en --recordings my-voice --out my-results",
    "transcribe": """\
saml transcribe new.wav --adapter my-results/adapters/anna/pqm/seed1/adapter.safetensors
saml transcribe lecture.m4a --base openai/whisper-base --format srt --out subtitles""",
    "export": """\
saml export my-results/adapters/anna/pqm/seed1/adapter.safetensors \\
    --to ctranslate2 --quantise int8 --out anna-faster-whisper""",
    "prune": """\
saml prune --collapse --out-adapter anna.safetensors \\
    --weights results/spoken_commands-conformer/models/nf4/model.safetensors \\
    --adapter my-results/adapters/anna/saml/seed1/adapter.safetensors \\
    --cuts my-results/data/speakers/anna/cuts.jsonl.gz \\
    --splits my-results/data/speakers/anna/use.json""",
    "doctor": "saml doctor --configfile config/an4-whisper.yaml",
    "download": "saml download librispeech --root corpora --parts train-clean-100",
    "show": "saml show results/spoken_commands-conformer",
    "compare": """\
snakemake --cores 2 all --configfile mine.yaml      # mine.yaml: what differs, with a name: `experiment: mine`
saml compare results/spoken_commands-conformer results/mine --arms pqm saml""",
    "show-published": "saml show-published results/*",
    "show-rates": """\
snakemake --cores 2 tune
saml show-rates results/spoken_commands-conformer""",
    "progress": "saml progress results/spoken_commands-conformer --follow",
    "track": "saml track results/spoken_commands-conformer",
    "mlflow": "saml mlflow results/spoken_commands-conformer",
}

# One for all stages.
STAGE = """\
saml quantise --experiment mine --settings '{"quantisation": {"block_size": 64, "double": true}}' \\
    --weights base.safetensors --description base.json \\
    --out-weights nf4.safetensors --out-description nf4.json --record run.jsonl"""
OF_STAGES = f"""\
Snakemake calls this stage; `snakemake --cores 2 all --printshellcmds` prints the command of each job.

Example of a stage:
{STAGE}"""


def epilogue(command: str) -> str:
    """What follows the options in the help of a command."""
    return f"Example:\n{EXAMPLES[command]}" if command in EXAMPLES else OF_STAGES
