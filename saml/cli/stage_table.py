"""The stages of the pipeline: of each, its name, function, config sections and flags.

Everything that a stage takes is said here once. The command line (`saml.cli.stage_commands`) takes its flags
from it, and the workflow (workflow/rules/common.smk) the shell command and the settings of the stage's rule.
Inputs, outputs, wildcards and params of a rule therefore have the names of the flags, with underscores.
"""

from saml.cli.arguments import json_object
from saml.cli.stage_definition import Stage, Value

ARM = Value("arm", "wildcards")
SEED = Value("seed", "wildcards", int)
SPEAKERS = Value("speakers", "params", many=True, help="ids of the target speakers")
SEEDS = Value("seeds", "params", int, many=True)
REFERENCE = Value("reference", "params", optional=True, help="the arm that the others are compared with")
# The factors of the experiment's results, for tables and figures.
FACTORS = (Value("arms", "params", json_object, "arm to its config entry"), SPEAKERS, SEEDS)

_MODEL = ("weights", "description")
_ADAPTER = ("adapter", "adapter-description")
_NEW_MODEL = ("out-weights", "out-description", "record")
_NEW_ADAPTER = ("out-adapter", "out-description", "record")
_MIXTURE = ("arm", "adapters", "pretraining", "initial_speakers")
_TABLES = ("wer", "summary", "comparisons", "intervals")
_DRAWN = ("results", "pages", "output-dir")
_CORPUS_AND_FAMILY = ("corpus", "family")

