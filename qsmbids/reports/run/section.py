"""Parts of the page: a title and some HTML, whose every text is escaped."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

__all__ = ["Section", "bullets", "paragraph", "table"]


@dataclass(frozen=True)
class Section:
    """One part of the page.

    Attributes
    ----------
    id : str
        Anchor of the part: letters, digits and dashes.
    title : str
        Heading, as plain text.
    html : Markup
        Content. Plain strings are escaped where they are put into it, so that a sidecar can
        never add a tag; only :class:`markupsafe.Markup` passes as it is.
    """

    id: str
    title: str
    html: Markup


def paragraph(text: object, kind: str = "") -> Markup:
    """Return a paragraph, of a class if ``kind`` is given."""
    if kind:
        return Markup('<p class="{}">{}</p>').format(kind, text)
    return Markup("<p>{}</p>").format(text)


def bullets(lines: Iterable[object], kind: str = "") -> Markup:
    """Return a list with one point per line."""
    items = Markup("").join(Markup("<li>{}</li>\n").format(line) for line in lines)
    return Markup('<ul class="{}">\n{}</ul>').format(kind, items)


def table(
    head: Sequence[object],
    rows: Iterable[Sequence[object]],
    *,
    numeric: Sequence[int] = (),
    caption: str = "",
) -> Markup:
    """Return a table.

    Parameters
    ----------
    head : sequence
        Headings of the columns.
    rows : iterable of sequence
        Cells; the first of each row is its heading.
    numeric : sequence of int
        Columns that are set to the right.
    caption : str
        Said above the table.
    """

    def cell(column: int, content: object, tag: str) -> Markup:
        scope = Markup(' scope="col"') if tag == "thead" else Markup(' scope="row"')
        name = "th" if tag == "thead" or column == 0 else "td"
        kind = Markup(' class="number"') if column in numeric else Markup("")
        attributes = kind + (scope if name == "th" else Markup(""))
        return Markup("<{0}{1}>{2}</{0}>").format(name, attributes, content)

    def line(cells: Sequence[object], tag: str) -> Markup:
        return (
            Markup("<tr>")
            + Markup("").join(cell(i, c, tag) for i, c in enumerate(cells))
            + Markup("</tr>\n")
        )

    title = Markup("<caption>{}</caption>\n").format(caption) if caption else Markup("")
    body = Markup("").join(line(row, "tbody") for row in rows)
    return Markup(
        '<div class="scroll"><table>\n{}<thead>{}</thead>\n<tbody>\n{}</tbody></table></div>'
    ).format(title, line(head, "thead"), body)
