"""What each stage of the pipeline is called, takes and runs: the table behind the command line."""

from dataclasses import dataclass

# What each path flag is, for --help. A stage lists the names of its own.
PATHS = {
    "recordings": "lhotse recordings (jsonl.gz)",
    "supervisions": "lhotse supervisions (jsonl.gz)",
    "dropped": "table of utterances left out (tsv)",
    "audio": "folder for waveforms that are made or converted",
    "cuts": "lhotse cuts with features (jsonl.gz)",
    "features": "archive of features",
    "splits": "a target speaker's train, dev and test utterances (json)",
    "heldout-cuts": "cuts of the held-out pool",
    "weights": "model to read (safetensors)",
    "description": "its description (json)",
    "adapter": "adapter to read (safetensors)",
    "adapter-description": "its description (json)",
    "experts": "initialised experts to start from (safetensors)",
    "experts-description": "their description (json)",
    "adaptation-record": "run record of the adaptation, taken over",
    "tables-record": "run record of the tables, taken over",
    "out-weights": "model to write (safetensors)",
    "out-adapter": "adapter to write (safetensors)",
    "out-description": "description to write (json)",
    "hypotheses": "hypotheses with counts (jsonl)",
    "routes": "weights of each utterance, layer and expert (csv)",
    "pretrained": "the adapter before adaptation, likewise (safetensors)",
    "pretrained-description": "its description (json)",
    "embeddings": "encoder outputs of each utterance, the mean over frames (csv)",
    "results": "an experiment's folder, results/<experiment>",
    "wer": "table of word error rates by arm, speaker and seed (csv)",
    "summary": "table of arms (csv)",
    "comparisons": "table of pairs of arms (csv)",
    "intervals": "table of word error rates with intervals, by arm and by speaker (csv)",
    "routing": "table of mean weights by speaker and expert (csv)",
    "routers": "table of routers, and how well they tell speakers apart (csv)",
    "enrolment": "table of word error rates by number of training utterances (csv)",
    "ablation": "table of word error rates by question and arm (csv)",
    "pruning": "table of word error rates by number of experts kept (csv)",
    "silhouettes": "table of how well encoder outputs keep speakers apart (csv)",
    "rates": "table of losses by learning rate (csv)",
    "fragment": "the chosen learning rates, to lay over a configuration (yaml)",
    "output-dir": "folder for figures",
    "transcripts": "folder for transcripts, a folder for each arm and scorer in it",
    "pages": "folder for tables as pages (html)",
    "work": "folder for checkpoints, removed when the job is done",
    "record": "run record to write (jsonl)",
}


@dataclass(frozen=True)
class Stage:
    """A command that runs one function of the package.

    `paths` are required path flags, `optional` ones that may be left out, `sections` the config sections
    that its --settings holds, `others` further flags with their types. One that `trains_adapter` can be run
    on trial, to find a learning rate.
    """

    name: str
    function: str
    summary: str
    sections: tuple[str, ...]
    paths: tuple[str, ...]
    optional: tuple[str, ...] = ()
    others: tuple[tuple[str, type], ...] = ()
    optional_others: tuple[tuple[str, type], ...] = ()
    takes_corpus: bool = True
    trains_adapter: bool = False


_MIXTURE = ("arm", "adapters", "pretraining", "initial_speakers")
_ARM_SEED = (("arm", str), ("seed", int))

