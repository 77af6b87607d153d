//! The rooms of the house, and which may know which. `docs/ARCHITECTURE.md` tells why.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A room, and the rooms it may import. A room is a folder or a file of `src`; a room within a room is one of its own.
const ROOMS: &[(&str, &[&str])] = &[
    // Stands for a part of `std`, so every room may import it.
    ("sync", &[]),
    ("protocol", &[]),
    ("tls", &[]),
    ("runtime/acknowledged", &[]),
    ("runtime/clock", &[]),
    ("runtime/networks", &[]),
    ("runtime/slab", &[]),
    ("runtime/stream", &["runtime/acknowledged", "tls"]),
    ("runtime/trace", &["emitter", "runtime/clock"]),
    ("runtime/turn", &[]),
    ("runtime/watchdog", &["runtime/clock"]),
    ("emitter", &["runtime/turn"]),
    ("socket", &["emitter", "runtime/networks", "runtime/stream", "runtime/trace", "tls"]),
    ("http/error", &["emitter"]),
    ("http/lifecycle", &["http/error", "runtime/clock", "runtime/stream", "runtime/trace"]),
    ("http/message", &["emitter", "http/error", "http/lifecycle", "runtime/trace", "tls"]),
    ("http/handlers", &["emitter", "http/error", "http/message"]),
    (
        "http/context",
        &[
            "emitter",
            "http/error",
            "http/handlers",
            "http/lifecycle",
            "http/message",
            "runtime/networks",
            "runtime/stream",
            "runtime/trace",
        ],
    ),
    (
        "http/h1",
        &[
            "emitter",
            "http/context",
            "http/error",
            "http/handlers",
            "http/lifecycle",
            "http/message",
            "runtime/acknowledged",
            "runtime/stream",
        ],
    ),
    (
        "http/server",
        &[
            "emitter",
            "http/context",
            "http/error",
            "http/h1",
            "http/handlers",
            "http/lifecycle",
            "http/message",
            "runtime/stream",
            "runtime/trace",
            "runtime/turn",
            "socket",
        ],
    ),
    // Only names what its own rooms offer to others.
    ("http", &[]),
    ("websocket/error", &["emitter", "protocol"]),
    ("websocket/message", &[]),
    ("websocket/stats", &[]),
    (
        "websocket/options",
        &[
            "emitter",
            "http/error",
            "http/handlers",
            "http/lifecycle",
            "http/message",
            "protocol",
            "runtime/clock",
            "websocket/error",
        ],
    ),
    (
        "websocket/state",
        &[
            "emitter",
            "http/error",
            "http/handlers",
            "http/lifecycle",
            "http/message",
            "protocol",
            "runtime/clock",
            "runtime/slab",
            "runtime/stream",
            "runtime/trace",
            "runtime/turn",
            "websocket/error",
            "websocket/message",
            "websocket/options",
            "websocket/stats",
        ],
    ),
    (
        "websocket/connection",
        &[
            "emitter",
            "http/error",
            "http/handlers",
            "http/lifecycle",
            "http/message",
            "protocol",
            "runtime/trace",
            "websocket/error",
            "websocket/message",
            "websocket/options",
            "websocket/state",
        ],
    ),
    (
        "websocket/driver",
        &[
            "emitter",
            "http/error",
            "http/handlers",
            "http/lifecycle",
            "http/message",
            "protocol",
            "runtime/acknowledged",
            "runtime/clock",
            "runtime/stream",
            "runtime/trace",
            "runtime/turn",
            "runtime/watchdog",
            "websocket/connection",
            "websocket/error",
            "websocket/message",
            "websocket/options",
            "websocket/state",
        ],
    ),
    (
        "websocket/handshake",
        &[
            "emitter",
            "http/error",
            "http/handlers",
            "http/lifecycle",
            "http/message",
            "protocol",
            "runtime/clock",
            "runtime/trace",
            "runtime/watchdog",
            "websocket/driver",
            "websocket/error",
            "websocket/options",
            "websocket/state",
        ],
    ),
    (
        "websocket/middleware",
        &[
            "emitter",
            "http/error",
            "http/handlers",
            "http/lifecycle",
            "http/message",
            "protocol",
            "runtime/trace",
            "websocket/error",
            "websocket/handshake",
            "websocket/options",
            "websocket/state",
            "websocket/stats",
        ],
    ),
    ("cluster", &["protocol"]),
    (
        "groups",
        &[
            "cluster",
            "emitter",
            "protocol",
            "runtime/slab",
            "runtime/trace",
            "runtime/watchdog",
            "websocket/connection",
            "websocket/error",
            "websocket/message",
            "websocket/middleware",
            "websocket/options",
            "websocket/state",
        ],
    ),
    (
        "client",
        &[
            "emitter",
            "groups",
            "http/h1",
            "http/lifecycle",
            "http/message",
            "http/server",
            "protocol",
            "runtime/stream",
            "runtime/trace",
            "tls",
            "websocket/error",
            "websocket/handshake",
            "websocket/options",
            "websocket/state",
            "websocket/stats",
        ],
    ),
    // For the tests of apps. No room may import it.
    (
        "testing",
        &[
            "client",
            "emitter",
            "http/handlers",
            "http/lifecycle",
            "http/server",
            "runtime/stream",
            "websocket/connection",
            "websocket/message",
            "websocket/options",
            "websocket/state",
        ],
    ),
    (
        "hyper",
        &[
            "emitter",
            "http/context",
            "http/error",
            "http/handlers",
            "http/lifecycle",
            "http/message",
            "http/server",
            "runtime/stream",
            "runtime/trace",
            "websocket/middleware",
        ],
    ),
    ("event_loop", &["emitter", "runtime/trace", "runtime/turn"]),
    // The union of all errors: it may import every room with errors, and no room may import it.
    ("error", &["client", "emitter", "groups", "http/error", "http/server", "socket", "websocket/error"]),
    // The guides: text, without code.
    ("guide", &[]),
];

