# Several target speakers in one job, where `speakers_together` is more than 1: the outputs of `adapt`, `decode` and
# `routes`, made for fixed groups of target_speakers. Adaptation and decoding have the speakers in the same batches.
# `{speaker}` in a command is filled in by the program.


def for_each(template):
    """A path for `command`: the arm and seed of the job, and {speaker} for the program to fill in."""
    path = template.format(arm="{wildcards.arm}", seed="{wildcards.seed}", speaker="{{speaker}}")
    return f"'{path}'"


def for_adapted(file):
    """For params: such a path to a file of the adaptation, for arms that have one."""
    template = f"{ADAPTED}/{file}"
    return lambda wildcards: (
        template.format(speaker="{speaker}", **wildcards) if wildcards.arm in ADAPTED_ARMS else []
    )


def with_more(amount, each, group):
    """Memory (MB) for a job of several speakers, each with adapters and their training state."""
    return growing(amount + each * len(group))


def ids(group):
    """For params: the ids of the speakers whose folders are in `group`."""
    return lambda wildcards: [SPEAKERS[name] for name in group]


def minutes_for(group):
    """A limit of time that is far above what one speaker takes, so four share it."""
    return growing(120 * -(-len(group) // 4))


for number, group in enumerate(GROUPS, start=1):

    rule:
        name:
            f"adapt_group{number}"
        input:
            weights=model("model.safetensors"),
            description=model("model.json"),
            cuts=expand(f"{SPEECH}/{TRAINING_CUTS}", speaker=group),
            features=expand(f"{SPEECH}/features.bin", speaker=group),
            splits=expand(f"{SPEECH}/splits.json", speaker=group),
            adapter=started(f"{PRETRAINED}/adapter.safetensors"),
            adapter_description=started(f"{PRETRAINED}/adapter.json"),
        output:
            out_adapter=expand(f"{ADAPTED}/adapter.safetensors", speaker=group, allow_missing=True),
            out_description=expand(f"{ADAPTED}/adapter.json", speaker=group, allow_missing=True),
            record=expand(f"{ADAPTED}/adaptation.jsonl", speaker=group, allow_missing=True),
        log:
            f"<logs>/adapt/group{number}/{{arm}}/seed{{seed}}.log",
        benchmark:
            f"<benchmarks>/adapt/group{number}/{{arm}}/seed{{seed}}.tsv"
        wildcard_constraints:
            arm=one_of(ADAPTED_ARMS),
        conda:
            "../../environment.yaml"
        threads: threads_of("adapt")
        resources:
            gpu=GPUS,
            mem_mb=with_more(2000, each=200, group=group),
            runtime=minutes_for(group),
        params:
            speakers=ids(group),
            settings=settings("adapt"),
            trial=[],
            work=f"{WORK}/adapt/group{number}/{{arm}}/seed{{seed}}",
        message:
            "Adapting {wildcards.arm} to {params.speakers}, seed {wildcards.seed}"
        shell:
            command(
                "adapt",
                cuts=for_each(f"{SPEECH}/{TRAINING_CUTS}"),
                splits=for_each(f"{SPEECH}/splits.json"),
                out_adapter=for_each(f"{ADAPTED}/adapter.safetensors"),
                out_description=for_each(f"{ADAPTED}/adapter.json"),
                record=for_each(f"{ADAPTED}/adaptation.jsonl"),
            )

    rule:
        name:
            f"decode_group{number}"
        input:
            weights=model("model.safetensors"),
            description=model("model.json"),
            adapter=only_for(ADAPTED_ARMS, f"{ADAPTED}/adapter.safetensors", group),
            adapter_description=only_for(ADAPTED_ARMS, f"{ADAPTED}/adapter.json", group),
            adaptation_record=only_for(ADAPTED_ARMS, f"{ADAPTED}/adaptation.jsonl", group),
            cuts=expand(f"{SPEECH}/cuts.jsonl.gz", speaker=group),
            features=expand(f"{SPEECH}/features.bin", speaker=group),
            splits=expand(f"{SPEECH}/splits.json", speaker=group),
            heldout_cuts=only_for(ADAPTED_ARMS, f"{HELDOUT_POOL}/cuts.jsonl.gz"),
            heldout_features=only_for(ADAPTED_ARMS, f"{HELDOUT_POOL}/features.bin"),
        output:
            hypotheses=expand(f"{ADAPTED}/hypotheses.jsonl", speaker=group, allow_missing=True),
            record=expand(f"{ADAPTED}/run.jsonl", speaker=group, allow_missing=True),
        log:
            f"<logs>/decode/group{number}/{{arm}}/seed{{seed}}.log",
        benchmark:
            f"<benchmarks>/decode/group{number}/{{arm}}/seed{{seed}}.tsv"
        wildcard_constraints:
            seed="[0-9]+",
        conda:
            "../../environment.yaml"
        threads: threads_of("decode")
        resources:
            gpu=GPUS,
            mem_mb=with_more(2000, each=65, group=group),
            runtime=minutes_for(group),
        params:
            speakers=ids(group),
            adapter=for_adapted("adapter.safetensors"),
            adapter_description=for_adapted("adapter.json"),
            adaptation_record=for_adapted("adaptation.jsonl"),
            settings=settings("decode"),
        message:
            "Decoding {params.speakers} with {wildcards.arm}, seed {wildcards.seed}"
        shell:
            command(
                "decode",
                adapter="{params.adapter:q}",
                adapter_description="{params.adapter_description:q}",
                adaptation_record="{params.adaptation_record:q}",
                cuts=for_each(f"{SPEECH}/cuts.jsonl.gz"),
                splits=for_each(f"{SPEECH}/splits.json"),
                hypotheses=for_each(f"{ADAPTED}/hypotheses.jsonl"),
                record=for_each(f"{ADAPTED}/run.jsonl"),
            )

    rule:
        name:
            f"routes_group{number}"
        input:
            weights=model("model.safetensors"),
            description=model("model.json"),
            adapter=f"{PRETRAINED}/adapter.safetensors",
            adapter_description=f"{PRETRAINED}/adapter.json",
            cuts=expand(f"{SPEECH}/cuts.jsonl.gz", speaker=group),
            features=expand(f"{SPEECH}/features.bin", speaker=group),
        output:
            routes=expand(f"{ROUTES}/routes.csv", speaker=group, allow_missing=True),
            record=expand(f"{ROUTES}/run.jsonl", speaker=group, allow_missing=True),
        log:
            f"<logs>/routes/group{number}/{{arm}}/seed{{seed}}.log",
        benchmark:
            f"<benchmarks>/routes/group{number}/{{arm}}/seed{{seed}}.tsv"
        wildcard_constraints:
            arm=one_of(ROUTED_ARMS),
        conda:
            "../../environment.yaml"
        threads: threads_of("routes")
        resources:
            gpu=GPUS,
            mem_mb=growing(2000),
            runtime=minutes_for(group),
        params:
            speakers=ids(group),
            settings=settings("routes"),
        message:
            "Routing {params.speakers} with {wildcards.arm}, seed {wildcards.seed}"
        shell:
            command(
                "routes",
                cuts=for_each(f"{SPEECH}/cuts.jsonl.gz"),
                routes=for_each(f"{ROUTES}/routes.csv"),
                record=for_each(f"{ROUTES}/run.jsonl"),
            )