_ALL = (
    Stage(
        "prepare-corpus",
        "saml.stages.prepare:prepare_corpus",
        "speech to manifests: everything but synthetic speech of a target speaker",
        sections=("corpus",),
        outputs=("recordings", "supervisions", "dropped", "audio", "record"),
        notes=(),
    ),
    Stage(
        "prepare-pool",
        "saml.stages.prepare:prepare_pool",
        "cuts and features of a pool of speakers: base, pretrain or heldout",
        sections=("corpus", "model"),
        inputs=("recordings", "supervisions"),
        outputs=("cuts", "features", "dropped", "record"),
        downloads=True,
        values=(Value("role", "wildcards"),),
        notes=(),
    ),
    Stage(
        "prepare-speaker",
        "saml.stages.prepare:prepare_speaker",
        "cuts, features and splits of target speakers",
        sections=("corpus", "model", "partition.scheme", "partition.folds", "partition.seed"),
        inputs=("recordings", "supervisions"),
        outputs=("cuts", "features", "splits", "dropped", "audio", "record"),
        per_speaker=True,
        downloads=True,
        notes=(),
    ),
    Stage(
        "train-base",
        "saml.stages.train_base:train_base",
        "train a base model from scratch",
        sections=("model", "base_training"),
        inputs=("cuts",),
        outputs=_NEW_MODEL,
        trains=True,
    ),
    Stage(
        "import-base",
        "saml.stages.import_base:import_base",
        "take over a base model that transformers, CTranslate2 or OpenAI wrote",
        sections=("model",),
        outputs=_NEW_MODEL,
        downloads=True,
    ),
    Stage(
        "label",
        "saml.stages.label:label",
        "labels in the style of the base model, for text_style: model",
        sections=("decoding",),
        inputs=(*_MODEL, "cuts"),
        outputs=("labelled", "record"),
        values=(Value("whose", "params", help="the pool or speaker, for the run record"),),
    ),
    Stage(
        "quantise",
        "saml.stages.quantise:quantise",
        "store a model as NF4",
        sections=("quantisation",),
        inputs=_MODEL,
        outputs=_NEW_MODEL,
    ),
    Stage(
        "initialise-experts",
        "saml.stages.initialise:initialise_experts",
        "train one LoRA for each initial speaker: the experts of a mixture",
        sections=_MIXTURE,
        inputs=(*_MODEL, "cuts"),
        outputs=_NEW_ADAPTER,
        values=(ARM, SEED),
        trains=True,
        tunable=True,
    ),
    Stage(
        "pretrain",
        "saml.stages.pretrain:pretrain",
        "train an arm's adapters (and routers) on many speakers",
        sections=_MIXTURE,
        inputs=(*_MODEL, "cuts"),
        optional=("experts", "experts-description"),
        outputs=_NEW_ADAPTER,
        values=(ARM, SEED),
        trains=True,
        tunable=True,
    ),
    Stage(
        "adapt",
        "saml.stages.adapt:adapt",
        "adapt an arm to target speakers, several in the same batches",
        sections=("arm", "adapters", "adaptation", "partition.enrolment"),
        inputs=(*_MODEL, "cuts", "splits"),
        optional=_ADAPTER,
        outputs=_NEW_ADAPTER,
        values=(ARM, SEED),
        per_speaker=True,
        batch=("speakers", "saml.stages.adapt:Speaker"),
        trains=True,
        tunable=True,
    ),
    Stage(
        "decode",
        "saml.stages.decode:decode",
        "decode test parts of speakers, several in the same batches, and the held-out pool; count errors",
        sections=("arm", "decoding", "scoring.scorers"),
        inputs=_MODEL,
        optional=("cuts", "splits", "heldout-cuts", *_ADAPTER, "adaptation-record"),
        outputs=("hypotheses", "record"),
        values=(ARM, SEED),
        per_speaker=True,
        batch=("decodings", "saml.stages.decode:Decoding"),
    ),
    Stage(
        "routes",
        "saml.stages.routes:routes",
        "route speakers' speech with an arm's pre-trained router",
        sections=("arm",),
        inputs=(*_MODEL, *_ADAPTER, "cuts"),
        outputs=("routes", "record"),
        values=(ARM, SEED),
        per_speaker=True,
    ),
    Stage(
        "encode",
        "saml.stages.embed:encode",
        "encode speakers' test parts, before and after adaptation",
        sections=("arm",),
        inputs=(*_MODEL, "cuts", "splits"),
        optional=(*_ADAPTER, "pretrained", "pretrained-description"),
        outputs=("embeddings", "record"),
        values=(ARM, SEED),
        per_speaker=True,
    ),
    Stage(
        "judge-rate",
        "saml.tuning.judge_rate:judge_rate",
        "losses of an arm's trials at one learning rate on unseen utterances",
        sections=("tuning",),
        inputs=_MODEL,
        outputs=("record",),
        folders=("results",),
        values=(ARM, SEED, Value("kind", "wildcards"), Value("rate", "wildcards", float)),
    ),
    Stage(
        "choose-start",
        "saml.tuning.choose_rates:choose_start",
        "choose the best pre-training of the sweep, from which adaptation trials start",
        sections=("tuning.grid", "tuning.speakers"),
        outputs=_NEW_ADAPTER,
        folders=("results",),
        values=(ARM, SEED),
    ),
    Stage(
        "choose-rates",
        "saml.tuning.choose_rates:choose_rates",
        "choose learning rates by the losses of all trials on unseen utterances",
        sections=("tuning", "arms"),
        outputs=("rates", "fragment", "record"),
        folders=("results",),
    ),
    Stage(
        "tabulate",
        "saml.reporting.tables:tabulate",
        "tables from hypotheses",
        sections=("scoring",),
        outputs=(*_TABLES, "record"),
        folders=("results", "pages"),
        values=FACTORS,
        notes=_CORPUS_AND_FAMILY,
    ),
    Stage(
        "figures",
        "saml.reporting.figures:figures",
        "figures from tables",
        inputs=(*_TABLES, "tables-record"),
        outputs=("record",),
        folders=("results", "output-dir"),
        notes=_CORPUS_AND_FAMILY,
    ),
    Stage(
        "transcripts",
        "saml.reporting.transcripts:transcripts",
        "references and hypotheses in the formats of sclite and icefall",
        sections=("scoring.scorers", "scoring.error_stats"),
        outputs=("record",),
        folders=("results", "transcripts"),
        values=FACTORS,
        notes=_CORPUS_AND_FAMILY,
    ),
    Stage(
        "index",
        "saml.reporting.index:index",
        "the front page of the results: key number, examples, links",
        inputs=("summary", "wer"),
        outputs=("index", "key", "record"),
        folders=("results",),
        values=(Value("arms", "params", many=True, help="the arms of the tables"), SPEAKERS, SEEDS),
        notes=_CORPUS_AND_FAMILY,
    ),
    Stage(
        "routing",
        "saml.reporting.routing:routing",
        "weights of the experts by speaker: tables and a figure",
        sections=("scoring.seed",),
        outputs=("routing", "routers", "record"),
        folders=_DRAWN,
        values=(Value("arms", "params", many=True, help="the arms that are routed"), SPEAKERS, SEEDS),
        notes=_CORPUS_AND_FAMILY,
    ),
    Stage(
        "enrolment",
        "saml.reporting.enrolment:enrolment",
        "word error rates by number of training utterances: a table and a figure",
        sections=("scoring",),
        outputs=("enrolment", "record"),
        folders=_DRAWN,
        values=(
            *FACTORS,
            Value("sizes", "params", int, "numbers of utterances in <results>/enrolment", many=True),
            Value("own-size", "params", int, "the number of <results> itself (all)", optional=True),
            REFERENCE,
        ),
        notes=_CORPUS_AND_FAMILY,
    ),
    Stage(
        "ablation",
        "saml.reporting.ablation:ablation",
        "arms that differ in one thing, side by side: a table and a figure",
        sections=("scoring",),
        outputs=("ablation", "record"),
        folders=_DRAWN,
        values=(*FACTORS, Value("questions", "params", json_object, "question to its arms"), REFERENCE),
        notes=_CORPUS_AND_FAMILY,
    ),
    Stage(
        "pruning",
        "saml.reporting.pruning:pruning",
        "word error rates by number of experts kept: a table and a figure",
        sections=("scoring",),
        outputs=("pruning", "record"),
        folders=_DRAWN,
        values=FACTORS,
        notes=_CORPUS_AND_FAMILY,
    ),
    Stage(
        "embeddings",
        "saml.reporting.embeddings:embeddings",
        "encoder outputs by speaker: a table and a figure (t-SNE)",
        sections=("scoring.seed",),
        outputs=("silhouettes", "record"),
        folders=_DRAWN,
        values=FACTORS,
        notes=_CORPUS_AND_FAMILY,
    ),
)

# By name, in pipeline order.
STAGES = {stage.name: stage for stage in _ALL}
