use react_websocket::{GroupManager, WebSocketMiddleware};

fn main() {
    let groups = GroupManager::new();
    let _websocket = WebSocketMiddleware::new().with_group_manager(groups);
    groups.on("create", |group| println!("{}", group.name()));
}
