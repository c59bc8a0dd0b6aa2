"""What a sweep is to be, from the command line or a YAML file, with every mistake found before anything runs.

table: 1                     # or figure: 3a, or losses: [tversky, "sm-tversky-s-a:cell_statistic=mean"]
protocol: paper              # trained and tested as the paper says, section 4.1
letter: true                 # the Spatial Matching losses as the equations are printed
models: [aunet]              # with which networks; by default aunet
folds: [0, 1]                # which; by default all
seeds: [0, 1, 2]             # by default 0
recipe: strong               # defaults of the training, and of losses: those of the network in this package
training:                    # the options of `massmatch train` that change results, with _ for -
  width: 8
  epochs: 12
  folds: 5                   # how many
"""

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from massmatch.data import Cohort
from massmatch.errors import UsageError, mistakes, refusals_as_usage
from massmatch.losses import LossSpec, in_one_spelling
from massmatch.losses.rivals.adaptive import DensityASP
from massmatch.runs.experiment import Experiment, check_logits, parts_of, refuse_unused_folds
from massmatch.runs.network import refuse_model
from massmatch.runs.options import TrainingOptions
from massmatch.runs.recipes import Recipe, with_recipe
from massmatch.sweeps.protocols import PROTOCOLS, cell_remark, contradiction, protocol_remarks, to_the_letter
from massmatch.sweeps.tables import FIGURES, TABLES, Planned, System, every_fold, planned
from massmatch.training.start import check_start

Number = Annotated[int, Field(ge=0)]
SWEPT = {"cohort", "fingerprint", "loss", "model", "seed"}  # what a sweep decides for each run
TRAINING = [name for name in Experiment.model_fields if name not in SWEPT]
STARTED = ("workers", "track", "strict_resume")  # how a run is started, not what it is
COMMAND_LINE = "--"  # stands where a file's name stands otherwise


class Plan(BaseModel):
    """The schema of a plan: what is compared, on which folds and seeds, trained how."""

    model_config = ConfigDict(extra="forbid", strict=True)

    table: Literal[1, 2, 3] | None = None
    figure: Literal["3a", "3b"] | None = None
    protocol: Literal["paper"] | None = None
    letter: bool = False
    recipe: Recipe = "paper"
    losses: list[str] = Field(default=[], min_length=1)
    models: list[str] = Field(default=[], min_length=1)
    folds: list[Number] = Field(default=[], min_length=1)
    seeds: list[Number] = Field(default=[0], min_length=1)
    training: dict[str, Any] = {}


def read_plan(path: Path) -> dict[str, Any]:
    """The file's content. UsageError for what is not there, is no YAML mapping or has a key twice."""
    if not path.is_file():
        raise UsageError(f"no such plan: {path}")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Once)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise UsageError(f"{path}: must hold lines `key: value` ({', '.join(Plan.model_fields)}), not {content!r}")
    return content


class _Once(yaml.SafeLoader):
    """A key comes once: YAML itself says so, PyYAML takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} comes twice", node.start_mark)
        return super().construct_mapping(node, deep)


def checked(content: dict[str, Any], source: str = COMMAND_LINE) -> Plan:
    """The plan. ValueError with a line for each mistake: the source, the key, what is wrong, the nearest known key."""
    _check(Plan, content, source, list(Plan.model_fields))
    plan = Plan(**content)
    within = source if source == COMMAND_LINE else f"{source}: training"
    _check(Experiment, plan.training, within, TRAINING, cohort="", fingerprint="")
    if plan.protocol and plan.recipe != "paper":
        where = _at(source, "recipe")
        raise UsageError(f"{where}: is {plan.recipe!r}, but protocol {plan.protocol} says how to train; leave out one")
    plan = _in_recipe(plan)
    refuse_unused_folds(plan.training)
    if plan.protocol:
        plan = plan.model_copy(update={"training": _as_in_protocol(plan.protocol, plan.training, within)})
    if plan.models and plan.table == 2:
        raise UsageError(f"{_at(source, 'models')}: table 2 has its own, {', '.join(sorted(models_of(TABLES[2])))}")
    return plan


def combined(file: Path | None, content: dict[str, Any], training: dict[str, Any]) -> Plan:
    """The plan of a file, if there is one, with what the command line says in the place of what the file says.

    Raises UsageError with a line for each mistake in either.
    """
    from_file = read_plan(file) if file else {}
    if file:
        checked(from_file, str(file))
    return checked({**from_file, **content, "training": {**from_file.get("training", {}), **training}})


def _in_recipe(plan: Plan) -> Plan:
    """The plan with the settings of its recipe where it has none of its own; with its loss and its network, too, where
    none is named.
    """
    named = {"model": " ".join(plan.models)} if plan.models or plan.table == 2 else {}
    training = with_recipe(plan.recipe, plan.training | named)
    loss, model = (training.pop(name, None) for name in ("loss", "model"))
    losses = plan.losses or ([] if plan.table or plan.figure or loss is None else [loss])
    models = plan.models if named or model is None else [model]
    return plan.model_copy(update={"training": training, "losses": losses, "models": models})


def _as_in_protocol(protocol: str, training: dict[str, Any], source: str) -> dict[str, Any]:
    """The settings with those of the protocol. ValueError for one that contradicts it."""
    if wrong := contradiction(protocol, training):
        stated = PROTOCOLS[protocol][wrong]
        name = "of" if source == COMMAND_LINE and wrong == "folds" else wrong  # `--folds` says which, `--of` how many
        raise UsageError(
            f"{_at(source, name)}: is {stated} in the {protocol}'s protocol, but is {training[wrong]!r}; leave out one"
        )
    return {**training, **PROTOCOLS[protocol]}


def remarks_on(plan: Plan, cohort: Cohort) -> list[str]:
    """What to know before the runs start: where the cohort is not the protocol's, how much a figure can show."""
    of_protocol = list(protocol_remarks(cohort)) if plan.protocol else []
    return [*of_protocol, *([cell_remark(cohort, letter=plan.letter)] if plan.figure == "3a" else [])]