/// Files that are pure: bytes and time go in, values and bytes come out.
const PURE: &[&str] = &[
    "client/body.rs",
    "client/handshake.rs",
    "client/proxy.rs",
    "client/response_head.rs",
    "client/url.rs",
    "cluster/stream.rs",
    "cluster/wire.rs",
    "protocol/",
    "http/h1/parser.rs",
    "http/h1/scanner.rs",
    "http/h1/body.rs",
    "http/h1/encoder.rs",
    "http/h1/request_line.rs",
    "http/message/form.rs",
    "http/message/head.rs",
    "http/message/multipart.rs",
    "http/message/params.rs",
    "http/message/target.rs",
    "http/message/token.rs",
    "socket/proxy_protocol.rs",
    "websocket/handshake/check.rs",
    "websocket/options/origins.rs",
    "websocket/options/origin_pattern.rs",
    "websocket/options/site.rs",
    "websocket/options/subprotocol.rs",
    "websocket/state/held.rs",
    "websocket/driver/backlog.rs",
];

/// Words that a pure file has no use for, in its code.
const IMPURE: &[&str] = &["tokio", "std::net", "std::io", "std::thread", "Instant::now", "SystemTime::now"];

/// The names of `std::sync` that every file may use. No thread waits for another one in them.
const SHARED: &[&str] = &["Arc", "Weak", "OnceLock"];

/// Files that use primitives of `std` and not those of `crate::sync`, because they take part in no
/// race.
const UNSCHEDULED: &[&str] = &[
    "sync.rs",
    // Each thread caches the date for itself.
    "http/h1/date.rs",
    // Asks for the version of the kernel, once in a process.
    "runtime/acknowledged.rs",
    // Measures real time. The models replace it.
    "runtime/watchdog.rs",
];

/// The files of `src` by their path in there, with their code: without comments, tests, and what is only for the documentation.
struct Sources(BTreeMap<String, String>);

