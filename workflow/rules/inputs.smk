# Helpers of the rules, no rules: the files that jobs read, found by what the configuration says of an arm.


# --- of one job


def known_speaker(wildcards):
    """No file, but a clear word about a speaker that was asked for by path and is not in the configuration."""
    if not any(wildcards.speaker in known for known in (SPEAKERS, TUNING_SPEAKERS)):
        sys.exit(f"{speaker(wildcards)!r} is not one of target_speakers: add it to the configuration")
    return []


def only_for(arms, file, group=None):
    """A file of jobs whose arm is one of `arms`, of each speaker in a group; other jobs have none."""

    def of_job(wildcards):
        if wildcards.arm not in arms:
            return []
        return file.format(**wildcards) if group is None else expand(file, speaker=group, **wildcards)

    return of_job


def started(template):
    """A file of the pre-training that the job's arm starts from; other jobs have none."""

    def of_job(wildcards):
        if wildcards.arm not in STARTED_ARMS:
            return []
        return template.format(**{**wildcards, "arm": start_of(ARMS, wildcards.arm)})

    return of_job


def model(file):
    """A file of the model that the job's arm builds on."""
    return lambda wildcards: f"{folder(layout.MODEL, model=model_of(wildcards.arm))}/{file}"


def model_of(arm):
    return layout.model_name(ARMS[arm]["precision"])


# --- inputs of the tables


def seeds(arm):
    """The seeds of an arm; what is not adapted knows no chance and has the one seed 0."""
    return config["seeds"] if arm in ADAPTED_ARMS else [0]


def run_arms(among):
    """The arms to compare that are `among` these, in their order."""
    return [arm for arm in config["run_arms"] if arm in among]


def of_speakers(file, arms, within=ADAPTED, folders=SPEAKERS):
    """A file of each arm, speaker and seed in the folders `within`."""
    return [
        f"{within}/{file}".format(arm=arm, speaker=folder, seed=seed)
        for arm in arms
        for folder in folders
        for seed in seeds(arm)
    ]


def of_pretraining(file):
    """A file of each pre-trained arm and seed."""
    return [
        f"{PRETRAINED}/{file}".format(arm=arm, seed=seed)
        for arm in run_arms(PRETRAINED_ARMS)
        for seed in seeds(arm)
    ]


def all_hypotheses(wildcards):
    """Each arm on each target speaker, and the models that are not adapted on held-out speakers' speech."""
    heldout = [f"{HELDOUT}/hypotheses.jsonl".format(arm=arm, seed=0) for arm in run_arms(UNADAPTED_ARMS)]
    return of_speakers("hypotheses.jsonl", config["run_arms"]) + heldout


def all_shipped(wildcards):
    """The files whose sizes stand in the summary."""
    return shipped(config["run_arms"])


def shipped(arms, folders=SPEAKERS):
    """The files that these arms ship, and the full-precision model, which they are compared with."""
    models = [folder(layout.MODEL, model=model) for model in sorted({"base", *map(model_of, arms)})]
    files = [f"{model}/{file}" for model in models for file in ("model.safetensors", "tokenizer.json")]
    adapted = [arm for arm in arms if arm in ADAPTED_ARMS]
    for file in ("adapter.safetensors", "adapter.json"):
        files += of_speakers(file, adapted, folders=folders)
    return files


def all_routes(wildcards):
    """Each routed arm's routes of each target speaker."""
    return of_speakers("routes.csv", run_arms(ROUTED_ARMS), ROUTES)


def table_files(wildcards):
    """The tables of the experiment; those of routes where any arm is routed."""
    routes = ["routing", "routers"] if run_arms(ROUTED_ARMS) else []
    return [f"{RESULTS}/{layout.TABLES}/{table}.csv" for table in TABLES + routes]


def figure_files(wildcards):
    """The figures, likewise."""
    routes = ["routing"] if run_arms(ROUTED_ARMS) else []
    return [f"{RESULTS}/{layout.FIGURES}/{figure}.svg" for figure in FIGURES + routes]


