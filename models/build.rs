//! Copies the crate's source and exchanges what a schedule has to be able to control: locks, atomics, threads' locals,
//! statics, maps, tasks, time and sockets. Nothing else is changed, so what is checked is the crate's own code.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A change of the source: in which files, what, by what. It has to be found, else the source has changed and the models with
/// it.
struct Exchange {
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

const fn exchange(file: &'static str, from: &'static str, to: &'static str) -> Exchange {
    Exchange { file, from, to }
}

/// In every file, in this order. Unlike the others these need not be found in each.
const EVERYWHERE: [(&str, &str); 8] = [
    // The crate's own tests are not for here.
    ("#[cfg(test)]", "#[cfg(any())]"),
    ("#[cfg(doctest)]", "#[cfg(any())]"),
    ("std::sync::", "crate::model::sync::"),
    ("parking_lot::", "crate::model::parking_lot::"),
    ("dashmap::", "crate::model::dashmap::"),
    // In the order of its branches, since nothing but the schedule may be left to chance.
    ("tokio::select! {\n            biased;", "tokio::select! {"),
    ("tokio::select! {", "::real::select! {\n            biased;"),
    ("tokio::", "crate::model::tokio::"),
];

const SOME: [Exchange; 23] = [
    // Soon there are too many.
    exchange("emitter/serial_queue.rs", "const CROWD: usize = 256;", "const CROWD: usize = 3;"),
    exchange("emitter/serial_queue.rs", "use std::thread::", "use ::shuttle::thread::"),
    exchange("event_loop/queue.rs", "use std::thread;", "use ::shuttle::thread;"),
    exchange("event_loop/schedule.rs", "use std::thread::", "use ::shuttle::thread::"),
    exchange("websocket/state/cork.rs", "const FLUSH_MAX: usize = 256;", "const FLUSH_MAX: usize = 1;"),
    // A slot is made and dropped in each execution, so there are few. It also lets them run out.
    exchange("runtime/slab.rs", "const PER_CHUNK: usize = 1024;", "const PER_CHUNK: usize = 2;"),
    exchange("runtime/slab.rs", "const CHUNKS: usize = 1 << 13;", "const CHUNKS: usize = 8;"),
    // The clock's timer is then one of the model's time.
    exchange("runtime/clock/sleeper.rs", "target_os = \"linux\"", "target_os = \"none\""),
    // In the model all that is accepted is acknowledged.
    exchange("runtime/acknowledged.rs", "target_os = \"linux\"", "target_os = \"none\""),
    // A FIN is not a segment in the model.
    exchange("runtime/stream/halves.rs", "target_os = \"linux\"", "target_os = \"none\""),
    exchange("runtime/stream/mod.rs", "socket2::SockRef::from(stream).set_linger", "stream.set_linger"),
    // No turn takes long: real time has no part in a schedule.
    exchange("runtime/clock/coarse.rs", "#[cfg(unix)]", "#[cfg(any())]"),
    exchange("runtime/clock/coarse.rs", "#[cfg(not(unix))]", "#[cfg(unix)]"),
    exchange("runtime/clock/coarse.rs", "std::time::SystemTime::now()", "std::time::UNIX_EPOCH"),
    // The threads' own.
    exchange("websocket/state/cork.rs", "thread_local! {", "::shuttle::thread_local! {"),
    exchange("websocket/state/buffers.rs", "thread_local! {", "::shuttle::thread_local! {"),
    exchange("websocket/driver/scratch.rs", "thread_local! {", "::shuttle::thread_local! {"),
    exchange("websocket/driver/backlog.rs", "thread_local! {", "::shuttle::thread_local! {"),
    exchange("websocket/message.rs", "thread_local! {", "::shuttle::thread_local! {"),
    exchange("runtime/turn.rs", "thread_local! {", "::shuttle::thread_local! {"),
    exchange("event_loop/enqueued.rs", "thread_local! {", "::shuttle::thread_local! {"),
    // What the models need of the inside.
    exchange("websocket/mod.rs", "mod stats;", "mod stats;\n\npub(crate) mod inside;"),
    exchange("http/mod.rs", "mod server;", "mod server;\n\npub(crate) mod inside;"),
];

/// Statics, each of which begins anew in every execution.
const STATICS: [(&str, &str); 7] = [
    ("websocket/state/slot.rs", "static SLOTS: Slab<Slot> = Slab::new();"),
    ("groups/slot.rs", "static SLOTS: Slab<Slot> = Slab::new();"),
    ("websocket/state/cork.rs", "static NEXT: AtomicU32 = AtomicU32::new(1);"),
    ("emitter/listener.rs", "static NEXT: AtomicU64 = AtomicU64::new(0);"),
    ("http/lifecycle/shutdown.rs", "static NEXT: AtomicU64 = AtomicU64::new(0);"),
    ("event_loop/queue.rs", "static LOOPS: RwLock<Vec<Arc<Queue>>> = RwLock::new(Vec::new());"),
    ("event_loop/queue.rs", "static NEXT: AtomicU64 = AtomicU64::new(0);"),
];

fn main() {
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    let copy = out.join("src");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../src");
    println!("cargo::rerun-if-changed=src/inside");
    println!("cargo::rerun-if-changed=breakages");
    println!("cargo::rerun-if-env-changed=MODELS_BREAKAGE");

    let _ = fs::remove_dir_all(&copy);
    copy_directory(&here.join("../src"), &copy);
    if let Some(breakage) = std::env::var_os("MODELS_BREAKAGE").filter(|name| !name.is_empty()) {
        let patch = here.join("breakages").join(breakage).with_extension("patch");
        // A patch whose lines have moved leaves no copy behind, which would be taken for a source.
        let done = Command::new("patch")
            .args(["-s", "-p1", "--no-backup-if-mismatch", "-d"])
            .arg(&out)
            .arg("-i")
            .arg(&patch)
            .status();
        assert!(done.is_ok_and(|status| status.success()), "{} does not apply", patch.display());
    }
    for Exchange { file, from, to } in SOME {
        change(&copy.join(file), |source| replace(file, &source, from, to));
    }
    for (file, from) in STATICS {
        let to = format!("::shuttle::lazy_static! {{ {} }}", from.replacen("static ", "static ref ", 1));
        change(&copy.join(file), |source| replace(file, &source, from, &to));
    }
    fs::remove_file(copy.join("runtime/watchdog.rs")).expect("it was copied just now");
    // The feature is off.
    fs::remove_dir_all(copy.join("tls")).expect("it was copied just now");
    each_file(&copy, &mut |path| change(path, |source| exchange_everywhere(&source)));
    each_file(&copy, &mut assert_nothing_left);
    change(&copy.join("lib.rs"), |source| without_inner_attributes(&source));
    // Time is simulated in a model, so there is no watchdog.
    fs::copy(here.join("src/inside/watchdog.rs"), copy.join("runtime/watchdog.rs")).expect("a writable directory");
    for layer in ["websocket", "http"] {
        let from = here.join("src/inside").join(layer).with_extension("rs");
        fs::copy(from, copy.join(layer).join("inside.rs")).expect("a writable directory");
    }
}

fn replace(file: &str, source: &str, from: &str, to: &str) -> String {
    assert!(source.contains(from), "{file} has no {from:?} any more: the models have to follow");
    source.replace(from, to)
}

fn exchange_everywhere(source: &str) -> String {
    // The examples of the documentation are not for the models.
    let code = source.lines().filter(|line| !line.trim_start().starts_with("///")).map(|line| format!("{line}\n"));
    EVERYWHERE
        .iter()
        .fold(code.collect(), |source: String, (from, to)| source.replace(from, to))
        .replace("::real::", "::tokio::")
}

/// Fails the build if the source has a primitive that was not replaced by its model.
fn assert_nothing_left(path: &Path) {
    const KINDS: [&str; 6] = [": Slab<", ": Atomic", ": Mutex<", ": RwLock<", ": OnceLock<", ": LazyLock<"];
    // The date is written once a second and takes part in no race.
    let may_have_locals = path.ends_with("http/h1/date.rs");
    // What this asks of the system is not compiled.
    let is_not_compiled = path.ends_with("acknowledged.rs");
    let source = fs::read_to_string(path).expect("it was written just now");
    let code = source.split("#[cfg(any())]\nmod tests").next().unwrap_or_default();
    for line in code.lines().map(str::trim_start).filter(|line| !line.starts_with("//")) {
        let is_static =
            line.trim_start_matches("pub ").starts_with("static ") && KINDS.iter().any(|kind| line.contains(kind));
        let is_local = line.starts_with("thread_local!") && !may_have_locals;
        let is_std = ["std::thread", "std::{", "std::sync"].iter().any(|name| line.contains(name));
        assert!(is_not_compiled || !is_static && !is_local && !is_std, "{}: {line:?} is not exchanged", path.display());
    }
}

/// The file is included into another, in the middle of which there can be none.
fn without_inner_attributes(source: &str) -> String {
    source
        .lines()
        .filter(|line| !line.starts_with("//!") && !line.starts_with("#!["))
        .map(|line| format!("{line}\n"))
        .collect()
}

fn change(path: &Path, change: impl FnOnce(String) -> String) {
    let source = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    fs::write(path, change(source)).expect("a writable directory");
}

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a writable directory");
    for entry in fs::read_dir(from).expect("the crate's source") {
        let (entry, to) = (entry.expect("an entry").path(), to);
        let name = entry.file_name().expect("a name");
        if entry.is_dir() {
            copy_directory(&entry, &to.join(name));
        } else {
            fs::copy(&entry, to.join(name)).expect("a writable directory");
        }
    }
}

fn each_file(directory: &Path, each: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { each_file(&path, each) } else { each(&path) }
    }
}