impl Sources {
    fn read() -> Sources {
        fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { walk(&path, files) } else { files.push(path) }
            }
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        walk(&root, &mut files);
        let name = |path: &Path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        Sources(files.iter().map(|path| (name(path), code(&fs::read_to_string(path).unwrap()))).collect())
    }

    /// The file of a module, given by the names on the way to it.
    fn file_of(&self, module: &[&str]) -> Option<&str> {
        let path = module.join("/");
        let candidates = match path.is_empty() {
            true => ["lib.rs".to_owned(), String::new()],
            false => [format!("{path}.rs"), format!("{path}/mod.rs")],
        };
        candidates.iter().find_map(|file| self.0.get_key_value(file)).map(|(file, _)| file.as_str())
    }

    /// The file that a path names something of, through what modules re-export.
    fn target(&self, path: &[&str]) -> Option<&str> {
        let depth = (0..=path.len()).rev().find(|depth| self.file_of(&path[..*depth]).is_some())?;
        let (module, file) = (&path[..depth], self.file_of(&path[..depth])?);
        let Some(item) = path.get(depth) else { return Some(file) };
        let exported = imports(file, &self.0[file]).into_iter().find(|import| {
            import.is_exported && import.path.last().is_some_and(|name| name == item) && import.path[..] != path[..]
        });
        match exported {
            Some(import) if import.path.starts_with(&module.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()) => {
                self.target(&import.path.iter().map(String::as_str).collect::<Vec<_>>())
            }
            _ => Some(file),
        }
    }

    /// The files that a file imports something of, with the path that it names.
    fn imported(&self, file: &str) -> Vec<(&str, String)> {
        imports(file, &self.0[file])
            .into_iter()
            .filter(|import| !import.is_exported)
            .filter_map(|import| {
                let path: Vec<_> = import.path.iter().map(String::as_str).collect();
                Some((self.target(&path)?, import.path.join("::")))
            })
            .filter(|(target, _)| *target != file && *target != "lib.rs")
            .collect()
    }
}

fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap();
    let mut code = String::new();
    let mut is_for_docs = false;
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
        if !is_for_docs && line != "#[cfg(doc)]" {
            code += line;
            code.push('\n');
        }
        is_for_docs = line == "#[cfg(doc)]";
    }
    code
}

#[derive(Debug, PartialEq, Eq)]
struct Import {
    /// From the crate's root.
    path: Vec<String>,
    /// By `pub use`, so that it is found here too.
    is_exported: bool,
}

/// All that a file names by a path from `crate` or `super`, or of a module within it by `use`.
fn imports(file: &str, code: &str) -> Vec<Import> {
    let path = file.strip_suffix(".rs").unwrap();
    let path = path.strip_suffix("/mod").unwrap_or(path);
    imports_of(path.split('/').filter(|name| *name != "lib").map(str::to_owned).collect(), code)
}

fn imports_of(module: Vec<String>, code: &str) -> Vec<Import> {
    if let Some((before, name, inner, after)) = inline_module(code) {
        let mut found = imports_of(module.clone(), &format!("{before}{after}"));
        found.extend(imports_of([module, vec![name.to_owned()]].concat(), inner));
        return found;
    }
    let within: BTreeSet<&str> =
        code.lines().filter_map(|line| line.split("mod ").nth(1)?.strip_suffix(';')).map(str::trim).collect();
    let mut found = Vec::new();
    let mut add = |tree: &str, is_exported: bool| {
        for path in expand(tree) {
            let mut names = path.split("::").map(str::trim).peekable();
            let mut base = match names.peek() {
                Some(&"crate") => Vec::new(),
                Some(&"super") => module.clone(),
                Some(name) if within.contains(name) => module.clone(),
                _ => continue,
            };
            while let Some(name @ ("crate" | "super")) = names.peek().copied() {
                if name == "super" {
                    base.pop();
                }
                names.next();
            }
            base.extend(names.map(str::to_owned));
            found.push(Import { path: base, is_exported });
        }
    };
    let mut rest = String::new();
    for statement in code.split_inclusive(';') {
        let begin = statement.rfind("use ").filter(|at| {
            let before = statement[..*at].trim_end();
            before.is_empty() || before.ends_with([';', '}', ']', '{']) || before.ends_with("pub") || before.ends_with(')')
        });
        match begin {
            Some(at) if statement.ends_with(';') => {
                let is_exported =
                    statement[..at].trim_end().ends_with("pub") || statement[..at].trim_end().ends_with("(crate)");
                add(statement[at + 4..].trim_end_matches(';'), is_exported);
                rest += &statement[..at];
            }
            _ => rest += statement,
        }
    }
    for root in ["crate::", "super::"] {
        for (at, _) in rest.match_indices(root) {
            if rest[..at].ends_with("super::") || rest[..at].ends_with('$') {
                continue;
            }
            let path: String = rest[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':').collect();
            add(path.trim_end_matches(':'), false);
        }
    }
    found
}

/// The first module that a file has within itself: what is before it, its name, what is in it and what follows.
fn inline_module(code: &str) -> Option<(&str, &str, &str, &str)> {
    let line = code.lines().find(|line| line.contains("mod ") && line.ends_with('{') && !line.contains('('))?;
    let name = line.split("mod ").nth(1)?.trim_end_matches('{').trim();
    let at = code.find(line)?;
    let inner = &code[at + line.len()..];
    let mut depth = 1;
    let end = inner.char_indices().find_map(|(at, c)| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        (depth == 0).then_some(at)
    })?;
    Some((&code[..at], name, &inner[..end], &inner[end + 1..]))
}

