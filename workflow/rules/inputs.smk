# Helpers of the rules, no rules: the files that jobs read, found by what the configuration says of an arm.


# --- of one job


def known_speaker(wildcards):
    """No file, but a clear word about a speaker that was asked for by path and is not in the configuration."""
    if not any(wildcards.speaker in known for known in (SPEAKERS, TUNING_SPEAKERS, [MARK])):
        sys.exit(f"{speaker(wildcards)!r} is not one of target_speakers: add it to the configuration")
    return []


def model(file):
    """A file of the model that the job's arm builds on."""
    return lambda wildcards: f"{RESULTS}/models/{folder_of_model(wildcards.arm)}/{file}"


def folder_of_model(arm):
    return "base" if ARMS[arm]["precision"] == "fp32" else "nf4"


def experts(file):
    """A file of the initialised experts, where the job's arm mixes several."""
    return lambda wildcards: stored(MIXTURES, wildcards, f"experts/{file}")


def pretrained(file):
    """A file of the pre-trained adapter, where the job's arm has one."""
    return lambda wildcards: stored(PRETRAINED, wildcards, file)


def stored(arms, wildcards, file):
    return (
        f"{RESULTS}/pretrained/{wildcards.arm}/seed{wildcards.seed}/{file}" if wildcards.arm in arms else []
    )


# --- of jobs of several speakers


def chunks():
    """These jobs, where `speakers_per_job` asks for any."""
    size, results = config["speakers_per_job"], Path(RESULTS)
    try:
        return Chunks(
            workflow,
            units(),
            folders=list(SPEAKERS),
            size=size,
            results=results,
            together=config["speakers_together"],
        )
    except SamlError as error:
        sys.exit(str(error))


def units():
    """What is done for each target speaker: rules, and their wildcards but the speaker."""
    adapted = [(arm, str(seed)) for arm in run_arms(ADAPTED) for seed in seeds(arm)]
    routed = [(arm, seed) for arm, seed in adapted if arm in ROUTED]
    with_seed = {"adapt": adapted, "decode": adapted, "routes": routed}
    return [
        Unit("prepare_speaker", {}),
        *(Unit("decode_unadapted", {"arm": arm}) for arm in run_arms(UNADAPTED)),
        *(
            Unit(rule, {"arm": arm, "seed": seed})
            for rule, factors in with_seed.items()
            for arm, seed in factors
        ),
    ]


# --- everything that the tables are made of


def seeds(arm):
    """The seeds of an arm; what is not adapted knows no chance and has the one seed 0."""
    return config["seeds"] if arm in ADAPTED else [0]


def run_arms(among):
    """The arms to compare that are `among` these, in their order."""
    return [arm for arm in config["run_arms"] if arm in among]


def of_speakers(file, arms, within=RESULTS, folders=SPEAKERS):
    return [
        f"{within}/speakers/{folder}/{arm}/seed{seed}/{file}"
        for arm in arms
        for folder in folders
        for seed in seeds(arm)
    ]


def of_pretraining(file):
    return [
        f"{RESULTS}/pretrained/{arm}/seed{seed}/{file}"
        for arm in config["run_arms"]
        if arm in PRETRAINED
        for seed in seeds(arm)
    ]


def all_hypotheses(wildcards):
    """Each arm on each target speaker, and the models that are not adapted on held-out speakers' speech."""
    heldout = [
        f"{RESULTS}/heldout/{arm}/seed0/hypotheses.jsonl" for arm in config["run_arms"] if arm not in ADAPTED
    ]
    return of_speakers("hypotheses.jsonl", config["run_arms"]) + heldout


def all_shipped(wildcards):
    """The files whose sizes stand in the summary."""
    return shipped(config["run_arms"])


