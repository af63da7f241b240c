"""`python -m bench.capacity`: writes what the model computes into docs/scaling.md."""

from pathlib import Path

from bench.capacity.curves import plots, simulated
from bench.capacity.sections import SECTIONS
from bench.document import placed

DOCUMENT = Path(__file__).parents[2] / "docs" / "scaling.md"
COMPUTED = {**SECTIONS, "simulated": simulated}


def computed(text: str, name: str) -> str:
    """The document with what the model computes in the section `name`."""
    return placed(text, name, str(COMPUTED[name]()), kind="computed")


def main() -> None:
    """Write all sections and plots."""
    from bench.plots import draw

    text = DOCUMENT.read_text("utf-8")
    for name in COMPUTED:
        text = computed(text, name)
    DOCUMENT.write_text(text, "utf-8")
    folder = DOCUMENT.with_suffix("")
    folder.mkdir(exist_ok=True)
    for plot in plots():
        draw(plot, folder / f"{plot.name}.svg")


if __name__ == "__main__":
    main()
