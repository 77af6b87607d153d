//! The rooms of the house, and which may know which. `docs/ARCHITECTURE.md` tells why.

use std::fs;
use std::path::{Path, PathBuf};

/// A room, and the rooms it may import. A room is a folder or a file of `src`.
const ROOMS: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("turn", &[]),
    ("emitter", &["turn"]),
    ("clock", &[]),
    ("slots", &[]),
    ("trace", &["clock", "emitter"]),
    ("watchdog", &["clock"]),
    ("acknowledged", &[]),
    ("stream", &["acknowledged"]),
    ("socket", &["emitter", "stream", "trace"]),
    ("http", &["acknowledged", "clock", "emitter", "socket", "stream", "trace", "turn"]),
    (
        "websocket",
        &["acknowledged", "clock", "emitter", "http", "protocol", "slots", "stream", "trace", "turn", "watchdog"],
    ),
    ("groups", &["emitter", "protocol", "slots", "trace", "watchdog", "websocket"]),
    ("event_loop", &["emitter", "trace", "turn"]),
    // The union of all errors: it knows everybody, and nobody knows it.
    ("error", &["emitter", "groups", "http", "socket", "websocket"]),
];

/// Files that are pure: bytes and time go in, values and bytes come out.
const PURE: &[&str] = &[
    "protocol/",
    "http/parser.rs",
    "http/scanner.rs",
    "http/body.rs",
    "http/encoder.rs",
    "http/form.rs",
    "http/multipart.rs",
    "http/params.rs",
    "websocket/handshake.rs",
    "websocket/origins.rs",
    "websocket/subprotocol.rs",
    "websocket/lag.rs",
    "websocket/inbox.rs",
];

/// Words that a pure file has no use for, in its code.
const IMPURE: &[&str] = &["tokio", "std::net", "std::io", "std::thread", "Instant::now", "SystemTime::now"];

/// Every file of `src` with its path in there and its text, without what is only for tests.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { walk(&path, files) } else { files.push(path) }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    walk(&root, &mut files);
    files
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap().to_owned();
            (path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(), code)
        })
        .collect()
}

/// The code of a file, line by line, without comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.trim_start().starts_with("//"))
}

fn room_of(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap()
}

/// The rooms that a line names by `crate::`, also in a list: `use crate::{http, websocket}`.
fn rooms_named(line: &str) -> Vec<String> {
    let mut named = Vec::new();
    for after in line.split("crate::").skip(1) {
        let list = after.strip_prefix('{').map_or(after, |list| list.split('}').next().unwrap());
        let is_list = after.starts_with('{');
        let names: Vec<&str> = if is_list { list.split(',').collect() } else { vec![list] };
        for name in names {
            let name: String = name.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            named.push(name);
        }
    }
    named
}

#[test]
fn a_room_imports_only_the_rooms_below_it() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let room = room_of(&file);
        if room == "lib" {
            continue;
        }
        let (_, allowed) = ROOMS.iter().find(|(name, _)| *name == room).unwrap_or_else(|| panic!("{file} is in no room"));
        for line in code(&text) {
            for named in rooms_named(line) {
                if named != room && !allowed.contains(&named.as_str()) {
                    wrong.push(format!("{file}: {}", line.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that point upward:\n{}", wrong.join("\n"));
}

#[test]
fn pure_files_know_no_socket_clock_or_runtime() {
    let sources = sources();
    let mut wrong = Vec::new();
    for pure in PURE {
        let files: Vec<_> = sources.iter().filter(|(file, _)| file.starts_with(pure)).collect();
        assert!(!files.is_empty(), "{pure} is gone");
        for (file, text) in files {
            for line in code(text).filter(|line| IMPURE.iter().any(|word| line.contains(word))) {
                wrong.push(format!("{file}: {}", line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn this_test_can_fail() {
    assert_eq!(rooms_named("use crate::websocket::WebSocketConnection;"), ["websocket"]);
    assert_eq!(rooms_named("use crate::{http::Response, groups};"), ["http", "groups"]);
    assert_eq!(rooms_named("let _ = crate::clock::Clock::new();"), ["clock"]);
    assert_eq!(room_of("http/parser.rs"), "http");
    assert_eq!(room_of("error.rs"), "error");
}
