# The base model in NF4.


rule quantise:
    input:
        weights="<results>/models/base/model.safetensors",
        description="<results>/models/base/model.json",
    output:
        weights="<results>/models/nf4/model.safetensors",
        description="<results>/models/nf4/model.json",
        record="<results>/models/nf4/run.jsonl",
    log:
        "<logs>/quantise.log",
    benchmark:
        "<benchmarks>/quantise.tsv"
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
