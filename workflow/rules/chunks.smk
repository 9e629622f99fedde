# Several target speakers in one job, where `speakers_per_job` says so: rules made of those for one speaker. They
# write the same files, and what Snakemake notes of these is what it notes of files made alone (saml/chunks). The
# command is `saml each`, or with `speakers_together` `saml crowd` for adaptations and decoding.

CHUNKS = chunks()

for chunk in CHUNKS:

    rule:
        name:
            chunk.name
        input:
            chunk.inputs,
        output:
            chunk.outputs,
        log:
            chunk.file("logs", "log"),
        benchmark:
            chunk.file("benchmarks", "tsv")
        conda:
            "../../environment.yaml"
        threads: threads_of(chunk.work.unit.rule)
        resources:
            cpus_per_task=threads_of(chunk.work.unit.rule),
            gpu=chunk.gpu,
            mem_mb=chunk.mem_mb,
            runtime=chunk.runtime,
        params:
            options=chunk.options,
        message:
            chunk.message
        shell:
            "saml {params.options:q} > {log:q} 2>&1"


CHUNKS.look_up()
