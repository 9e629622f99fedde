# One adapter an arm, target speaker and seed.


rule adapt:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        cuts="<results>/data/speakers/{speaker}/cuts.jsonl.gz",
        features="<results>/data/speakers/{speaker}/features.bin",
        splits="<results>/data/speakers/{speaker}/splits.json",
        start=pretrained("adapter.safetensors"),
        start_description=pretrained("adapter.json"),
    output:
        adapter="<results>/speakers/{speaker}/{arm}/seed{seed}/adapter.safetensors",
        description="<results>/speakers/{speaker}/{arm}/seed{seed}/adapter.json",
        record="<results>/speakers/{speaker}/{arm}/seed{seed}/adaptation.jsonl",
    log:
        "<logs>/adapt/{speaker}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/adapt/{speaker}/{arm}/seed{seed}.tsv"
    wildcard_constraints:
        arm=one_of(ADAPTED),
    conda:
        "../../environment.yaml"
    threads: threads_of("adapt")
    resources:
        cpus_per_task=threads_of("adapt"),
        gpu=GPUS,
        checkpoint_seconds=CHECKPOINT_SECONDS,
        mem_mb=growing(2000),
        runtime=growing(120),
    params:
        run=RUN,
        speaker=speaker,
        start=starting_from("adapter"),
        settings=settings("arm", "adapters", "adaptation", "partition.enrolment"),
        work=f"{RESULTS}/.work/adapt/{{speaker}}/{{arm}}/seed{{seed}}",
    message:
        "Adapting {wildcards.arm} to {wildcards.speaker}, seed {wildcards.seed}"
    shell:
        "saml adapt {params.run:q}"
        " --arm {wildcards.arm:q}"
        " --speaker={params.speaker:q}"
        " --seed {wildcards.seed:q}"
        " --weights {input.weights:q}"
        " --description {input.description:q}"
        " {params.start:q}"
        " --cuts {input.cuts:q}"
        " --splits {input.splits:q}"
        " --out-adapter {output.adapter:q}"
        " --out-description {output.description:q}"
        " --record {output.record:q}"
        " --work {params.work:q}"
        " --checkpoint-seconds {resources.checkpoint_seconds}"
        " --threads {resources.cpus_per_task}"
        " --settings {params.settings:q}"
        " > {log:q} 2>&1"
