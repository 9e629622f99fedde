# The base model in NF4.


rule quantise:
    input:
        weights="results/{experiment}/models/base/model.safetensors",
        description="results/{experiment}/models/base/model.json",
    output:
        weights="results/{experiment}/models/nf4/model.safetensors",
        description="results/{experiment}/models/nf4/model.json",
        record="results/{experiment}/models/nf4/run.jsonl",
    log:
        "results/{experiment}/logs/quantise.log",
    benchmark:
        "results/{experiment}/benchmarks/quantise.tsv"
    conda:
        "../../environment.yaml"
    threads: threads_of("quantise")
    resources:
        cpus_per_task=threads_of("quantise"),
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        run=RUN,
        settings=settings("quantisation"),
    message:
        "Quantising the base model"
    shell:
        "saml quantise {params.run:q}"
        " --weights {input.weights:q}"
        " --description {input.description:q}"
        " --out-weights {output.weights:q}"
        " --out-description {output.description:q}"
        " --record {output.record:q}"
        " --threads {resources.cpus_per_task}"
        " --settings {params.settings:q}"
        " > {log:q} 2>&1"