/// The paths of a tree as in `a::{b, c::{d, e}}`.
fn expand(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let path = tree.split(" as ").next().unwrap();
        return vec![path.trim_end_matches("::self").trim_end_matches("::*").to_owned()];
    };
    let (head, inner) = (&tree[..open], tree[open + 1..].trim_end().trim_end_matches('}'));
    // What the braces of this level enclose: the last one of `tree` is theirs.
    let inner = &tree[open + 1..open + 1 + inner.len() + tree[open + 1 + inner.len()..].rfind('}').unwrap_or(0)];
    let (mut depth, mut begin, mut parts) = (0, 0, Vec::new());
    for (at, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[begin..]);
    parts
        .into_iter()
        .filter(|part| !part.trim().is_empty())
        .flat_map(|part| expand(&format!("{head}{}", part.trim())))
        .collect()
}

/// The room that a file is in.
fn room_of(file: &str) -> Option<(&'static str, &'static [&'static str])> {
    let path = file.strip_suffix(".rs").unwrap();
    let is_in = |room: &str| path.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    ROOMS.iter().copied().filter(|(room, _)| is_in(room)).max_by_key(|(room, _)| room.len())
}

#[test]
fn a_room_imports_only_the_rooms_below_it() {
    let sources = Sources::read();
    let mut wrong = Vec::new();
    for file in sources.0.keys().filter(|file| !matches!(&***file, "lib.rs" | "runtime/mod.rs" | "websocket/mod.rs")) {
        let (room, allowed) = room_of(file).unwrap_or_else(|| panic!("{file} is in no room"));
        for (target, path) in sources.imported(file) {
            let (other, _) = room_of(target).unwrap_or_else(|| panic!("{target} is in no room: {path} of {file}"));
            if other != room && other != "sync" && !allowed.contains(&other) {
                wrong.push(format!("{file}: {path} is in {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that point upward:\n{}", wrong.join("\n"));
}

#[test]

fn no_files_import_each_other() {
    let sources = Sources::read();
    let arrows: BTreeMap<&str, BTreeSet<&str>> = sources
        .0
        .keys()
        .map(|file| (file.as_str(), sources.imported(file).into_iter().map(|(to, _)| to).collect()))
        .collect();
    let circles = circles(&arrows);
    assert!(circles.is_empty(), "{circles:#?}");
}

/// The sets of files each of which is reached from every other one.
fn circles<'a>(arrows: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<BTreeSet<&'a str>> {
    let reached = |from: &'a str| {
        let (mut reached, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(file) = next.pop() {
            next.extend(arrows.get(file).into_iter().flatten().filter(|to| reached.insert(**to)));
        }
        reached
    };
    let all: BTreeMap<_, _> = arrows.keys().map(|file| (*file, reached(file))).collect();
    let circle_of = |file: &'a str| -> BTreeSet<&'a str> {
        all[file].iter().copied().filter(|other| all.get(other).is_some_and(|back| back.contains(file))).collect()
    };
    let circles: BTreeSet<_> = arrows.keys().map(|file| circle_of(file)).filter(|circle| circle.len() > 1).collect();
    circles.into_iter().collect()
}

#[test]
fn pure_files_know_no_socket_clock_or_runtime() {
    let sources = Sources::read();
    let mut wrong = Vec::new();
    for pure in PURE {
        let files: Vec<_> = sources.0.iter().filter(|(file, _)| file.starts_with(pure)).collect();
        assert!(!files.is_empty(), "{pure} is gone");
        for (file, text) in files {
            for line in text.lines().filter(|line| IMPURE.iter().any(|word| line.contains(word))) {
                wrong.push(format!("{file}: {}", line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Primitives of `std` in the code of a file that no scheduler controls, and statics that outlive
/// an order that it tries.
fn unscheduled(file: &str, code: &str) -> Vec<String> {
    let mut found: Vec<_> = std_paths(code)
        .into_iter()
        .filter(|path| match path.split("::").skip(1).collect::<Vec<_>>()[..] {
            ["sync", name, ..] => !SHARED.contains(&name),
            ["sync" | "thread" | "thread_local", ..] => true,
            _ => false,
        })
        .collect();
    let takes_locals = imports(file, code).iter().any(|import| import.path == ["sync", "thread_local"]);
    // The number of open braces within a macro that declares statics.
    let mut depth = 0;
    for line in code.lines() {
        let is_static = line.strip_prefix("pub").unwrap_or(line).split(' ').take(2).any(|word| word == "static");
        if depth == 0 && is_static || !takes_locals && line.starts_with("thread_local!") {
            found.push(line.to_owned());
        }
        if depth > 0 || line.contains("global! {") || line.contains("thread_local! {") {
            depth += line.matches('{').count() as i32 - line.matches('}').count() as i32;
        }
    }
    found
}

/// All paths from `std` or `core`.
fn std_paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("std::").chain(code.match_indices("core::")) {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let mut depth = 0;
        let end = code[at..].find(|c: char| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth < 0 || depth == 0 && !(c.is_alphanumeric() || matches!(c, '_' | ':' | '}'))
        });
        found.extend(expand(&code[at..at + end.unwrap_or(code.len() - at)].replace('\n', " ")));
    }
    found
}

#[test]
fn a_scheduler_can_control_every_primitive() {
    let sources = Sources::read();
    let mut wrong = Vec::new();
    for (file, code) in &sources.0 {
        let found = unscheduled(file, code);
        if UNSCHEDULED.contains(&file.as_str()) {
            assert!(!found.is_empty(), "{file} is no exception any more");
        } else {
            wrong.extend(found.into_iter().map(|what| format!("{file}: {what}")));
        }
    }
    assert!(wrong.is_empty(), "not from crate::sync:\n{}", wrong.join("\n"));
}

#[test]

fn files_are_short() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let lines = |file: &str| fs::read_to_string(root.join(file)).unwrap().lines().count();
    let long: Vec<_> =
        Sources::read().0.into_keys().map(|file| (lines(&file), file)).filter(|(lines, _)| *lines > 400).collect();
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn this_test_can_fail() {
    let paths = |file: &str, code: &str| -> Vec<String> {
        imports(file, code).iter().map(|import| import.path.join("::")).collect()
    };
    assert_eq!(paths("a/b.rs", "use crate::c::{D, e::{self, F}};"), ["c::D", "c::e", "c::e::F"]);
    assert_eq!(paths("a/b.rs", "use super::c::D;\nlet _ = crate::e::f();"), ["a::c::D", "e::f"]);
    assert_eq!(paths("a/mod.rs", "mod b;\npub(crate) use b::C;\nuse super::d;"), ["a::b::C", "d"]);
    assert_eq!(paths("a.rs", "use crate::b;\nmod c {\nuse super::D;\n}\nuse crate::e;"), ["b", "e", "a::D"]);
    assert_eq!(paths("a.rs", "use std::mem;\nuse tokio::net;"), [""; 0]);
    assert_eq!(room_of("http/parser.rs").unwrap().0, "http");
    assert_eq!(room_of("runtime/clock/mod.rs").unwrap().0, "runtime/clock");
    assert_eq!(room_of("error.rs").unwrap().0, "error");
    let found = |code: &str| unscheduled("a/b.rs", code);
    assert_eq!(found("use std::{fmt, sync::{Arc,\natomic::AtomicU8}};"), ["std::sync::atomic::AtomicU8"]);
    assert_eq!(found("let _ = std::sync::Mutex::new(0);"), ["std::sync::Mutex::new"]);
    assert_eq!(found("use std::sync;\nuse std::thread::current;"), ["std::sync", "std::thread::current"]);
    assert_eq!(found("static A: B = C;\npub(super) static D: E = F;").len(), 2);
    assert_eq!(found("thread_local! {\nstatic A: B = const { C };\n}\nstatic D: E = F;").len(), 2);
    let scheduled = "use std::sync::Arc;\nuse crate::sync::thread_local;\nthread_local! {\nstatic A: B = const { C };\n}\n\
        global! { static D: E = F; }\nfn g(_: &'static str) {}";
    assert_eq!(found(scheduled), [""; 0]);
    let arrows = [("a", ["b"].into()), ("b", ["c"].into()), ("c", ["b"].into()), ("d", BTreeSet::new())];
    assert_eq!(circles(&arrows.into()), [["b", "c"].into()]);
    let sources = Sources::read();
    assert_eq!(sources.target(&["websocket", "WebSocketOptions"]), Some("websocket/options/mod.rs"));
    assert_eq!(sources.target(&["runtime", "clock", "Coarse"]), Some("runtime/clock/coarse.rs"));
}
