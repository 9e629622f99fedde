# Where routers send each speaker's speech: the pre-trained ones, so that all speakers meet the same router.


rule routes:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        adapter="<results>/pretrained/{arm}/seed{seed}/adapter.safetensors",
        adapter_description="<results>/pretrained/{arm}/seed{seed}/adapter.json",
        cuts="<results>/data/speakers/{speaker}/cuts.jsonl.gz",
        features="<results>/data/speakers/{speaker}/features.bin",
    output:
        routes="<results>/pretrained/{arm}/seed{seed}/routes/{speaker}/routes.csv",
        record="<results>/pretrained/{arm}/seed{seed}/routes/{speaker}/run.jsonl",
    log:
        "<logs>/routes/{speaker}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/routes/{speaker}/{arm}/seed{seed}.tsv"
    wildcard_constraints:
        arm=one_of(ROUTED),
    conda:
        "../../environment.yaml"
    threads: threads_of("routes")
    resources:
        cpus_per_task=threads_of("routes"),
        gpu=GPUS,
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        run=RUN,
        speaker=speaker,
        settings=settings("arm"),
    message:
        "Routing {wildcards.speaker} with {wildcards.arm}, seed {wildcards.seed}"
    shell:
        "saml routes {params.run:q}"
        " --arm {wildcards.arm:q}"
        " --speaker={params.speaker:q}"
        " --seed {wildcards.seed:q}"
        " --weights {input.weights:q}"
        " --description {input.description:q}"
        " --adapter {input.adapter:q}"
        " --adapter-description {input.adapter_description:q}"
        " --cuts {input.cuts:q}"
        " --routes {output.routes:q}"
        " --record {output.record:q}"
        " --threads {resources.cpus_per_task}"
        " --settings {params.settings:q}"
        " > {log:q} 2>&1"


rule routing:
    input:
        routes=all_routes,
    output:
        routers="<results>/tables/routers.csv",
        routing="<results>/tables/routing.csv",
        routers_page=report(
            "<results>/pages/routers.html",
            caption="../report/routers.rst",
            category="5 Routing",
            labels={"what": "Table: do routers tell speakers apart?"},
        ),
        routing_page=report(
            "<results>/pages/routing.html",
            caption="../report/routing_table.rst",
            category="5 Routing",
            labels={"what": "Table: weights by speaker and expert"},
        ),
        figure=report(
            "<results>/figures/routing.svg",
            caption="../report/routing.rst",
            category="5 Routing",
            labels={"what": "Figure: weights by speaker and expert"},
        ),
        picture="<results>/figures/routing.png",
        record="<results>/tables/routing/run.jsonl",
    log:
        "<logs>/routing.log",
    benchmark:
        "<benchmarks>/routing.tsv"
    conda:
        "../../environment.yaml"
    threads: threads_of("routing")
    resources:
        cpus_per_task=threads_of("routing"),
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        run=RUN,
        results=results_folder,
        arms=lambda wildcards: run_arms(ROUTED),
        speakers=lambda wildcards: config["target_speakers"],
        seeds=lambda wildcards: config["seeds"],
        folder=lambda wildcards, output: os.path.dirname(output.figure),
        pages=lambda wildcards, output: os.path.dirname(output.routers_page),
        settings=settings("scoring.seed"),
    message:
        "Drawing the routes"
    shell:
        "saml routing {params.run:q}"
        " --results {params.results:q}"
        " --arms {params.arms:q}"
        " --speakers {params.speakers:q}"
        " --seeds {params.seeds:q}"
        " --routing {output.routing:q}"
        " --routers {output.routers:q}"
        " --pages {params.pages:q}"
        " --output-dir {params.folder:q}"
        " --record {output.record:q}"
        " --threads {resources.cpus_per_task}"
        " --settings {params.settings:q}"
        " > {log:q} 2>&1"
