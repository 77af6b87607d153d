"""The links of all pages in the repository, and those between the guides in the documentation of the API."""

import re
from urllib.parse import unquote, urlsplit

from pages import ROOT, Page

# Folders with what is built or installed.
SKIPPED = {"target", "node_modules"}
INLINE = re.compile(r"\[((?:[^\[\]]|\[[^\[\]]*\])*)\]\(([^()\s]*)\)")
DEFINITION = re.compile(r"^ *\[([^\]]+)\]: *(\S+)$")
REFERENCE = re.compile(r"\[([^\[\]]+)\]\[([^\[\]]*)\]")
LABEL = re.compile(r'doc = "\[([^\]]+)\]: crate::guide(?:::(\w+))?(?:#([\w-]+))?"')
BARE = re.compile(r"<(https?://[^>\s]*)>")


def check():
    """Returns what is wrong."""
    paths = [path for path in ROOT.rglob("*.md") if not SKIPPED & set(path.relative_to(ROOT).parts)]
    pages = {path: Page(path) for path in sorted(paths)}
    failures, count = [], 0
    for page in pages.values():
        for line, target in targets(page, failures):
            count += 1
            if failure := wrong(page, target, pages):
                failures.append(f"{page.name}:{line}: {target}: {failure}")
    failures += in_rustdoc(pages)
    print(f"links: {count} links of {len(pages)} pages")
    return failures


def targets(page, failures):
    """The line and the target of each link. What has no target is added to the failures."""
    prose = [(line, re.sub(r"``.*?``|`[^`]*`", "", text)) for line, text in page.prose]
    labels = {found[1].lower() for _, text in prose if (found := DEFINITION.match(text))}
    used = set()
    # A link's text may go on in the next line.
    whole = "\n".join(text for _, text in prose)
    starts = [0]
    for _, text in prose:
        starts.append(starts[-1] + len(text) + 1)

    def line_of(position):
        return next(line for (line, _), end in zip(prose, starts[1:]) if position < end)

    for pattern in (INLINE, BARE):
        for found in pattern.finditer(whole):
            yield line_of(found.start()), found[found.re.groups]
    for found in re.finditer(DEFINITION.pattern, whole, re.MULTILINE):
        yield line_of(found.start()), found[2]
    for found in REFERENCE.finditer(whole):
        label = " ".join((found[2] or found[1]).lower().split())
        used.add(label)
        if label not in labels:
            failures.append(f"{page.name}:{line_of(found.start())}: [{label}] has no target")
    shortcuts = {label for label in labels if re.search(rf"\[{re.escape(label)}\](?![:\[(])", whole, re.IGNORECASE)}
    failures += [f"{page.name}: nothing links to [{label}]" for label in sorted(labels - used - shortcuts)]


def wrong(page, target, pages):
    """What is wrong with a link, or None. Links to other hosts are not opened."""
    if re.match(r"[a-z]+:", target):
        parts = urlsplit(target)
        is_local = parts.hostname in ("127.0.0.1", "localhost")
        return None if parts.hostname and (parts.scheme == "https" or is_local) else "not a link with https and a host"
    path, _, anchor = target.partition("#")
    file = (page.path.parent / unquote(path)).resolve() if path else page.path
    if not file.exists():
        return "there is no such file"
    if anchor and file in pages and anchor not in pages[file].anchors():
        return "there is no such heading"
    return None


def in_rustdoc(pages):
    """Each guide is a module of `src/guide.rs`, where a label in front of the page replaces the page's own."""
    source = (ROOT / "src" / "guide.rs").read_text()
    modules, labels, page = {}, {}, None
    for line in source.splitlines():
        if label := LABEL.search(line):
            labels[label[1]] = (label[2], label[3])
        elif included := re.match(r'#(!?)\[doc = include_str!\("\.\./docs/(.+)"\)\]', line):
            page, own, labels = pages[ROOT / "docs" / included[2]], labels, {}
            if included[1]:
                # The index of the guides is the module itself.
                modules[page.path.name] = (None, page, own)
        elif module := re.match(r"pub mod (\w+) \{\}", line):
            modules[page.path.name] = (module[1], page, own)
    failures = []
    for _, page, own in modules.values():
        definitions = [found for _, text in page.prose if (found := DEFINITION.match(text))]
        for _, text in page.prose:
            for found in INLINE.finditer(re.sub(r"`[^`]*`", "", text)):
                if found[2].partition("#")[0] in modules:
                    failures.append(f"{page.name}: {found[2]}: a link between guides needs a label, for `src/guide.rs`")
        for label, target in (found.groups() for found in definitions):
            name, _, anchor = target.partition("#")
            if name in modules and own.get(label) != (modules[name][0], anchor or None):
                failures.append(f"{page.name}: [{label}] is not {target} in `src/guide.rs`")
        for label in own.keys() - {found[1] for found in definitions}:
            failures.append(f"{page.name}: `src/guide.rs` defines [{label}], and the page does not use it")
    return failures
