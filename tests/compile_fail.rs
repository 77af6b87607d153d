//! What the compiler says to mistakes with listeners that no name or signature check at run time could find, and to the mistakes that
//! `docs/porting.md` explains.

use std::fs::{read_dir, read_to_string};

#[test]
fn mistakes_with_listeners_are_explained() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}

/// Each message in the table of `docs/porting.md` is in the output of a case.
#[test]
fn the_guide_quotes_what_the_compiler_says() {
    let guide = read_to_string("docs/porting.md").expect("the guide");
    let (_, table) = guide.split_once("\n## Compiler messages\n").expect("the section");
    let (table, _) = table.split_once("\n## ").expect("the next section");
    let files = read_dir("tests/compile_fail").expect("the cases").map(|file| file.expect("a case").path());
    let outputs: Vec<String> = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "stderr"))
        .map(|path| read_to_string(path).expect("an output"))
        .collect();
    let mut messages = 0;
    for row in table.lines().filter(|line| line.starts_with("| \"")) {
        let cell = row.split(" | ").next().unwrap_or(row);
        for message in cell.split('"').skip(1).step_by(2) {
            assert!(outputs.iter().any(|output| output.contains(message)), "no case has the message {message}");
            messages += 1;
        }
    }
    assert!(messages > 40, "{messages}");
}