def shipped(arms, folders=SPEAKERS):
    """What these arms are made of. The full-precision model is what they are compared with."""
    models = sorted({"base", *map(folder_of_model, arms)})
    files = [
        f"{RESULTS}/models/{folder}/{file}"
        for folder in models
        for file in ("model.safetensors", "model.json")
    ]
    adapted = [arm for arm in arms if arm in ADAPTED]
    for file in ("adapter.safetensors", "adapter.json"):
        files += of_speakers(file, adapted, folders=folders)
    return files


def all_routes(wildcards):
    """Each routed arm's routes of each target speaker."""
    return [
        f"{RESULTS}/pretrained/{arm}/seed{seed}/routes/{folder}/routes.csv"
        for arm in run_arms(ROUTED)
        for seed in seeds(arm)
        for folder in SPEAKERS
    ]


def table_files(wildcards):
    """The tables of the experiment; those of routes where any arm is routed."""
    routes = ["routing", "routers"] if run_arms(ROUTED) else []
    return [f"{RESULTS}/tables/{table}.csv" for table in TABLES + routes]


def figure_files(wildcards):
    """The figures, likewise."""
    routes = ["routing"] if run_arms(ROUTED) else []
    return [f"{RESULTS}/figures/{figure}.svg" for figure in FIGURES + routes]


def all_records(wildcards):
    """The run records that hold curves: a given base model has none."""
    base = [] if GIVEN_BASE else [f"{RESULTS}/models/base/run.jsonl"]
    return [*base, *of_pretraining("run.jsonl"), *of_speakers("run.jsonl", run_arms(ADAPTED))]


# --- the enrolment curve


def enrolment_arms():
    """The arms that are not adapted, for comparison, and those of the curve."""
    return run_arms(UNADAPTED) + config["enrolment"]["arms"]


def enrolment_sizes():
    """The numbers of training utterances that the experiment itself does not have already."""
    return [size for size in config["enrolment"]["sizes"] if size != config["partition"]["enrolment"]]


def enrolment_hypotheses(wildcards):
    """Each number's, and the experiment's own."""
    arms = config["enrolment"]["arms"]
    folders = [f"{RESULTS}/enrolment/{size}" for size in enrolment_sizes()]
    return of_speakers("hypotheses.jsonl", enrolment_arms()) + [
        file for folder in folders for file in of_speakers("hypotheses.jsonl", arms, folder)
    ]


def enrolment_options(wildcards):
    """What may be null in the configuration and is left out then."""
    own, reference = config["partition"]["enrolment"], config["enrolment"]["reference"]
    options = [] if own is None else ["--own-size", str(own)]
    return options + ([] if reference is None else ["--reference", reference])


# --- learning rates on trial


def experts_on_trial(file):
    """A file of the experts initialised at the job's rate, where its arm mixes several."""

    def of_arm(wildcards):
        folder = f"{RESULTS}/tuning/{wildcards.arm}/pretraining/lr{wildcards.rate}/seed{wildcards.seed}"
        return f"{folder}/experts/{file}" if wildcards.arm in MIXTURES else []

    return of_arm


def pretrained_at_all_rates(file):
    """A file of each pre-training on trial of the job's arm."""
    return lambda wildcards: [
        f"{RESULTS}/tuning/{wildcards.arm}/pretraining/lr{rate}/seed{wildcards.seed}/{file}" for rate in RATES
    ]


def judged_pretraining(wildcards):
    """What each pre-training on trial of the job's arm loses."""
    folder = f"{RESULTS}/tuning/{wildcards.arm}/judged-{PRETRAINING}"
    return [f"{folder}/lr{rate}/seed{wildcards.seed}/run.jsonl" for rate in RATES]


def tried(file):
    """A file of the arm's pre-training at the job's rate, or of its adaptation to each tuning speaker."""

    def of_rate(wildcards):
        folders = {PRETRAINING: [""], ADAPTATION: [f"{folder}/" for folder in TUNING_SPEAKERS]}
        trial = f"{RESULTS}/tuning/{wildcards.arm}/{wildcards.kind}/lr{wildcards.rate}"
        return [f"{trial}/{folder}seed{wildcards.seed}/{file}" for folder in folders[wildcards.kind]]

    return of_rate


