//! The type of a callback's argument has to be written.

use react_websocket::{Loop, Signal};

fn main() {
    let _ = Loop::add_signal(Signal::TERM, |signal| println!("{}", signal.as_raw()));
}
