//! An asynchronous callback is cloned for each call, so its captures have to be.

use react_websocket::Loop;

struct Database;

impl Database {
    async fn clean_up(&self) {}
}

fn main() {
    let database = Database;
    Loop::add_periodic_timer(60, async move || database.clean_up().await);
}