def of_tuning_speakers(file):
    """A file of each tuning speaker's speech."""
    return [f"{RESULTS}/data/speakers/{folder}/{file}" for folder in TUNING_SPEAKERS]


def chosen_start(file):
    """A file of the best pre-trained adapter, where the job's arm has one."""

    def of_arm(wildcards):
        folder = f"{RESULTS}/tuning/{wildcards.arm}/pretrained/seed{wildcards.seed}"
        return f"{folder}/{file}" if wildcards.arm in PRETRAINED else []

    return of_arm


def tuned_stages():
    """The arms to tune, each with the stages that have a learning rate."""
    return {
        arm: [PRETRAINING, ADAPTATION] if arm in PRETRAINED else [ADAPTATION] for arm in run_arms(ADAPTED)
    }


def tuning_as_json(wildcards):
    """What is tuned and how: the settings of the choice."""
    return configuration.canonical({"tuning": config["tuning"], "arms": tuned_stages()})


def all_judged(wildcards):
    """What the trials of every arm, stage and rate lose."""
    if not tuned_stages():
        sys.exit("run_arms: none of them is adapted, so there is no learning rate to choose")
    return [
        f"{RESULTS}/tuning/{arm}/judged-{kind}/lr{rate}/seed{config['tuning']['seed']}/run.jsonl"
        for arm, kinds in tuned_stages().items()
        for kind in kinds
        for rate in RATES
    ]


# --- the ablation


def first_speakers():
    """The target speakers of the ablation, folder to id."""
    return dict(list(SPEAKERS.items())[: config["ablation"]["speakers"]])


def ablation_arms():
    """The arms of all questions, each once."""
    arms = list(dict.fromkeys(arm for names in config["ablation"]["questions"].values() for arm in names))
    for problem in without_initial_speakers(config, arms):
        sys.exit(f"config: {problem}, which `ablation` asks for")
    return arms


def ablation_files(wildcards):
    """What `snakemake ablation` ends with."""
    names = ["ablation", *(name for name in ("pruning", "embeddings") if config["ablation"][name])]
    return [f"{RESULTS}/{file}" for name in names for file in (f"tables/{name}.csv", f"figures/{name}.svg")]


def ablation_hypotheses(wildcards):
    return of_speakers("hypotheses.jsonl", ablation_arms(), folders=first_speakers())


def ablation_shipped(wildcards):
    return shipped(ablation_arms(), first_speakers())


def ablation_reference(wildcards):
    reference = config["ablation"]["reference"]
    return [] if reference is None else ["--reference", reference]


def pruning_files(file):
    """A file of each whole mixture and of all that was made of it."""

    def of_all(wildcards):
        found = []
        for arm in config["ablation"]["pruning"]:
            if {**config["adapters"], **ARMS[arm]}.get("decoder_routing") == "input":
                sys.exit(
                    f"config: ablation.pruning: {arm!r} routes its decoder with every token: no mean route"
                )
            kept = [*range(1, ARMS[arm]["experts"]), COLLAPSED]
            for folder in [RESULTS, *(f"{RESULTS}/pruned/{one}" for one in kept)]:
                found += of_speakers(file, [arm], folder, first_speakers())
        return found

    return of_all


def adapted_file(file):
    """A file of the adapter of the job's speaker, where its arm has one."""
    path = "speakers/{0.speaker}/{0.arm}/seed{0.seed}"
    return lambda wildcards: (
        f"{RESULTS}/{path.format(wildcards)}/{file}" if wildcards.arm in ADAPTED else []
    )


def all_encodings(wildcards):
    return [
        f"{RESULTS}/embeddings/{folder}/{arm}/seed{seed}/embeddings.csv"
        for arm in config["ablation"]["embeddings"]
        for folder in first_speakers()
        for seed in seeds(arm)
    ]
