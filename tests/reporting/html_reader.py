"""What a browser finds in an HTML page, read with the standard library."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

# Tags without an end.
EMPTY = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """A parsed page: addresses of links and resources, texts of elements by tag and class, open tags."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.addresses: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[tuple[str, list[str]]] = []
        self.feed(path.read_text(encoding="utf-8"))
        assert not self._open, f"{path}: not closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.addresses += [found[name] for name in ("href", "src") if name in found]
        if tag in EMPTY:
            return
        names = [tag, *(f".{name}" for name in found.get("class", "").split())]
        self._open.append((tag, names))
        for name in names:
            self.texts.setdefault(name, []).append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1][0] == tag, f"{self.path}: </{tag}> closes {self._open[-1:]}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for _, names in self._open:
            for name in names:
                self.texts[name][-1] += data

    @property
    def links(self) -> list[Path]:
        """The files and folders of all relative addresses."""
        relative = [one for one in self.addresses if not one.startswith(("data:", "#"))]
        return [self.path.parent / unquote(urldefrag(one).url) for one in relative]
