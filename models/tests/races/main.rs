//! The models: each a race, and the rule that holds however it ends.
//!
//! What a model's listeners see is noted, and looked at in the end: a panic in a listener would be contained, as it is in a
//! server.

mod admission;
mod bodies;
mod closing;
mod emitter;
mod event_loop;
mod groups;
mod handles;
mod listeners;
mod peer;
mod shutdown;
mod writing;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, Once};

use shuttle::scheduler::{DfsScheduler, PctScheduler, RandomScheduler, ReplayScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};

/// Preemptions that PCT looks for.
const DEPTH: usize = 3;

/// Number of schedules of each kind when `MODELS_TIMES` is 1.
const SCHEDULES: usize = 1000;

/// Runs a model under many schedules: half of them at random, half with few preemptions. `weight`: how many thousands of each.
fn check(weight: usize, model: impl Fn() + Send + Sync + 'static) {
    let model = Arc::new(execution(model));
    if replay(&model) {
        return;
    }
    let times = std::env::var("MODELS_TIMES").map_or(1.0, |times| times.parse().expect("MODELS_TIMES is a number"));
    let schedules = (((SCHEDULES * weight) as f64) * times).ceil() as usize;
    let random = run(RandomScheduler::new(schedules), &model);
    let few = run(PctScheduler::new(DEPTH, schedules), &model);
    println!("{random} schedules at random, {few} with few preemptions; {:?}", SEEN.take());
}

/// Runs a small model under all schedules there are.
fn check_all(model: impl Fn() + Send + Sync + 'static) {
    let model = Arc::new(execution(model));
    if !replay(&model) {
        println!("all {} schedules", run(DfsScheduler::new(None, false), &model));
    }
}

/// Runs the schedule in the file that `MODELS_REPLAY` names, if it does.
fn replay(model: &Arc<impl Fn() + Send + Sync + 'static>) -> bool {
    let Some(file) = std::env::var_os("MODELS_REPLAY").filter(|file| !file.is_empty()) else { return false };
    run(ReplayScheduler::new_from_file(&file).expect("a file with a schedule"), model);
    true
}

fn run(scheduler: impl Scheduler + 'static, model: &Arc<impl Fn() + Send + Sync + 'static>) -> usize {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            PANICS.set(PANICS.get() + 1);
            eprintln!("in execution {}", EXECUTIONS.get());
            before(panic);
        }));
    });
    let mut config = Config::new();
    config.stack_size = 256 * 1024;
    config.silence_warnings = true;
    config.max_steps = MaxSteps::FailAfter(100_000);
    let schedules = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/schedules");
    let is_there = std::fs::create_dir_all(&schedules).is_ok();
    config.failure_persistence =
        if is_there { FailurePersistence::File(Some(schedules)) } else { FailurePersistence::Print };
    EXECUTIONS.set(0);
    let model = model.clone();
    Runner::new(scheduler, config).run(move || model())
}

thread_local! {
    /// Panics in this execution, also those that the crate has contained.
    static PANICS: Cell<usize> = const { Cell::new(0) };
    static EXECUTIONS: Cell<usize> = const { Cell::new(0) };
    static SEEN: Cell<BTreeMap<&'static str, usize>> = const { Cell::new(BTreeMap::new()) };
}

/// Counts how often a race had this outcome. A race that always has the same outcome proves
/// nothing.
fn seen(what: &'static str) {
    let mut seen = SEEN.take();
    *seen.entry(what).or_default() += 1;
    SEEN.set(seen);
}

fn execution(model: impl Fn()) -> impl Fn() {
    move || {
        PANICS.set(0);
        EXECUTIONS.set(EXECUTIONS.get() + 1);
        fastrand::seed(0);
        model();
        assert_eq!(PANICS.get(), 0, "something panicked, and the crate went on");
    }
}

/// The events that listeners have received, in order. Its lock does not yield to other threads.
struct Notes<T>(Arc<Mutex<Vec<T>>>);

impl<T> Notes<T> {
    fn new() -> Notes<T> {
        Notes(Arc::default())
    }

    fn note(&self, what: T) {
        self.0.lock().expect("nobody panics with it").push(what);
    }

    fn all(&self) -> Vec<T>
    where
        T: Clone,
    {
        self.0.lock().expect("nobody panics with it").clone()
    }

    fn len(&self) -> usize {
        self.0.lock().expect("nobody panics with it").len()
    }

    /// How many hold it, each listener that notes being one.
    fn holders(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

impl<T> Clone for Notes<T> {
    fn clone(&self) -> Self {
        Notes(self.0.clone())
    }
}

/// Lets others run, as anything that a listener does may.
fn let_others() {
    shuttle::thread::sleep(std::time::Duration::ZERO);
}
