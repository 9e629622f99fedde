"""The command that runs a stage for several speakers at once, for jobs of several speakers."""

from collections.abc import Callable, Sequence
from typing import Any

from saml.cli.dispatch import limit_threads
from saml.cli.each import parse
from saml.cli.stage_commands import refuse_missing_section
from saml.cli.stage_table import STAGES, Stage
from saml.runtime.errors import SamlError

# Of each stage what differs from speaker to speaker.
_OWN = {
    "adapt": ("speaker", "cuts", "splits", "out_adapter", "out_description", "record"),
    "decode": (
        "speaker",
        "cuts",
        "splits",
        "adapter",
        "adapter_description",
        "adaptation_record",
        "hypotheses",
        "record",
    ),
}
_STAGES = {stage.name: stage for stage in STAGES if stage.name in _OWN}


def add(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "crowd",
        help="adapt to several speakers, or decode them, in the same batches",
        description="Adapt to several speakers at once over one model, or decode their speech: %(prog)s and "
        "its flags, then -- and the command line of adapt or decode, in which %%speaker%% is the speaker. "
        "Every step of a training takes the next batch of each; files are those of the stage, equal but for "
        "rounding and, of a training, for what dropout draws. With --outputs and --keep, speakers who were "
        "done when others failed are kept for the next start.",
    )
    command.add_argument(
        "--speakers", required=True, nargs="+", metavar="FOLDER", help="their folders' names"
    )
    command.add_argument(
        "--outputs", nargs="+", metavar="PATH", help="what the stage writes, with %%speaker%%"
    )
    command.add_argument(
        "--keep", metavar="PATH", help="folder for what is finished meanwhile, with %%speaker%%"
    )
    command.add_argument(
        "arguments", nargs="+", metavar="stage ...", help="adapt or decode and its flags, after --"
    )
    command.set_defaults(run=lambda options: _crowd(**options))


def _crowd(speakers: list[str], arguments: list[str], outputs: list[str] | None, keep: str | None) -> None:
    stage = _STAGES.get(arguments[0])
    if stage is None:
        can = " and ".join(_STAGES)
        raise SamlError(f"{arguments[0]}: only {can} can be done for several speakers at once; use each")
    if (outputs is None) != (keep is None):
        raise SamlError("--outputs and --keep: give both or neither")
    # As a stage of one speaker does: before any numerical library is imported.
    limit_threads(parse(arguments)[0]["threads"])
    from saml.chunks.each import fill
    from saml.chunks.together import together

    filled = [parse([fill(argument, folder) for argument in arguments])[0] for folder in speakers]
    own = [{name: options.pop(name) for name in _OWN[stage.name]} for options in filled]
    given = dict(zip(speakers, own, strict=True))
    for_all = _function(stage, _common(stage, filled))

    def run(folders: Sequence[str]) -> None:
        for_all([given[folder] for folder in folders])

    if outputs is None or keep is None:
        run(speakers)
    else:
        together(speakers=speakers, arguments=arguments, outputs=outputs, keep=keep, parse=parse, run=run)


def _function(stage: Stage, common: dict[str, Any]) -> Callable[[list[dict[str, Any]]], None]:
    """What runs the stage for speakers with these options of their own."""
    if stage.name == "adapt":
        from saml.stages.adapt import Speaker, adapt_crowd

        return lambda own: adapt_crowd(speakers=[Speaker(**each) for each in own], **common)
    from saml.stages.decode import Decoding, decode_crowd

    return lambda own: decode_crowd(decodings=[Decoding(**each) for each in own], **common)


def _common(stage: Stage, filled: list[dict[str, Any]]) -> dict[str, Any]:
    """The options that all speakers share. Raises SamlError where one differs, or there can be no crowd."""
    common, *others = filled
    refuse_missing_section(stage, common)
    for options in others:
        if "work" in common:  # the crowd's checkpoints lie with its first speaker
            options["work"] = common["work"]
        for name in common:
            if options[name] != common[name]:
                raise SamlError(
                    f"--{name.replace('_', '-')}: it must be the same for all speakers of a crowd"
                )
    if common.pop("trial", False):
        raise SamlError("--trial: learning rates are tried speaker by speaker; use each")
    for name in ("threads", "family"):
        del common[name]
    return common
