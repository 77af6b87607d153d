//! `docs/migration.md` shows parts of the programs as they are, and counts their lines.

use std::fs::read_to_string;
use std::path::PathBuf;

fn read(path: &str) -> String {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Lines that are neither empty nor a comment.
fn lines_of_code(path: &str) -> usize {
    let text = read(path);
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")).count()
}

#[test]
fn the_page_shows_the_files() {
    let page = read("docs/migration.md");
    let blocks: Vec<&str> = page.split("```").skip(1).step_by(2).collect();
    let files = [
        ("rust,no_run", "examples/migration/src/bin/ours.rs"),
        ("js", "examples/migration/chat.mjs"),
        ("rust,ignore", "examples/migration/src/bin/with_axum.rs"),
    ];
    assert_eq!(blocks.len(), files.len());
    for (block, (language, path)) in blocks.iter().zip(files) {
        let (block_language, code) = block.split_once('\n').unwrap();
        assert_eq!(block_language, language);
        assert!(read(path).contains(code.trim_end()), "the block of {path} is not in the file");
    }
}

#[test]
fn the_page_counts_the_lines() {
    let [ours, axum, tungstenite, node] = [
        "examples/migration/src/bin/ours.rs",
        "examples/migration/src/bin/with_axum.rs",
        "examples/migration/src/bin/with_tungstenite.rs",
        "examples/migration/chat.mjs",
    ]
    .map(lines_of_code);
    let row = format!("| lines of code | {ours} | {axum} | {tungstenite} | {node} |");
    assert!(read("docs/migration.md").contains(&row), "docs/migration.md does not contain the line {row}");
}
