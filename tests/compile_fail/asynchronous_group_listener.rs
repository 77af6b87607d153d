use react_websocket::{ConnectionGroup, GroupManager};

fn main() {
    GroupManager::new().on("create", async |group: ConnectionGroup| drop(group));
}
