"""What comes from outside is text on the screen: brackets are no styles, and ":words:" no pictures."""

import ast
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import massmatch
from massmatch.cli import app
from massmatch.cli.screen import errors, screen

SOURCE = Path(massmatch.__file__).parent
HOSTILE = ("[red]", "[bold]x", "a:smile:b", "[link=x]", "[")


def calls():
    """Every call in the source, with its file and the name of what is called."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = node.func
                name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
                yield path.relative_to(SOURCE).as_posix(), name, {k.arg: ast.unparse(k.value) for k in node.keywords}


def test_one_module_makes_the_consoles_and_none_reads_markup():
    for file, name, options in calls():
        assert name not in ("Console", "Screen", "get_console") or file == "cli/screen.py", file
        assert name not in ("from_markup", "render_markup", "rich_print"), file
        assert options.get("markup") in (None, "False"), file
        assert name != "TextColumn" or options.get("markup") == "False", file  # which has it on by default
    sources = [path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py")]
    assert not [text for text in sources if "from rich import print" in text or "import rich\n" in text]


@pytest.mark.parametrize("console", [screen, errors])
def test_names_in_lines_tables_and_styles_stay_as_they_are(console):
    from rich.table import Table

    table = Table("[red]", title="[bold]t :x:", caption="[red]c[/]")
    table.add_row("[red]cell[/] :smile:")
    with console.capture() as said:
        console.print(table)
        console.print("[red]line[/] [/] :smile:", style="red")
    for text in ("[red]", "[bold]t :x:", "[red]c[/]", "[red]cell[/] :smile:", "[red]line[/] [/] :smile:"):
        assert text in said.get()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """A cohort in a folder "[/]/[red] :smile:", with images of such names."""
    root = tmp_path_factory.mktemp("h") / "[" / "]" / "[red] :smile:"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for n, name in enumerate(HOSTILE):
        image = Image.new("L", (40, 40), 20)
        image.paste(200, (0, 0, 20, 40))
        image.save(root / "images" / f"{name}.png")
        mask = Image.new("L", (40, 40), 0)
        mask.paste(255, (5, 5, 15 + n, 20))
        mask.save(root / "masks" / f"{name}.png")
    patients = "".join(f"{name},p{n}\n" for n, name in enumerate(HOSTILE))
    (root / "samples.csv").write_text(f"id,patient\n{patients}")
    return root


def said(*arguments):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return "".join(line.rstrip("\n") for line in result.output.splitlines(keepends=True)), result.exit_code


@pytest.mark.parametrize(
    ("arguments", "told", "code"),
    [
        (("check", "{}"), ("[red] :smile:",), None),
        (("prepare", "folder", "{}", "{}/../p[red]:x:"), ("p[red]:x:",), None),
        (("explain", "{}", "a:smile:b"), ("[red] :smile: holds no run",), 2),
        (("train", "{}", "--loss", "[red]:smile:[/]"), ("[red]:smile:[/]",), 2),
        (("losses", "check", "[red]:smile:[/]"), ("[red]:smile:[/]",), 2),
        (("losses", "show", "[/]"), ("[/]",), 2),
        (("status", "{}"), ("[red] :smile:",), 2),
        (("report", "{}"), ("[red] :smile:",), 2),
        (("evaluate", "{}"), ("[red] :smile:",), 2),
        (("predict", "{}/images/[red].png", "--weights", "{}/no[red].safetensors"), ("no[red].safetensors",), 2),
    ],
)
def test_a_cohort_of_hostile_names_is_told_of_letter_by_letter(hostile, arguments, told, code):
    output, exit_code = said(*(each.format(hostile) for each in arguments))
    for text in told:
        assert text.replace(" ", "") in output.replace(" ", "").replace("│", ""), output
    assert code is None or exit_code == code, output


def helps(command):
    """The text of a command and of all below it, and of each argument and option."""
    yield from [command.help, *(getattr(each, "help", None) for each in command.params)]
    for each in getattr(command, "commands", {}).values():
        yield from helps(each)


def test_no_help_text_holds_brackets_that_the_screen_would_swallow():
    from rich.text import Text
    from typer.main import get_command

    assert not [text for text in helps(get_command(app)) if text and Text.from_markup(text).plain != text]
