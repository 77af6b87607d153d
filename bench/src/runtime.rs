use std::future::Future;
use tokio::runtime::Builder;

/// Runs a server on so many threads, on a runtime as `#[tokio::main]` makes it: 1 is tokio's current-thread runtime, more
/// are as many workers.
pub fn block_on<F: Future>(workers: usize, server: F) -> F::Output {
    run(runtime(workers).enable_all(), server)
}

/// Like `block_on`, but without timers, which cost some hundred instructions each time the runtime
/// goes to sleep.
pub fn block_on_without_time<F: Future>(workers: usize, server: F) -> F::Output {
    run(runtime(workers).enable_io(), server)
}

fn runtime(workers: usize) -> Builder {
    let mut builder = if workers > 1 { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    builder.worker_threads(workers.max(1));
    builder
}

fn run<F: Future>(builder: &mut Builder, server: F) -> F::Output {
    builder.build().expect("a runtime can be made").block_on(server)
}