def models_of(systems: list[System]) -> set[str]:
    """The names of the networks that occur in systems."""
    return {system.model for system in systems}


def systems_of(plan: Plan, cohort: Cohort) -> tuple[list[System], list[str]]:
    """What is compared, and a line for each row of a table that has to be left out.

    Raises UsageError where not one of table, figure and losses is given; for an unknown loss or network or a wrong
    option; and for a loss given by name that needs what the cohort has not.
    """
    chosen = [name for name in ("table", "figure", "losses") if getattr(plan, name)]
    if len(chosen) != 1:
        raise UsageError(f"give one of table, figure and losses, not {' and '.join(chosen) or 'none of them'}")
    systems = TABLES[plan.table] if plan.table else FIGURES[plan.figure] if plan.figure else named(plan.losses)
    if plan.letter:
        systems = [System(to_the_letter(system.loss), system.model) for system in systems]
    if plan.models:
        systems = [System(system.loss, model) for model in plan.models for system in systems]
    if here := [text for system in systems for text in system if text.startswith("__main__:")]:
        raise UsageError(
            f"{here[0]}: the runs of a sweep are processes of their own, which have another __main__: put it into a "
            "file, and name it file:attribute"
        )
    with refusals_as_usage():
        systems = list(dict.fromkeys(System(*map(in_one_spelling, system)) for system in systems))
        models = models_of(systems)
        asked = "width" in plan.training and all(LossSpec.parse(model).is_own for model in models)  # else one takes it
        for model in models:
            refuse_model(model, int(plan.training.get("width", TrainingOptions.width)), asked)
        losses = {system.loss: check_logits(system.loss) for system in systems}
    starved = [name for name, loss in losses.items() if isinstance(loss, DensityASP)]
    lacking = without_density(cohort) if starved else 0
    if not lacking:
        return systems, []
    why = f"needs an ACR density of 1 to 4 for every image, but {lacking} of {len(cohort)} images have none"
    if plan.losses:
        raise UsageError(f"{starved[0]} {why}: give each one in the column `density`, or take another loss")
    return [each for each in systems if each.loss not in starved], [f"{name} is left out: it {why}" for name in starved]


def named(losses: list[str]) -> list[System]:
    """Losses, each with the paper's baseline network."""
    return [System(loss) for loss in losses]


def without_density(cohort: Cohort) -> int:
    """How many images have no ACR density of 1 to 4."""
    if "density" not in cohort.table:
        return len(cohort)
    return int((~cohort.table["density"].isin((1, 2, 3, 4))).sum())


def runs_of(plan: Plan, systems: list[System], cohort: Cohort, threads: int) -> list[Planned]:
    """All runs. `threads` of each where the plan leaves them open.

    Raises UsageError or DataError for a fold that there is not, or that would lack images.
    """
    fields = {"threads": None, **plan.training}
    if fields["threads"] is None:
        fields["threads"] = threads
    scheme, folds = (fields.get(name, Experiment.model_fields[name].default) for name in ("scheme", "folds"))
    about = {"cohort": cohort.name, "fingerprint": cohort.fingerprint}
    with refusals_as_usage():
        runs = planned(systems, plan.folds or every_fold(scheme, folds), plan.seeds, **about, **fields)
    for experiment, fold in {(run.experiment.seed, run.fold): (run.experiment, run.fold) for run in runs}.values():
        parts_of(experiment, cohort, fold)
    for experiment, fold in {(each.model, each.seed, fold): (each, fold) for _, each, fold in runs}.values():
        check_start(experiment, fold)
    return runs


def _check(schema: type[BaseModel], content: dict[str, Any], source: str, known: list[str], **given: str) -> None:
    """Raise UsageError, a line for each mistake, if the content (with what is `given`) does not fit the schema."""
    lines = [_unknown(str(key), source, known) for key in content if key not in known]
    numbers = {name for name, of in schema.model_fields.items() if of.annotation is not bool}
    truths = [key for key in content.keys() & numbers if isinstance(content[key], bool)]  # pydantic takes them for 0, 1
    lines += [f"{_at(source, key)}: must be a number or a name, but is {content[key]!r}" for key in truths]
    try:
        schema(**given, **{key: value for key, value in content.items() if key in known})
    except ValidationError as error:
        lines += [f"{_at(source, field) if field else source}: {said}" for field, said in mistakes(error)]
    if lines:
        raise UsageError("\n".join(lines))


def _unknown(key: str, source: str, known: list[str]) -> str:
    """A key that there is not, or not here."""
    if key in STARTED:
        return (
            f"{source}: {key!r} changes no result, so no plan holds it: give --{key.replace('_', '-')} to the command"
        )
    near = get_close_matches(key, known, 1, cutoff=0.0)[0]
    return f"{source}: unknown key {key!r}; did you mean {near!r}? Known are {', '.join(known)}"


def _at(source: str, key: str) -> str:
    """How an error names a key of the plan: as an option of the command line, or by its file."""
    return f"--{key.replace('_', '-')}" if source == COMMAND_LINE else f"{source}: {key}"
