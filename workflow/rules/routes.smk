# The weights that routers give the experts, by speaker: the pre-trained routers, which are the same for all speakers.


rule routes:
    input:
        weights=model("model.safetensors"),
        description=model("model.json"),
        adapter=f"{PRETRAINED}/adapter.safetensors",
        adapter_description=f"{PRETRAINED}/adapter.json",
        cuts=f"{SPEECH}/cuts.jsonl.gz",
        features=f"{SPEECH}/features.bin",
    output:
        routes=f"{ROUTES}/routes.csv",
        record=f"{ROUTES}/run.jsonl",
    log:
        "<logs>/routes/{speaker}/{arm}/seed{seed}.log",
    benchmark:
        "<benchmarks>/routes/{speaker}/{arm}/seed{seed}.tsv"
    wildcard_constraints:
        arm=one_of(ROUTED_ARMS),
        speaker=ALONE,
    conda:
        "../../environment.yaml"
    threads: threads_of("routes")
    resources:
        gpu=GPUS,
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        speakers=speaker,
        settings=settings("routes"),
    message:
        "Routing {wildcards.speaker} with {wildcards.arm}, seed {wildcards.seed}"
    shell:
        command("routes")


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
        mem_mb=growing(2000),
        runtime=growing(60),
    params:
        arms=run_arms(ROUTED_ARMS),
        speakers=lambda wildcards: config["target_speakers"],
        seeds=config["seeds"],
        settings=readable_settings("routing"),
    message:
        "Drawing the routes"
    shell:
        command("routing")
