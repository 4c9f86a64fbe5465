"""Text with ``[@key]`` citations as Markdown, BibTeX and HTML with numbered references."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path

from qsmbids.io.write import write_text

__all__ = [
    "Reference",
    "citation_files",
    "cited_keys",
    "markdown_to_html",
    "references",
    "write_citations",
]

_CITATION = re.compile(r"\[(@[\w:-]+(?:; ?@[\w:-]+)*)\]")
_ENTRY = re.compile(r"^@(?P<kind>\w+)\{(?P<key>[\w:-]+),\n(?P<body>.*?)^\}\n?", re.M | re.S)
_FIELD = re.compile(r"^  (?P<name>\w+) = \{(?P<value>.*)\},?$", re.M)
#: Authors that a numbered reference names before "et al.".
_NAMED = 6

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Methods and references</title>
<style>
body {{ font: 16px/1.5 sans-serif; max-width: 45em; margin: 2em auto; padding: 0 1em; }}
</style>
</head>
<body>
{body}
</body>
</html>
"""


@dataclass(frozen=True)
class Reference:
    """One entry of the bibliography.

    Attributes
    ----------
    key : str
        As cited.
    bibtex : str
        The whole entry.
    fields : dict
        Its fields, as they stand.
    """

    key: str
    bibtex: str
    fields: Mapping[str, str]

    @property
    def url(self) -> str:
        """Address of the publication."""
        return f"https://doi.org/{self.fields['doi']}"

    def to_text(self) -> str:
        """Return the reference in one line, as in a list of references."""
        names = [_short_name(n) for n in self.fields["author"].split(" and ")]
        if "others" in names or len(names) > _NAMED:
            names = [*[n for n in names if n != "others"][:_NAMED], "et al"]
        f = self.fields
        place = f.get("journal") or f["booktitle"]
        number = f"({f['number']})" if "number" in f else ""
        where = f";{f['volume']}{number}:" if "volume" in f else ":"
        pages = f["pages"].replace("--", "-")
        title = f["title"].replace("{", "").replace("}", "")
        return f"{', '.join(names)}. {title}. {place}. {f['year']}{where}{pages}."


@functools.cache
def references() -> Mapping[str, Reference]:
    """Return the bibliography by key."""
    text = resources.files("qsmbids").joinpath("data", "references.bib").read_text("utf-8")
    found = {}
    for entry in _ENTRY.finditer(text):
        values = {m["name"]: m["value"] for m in _FIELD.finditer(entry["body"])}
        found[entry["key"]] = Reference(entry["key"], entry[0].rstrip() + "\n", values)
    return found


def cited_keys(text: str) -> tuple[str, ...]:
    """Return the keys of ``[@key]`` and ``[@a; @b]`` in the order of their first citation.

    Raises
    ------
    KeyError
        A key is not in the bibliography.
    """
    keys: dict[str, None] = {}
    for match in _CITATION.finditer(text):
        keys.update(dict.fromkeys(k.strip().removeprefix("@") for k in match[1].split(";")))
    for key in keys:
        if key not in references():
            raise KeyError(f"[@{key}] is not in references.bib")
    return tuple(keys)


def citation_files(text: str) -> dict[str, str]:
    """Return name and content of CITATION.md, CITATION.bib and CITATION.html.

    Parameters
    ----------
    text : str
        Markdown with ``[@key]``; only what it cites comes into the bibliography.
    """
    keys = cited_keys(text)
    return {
        "CITATION.md": text,
        "CITATION.bib": "\n".join(references()[key].bibtex for key in keys),
        "CITATION.html": _PAGE.format(body=markdown_to_html(text)),
    }


def write_citations(logs_dir: str | Path, text: str) -> list[Path]:
    """Write the files of :func:`citation_files`; each appears whole, or is left if it is there.

    Parameters
    ----------
    logs_dir : path
        ``logs`` of the output dataset.
    text : str
        Markdown with ``[@key]``.

    Returns
    -------
    list of Path

    Raises
    ------
    OutputError
        A file cannot be written.
    """
    folder = Path(logs_dir)
    return [write_text(folder / name, content) for name, content in citation_files(text).items()]


def markdown_to_html(text: str) -> str:
    """Return the headings, paragraphs and emphasis of ``text`` with a list of references.

    Parameters
    ----------
    text : str
        Markdown of ``#`` headings, paragraphs, ``-`` lists, ``**bold**`` and ``[@key]``.

    Returns
    -------
    str
        HTML without a page around it.
    """
    numbers = {key: n for n, key in enumerate(cited_keys(text), start=1)}
    blocks = [b for b in re.split(r"\n\s*\n", text.strip()) if b.strip()]
    lines = [_block(block, numbers) for block in blocks]
    if numbers:
        lines.append('<h3>References</h3>\n<ol class="references">')
        for key in numbers:
            entry = references()[key]
            link = f'<a href="{escape(entry.url)}">doi:{escape(entry.fields["doi"])}</a>'
            lines.append(f'<li id="ref-{key}">{escape(entry.to_text())} {link}</li>')
        lines.append("</ol>")
    return "\n".join(lines)


def _block(block: str, numbers: Mapping[str, int]) -> str:
    heading = re.fullmatch(r"(#{1,5}) +(.*)", block.strip())
    if heading:
        level = len(heading[1]) + 1  # h1 is the title of the page
        return f"<h{level}>{_inline(heading[2], numbers)}</h{level}>"
    lines = block.strip().splitlines()
    if all(line.startswith("- ") for line in lines):
        items = "".join(f"<li>{_inline(line[2:], numbers)}</li>" for line in lines)
        return f"<ul>{items}</ul>"
    return f"<p>{_inline(' '.join(lines), numbers)}</p>"


def _inline(text: str, numbers: Mapping[str, int]) -> str:
    def cited(match: re.Match[str]) -> str:
        keys = [k.strip().removeprefix("@") for k in match[1].split(";")]
        links = [f'<a href="#ref-{key}">{numbers[key]}</a>' for key in keys]
        return f"[{', '.join(links)}]"

    safe = _CITATION.sub(cited, escape(text, quote=False))
    return re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", safe)


def _short_name(name: str) -> str:
    """Return "Smith SM" for "Smith, Stephen M."; a group in braces is kept."""
    if "," not in name:
        return name.strip("{} ")
    family, _, given = name.partition(",")
    return f"{family.strip()} {''.join(part[0] for part in re.split(r'[ -]', given.strip()))}"