STAGES = (
    Stage(
        "prepare-corpus",
        "saml.stages.prepare:prepare_corpus",
        "speech to manifests: everything but speech made for a target speaker",
        ("corpus",),
        ("recordings", "supervisions", "dropped", "audio"),
        takes_corpus=False,
    ),
    Stage(
        "prepare-pool",
        "saml.stages.prepare:prepare_pool",
        "cuts and features of a pool of speakers: base, pretrain or heldout",
        ("corpus", "model"),
        ("recordings", "supervisions", "cuts", "features", "dropped"),
        others=(("role", str),),
        takes_corpus=False,
    ),
    Stage(
        "prepare-speaker",
        "saml.stages.prepare:prepare_speaker",
        "cuts, features and splits of a target speaker",
        ("corpus", "model", "partition"),
        ("recordings", "supervisions", "cuts", "features", "splits", "dropped", "audio"),
        others=(("speaker", str),),
        takes_corpus=False,
    ),
    Stage(
        "train-base",
        "saml.stages.train_base:train_base",
        "train a base model from scratch",
        ("model", "base_training"),
        ("cuts", "out-weights", "out-description"),
        ("work",),
    ),
    Stage(
        "import-base",
        "saml.models.checkpoints.transformers:import_base",
        "take over a base model that transformers or OpenAI wrote",
        ("model",),
        ("out-weights", "out-description"),
    ),
    Stage(
        "quantise",
        "saml.models.nf4:quantise",
        "store a model as NF4",
        ("quantisation",),
        ("weights", "description", "out-weights", "out-description"),
    ),
    Stage(
        "initialise-experts",
        "saml.stages.pretrain:initialise_experts",
        "train one LoRA for each initial speaker: the experts of a mixture",
        _MIXTURE,
        ("weights", "description", "cuts", "out-adapter", "out-description"),
        ("work",),
        others=_ARM_SEED,
        trains_adapter=True,
    ),
    Stage(
        "pretrain",
        "saml.stages.pretrain:pretrain",
        "train an arm's adapters (and routers) on many speakers",
        _MIXTURE,
        ("weights", "description", "cuts", "out-adapter", "out-description"),
        ("experts", "experts-description", "work"),
        others=_ARM_SEED,
        trains_adapter=True,
    ),
    Stage(
        "adapt",
        "saml.stages.adapt:adapt",
        "adapt an arm to one target speaker",
        ("arm", "adapters", "adaptation", "partition"),
        ("weights", "description", "cuts", "splits", "out-adapter", "out-description"),
        ("adapter", "adapter-description", "work"),
        others=(("arm", str), ("speaker", str), ("seed", int)),
        trains_adapter=True,
    ),
    Stage(
        "decode",
        "saml.stages.decode:decode",
        "decode a speaker's test part and the held-out pool, and count errors",
        ("arm", "decoding", "scoring"),
        ("weights", "description", "hypotheses"),
        ("cuts", "splits", "heldout-cuts", "adapter", "adapter-description", "adaptation-record"),
        others=_ARM_SEED,
        optional_others=(("speaker", str),),
    ),
    Stage(
        "routes",
        "saml.stages.routes:routes",
        "route a speaker's speech with an arm's pre-trained router",
        ("arm",),
        ("weights", "description", "adapter", "adapter-description", "cuts", "routes"),
        others=(("arm", str), ("speaker", str), ("seed", int)),
    ),
    Stage(
        "encode",
        "saml.stages.embed:encode",
        "encode a speaker's test part, before and after adaptation",
        ("arm",),
        ("weights", "description", "cuts", "splits", "embeddings"),
        ("adapter", "adapter-description", "pretrained", "pretrained-description"),
        others=(("arm", str), ("speaker", str), ("seed", int)),
    ),
    Stage(
        "judge-rate",
        "saml.tuning.judging:judge_rate",
        "what an arm's trials at one rate lose on sentences that they have not heard",
        ("tuning",),
        ("weights", "description", "results"),
        others=(*_ARM_SEED, ("kind", str), ("rate", float)),
    ),
    Stage(
        "choose-start",
        "saml.tuning.selection:choose_start",
        "of the pre-trainings on trial take the best, for adaptations on trial to start from",
        ("tuning",),
        ("results", "out-adapter", "out-description"),
        others=_ARM_SEED,
    ),
    Stage(
        "choose-rates",
        "saml.tuning.selection:choose_rates",
        "choose learning rates by the losses of all trials on unheard sentences",
        ("tuning", "arms"),
        ("results", "rates", "fragment"),
    ),
)