def all_records(wildcards):
    """The run records that hold curves: a given base model has none."""
    base = [] if GIVEN_BASE else [f"{BASE}/run.jsonl"]
    return [*base, *of_pretraining("run.jsonl"), *of_speakers("run.jsonl", run_arms(ADAPTED_ARMS))]


# --- the enrolment curve


def enrolment_arms():
    """The arms that are not adapted, for comparison, and those of the curve."""
    return run_arms(UNADAPTED_ARMS) + config["enrolment"]["arms"]


def enrolment_sizes():
    """The numbers of training utterances that the experiment itself does not have already."""
    return [size for size in config["enrolment"]["sizes"] if size != config["partition"]["enrolment"]]


def enrolment_hypotheses(wildcards):
    """Each number's, and the experiment's own."""
    arms = config["enrolment"]["arms"]
    return of_speakers("hypotheses.jsonl", enrolment_arms()) + [
        file
        for size in enrolment_sizes()
        for file in of_speakers("hypotheses.jsonl", arms, layout.fill(ENROLMENT, size=size))
    ]


# --- learning rates on trial


def pretrained_at_all_rates(file):
    """A file of each pre-training on trial of the job's arm."""
    return lambda wildcards: [f"{TRIAL_PRETRAINING}/{file}".format(rate=rate, **wildcards) for rate in RATES]


def judged_pretraining(wildcards):
    """The losses of each pre-training on trial of the job's arm."""
    record = f"{TRIAL_LOSSES}/run.jsonl"
    return [record.format(rate=rate, kind=PRETRAINING, **wildcards) for rate in RATES]


def tried(file):
    """A file of the arm's pre-training at the job's rate, or of its adaptation to each tuning speaker."""

    def of_rate(wildcards):
        if wildcards.kind == PRETRAINING:
            return f"{TRIAL_PRETRAINING}/{file}".format(**wildcards)
        return expand(f"{TRIAL_ADAPTATION}/{file}", speaker=TUNING_SPEAKERS, **wildcards)

    return of_rate


def of_tuning_speakers(file):
    """A file of each tuning speaker's speech."""
    return expand(f"{SPEECH}/{file}", speaker=TUNING_SPEAKERS)


def tuned_stages():
    """The arms to tune, each with the stages that have a learning rate."""
    return {
        arm: [PRETRAINING, ADAPTATION] if arm in PRETRAINED_ARMS else [ADAPTATION]
        for arm in run_arms(ADAPTED_ARMS)
    }


def tuning_settings(wildcards):
    """What is tuned and how: the settings of the choice."""
    return configuration.readable({"tuning": config["tuning"], "arms": tuned_stages()}, sort=True)


def all_judged(wildcards):
    """What the trials of every arm, stage and rate lose."""
    if not tuned_stages():
        sys.exit("run_arms: none of them is adapted, so there is no learning rate to choose")
    return [
        f"{TRIAL_LOSSES}/run.jsonl".format(arm=arm, kind=kind, rate=rate, seed=config["tuning"]["seed"])
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
    return [
        f"{RESULTS}/{file}"
        for name in names
        for file in (f"{layout.TABLES}/{name}.csv", f"{layout.FIGURES}/{name}.svg")
    ]


def ablation_hypotheses(wildcards):
    return of_speakers("hypotheses.jsonl", ablation_arms(), folders=first_speakers())


def ablation_shipped(wildcards):
    return shipped(ablation_arms(), first_speakers())


def pruning_files(file):
    """A file of each whole mixture and of the pruned adapters from it."""

    def of_all(wildcards):
        found = []
        for arm in config["ablation"]["pruning"]:
            if adapters_of(config, ARMS[arm])["decoder_routing"] == "input":
                sys.exit(
                    f"config: ablation.pruning: {arm!r} routes its decoder with every token: no mean route"
                )
            kept = [*range(1, ARMS[arm]["experts"]), COLLAPSED]
            for within in [ADAPTED, *(layout.fill(PRUNED, kept=one) for one in kept)]:
                found += of_speakers(file, [arm], within, first_speakers())
        return found

    return of_all


def all_encodings(wildcards):
    return of_speakers("embeddings.csv", config["ablation"]["embeddings"], EMBEDDINGS, first_speakers())
